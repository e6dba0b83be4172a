//! Tries every key that might lead out of a store.

use std::io::Write;

use wasmrun_guest::object_store::{Error, ErrorKind};
use wasmrun_guest::{Condition, Failure, Store};

/// What must come of a key, whatever is done with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
    /// A place outside, for somebody who normalises it: access is denied.
    Outside,
    /// Nothing that an object can be called, or nothing that is an object: the host says why.
    Nothing,
    /// An odd name, and nothing more.
    Name,
}
use Means::{Name, Nothing, Outside};

/// What each object is overwritten with.
const CONTENT: &[u8] = b"overwritten";
/// The only object of `input`.
const THERE: &str = "object";

/// The ways to say `secret` in the directory above, its absolute path, and what might be taken for either once it was
/// decoded, normalised or cut.
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

/// `keys ABSOLUTE`: tries all of them in every operation, the secret's absolute path as well. Completes if each call
/// was refused as it must be, but for those on names, which must lead to objects of that name.
pub(crate) fn probe(absolute: &str) -> Result<(), Failure> {
    let (input, output) = (Store::open("input")?, Store::open("output")?);
    let mut wrong = Vec::new();
    for (means, key) in hostile(absolute) {
        let key = key.as_str();
        // As a prefix it may mean less than as a key, but never more.
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
    // What is wrong is told by the end at the latest.
    let _ = writer.write_all(CONTENT);
    writer.finish().map(drop)
}

/// Writes an object in each way that there is, finds it under its name, and deletes it.
fn round_trip(store: &Store, key: &str) -> Result<(), Failure> {
    store.put(key, CONTENT)?;
    write(store, key)?;
    if store.get(key)?.content != CONTENT || store.head(key)?.key != key {
        return Err(Failure::reject("something else was found"));
    }
    store.delete(key)?;
    if store.head(key).is_ok() { Err(Failure::reject("it wasn't deleted")) } else { Ok(()) }
}

/// `normal-forms`: writes one name in two of Unicode's normal forms, and completes if each gives its own object back.
pub(crate) fn normal_forms() -> Result<(), Failure> {
    let output = Store::open("output")?;
    let (composed, decomposed) = ("nf-\u{e9}", "nf-e\u{301}");
    output.put(composed, b"composed")?;
    output.put(decomposed, b"decomposed")?;
    let both =
        output.get(composed)?.content == b"composed" && output.get(decomposed)?.content == b"decomposed";
    if both { Ok(()) } else { Err(Failure::reject("one name for two keys")) }
}
