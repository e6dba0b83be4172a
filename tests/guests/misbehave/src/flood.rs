//! Calls the host repeatedly. Many of these calls are cheap for the guest and expensive for the host.

use std::hint::black_box;
use std::time::Duration;

use wasip2::cli::environment::get_environment;
use wasip2::cli::stdin::get_stdin;
use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::io::poll::poll;
use wasip2::io::streams::{OutputStream, StreamError};
use wasip2::random::insecure::get_insecure_random_bytes;
use wasip2::random::random::get_random_bytes;
use wasmrun_guest::{Failure, Message, Queue, Store, info};

use crate::memory::untouched;

/// Most bytes that the host's streams accept in one write. It was also the most random bytes that the host returned in
/// one call.
const PIECE_BYTES: usize = 64 << 10;
/// Longest duration that can be expressed.
const FOR_EVER_NS: u64 = u64::MAX;

/// `loop-host [WHAT]`: never returns, and does little but call the host.
pub(crate) fn endless(what: &str, message: &Message) -> Result<(), Failure> {
    let piece = [b'x'; PIECE_BYTES];
    let lines = [b'\n'; PIECE_BYTES];
    let stdout = get_stdout();
    match what {
        "" => loop {
            black_box(message.receive_count());
        },
        // Each copies a message of up to 1 MiB.
        "body" => loop {
            black_box(message.body());
        },
        "attributes" => loop {
            black_box(message.attributes());
        },
        "environment" => loop {
            black_box(get_environment());
        },
        "clocks" => loop {
            black_box((monotonic_clock::now(), wall_clock::now()));
        },
        "timers" => loop {
            drop(monotonic_clock::subscribe_duration(FOR_EVER_NS));
        },
        "polls" => {
            let ready = monotonic_clock::subscribe_duration(0);
            let many = vec![&ready; 30];
            loop {
                black_box(poll(&many));
            }
        }
        "stdout" => loop {
            written(stdout.write(&piece))?;
        },
        "lines" => loop {
            written(stdout.write(&lines))?;
        },
        "zeroes" => loop {
            written(stdout.write_zeroes(PIECE_BYTES as u64))?;
        },
        "random" => loop {
            black_box(get_random_bytes(PIECE_BYTES as u64));
        },
        "insecure-random" => loop {
            black_box(get_insecure_random_bytes(PIECE_BYTES as u64));
        },
        _ => endless_in_stores(what),
    }
}

/// Implements the variants of `loop-host` that call stores and queues.
fn endless_in_stores(what: &str) -> Result<(), Failure> {
    let (input, output) = (Store::open("input")?, Store::open("output")?);
    // The host reports an invalid key without asking the store.
    let absurd = "../".repeat(300_000);
    match what {
        "open" => loop {
            drop(Store::open("input")?);
        },
        "denied" => loop {
            black_box(Store::open(&absurd).is_err());
        },
        "absurd-keys" => loop {
            black_box(input.head(&absurd).is_err());
        },
        "head" => loop {
            black_box(input.head("nothing").is_err());
        },
        "list" => loop {
            black_box(input.list_page("", None, u32::MAX)?);
        },
        "readers" => loop {
            drop(input.read("object")?);
        },
        "writers" => loop {
            drop(output.write("never")?);
        },
        // No queue accepts an empty message.
        "empty-messages" => {
            let next = Queue::open("next")?;
            loop {
                black_box(next.send("").is_err());
            }
        }
        "waits" => loop {
            std::thread::sleep(Duration::from_millis(20));
        },
        _ => Err(Failure::reject("loop with what?")),
    }
}

fn written(result: Result<(), StreamError>) -> Result<(), Failure> {
    result.map_err(|error| Failure::reject(format!("cannot write: {error:?}")))
}

/// `log-call N`: writes N bytes in one call.
pub(crate) fn log_call(bytes: usize) -> Result<(), Failure> {
    written(get_stdout().write(&vec![b'x'; bytes]))
}

/// `log-untouched N`: writes N bytes in one call, from memory that was allocated for it and never written.
pub(crate) fn log_untouched(bytes: usize) -> Result<(), Failure> {
    written(get_stdout().write(untouched(bytes)?))
}

