//! The renditions to make of each picture, and the keys of all outputs.

use picture::{Format, Shape};

use crate::rendition::Rendition;
use crate::table::{self, Table};
use crate::template::{Template, Values};

/// A source with which the keys are checked before any message.
const SAMPLE: &str = "folder/name.extension";

/// The longest reason, in characters.
const MAX_REASON: usize = 600;

#[derive(Debug, PartialEq)]
pub(crate) struct Renditions {
    /// In the order of their names.
    pub(crate) all: Vec<Rendition>,
    /// The key of the sidecar, if there is one.
    sidecar: Option<Template>,
}

impl Renditions {
    /// Reads the text of a setting called `setting`.
    ///
    /// # Errors
    ///
    /// What is wrong with the setting, in one sentence.
    pub(crate) fn read(setting: &str, text: &str, sidecar: Option<Template>) -> Result<Self, String> {
        let wrong = |reason: String| format!("{setting} {}", shortened(reason));
        let Table(mut tables) = table::read(text).map_err(wrong)?;
        if tables.is_empty() {
            return Err(wrong("has no rendition, such as {\"small\": {\"width\": 320}}".to_owned()));
        }
        // TOML and JSON keep different orders.
        tables.sort_by(|(one, _), (other, _)| one.cmp(other));
        let read = |(name, Table(entries)): &(String, Table<_>)| Rendition::read(name, entries);
        let all = tables.iter().map(read).collect::<Result<_, _>>().map_err(wrong)?;
        let renditions = Renditions { all, sidecar };
        renditions.check_keys(SAMPLE).map_err(wrong)?;
        Ok(renditions)
    }

    /// Checks that stores can have the keys of all outputs for a source, and that no two outputs share a key.
    ///
    /// # Errors
    ///
    /// Which key it is, as the end of a sentence about the setting.
    pub(crate) fn check_keys(&self, source: &str) -> Result<(), String> {
        let mut keys: Vec<(String, &str)> = Vec::new();
        for rendition in &self.all {
            for format in rendition.format.formats() {
                let key = rendition.key(source, *format)?;
                let other = keys.iter().find(|(known, name)| *known == key && *name != rendition.name);
                if let Some((key, other)) = other {
                    let name = &rendition.name;
                    return Err(format!(
                        "would write the renditions {other:?} and {name:?} under one key, {key:?}"
                    ));
                }
                keys.push((key, &rendition.name));
            }
        }
        if let Some(key) = self.sidecar_key(source)?
            && let Some((_, name)) = keys.iter().find(|(known, _)| *known == key)
        {
            return Err(format!("would write the rendition {name:?} and the sidecar under one key, {key:?}"));
        }
        Ok(())
    }

    /// Returns the key of the sidecar for a source, if there is one.
    ///
    /// # Errors
    ///
    /// When a store can't have such a key.
    pub(crate) fn sidecar_key(&self, source: &str) -> Result<Option<String>, String> {
        self.sidecar.as_ref().map(|template| template.key(source, Values::default())).transpose()
    }

    /// Returns the shape and the format of each file that could be written.
    pub(crate) fn files(&self) -> Vec<(Shape, Format)> {
        let files = |rendition: &Rendition| {
            let shape = rendition.shape.clone();
            rendition.format.formats().iter().map(move |&format| (shape.clone(), format))
        };
        self.all.iter().flat_map(files).collect()
    }
}

