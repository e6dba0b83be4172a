//! A command that does what its arguments say, or, without arguments, the first line of its input.
//!
//! Its last words on standard error are the reason of the outcome.

mod files;

use std::io::{self, BufRead, Read, Write};
use wasip2::cli::{exit::exit_with_code, stdin::get_stdin, stdout::get_stdout};
use wasip2::io::streams::StreamError;

const DATA_ERROR: u8 = 65;

fn main() -> io::Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        words = line.split_whitespace().map(str::to_owned).collect();
    }
    let word = |index: usize| words.get(index).map(String::as_str).unwrap_or_default();
    let number = |index: usize| word(index).parse::<u64>().unwrap_or_default();
    match word(0) {
        "ok" | "" => {}
        "cat" => copy(|_| {})?,
        "upper" => copy(|bytes| bytes.make_ascii_uppercase())?,
        "exit" => {
            eprint!("{}", words.get(2..).unwrap_or_default().join(" "));
            exit_with_code(number(1) as u8);
        }
        "std-exit" => std::process::exit(word(1).parse().unwrap_or(i32::MAX)),
        "fail" => return Err(io::Error::other("main failed")),
        "panic" => panic!("at once"),
        // Write something, and end in another way than by completing.
        "write-and" => {
            write(number(2))?;
            match word(1) {
                "exit" => exit_with_code(number(3) as u8),
                "spin" => spin(),
                "panic" => panic!("half-way"),
                _ => sleep(),
            }
        }
        "print" => println!("{}", words.get(1..).unwrap_or_default().join(" ")),
        "write" => write(number(1))?,
        "write-on" => loop {
            write(1 << 20)?;
        },
        "print-on" => loop {
            println!("a line of the log");
        },
        "spin" => spin(),
        "sleep" => sleep(),
        "work" => work(word(1))?,
        "pulse" => {
            std::thread::sleep(std::time::Duration::from_millis(number(1)));
            print!("pulse");
            io::stdout().flush()?;
        }
        "alloc" => {
            let mut held = Vec::new();
            loop {
                held.push(vec![1_u8; 1 << 20]);
            }
        }
        "say" => say(&std::env::var(word(1)).unwrap_or_else(|_| "not set".into())),
        "args" => say(&format!("{words:?}")),
        "names" => {
            let mut names: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
            names.sort();
            say(&names.join(" "));
        }
        "file" => {
            let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            match files::act(&words) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => say(&text),
                Err(kind) => say(&format!("error: {kind:?}")),
            }
        }
        "count" => {
            let mut all = Vec::new();
            io::stdin().lock().read_to_end(&mut all)?;
            say(&all.len().to_string());
        }
        "handles" => {
            let mut held = Vec::new();
            loop {
                held.push(get_stdin());
            }
        }
        "read-all-at-once" => say(&format!("{:?}", get_stdin().blocking_read(u64::MAX).map(|all| all.len()))),
        // Reads without ever waiting.
        "read-without-waiting" => {
            let (input, mut bytes) = (get_stdin(), 0);
            loop {
                match input.read(1000) {
                    Ok(piece) => bytes += piece.len(),
                    Err(StreamError::Closed) => say(&bytes.to_string()),
                    Err(error) => say(&format!("{error:?}")),
                }
            }
        }
        "write-too-much" => {
            let output = get_stdout();
            let permit = output.check_write().unwrap_or_default() as usize;
            let _ = output.write(&vec![b'x'; permit + 1]);
        }
        "zeroes" => {
            let _ = get_stdout().write_zeroes(u64::MAX);
        }
        // Writes what is permitted, again and again, without ever waiting.
        "write-without-waiting" => {
            let (output, mut left) = (get_stdout(), number(1));
            while left > 0 {
                let permit = output.check_write().unwrap_or_default().min(left);
                if permit > 0 && output.write(&vec![b'x'; permit as usize]).is_ok() {
                    left -= permit;
                }
            }
        }
        "splice" => {
            let (input, output) = (get_stdin(), get_stdout());
            while output.blocking_splice(&input, u64::MAX).is_ok() {}
        }
        other => say(&format!("unknown: {other}")),
    }
    Ok(())
}

/// Copies standard input to standard output.
fn copy(change: impl Fn(&mut [u8])) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut piece = vec![0; 64 << 10];
    loop {
        let bytes = input.read(&mut piece)?;
        if bytes == 0 {
            return output.flush();
        }
        change(&mut piece[..bytes]);
        output.write_all(&piece[..bytes])?;
    }
}

fn write(mut bytes: u64) -> io::Result<()> {
    let (piece, mut output) = ([b'x'; 16 << 10], io::stdout().lock());
    while bytes > 0 {
        let now = bytes.min(piece.len() as u64);
        output.write_all(&piece[..now as usize])?;
        bytes -= now;
    }
    output.flush()
}

/// Computes for some milliseconds, and leaves a result.
fn work(name: &str) -> io::Result<()> {
    let sum = (0..2_000_000_u64).fold(1_u64, |sum, number| std::hint::black_box(sum.rotate_left(3) ^ number));
    print!("{name} {}", sum & 1);
    io::stdout().flush()
}

fn spin() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

fn sleep() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

/// Rejects the message with this reason.
fn say(text: &str) {
    eprintln!("{text}");
    exit_with_code(DATA_ERROR);
}
