//! Keys of outputs, made of the source's key by a template such as `{dir}/{stem}_{width}.{ext}`.

use std::borrow::Cow;

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 512;

/// The longest key that stores take, in bytes.
const MAX_KEY: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// What a template can insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The source's key.
    Key,
    /// The source's folder, without the slash after it.
    Dir,
    /// The source's file name, without its last extension.
    Stem,
    /// The rendition's name.
    Name,
    /// The rendition's width, as set.
    Width,
    /// The rendition's height, as set.
    Height,
    /// The extension of the output's format: `jpg`, `png` or `webp`.
    Ext,
    /// The name of the output's format: `jpeg`, `png` or `webp`.
    Format,
}

const FIELDS: [(&str, Field); 8] = [
    ("key", Field::Key),
    ("dir", Field::Dir),
    ("stem", Field::Stem),
    ("name", Field::Name),
    ("width", Field::Width),
    ("height", Field::Height),
    ("ext", Field::Ext),
    ("format", Field::Format),
];

/// The values of the fields that don't come from the source's key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Values<'a> {
    pub(crate) name: &'a str,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) ext: &'a str,
    pub(crate) format: &'a str,
}

impl Template {
    /// Parses a template that may use these fields.
    ///
    /// # Errors
    ///
    /// What the template must be instead.
    pub(crate) fn parse(text: &str, allowed: impl Fn(Field) -> bool) -> Result<Self, String> {
        if text.len() > MAX_TEMPLATE {
            return Err(format!("it must have at most {MAX_TEMPLATE} bytes"));
        }
        if text.starts_with('/') || text.chars().any(char::is_control) {
            return Err("it must not start with a slash or contain control characters".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            let Some((name, after)) = from_brace.strip_prefix('{').and_then(|rest| rest.split_once('}'))
            else {
                return Err("each brace must enclose the name of a field".to_owned());
            };
            let field = FIELDS.iter().find(|(known, field)| *known == name && allowed(*field));
            let Some(&(_, field)) = field else {
                let known = FIELDS.iter().filter(|(_, field)| allowed(*field));
                let known: Vec<_> = known.map(|(name, _)| format!("{{{name}}}")).collect();
                return Err(format!("its fields must be of {}", known.join(", ")));
            };
            parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
            parts.push(Part::Field(field));
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_owned())));
        let template = Template(parts);
        if !template.uses(Field::Key) && !template.uses(Field::Stem) {
            return Err("it must contain {key} or {stem}, or all pictures would share one key".to_owned());
        }
        Ok(template)
    }

    pub(crate) fn uses(&self, field: Field) -> bool {
        self.0.contains(&Part::Field(field))
    }

    /// Returns the output's key.
    ///
    /// # Errors
    ///
    /// When the key would be too long, or lead out of the source's folder: the end of a sentence about the setting.
    pub(crate) fn key(&self, source: &str, values: Values<'_>) -> Result<String, String> {
        let (dir, file) = source.rsplit_once('/').unwrap_or(("", source));
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        // A name such as `.profile` has no extension.
        let stem = if stem.is_empty() { file } else { stem };
        let number = |side: Option<u32>| side.map_or(Cow::Borrowed(""), |side| side.to_string().into());
        let mut key = String::new();
        for part in &self.0 {
            match part {
                // Without a folder, there is no slash after it either.
                Part::Text(text) if key.is_empty() => key.push_str(text.trim_start_matches('/')),
                Part::Text(text) => key.push_str(text),
                Part::Field(field) => key.push_str(&match field {
                    Field::Key => source.into(),
                    Field::Dir => dir.into(),
                    Field::Stem => stem.into(),
                    Field::Name => values.name.into(),
                    Field::Width => number(values.width),
                    Field::Height => number(values.height),
                    Field::Ext => values.ext.into(),
                    Field::Format => values.format.into(),
                }),
            }
        }
        if key.len() > MAX_KEY {
            return Err(format!(
                "would write a key of {} bytes, and at most {MAX_KEY} are allowed",
                key.len()
            ));
        }
        if key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(format!("would write the key {key:?}, which leads elsewhere"));
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, String> {
        Template::parse(text, |_| true)
    }

    fn key(template: &str, source: &str) -> Result<String, String> {
        let values = Values { name: "small", width: Some(320), height: None, ext: "jpg", format: "jpeg" };
        parse(template).expect("a valid template").key(source, values)
    }

    #[test]
    fn a_key_is_made_of_the_source_s_key() {
        for (template, source, expected) in [
            ("{dir}/{stem}_{width}.{ext}", "a/b/cat.png", "a/b/cat_320.jpg"),
            ("{dir}/{stem}_{width}.{ext}", "cat.png", "cat_320.jpg"),
            ("{dir}/{stem}/{name}.{format}", "a/cat", "a/cat/small.jpeg"),
            ("{key}.{name}.{ext}", "a/cat.png", "a/cat.png.small.jpg"),
            ("thumbs/{dir}/{stem}", "a/.profile", "thumbs/a/.profile"),
            ("{stem}{height}", "a/cat.tar.gz", "cat.tar"),
            ("w{width}/{key}", "über/käse 1.jpg", "w320/über/käse 1.jpg"),
        ] {
            assert_eq!(key(template, source).as_deref(), Ok(expected), "{template} of {source}");
        }
    }

    #[test]
    fn no_key_leads_out_of_the_folder() {
        for (template, source) in [
            ("{dir}/{stem}/{name}.jpg", "a/...jpg"),
            ("{dir}/{stem}/{name}.jpg", "a/..jpg"),
            ("{dir}/{stem}{stem}/x", "a/..jpg"),
            (".{stem}/x", "..jpg"),
            ("../{key}", "a.jpg"),
            ("x/../../{key}", "a.jpg"),
        ] {
            assert!(
                key(template, source).is_err_and(|reason| reason.contains("leads elsewhere")),
                "{template} of {source}"
            );
        }
        let long = key("{key}{key}", &"a".repeat(600));
        assert!(long.is_err_and(|reason| reason.contains("at most 1024")));
    }

    #[test]
    fn a_wrong_template_says_what_it_must_be() {
        let reason = |text: &str| parse(text).expect_err("it is not valid");
        assert!(reason("{stem}_{size}").contains("its fields must be of {key}, {dir}"));
        assert!(reason("{stem").contains("each brace"));
        assert!(reason("{stem}}").contains("each brace"));
        assert!(reason("{{stem}}").contains("its fields must be"));
        assert!(reason("thumb.jpg").contains("{key} or {stem}"));
        assert!(reason("").contains("{key} or {stem}"));
        assert!(reason("/{key}").contains("start with a slash"));
        assert!(reason("{key}\n").contains("control characters"));
        assert!(reason(&format!("{{key}}{}", "a".repeat(MAX_TEMPLATE))).contains("at most 512 bytes"));
        let of_sidecar = Template::parse("{key}.{ext}", |field| field == Field::Key);
        assert_eq!(of_sidecar, Err("its fields must be of {key}".to_owned()));
    }
}
