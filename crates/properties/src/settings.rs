//! Configurations and arguments.

use crate::split;
use wasmrun_runtime::model::text::is_unsafe;

/// Parses the bytes before the first NUL as a configuration, and each line of the bytes after it as an argument.
pub fn settings(bytes: &[u8]) {
    let (config, arguments) = split(bytes, 0);
    let (Ok(config), Ok(arguments)) = (std::str::from_utf8(config), std::str::from_utf8(arguments)) else {
        return;
    };
    let arguments: Vec<_> = arguments.lines().collect();
    match wasmrun_cli::fuzzing::settings(config, &arguments) {
        None => {}
        Some(Err(sentence)) => {
            assert!(!sentence.is_empty() && !sentence.contains(is_unsafe), "{sentence:?} is not one line");
        }
        Some(Ok(limits)) => {
            assert!(limits.fuel > 0 && !limits.timeout.is_zero(), "{limits:?} lets no task run");
            // A machine could have as much memory as one task may make the process hold.
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
