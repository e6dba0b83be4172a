//! The adapter for commands: components that export `wasi:cli/run`, such as a program with `main`.
//!
//! Standard input is the announced object or the body, variables describe the message, the exit code is the outcome, and
//! standard output is the log or an object.
//!
//! | module | owns |
//! |---|---|
//! | `exit` | the outcome of each exit code |
//! | `template` | names of objects, built from the key of the announced object |
//! | `environment` | the variables of a message |

mod environment;
mod exit;
mod template;

pub(crate) use self::environment::{describe, variables};
pub(crate) use self::exit::ExitedWith;
pub use self::exit::{ExitCodes, ExitMeaning};
pub use self::template::{KeyTemplate, ObjectTemplate};

use self::environment::PREFIX;
use self::template::Names;
use super::grant::{Grants, Mode, StoreGrant, check_key};
use super::host::files::MESSAGE_BYTES;
use super::host::object_store::{self, Fault};
use super::host::{Failure, Handled};
use super::store::{Delivered, TaskState};
use super::stream::{End, Input, Name, Output, STREAM_BYTES};
use super::world::World;
use crate::model::outcome::shorten;
use std::sync::Arc;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::Command;

/// The names of the streams in errors.
const INPUT: &str = "standard input";
const OUTPUT: &str = "standard output";
/// The first argument of every command: programs expect their own name there.
pub(crate) const NAME: &str = "command";
/// Bytes that the host holds for a command in addition to what any task holds: its connected streams, its variables with
/// the copy that the guest is given, and the description of its message.
pub(crate) const COMMAND_BYTES: usize = 2 * STREAM_BYTES + 2 * environment::MAX_BYTES + MESSAGE_BYTES;

/// Standard input and output of a command that may be connected to objects. They are closed until then.
#[derive(Default)]
pub(crate) struct Pipes {
    pub(crate) input: Input,
    pub(crate) output: Output,
}

/// How commands are run. It has no meaning for components of wasmrun's own world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandOptions {
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// The outcome of each exit code.
    pub exit_codes: ExitCodes,
    /// The object on standard input. `None`: the object that the message announces, or its body.
    pub input: Option<ObjectTemplate>,
    /// The object that standard output is written to when the task completes. `None`: the log.
    pub output: Option<ObjectTemplate>,
}

impl CommandOptions {
    /// Checks that the stores of the objects are granted, and that no granted variable takes the name of one that
    /// describes the message.
    ///
    /// # Errors
    ///
    /// Names the missing grant, or the variable.
    pub fn check(&self, grants: &Grants) -> Result<(), String> {
        if let Some((name, _)) = grants.env.iter().find(|(name, _)| name.starts_with(PREFIX)) {
            return Err(format!(
                "the environment key {name:?} cannot be granted to a command, as keys that begin with {PREFIX} describe its message: \
                 choose another name"
            ));
        }
        let check = |object: &Option<ObjectTemplate>, flag, mode, suffices: fn(Mode) -> bool| match object {
            Some(ObjectTemplate { store, .. })
                if !grants.stores.get(store).is_some_and(|grant| suffices(grant.mode)) =>
            {
                Err(format!(
                    "{flag} names the store {store:?}, which is not granted as {mode} or rw: add --store {store}=URL:{mode}"
                ))
            }
            _ => Ok(()),
        };
        check(&self.input, "--input-object", "ro", Mode::reads)?;
        check(&self.output, "--output-object", "wo", Mode::writes)
    }

    /// Returns whether standard input is an object, and not the body.
    pub(crate) fn reads_object(&self, delivered: &Delivered) -> bool {
        self.input.is_some() || (delivered.body_hidden && !delivered.objects.is_empty())
    }

    /// Refuses options that have no effect, as the component is no command.
    pub(crate) fn check_unused(&self, world: World) -> Result<(), String> {
        if *self == Self::default() {
            return Ok(());
        }
        Err(format!(
            "--arg, --exit-code, --input-object and --output-object are for commands, and the component is of the world {}: \
             remove them",
            world.as_str()
        ))
    }
}

/// Runs a command for a message, from the opening of its streams to the completion of its output.
pub(super) async fn run(command: &Command, store: &mut Store<TaskState>, delivered: &Delivered) -> Handled {
    let config = store.data().config.clone();
    let default = CommandOptions::default();
    let options = config.command.as_deref().unwrap_or(&default);
    if let Err(failure) = connect(store.data_mut(), options, delivered).await? {
        return Ok(Err(failure));
    }
    let code = match command.wasi_cli_run().call_run(&mut *store).await {
        Ok(Ok(())) => 0,
        Ok(Err(())) => 1,
        Err(error) => match error.downcast_ref() {
            Some(I32Exit(code)) => *code,
            None => return Err(error),
        },
    };
    let state = store.data_mut();
    // The last words may be an incomplete line.
    state.log.finish();
    let reason = || state.log.last_words().unwrap_or_else(|| ExitedWith(code).to_string());
    Ok(match options.exit_codes.meaning(code) {
        ExitMeaning::Completed => Ok(()),
        ExitMeaning::Retry => Err(Failure::retry(reason())),
        ExitMeaning::Rejected => Err(Failure::Reject(reason())),
        ExitMeaning::Trapped => return Err(ExitedWith(code).into()),
    })
}

