//! Decides whether a worker is alive, and whether it is ready.
//!
//! A worker is alive while its loop runs and no receive hangs. An outage of the queue doesn't make a worker dead, as a
//! supervisor that kills it would also kill its running tasks. A worker is ready while it receives messages.

use std::time::Duration;
use wasmrun_runtime::model::text::OneLine;
use wasmrun_runtime::worker::{Receiving, Status};

/// Longest time without a sign of life from the loop, which gives one every second. On a machine that is this
/// overloaded, a restart doesn't help.
const MOST_BEAT_AGE: Duration = Duration::from_secs(30);
/// Longest time that a receive may take. It waits for a message for at most 20 seconds, and SQS calls have three
/// attempts of 10 seconds. A receive that takes longer never ends.
const LONGEST_RECEIVE: Duration = Duration::from_secs(180);
/// Time after which the queue counts as not answering. A receive waits for a message for at most 20 seconds.
const LATE_ANSWER: Duration = Duration::from_secs(30);

/// Checks that the worker is alive and needn't be restarted.
///
/// # Errors
///
/// Returns the reason in one line.
pub fn alive(status: &Status) -> Result<(), String> {
    if status.beat_ago > MOST_BEAT_AGE {
        let seconds = status.beat_ago.as_secs();
        return Err(format!("the worker's loop has not run for {seconds} s"));
    }
    match status.receiving_for {
        Some(time) if time > LONGEST_RECEIVE => {
            Err(format!("a receive has been under way for {} s", time.as_secs()))
        }
        _ => Ok(()),
    }
}

/// Checks that the worker receives messages.
///
/// # Errors
///
/// Returns the reason in one line.
pub fn ready(status: &Status) -> Result<(), String> {
    match &status.receiving {
        Receiving::Stopping => Err("the worker was told to stop".into()),
        Receiving::Paused { why } => Err(OneLine(why).to_string()),
        Receiving::Yes => match status.receiving_for {
            Some(time) if time > LATE_ANSWER => {
                Err(format!("the queue has not answered for {} s", time.as_secs()))
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::num::NonZeroUsize;
    use wasmrun_runtime::worker::{Counts, InstancesStatus};

    /// Returns the status of a healthy, idle worker.
    pub(crate) fn healthy() -> Status {
        Status {
            uptime: Duration::from_secs(100),
            beat_ago: Duration::from_millis(500),
            receiving_for: Some(Duration::from_secs(19)),
            receiving: Receiving::Yes,
            circuit: None,
            waiting: 0,
            held: 0,
            over_budget: Default::default(),
            consecutive_failures: 0,
            instances: InstancesStatus {
                running: 0,
                allowed: 1,
                min: 1,
                max: NonZeroUsize::MIN.saturating_add(7),
                because: None,
            },
            depth: None,
            waited: None,
            running: Vec::new(),
            failures: Vec::new(),
            has_dead_letter_queue: true,
            queues: Vec::new(),
            counts: Counts::default(),
        }
    }

    #[test]
    fn a_worker_with_a_long_poll_is_well() {
        assert_eq!((alive(&healthy()), ready(&healthy())), (Ok(()), Ok(())));
    }

    #[test]
    fn a_worker_that_waits_for_its_queue_is_alive_and_not_ready() {
        let why = "the queue cannot be received from: \u{1b}[2J\nforged".to_owned();
        let status = Status { receiving_for: None, receiving: Receiving::Paused { why }, ..healthy() };
        assert_eq!(alive(&status), Ok(()));
        let why = ready(&status).expect_err("not ready");
        assert!(
            why.starts_with("the queue cannot be received from") && !why.contains(['\n', '\u{1b}']),
            "{why}"
        );
        let status = Status { receiving: Receiving::Stopping, ..healthy() };
        assert!(alive(&status).is_ok() && ready(&status).is_err());
    }

    #[test]
    fn a_queue_that_does_not_answer_is_not_received_from() {
        let after = |seconds| Status { receiving_for: Some(Duration::from_secs(seconds)), ..healthy() };
        assert!(ready(&after(25)).is_ok());
        assert!(ready(&after(40)).is_err() && alive(&after(40)).is_ok());
    }

    #[test]
    fn a_worker_whose_loop_or_receive_hangs_is_not_alive() {
        let silent = Status { beat_ago: Duration::from_secs(40), ..healthy() };
        assert!(alive(&silent).expect_err("dead").contains("40 s"));
        let hangs = Status { receiving_for: Some(Duration::from_secs(200)), ..healthy() };
        assert!(alive(&hangs).expect_err("dead").contains("200 s"));
    }
}
