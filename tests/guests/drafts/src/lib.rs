//! A component for `wasi:messaging` and `wasi:blobstore` 0.2.0-draft, built from the published WIT. It does what its
//! message says: one word and its arguments, or several such lines.

use exports::wasi::messaging::incoming_handler::Guest;
use wasi::blobstore::blobstore::{
    self, ObjectId, container_exists, copy_object, create_container, delete_container, get_container,
    move_object,
};
use wasi::blobstore::types::{IncomingValue, OutgoingValue};
use wasi::io::streams::{OutputStream, StreamError};
use wasi::messaging::producer;
use wasi::messaging::request_reply::{self, RequestOptions};
use wasi::messaging::types::{Client, Error, Message};

wit_bindgen::generate!({
    inline: "
        package test:drafts;
        world drafts {
            include wasi:messaging/messaging-request-reply@0.2.0-draft;
            include wasi:blobstore/imports@0.2.0-draft;
        }
    ",
    path: ["../../../crates/runtime/worlds/wasi-messaging", "../../../crates/runtime/worlds/wasi-blobstore"],
    world: "test:drafts/drafts",
    generate_all,
});

struct Handler;
export!(Handler);

impl Guest for Handler {
    fn handle(message: Message) -> Result<(), Error> {
        let data = message.data();
        let body = String::from_utf8_lossy(&data).into_owned();
        for line in body.lines() {
            obey(line, &message)?;
        }
        Ok(())
    }
}

