//! The tables `route` of the configuration file: what is written in them.

use super::command::CommandTable;
use super::environment::EnvValue;
use super::grants::table::with_grants;
use super::limit_flags::LimitSettings;
use super::named::well_formed_alias;
use super::text::{Written, expected, one_or_more, written};
use crate::output::failure::Failure;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use wasmrun_runtime::model::message::OUTCOME_ATTRIBUTE;
use wasmrun_runtime::model::route::{Condition, MOST_TEXT_BYTES, MOST_TEXTS};

/// What becomes of messages that no route matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// The default component, which is that of the command line or of the top of the file, handles them.
    #[default]
    Default,
    /// They are rejected.
    Reject,
}

impl Written for Unmatched {
    const FORM: &'static str = "\"default\" or \"reject\"";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "reject" => Ok(Self::Reject),
            _ => Err(expected::<Self>()),
        }
    }
}

with_grants! {
    /// A table `route` of the configuration file: a field for each key.
    #[derive(Clone, Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
    pub(crate) struct RouteTable {
        #[serde(deserialize_with = "written")]
        pub(super) name: Option<String>,
        #[serde(rename = "match")]
        pub(super) conditions: MatchTable,
        #[serde(deserialize_with = "written")]
        pub(crate) component: Option<PathBuf>,
        pub(super) command: CommandTable,
        pub(super) limits: LimitSettings,
    }
}

/// The table `match` of a route: all of these conditions must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct MatchTable {
    attribute: BTreeMap<String, Texts>,
    group: Option<Texts>,
    object_prefix: Option<Texts>,
    object_suffix: Option<Texts>,
    content_type: Option<Texts>,
}

/// One text, or a list of texts of which one must match.
#[derive(Clone, Debug)]
struct Texts(BTreeSet<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let listed = one_or_more(deserializer, "text in quotes, or a list of texts")?;
        texts(listed.into_iter().collect()).map_err(de::Error::custom)
    }
}

fn texts(texts: BTreeSet<String>) -> Result<Texts, String> {
    if !(1..=MOST_TEXTS).contains(&texts.len()) {
        return Err(format!("expected between 1 and {MOST_TEXTS} texts"));
    }
    match texts.iter().find(|text| !(1..=MOST_TEXT_BYTES).contains(&text.len())) {
        Some(_) => Err(format!("a text to match has between 1 and {MOST_TEXT_BYTES} bytes")),
        None => Ok(Texts(texts)),
    }
}

impl RouteTable {
    /// Returns the route's name.
    pub(crate) fn name(&self) -> Result<String, Failure> {
        let name = self.name.as_deref().unwrap_or_default();
        match well_formed_alias(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(_) if name.is_empty() => {
                Err(Failure::usage("a table [[route]] has no name: add `name`, which records show"))
            }
            Err(_) => Err(Failure::usage(format!(
                "the name {name:?} of a route is not allowed: 1 to 64 of a-z, 0-9 and '-'"
            ))),
        }
    }

    /// Returns whether the environment has a value of the worker's own.
    pub(crate) fn inherits(&self) -> Option<&str> {
        let inherited = self.env.iter().find(|(_, value)| matches!(value, EnvValue::Inherited(true)));
        inherited.map(|(key, _)| key.as_str())
    }
}

impl MatchTable {
    /// Validates the conditions.
    pub(super) fn conditions(self) -> Result<Vec<Condition>, Failure> {
        if self.attribute.len() > MOST_TEXTS {
            return Err(Failure::usage(format!("it matches more than {MOST_TEXTS} attributes")));
        }
        if let Some(name) = self.attribute.keys().find(|name| !(1..=MOST_TEXT_BYTES).contains(&name.len())) {
            return Err(Failure::usage(format!(
                "the attribute's name {name:.32?} is not allowed: it has between 1 and {MOST_TEXT_BYTES} bytes"
            )));
        }
        // Dead letters have the worker's own value there, and would take another route when they are replayed.
        if self.attribute.contains_key(OUTCOME_ATTRIBUTE) {
            return Err(Failure::usage(format!(
                "the attribute {OUTCOME_ATTRIBUTE} is that of dead letters: match another one"
            )));
        }
        let attributes =
            self.attribute.into_iter().map(|(name, Texts(texts))| Condition::Attribute(name, texts));
        let others = [
            self.group.map(|Texts(texts)| Condition::Group(texts)),
            self.content_type.map(|Texts(texts)| Condition::ContentType(texts)),
            // They are last, as these decode the body.
            self.object_prefix.map(|Texts(texts)| Condition::ObjectPrefix(texts)),
            self.object_suffix.map(|Texts(texts)| Condition::ObjectSuffix(texts)),
        ];
        let conditions: Vec<Condition> = attributes.chain(others.into_iter().flatten()).collect();
        if conditions.is_empty() {
            return Err(Failure::usage(
                "it has no condition: add `match`, such as match.attribute = { kind = \"invoice\" }",
            ));
        }
        Ok(conditions)
    }
}
