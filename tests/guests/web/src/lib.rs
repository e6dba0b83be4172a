//! A service that does what the path of a request says: everything that a handler can do right or wrong. The first part
//! of the path is a command, the other ones are its arguments.

mod exchange;
mod wrong;

use exchange::Exchange;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};
use wasmrun_guest::{Queue, Store};

wasip2::http::proxy::export!(Web);

struct Web;

/// Number of requests that this instance has handled.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Web {
    fn handle(request: IncomingRequest, respond: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let mut words = path.trim_start_matches('/').split('/');
        let command = words.next().unwrap_or_default();
        let mut word = || words.next().unwrap_or_default();
        let mut exchange = Exchange::new(request, respond);
        match command {
            "" | "hello" => exchange.say(200, "hello\n"),
            "status" => exchange.say(number(word()), "as asked\n"),
            "count" => {
                let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
                exchange.say(200, &count.to_string());
            }
            "echo" => exchange.echo(false),
            "echo-sized" => exchange.echo(true),
            "headers" => {
                let seen = exchange.seen();
                exchange.say(200, &seen);
            }
            "length" => {
                let length = exchange.read_all().len();
                exchange.say(200, &length.to_string());
            }
            "part" => {
                let length = exchange.read_some().len();
                exchange.say(200, &length.to_string());
            }
            "trailers" => exchange.with_trailers(&[("x-sum", "42")]),
            "large" => exchange.large(number(word())),
            "slow" => exchange.slow(number(word()), milliseconds(word())),
            "sleep" => {
                std::thread::sleep(milliseconds(word()));
                exchange.say(200, "slept\n");
            }
            "save" => save(exchange, word()),
            "wait" => {
                wait_for(word());
                exchange.say(200, "done\n");
            }
            "stream" => {
                let mut body = exchange.begin(200, &[]);
                body.write(b"first ");
                body.flush();
                wait_for(word());
                body.write(b"last");
                body.finish();
            }
            "after" => after(exchange, word()),
            "file" => file(exchange, word(), word()),
            _ => wrong::handle(exchange, command, word(), word()),
        }
    }
}

/// `save/KEY`: stores the body of the request, and sends the key to a queue.
fn save(mut exchange: Exchange, key: &str) {
    let body = exchange.read_all();
    let stored = Store::open("output").and_then(|store| store.put(key, &body));
    let sent = Queue::open("next").and_then(|queue| queue.send(key));
    match (stored, sent) {
        (Ok(_), Ok(_)) => exchange.say(201, "saved\n"),
        (stored, sent) => exchange.say(502, &format!("{:?} {:?}", stored.err(), sent.err())),
    }
}

/// `after/KEY`: responds, waits for the object `KEY`, and then writes one.
fn after(exchange: Exchange, key: &str) {
    exchange.say(200, "more to do\n");
    wait_for(key);
    let store = Store::open("output").expect("the store");
    store.put(key, b"done").expect("written");
}

/// `file/NAME/KEY`: writes a file, responds, and waits for the object `KEY` before it ends the response.
fn file(exchange: Exchange, name: &str, key: &str) {
    std::fs::write(format!("/out/{name}"), "content").expect("written");
    let mut body = exchange.begin(201, &[("content-length", "6")]);
    body.write(b"saved\n");
    body.flush();
    wait_for(key);
    body.finish();
}

/// Waits until there is an object with this key.
fn wait_for(key: &str) {
    let store = Store::open("input").expect("the store");
    while store.head(key).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn number<T: std::str::FromStr + Default>(word: &str) -> T {
    word.parse().unwrap_or_default()
}

fn milliseconds(word: &str) -> Duration {
    Duration::from_millis(number(word))
}
