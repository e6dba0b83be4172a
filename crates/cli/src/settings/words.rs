//! Values of the runtime that are one of a few words.

use super::text::{Written, expected};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::outcome::Action;
use wasmrun_runtime::worker::{OnLeaseExpired, OverBudget};

/// A value that is one of a few words.
pub(super) trait Words: Written + Copy + Send + Sync + 'static {
    /// Each word, its help, which may be empty, and its value.
    const WORDS: &'static [(&'static str, &'static str, Self)];
}

/// Returns the word for where instances come from.
pub(crate) fn word_of(allocator: Allocator) -> &'static str {
    Allocator::WORDS.iter().find(|(.., value)| *value == allocator).map_or("", |(word, ..)| word)
}

/// Returns the parser of a flag whose help lists the words.
pub(super) fn one_of<T: Words>() -> impl TypedValueParser<Value = T> {
    let words = T::WORDS.iter().map(|(word, help, _)| {
        let listed = PossibleValue::new(*word);
        if help.is_empty() { listed } else { listed.help(*help) }
    });
    PossibleValuesParser::new(words).try_map(|word| T::read(&word))
}

macro_rules! words {
    ($($kind:ty: $form:literal { $($word:literal $help:literal => $value:expr,)+ })+) => {
        $(impl Words for $kind {
            const WORDS: &'static [(&'static str, &'static str, Self)] = &[$(($word, $help, $value)),+];
        }

        impl Written for $kind {
            const FORM: &'static str = $form;

            fn read(text: &str) -> Result<Self, String> {
                let found = Self::WORDS.iter().find(|(word, ..)| *word == text);
                found.map(|(.., value)| *value).ok_or_else(expected::<Self>)
            }
        })+
    };
}

words! {
    Action: "retry, dead-letter or drop" {
        "retry" "" => Self::Retry,
        "dead-letter" "" => Self::DeadLetter,
        "drop" "" => Self::Drop,
    }
    Allocator: "auto, pooling or on-demand" {
        "auto" "" => Self::Auto,
        "pooling" "" => Self::Pooling,
        "on-demand" "" => Self::OnDemand,
    }
    OnLeaseExpired: "cancel or finish" {
        "cancel" "Cancel the task: what it does would be done twice" => Self::Cancel,
        "finish" "Let the task finish, and delete its message if that is still possible (not on a FIFO queue)" => Self::Finish,
    }
    OverBudget: "park or trickle" {
        "park" "" => Self::Park,
        "trickle" "" => Self::Trickle,
    }
}
