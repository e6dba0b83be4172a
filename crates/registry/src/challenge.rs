//! Which credentials a registry asks for: the header `WWW-Authenticate` of RFC 9110, section 11.6.1.

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password.
    Basic,
    /// A token that the realm issues.
    Bearer {
        /// URL of the realm.
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// Returns the challenge that is answered. A token is preferred to a password, as it opens only the one repository.
    pub(crate) fn of<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let all: Vec<_> = headers.flat_map(parse).collect();
        let bearer = all.iter().find(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.or(all.first()).cloned()
    }
}

/// Parses the challenges of one header, and leaves out those of unknown schemes. A header may have several.
fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value.trim_start());
                rest = after;
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
            }
            None => {
                rest = after;
                found.push((word.to_ascii_lowercase(), Vec::new()));
            }
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let of = |name: &str| {
        let at = parameters.iter().position(|(known, _)| known == name)?;
        Some(parameters[at].1.clone())
    };
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: of("realm")?, service: of("service") }),
        _ => None,
    }
}

/// Returns a token or the text of a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let of = |headers: &[&str]| Challenge::of(headers.iter().copied());
        assert_eq!(of(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(of(&["basic"]), Some(Challenge::Basic));
        let both =
            "Basic realm=\"x\", Bearer realm=\"https://a.test/token\",service=\"r.test\",scope=\"a,b\"";
        assert_eq!(of(&[both]), bearer("https://a.test/token", Some("r.test")));
        assert_eq!(of(&["Basic realm=x", "Bearer realm=https://a.test/t"]), bearer("https://a.test/t", None));
        assert_eq!(of(&["bearer REALM = \"a\\\"b\" , service=s"]), bearer("a\"b", Some("s")));
        for header in
            ["", "Negotiate", "Bearer service=\"x\"", "=", "realm=\"x\"", "Digest realm=\"x\", nonce=y"]
        {
            assert_eq!(of(&[header]), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_left_out(header in ".{0,200}") {
            let _ = Challenge::of([header.as_str()].into_iter());
        }

        #[test]
        fn any_realm_is_read_back(realm in "[ -~]{0,40}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer realm=\"{quoted}\"");
            prop_assert_eq!(Challenge::of([header.as_str()].into_iter()), bearer(&realm, None));
        }
    }
}
