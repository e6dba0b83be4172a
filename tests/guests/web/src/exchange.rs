//! A request and its response.

use std::time::Duration;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// Bytes that are read or written at once.
const PART: usize = 64 << 10;

pub(crate) struct Exchange {
    pub(crate) request: IncomingRequest,
    pub(crate) respond: ResponseOutparam,
}

/// The body of a response whose head was sent. Dropped before [`finish`](Self::finish), it isn't whole.
pub(crate) struct Body {
    // Before the body, which it belongs to.
    stream: OutputStream,
    body: OutgoingBody,
}

impl Exchange {
    pub(crate) fn new(request: IncomingRequest, respond: ResponseOutparam) -> Self {
        Self { request, respond }
    }

    /// Sends the head of a response.
    pub(crate) fn begin(self, status: u16, headers: &[(&str, &str)]) -> Body {
        let fields = Fields::new();
        for (name, value) in headers {
            fields.append(name, value.as_bytes()).expect("a header");
        }
        let response = OutgoingResponse::new(fields);
        response.set_status_code(status).expect("a status");
        let body = response.body().expect("its body");
        ResponseOutparam::set(self.respond, Ok(response));
        Body { stream: body.write().expect("its stream"), body }
    }

    pub(crate) fn say(self, status: u16, text: &str) {
        let length = text.len().to_string();
        let mut body = self.begin(status, &[("content-type", "text/plain"), ("content-length", &length)]);
        body.write(text.as_bytes());
        body.finish();
    }

    pub(crate) fn with_trailers(self, trailers: &[(&str, &str)]) {
        let mut body = self.begin(200, &[("trailer", trailers[0].0)]);
        body.write(b"see below\n");
        let fields = Fields::new();
        for (name, value) in trailers {
            fields.append(name, value.as_bytes()).expect("a trailer");
        }
        body.finish_with(Some(fields));
    }

    /// Sends the body of the request back as it arrives, with its content type and trailers.
    pub(crate) fn echo(self, sized: bool) {
        let header = |name: &str| Some(text(self.request.headers().get(name).first()?));
        let content_type = header("content-type").unwrap_or_default();
        let length = header("content-length").filter(|_| sized);
        let incoming = self.request.consume().expect("the body");
        let input = incoming.stream().expect("its stream");
        let mut headers = vec![("content-type", &*content_type)];
        headers.extend(length.as_deref().map(|length| ("content-length", length)));
        let mut body = self.begin(200, &headers);
        while let Some(part) = next(&input) {
            body.write(&part);
            // A client may wait for this part before it sends the next one.
            body.flush();
        }
        drop(input);
        body.finish_with(trailers(incoming));
    }

    /// Describes the request: its method, path, authority and headers, each on a line of its own.
    pub(crate) fn seen(&self) -> String {
        let request = &self.request;
        let mut lines = vec![
            format!("{:?}", request.method()),
            request.path_with_query().unwrap_or_default(),
            request.authority().unwrap_or_default(),
            format!("{:?}", request.scheme()),
        ];
        let headers = request.headers().entries();
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {}", text(value))));
        lines.join("\n")
    }

    /// Reads the whole body of the request.
    pub(crate) fn read_all(&mut self) -> Vec<u8> {
        let body = self.request.consume().expect("the body");
        let input = body.stream().expect("its stream");
        let mut content = Vec::new();
        while let Some(part) = next(&input) {
            content.extend_from_slice(&part);
        }
        content
    }

    /// Reads the beginning of the request's body, and leaves the rest.
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        let body = self.request.consume().expect("the body");
        let input = body.stream().expect("its stream");
        next(&input).unwrap_or_default()
    }

    /// Sends a body of this number of bytes.
    pub(crate) fn large(self, bytes: usize) {
        let mut body = self.begin(200, &[]);
        let part = [b'x'; PART];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(PART);
            body.write(&part[..now]);
            left -= now;
        }
        body.finish();
    }

    /// Sends a body of this number of parts, with a pause before each.
    pub(crate) fn slow(self, parts: u32, pause: Duration) {
        let mut body = self.begin(200, &[]);
        for _ in 0..parts {
            std::thread::sleep(pause);
            body.write(b"part\n");
            body.flush();
        }
        body.finish();
    }
}

impl Body {
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stream.check_write().expect("writable") {
                0 => self.stream.subscribe().block(),
                room => {
                    let (now, later) = bytes.split_at(bytes.len().min(room as usize));
                    self.stream.write(now).expect("written");
                    bytes = later;
                }
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        self.stream.blocking_flush().expect("flushed");
    }

    pub(crate) fn finish(self) {
        self.finish_with(None);
    }

    pub(crate) fn finish_with(mut self, trailers: Option<Trailers>) {
        self.flush();
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers).expect("a whole body");
    }
}

/// Reads the next part of a body; `None` at its end.
fn next(input: &InputStream) -> Option<Vec<u8>> {
    match input.blocking_read(PART as u64) {
        Ok(part) => Some(part),
        Err(StreamError::Closed) => None,
        Err(StreamError::LastOperationFailed(error)) => {
            panic!("the body failed: {}", error.to_debug_string())
        }
    }
}

/// Returns the trailers of a body that was read to its end.
fn trailers(body: IncomingBody) -> Option<Trailers> {
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    trailers.get().expect("ready").expect("asked once").expect("a whole body")
}

fn text(bytes: &Vec<u8>) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
