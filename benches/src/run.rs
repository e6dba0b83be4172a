//! What the program is started for: figures, by `cargo bench`; a test, by a test runner; the work of a child process, by itself.

use std::process::{Command, ExitCode};

/// A benchmark: its name, and the function that measures it.
pub type Benchmark = (&'static str, fn(&Arguments));
/// The work of a child process: its name, and the function, which gets the arguments that follow the name.
pub type Child = (&'static str, fn(&[String]));

/// The first argument of a child process.
const CHILD: &str = "--child";
/// Flags that a value follows: those of the benchmarks, and those that a test runner may pass.
const WITH_VALUE: [&str; 7] =
    ["--only", "--minutes", "--skip", "--format", "--color", "--logfile", "--test-threads"];

/// How much a benchmark measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A few measurements of each kind, to check that the benchmark works: as a test, and with `--quick`.
    Quick,
    /// Enough for figures.
    Full,
}

impl Size {
    /// One of two settings.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// This program as a child process that does the work of this name.
pub fn child(name: &str) -> Command {
    let mut command = this_program();
    command.args([CHILD, name]);
    command
}

/// Does what this program's arguments ask for.
///
/// cargo passes `--bench` to ask for figures. Test runners ask for a `--list` first, and then run each benchmark by its
/// exact name: <https://nexte.st/docs/design/custom-test-harnesses/>
pub fn main(benchmarks: &[Benchmark], children: &[Child]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, rest @ ..] = &words[..]
        && flag == CHILD
    {
        let (_, work) = children.iter().find(|(known, _)| known == name).expect("a child's work");
        work(rest);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::new(words);
    let names = || benchmarks.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if arguments.given("--help") {
        println!("Usage: cargo xtask bench [NAME] [-- --quick]\n\nBenchmarks: {}", names());
        return ExitCode::SUCCESS;
    }
    let selected = match arguments.selected(benchmarks) {
        Ok(selected) => selected,
        Err(unknown) => {
            eprintln!("There is no benchmark {unknown}. The benchmarks are {}.", names());
            return ExitCode::from(2);
        }
    };
    if arguments.given("--list") {
        selected.iter().for_each(|(name, _)| println!("{name}: test"));
    } else if let [(_, measure)] = selected[..] {
        measure(&arguments);
    } else {
        // What one leaves in its process, such as threads, isn't measured with the next.
        let failed = selected.iter().filter(|(name, _)| !arguments.succeeds_alone(name)).count();
        if failed > 0 {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("the path of this program"))
}

/// The arguments of the program.
pub struct Arguments {
    /// Names of benchmarks, or parts of names.
    filters: Vec<String>,
    /// Flags, and the values that follow them.
    flags: Vec<String>,
    /// How much to measure.
    pub size: Size,
}

impl Arguments {
    fn new(words: Vec<String>) -> Self {
        let (mut filters, mut flags) = (Vec::new(), Vec::<String>::new());
        for word in words {
            let is_value = flags.last().is_some_and(|flag| WITH_VALUE.contains(&flag.as_str()));
            if is_value || word.starts_with('-') { flags.push(word) } else { filters.push(word) }
        }
        let mut arguments = Self { filters, flags, size: Size::Quick };
        if arguments.given("--bench") && !arguments.given("--quick") {
            arguments.size = Size::Full;
        }
        arguments
    }

    /// Whether a flag is given.
    pub fn given(&self, flag: &str) -> bool {
        self.flags.iter().any(|word| word == flag)
    }

    /// The value that follows a flag.
    pub fn option(&self, flag: &str) -> Option<&str> {
        self.options(flag).next()
    }

    /// The values that follow a flag, which may be given several times.
    fn options(&self, flag: &str) -> impl Iterator<Item = &str> {
        self.flags.windows(2).filter(move |words| words[0] == flag).map(|words| words[1].as_str())
    }

    /// Whether `--only` selects the part of this name, or isn't given.
    pub fn wants(&self, part: &str) -> bool {
        self.option("--only").is_none_or(|only| only == part)
    }

    /// The benchmarks that the filters select. For `cargo bench`, a filter is a whole name.
    ///
    /// # Errors
    ///
    /// Returns a name that `cargo bench` was asked for and that isn't known.
    fn selected<'a>(&self, benchmarks: &'a [Benchmark]) -> Result<Vec<&'a Benchmark>, String> {
        let filters = &self.filters;
        let is_bench = self.given("--bench");
        let is_known = |filter: &str| benchmarks.iter().any(|(name, _)| *name == filter);
        if is_bench && let Some(unknown) = filters.iter().find(|filter| !is_known(filter)) {
            return Err(unknown.clone());
        }
        if self.given("--ignored") {
            return Ok(Vec::new());
        }
        let matches = |name: &str, filter: &str| match is_bench || self.given("--exact") {
            true => name == filter,
            false => name.contains(filter),
        };
        let is_selected = |(name, _): &&Benchmark| {
            (filters.is_empty() || filters.iter().any(|filter| matches(name, filter)))
                && !self.options("--skip").any(|skipped| matches(name, skipped))
        };
        Ok(benchmarks.iter().filter(is_selected).collect())
    }

    /// Runs one benchmark in a process of its own, with the other arguments. Returns whether it succeeded.
    fn succeeds_alone(&self, name: &str) -> bool {
        let mut command = this_program();
        let succeeded =
            command.args([name, "--exact"]).args(&self.flags).status().expect("a process").success();
        if !succeeded {
            eprintln!("The benchmark {name} failed.");
        }
        succeeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(Into::into).collect())
    }

    fn selected(line: &str) -> String {
        match arguments(line).selected(&["start", "task", "tenants"].map(|name| (name, (|_| {}) as fn(&_)))) {
            Ok(selected) => selected.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" "),
            Err(unknown) => format!("no {unknown}"),
        }
    }

    #[test]
    fn figures_are_measured_for_cargo_bench_only() {
        let size = |line| arguments(line).size;
        assert_eq!([size("task --bench"), size("--bench")], [Size::Full; 2]);
        assert_eq!([size("task --quick --bench"), size("task --exact"), size("")], [Size::Quick; 3]);
    }

    #[test]
    fn a_test_runner_selects_benchmarks_by_name() {
        assert_eq!(selected("--list --format terse"), "start task tenants");
        assert_eq!(selected("--list --format terse --ignored"), "");
        assert_eq!(selected("task --exact --nocapture"), "task");
        assert_eq!(selected("--nocapture --exact task"), "task");
        assert_eq!(selected("t --exact"), "");
        assert_eq!(selected("ta --test-threads 1"), "start task");
        assert_eq!(selected("--skip task --skip start"), "tenants");
        assert_eq!(selected("a_test_of_something_else"), "");
    }

    #[test]
    fn cargo_bench_names_benchmarks_that_exist() {
        assert_eq!(selected("--bench"), "start task tenants");
        assert_eq!(selected("task --only start --minutes 1 --quick --bench"), "task");
        assert_eq!(selected("ta --bench"), "no ta");
    }

    #[test]
    fn parts_are_selected_by_only() {
        let one = arguments("task --only limits --bench");
        assert!(one.wants("limits") && !one.wants("start"));
        assert!(arguments("task --bench").wants("limits"));
    }
}
