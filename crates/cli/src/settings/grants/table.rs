//! The keys of grants in the configuration file: its top has them, and so has each table `route`.

use super::{bucket, check_role, store};
use crate::settings::environment::EnvValue;
use crate::settings::named::well_formed_alias;
use crate::settings::text::named_texts;
use serde::Deserializer;
use std::collections::BTreeMap;
use wasmrun_runtime::task::directory::Directory;
use wasmrun_runtime::task::http::{AddressRule, HttpRule};

/// Texts by name.
pub(crate) type NamedTexts = BTreeMap<String, String>;
/// The values of environment keys.
pub(crate) type Environment = BTreeMap<String, EnvValue>;

/// Grants by name, not validated yet: those of a table of the file, or these merged with flags and variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct GrantTable {
    pub(crate) store: NamedTexts,
    pub(crate) dir: NamedTexts,
    pub(crate) send: NamedTexts,
    pub(crate) keyvalue: NamedTexts,
    pub(crate) allow_http: Vec<HttpRule>,
    pub(crate) allow_http_address: Vec<AddressRule>,
    pub(crate) assume_role: NamedTexts,
    pub(crate) env: Environment,
    pub(crate) config_value: NamedTexts,
}

/// Adds the keys of grants to a table of the file that has others of its own.
///
/// They are fields of the structure itself: with `serde(flatten)`, unknown keys would be accepted, and errors would have no
/// line.
macro_rules! with_grants {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $kind:ty,)*
    }) => {
        $(#[$meta])*
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $kind,)*
            #[serde(deserialize_with = "crate::settings::grants::table::stores")]
            store: $crate::settings::grants::table::NamedTexts,
            #[serde(deserialize_with = "crate::settings::grants::table::directories")]
            dir: $crate::settings::grants::table::NamedTexts,
            #[serde(deserialize_with = "crate::settings::grants::table::sends")]
            send: $crate::settings::grants::table::NamedTexts,
            #[serde(deserialize_with = "crate::settings::grants::table::buckets")]
            keyvalue: $crate::settings::grants::table::NamedTexts,
            #[serde(deserialize_with = "crate::settings::text::parsed_list")]
            allow_http: Vec<wasmrun_runtime::task::http::HttpRule>,
            #[serde(deserialize_with = "crate::settings::text::parsed_list")]
            allow_http_address: Vec<wasmrun_runtime::task::http::AddressRule>,
            #[serde(deserialize_with = "crate::settings::grants::table::roles")]
            assume_role: $crate::settings::grants::table::NamedTexts,
            env: $crate::settings::grants::table::Environment,
            #[serde(deserialize_with = "crate::settings::config_values::config_values_of_file")]
            config_value: $crate::settings::grants::table::NamedTexts,
        }

        impl $name {
            /// Takes the grants.
            pub(crate) fn grants(&mut self) -> $crate::settings::grants::GrantTable {
                $crate::settings::grants::GrantTable {
                    store: std::mem::take(&mut self.store),
                    dir: std::mem::take(&mut self.dir),
                    send: std::mem::take(&mut self.send),
                    keyvalue: std::mem::take(&mut self.keyvalue),
                    allow_http: std::mem::take(&mut self.allow_http),
                    allow_http_address: std::mem::take(&mut self.allow_http_address),
                    assume_role: std::mem::take(&mut self.assume_role),
                    env: std::mem::take(&mut self.env),
                    config_value: std::mem::take(&mut self.config_value),
                }
            }
        }
    };
}

pub(crate) use with_grants;

/// Reads the stores of a table.
pub(crate) fn stores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NamedTexts, D::Error> {
    named_texts(deserializer, |alias, value| well_formed_alias(alias).and(store(alias, value).map(drop)))
}

/// Reads the directories of a table.
pub(crate) fn directories<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NamedTexts, D::Error> {
    named_texts(deserializer, |path, granted| Directory::parse(path, granted).map(drop))
}

/// Reads a table's queues to send to.
pub(crate) fn sends<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NamedTexts, D::Error> {
    named_texts(deserializer, |alias, _| well_formed_alias(alias))
}

/// Reads the key-value buckets of a table.
pub(crate) fn buckets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NamedTexts, D::Error> {
    named_texts(deserializer, |alias, value| well_formed_alias(alias).and(bucket(alias, value).map(drop)))
}

/// Reads the roles of a table.
pub(crate) fn roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NamedTexts, D::Error> {
    named_texts(deserializer, |alias, arn| well_formed_alias(alias).and(check_role(arn)))
}
