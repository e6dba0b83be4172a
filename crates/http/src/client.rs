//! Sends requests, each over a connection of its own: nothing of a task is left for the next one.

use crate::certificates::roots;
use crate::proxies::Proxies;
use crate::tunnel;
use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use wasmrun_runtime::ports::http::{
    Answer, Body, Destination, Hold, HttpClient, HttpError, MAX_HEAD_BYTES, MAX_HEADERS,
};

/// Maximum number of look-ups at once. Each blocks a thread, and one that is abandoned goes on.
const LOOK_UPS: usize = 16;
/// Maximum number of addresses of a host that are tried.
const MOST_ADDRESSES: usize = 8;

/// Maximum number of bytes that may arrive before the head of the response is complete: informational heads, of which a
/// server may send any number, and the beginning of the body.
const MOST_BEFORE_HEAD: usize = 8 * MAX_HEAD_BYTES;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection from which a bounded number of bytes can be read.
struct Bounded<S> {
    stream: S,
    left: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        let left = self.left.load(Ordering::Relaxed).checked_sub(read);
        self.left.store(left.ok_or_else(|| io::Error::other(HttpError::HeadSize))?, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The client of all guests and of the worker's own requests.
pub struct Client {
    tls: TlsConnector,
    proxies: Matcher,
    look_ups: Arc<Semaphore>,
}

impl Client {
    /// Builds the client with the proxies and certificates that the environment names. The variables are read once.
    ///
    /// # Errors
    ///
    /// A variable doesn't name a valid proxy or certificate bundle.
    pub fn from_environment() -> Result<Self, String> {
        let roots = roots(|name| std::env::var_os(name).map(Into::into))?;
        let Proxies { http, https, except } = Proxies::of(|name| std::env::var(name).ok())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be used: {error}"))?;
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A ticket would let a server recognize the next task.
        tls.resumption = Resumption::disabled();
        let proxies = Matcher::builder()
            .http(http.unwrap_or_default())
            .https(https.unwrap_or_default())
            .no(except)
            .build();
        let look_ups = Arc::new(Semaphore::new(LOOK_UPS));
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), proxies, look_ups })
    }

    /// Looks up the addresses of a host name, for a request of the worker's own or of a proxy.
    ///
    /// # Errors
    ///
    /// There is no such name, or it can't be looked up now.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, HttpError> {
        HttpClient::resolve(self, host, Arc::new(())).await
    }

    /// Returns whether requests to a destination go through a proxy, which looks its name up.
    pub fn uses_proxy(&self, to: &Destination) -> bool {
        self.proxy(to).is_some()
    }

    /// Returns the proxy for a destination, if there is one.
    fn proxy(&self, to: &Destination) -> Option<Intercept> {
        let scheme = if to.is_tls { "https" } else { "http" };
        let url = Uri::builder().scheme(scheme).authority(authority(to)).path_and_query("/").build().ok()?;
        self.proxies.intercept(&url)
    }

    /// Connects to the destination, or to its proxy.
    async fn connect(
        &self,
        to: &Destination,
        proxy: Option<&Intercept>,
    ) -> Result<Box<dyn Stream>, HttpError> {
        let end = Instant::now() + to.connect;
        let stream: Box<dyn Stream> = match proxy {
            None => Box::new(connect_to_one(&to.addresses, to.port, end).await?),
            Some(proxy) => {
                let mut stream = self.connect_to_proxy(proxy.uri(), end).await?;
                if to.is_tls {
                    tunnel::open(&mut stream, &authority(to), proxy.basic_auth()).await?;
                }
                stream
            }
        };
        if to.is_tls { self.encrypt(&to.host, stream).await } else { Ok(stream) }
    }

    async fn connect_to_proxy(&self, proxy: &Uri, end: Instant) -> Result<Box<dyn Stream>, HttpError> {
        let failed = |error: HttpError| HttpError::Proxy(error.to_string());
        let host = proxy.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_tls = proxy.scheme_str() == Some("https");
        let port = proxy.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses = self.resolve(host).await.map_err(failed)?;
        let stream = connect_to_one(&addresses, port, end).await.map_err(failed)?;
        if is_tls { self.encrypt(host, Box::new(stream)).await.map_err(failed) } else { Ok(Box::new(stream)) }
    }

    async fn encrypt(&self, host: &str, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, HttpError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| HttpError::Tls(error.to_string()))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| tls_error(&error))?;
        Ok(Box::new(stream))
    }
}

