//! Settings of the worker's queues: which there are, and when each is asked for messages.

use super::text::{Written, one_or_more};
use crate::output::failure::Failure;
use serde::de::{self, Deserializer};
use std::num::NonZeroU32;
use wasmrun_runtime::worker::shares::MOST_WEIGHT;
use wasmrun_runtime::worker::{MOST_QUEUES, Priority};

/// A queue of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueSetting {
    pub(crate) url: String,
    pub(crate) priority: Priority,
}

impl QueueSetting {
    /// Returns the setting of a queue with the usual priority.
    pub(crate) fn of(url: impl Into<String>) -> Self {
        Self { url: url.into(), priority: Priority::default() }
    }
}

impl Written for QueueSetting {
    const FORM: &'static str =
        "a queue, such as sqlite:jobs.db, with ;strict or ;weight=N behind it if there are several";

    fn read(text: &str) -> Result<Self, String> {
        let Some((url, option)) = text.split_once(';') else { return Ok(Self::of(text)) };
        let priority = match option.split_once('=') {
            None if option == "strict" => Priority::Strict,
            Some(("weight", weight)) => {
                let weight = NonZeroU32::read(weight).ok().filter(|weight| weight.get() <= MOST_WEIGHT);
                let weight = weight.ok_or_else(|| {
                    format!(
                        "the weight of a queue is a whole number from 1 to {MOST_WEIGHT}, as in ;weight=3"
                    )
                })?;
                Priority::Weight(weight)
            }
            _ => {
                return Err(format!(
                    "the text behind ; is the priority of the queue: write ;strict or ;weight=N, with N from 1 to {MOST_WEIGHT}"
                ));
            }
        };
        Ok(Self { url: url.to_owned(), priority })
    }
}

/// Merges the queues of flags or a variable, which win, and those of the file. Returns none if none is named.
///
/// # Errors
///
/// There are too many, or one is named twice.
pub(crate) fn queues(
    typed: Vec<QueueSetting>,
    file: &mut Vec<QueueSetting>,
) -> Result<Vec<QueueSetting>, Failure> {
    let file = std::mem::take(file);
    let queues = if typed.is_empty() { file } else { typed };
    if queues.len() > MOST_QUEUES {
        return Err(Failure::usage(format!(
            "{} queues are too many for a worker: at most {MOST_QUEUES}; give the others a worker of their own",
            queues.len()
        )));
    }
    for (index, QueueSetting { url, .. }) in queues.iter().enumerate() {
        if queues[..index].iter().any(|before| before.url == *url) {
            return Err(Failure::usage(format!(
                "the queue {url} is named twice: name each queue once, with the priority that it is to have"
            )));
        }
    }
    Ok(queues)
}

/// Returns queues as one text for people.
pub(crate) fn listed(queues: &[QueueSetting]) -> String {
    queues.iter().map(|queue| queue.url.as_str()).collect::<Vec<_>>().join(", ")
}

/// Reads the queue of the configuration file, or a list of queues.
pub(super) fn queues_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<QueueSetting>, D::Error> {
    let texts = one_or_more(deserializer, "a queue as text in quotes, or a list of queues")?;
    texts.iter().map(|text| QueueSetting::read(text).map_err(de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Priority), String> {
        QueueSetting::read(text).map(|QueueSetting { url, priority }| (url, priority))
    }

    fn weight(weight: u32) -> Priority {
        Priority::Weight(NonZeroU32::new(weight).expect("a weight"))
    }

    #[test]
    fn a_queue_has_a_weight_of_one_unless_it_says_otherwise() {
        for url in ["uploads", "sqlite:jobs.db#a=b", "https://sqs.eu-west-1.amazonaws.com/1/q?x=1", ""] {
            assert_eq!(read(url), Ok((url.to_owned(), weight(1))));
            assert_eq!(read(&format!("{url};strict")), Ok((url.to_owned(), Priority::Strict)));
            assert_eq!(read(&format!("{url};weight=1000")), Ok((url.to_owned(), weight(1000))));
        }
    }

    #[test]
    fn a_priority_that_is_none_is_refused_and_never_part_of_the_queue() {
        for option in ["weight=0", "weight=1001", "weight=99999", "weight=-1", "weight=", "weight=1;strict"] {
            let error = read(&format!("sqlite:q.db;{option}")).expect_err(option);
            assert!(error.contains("from 1 to 1000"), "{error}");
        }
        for option in ["", "weight", "Strict", "strict;weight=1", "strict=1", "strict=true", " strict", "\0"]
        {
            let error = read(&format!("sqlite:q.db;{option}")).expect_err(option);
            assert!(error.contains(";strict or ;weight=N"), "{error}");
        }
    }

    #[test]
    fn flags_win_over_the_file_as_a_whole_and_name_each_queue_once() {
        let of = |urls: &[&str]| urls.iter().map(|url| QueueSetting::of(*url)).collect::<Vec<_>>();
        assert_eq!(queues(of(&["a"]), &mut of(&["b", "c"])).expect("valid"), of(&["a"]));
        assert_eq!(queues(Vec::new(), &mut of(&["b", "c"])).expect("valid"), of(&["b", "c"]));
        let error = queues(of(&["a", "b", "a"]), &mut Vec::new()).expect_err("twice").to_string();
        assert!(error.contains("queue a is named twice"), "{error}");
        let nine: Vec<QueueSetting> = (0..9).map(|number| QueueSetting::of(number.to_string())).collect();
        let error = queues(nine, &mut Vec::new()).expect_err("too many").to_string();
        assert!(error.contains("at most 8"), "{error}");
    }
}
