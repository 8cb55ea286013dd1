#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| couchstore_fuzz_targets::document(data));
