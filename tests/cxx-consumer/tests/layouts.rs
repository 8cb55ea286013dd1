// SPDX-License-Identifier: Apache-2.0

//! The structs that C++ and Rust share have one layout. Runs with the feature `cxx`.

#![cfg(feature = "cxx")]

use couchstore::capi::shim::{
    couchstore_private_file_ops, couchstore_private_hooks, couchstore_private_key, couchstore_private_keys,
    couchstore_private_online, couchstore_private_ops,
};
use couchstore::capi::types::{
    DbInfo, Doc, DocInfo, LocalDoc, couch_file_ops, couchstore_c_latency, couchstore_compact_flags,
    couchstore_direction, couchstore_docinfos_options, couchstore_encryption_key, couchstore_error_info_t,
    couchstore_error_t, couchstore_file_stats, couchstore_header_info, couchstore_online_compact_options,
    couchstore_online_compact_stats, couchstore_open_flags, couchstore_open_options, couchstore_save_options,
    cs_off_t, sized_buf,
};
use couchstore_cxx_consumer::{Layout, layouts};
use std::mem::offset_of;

/// Size of the field that a function reads from a struct; the function is never called.
fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// The structs as Rust lays them out. A field that is left out does not compile.
macro_rules! structs {
    ($($name:ident { $($field:ident)* })*) => {{
        let mut layouts = Vec::new();
        $(
            let _complete = |$name { $($field: _),* }: &$name| ();
            let name = stringify!($name).to_owned();
            layouts.push(Layout { name, place: align_of::<$name>(), size: size_of::<$name>() });
            $(layouts.push(Layout {
                name: concat!(stringify!($name), ".", stringify!($field)).into(),
                place: offset_of!($name, $field),
                size: size_of_field(|all: &$name| &all.$field),
            });)*
        )*
        layouts
    }};
}

macro_rules! numbers {
    ($($name:ident)*) => {
        [$(Layout { name: stringify!($name).into(), place: align_of::<$name>(), size: size_of::<$name>() }),*]
    };
}

fn public_structs() -> Vec<Layout> {
    structs! {
        sized_buf { buf size }
        Doc { id data }
        DocInfo { id db_seq rev_seq rev_meta deleted content_meta bp physical_size }
        LocalDoc { id json deleted }
        DbInfo { filename last_sequence doc_count deleted_count space_used file_size header_position purge_seq }
        couchstore_header_info {
            version timestamp update_seq purge_seq header_position doc_count deleted_count space_used file_size
            previous_header_position
        }
        couchstore_file_stats { read_count write_count write_bytes read_bytes sync_count }
        couchstore_c_latency { name count total_us max_us buckets num_buckets }
        couchstore_encryption_key { id key derivation }
        couchstore_online_compact_options {
            size flags ops keys keys_ctx hook dhook hook_ctx pre_copy precommit replay_ctx lock unlock publish
            progress ctx swap max_unlocked_rounds delta_bytes_for_lock memory_budget open_flags threads
        }
        couchstore_online_compact_stats {
            documents bytes rounds restarts locked_bytes lock_hold_us total_us
        }
        couchstore_error_info_t { error }
        couch_file_ops {
            version constructor open close pread pwrite goto_eof sync advise destructor cookie
        }
    }
}

fn private_structs() -> Vec<Layout> {
    structs! {
        couchstore_private_file_ops {
            constructor open close set_periodic_sync set_tracing_enabled set_write_validation_enabled
            set_mprotect_enabled pread pwrite goto_eof sync evict tag get_stats destructor free_buffers
        }
        couchstore_private_ops { table object }
        couchstore_private_key { id key cipher derivation }
        couchstore_private_keys { function ctx }
        couchstore_private_hooks { filter rewrite precommit ctx }
        couchstore_private_online { try_lock rewrite keys ops has_ops }
    }
}

#[test]
fn both_languages_lay_out_structs_alike() {
    let mut rust = public_structs();
    rust.extend(private_structs());
    rust.extend(numbers! {
        couchstore_error_t couchstore_open_flags couchstore_save_options couchstore_open_options
        couchstore_docinfos_options couchstore_compact_flags couchstore_direction cs_off_t
    });
    let cxx = layouts();
    for (rust, cxx) in rust.iter().zip(&cxx) {
        assert_eq!(rust, cxx);
    }
    assert_eq!(rust.len(), cxx.len());
}
