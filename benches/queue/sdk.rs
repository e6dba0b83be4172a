//! The loop on Amazon's SDK for Rust that does nothing but receive and delete.

use super::threads;
use crate::shared::sqs;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tokio::task::JoinSet;
use wasmrun_runtime::model::message::MAX_BATCH;

/// A child process, which is the loop. Its argument is the queue's URL.
pub(crate) const BARE: &str = "bare-loop";
/// Loops alongside each other, so that the server and the two cores have something to do.
const LOOPS: usize = 4;

/// The work of the child: receives and deletes until it's killed.
pub(crate) fn bare_loop(arguments: &[String]) {
    threads().block_on(receive_and_delete(&arguments[0]));
}

async fn receive_and_delete(url: &str) {
    let client = sqs::client(&sqs::endpoint());
    let mut loops = JoinSet::new();
    for _ in 0..LOOPS {
        let (client, url) = (client.clone(), url.to_owned());
        loops.spawn(async move {
            loop {
                let request =
                    client.receive_message().queue_url(&url).max_number_of_messages(MAX_BATCH as i32);
                let messages = request.wait_time_seconds(20).send().await.expect("messages").messages;
                let entries: Vec<_> = messages
                    .unwrap_or_default()
                    .into_iter()
                    .enumerate()
                    .map(|(index, message)| {
                        let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                        entry.set_receipt_handle(message.receipt_handle).build().expect("all fields")
                    })
                    .collect();
                if !entries.is_empty() {
                    let request = client.delete_message_batch().queue_url(&url).set_entries(Some(entries));
                    request.send().await.expect("deleted");
                }
            }
        });
    }
    loops.join_next().await;
}
