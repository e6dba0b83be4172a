//! Credentials in Docker's configuration (`config.json`) and its credential helpers.
//!
//! Source: the reference of `docker login`, and the protocol of docker-credential-helpers.

use crate::Credential;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// Maximum size of the configuration, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// Maximum size of a helper's answer, in bytes.
const MAX_ANSWER: u64 = 256 << 10;
/// How long a helper may take: some ask a service.
const PATIENCE: Duration = Duration::from_secs(15);
/// Key of Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// User of a credential that is an identity token, in a helper's answer.
const TOKEN_USER: &str = "<token>";
/// What a helper answers if it has no credential for a registry.
const NOT_FOUND: &str = "credentials not found";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Returns the directory of Docker's configuration: that of `DOCKER_CONFIG`, or else `.docker` in the user's home.
pub fn directory(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))
}

/// Returns the credential for a registry that Docker's configuration in `directory` has or whose helper it names. Returns
/// `None` if there is no configuration, or none for this registry.
///
/// # Errors
///
/// The configuration can't be read, or the helper fails. The text never holds a part of a credential.
pub async fn credential(directory: &Path, host: &str) -> Result<Option<Credential>, String> {
    let path = directory.join("config.json");
    let Some(config) = read(&path)? else { return Ok(None) };
    let keys = keys(host);
    let helper = keys.iter().find_map(|key| config.cred_helpers.get(key));
    if let Some(helper) = helper {
        return ask(helper, &keys[0]).await;
    }
    let entry = keys.iter().find_map(|key| config.auths.get(key));
    if let Some(found) = entry.map(|entry| of_entry(entry, &path, host)).transpose()?.flatten() {
        return Ok(Some(found));
    }
    match &config.creds_store {
        Some(helper) => ask(helper, &keys[0]).await,
        None => Ok(None),
    }
}

/// Returns the keys that `docker login` and other tools use for a registry. The first is the one that helpers know.
fn keys(host: &str) -> Vec<String> {
    if host == "docker.io" {
        return vec![DOCKER_HUB.into(), "index.docker.io".into(), "docker.io".into()];
    }
    let forms = ["", "https://", "http://"].map(|scheme| format!("{scheme}{host}"));
    let ends = ["", "/", "/v1/", "/v2/"];
    forms.iter().flat_map(|form| ends.map(|end| format!("{form}{end}"))).collect()
}

fn read(path: &Path) -> Result<Option<Config>, String> {
    let failed = |why: String| format!("Docker's configuration {} cannot be read: {why}", path.display());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    if !metadata.is_file() {
        return Err(failed("it is not a file".into()));
    }
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(MAX_CONFIG + 1).read_to_end(&mut content).map_err(|error| failed(error.to_string()))?;
    if content.len() as u64 > MAX_CONFIG {
        return Err(failed(format!("it is larger than {MAX_CONFIG} bytes")));
    }
    // The parser's own text would quote the file.
    let parsed = serde_json::from_slice(&content)
        .map_err(|error| failed(format!("line {} is not as Docker writes it", error.line())));
    parsed.map(Some)
}

/// Returns the credential of an entry. An empty entry says that a helper has it.
fn of_entry(entry: &Entry, path: &Path, host: &str) -> Result<Option<Credential>, String> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = filled(&entry.identitytoken) {
        return Ok(Some(Credential::Identity(token)));
    }
    if let Some(auth) = filled(&entry.auth) {
        let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_ref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or_else(|| {
            format!(
                "Docker's configuration {} has no valid auth for {host}: `docker login` renews it",
                path.display()
            )
        })?;
        // Some versions of Docker fill the password up with zero bytes.
        let password = password.trim_end_matches('\0').to_owned();
        return Ok(Some(Credential::Password { user: user.to_owned(), password }));
    }
    let pair = filled(&entry.username).zip(filled(&entry.password));
    Ok(pair.map(|(user, password)| Credential::Password { user, password }))
}