fn obey(line: &str, message: &Message) -> Result<(), Error> {
    let words: Vec<&str> = line.split(' ').collect();
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    let number = |index: usize| word(index).parse::<u64>().unwrap_or_default();
    match word(0) {
        "ok" | "" => {}
        "fail" => return say(words[1..].join(" ")),
        "fail-timeout" => return Err(Error::Timeout),
        "fail-connection" => return Err(Error::Connection("gone".into())),
        "fail-permission" => return Err(Error::PermissionDenied("no".into())),
        "panic" => panic!("at once"),
        "spin" => spin(),
        "sleep" => sleep(),
        "message" => {
            let (topic, kind) = (message.topic(), message.content_type());
            return say(format!("{topic:?} {kind:?} {:?}", message.metadata()));
        }
        // send TOPIC TEXT
        "send" => producer::send(&Client::connect("any")?, word(1), new_message(&words[2..].join(" ")))?,
        "send-twice" => {
            let client = Client::connect("any")?;
            client.disconnect()?;
            return said(producer::send(&client, word(1), new_message("late")));
        }
        "send-said" => {
            return said(producer::send(&Client::connect("")?, word(1), new_message(&words[2..].join(" "))));
        }
        "send-binary" => {
            return said(producer::send(&Client::connect("")?, word(1), Message::new(&[0xff, 0xfe])));
        }
        "send-typed" => {
            let sent = new_message("typed");
            sent.set_content_type("text/x");
            sent.set_metadata(&[("a".into(), "1".into()), ("b".into(), "2".into())]);
            sent.add_metadata("a", "3");
            sent.remove_metadata("b");
            producer::send(&Client::connect("any")?, word(1), sent)?;
        }
        "send-on" => loop {
            producer::send(&Client::connect("any")?, word(1), new_message("again"))?;
        },
        "send-large" => {
            let body = "x".repeat(number(2) as usize);
            return said(producer::send(&Client::connect("")?, word(1), new_message(&body)));
        }
        "request" => {
            let options = RequestOptions::new();
            options.set_timeout_ms(1);
            let client = Client::connect("any")?;
            return said(request_reply::request(&client, word(1), message, Some(options)));
        }
        "reply" => return said(request_reply::reply(message, new_message("answer"))),
        "metadata-on" => {
            let (sent, mut count) = (new_message("x"), 0_u64);
            loop {
                count += 1;
                sent.add_metadata(&count.to_string(), "value");
            }
        }
        "messages-on" => {
            let (data, mut held) = (vec![b'x'; 1 << 20], Vec::new());
            loop {
                held.push(Message::new(&data));
            }
        }
        "name-length" => {
            let name = "n".repeat(number(1) as usize);
            let sent = new_message("x");
            sent.add_metadata(&name, "v");
            let _ = Client::connect(&name)?;
            return said(producer::send(&Client::connect("")?, &name, sent));
        }
        // copy-object FROM KEY TO KEY, through the host alone
        "copy-object" => return told(copy_object(&id(word(1), word(2)), &id(word(3), word(4)))),
        "move-object" => return told(move_object(&id(word(1), word(2)), &id(word(3), word(4)))),
        // upper FROM KEY TO KEY, through streams
        "upper" => upper(word(1), word(2), word(3), word(4)).map_err(Error::Other)?,
        "get" => return say(get(word(1), word(2), number(3), number(4))),
        "get-all" => return say(get(word(1), word(2), 0, u64::MAX)),
        "count" => return say(count(word(1), word(2)).unwrap_or_else(|error| error)),
        "put" => return told(put(word(1), word(2), number(3), true)),
        "put-first" => return told(put(word(1), word(2), number(3), false)),
        "put-unfinished" => {
            let _value = written(word(1), word(2), number(3)).map_err(Error::Other)?;
        }
        "put-unfinished-and-wait" => {
            let _value = written(word(1), word(2), number(3)).map_err(Error::Other)?;
            sleep();
        }
        "put-on" => {
            let (value, body) = opened(word(1), word(2)).map_err(Error::Other)?;
            while write(&body, 1 << 20).is_ok() {}
            drop((body, value));
        }
        "finish-with-stream" => {
            let (value, body) = opened(word(1), word(2)).map_err(Error::Other)?;
            let _ = OutgoingValue::finish(value);
            drop(body);
        }
        "drop-with-stream" => {
            let (value, body) = opened(word(1), word(2)).map_err(Error::Other)?;
            drop(value);
            drop(body);
        }
        "finish-nowhere" => return told(OutgoingValue::finish(OutgoingValue::new_outgoing_value())),
        "body-twice" => {
            let value = OutgoingValue::new_outgoing_value();
            let _first = value.outgoing_value_write_body();
            return say(format!("{:?}", value.outgoing_value_write_body().is_err()));
        }
        "write-twice" => {
            let (value, body) = opened(word(1), word(2)).map_err(Error::Other)?;
            drop(body);
            let container = get_container(word(1)).map_err(Error::Other)?;
            return told(container.write_data(word(2), &value));
        }
        "write-too-much" => {
            let (_value, body) = opened(word(1), word(2)).map_err(Error::Other)?;
            let permit = body.check_write().unwrap_or_default() as usize;
            let _ = body.write(&vec![b'x'; permit + 1]);
        }
        "write-without-waiting" => {
            let (value, body) = opened(word(1), word(2)).map_err(Error::Other)?;
            let mut left = number(3);
            while left > 0 {
                let permit = body.check_write().unwrap_or_default().min(left);
                if permit > 0 && body.write(&vec![b'x'; permit as usize]).is_ok() {
                    left -= permit;
                }
            }
            drop(body);
            return told(OutgoingValue::finish(value));
        }
        "values-on" => {
            let mut held = Vec::new();
            loop {
                held.push(OutgoingValue::new_outgoing_value());
            }
        }
        "streams-on" => {
            let container = get_container(word(1)).map_err(Error::Other)?;
            let mut held = Vec::new();
            loop {
                let value = container.get_data(word(2), 0, u64::MAX).map_err(Error::Other)?;
                held.push(IncomingValue::incoming_value_consume_async(value).map_err(Error::Other)?);
            }
        }
        // Begins to read and stops, again and again.
        "abandon-on" => {
            let container = get_container(word(1)).map_err(Error::Other)?;
            loop {
                let value = container.get_data(word(2), 0, u64::MAX).map_err(Error::Other)?;
                let stream = IncomingValue::incoming_value_consume_async(value).map_err(Error::Other)?;
                let _ = stream.read(1);
            }
        }
        "containers-on" => {
            let mut held = Vec::new();
            loop {
                held.push(get_container(word(1)).map_err(Error::Other)?);
            }
        }
        "list-on" => {
            let container = get_container(word(1)).map_err(Error::Other)?;
            loop {
                let _ = container.list_objects().map_err(Error::Other)?.read_stream_object_names(u64::MAX);
            }
        }
        "list" => return say(list(word(1)).unwrap_or_else(|error| error)),
        "skip" => {
            let names = get_container(word(1)).and_then(|it| it.list_objects()).map_err(Error::Other)?;
            return say(format!("{:?}", names.skip_stream_object_names(number(2))));
        }
        "has" => {
            let has = get_container(word(1)).and_then(|it| it.has_object(word(2)));
            return say(format!("{has:?}"));
        }
        "info" => {
            let info = get_container(word(1)).and_then(|it| it.object_info(word(2)));
            return say(info.map_or_else(
                |error| error,
                |info| {
                    format!(
                        "{} {} {} {}",
                        info.container,
                        info.name,
                        info.size,
                        info.created_at > 1_500_000_000
                    )
                },
            ));
        }
        "container" => {
            let info = get_container(word(1)).and_then(|it| it.info());
            return say(info.map_or_else(|error| error, |info| format!("{} {}", info.name, info.created_at)));
        }
        "delete" => return told(get_container(word(1)).and_then(|it| it.delete_object(word(2)))),
        "delete-all" => {
            let names: Vec<String> = words[2..].iter().map(|&name| name.to_owned()).collect();
            return told(get_container(word(1)).and_then(|it| it.delete_objects(&names)));
        }
        "clear" => return told(get_container(word(1)).and_then(|it| it.clear())),
        "create" => return told(create_container(word(1)).map(|_| ())),
        "remove" => return told(delete_container(word(1))),
        "exists" => return say(format!("{:?}", container_exists(word(1)))),
        "long-name" => return told(get_container(&"n".repeat(number(1) as usize)).map(|_| ())),
        "long-key" => {
            let key = "k".repeat(number(2) as usize);
            return told(get_container(word(1)).and_then(|it| it.has_object(&key)).map(|_| ()));
        }
        // The result of a neighbour.
        "work" => {
            let sum = (0..2_000_000_u64).fold(1_u64, |sum, n| std::hint::black_box(sum.rotate_left(3) ^ n));
            let value = OutgoingValue::new_outgoing_value();
            let container = get_container("output").map_err(Error::Other)?;
            container.write_data(word(1), &value).map_err(Error::Other)?;
            let body = value.outgoing_value_write_body().map_err(|()| Error::Other("no body".into()))?;
            let text = format!("{} {}", word(1), sum & 1);
            body.blocking_write_and_flush(text.as_bytes())
                .map_err(|error| Error::Other(error.to_string()))?;
            drop(body);
            OutgoingValue::finish(value).map_err(Error::Other)?;
        }
        "pulse" => std::thread::sleep(std::time::Duration::from_millis(number(1))),
        other => return say(format!("unknown: {other}")),
    }
    Ok(())
}

