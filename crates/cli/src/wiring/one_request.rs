//! One HTTP request that comes from a command line instead of a client.

use crate::output::failure::Failure;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::ports::http::Body;
use wasmrun_runtime::ports::requests::{Exchange, Requests};

/// The host that the request is for, unless a header says it.
const HOST: HeaderValue = HeaderValue::from_static("localhost");

/// Gives a request to the first task that asks.
pub(crate) struct OneRequest(Mutex<Option<Exchange>>);

impl OneRequest {
    /// Returns the request, and where its response arrives, which fails if the task gives none.
    pub(crate) fn new(request: Request<Bytes>) -> (Self, oneshot::Receiver<Response<Body>>) {
        let (respond, response) = oneshot::channel();
        let body = |bytes: Bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
        let exchange = Exchange { request: request.map(body), respond, gone: CancellationToken::new() };
        (Self(Mutex::new(Some(exchange))), response)
    }
}

impl Requests for OneRequest {
    fn take(&self, _: &str) -> Option<Exchange> {
        self.0.lock().take()
    }
}

/// Reads a request: `line` is `METHOD PATH` or a path, and each header `NAME: VALUE`.
pub(crate) fn request_from(line: &str, headers: &[String], body: Bytes) -> Result<Request<Bytes>, Failure> {
    let wrong =
        || Failure::usage(format!("--http {line:?} is no request: write 'METHOD /PATH', such as 'GET /'"));
    let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong())?;
    let path: Uri = path.parse().ok().filter(|uri: &Uri| uri.path().starts_with('/')).ok_or_else(wrong)?;
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut()) = (method, path);
    request.headers_mut().insert(http::header::HOST, HOST);
    for text in headers {
        let header = text.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let (name, value) = header
            .ok_or_else(|| Failure::usage(format!("--header {text:?} is no header: write 'NAME: VALUE'")))?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, headers: &[&str]) -> Result<Request<Bytes>, String> {
        let headers: Vec<_> = headers.iter().map(|&header| header.to_owned()).collect();
        request_from(line, &headers, Bytes::new()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_request_is_a_method_and_a_path_with_headers() {
        let request = read("PUT /a?b=c", &["X-A: 1", "x-a:2"]).expect("a request");
        assert_eq!((request.method(), request.uri().to_string()), (&Method::PUT, "/a?b=c".to_owned()));
        assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(read("/a", &[]).expect("a request").method(), Method::GET);
    }

    #[test]
    fn what_is_no_request_is_said() {
        for line in ["", "GET", "GET a", "G(T /", "GET /a b", "GET  /"] {
            assert!(read(line, &[]).is_err_and(|error| error.contains("METHOD /PATH")), "{line}");
        }
        for header in ["x", "a b: c", "x: a\nb", ": x"] {
            assert!(read("/", &[header]).is_err_and(|error| error.contains("NAME: VALUE")), "{header}");
        }
    }
}