/// Cuts a reason that quotes a long text of the setting.
fn shortened(reason: String) -> String {
    match reason.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Field;

    fn read(text: &str) -> Result<Renditions, String> {
        let sidecar = Template::parse("{key}.json", |field| field == Field::Key).expect("valid");
        Renditions::read("RENDITIONS", text, Some(sidecar))
    }

    #[test]
    fn renditions_are_in_the_order_of_their_names() {
        let names = |text: &str| {
            let renditions = read(text).expect("it is valid");
            renditions.all.iter().map(|rendition| rendition.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(r#"{"small": {"width": 32}, "large": {"width": 64}}"#), ["large", "small"]);
        assert_eq!(names("small.width = 32\nlarge = { width = 64 }"), ["large", "small"]);
    }

    #[test]
    fn a_wrong_setting_is_named_in_one_sentence() {
        for (text, expected) in [
            ("{}", "RENDITIONS has no rendition, such as"),
            ("", "RENDITIONS has no rendition"),
            ("{", "RENDITIONS is not valid JSON: "),
            ("small", "RENDITIONS is not valid TOML: "),
            (r#"{"a": {"width": -1}}"#, "RENDITIONS has width = -1 in rendition \"a\": it must be"),
            (r#"{"a": {"sizes": 1}}"#, "RENDITIONS has sizes = 1 in rendition \"a\": the keys are"),
        ] {
            let reason = read(text).expect_err("it is not valid");
            assert!(reason.starts_with(expected), "{text}: {reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn a_reason_does_not_quote_a_long_setting_as_a_whole() {
        let long = "ä".repeat(10_000);
        for text in [
            format!("{{\"{long}\": {{}}}}"),
            format!("{{\"a\": \"{long}\"}}"),
            format!("{{\"a\": {{\"{long}\": 1, \"{long}\": 1}}}}"),
            format!("[a]\nkey = '{{{long}}}'"),
            format!("a = '{long}'"),
        ] {
            let reason = read(&text).expect_err("it is not valid");
            assert!(reason.chars().count() < MAX_REASON + 20, "{reason}");
        }
    }

    #[test]
    fn no_text_is_worse_than_refused() {
        const BYTES: &[u8] = b"{}[]\"'=:,.#\n-09ae\xff";
        let seeds = [
            r##"{"a": {"width": 32, "fit": "cover", "height": 9, "background": "#0a141e80"}, "b": {"blur": 1.5}}"##,
            "[a]\nwidth = 32\nkey = '{dir}/{stem}_{width}.{ext}'\n[b]\nrotate = 90\nformat = 'auto'\nquality = 9",
        ];
        let mut state = 1_u32;
        // Source of the factors: Numerical Recipes, section 7.1.
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for round in 0..20_000 {
            let mut text = seeds[round % 2].as_bytes().to_vec();
            for _ in 0..=random(4) {
                let at = random(text.len());
                match random(3) {
                    0 => text[at] = BYTES[random(BYTES.len())],
                    1 => text.truncate(at.max(1)),
                    _ => text.extend_from_within(at..),
                }
            }
            if let Err(reason) = read(&String::from_utf8_lossy(&text)) {
                assert!(reason.starts_with("RENDITIONS ") && reason.len() < 1000, "{reason}");
            }
        }
    }

    #[test]
    fn no_two_outputs_share_a_key() {
        let same = "key = '{dir}/{stem}_{width}.{ext}'\nwidth = 320\n";
        let reason = read(&format!("[a]\n{same}[b]\n{same}")).expect_err("it is not valid");
        let expected =
            "RENDITIONS would write the renditions \"a\" and \"b\" under one key, \"folder/name_320.jpg\"";
        assert_eq!(reason, expected);
        // Another width or another format is another key.
        assert!(read(&format!("[a]\n{same}[b]\n{}", same.replace("320", "640"))).is_ok());
        assert!(read(&format!("[a]\n{same}[b]\n{same}format = 'png'")).is_ok());
        // The format of the output may turn out to be that of the other.
        assert!(read(&format!("[a]\n{same}format = 'auto'\n[b]\n{same}format = 'webp'")).is_err());
        let reason = read("[a]\nkey = '{key}.json'").expect_err("it is not valid");
        assert!(reason.contains("\"a\" and the sidecar under one key"), "{reason}");
    }

    #[test]
    fn two_templates_that_meet_for_one_source_are_refused_with_it() {
        let renditions =
            read("[a]\nkey = '{key}.jpg'\n[b]\nkey = '{dir}/{stem}.png.jpg'").expect("it is valid");
        assert_eq!(renditions.check_keys("cat.jpg"), Ok(()));
        assert!(renditions.check_keys("cat.png").is_err_and(|reason| reason.contains("\"cat.png.jpg\"")));
    }
}
