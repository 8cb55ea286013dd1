// SPDX-License-Identifier: Apache-2.0

//! Every input in the corpus of every target: what was found once is not found again.

use couchstore_fuzz_targets::{TARGETS, seeds};
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn all_inputs_of_the_corpus() {
    for (name, run) in TARGETS {
        let mut inputs = 0;
        for file in std::fs::read_dir(corpus(name)).expect("a folder for each target") {
            let path = file.expect("an input").path();
            eprintln!("{}", path.display());
            run(&std::fs::read(path).expect("an input"));
            inputs += 1;
        }
        assert!(inputs > 0, "{name}");
    }
}

#[test]
fn every_target_has_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    for (name, _) in TARGETS {
        let program = std::fs::read_to_string(folder.join(format!("{name}.rs"))).expect("a program");
        assert!(program.contains(&format!("couchstore_fuzz_targets::{name}")), "{name}");
    }
}

/// Writes the inputs that fuzzing begins with.
#[test]
#[ignore = "changes the corpus"]
fn write_seeds() {
    for (target, name, bytes) in seeds::all() {
        std::fs::create_dir_all(corpus(target)).expect("a folder");
        std::fs::write(corpus(target).join(name), bytes).expect("a seed");
    }
}
