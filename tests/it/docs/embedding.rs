//! The worker embedded in another program: the example of the runtime's crate, as shown in
//! docs/src/guides/embedding.md.

use crate::docs::examples::document::Section;
use crate::docs::examples::place::Place;
use crate::docs::examples::sections;
use crate::harness::repository;
use std::fs;
use std::path::Path;

sections! {
    a_program_that_embeds_the_worker_runs_tasks_and_prints_their_outcomes: "docs/src/guides/embedding.md", "The example" => embeds;
    the_crate_to_embed_has_the_feature_that_is_shown: "docs/src/guides/embedding.md", "The parts" => names_the_crate;
}

fn embeds(section: &Section) {
    // The example is built with the tests, unless a selection such as `--test it` is built.
    let built = Path::new(env!("CARGO_BIN_EXE_wasmrun")).with_file_name("examples");
    let example = built.join("embed");
    assert!(example.is_file(), "no {}: run cargo build --release --workspace --examples", example.display());
    let place = Place::new();
    place.is_clone();
    place.link("README.md");
    place.link_to(&built, "target/release/examples");
    let output = place.run(&section.commands());
    assert_eq!(place.noted(), ["cargo build --release --workspace --examples"]);
    let has = |text: &str| output.stdout.iter().any(|line| line.starts_with(text));
    // The guest's text and the figures differ from run to run.
    for line in
        ["message-1: completed None,", "message-2: rejected Some(\"invalid utf-8", "output/camera.jpg: None"]
    {
        assert!(has(line) && section.block("text").contains(line), "{line}: {output}");
    }
    assert!(has("2 tasks, 1 dead letters") && has("output/README.md: Some("), "{output}");
}

fn names_the_crate(section: &Section) {
    let shown = section.block("toml");
    let (_, path) = shown.split_once("path = \"../wasmrun/").expect("a path");
    let (path, rest) = path.split_once('"').expect("its end");
    let manifest = fs::read_to_string(repository().join(path).join("Cargo.toml")).expect("a manifest");
    assert!(
        manifest.contains("name = \"wasmrun-runtime\"") && shown.contains("wasmrun-runtime ="),
        "{shown}"
    );
    assert!(rest.contains("features = [\"compiler\"]") && manifest.contains("\ncompiler = ["), "{shown}");
}
