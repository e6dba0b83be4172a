//! Kills of workers at random moments of their work, and what must hold after them.

use crate::harness::{Output, Process, wait_within};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long the work may stand still: a claim of a killed worker's run keeps its key's other messages waiting.
const PATIENCE: Duration = Duration::from_secs(300);

/// A random generator whose seed is printed; `WASMRUN_TEST_SEED` sets it. The moments of the kills also depend on the
/// machine.
pub(super) fn seeded() -> fastrand::Rng {
    let seed = std::env::var("WASMRUN_TEST_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("WASMRUN_TEST_SEED is a number"));
    println!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

/// Waits for less than this number of milliseconds, so that a kill hits not when a line is logged, but at a random moment
/// after that.
pub(super) fn pause(random: &mut fastrand::Rng, milliseconds: u64) {
    std::thread::sleep(Duration::from_micros(random.u64(..milliseconds * 1000)));
}

/// Lets two workers work and kills one of them `kills` times, each time when the workers have logged a random number of
/// these lines, less than `lines`. Another worker takes its place. So all kills happen during the work, whatever the
/// machine's speed, and some follow each other so soon that they hit a worker that is starting. Returns the outputs of
/// those that were killed, and the two that are left.
pub(super) fn killed_at_random_moments(
    random: &mut fastrand::Rng,
    kills: usize,
    (texts, lines): (&[&str], usize),
    start: impl Fn() -> Process,
) -> (Vec<Output>, Vec<Process>) {
    let mut moments: Vec<usize> = (0..kills).map(|_| random.usize(..lines)).collect();
    moments.sort_unstable();
    let logged = |worker: &Process| texts.iter().map(|text| worker.logged(text)).sum::<usize>();
    let (mut ended, mut before) = (Vec::new(), 0);
    let mut workers = vec![start(), start()];
    for moment in moments {
        wait_within(PATIENCE, "enough lines are logged", || {
            before + workers.iter().map(logged).sum::<usize>() >= moment
        });
        pause(random, 30);
        let mut victim = workers.swap_remove(random.usize(..workers.len()));
        assert!(victim.runs(), "it ended while there was work");
        before += logged(&victim);
        ended.push(victim.kill());
        workers.push(start());
    }
    (ended, workers)
}

/// Asserts that the two outputs of each run have the same nonce, and that the store has the objects of these runs alone:
/// `written` are the nonces that runs have written as the names of objects.
#[track_caller]
pub(super) fn assert_outputs_of_one_run(outputs: impl IntoIterator<Item = [String; 2]>, written: &[String]) {
    let mut nonces = BTreeSet::new();
    let mut runs = 0;
    for [first, second] in outputs {
        assert_eq!(first, second, "the outputs of run {runs} are those of two");
        nonces.insert(first);
        runs += 1;
    }
    assert_eq!(written.len(), runs, "another run has written its own object");
    assert_eq!(written.iter().cloned().collect::<BTreeSet<_>>(), nonces);
}
