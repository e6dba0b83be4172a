//! How a benchmark is started: by `cargo bench`, as one of the tests, or by itself as a child process.

use std::process::Command;

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

/// Reads this program's arguments. Returns `None` if there is nothing to measure.
///
/// cargo passes `--bench` to ask for figures. Test runners ask for a `--list` first, and may pass a filter.
/// <https://nexte.st/docs/design/custom-test-harnesses/>
#[allow(clippy::print_stdout, reason = "a test runner reads the list")]
pub fn size(name: &str) -> Option<Size> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match request(name, &arguments) {
        Request::Run(size) => return Some(size),
        Request::List => println!("{name}: test"),
        Request::Nothing => {}
    }
    None
}

/// The value that follows a flag among this program's arguments.
pub fn option(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}

/// The part of a benchmark that `--only NAME` selects; all of it without that flag.
pub struct Only(Option<String>);

impl Only {
    /// Reads this program's arguments.
    pub fn given() -> Self {
        Self(option("--only"))
    }

    /// Whether the part of this name is selected.
    pub fn wants(&self, part: &str) -> bool {
        self.0.as_deref().is_none_or(|only| only == part)
    }

    /// Whether all parts are selected.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }
}

/// This program as a child process, with a flag that [`child_arguments`] recognizes.
pub fn child(flag: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.arg(flag);
    command
}

/// The arguments that follow the flag of a child process. Returns `None` if this program isn't that child.
pub fn child_arguments(flag: &str) -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next().as_deref() == Some(flag)).then(|| arguments.collect())
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Run(Size),
    List,
    Nothing,
}

fn request(name: &str, arguments: &[String]) -> Request {
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if given("--bench") {
        return Request::Run(if given("--quick") { Size::Quick } else { Size::Full });
    }
    let is_filter =
        |at: usize| !arguments[at].starts_with('-') && (at == 0 || arguments[at - 1] != "--format");
    let mut filters = (0..arguments.len()).filter(|at| is_filter(*at)).peekable();
    let excluded = filters.peek().is_some() && !filters.any(|at| name.contains(&arguments[at]));
    if given("--ignored") || excluded {
        Request::Nothing
    } else if given("--list") {
        Request::List
    } else {
        Request::Run(Size::Quick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_measured_for_cargo_bench_only() {
        let request = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
            request("task", &words)
        };
        assert_eq!(request("--bench"), Request::Run(Size::Full));
        assert_eq!(request("--quick --bench"), Request::Run(Size::Quick));
        assert_eq!(request(""), Request::Run(Size::Quick));
        assert_eq!(request("task --exact --nocapture"), Request::Run(Size::Quick));
        assert_eq!(request("--list --format terse"), Request::List);
        assert_eq!(request("--list --format terse --ignored"), Request::Nothing);
        assert_eq!(request("worker"), Request::Nothing);
    }
}
