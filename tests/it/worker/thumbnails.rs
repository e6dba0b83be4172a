//! The main use case, at a size at which mistakes show.

use crate::harness::png;
use crate::harness::{Depth, World, repository};
use std::time::Duration;

const PICTURES: usize = 1000;
const SIDE: &str = "MAX_SIDE=32";

/// Compares every byte: the result would differ if a task saw another's memory or wrote under another's key.
#[test]
fn a_thousand_messages_give_exactly_the_thumbnails_that_invoke_gives_for_each() {
    let world = World::with_queue(&[]);
    fill(&world);
    world.announce();
    let messages = world.messages();
    assert_eq!(messages.len(), PICTURES);

    let output = world.run("thumbnail").args(["--instances", "4", "--until-empty", "--env", SIDE]).succeeds();
    let summary = output.summary();
    assert_eq!(summary["outcomes"]["completed"], PICTURES, "{output}");
    assert_eq!(summary["tasks"], PICTURES, "each runs once: {output}");
    assert_eq!(world.depth(), Depth::EMPTY);
    assert_eq!(world.dead(), Depth::EMPTY);

    world.create_dir("expected");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for share in messages.chunks(PICTURES.div_ceil(threads)) {
            scope.spawn(|| share.iter().for_each(|(_, body)| invoke(&world, body)));
        }
    });

    let keys = world.keys("out");
    assert_eq!(keys.len(), PICTURES);
    assert_eq!(keys, world.keys("expected"));
    for key in keys {
        let thumbnail = world.read(&format!("out/{key}"));
        assert!(thumbnail.starts_with(&[0xff, 0xd8]), "{key} is no JPEG");
        let expected = world.read(&format!("expected/{key}"));
        assert!(thumbnail == expected, "{key} differs from invoke's");
    }
}

/// Writes the photographs of the demo in three formats, and small generated pictures.
fn fill(world: &World) {
    let photographs = repository().join("demo/photographs");
    let mut count = 0;
    for entry in photographs.read_dir().expect("the photographs") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, world.path("in").join(name)).expect("copied");
        count += 1;
    }
    assert!(count > 0);
    let mut random = fastrand::Rng::with_seed(2);
    for index in count..PICTURES {
        let (width, height) = (random.u32(8..100), random.u32(8..100));
        let picture = png::random(&mut random, width, height);
        world.write(&format!("in/{index:04}.png"), picture);
    }
}

fn invoke(world: &World, body: &str) {
    let output = world
        .wasmrun(["invoke", "--json", "--message", "-", "--env", SIDE])
        .arg(crate::harness::guest("thumbnail"))
        .args(["--store", "input=dir:in:ro"])
        .args(["--store", "output=dir:expected:wo"])
        .input(body)
        .within(Duration::from_secs(60))
        .succeeds();
    assert_eq!(output.json()["outcome"], "completed");
}
