//! The same tasks as a native program: `native COMMAND`. It is what containers and sandboxes run, too.

mod work;

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["empty"] => {}
        ["hash"] => {
            black_box(work::hash());
        }
        ["hold-empty"] => hold(()),
        ["hold-hash"] => hold(work::hash()),
        ["spin"] => work::spin(),
        // The cycle of a function call, so many times.
        ["calls", "empty", times] => time(times, 1000, || black_box(empty)()),
        ["calls", "hash", times] => time(times, 1, || {
            black_box(work::hash());
        }),
        _ => panic!("there is no command {arguments:?}"),
    }
}

/// Stays there, and takes another name to say that it's so far: a container passes on no output, but its processes are
/// seen from outside.
fn hold<T>(held: T) -> ! {
    std::fs::write("/proc/self/comm", "holding").expect("a name");
    work::hold(held)
}

#[inline(never)]
fn empty() {
    black_box(());
}

/// Prints what a call takes, in nanoseconds, a line for each sample. A sample is the mean of as many calls as a clock
/// needs to see them.
fn time(samples: &str, calls: u32, mut call: impl FnMut()) {
    let samples: u32 = samples.parse().expect("a number");
    let mut out = std::io::stdout().lock();
    for _ in 0..samples {
        let began = Instant::now();
        for _ in 0..calls {
            call();
        }
        let each = began.elapsed().as_secs_f64() * 1e9 / f64::from(calls);
        writeln!(out, "{each}").expect("a reader");
    }
}