/// Connects to one of a host's addresses, each in its share of the time that is left.
async fn connect_to_one(addresses: &[IpAddr], port: u16, end: Instant) -> Result<TcpStream, HttpError> {
    let addresses = &addresses[..addresses.len().min(MOST_ADDRESSES)];
    let mut failure = HttpError::ConnectTimeout;
    for (index, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        failure = match timeout(share, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => HttpError::Connect(error.to_string()),
            Err(_) => HttpError::ConnectTimeout,
        };
    }
    Err(failure)
}

/// Returns `HOST:PORT`, with brackets around an address of IPv6.
fn authority(to: &Destination) -> String {
    let Destination { host, port, .. } = to;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn tls_error(error: &io::Error) -> HttpError {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => HttpError::Certificate(why.to_string()),
        _ => HttpError::Tls(error.to_string()),
    }
}

fn http_error(error: &hyper::Error) -> HttpError {
    // Of the request's body, or of the connection.
    let own = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().and_then(|error| error.downcast_ref::<HttpError>()).cloned(),
        None => cause.downcast_ref::<HttpError>().cloned(),
    };
    if let Some(own) = std::error::Error::source(error).and_then(own) {
        own
    } else if error.is_parse_too_large() {
        HttpError::HeadSize
    } else if error.is_parse() {
        HttpError::Protocol(error.to_string())
    } else {
        HttpError::Ended
    }
}

async fn within<T>(
    time: Duration,
    late: HttpError,
    work: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    timeout_at(Instant::now() + time, work).await.unwrap_or(Err(late))
}

#[async_trait]
impl HttpClient for Client {
    async fn resolve(&self, host: &str, hold: Hold) -> Result<Vec<IpAddr>, HttpError> {
        let permit = self.look_ups.clone().acquire_owned().await;
        let permit = permit.map_err(|error| HttpError::Name(error.to_string()))?;
        let host = host.to_owned();
        let look_up = move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            drop((permit, hold));
            let found = found.map_err(|error| HttpError::Name(error.to_string()))?;
            Ok(found.map(|address| address.ip()).collect())
        };
        let found = tokio::task::spawn_blocking(look_up).await;
        found.unwrap_or_else(|error| Err(HttpError::Name(error.to_string())))
    }

    async fn send(&self, to: &Destination, mut request: Request<Body>) -> Result<Answer, HttpError> {
        let proxy = self.proxy(to);
        let stream = within(to.connect, HttpError::ConnectTimeout, self.connect(to, proxy.as_ref())).await?;
        match proxy.filter(|_| !to.is_tls) {
            // A proxy takes the whole URL.
            Some(proxy) => {
                if let Some(credentials) = proxy.basic_auth() {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, secret(credentials));
                }
                *request.uri_mut() = absolute(to, request.uri())?;
            }
            None => *request.uri_mut() = origin(request.uri())?,
        }
        let left = Arc::new(AtomicUsize::new(MOST_BEFORE_HEAD));
        let handshake = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(Bounded { stream, left: left.clone() }));
        let (mut sender, connection) = handshake.await.map_err(|error| http_error(&error))?;
        let mut connection = Box::pin(connection);
        let mut has_ended = false;
        let response = {
            let mut response = std::pin::pin!(async {
                let response = sender.send_request(request).await;
                response.map_err(|error| http_error(&error))
            });
            // The connection moves while the response is awaited. It may end first, with the response complete.
            let moved = async {
                tokio::select! {
                    biased;
                    response = &mut response => response,
                    _ = &mut connection => {
                        has_ended = true;
                        response.await
                    }
                }
            };
            within(to.first_byte, HttpError::FirstByteTimeout, moved).await?
        };
        left.store(usize::MAX, Ordering::Relaxed);
        let connection = async move {
            if !has_ended {
                // Its error is that of the body.
                let _ = connection.await;
            }
            drop(sender);
        };
        Ok(Answer { response: response.map(body), connection: Box::pin(connection) })
    }
}

fn secret(credentials: &HeaderValue) -> HeaderValue {
    let mut credentials = credentials.clone();
    credentials.set_sensitive(true);
    credentials
}

fn body(incoming: Incoming) -> Body {
    incoming.map_err(|error| http_error(&error)).boxed_unsync()
}

/// Returns the URL of a request to a server: its path and query.
fn origin(url: &Uri) -> Result<Uri, HttpError> {
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let built = Uri::builder().path_and_query(path).build();
    built.map_err(|error| HttpError::Protocol(error.to_string()))
}

/// Returns the URL of a request to a proxy: with the checked host.
fn absolute(to: &Destination, url: &Uri) -> Result<Uri, HttpError> {
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let built = Uri::builder().scheme("http").authority(authority(to)).path_and_query(path).build();
    built.map_err(|error| HttpError::Protocol(error.to_string()))
}