/// Runs `docker-credential-NAME get`.
async fn ask(name: &str, server: &str) -> Result<Option<Credential>, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(format!(
            "Docker's configuration names {name:?}, which is not the name of a credential helper"
        ));
    }
    let program = format!("docker-credential-{name}");
    let failed = |why: &str| format!("the credential helper {program} fails for {server}: {why}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let answer = async {
        if let Some(mut input) = input {
            // A helper that doesn't read it has ended.
            let _ = input.write_all(server.as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(output) = output {
            output.take(MAX_ANSWER + 1).read_to_end(&mut answer).await?;
        }
        if answer.len() as u64 > MAX_ANSWER {
            return Ok((answer, None));
        }
        Ok((answer, Some(child.wait().await?)))
    };
    let answered: Result<std::io::Result<_>, _> = timeout(PATIENCE, answer).await;
    let (answer, status) =
        answered.map_err(|_| failed("it takes too long"))?.map_err(|error| failed(&error.to_string()))?;
    let Some(status) = status else { return Err(failed("its answer is too long")) };
    if !status.success() {
        let has_none = String::from_utf8_lossy(&answer).contains(NOT_FOUND);
        return if has_none { Ok(None) } else { Err(failed(&format!("it ends with {status}"))) };
    }
    let Answer { username, secret } =
        serde_json::from_slice(&answer).map_err(|_| failed("its answer is not a credential"))?;
    Ok(Some(if username == TOKEN_USER {
        Credential::Identity(secret)
    } else {
        Credential::Password { user: username, password: secret }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.into(), password: password.into() })
    }

    async fn of(config: &str, host: &str) -> Result<Option<Credential>, String> {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("config.json"), config).expect("written");
        credential(directory.path(), host).await
    }

    #[tokio::test]
    async fn a_credential_is_found_by_the_keys_that_docker_writes() {
        let auth = STANDARD.encode("me:se:cret");
        let config = format!(
            r#"{{"auths": {{"a.test:5000": {{"auth": "{auth}"}}, "https://b.test/v1/": {{"username": "u", "password": "p"}},
                "https://index.docker.io/v1/": {{"auth": "{auth}"}}, "c.test": {{"auth": "", "identitytoken": "t"}},
                "d.test": {{}} }}, "HttpHeaders": {{"x": "y"}}}}"#
        );
        assert_eq!(of(&config, "a.test:5000").await, Ok(password("me", "se:cret")));
        assert_eq!(of(&config, "b.test").await, Ok(password("u", "p")));
        assert_eq!(of(&config, "docker.io").await, Ok(password("me", "se:cret")));
        assert_eq!(of(&config, "c.test").await, Ok(Some(Credential::Identity("t".into()))));
        assert_eq!(of(&config, "d.test").await, Ok(None));
        assert_eq!(of(&config, "a.test").await, Ok(None));
        assert_eq!(credential(Path::new("/no/such"), "a.test").await, Ok(None));
    }

    #[tokio::test]
    async fn a_wrong_configuration_is_named_without_its_content() {
        for config in [
            r#"{"auths": {"a.test": {"auth": "c2VjcmV0"}}}"#,
            r#"{"auths": {"a.test": {"auth": "secret!"}}}"#,
            r#"{"auths": {"a.test": {"auth": secret}}}"#,
            r#"{"credHelpers": {"a.test": "../secret/sh"}}"#,
            r#"{"credsStore": "no-such-helper-here"}"#,
            "secret",
        ] {
            let error = of(config, "a.test").await.expect_err(config);
            assert!(error.contains("Docker's configuration") || error.contains("no-such-helper"), "{error}");
            assert!(!error.contains("c2VjcmV0") && !error.contains("secret!"), "{error}");
        }
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(MAX_CONFIG as usize));
        assert!(of(&long, "a.test").await.expect_err("too long").contains("larger than"));
    }
}
