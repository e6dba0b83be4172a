//! How a benchmark is called: by `cargo bench`, or as one of the tests by `cargo test` and cargo-nextest.

/// How much a benchmark measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Each thing once or a few times, to see that it works: what a test does, and `--quick`.
    Quick,
    /// Enough for figures.
    Full,
}

/// Reads this program's arguments; `None`: there is nothing to run.
///
/// cargo passes `--bench` where figures are wanted. Test runners ask for a `--list` first, and may pass a filter.
/// <https://nexte.st/docs/design/custom-test-harnesses/>
#[allow(clippy::print_stdout, reason = "a test runner reads the list")]
pub fn size(name: &str) -> Option<Size> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let request = request(name, &arguments);
    if request == Request::List {
        println!("{name}: test");
    }
    match request {
        Request::Run(size) => Some(size),
        Request::List | Request::Nothing => None,
    }
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
        let quick = given("--quick") || given("--test");
        return Request::Run(if quick { Size::Quick } else { Size::Full });
    }
    let is_filter = |at: usize| {
        let of_format = at > 0 && arguments[at - 1] == "--format";
        !arguments[at].starts_with('-') && !of_format
    };
    let mut filters = (0..arguments.len()).filter(|at| is_filter(*at)).peekable();
    let left_out = filters.peek().is_some() && !filters.any(|at| name.contains(&arguments[at]));
    if given("--ignored") || left_out {
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
