//! What a handler can do wrong.

use crate::exchange::Exchange;
use crate::wait_for;
use std::hint::black_box;
use wasip2::cli::exit::exit_with_code;
use wasip2::http::types::{ErrorCode, ResponseOutparam};

/// A text of the guest that no client may see.
const SECRET: &str = "the secret of the guest";
/// Length that a response claims, and that it doesn't have.
const CLAIMED: &str = "1000";

pub(crate) fn handle(exchange: Exchange, command: &str, word: &str, key: &str) {
    match command {
        "spin" => spin(),
        "allocate" => allocate(),
        "panic" => panic!("{SECRET}"),
        "none" => {}
        "error" => {
            ResponseOutparam::set(exchange.respond, Err(ErrorCode::InternalError(Some(SECRET.into()))));
        }
        "exit" => exit_with_code(word.parse().unwrap_or_default()),
        "half" => half(exchange, word, key, &[]),
        "half-sized" => half(exchange, word, key, &[("content-length", CLAIMED)]),
        "full-then-panic" => {
            exchange.say(200, "all of it\n");
            wait_for(word);
            panic!("{SECRET}");
        }
        "head" => {
            let value = "x".repeat(word.parse().unwrap_or_default());
            exchange.begin(200, &[("x-long", &value)]).finish();
        }
        _ => exchange.say(404, "no such command\n"),
    }
}

/// Sends half of a body, waits for an object if a key is named, and ends as `how` says.
fn half(exchange: Exchange, how: &str, key: &str, headers: &[(&str, &str)]) {
    let mut body = exchange.begin(200, headers);
    body.write(b"half of it ");
    body.flush();
    if !key.is_empty() {
        wait_for(key);
    }
    match how {
        "panic" => panic!("{SECRET}"),
        "spin" => spin(),
        "allocate" => allocate(),
        "exit" => exit_with_code(0),
        // Returns as if all were well, without the end of the body.
        "drop" => drop(body),
        // Says that the body is whole.
        _ => body.finish(),
    }
}

fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn allocate() {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; 1 << 20]));
    }
}
