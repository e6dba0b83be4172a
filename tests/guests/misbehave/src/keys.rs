//! Tries keys that might reach objects outside a store.

use std::io::Write;

use wasmrun_guest::object_store::{Error, ErrorKind};
use wasmrun_guest::{Condition, Failure, Store};

/// Result that every operation on a key must have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The key would be outside the store if it were normalised. Access must be denied.
    Outside,
    /// The key can't be an object's, or isn't that of an object. The host must report why.
    Nothing,
    /// The key is an unusual but valid name.
    Name,
}
use Means::{Name, Nothing, Outside};

/// Content that is written to each object.
const CONTENT: &[u8] = b"overwritten";
/// The only object of `input`.
const THERE: &str = "object";

/// Returns variants of `../secret` and of the secret's absolute path, and keys that become either when they are
/// decoded, normalised or truncated. Each key comes with its required result.
fn hostile(absolute: &str) -> Vec<(Means, String)> {
    let mut keys: Vec<_> = [
        (Outside, "../secret"),
        (Outside, ".."),
        (Nothing, "."),
        (Nothing, "./"),
        (Nothing, "/"),
        (Nothing, "//"),
        (Outside, "./../secret"),
        (Outside, "a/../../secret"),
        (Outside, "a/b/../../../secret"),
        (Outside, "../../../../../../../../../../etc/passwd"),
        (Name, "%2e%2e/secret"),
        (Name, "%2e%2e%2fsecret"),
        (Name, "..%2fsecret"),
        (Name, "..%5csecret"),
        (Name, "%252e%252e%252fsecret"),
        (Name, "..\\secret"),
        (Name, "a\\..\\..\\secret"),
        (Name, "C:\\secret"),
        (Name, "\\\\host\\secret"),
        (Name, "..;/secret"),
        (Name, "..../secret"),
        (Nothing, "....//secret"),
        (Name, "..\u{2044}secret"),
        (Name, "\u{2025}/secret"),
        (Name, "\u{ff0e}\u{ff0e}/secret"),
        (Name, "\u{ff0e}\u{ff0e}\u{ff0f}secret"),
        (Name, "..\u{200b}/secret"),
        (Name, "\u{202e}../secret"),
        (Outside, "../secret\0"),
        (Outside, "../secret\0.jpg"),
        (Outside, "object\0../../secret"),
        (Nothing, "object\0.jpg"),
        (Nothing, "..\0/secret"),
        (Nothing, "file:///etc/passwd"),
        (Nothing, "http://169.254.169.254/latest/meta-data/"),
        (Name, "~/secret"),
        (Name, "~root/secret"),
        (Name, "$HOME/secret"),
        (Nothing, "/proc/self/environ"),
        (Nothing, "/proc/self/root/etc/passwd"),
        (Nothing, "/dev/zero"),
        (Nothing, "/dev/fd/0"),
        (Nothing, "./object"),
        (Nothing, ".wasmrun/lock"),
        (Nothing, ".wasmrun/tmp/x"),
        (Nothing, ".WASMRUN/tmp/x"),
        (Nothing, "link"),
        (Nothing, "up/secret"),
        (Nothing, "up/up/secret"),
        (Name, " ../secret"),
        (Outside, "../secret "),
        (Name, "..\n/secret"),
        (Name, "..\r\n/secret"),
        (Nothing, ""),
    ]
    .map(|(means, key)| (means, key.to_owned()))
    .to_vec();
    keys.push((Nothing, absolute.to_owned()));
    keys.push((Nothing, format!("/{absolute}")));
    keys.push((Nothing, format!("./{absolute}")));
    keys.push((Nothing, "x".repeat(10_000)));
    keys.push((Nothing, "x/".repeat(5_000)));
    keys.push((Outside, "../".repeat(300_000)));
    keys.push((Nothing, "é".repeat(700)));
    keys
}

/// `keys ABSOLUTE`: tries all keys in every operation, including the secret's absolute path. Completes if each call had
/// the required result, and if each valid name led to an object of that name.
pub(crate) fn probe(absolute: &str) -> Result<(), Failure> {
    let (input, output) = (Store::open("input")?, Store::open("output")?);
    let mut wrong = Vec::new();
    for (means, key) in hostile(absolute) {
        let key = key.as_str();
        // A key that is used as a prefix may be valid, but must not match more than the store's objects.
        if input.list(key).take(100).flatten().any(|object| object.key != THERE) {
            wrong.push(format!("list {key:?}"));
        }
        let mut expect = |how: &str, answer: Result<(), Error>, is_right: fn(&Error) -> bool| {
            if !answer.as_ref().is_err_and(is_right) {
                let key: String = key.chars().take(64).collect();
                wrong.push(format!("{how} {key:?}: {:?}", answer.map_err(|error| error.kind().clone())));
            }
        };
        let is_right = match means {
            Outside => |error: &Error| *error.kind() == ErrorKind::AccessDenied,
            Nothing => |error: &Error| matches!(error.kind(), ErrorKind::Other(_)),
            Name => Error::is_not_found,
        };
        expect("head", input.head(key).map(drop), is_right);
        expect("get", input.get(key).map(drop), is_right);
        expect("get-range", input.get_range(key, 0, u64::MAX).map(drop), is_right);
        expect("read", input.read(key).map(drop), is_right);
        expect("copy", input.copy(key, &output, "copied", Condition::Always).map(drop), is_right);
        if means == Name {
            round_trip(&output, key).unwrap_or_else(|error| wrong.push(format!("{key:?}: {error}")));
            continue;
        }
        expect("put", output.put(key, CONTENT).map(drop), is_right);
        expect("write", write(&output, key), is_right);
        expect("copy to", input.copy(THERE, &output, key, Condition::Always).map(drop), is_right);
        expect("delete", output.delete(key), is_right);
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::reject(wrong.join(", "))) }
}

fn write(store: &Store, key: &str) -> Result<(), Error> {
    let mut writer = store.write(key)?;
    // An error of the write is reported by `finish` at the latest.
    let _ = writer.write_all(CONTENT);
    writer.finish().map(drop)
}

/// Writes an object with both operations, reads it under its key, and deletes it.
fn round_trip(store: &Store, key: &str) -> Result<(), Failure> {
    store.put(key, CONTENT)?;
    write(store, key)?;
    if store.get(key)?.content != CONTENT || store.head(key)?.key != key {
        return Err(Failure::reject("something else was found"));
    }
    store.delete(key)?;
    if store.head(key).is_ok() { Err(Failure::reject("it wasn't deleted")) } else { Ok(()) }
}

/// `normal-forms`: writes one name in two Unicode normalization forms. Completes if each key returns its own object.
pub(crate) fn normal_forms() -> Result<(), Failure> {
    let output = Store::open("output")?;
    let (composed, decomposed) = ("nf-\u{e9}", "nf-e\u{301}");
    output.put(composed, b"composed")?;
    output.put(decomposed, b"decomposed")?;
    let both =
        output.get(composed)?.content == b"composed" && output.get(decomposed)?.content == b"decomposed";
    if both { Ok(()) } else { Err(Failure::reject("one name for two keys")) }
}
