//! Asks a realm for the token of one repository: Docker's token authentication specification, and its OAuth 2 variant for
//! identity tokens.

use crate::reference::is_loopback;
use crate::transport::{send, unreachable};
use crate::{Credential, RegistryError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use wasmrun_http::{Client, Server};

/// Maximum size of a realm's answer, in bytes. Tokens have up to a few KiB.
const MAX_ANSWER: usize = 256 << 10;

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a token is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) realm: &'a str,
    pub(crate) service: Option<&'a str>,
    /// Repository and actions.
    pub(crate) scope: String,
}

/// Asks the realm for a token. Without a credential, the token is one for anonymous users. The credential goes only to the
/// realm that the registry named, and over TLS unless both are allowed to do without.
pub(crate) async fn token(
    client: &Client,
    registry: &Server,
    wanted: &Wanted<'_>,
    credential: Option<&Credential>,
) -> Result<HeaderValue, RegistryError> {
    let (realm, path) = realm_of(registry, wanted.realm)?;
    let form = form(wanted, credential);
    let (method, uri, header, content) = match credential {
        Some(Credential::Identity(_)) => {
            let of_form = HeaderValue::from_static("application/x-www-form-urlencoded");
            (Method::POST, path, Some((CONTENT_TYPE, of_form)), Bytes::from(form))
        }
        other => {
            let separator = if path.contains('?') { '&' } else { '?' };
            let header = match other {
                Some(Credential::Password { user, password }) => {
                    Some((AUTHORIZATION, basic(user, password)?))
                }
                _ => None,
            };
            (Method::GET, format!("{path}{separator}{form}"), header, Bytes::new())
        }
    };
    let head = || {
        let head = Request::builder().method(method.clone()).uri(&uri);
        header.iter().fold(head, |head, (name, value)| head.header(name, value))
    };
    let answer = send(client, &realm, head, content).await;
    let mut answer = answer.map_err(|error| unreachable(&realm, &error))?;
    if answer.status != StatusCode::OK {
        let status = answer.status;
        // The text of the answer may repeat the credential.
        let said = format!("{realm} issues no token: it answered {}", status.as_u16());
        return Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                denied(credential, status, &said)
            }
            _ => RegistryError::Unavailable(said),
        });
    }
    let wrong = |why: &str| RegistryError::Unavailable(format!("{realm} issues no token: {why}"));
    let content = answer.read(MAX_ANSWER).await.map_err(|error| wrong(&error.to_string()))?;
    let content = content.ok_or_else(|| wrong("its answer is too long"))?;
    let answer: Answer = serde_json::from_slice(&content).map_err(|_| wrong("its answer has none"))?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    bearer(&token.ok_or_else(|| wrong("its answer has none"))?).ok_or_else(|| wrong("its answer has none"))
}

/// Returns the server and the path of a realm.
fn realm_of(registry: &Server, realm: &str) -> Result<(Server, String), RegistryError> {
    let parsed = realm.parse::<Uri>().ok().and_then(|url| Server::of(&url));
    let (server, path) = parsed
        .ok_or_else(|| RegistryError::unavailable(format!("{registry} names no realm for its tokens")))?;
    let is_own = server.host == registry.host || (is_loopback(&server.host) && is_loopback(&registry.host));
    if !server.is_tls && (registry.is_tls || !is_own) {
        return Err(RegistryError::Unavailable(format!(
            "{registry} asks for credentials at {server}, without TLS: they are not sent there"
        )));
    }
    Ok((server, path))
}

/// Returns what is asked for, as a form.
fn form(wanted: &Wanted<'_>, credential: Option<&Credential>) -> String {
    let mut fields = vec![("scope", wanted.scope.as_str())];
    fields.extend(wanted.service.map(|service| ("service", service)));
    match credential {
        Some(Credential::Identity(token)) => fields.extend([
            ("grant_type", "refresh_token"),
            ("client_id", "wasmrun"),
            ("refresh_token", token.as_str()),
        ]),
        Some(Credential::Password { user, .. }) => fields.push(("account", user)),
        None => {}
    }
    let encoded =
        |(name, value): (&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    fields.into_iter().map(encoded).collect::<Vec<_>>().join("&")
}

/// Returns the header of a name and a password.
pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue, RegistryError> {
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    secret(&value).ok_or_else(|| RegistryError::unfit("the registry's password cannot be sent"))
}

/// Returns the header of a token.
fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Describes a refusal, and what to do about it.
pub(crate) fn denied(credential: Option<&Credential>, status: StatusCode, said: &str) -> RegistryError {
    let advice = match (credential, status) {
        (None, _) => "it may need a credential: `docker login` stores one",
        (Some(_), StatusCode::FORBIDDEN) => {
            "the credential of Docker's configuration or of AWS lacks the right"
        }
        (Some(_), _) => "the credential of Docker's configuration or of AWS is not valid",
    };
    RegistryError::Unavailable(format!("access denied ({said}); {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::of(&url.parse().expect("a URL")).expect("a server").0
    }

    #[test]
    fn credentials_go_to_a_realm_over_tls() {
        for (registry, realm, is_asked) in [
            ("https://r.test", "https://auth.test/token?x=y", true),
            ("https://r.test", "http://r.test/token", false),
            ("https://r.test", "http://127.0.0.1/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000", "https://auth.test/token", true),
            ("http://127.0.0.1:5000", "http://auth.test/token", false),
            ("http://r.test", "http://r.test:5001/token", true),
            ("https://r.test", "ftp://r.test", false),
            ("https://r.test", "/token", false),
            ("https://r.test", "https://user@auth.test/token", false),
            ("https://r.test", "", false),
        ] {
            assert_eq!(realm_of(&server(registry), realm).is_ok(), is_asked, "{registry} {realm}");
        }
    }

    #[test]
    fn a_token_is_asked_for_one_repository() {
        let wanted = Wanted { realm: "", service: Some("r.test"), scope: "repository:a/b:pull".into() };
        assert_eq!(form(&wanted, None), "scope=repository%3Aa%2Fb%3Apull&service=r%2Etest");
        let identity = form(&wanted, Some(&Credential::Identity("a&b".into())));
        assert!(
            identity.ends_with("&grant_type=refresh%5Ftoken&client_id=wasmrun&refresh_token=a%26b"),
            "{identity}"
        );
        assert!(bearer("a\nb").is_none() && bearer("abc").is_some_and(|value| value.is_sensitive()));
    }
}
