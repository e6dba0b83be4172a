//! A command that sends HTTP requests as its arguments say, or, without arguments, the first line of its input. Its last
//! words say what it got: it is rejected.

use std::io::{self, BufRead, Write};
use wasip2::cli::exit::exit_with_code;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

const DATA_ERROR: u8 = 65;
/// Longest part of a body that is told.
const SHOWN: usize = 200;

fn main() -> io::Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        words = line.split_whitespace().map(str::to_owned).collect();
    }
    let word = |index: usize| words.get(index).map(String::as_str).unwrap_or_default();
    let number = |index: usize| word(index).parse::<u64>().unwrap_or_default();
    match word(0) {
        "get" => say(&told(get(word(1)))),
        // A request whose parts no URL parser has seen.
        "raw" => say(&told(request(Method::Get, word(1), word(2), word(3), &[]).and_then(response))),
        "method" => say(&told(send(Method::Other(word(1).to_owned()), word(2), &[]).and_then(response))),
        "connect" => say(&told(send(Method::Connect, word(1), &[]).and_then(response))),
        "header" => say(&match Fields::from_list(&[(word(1).to_owned(), word(2).into())]) {
            Err(error) => format!("{error:?}"),
            Ok(_) => told(send(Method::Get, word(3), &[(word(1), word(2))]).and_then(response)),
        }),
        "follow" => say(&follow(word(1))),
        "post" => say(&told(post(word(1), number(2)))),
        "impatient" => say(&told(impatient(word(1), number(2)))),
        // Holds all responses that it hasn't got yet.
        "hold" => {
            let held: Vec<_> = (0..number(2)).map(|_| send(Method::Get, word(1), &[])).collect();
            let failed = held.iter().filter(|sent| sent.is_err()).count();
            say(&format!("{failed} failed"));
        }
        "drop" => {
            (0..number(2)).for_each(|_| drop(send(Method::Get, word(1), &[])));
            say("dropped");
        }
        "all" => {
            let sent: Vec<_> = (0..number(2)).map(|_| send(Method::Get, word(1), &[])).collect();
            let told = sent.into_iter().map(|sent| told(sent.and_then(response)));
            say(&told.collect::<Vec<_>>().join(","));
        }
        "work" => print!("{}", word(1)),
        "pulse" => {
            std::thread::sleep(std::time::Duration::from_millis(number(1)));
            print!("pulse");
        }
        "long" => say(&long(number(1) as usize)),
        "headers" => {
            let fields = Fields::new();
            let fits = (0..number(1)).take_while(|i| fields.append(&format!("x-{i}"), &[b'x'; 64]).is_ok());
            say(&format!("{} fit", fits.count()));
        }
        other => return Err(io::Error::other(format!("no such command: {other}"))),
    }
    Ok(())
}

fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
    exit_with_code(DATA_ERROR);
}

fn told(result: Result<(IncomingResponse, String), ErrorCode>) -> String {
    match result {
        Ok((response, body)) => format!("{} {body}", response.status()),
        Err(error) => format!("{error:?}").split('(').next().unwrap_or_default().to_owned(),
    }
}

fn split(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (scheme, authority, path)
}

fn send(method: Method, url: &str, headers: &[(&str, &str)]) -> Result<FutureIncomingResponse, ErrorCode> {
    let (scheme, authority, path) = split(url);
    request(method, scheme, authority, path, headers)
}

fn built(
    method: Method,
    scheme: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<OutgoingRequest, ErrorCode> {
    let fields = Fields::new();
    let invalid = || ErrorCode::InternalError(None);
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).map_err(|_| invalid())?;
    }
    let request = OutgoingRequest::new(fields);
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let path = if path.is_empty() { "/" } else { path };
    request.set_method(&method).map_err(|()| invalid())?;
    request.set_scheme(Some(&scheme)).map_err(|()| invalid())?;
    request.set_authority(Some(authority)).map_err(|()| invalid())?;
    request.set_path_with_query(Some(path)).map_err(|()| invalid())?;
    Ok(request)
}

fn request(
    method: Method,
    scheme: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<FutureIncomingResponse, ErrorCode> {
    handle(built(method, scheme, authority, path, headers)?, None)
}

fn get(url: &str) -> Result<(IncomingResponse, String), ErrorCode> {
    response(send(Method::Get, url, &[])?)
}

fn response(sent: FutureIncomingResponse) -> Result<(IncomingResponse, String), ErrorCode> {
    sent.subscribe().block();
    let response = sent.get().expect("ready").expect("asked once")?;
    let body = response.consume().expect("the body");
    let text = read(&body);
    IncomingBody::finish(body);
    Ok((response, text))
}

/// Reads a body to its end, and keeps its beginning.
fn read(body: &IncomingBody) -> String {
    let stream = body.stream().expect("a stream");
    let (mut text, mut length) = (Vec::new(), 0);
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(part) => {
                length += part.len();
                text.extend_from_slice(&part[..part.len().min(SHOWN - text.len())]);
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return format!("failed after {length}"),
        }
    }
    if length > SHOWN { format!("{length} bytes") } else { String::from_utf8_lossy(&text).into_owned() }
}

/// Follows redirects as a client library does: with a new request.
fn follow(url: &str) -> String {
    let mut url = url.to_owned();
    for _ in 0..5 {
        match get(&url) {
            Ok((response, _)) if response.status() / 100 == 3 => {
                let location = response.headers().get("location");
                url = String::from_utf8_lossy(&location.concat()).into_owned();
            }
            result => return told(result),
        }
    }
    "too many".into()
}

fn post(url: &str, size: u64) -> Result<(IncomingResponse, String), ErrorCode> {
    let (scheme, authority, path) = split(url);
    let request = built(Method::Post, scheme, authority, path, &[])?;
    let body = request.body().expect("a body");
    let sent = handle(request, None)?;
    {
        let stream = body.write().expect("a stream");
        let mut left = size;
        while left > 0 {
            let part = left.min(4096);
            if stream.blocking_write_and_flush(&vec![b'x'; part as usize]).is_err() {
                break;
            }
            left -= part;
        }
    }
    OutgoingBody::finish(body, None)?;
    response(sent)
}

/// Waits for at most this number of milliseconds for each step.
fn impatient(url: &str, milliseconds: u64) -> Result<(IncomingResponse, String), ErrorCode> {
    let (scheme, authority, path) = split(url);
    let options = RequestOptions::new();
    let time = Some(milliseconds * 1_000_000);
    let _ = options.set_connect_timeout(time);
    let _ = options.set_first_byte_timeout(time);
    let _ = options.set_between_bytes_timeout(time);
    response(handle(built(Method::Get, scheme, authority, path, &[])?, Some(options))?)
}

/// Builds requests with texts of this length, and says which are taken.
fn long(length: usize) -> String {
    let request = OutgoingRequest::new(Fields::new());
    let text = "x".repeat(length);
    let taken = [
        request.set_method(&Method::Other(text.clone())).is_ok(),
        request.set_authority(Some(&text)).is_ok(),
        request.set_path_with_query(Some(&format!("/{text}"))).is_ok(),
    ];
    format!("{taken:?}")
}
