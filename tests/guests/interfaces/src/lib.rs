//! Runs the command in its message with the interfaces that WASI proposes: configuration values, log messages and
//! key-value buckets. The body is a command and its arguments, separated by spaces.
//!
//! A command returns its observations as the reason of a rejection, the only text that a task can return.

mod config;
mod keyvalue;
mod logging;

use std::str::FromStr;

use std::time::Duration;
use wasmrun_guest::{Failure, Message, Store, handler};

/// The proposals as they are published.
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package test:interfaces;

            world interfaces {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:logging/logging@0.1.0-draft;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
            }
        ",
        path: [
            "../../../crates/runtime/worlds/wasi-config",
            "../../../crates/runtime/worlds/wasi-logging",
            "../../../crates/runtime/worlds/wasi-keyvalue-draft",
            "../../../crates/runtime/worlds/wasi-keyvalue-draft2",
        ],
        generate_all,
    });
}

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    let body = message.body();
    let mut words = Words(body.trim());
    match words.next() {
        "config-get" => config::get(words.rest()),
        "config-all" => config::all(),
        "config-loop" => config::endless(words.number()?),
        "log" => logging::log(words.next(), words.next(), words.rest()),
        "log-lines" => logging::lines(words.number()?),
        "log-bytes" => logging::bytes(words.number()?, words.number()?),
        "log-loop" => logging::endless(words.number()?),
        "work" => {
            let key = words.next();
            Ok(Store::open("output")?.put(key, format!("{key} done").as_bytes()).map(drop)?)
        }
        "sleep" => {
            std::thread::sleep(Duration::from_millis(words.number()?));
            Ok(())
        }
        command => match command.strip_prefix("kv-") {
            Some(command) => keyvalue::call(command, words),
            None => Err(Failure::reject("unknown command")),
        },
    }
}

/// The unread rest of a command.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        word
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Failure> {
        let word = self.next();
        word.parse().map_err(|_| Failure::reject(format!("{word:?} is no number")))
    }

    fn rest(&self) -> &'a str {
        self.0
    }
}
