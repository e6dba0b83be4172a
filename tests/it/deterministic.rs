//! With `--deterministic` the same message gives the same bytes.

use crate::harness::{World, field, guest};

fn dice(world: &World, options: &[&str]) -> String {
    let output = world
        .wasmrun(["invoke", "--json", "--message", "x"])
        .arg(guest("dice"))
        .args(options)
        .ends()
        .exited_with(1);
    field(&output.json(), "reason").to_owned()
}

#[test]
fn the_same_message_gives_the_same_random_numbers_clocks_and_bits() {
    let world = World::new();
    let message = ["--deterministic", "--sent-at", "2026-11-24T15:00:00Z", "--message-id"];
    let run =
        |id: &str, allocator: &str| dice(&world, &[&message[..], &[id, "--allocator", allocator]].concat());
    let said = run("a", "pooling");
    assert_eq!(said, run("a", "pooling"));
    assert_eq!(said, run("a", "on-demand"));
    assert_ne!(said, run("b", "pooling"));
    // The time is the message's, clocks step on each look, and a number that is none has the canonical form.
    assert!(said.contains(" at 1795532400000 ms after 1000 ns bits 7fc00000"), "{said}");
}

#[test]
fn without_it_they_differ() {
    let world = World::new();
    let run = || dice(&world, &["--message-id", "a", "--sent-at", "2026-11-24T15:00:00Z"]);
    let random = |said: String| said.split(' ').nth(1).map(str::to_owned);
    assert_ne!(random(run()), random(run()));
}

#[test]
fn a_retried_message_sees_the_same_numbers_again() {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.send(["x"]);
    let output = world
        .run("dice")
        .args(["--until-empty", "--deterministic", "--on", "rejected=retry", "--backoff", "1ms..1ms"])
        .succeeds();
    let tries = output.logs_of("Not completed.");
    assert_eq!(tries.len(), 2, "{output}");
    assert_eq!(field(&tries[0], "reason"), field(&tries[1], "reason"));
}
