//! What the guests that work on pictures share: settings from environment variables, going through the announced objects,
//! reading one within a bound, and reasons that name the setting.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::Read;
use std::ops::RangeInclusive;
use std::str::FromStr;

use picture::{Bounds, Excess, Refusal, Truncated};
use wasmrun_guest::object_store::NewObject;
use wasmrun_guest::{AnnouncedObject, Failure, Message, Store};

/// Environment variables, by a function that looks one up. A variable that is absent or empty has its default.
///
/// Each error is a sentence that names the variable, its value, and what it must be.
#[derive(Clone, Copy)]
pub struct Variables<F>(pub F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    pub fn text(&self, key: &str) -> Option<String> {
        (self.0)(key).filter(|value| !value.is_empty())
    }

    /// Reads a whole number.
    ///
    /// # Errors
    ///
    /// The value is no number, or out of range.
    pub fn number<T: FromStr + PartialOrd + Display>(
        &self,
        key: &str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Result<T, String> {
        let Some(value) = self.text(key) else {
            return Ok(default);
        };
        value.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            format!("{key} is {value:?}: it must be a whole number from {} to {}", range.start(), range.end())
        })
    }

    /// Reads one of two words, and returns what it stands for. The first is the default.
    ///
    /// # Errors
    ///
    /// The value is neither.
    pub fn choice<T>(&self, key: &str, [first, second]: [(&str, T); 2]) -> Result<T, String> {
        match self.text(key) {
            None => Ok(first.1),
            Some(value) if value == first.0 => Ok(first.1),
            Some(value) if value == second.0 => Ok(second.1),
            Some(value) => Err(format!("{key} is {value:?}: it must be {} or {}", first.0, second.0)),
        }
    }

    /// Reads `CACHE_CONTROL`, which outputs have if nothing else is set for them.
    ///
    /// # Errors
    ///
    /// No HTTP header can have the value.
    pub fn cache_control(&self) -> Result<Option<String>, String> {
        const KEY: &str = "CACHE_CONTROL";
        match self.text(KEY) {
            Some(value) if !is_cache_control(&value) => Err(format!("{KEY} is {value:?}: {CACHE_CONTROL}")),
            value => Ok(value),
        }
    }

    /// Reads `TASK_MEMORY_MIB`, and returns the bytes that a picture may take.
    ///
    /// # Errors
    ///
    /// As for [`Variables::number`].
    pub fn memory(&self) -> Result<u64, String> {
        let task_memory_mib = self.number("TASK_MEMORY_MIB", 256, 16..=4096)?;
        // An eighth of the task's memory is for the code's own data, its stack, and gaps between allocations.
        Ok((task_memory_mib << 20) / 8 * 7)
    }

    /// Reads what a picture may cost, with this memory and any ratio of its sides.
    ///
    /// # Errors
    ///
    /// As for [`Variables::number`] and [`Variables::choice`].
    pub fn bounds(&self, memory: u64) -> Result<Bounds, String> {
        Ok(Bounds {
            pixels: self.number("MAX_PIXELS", 100_000_000, 1..=u64::MAX)?,
            side: self.number("MAX_SOURCE_SIDE", 65_535, 1..=u32::MAX)?,
            ratio: u32::MAX,
            memory,
            truncated: self
                .choice("ON_TRUNCATED", [("reject", Truncated::Reject), ("keep", Truncated::Keep)])?,
        })
    }
}

/// What a value for `Cache-Control` must be, as the end of a sentence.
pub const CACHE_CONTROL: &str =
    "it must be 1 to 256 printable ASCII characters without spaces around them, such as public, max-age=3600";

/// Returns whether stores can keep this value for `Cache-Control`.
pub fn is_cache_control(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim() == value
}

/// Processes each announced object that there is to read.
///
/// # Errors
///
/// The message announces no object, or the error of `process`, which ends the walk.
pub fn each(
    message: &Message,
    process: impl FnMut(&AnnouncedObject) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if message.objects().is_empty() {
        return Err(Failure::reject("the message announces no object"));
    }
    message.created_objects().iter().try_for_each(process)
}

/// Prepares an output, to be served with this content type and `Cache-Control`.
pub fn new_object<'a>(
    store: &'a Store,
    key: &'a str,
    content_type: &str,
    cache_control: Option<&str>,
) -> NewObject<'a> {
    let object = store.new_object(key).content_type(content_type);
    match cache_control {
        Some(value) => object.cache_control(value),
        None => object,
    }
}

/// Returns why nothing was made of a picture, in one sentence, with the variable that decided it. `what` says what can't be
/// done, such as `make a thumbnail of a.jpg`.
pub fn reason(what: &str, refusal: &Refusal) -> String {
    let setting = match refusal {
        Refusal::TooLarge(Excess::Pixels { .. }) => " by MAX_PIXELS",
        Refusal::TooLarge(Excess::Side { .. }) => " by MAX_SOURCE_SIDE",
        Refusal::TooLarge(Excess::Ratio { .. }) => " by MAX_RATIO",
        Refusal::TooLarge(Excess::Memory { .. }) => " by TASK_MEMORY_MIB",
        Refusal::NotSupported(_) | Refusal::CutShort(_) | Refusal::Damaged(..) => "",
    };
    format!("cannot {what}: {refusal}{setting}")
}

/// Reads the whole object, if it has at most `bound` bytes. Nothing is allocated for a larger one.
///
/// # Errors
///
/// The store's error, or that of `too_large` for the object's size.
pub fn read(
    object: &AnnouncedObject,
    bound: u64,
    too_large: impl FnOnce(u64) -> Failure,
) -> Result<Vec<u8>, Failure> {
    let mut reader = object.read()?;
    let size = reader.info().size;
    if size > bound {
        return Err(too_large(size));
    }
    let mut content = Vec::with_capacity(size as usize);
    reader.read_to_end(&mut content)?;
    Ok(content)
}