/// `log-lines N`: writes N lines, as many as fit into each call.
pub(crate) fn log_lines(mut lines: usize) -> Result<(), Failure> {
    const LINE: &[u8] = b"x\n";
    let (stdout, piece) = (get_stdout(), LINE.repeat(PIECE_BYTES / LINE.len()));
    while lines > 0 {
        let count = lines.min(piece.len() / LINE.len());
        written(stdout.write(&piece[..count * LINE.len()]))?;
        lines -= count;
    }
    Ok(())
}

/// `zeroes N`: has the host write N zero bytes.
pub(crate) fn zeroes(count: u64) -> Result<(), Failure> {
    written(get_stdout().write_zeroes(count))
}

/// `blocking-zeroes N`: writes N zero bytes with the blocking call.
pub(crate) fn blocking_zeroes(count: u64) -> Result<(), Failure> {
    written(get_stdout().blocking_write_zeroes_and_flush(count))
}

/// `stdin`: reads more than there can be, with every function. The reason is `closed` if all of them report a closed
/// stream.
pub(crate) fn stdin() -> Failure {
    let (stdin, stdout) = (get_stdin(), get_stdout());
    let spliced = |splice: fn(&OutputStream, &_, u64) -> Result<u64, StreamError>| {
        matches!(splice(&stdout, &stdin, u64::MAX), Err(StreamError::Closed) | Ok(0))
    };
    let closed = matches!(stdin.read(u64::MAX), Err(StreamError::Closed))
        && matches!(stdin.blocking_read(u64::MAX), Err(StreamError::Closed))
        && matches!(stdin.blocking_skip(u64::MAX), Err(StreamError::Closed))
        && spliced(OutputStream::splice)
        && spliced(OutputStream::blocking_splice);
    Failure::reject(if closed { "closed" } else { "open" })
}

/// `random N`: gets N random bytes in one call.
pub(crate) fn random(bytes: u64) -> Result<(), Failure> {
    let random = get_random_bytes(bytes);
    info!("got {} random bytes", random.len());
    Ok(())
}

/// `pollables N`: holds N timers at the same time.
pub(crate) fn pollables(count: usize) -> Result<(), Failure> {
    let timers: Vec<_> = (0..count).map(|_| monotonic_clock::subscribe_duration(FOR_EVER_NS)).collect();
    info!("opened {}", timers.len());
    Ok(())
}

/// `poll-forever N`: polls a timer that never fires, listed N times in one call.
pub(crate) fn poll_for_ever(times: usize) -> Result<(), Failure> {
    let never = monotonic_clock::subscribe_duration(FOR_EVER_NS);
    let ready = poll(&vec![&never; times]);
    Err(Failure::reject(format!("{} are ready", ready.len())))
}

/// `waits N MS`: sleeps N times for MS milliseconds.
pub(crate) fn waits(times: u64, time: Duration) -> Result<(), Failure> {
    for _ in 0..times {
        std::thread::sleep(time);
    }
    Ok(())
}

/// `timers MS`: reports how often it asked a timer of two milliseconds until the timer was ready; which of three timers
/// (MS milliseconds, and two and three times that) were ready after each of two polls; and the clocks after a sleep of
/// MS milliseconds.
pub(crate) fn timers(time: Duration) -> Failure {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(FOR_EVER_NS);
    let timer = monotonic_clock::subscribe_duration(2_000_000);
    let asked = (0_u64..).find(|_| timer.ready());
    let began = monotonic_clock::now();
    let timers = [3, 1, 2].map(|times| monotonic_clock::subscribe_duration(nanoseconds(time * times)));
    let timers: Vec<_> = timers.iter().collect();
    let first = poll(&timers);
    let second = poll(&[timers[0], timers[2]]);
    std::thread::sleep(time);
    let waited = (monotonic_clock::now() - began) / 1_000_000;
    let now = wall_clock::now();
    Failure::reject(format!(
        "asked {asked:?}, ready {first:?} and {second:?}, waited {waited} ms until {}.{:09}",
        now.seconds, now.nanoseconds
    ))
}