/// Fails to say something.
fn say(text: String) -> Result<(), Error> {
    Err(Error::Other(text))
}

fn told(result: Result<(), String>) -> Result<(), Error> {
    say(result.map_or_else(|error| error, |()| "done".into()))
}

fn said<T>(result: Result<T, Error>) -> Result<(), Error> {
    say(match result {
        Ok(_) => "done".into(),
        Err(Error::Timeout) => "timeout".into(),
        Err(Error::Connection(text)) => format!("connection: {text}"),
        Err(Error::PermissionDenied(text)) => format!("denied: {text}"),
        Err(Error::Other(text)) => text,
    })
}

fn new_message(text: &str) -> Message {
    Message::new(text.as_bytes())
}

fn id(container: &str, object: &str) -> ObjectId {
    ObjectId { container: container.into(), object: object.into() }
}

fn opened(container: &str, key: &str) -> Result<(OutgoingValue, OutputStream), String> {
    let value = OutgoingValue::new_outgoing_value();
    let body = value.outgoing_value_write_body().map_err(|()| "no body")?;
    blobstore::get_container(container)?.write_data(key, &value)?;
    Ok((value, body))
}

fn written(container: &str, key: &str, bytes: u64) -> Result<OutgoingValue, String> {
    let (value, body) = opened(container, key)?;
    write(&body, bytes).map_err(|error| error.to_string())?;
    Ok(value)
}

/// Writes an object, before or after it is named.
fn put(container: &str, key: &str, bytes: u64, named_first: bool) -> Result<(), String> {
    let value = OutgoingValue::new_outgoing_value();
    let body = value.outgoing_value_write_body().map_err(|()| "no body")?;
    let container = get_container(container)?;
    if named_first {
        container.write_data(key, &value)?;
    }
    write(&body, bytes).map_err(|error| match error {
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
        StreamError::Closed => "closed".into(),
    })?;
    drop(body);
    if !named_first {
        container.write_data(key, &value)?;
    }
    OutgoingValue::finish(value)
}

fn write(body: &OutputStream, mut bytes: u64) -> Result<(), StreamError> {
    let piece = [b'x'; 4096];
    while bytes > 0 {
        let now = bytes.min(piece.len() as u64);
        body.blocking_write_and_flush(&piece[..now as usize])?;
        bytes -= now;
    }
    Ok(())
}

fn upper(from: &str, key: &str, to: &str, to_key: &str) -> Result<(), String> {
    let value = get_container(from)?.get_data(key, 0, u64::MAX)?;
    let input = IncomingValue::incoming_value_consume_async(value)?;
    let (value, body) = opened(to, to_key)?;
    loop {
        match input.blocking_read(4096) {
            Ok(mut bytes) => {
                bytes.make_ascii_uppercase();
                body.blocking_write_and_flush(&bytes).map_err(|error| error.to_string())?;
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
    drop(body);
    OutgoingValue::finish(value)
}

fn get(container: &str, key: &str, start: u64, end: u64) -> String {
    let value = get_container(container).and_then(|it| it.get_data(key, start, end));
    let read = value.and_then(|value| Ok((value.size(), IncomingValue::incoming_value_consume_sync(value)?)));
    match read {
        Ok((size, content)) => format!("{size} {}", String::from_utf8_lossy(&content)),
        Err(error) => error,
    }
}

fn count(container: &str, key: &str) -> Result<String, String> {
    let value = get_container(container)?.get_data(key, 0, u64::MAX)?;
    let (input, mut bytes) = (IncomingValue::incoming_value_consume_async(value)?, 0);
    loop {
        match input.blocking_read(64 << 10) {
            Ok(piece) => bytes += piece.len(),
            Err(StreamError::Closed) => return Ok(bytes.to_string()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn list(container: &str) -> Result<String, String> {
    let (names, mut all) = (get_container(container)?.list_objects()?, Vec::new());
    loop {
        let (page, is_over) = names.read_stream_object_names(2)?;
        all.extend(page);
        if is_over {
            return Ok(all.join(" "));
        }
    }
}

fn spin() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

fn sleep() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}
