//! A component for Spin's SQS trigger, built from its published WIT. It does what its message says.

wit_bindgen::generate!({ world: "spin-sqs", path: "../../../crates/runtime/worlds/spin-sqs" });

use fermyon::spin_sqs::sqs_types::MessageAttributeValue;

struct Handler;
export!(Handler);

impl Guest for Handler {
    fn handle_queue_message(message: Message) -> Result<MessageAction, Error> {
        let body = message.body.clone().unwrap_or_default();
        let (word, rest) = body.split_once(' ').unwrap_or((&body, ""));
        match word {
            "leave" => return Ok(MessageAction::Leave),
            "fail" => return Err(Error::Other(rest.to_owned())),
            "fail-at-length" => return Err(Error::Other("x".repeat(rest.parse().unwrap_or_default()))),
            "print" => println!("{rest}"),
            "panic" => panic!("{rest}"),
            "exit" => std::process::exit(3),
            "spin" => loop {
                std::hint::black_box(0);
            },
            "sleep" => loop {
                std::thread::sleep(std::time::Duration::from_secs(3600));
            },
            "alloc" => {
                let mut held = Vec::new();
                loop {
                    held.push(vec![1_u8; 1 << 20]);
                }
            }
            "id" => return say(message.id.unwrap_or_default()),
            "attributes" => return say(attributes(&message)),
            "environment" => {
                let mut names: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
                names.sort();
                return say(format!("{names:?} {}", std::env::args().count()));
            }
            "delete" => {}
            // The body of an event, which is JSON.
            _ => return say(format!("body of {} bytes", body.len())),
        }
        Ok(MessageAction::Delete)
    }
}

/// Fails to say something.
fn say(text: String) -> Result<MessageAction, Error> {
    Err(Error::Other(text))
}

fn attributes(message: &Message) -> String {
    let mut lines: Vec<_> = message
        .message_attributes
        .iter()
        .map(|attribute| {
            let kind = attribute.data_type.as_deref().unwrap_or("-");
            match &attribute.value {
                MessageAttributeValue::Str(text) => format!("{}:{kind}={text}", attribute.name),
                MessageAttributeValue::Binary(bytes) => format!("{}:{kind}={bytes:?}", attribute.name),
            }
        })
        .collect();
    lines.sort();
    lines.join(" ")
}
