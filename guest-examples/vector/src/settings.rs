//! The operator's settings, from the task's environment.

use picture::Format;
use picture_guest::Variables;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The picture's longest side, in pixels.
    pub(crate) max_side: u32,
    pub(crate) format: Format,
    /// `Cache-Control` of the output.
    pub(crate) cache_control: Option<String>,
    /// The size of a file.
    pub(crate) max_bytes: u64,
    /// The number of elements, each counted as often as it is drawn.
    pub(crate) max_elements: u64,
    /// Memory for the file, its elements, and its pixels, in bytes.
    pub(crate) memory: u64,
    /// Leave out what can't be drawn, instead of refusing the file.
    pub(crate) ignores: bool,
}

impl Settings {
    /// Reads the environment variables through `env`. A variable that is absent or empty has its default.
    pub(crate) fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(env);
        let memory = variables.memory()?;
        Ok(Settings {
            max_side: variables.number("MAX_SIDE", 320, 1..=8192)?,
            format: variables.choice("FORMAT", [("png", Format::Png), ("webp", Format::WebP)])?,
            cache_control: variables.cache_control()?,
            max_bytes: variables.number("MAX_BYTES", 4 << 20, 1..=256 << 20)?,
            max_elements: variables.number("MAX_ELEMENTS", 50_000, 1..=10_000_000)?,
            memory,
            ignores: variables.choice("ON_UNSUPPORTED", [("reject", false), ("ignore", true)])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_defaults_and_wrong_ones_are_named() {
        let defaults = Settings::read(|_| None).expect("there are defaults");
        assert_eq!((defaults.max_side, defaults.format, defaults.ignores), (320, Format::Png, false));
        let wrong = [
            ("MAX_SIDE", "0"),
            ("FORMAT", "jpeg"),
            ("CACHE_CONTROL", "no-store "),
            ("MAX_BYTES", "x"),
            ("MAX_ELEMENTS", "0"),
            ("TASK_MEMORY_MIB", "1"),
            ("ON_UNSUPPORTED", "no"),
        ];
        for (key, value) in wrong {
            let error = Settings::read(|name| (name == key).then(|| value.to_owned()));
            assert!(error.is_err_and(|error| error.starts_with(&format!("{key} is \"{value}\""))));
        }
    }
}
