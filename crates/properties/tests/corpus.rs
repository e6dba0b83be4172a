//! Replays the corpora of the fuzz targets. Each file once reached new code of a property, or broke it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use wasmrun_properties::PROPERTIES;

fn corpus(property: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(property)
}

#[track_caller]
fn holds_for_its_corpus(property: &str) {
    let (_, check) = PROPERTIES.iter().find(|(name, _)| *name == property).expect("a property");
    let mut files: Vec<_> = fs::read_dir(corpus(property))
        .expect("a corpus")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let bytes = fs::read(&file).expect("a file");
        assert!(catch_unwind(AssertUnwindSafe(|| check(&bytes))).is_ok(), "broken by {}", file.display());
    }
}

#[test]
fn every_property_has_a_fuzz_target_and_a_corpus() {
    for (property, _) in PROPERTIES {
        let target =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fuzz/fuzz_targets/{property}.rs"));
        assert!(target.is_file() && corpus(property).is_dir(), "{property}");
    }
}

/// Returns the names and versions in a lock file.
fn locked(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let text = fs::read_to_string(path).expect("a lock file");
    let mut packages: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let value = package.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            value.trim_matches(['"', ' ', '=']).to_owned()
        };
        packages.entry(field("name")).or_default().insert(field("version"));
    }
    packages
}

#[test]
fn fuzz_targets_are_built_with_the_versions_that_ship() {
    let (ours, fuzzed) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    assert!(fuzzed.contains_key("wasmtime"));
    for (name, versions) in fuzzed {
        if let Some(shipped) = ours.get(&name) {
            assert!(
                versions.is_subset(shipped),
                "{name} {versions:?}: copy Cargo.lock to fuzz/, and run `cargo metadata --manifest-path fuzz/Cargo.toml`"
            );
        }
    }
}

#[test]
fn components_are_refused_or_run_within_the_limits() {
    holds_for_its_corpus("component");
}

#[test]
fn no_key_leads_out_of_a_directory() {
    holds_for_its_corpus("dir");
}

#[test]
fn every_body_is_decoded_to_something() {
    holds_for_its_corpus("event");
}

#[test]
fn no_announced_object_lies_outside_its_grant() {
    holds_for_its_corpus("grant");
}

#[test]
fn what_a_guest_logs_is_one_line_each() {
    holds_for_its_corpus("log");
}

#[test]
fn configurations_are_refused_in_a_sentence_or_sane() {
    holds_for_its_corpus("settings");
}
