//! A service that does as little as one can, to measure what a request costs: it greets, and answers POST with the
//! request's body. PUT makes it spin, to measure what a request costs alongside that.

use std::io::{Read, Result, Write};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

wasip2::http::proxy::export!(Answer);

struct Answer;

impl Guest for Answer {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let body = match request.method() {
            Method::Post => read(&request).expect("a whole body"),
            Method::Put => loop {
                std::hint::spin_loop();
            },
            _ => b"Hello, world!\n".to_vec(),
        };
        let response = OutgoingResponse::new(Fields::new());
        let outgoing = response.body().expect("taken once");
        ResponseOutparam::set(out, Ok(response));
        write(&outgoing, &body).expect("a client that reads");
        OutgoingBody::finish(outgoing, None).expect("a whole body");
    }
}

fn read(request: &IncomingRequest) -> Result<Vec<u8>> {
    let body = request.consume().expect("taken once");
    let mut bytes = Vec::new();
    body.stream().expect("taken once").read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(outgoing: &OutgoingBody, bytes: &[u8]) -> Result<()> {
    let mut stream = outgoing.write().expect("taken once");
    stream.write_all(bytes)?;
    Write::flush(&mut stream)
}
