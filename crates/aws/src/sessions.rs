//! Sessions of a role for the parts of a store that belong to keys: each key has a session of its own, tagged with it, so
//! that AWS itself keeps keys apart.

use crate::config::NAME;
use crate::failure::{UNALLOWED, causes};
use aws_config::sts::AssumeRoleProvider;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{Builder, IdentityCache};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tag that a session has. Policies name its value `${aws:PrincipalTag/wasmrun-key}`.
const TAG: &str = "wasmrun-key";
/// Tag of the session with which a store is opened: the key of messages without one, to which no part belongs.
const NO_KEY: &str = "-";
/// Maximum number of keys whose clients are kept, with their credentials.
const MOST_CLIENTS: usize = 256;
/// Maximum length of a text of STS in logs, in characters.
const MAX_TEXT: usize = 300;

/// A role that is assumed for keys.
#[derive(Clone, Debug)]
pub(crate) struct RoleSessions {
    pub(crate) role: String,
    /// Configuration of the worker, which assumes the role.
    pub(crate) own: SdkConfig,
    /// Region of STS, if the configuration has none.
    pub(crate) region: Option<String>,
}

impl RoleSessions {
    fn of(&self, key: &str) -> KeySession {
        KeySession { sessions: self.clone(), key: key.to_owned() }
    }

    /// Checks that the role can be assumed with a tag.
    pub(crate) async fn check(&self) -> Result<(), String> {
        match self.of(NO_KEY).provide_credentials().await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "the role {} cannot be assumed: the worker's role needs sts:AssumeRole and sts:TagSession on it, and its trust policy must allow both to the worker's role: {}",
                self.role,
                causes(&error)
            )),
        }
    }
}

/// The credentials of one key's session.
#[derive(Debug)]
struct KeySession {
    sessions: RoleSessions,
    key: String,
}

impl ProvideCredentials for KeySession {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let RoleSessions { role, own, region } = &self.sessions;
        let builder = AssumeRoleProvider::builder(role).session_name(NAME);
        let builder = builder.tags([(TAG, self.key.as_str())]).configure(own);
        let builder = match region {
            Some(region) => builder.region(Region::new(region.clone())),
            None => builder,
        };
        future::ProvideCredentials::new(async move {
            let credentials = builder.build().await.provide_credentials().await;
            credentials.map_err(|error| match refusal(&error) {
                Some(text) => CredentialsError::provider_error(KeyRefused(text)),
                None => error,
            })
        })
    }
}

/// Error: STS refuses the session of a key.
#[derive(Debug, thiserror::Error)]
#[error(
    "STS refuses a session with this key: {0} (it takes sts:AssumeRole and sts:TagSession, and a trust policy that allows the key)"
)]
pub(crate) struct KeyRefused(String);

impl KeyRefused {
    /// Code of the failed calls that need the session. No service has such a code.
    pub(crate) const CODE: &str = "wasmrun:KeyRefused";

    /// Returns the refusal behind the error of a call, if there is one.
    pub(crate) fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
    }
}

/// Returns the text with which STS refused the caller, if it did: it may also fail for now.
fn refusal(error: &CredentialsError) -> Option<String> {
    let error: &(dyn Error + 'static) = error;
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let refused: &SdkError<AssumeRoleError, HttpResponse> = causes.find_map(|error| error.downcast_ref())?;
    let refused = refused.as_service_error()?;
    let code = refused.code().filter(|code| UNALLOWED.contains(code))?;
    Some(refused.message().unwrap_or(code).chars().take(MAX_TEXT).collect())
}

/// The clients of keys. Each renews its credentials before they expire; those that weren't used for longest are dropped.
#[derive(Debug)]
pub(crate) struct KeyClients {
    sessions: RoleSessions,
    /// Configuration of the clients, without credentials.
    config: Builder,
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    /// Each client, and the number of its last use.
    by_key: HashMap<String, (Client, u64)>,
    uses: u64,
}

impl KeyClients {
    pub(crate) fn new(sessions: RoleSessions, config: Builder) -> Self {
        Self { sessions, config, clients: Mutex::default() }
    }

    /// Returns the client with which a store is opened, before there is a key.
    pub(crate) fn of_no_key(&self) -> Client {
        self.of(NO_KEY)
    }

    /// Returns the client of a key. Sends no request.
    pub(crate) fn of(&self, key: &str) -> Client {
        let mut clients = self.lock();
        clients.uses += 1;
        let use_number = clients.uses;
        if let Some((client, last)) = clients.by_key.get_mut(key) {
            *last = use_number;
            return client.clone();
        }
        if clients.by_key.len() >= MOST_CLIENTS {
            let oldest = clients.by_key.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                clients.by_key.remove(&oldest);
            }
        }
        let provider = SharedCredentialsProvider::new(self.sessions.of(key));
        // A shared cache would keep the credentials of all keys.
        let config = self.config.clone().credentials_provider(provider);
        let client = Client::from_conf(config.identity_cache(IdentityCache::lazy().build()).build());
        clients.by_key.insert(key.to_owned(), (client.clone(), use_number));
        client
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::BehaviorVersion;

    #[test]
    fn the_clients_of_few_keys_are_kept() {
        let own = SdkConfig::builder().behavior_version(BehaviorVersion::v2026_01_12()).build();
        let sessions = RoleSessions { role: "role".into(), own, region: None };
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let clients = KeyClients::new(sessions, config);
        let first = clients.of("first");
        for key in 0..2 * MOST_CLIENTS {
            clients.of(&key.to_string());
            clients.of("first");
        }
        let kept = clients.lock();
        assert_eq!(kept.by_key.len(), MOST_CLIENTS);
        assert!(kept.by_key.contains_key("first") && !kept.by_key.contains_key("0"));
        drop(first);
    }
}
