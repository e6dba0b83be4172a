//! A service for wasmCloud 2, built with the crate of its template `http-hello-world`: it greets, and `/echo` streams the
//! body of a request back.

use wstd::http::{Body, Error, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    match request.uri().path() {
        "/" => Ok(Response::new("Hello from wasmCloud\n".into())),
        "/echo" => Ok(Response::new(request.into_body())),
        _ => Ok(Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty())?),
    }
}
