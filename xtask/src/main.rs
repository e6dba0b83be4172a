//! The build tool for newcomers and CI: `cargo xtask demo | test | guests | docs | image | bench | hostile | endure |
//! deny | lint | picture`.
//!
//! This file parses the command line; each command is in the module of its name. Nothing here is part of the product.
//! Nothing is installed outside the user's cache folder, except the link to a rustup toolchain.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a build tool talks to the person who runs it")]

mod apt;
mod checks;
mod command;
mod debian;
mod demo;
mod docs;
mod guests;
mod image;
mod layers;
mod places;
mod program;
mod sbom;
mod servers;
mod sheet;
mod targets;
mod toolchain;
mod tools;

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use crate::places::Places;

const HELP: &str = "\
Usage: cargo xtask <command>

Commands:
  demo                     set up what is missing, build, and make renditions of the photographs in demo/
  test [args…]             set up what is missing, build, and run every test; args go to the test runner
  test --fast [NAME…]      run the tests that take a minute in all, and need no servers, containers or downloads; with
                           names, only those whose names contain one of them
  guests                   build the guest components into target/guests
  guests --cargo-component build them with `cargo component` as well, into target/guests/component
  docs                     write the reference pages from the program, and build the book into target/book
  docs --check             fail if a reference page differs from the program, or a link leads nowhere
  image                    build the container image (with buildah) into target/image
  image --program FILE     the same of a static program that was built elsewhere, maybe for another processor
  bench [name] [args…]     build everything and run the benchmarks, or one of container, images, isolation,
                           languages, queue, scale, serve, simulate, soak, start, task, tenants and watch; args go to
                           `cargo bench`, and those after `--` to the benchmark
  hostile [--repeat N]     run the hostile suite N times (once): on all cores, and on one core (with taskset)
  endure                   run the tests of SQS and S3 that are otherwise short at full length: some ten minutes
  deny [--advisories]      check the licences, versions and sources of all dependencies; with --advisories also
                           known vulnerabilities, whose list comes from GitHub
  lint                     check the Kubernetes manifests for security with checkov, which takes 290 MB
  picture                  make the picture of a worker's page in the README anew, with Chromium: three minutes
  help                     print this text";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match Command::parse(&arguments) {
        Ok(command) => command,
        Err(reason) => {
            eprintln!("xtask: {reason}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    command.run().unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

/// A command from the command line.
#[derive(Debug, PartialEq)]
enum Command<'a> {
    Help,
    Demo,
    Test(&'a [String]),
    TestFast(&'a [String]),
    Guests(guests::Kinds),
    Docs { check: bool },
    Image { program: Option<&'a Path> },
    Bench(&'a [String]),
    Hostile { repeat: u32 },
    Endure,
    Deny { advisories: bool },
    Lint,
    Picture,
}

impl<'a> Command<'a> {
    fn parse(arguments: &'a [String]) -> Result<Self, String> {
        let (name, rest) = match arguments.split_first() {
            Some((name, rest)) => (name.as_str(), rest),
            None => return Err("say which command to run.".into()),
        };
        let command = match name {
            "help" | "-h" | "--help" => Self::Help,
            "demo" => Self::Demo,
            "test" if rest.first().is_some_and(|flag| flag == "--fast") => {
                return match rest[1..].iter().find(|name| name.starts_with('-')) {
                    None => Ok(Self::TestFast(&rest[1..])),
                    Some(flag) => Err(format!("`test --fast` takes names of tests, and not `{flag}`.")),
                };
            }
            "test" => return Ok(Self::Test(rest)),
            "guests" if rest == ["--cargo-component"] => {
                return Ok(Self::Guests(guests::Kinds::CargoAndCargoComponent));
            }
            "guests" => Self::Guests(guests::Kinds::Cargo),
            "docs" if rest == ["--check"] => return Ok(Self::Docs { check: true }),
            "docs" => Self::Docs { check: false },
            "image" => return image(rest),
            "hostile" => return hostile(rest),
            "endure" => Self::Endure,
            "lint" => Self::Lint,
            "picture" => Self::Picture,
            "deny" if rest == ["--advisories"] => return Ok(Self::Deny { advisories: true }),
            "deny" => Self::Deny { advisories: false },
            "bench" => return Ok(Self::Bench(rest)),
            unknown => return Err(format!("there is no command `{unknown}`.")),
        };
        match rest.first() {
            None => Ok(command),
            Some(extra) => Err(format!("`{name}` does not take `{extra}`.")),
        }
    }

    fn run(self) -> Result<ExitCode> {
        if self == Self::Help {
            println!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        let places = Places::find()?;
        match self {
            Self::Help => {}
            Self::Demo => demo::run(&places)?,
            Self::Test(arguments) => return checks::test(&places, arguments),
            Self::TestFast(names) => return checks::test_fast(&places, names),
            Self::Guests(kinds) => guests::build(&places, kinds)?,
            Self::Docs { check: true } => {
                guests::build(&places, guests::Kinds::Cargo)?;
                command::build(&places)?;
                docs::check(&places)?;
            }
            Self::Docs { check: false } => docs::build(&places)?,
            Self::Image { program } => image::run(&places, program)?,
            Self::Bench(arguments) => return checks::bench(&places, arguments),
            Self::Hostile { repeat } => return checks::hostile(&places, repeat),
            Self::Endure => return checks::endure(&places),
            Self::Deny { advisories } => checks::deny(&places, advisories)?,
            Self::Lint => checks::lint(&places)?,
            Self::Picture => return checks::picture(&places),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn image(rest: &[String]) -> Result<Command<'_>, String> {
    match rest {
        [] => Ok(Command::Image { program: None }),
        [flag, file] if flag == "--program" => Ok(Command::Image { program: Some(Path::new(file)) }),
        _ => Err("`image` takes `--program FILE`.".into()),
    }
}

fn hostile(rest: &[String]) -> Result<Command<'_>, String> {
    let repeat = match rest {
        [] => Some(1),
        [flag, number] if flag == "--repeat" => number.parse().ok().filter(|&number| number > 0),
        _ => None,
    };
    let repeat = repeat.ok_or("`hostile` takes `--repeat N`, with a number above 0.")?;
    Ok(Command::Hostile { repeat })
}

#[cfg(test)]
mod tests {
    use super::{Command, guests::Kinds};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn commands_are_read_with_their_arguments() {
        let test = words("test -- worker");
        assert_eq!(Command::parse(&test), Ok(Command::Test(&test[1..])));
        assert_eq!(Command::parse(&words("test --fast")), Ok(Command::TestFast(&[])));
        let fast = words("test --fast lease budget");
        assert_eq!(Command::parse(&fast), Ok(Command::TestFast(&fast[2..])));
        let both = words("guests --cargo-component");
        assert_eq!(Command::parse(&both), Ok(Command::Guests(Kinds::CargoAndCargoComponent)));
        let compared = words("docs --check");
        assert_eq!(Command::parse(&compared), Ok(Command::Docs { check: true }));
        let known = words("deny --advisories");
        assert_eq!(Command::parse(&known), Ok(Command::Deny { advisories: true }));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("", "which command"),
            ("tset", "`tset`"),
            ("demo now", "`now`"),
            ("guests --all", "`--all`"),
            ("deny -v", "`-v`"),
            ("image --program", "FILE"),
            ("test --fast worker --nocapture", "`--nocapture`"),
        ] {
            let reason = Command::parse(&words(line)).expect_err("must be refused");
            assert!(reason.contains(named), "{reason}");
        }
    }
}
