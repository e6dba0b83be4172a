//! Converts responses and errors of SQS for the runtime.

use crate::failure::{Failure, Operation, is_refused_to_all, is_transient};
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::BatchResultErrorEntry;
use wasmrun_runtime::ports::queue::QueueError;

/// Codes of errors for a receipt that is no longer valid. SQS returns `InvalidParameterValue` for an expired receipt.
/// It returns the same code for a visibility beyond twelve hours, which a lease never asks for.
const EXPIRED: [&str; 4] =
    ["InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidReceiptHandle"];
const NO_QUEUE: [&str; 2] = ["NonExistentQueue", "QueueDoesNotExist"];

/// Code of the error for a batch that is larger than the queue takes.
const TOO_LONG: [&str; 1] = ["BatchRequestTooLong"];

/// Converts the failure of a batch call with `count` entries. A batch that is too long with one message alone is so on
/// every try.
fn batch_error(count: usize, failure: Failure) -> QueueError {
    if count == 1 && failure.is_any(&TOO_LONG) {
        QueueError::InvalidMessage(failure.text)
    } else {
        queue_error(failure)
    }
}

/// Converts the failure of a whole call.
pub(super) fn queue_error(failure: Failure) -> QueueError {
    if failure.is_any(&NO_QUEUE) {
        QueueError::NotFound("there is no such queue".into())
    } else if failure.is_transient() {
        QueueError::Unavailable(failure.text)
    } else {
        QueueError::Unusable(failure.text)
    }
}

/// Converts the error of a batch entry that wasn't settled.
pub(super) fn receipt_error(entry: &BatchResultErrorEntry) -> QueueError {
    let code = entry.code.rsplit('.').next().unwrap_or_default();
    if EXPIRED.contains(&code) { QueueError::ReceiptExpired } else { other_error(entry) }
}

/// Converts the error of a batch entry that wasn't sent.
pub(super) fn send_error(entry: &BatchResultErrorEntry) -> QueueError {
    // SQS also sets `sender_fault` when the sender lacks a right, which isn't a fault of the message.
    if entry.sender_fault && !is_transient(&entry.code) && !is_refused_to_all(&entry.code) {
        QueueError::InvalidMessage(text(entry))
    } else {
        other_error(entry)
    }
}

fn other_error(entry: &BatchResultErrorEntry) -> QueueError {
    if !entry.sender_fault || is_transient(&entry.code) {
        QueueError::Unavailable(text(entry))
    } else {
        QueueError::Unusable(text(entry))
    }
}

fn text(entry: &BatchResultErrorEntry) -> String {
    match &entry.message {
        Some(message) => format!("{}: {message}", entry.code),
        None => entry.code.clone(),
    }
}

/// Response to a batch call: successful and failed entries, each with its id.
pub(super) type Answer<T> = (Vec<(String, T)>, Vec<BatchResultErrorEntry>);

/// Returns the results of the `count` entries of a batch, in the order of the entries. The id of an entry is its index.
/// An entry that the response leaves out has failed.
pub(super) fn entries<T, E>(
    count: usize,
    error_of: fn(&BatchResultErrorEntry) -> QueueError,
    answer: Result<Answer<T>, SdkError<E, HttpResponse>>,
) -> Vec<Result<T, QueueError>>
where
    E: Operation,
{
    let (done, failed) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let error = batch_error(count, Failure::from(error));
            return (0..count).map(|_| Err(error.clone())).collect();
        }
    };
    let unanswered = || Err(QueueError::Unavailable("the service's answer leaves this message out".into()));
    let mut answers: Vec<_> = (0..count).map(|_| unanswered()).collect();
    let mut put = |id: &str, answer| {
        if let Some(place) = id.parse::<usize>().ok().and_then(|index| answers.get_mut(index)) {
            *place = answer;
        }
    };
    for (id, value) in done {
        put(&id, Ok(value));
    }
    // An entry that is reported as failed has failed, even if it is also reported as successful.
    for entry in &failed {
        put(&entry.id, Err(error_of(entry)));
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::operation::delete_message_batch::DeleteMessageBatchError;

    fn failed(id: &str, code: &str, sender_fault: bool) -> BatchResultErrorEntry {
        let entry = BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault);
        entry.message("it says why").build().expect("all fields")
    }

    fn answers(count: usize, answer: Answer<()>) -> Vec<Result<(), QueueError>> {
        entries::<_, DeleteMessageBatchError>(count, receipt_error, Ok(answer))
    }

    #[test]
    fn each_entry_of_a_batch_is_answered_in_its_place() {
        let done = vec![("2".to_owned(), ()), ("0".to_owned(), ())];
        let failed = vec![
            failed("1", "ReceiptHandleIsInvalid", true),
            failed("3", "InternalError", false),
            failed("4", "RequestThrottled", true),
        ];
        let answers = answers(6, (done, failed));
        assert_eq!(answers[0], Ok(()));
        assert_eq!(answers[1], Err(QueueError::ReceiptExpired));
        assert_eq!(answers[2], Ok(()));
        assert!(matches!(&answers[3], Err(QueueError::Unavailable(text)) if text.contains("it says why")));
        assert!(matches!(answers[4], Err(QueueError::Unavailable(_))));
        assert!(
            matches!(&answers[5], Err(QueueError::Unavailable(text)) if text.contains("leaves this message out"))
        );
    }

    #[test]
    fn an_answer_that_names_unknown_entries_or_contradicts_itself_loses_nothing() {
        let done = vec![("0".to_owned(), ()), ("7".to_owned(), ()), ("x".to_owned(), ())];
        let answers = answers(1, (done, vec![failed("0", "InternalError", false)]));
        assert_eq!(answers.len(), 1);
        assert!(matches!(answers[0], Err(QueueError::Unavailable(_))));
    }

    #[test]
    fn a_message_that_is_too_long_for_a_batch_of_its_own_is_refused_for_good() {
        let too_long = |code: &str| {
            let mut failure = Failure::incomplete("too long");
            (failure.code, failure.status) = (code.into(), 400);
            failure
        };
        for code in ["BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"] {
            assert_eq!(batch_error(1, too_long(code)), QueueError::InvalidMessage("too long".into()));
            assert!(!matches!(batch_error(2, too_long(code)), QueueError::InvalidMessage(_)));
        }
        assert!(!matches!(batch_error(1, too_long("AccessDenied")), QueueError::InvalidMessage(_)));
    }

    #[test]
    fn a_message_that_is_not_in_flight_any_more_has_expired() {
        for code in
            ["MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue"]
        {
            assert_eq!(receipt_error(&failed("0", code, true)), QueueError::ReceiptExpired, "{code}");
        }
        let denied = receipt_error(&failed("0", "AccessDenied", true));
        assert!(matches!(denied, QueueError::Unusable(_)), "{denied:?}");
    }

    #[test]
    fn a_message_that_the_service_refuses_is_the_senders_fault_and_throttling_is_not() {
        let refused = send_error(&failed("0", "InvalidMessageContents", true));
        assert!(matches!(refused, QueueError::InvalidMessage(_)), "{refused:?}");
        for code in ["AccessDenied", "KmsAccessDenied", "KMS.AccessDeniedException", "KmsDisabled"] {
            let denied = send_error(&failed("0", code, true));
            assert!(matches!(denied, QueueError::Unusable(_)), "{denied:?}");
        }
        let throttled = send_error(&failed("0", "RequestThrottled", true));
        assert!(matches!(throttled, QueueError::Unavailable(_)), "{throttled:?}");
    }
}
