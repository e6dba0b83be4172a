//! Runs the command in its message: everything that a task can do wrong, and the observations that tests need from
//! inside a task. The body is a command and its arguments, separated by spaces. The modules group the commands by what
//! they try. For a message that announces objects, the guest writes the digests of the objects.
//!
//! A command returns its observations as the reason of a rejection, the only text that a task can return. A successful
//! call logs its result and completes. A failed call is rejected with the name of the error.

mod compute;
mod digest;
mod flood;
mod keys;
mod lies;
mod memory;
mod queues;
mod stores;
mod world;

use std::str::FromStr;
use std::time::Duration;

use wasmrun_guest::{Failure, Message, handler};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    let objects = message.objects();
    if !objects.is_empty() {
        return digest::write(&objects);
    }
    obey(message.body().trim(), &message)
}

/// Carries out one command, or with `all` several, separated by semicolons.
fn obey(command: &str, message: &Message) -> Result<(), Failure> {
    let mut words = Words(command);
    match words.next() {
        "ok" => Ok(()),
        "all" => words.rest().split(';').try_for_each(|command| obey(command.trim(), message)),
        "retry" => Err(retry(words)?),
        "reject" => Err(Failure::reject(words.rest())),
        "reject-bytes" => Err(Failure::reject("x".repeat(words.number()?))),
        "work" => digest::work(words.next(), words.number()?),

        "loop" => compute::spin(),
        "loop-host" => flood::endless(words.next(), message),
        "busy" => compute::busy(milliseconds(&mut words)?),
        "sleep" => compute::sleep(milliseconds(&mut words)?),
        "sleep-forever" => compute::sleep_forever(),
        "call-after" => compute::call_after(milliseconds(&mut words)?),
        "recurse" => compute::recurse(),
        "recurse-host" => compute::recurse_through_the_host(message),
        "panic" => panic!("{}", words.rest()),
        "panic-bytes" => panic!("{}", "x".repeat(words.number()?)),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(words.number()?),
        "unreachable" => compute::unreachable(),
        "divide-by-zero" => compute::divide_by_zero(),

        "alloc" => memory::allocate_without_end(),
        "alloc-catch" => memory::allocate_and_catch(words.number()?),
        "grow" => memory::grow_as_far_as_it_goes(),
        "memory-fill" => memory::fill(),
        "memory-copy" => memory::copy(),
        "leak-bodies" => memory::leak_bodies(message),
        "stack-array" => memory::stack_array(),
        "out-of-bounds" => memory::out_of_bounds(),
        "canary-write" => memory::canary_write(words.number()?),
        "canary-read" => memory::canary_read(words.number()?),
        // Within one task the canary must be seen. Otherwise the two commands above prove nothing.
        "canary-write-read" => {
            let byte = words.number()?;
            memory::canary_write(byte)?;
            memory::canary_read(byte)
        }

        "use-after-drop" => lies::use_after_drop(),
        "use-handle" => lies::use_handle(words.number()?),
        "use-message-as-store" => lies::use_message_as_store(message),
        "drop-twice" => lies::drop_twice(),
        "finish-twice" => lies::finish_twice(),
        "copy-to-itself" => lies::copy_to_itself(),
        "realloc" => lies::realloc(words.number()?, words.number()?),

        "log" => world::log(words.number()?, words.rest()),
        "log-bytes" => world::log_bytes(words.number()?),
        "log-call" => flood::log_call(words.number()?),
        "log-untouched" => flood::log_untouched(words.number()?),
        "log-lines" => flood::log_lines(words.number()?),
        "zeroes" => flood::zeroes(words.number()?),
        "blocking-zeroes" => flood::blocking_zeroes(words.number()?),
        "stdin" => Err(flood::stdin()),
        "random" => flood::random(words.number()?),
        "pollables" => flood::pollables(words.number()?),
        "poll-forever" => flood::poll_for_ever(words.number()?),
        "waits" => flood::waits(words.number()?, milliseconds(&mut words)?),
        "timers" => Err(flood::timers(milliseconds(&mut words)?)),
        "print" => world::print(words.rest()),
        "env" => Err(world::env(words.rest())),
        "args" => Err(world::args()),
        "preopens" => Err(world::preopens()),
        "sockets" => Err(world::sockets()),

        "get" => stores::get(words.alias("input"), words.rest()),
        "head" => stores::head(words.alias("input"), words.rest()),
        "list" => stores::list(words.alias("input"), words.rest()),
        "list-none" => stores::list_none(words.alias("input"), words.rest()),
        "put-like" => stores::put_like(words.next(), words.rest()),
        "delete" => stores::delete(words.alias("output"), words.rest()),
        "put" => stores::put(words.alias("output"), words.next(), words.rest()),
        "put-nonce" => stores::put_nonce(words.alias("output"), words.rest()),
        "range" => stores::range(words.number()?, words.number()?, words.rest()),
        "put-new" => stores::put_new(words.alias("output"), words.next(), words.rest()),
        "write-bytes" => stores::write_bytes(words.alias("output"), words.number()?, words.rest()),
        "write-cached" => {
            stores::write_cached(words.alias("output"), words.number()?, words.next(), words.rest())
        }
        "copy" => stores::copy(words.next(), words.rest()),
        "open-readers" => stores::open_readers(words.alias("input"), words.number()?, words.rest()),
        "open-writers" => stores::open_writers(words.alias("output"), words.number()?, words.rest()),
        "writer-unfinished" => stores::writer_unfinished(words.alias("output"), words.rest()),
        "writer-leaked" => stores::writer_leaked(words.alias("output"), words.rest()),
        "exit-half-way" => stores::exit_half_way(words.rest()),
        "read-again" => stores::read_again(words.alias("input"), words.rest()),
        "write-on" => stores::write_on(words.alias("output"), words.rest()),
        "copy-again" => stores::copy_again(words.next(), words.rest()),
        "metadata" => stores::metadata(words.alias("output"), words.number()?, words.number()?),
        "absurd-ranges" => stores::absurd_ranges(words.alias("input"), words.rest()),
        "keys" => keys::probe(words.rest()),
        "normal-forms" => keys::normal_forms(),

        "send" => queues::send(words.alias("next"), words.number()?),
        "send-bytes" => queues::send_bytes(words.alias("next"), words.number()?),
        "send-batches" => queues::send_batches(words.alias("next"), words.number()?, words.number()?),
        "send-invalid" => queues::send_invalid(words.alias("next")),

        _ => Err(Failure::reject("unknown command")),
    }
}

fn retry(mut words: Words) -> Result<Failure, Failure> {
    let seconds = words.peek().parse().ok();
    if seconds.is_some() {
        words.next();
    }
    let failure = Failure::retry(words.rest());
    Ok(match seconds {
        Some(seconds) => failure.after(Duration::from_secs(seconds)),
        None => failure,
    })
}

fn milliseconds(words: &mut Words) -> Result<Duration, Failure> {
    Ok(Duration::from_millis(words.number()?))
}

/// The unread rest of a command.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn peek(&self) -> &'a str {
        self.0.split(' ').next().unwrap_or_default()
    }

    fn next(&mut self) -> &'a str {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        word
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Failure> {
        let word = self.next();
        word.parse().map_err(|_| Failure::reject(format!("{word:?} is no number")))
    }

    /// Reads `@ALIAS`, which names another store or queue than the command's default.
    fn alias(&mut self, default: &'a str) -> &'a str {
        match self.peek().strip_prefix('@') {
            Some(alias) => {
                self.next();
                alias
            }
            None => default,
        }
    }

    fn rest(&self) -> &'a str {
        self.0
    }
}
