//! With `--deterministic` the same message gives the same bytes.

use crate::harness::{World, field, guest};
use std::time::{Duration, Instant};

/// The expected results of the guest `numbers`, by instruction.
const BITS: [(&str, &str); 21] = [
    ("f32.div", "0000c07f0000c07f0000c07f0000c07f"),
    ("f64.div", "000000000000f87f000000000000f87f"),
    ("f64.sqrt", "000000000000f87f000000000000f87f"),
    ("f64.add", "000000000000f87f000000000000f87f"),
    ("f32x4.div", "0000c07f0000c07f0000c07f0000c07f"),
    ("f64x2.div", "000000000000f87f000000000000f87f"),
    ("f64x2.sqrt", "000000000000f87f000000000000f87f"),
    ("f32x4.min", "0000c07f0000c07f0000000000000000"),
    // Results of the deterministic profile in the relaxed SIMD specification: zero for an index that is too large,
    ("i8x16.relaxed_swizzle", "01100000000000000000040506070809"),
    // zero for NaN, and the nearest integer,
    ("i32x4.relaxed_trunc_f32x4_s", "00000000ffffff7f0000008001000000"),
    ("i32x4.relaxed_trunc_f32x4_u", "00000000ffffffff0000000000000080"),
    ("i32x4.relaxed_trunc_f64x2_s_zero", "00000000ffffff7f0000000000000000"),
    ("i32x4.relaxed_trunc_f64x2_u_zero", "00000000ffffffff0000000000000000"),
    // rounded once,
    ("f32x4.relaxed_madd", "000080a8000080a8000080a8000080a8"),
    ("f64x2.relaxed_nmadd", "00000000000070390000000000007039"),
    // by bit,
    ("i8x16.relaxed_laneselect", "0001020408102040807fff030507090b"),
    // like the instructions that aren't relaxed,
    ("f32x4.relaxed_min", "0000c07f00000080000000800000c07f"),
    ("f64x2.relaxed_max", "000000000000f87f0000000000000000"),
    // saturating, with all bytes signed.
    ("i16x8.relaxed_q15mulr_s", "ff7f0180fe7f00000000000000000000"),
    ("i16x8.relaxed_dot_i8x16_i7x16_s", "00010081050019003d007100b5000901"),
    ("i32x4.relaxed_dot_i8x16_i7x16_add_s", "0102000020000000b1000000c2010000"),
];

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
    // The time is the message's, clocks advance on each read, and NaN has the canonical bits.
    assert!(said.contains(" at 1795532400000 ms after 1000 ns bits 7fc00000"), "{said}");
}

/// Runs a task of `misbehave` and returns its outcome and the reason.
fn task(world: &World, message: &str, options: &[&str]) -> (String, String) {
    let identity = ["--deterministic", "--sent-at", "2026-11-24T15:00:00Z", "--message-id", "a"];
    world.invoke("misbehave", message).args(identity).args(options).ends().outcome()
}

/// The result doesn't depend on how often a timer is polled or on the machine's load.
#[test]
fn timers_fire_at_the_same_time_each_time() {
    let world = World::new();
    let first = task(&world, "timers 5", &[]);
    // Each read takes a microsecond, and so did the start of the timer.
    assert!(first.1.contains("asked Some(1999), ready [1] and [1], waited 15 ms"), "{first:?}");
    for _ in 1..20 {
        assert_eq!(task(&world, "timers 5", &[]), first);
    }
}

#[test]
fn a_wait_of_an_hour_takes_no_hour() {
    let world = World::new();
    let began = Instant::now();
    let (outcome, reason) = task(&world, "timers 3600000", &["--timeout", "20s"]);
    assert_eq!(outcome, "rejected");
    // Two hours with the timers and one hour asleep. The message was sent at 1795532400.
    assert!(reason.contains("waited 10800000 ms until 1795543200."), "{reason}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn who_waits_for_ever_is_still_ended() {
    let world = World::new();
    let for_ever = |options: &[&str]| task(&world, "sleep-forever", options);
    assert_eq!(for_ever(&["--timeout", "1s"]).0, "timed-out");
    let burned = ("limit-exceeded".into(), "fuel".into());
    assert_eq!(for_ever(&["--fuel", "10000000"]), burned);
    // The end of time is reached, once.
    let (outcome, reason) = task(&world, "poll-forever 3", &[]);
    assert_eq!((outcome.as_str(), reason.as_str()), ("rejected", "3 are ready"));
    assert_eq!(task(&world, "loop-host timers", &["--timeout", "1s"]).0, "timed-out");
}

/// The bits are the same on every machine.
#[test]
fn what_wasm_leaves_to_the_machine_has_one_result() {
    let numbers = wat::parse_str(include_str!("../../guests/wat/numbers.wat")).expect("a component");
    let world = World::new();
    world.write("numbers.wasm", numbers);
    for allocator in ["pooling", "on-demand"] {
        let output = world
            .wasmrun(["invoke", "--json", "--message", "x", "--deterministic", "numbers.wasm"])
            .args(["--allocator", allocator])
            .ends()
            .exited_with(1);
        let output = output.json();
        let told = field(&output, "reason").as_bytes().chunks(32);
        assert_eq!(told.len(), BITS.len(), "{output}");
        for ((instruction, expected), bits) in BITS.iter().zip(told) {
            assert_eq!(str::from_utf8(bits), Ok(*expected), "{instruction}");
        }
    }
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
    let tries = output.logs_of("task did not complete");
    assert_eq!(tries.len(), 2, "{output}");
    assert_eq!(field(&tries[0], "reason"), field(&tries[1], "reason"));
}
