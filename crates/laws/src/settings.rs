//! Configurations and arguments.

use crate::split;
use wasmrun_runtime::model::text::is_unsafe;

/// Takes the bytes up to the first NUL as a configuration, and those after it as arguments, one a line.
pub fn settings(bytes: &[u8]) {
    let (config, arguments) = split(bytes, 0);
    let (Ok(config), Ok(arguments)) = (std::str::from_utf8(config), std::str::from_utf8(arguments)) else {
        return;
    };
    let arguments: Vec<_> = arguments.lines().collect();
    match wasmrun_cli::fuzzing::settings(config, &arguments) {
        None => {}
        Some(Err(sentence)) => {
            assert!(!sentence.is_empty() && !sentence.contains(is_unsafe), "{sentence:?} isn't one line");
        }
        Some(Ok(limits)) => {
            assert!(limits.fuel > 0 && !limits.timeout.is_zero(), "{limits:?} lets no task run");
            // What one task can make the process hold is no more than a machine could have.
            assert!(limits.task_bytes() < 1 << 40, "{limits:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmrun_cli::fuzzing::settings;

    #[test]
    fn what_is_right_is_merged_and_what_is_wrong_is_said() {
        let limits = settings("component = 'x'\n[limits]\nfuel = 5", &["--memory", "1MiB"]);
        let limits = limits.expect("arguments").expect("settings");
        assert_eq!((limits.fuel, limits.memory_bytes), (5, 1 << 20));
        let error = settings("component = 'x'", &["--on", "rejected=explode"]).expect("arguments");
        assert!(error.expect_err("refused").contains("explode"));
        assert!(settings("", &["--no-such-flag"]).is_none());
    }
}
