//! The operator's settings, from the task's environment.

use std::ops::RangeInclusive;

use picture::Bounds;
use picture_guest::Variables;

use crate::template::{Field, Template};

/// The crate `picture` counts at most one frame more.
const MAX_FRAMES: RangeInclusive<u32> = 1..=65_534;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) renditions: Source,
    /// The key of the sidecar, if there is one.
    pub(crate) sidecar: Option<Template>,
    /// Whether the sidecar says when and with which camera a picture was taken.
    pub(crate) exif: bool,
    /// Whether the sidecar says where.
    pub(crate) gps: bool,
    /// Whether copyright and creator are kept in each output and in the sidecar.
    pub(crate) keeps_rights: bool,
    /// `Cache-Control` of outputs that have no other.
    pub(crate) cache_control: Option<String>,
    /// What a picture may cost.
    pub(crate) bounds: Bounds,
    /// Number of frames of an animation, of which only the first is shown.
    pub(crate) max_frames: u32,
}

/// Where the renditions are described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In the environment.
    Text(String),
    /// In an object of a granted store.
    Object { store: String, key: String },
}

impl Source {
    /// Returns the name of the variable.
    pub(crate) fn setting(&self) -> &'static str {
        match self {
            Source::Text(_) => "RENDITIONS",
            Source::Object { .. } => "RENDITIONS_OBJECT",
        }
    }
}

impl Settings {
    /// Reads the environment variables through `env`. A variable that is absent or empty has its default.
    pub(crate) fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(env);
        let flag = |key| variables.choice(key, [("no", false), ("yes", true)]);
        let memory = variables.memory()?;
        let has_sidecar = flag("SIDECAR")?;
        let env = |key: &str| variables.text(key);
        Ok(Settings {
            renditions: source(env)?,
            sidecar: has_sidecar.then(|| sidecar_key(env)).transpose()?,
            exif: flag("SIDECAR_EXIF")?,
            gps: flag("SIDECAR_GPS")?,
            keeps_rights: flag("KEEP_RIGHTS")?,
            cache_control: variables.cache_control()?,
            bounds: Bounds {
                ratio: variables.number("MAX_RATIO", 1000, 1..=u32::MAX)?,
                ..variables.bounds(memory)?
            },
            max_frames: variables.number("MAX_FRAMES", 10_000, MAX_FRAMES)?,
        })
    }
}

fn source(env: impl Fn(&str) -> Option<String>) -> Result<Source, String> {
    match (env("RENDITIONS"), env("RENDITIONS_OBJECT")) {
        (Some(text), None) => Ok(Source::Text(text)),
        (None, Some(object)) => {
            let parts = object.split_once(':').filter(|(store, key)| !store.is_empty() && !key.is_empty());
            let Some((store, key)) = parts else {
                return Err(format!(
                    "RENDITIONS_OBJECT is {object:?}: it must be STORE:KEY, a granted store and a key in it"
                ));
            };
            Ok(Source::Object { store: store.to_owned(), key: key.to_owned() })
        }
        (None, None) => {
            Err("RENDITIONS and RENDITIONS_OBJECT are not set: one of them must describe the renditions, \
                             such as {\"small\": {\"width\": 320}}"
                .to_owned())
        }
        (Some(_), Some(_)) => {
            Err("RENDITIONS and RENDITIONS_OBJECT are both set: only one can be".to_owned())
        }
    }
}

fn sidecar_key(env: impl Fn(&str) -> Option<String>) -> Result<Template, String> {
    let text = env("SIDECAR_KEY").unwrap_or_else(|| "{key}.json".to_owned());
    let of_source = |field| matches!(field, Field::Key | Field::Dir | Field::Stem);
    Template::parse(&text, of_source).map_err(|reason| format!("SIDECAR_KEY is {text:?}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason;
    use picture::{Excess, Refusal, Truncated};

    fn read(set: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|asked| {
            set.iter().find(|(key, _)| *key == asked).map(|(_, value)| (*value).to_owned())
        })
    }

    fn with(key: &str, value: &str) -> Result<Settings, String> {
        read(&[("RENDITIONS", "{}"), (key, value)])
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let settings = with("SIDECAR", "").expect("the defaults are valid");
        assert_eq!(settings.renditions, Source::Text("{}".to_owned()));
        assert_eq!(
            (settings.sidecar, settings.exif, settings.gps, settings.keeps_rights),
            (None, false, false, false)
        );
        assert_eq!((settings.bounds.memory, settings.bounds.ratio), (224 << 20, 1000));
        assert_eq!((settings.bounds.truncated, settings.cache_control), (Truncated::Reject, None));
        let cached = with("CACHE_CONTROL", "no-cache").expect("it is valid");
        assert_eq!(cached.cache_control.as_deref(), Some("no-cache"));
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (key, value, expected) in [
            ("SIDECAR", "true", "SIDECAR is \"true\": it must be no or yes"),
            ("KEEP_RIGHTS", "1", "KEEP_RIGHTS is \"1\": it must be no or yes"),
            ("MAX_RATIO", "0", "MAX_RATIO is \"0\": it must be a whole number from 1 to 4294967295"),
            ("ON_TRUNCATED", "no", "ON_TRUNCATED is \"no\": it must be reject or keep"),
            ("RENDITIONS_OBJECT", "a:b", "RENDITIONS and RENDITIONS_OBJECT are both set: only one can be"),
        ] {
            assert_eq!(with(key, value), Err(expected.to_owned()));
        }
        assert!(
            read(&[]).is_err_and(|reason| reason.starts_with("RENDITIONS and RENDITIONS_OBJECT are not set"))
        );
        for object in ["config", ":a", "config:"] {
            let reason = read(&[("RENDITIONS_OBJECT", object)]).expect_err("it is not valid");
            assert!(reason.contains("it must be STORE:KEY"), "{reason}");
        }
        let of_sidecar = read(&[("RENDITIONS", "{}"), ("SIDECAR", "yes"), ("SIDECAR_KEY", "{key}.{ext}")]);
        let expected = "SIDECAR_KEY is \"{key}.{ext}\": its fields must be of {key}, {dir}, {stem}";
        assert_eq!(of_sidecar, Err(expected.to_owned()));
    }

    #[test]
    fn an_object_is_a_store_and_a_key() {
        let settings = read(&[("RENDITIONS_OBJECT", "config:a/b:c.toml")]).expect("it is valid");
        let expected = Source::Object { store: "config".to_owned(), key: "a/b:c.toml".to_owned() };
        assert_eq!(settings.renditions, expected);
    }

    #[test]
    fn a_reason_names_the_setting() {
        let refusal = |excess| reason("a.png", &Refusal::TooLarge(excess));
        assert_eq!(
            refusal(Excess::Ratio { width: 9000, height: 8, bound: 1000 }),
            "cannot process a.png: it has 9000 x 8 pixels, and a ratio of 1000 is allowed by MAX_RATIO"
        );
        assert_eq!(
            refusal(Excess::Memory { needed: 3 << 20, bound: 2 << 20 }),
            "cannot process a.png: it needs 3 MiB of memory, and 2 are allowed by TASK_MEMORY_MIB"
        );
    }
}
