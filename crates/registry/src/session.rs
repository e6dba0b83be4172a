//! Requests to one repository: with credentials, redirects and retries.

use crate::challenge::Challenge;
use crate::reference::Reference;
use crate::token::{Wanted, basic, denied, token};
use crate::transport::{describe, send, unreachable};
use crate::{Credential, Registry, RegistryError};
use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode, Uri};
use wasmrun_http::{Response, Server};
use wasmrun_runtime::ports::http::HttpError;

/// Maximum number of redirects of one request. Registries use one, to the store that has their blobs.
const MAX_REDIRECTS: usize = 5;

/// What a session does with the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// A request to the registry.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) accept: Option<&'static str>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) content: Bytes,
}

impl Ask {
    pub(crate) fn new(method: Method, path: String) -> Self {
        Self { method, path, accept: None, content_type: None, content: Bytes::new() }
    }

    /// Returns whether it may be sent to another server.
    fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

pub(crate) struct Session<'a> {
    registry: &'a Registry,
    reference: &'a Reference,
    server: Server,
    access: Access,
    /// Sent with each request to the registry, and to no other server.
    authorization: Option<HeaderValue>,
    /// `None` until the registry asks for one.
    credential: Option<Option<Credential>>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(registry: &'a Registry, reference: &'a Reference, access: Access) -> Self {
        let is_plain = registry.plain_http.unwrap_or_else(|| reference.is_loopback());
        let (host, port) = reference.server();
        let port = port.unwrap_or(if is_plain { 80 } else { 443 });
        let server = Server { is_tls: !is_plain, host: host.to_owned(), port };
        Self { registry, reference, server, access, authorization: None, credential: None }
    }

    /// Returns the path of something in the repository.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.reference.repository())
    }

    /// Sends a request to the registry. Answers its challenge once, follows the redirects of a GET or HEAD request, and
    /// repeats it if a server is busy or can't be reached. The answer may be an error.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<Response, RegistryError> {
        self.ask_at(self.server.clone(), ask.path.clone(), ask).await
    }

    /// Sends a request to the place that an answer of the registry named in its header `Location`. Only the registry's own
    /// server gets credentials.
    pub(crate) async fn ask_where(&mut self, location: &str, ask: &Ask) -> Result<Response, RegistryError> {
        let (server, path) = self.place(&self.server, location)?;
        self.ask_at(server, path, ask).await
    }

    async fn ask_at(
        &mut self,
        mut server: Server,
        mut path: String,
        ask: &Ask,
    ) -> Result<Response, RegistryError> {
        let (mut redirects, mut has_authorized) = (0, false);
        loop {
            let sent = self.send(&server, &path, ask).await;
            let response = sent.map_err(|error| unreachable(&server, &error))?;
            match response.status {
                StatusCode::UNAUTHORIZED if server == self.server && !has_authorized => {
                    self.authorize(response).await?;
                    has_authorized = true;
                }
                status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                    let said = format!("{server} answered {}", describe(response).await);
                    return Err(denied(self.credential.iter().flatten().next(), status, &said));
                }
                status if is_redirect(status) && ask.is_safe() => {
                    redirects += 1;
                    if redirects > MAX_REDIRECTS {
                        return Err(RegistryError::Unavailable(format!(
                            "{} redirects more than {MAX_REDIRECTS} times",
                            self.server
                        )));
                    }
                    let location = response.header(LOCATION.as_str()).unwrap_or_default();
                    (server, path) = self.place(&server, location)?;
                }
                _ => return Ok(response),
            }
        }
    }

    async fn send(&self, server: &Server, path: &str, ask: &Ask) -> Result<Response, HttpError> {
        let authorization = self.authorization.as_ref().filter(|_| *server == self.server);
        let head = || {
            let mut head = Request::builder().method(ask.method.clone()).uri(path);
            if let Some(accept) = ask.accept {
                head = head.header(ACCEPT, accept);
            }
            if let Some(content_type) = ask.content_type {
                head = head.header(CONTENT_TYPE, content_type);
            }
            if let Some(authorization) = authorization {
                head = head.header(AUTHORIZATION, authorization);
            }
            head
        };
        send(&self.registry.client, server, head, ask.content.clone()).await
    }

    /// Returns the server and the path that a header `Location` names. A server with TLS can't lead to one without.
    fn place(&self, from: &Server, location: &str) -> Result<(Server, String), RegistryError> {
        let wrong = |why: &str| RegistryError::Unavailable(format!("{from} leads to a place that {why}"));
        // Upload locations have a query, and some servers leave characters in it that a URL can't hold.
        let url: Uri = location.parse().map_err(|_| wrong("is no URL"))?;
        if url.authority().is_none() {
            let path = url.path_and_query().filter(|path| path.as_str().starts_with('/'));
            let path = path.ok_or_else(|| wrong("is no URL"))?;
            return Ok((from.clone(), path.as_str().to_owned()));
        }
        let (server, path) = Server::of(&url).ok_or_else(|| wrong("is no URL of HTTP"))?;
        if from.is_tls && !server.is_tls {
            return Err(wrong(&format!("has no TLS: {server}")));
        }
        Ok((server, path))
    }

    /// Answers the registry's challenge.
    async fn authorize(&mut self, response: Response) -> Result<(), RegistryError> {
        let headers = response.headers.get_all(WWW_AUTHENTICATE);
        let challenge = Challenge::of(headers.iter().filter_map(|value| value.to_str().ok()));
        let Some(challenge) = challenge else {
            let (status, said) = (response.status, describe(response).await);
            let said = format!("{} answered {said} without saying how to log in", self.server);
            return Err(denied(None, status, &said));
        };
        let credential = match &self.credential {
            Some(known) => known.clone(),
            None => {
                let found = (self.registry.credentials)(self.reference.host().to_owned()).await;
                let found = found.map_err(RegistryError::Unavailable)?;
                self.credential.insert(found).clone()
            }
        };
        self.authorization = Some(match challenge {
            Challenge::Basic => match credential {
                Some(Credential::Password { user, password }) => basic(&user, &password)?,
                _ => {
                    let said = format!("{} asks for a name and a password", self.server);
                    return Err(denied(None, StatusCode::UNAUTHORIZED, &said));
                }
            },
            Challenge::Bearer { realm, service } => {
                let actions = match self.access {
                    Access::Pull => "pull",
                    Access::Push => "pull,push",
                };
                let scope = format!("repository:{}:{actions}", self.reference.repository());
                let wanted = Wanted { realm: &realm, service: service.as_deref(), scope };
                token(&self.registry.client, &self.server, &wanted, credential.as_ref()).await?
            }
        });
        Ok(())
    }

    /// Returns the registry's server, for messages.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
