//! An HTTP/1.1 client that shows what is on the wire: how a response is framed, whether it is whole, and whether the
//! connection is kept.

use super::PATIENCE;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to a server.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Headers in their order, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

/// A response, as far as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether it ended as its framing says: after its length, or with a last chunk.
    pub(crate) is_whole: bool,
}

impl Wire {
    #[track_caller]
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::try_to(address).expect("a connection")
    }

    pub(crate) fn try_to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Another hand on the same connection, which sends while this one reads.
    #[track_caller]
    pub(crate) fn twin(&self) -> Self {
        Self { stream: BufReader::new(self.stream.get_ref().try_clone().expect("a handle")) }
    }

    /// Lets sending fail if the server takes nothing for this time.
    pub(crate) fn stalls_within(&self, time: Duration) {
        self.stream.get_ref().set_write_timeout(Some(time)).expect("a timeout");
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("sent");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Sends the head of a request.
    #[track_caller]
    pub(crate) fn send_head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.send(format!("{method} {path} HTTP/1.1\r\nhost: service.test\r\n{headers}\r\n"));
    }

    /// Sends a part of a chunked body.
    #[track_caller]
    pub(crate) fn send_chunk(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send_head("GET", path, &[]);
        self.response()
    }

    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
        self.exchange("POST", path, headers, body)
    }

    /// Sends a request with a body, and reads the response.
    #[track_caller]
    pub(crate) fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        let length = body.as_ref().len().to_string();
        self.send_head(method, path, &[headers, &[("content-length", &*length)]].concat());
        self.send(body);
        self.response()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Reads a response to a request that isn't HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().expect("a response")
    }

    pub(crate) fn try_response(&mut self) -> io::Result<Response> {
        let head = self.try_head()?;
        self.rest(head)
    }

    /// Reads a response if its beginning has arrived already.
    #[track_caller]
    pub(crate) fn try_now(&mut self) -> Option<Response> {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).expect("it can be polled");
        let arrived = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("it can wait");
        arrived.is_ok().then(|| self.response())
    }

    /// Reads the head of a response.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        self.try_head().expect("a head")
    }

    pub(crate) fn try_head(&mut self) -> io::Result<Head> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {first:?}")))?;
        Ok(Head { status, headers: self.headers()? })
    }

    /// Reads the body of a response.
    pub(crate) fn rest(&mut self, head: Head) -> io::Result<Response> {
        let mut response = Response { head, body: Vec::new(), trailers: Vec::new(), is_whole: false };
        if response.header("transfer-encoding") == "chunked" {
            // What breaks off in the middle isn't whole.
            while let Ok(Some(chunk)) = self.chunk() {
                response.body.extend_from_slice(&chunk);
                if chunk.is_empty() {
                    response.trailers = self.headers()?;
                    response.is_whole = true;
                    break;
                }
            }
            return Ok(response);
        }
        let has_none = response.head.status / 100 == 1 || matches!(response.head.status, 204 | 304);
        let length = if has_none { Some(0) } else { response.header("content-length").parse().ok() };
        let most = length.unwrap_or(u64::MAX);
        // A connection that is reset ends like one that is closed.
        let _ = (&mut self.stream).take(most).read_to_end(&mut response.body);
        response.is_whole = length.is_none_or(|length| length == response.body.len() as u64);
        Ok(response)
    }

    /// Reads a chunk of a body: the last one is empty. Returns `None` if the connection ends before it.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let Ok(length) = usize::from_str_radix(line.trim(), 16) else { return Ok(None) };
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk)?;
        if length > 0 {
            self.line()?;
        }
        Ok(Some(chunk))
    }

    /// Waits until the server has closed the connection. Returns what it sent before.
    #[track_caller]
    pub(crate) fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        assert!(
            read.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::ConnectionReset),
            "{read:?}"
        );
        rest
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn headers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line()?.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(headers)
    }
}

impl Head {
    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