/// Connects the standard streams to their objects.
async fn connect(state: &mut TaskState, options: &CommandOptions, delivered: &Delivered) -> Handled {
    let names =
        Names { key: delivered.objects.first().map(|object| &*object.key), id: &delivered.message.id };
    let input = match input_object(options, delivered, names) {
        Ok(input) => input,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Some((alias, key, version)) = input {
        let opened = match granted(state, &alias, &key) {
            Ok(grant) => state.open_reader(grant, key.clone(), version, None).await,
            Err(failure) => return Ok(Err(failure)),
        };
        match opened {
            Ok((end, hold)) => {
                let name = Arc::new(Name::new(alias, key, Some(INPUT)));
                if let Some(pipes) = &state.pipes {
                    // The pipes themselves are part of `COMMAND_BYTES`.
                    pipes.input.connect(&state.streams, End { name, end, hold }, None);
                }
            }
            Err(fault) => return refused(INPUT, &alias, &key, fault),
        }
    }
    if let Some(template) = &options.output {
        let key = match template.key.expand(names) {
            Ok(key) => key,
            Err(why) => return Ok(Err(Failure::Reject(format!("standard output: {why}")))),
        };
        let alias = &template.store;
        let opened = match granted(state, alias, &key) {
            Ok(grant) => state.open_writer(grant, key.clone(), Default::default()).await,
            Err(failure) => return Ok(Err(failure)),
        };
        match opened {
            Ok((end, hold)) => {
                let name = Arc::new(Name::new(alias.clone(), key, Some(OUTPUT)));
                if let Some(pipes) = &state.pipes {
                    pipes.output.connect(&state.streams, End { name, end, hold });
                }
            }
            Err(fault) => return refused(OUTPUT, alias, &key, fault),
        }
    }
    Ok(Ok(()))
}

/// Returns the store, the key and the version of the object on standard input, if there is one.
fn input_object(
    options: &CommandOptions,
    delivered: &Delivered,
    names: Names<'_>,
) -> Result<Option<(String, String, Option<String>)>, Failure> {
    match (&options.input, &*delivered.objects) {
        (Some(template), _) => match template.key.expand(names) {
            Ok(key) => Ok(Some((template.store.clone(), key, None))),
            Err(why) => Err(Failure::Reject(format!("standard input: {why}"))),
        },
        (None, [object]) if delivered.body_hidden => {
            Ok(Some((object.alias.clone(), object.key.clone(), object.version.clone())))
        }
        (None, [_, _, ..]) if delivered.body_hidden => Err(Failure::Reject(format!(
            "the message announces {} objects, and a command reads one: --raw-body puts the event on standard input",
            delivered.objects.len()
        ))),
        _ => Ok(None),
    }
}

/// Returns the grant of a store if the key can be used. [`CommandOptions::check`] has seen that the store is granted.
fn granted(state: &TaskState, alias: &str, key: &str) -> Result<StoreGrant, Failure> {
    check_key(key).map_err(|bad| {
        Failure::Reject(format!("the key {:?} in the store {alias} cannot be used: {bad}", shorten(key)))
    })?;
    let missing = || Failure::Reject(format!("the store {alias} is not granted"));
    state.config.grants.stores.get(alias).cloned().ok_or_else(missing)
}

/// Completes the object on standard output, if there is one.
pub(super) async fn complete(state: &mut TaskState) -> Handled {
    let Some(output) = state.pipes.as_ref().and_then(|pipes| pipes.output.take()) else { return Ok(Ok(())) };
    let name = output.name().clone();
    match state.complete(output).await {
        Ok(()) => Ok(Ok(())),
        Err(fault) => refused(OUTPUT, &name.alias, &name.key, fault),
    }
}

/// Converts a store's error about a stream's object. What the store will always refuse is rejected, the rest is retried.
pub(crate) fn refused(stream: &str, alias: &str, key: &str, fault: Fault) -> Handled {
    let (what, is_final) = match fault {
        Fault::Trap(trap) => return Err(trap),
        Fault::Error(error) => object_store::in_words(&error),
    };
    let reason = format!("{stream}: {what} ({:?} in the store {alias})", shorten(key));
    Ok(Err(if is_final { Failure::Reject(reason) } else { Failure::retry(reason) }))
}
