//! Runs the workload that a benchmark asks for. The body is a command and its arguments, separated by spaces. The work
//! is the same code that the benchmarks' native program runs.

#[path = "../../../../benches/native/src/work.rs"]
mod work;

use std::hint::black_box;
use std::str::FromStr;

use wasmrun_guest::{Failure, Message, Store, handler};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    let body = message.body();
    let mut words = Words(body.split_whitespace());
    match words.next()? {
        "empty" => Ok(()),
        "hash" => {
            work::hash();
            Ok(())
        }
        "hold-empty" => work::hold(()),
        "hold-hash" => work::hold(work::hash()),
        "spin" => work::spin(),
        "calls" => calls(&message, words.number()?),
        "put" => put(words.number()?, words.number()?),
        "get" => get(words.number()?, words.number()?),
        unknown => Err(Failure::reject(format!("there is no command {unknown:?}"))),
    }
}

/// `calls N`: makes the cheapest host call N times.
fn calls(message: &Message, times: u64) -> Result<(), Failure> {
    for _ in 0..times {
        black_box(message.receive_count());
    }
    Ok(())
}

/// `put SIZE N`: writes the same object of SIZE bytes N times.
fn put(size: usize, times: u64) -> Result<(), Failure> {
    let store = Store::open("objects")?;
    let content = vec![1; size];
    for _ in 0..times {
        store.new_object("object").put(&content)?;
    }
    Ok(())
}

/// `get SIZE N`: reads the same object of SIZE bytes N times.
fn get(size: usize, times: u64) -> Result<(), Failure> {
    let store = Store::open("objects")?;
    for _ in 0..times {
        let content = store.get("object")?.content;
        if content.len() != size {
            return Err(Failure::reject(format!("the object has {} bytes", content.len())));
        }
    }
    Ok(())
}

struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, Failure> {
        self.0.next().ok_or_else(|| Failure::reject("a word is missing"))
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Failure> {
        self.next()?.parse().map_err(|_| Failure::reject("a number is missing"))
    }
}
