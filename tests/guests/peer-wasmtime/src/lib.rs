//! A service for `wasmtime serve`, built with the crate of the Bytecode Alliance's example `http-proxy`: it greets, and
//! `/echo` streams the body of a request back.

use std::io::{self, Read, Write};
use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasi::http::proxy::export!(Service);

struct Service;

impl Guest for Service {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("taken once");
        let mut stream = body.write().expect("taken once");
        match &*path {
            "/" => {
                ResponseOutparam::set(out, Ok(response));
                stream.write_all(b"Hello from WASI\n").expect("a client that reads");
            }
            "/echo" => {
                ResponseOutparam::set(out, Ok(response));
                let received = request.consume().expect("taken once");
                let mut input = received.stream().expect("taken once");
                io::copy(&mut input as &mut dyn Read, &mut stream).expect("a client that sends and reads");
            }
            _ => {
                response.set_status_code(404).expect("a status");
                ResponseOutparam::set(out, Ok(response));
            }
        }
        stream.flush().expect("a client that reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}
