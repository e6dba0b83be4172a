//! Splits messages into batches that SQS accepts.

use wasmrun_runtime::model::message::{MAX_BATCH, MAX_MESSAGE_BYTES};

/// Splits messages into batches of at most ten messages and at most 1 MiB each. `billed_bytes` returns a message's size.
pub(super) fn batches<T>(messages: &[T], billed_bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        for message in rest.iter().take(MAX_BATCH) {
            bytes += billed_bytes(message);
            if count > 0 && bytes > MAX_MESSAGE_BYTES {
                break;
            }
            count += 1;
        }
        let (batch, left) = rest.split_at(count);
        rest = left;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmrun_runtime::model::message::OutgoingMessage;

    #[test]
    fn batches_hold_ten_messages_and_a_megabyte_at_most_and_lose_none() {
        let of = |bytes: usize| OutgoingMessage { body: "x".repeat(bytes), ..OutgoingMessage::default() };
        let sizes = |messages: &[OutgoingMessage]| {
            batches(messages, OutgoingMessage::billed_bytes).map(<[_]>::len).collect::<Vec<_>>()
        };
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&vec![of(1); 25]), [10, 10, 5]);
        assert_eq!(sizes(&vec![of(300_000); 7]), [3, 3, 1]);
        assert_eq!(sizes(&[of(MAX_MESSAGE_BYTES), of(1), of(MAX_MESSAGE_BYTES)]), [1, 1, 1]);
    }
}
