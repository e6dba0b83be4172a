//! A service for Spin, built with Spin's SDK of WASI 0.2: it greets, and `/echo` returns the body of a request.

use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::http_component;

#[http_component]
fn handle(request: Request) -> anyhow::Result<impl IntoResponse> {
    let (status, body) = match request.path() {
        "/" => (200, b"Hello from Spin\n".to_vec()),
        "/echo" => (200, request.into_body()),
        _ => (404, Vec::new()),
    };
    Ok(Response::builder().status(status).header("content-type", "text/plain").body(body).build())
}
