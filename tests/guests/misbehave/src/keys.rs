//! Tries every key that might lead out of a store.

use std::io::Write;

use wasmrun_guest::{Condition, Failure, Store};

/// What is told of a secret that was read: nobody else writes it.
const SECRET: &[u8] = b"SECRET";

/// The ways to say `secret` in the directory above, its absolute path, and what might be taken for either once it was
/// decoded, normalised or cut.
fn hostile(absolute: &str) -> Vec<String> {
    let mut keys: Vec<String> = [
        "../secret",
        "..",
        ".",
        "./",
        "/",
        "//",
        "./../secret",
        "a/../../secret",
        "a/b/../../../secret",
        "../../../../../../../../../../etc/passwd",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        "..%2fsecret",
        "..%5csecret",
        "%252e%252e%252fsecret",
        "..\\secret",
        "a\\..\\..\\secret",
        "C:\\secret",
        "\\\\host\\secret",
        "..;/secret",
        "..../secret",
        "....//secret",
        "..\u{2044}secret",
        "\u{2025}/secret",
        "\u{ff0e}\u{ff0e}/secret",
        "\u{ff0e}\u{ff0e}\u{ff0f}secret",
        "..\u{200b}/secret",
        "\u{202e}../secret",
        "../secret\0",
        "../secret\0.jpg",
        "object\0../../secret",
        "..\0/secret",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "~/secret",
        "~root/secret",
        "$HOME/secret",
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "/dev/zero",
        "/dev/fd/0",
        ".wasmrun/lock",
        ".wasmrun/tmp/x",
        ".WASMRUN/tmp/x",
        "link",
        "up/secret",
        "up/up/secret",
        " ../secret",
        "../secret ",
        "..\n/secret",
        "..\r\n/secret",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push(absolute.to_owned());
    keys.push(format!("/{absolute}"));
    keys.push(format!("./{absolute}"));
    keys.push("x".repeat(10_000));
    keys.push("x/".repeat(5_000));
    keys.push("../".repeat(300_000));
    keys.push("é".repeat(700));
    keys
}

/// `keys ABSOLUTE`: tries all of them in every operation, the secret's absolute path as well. Completes unless one of
/// them leads to a secret; what it wrote is for others to judge.
pub(crate) fn probe(absolute: &str) -> Result<(), Failure> {
    let (input, output) = (Store::open("input")?, Store::open("output")?);
    let mut seen = Vec::new();
    let is_secret = |content: &[u8]| content.windows(SECRET.len()).any(|part| part == SECRET);
    for key in hostile(absolute) {
        let key = key.as_str();
        let mut see = |how: &str, content: &[u8]| {
            if is_secret(content) {
                seen.push(format!("{how} {key:?}"));
            }
        };
        if let Ok(object) = input.get(key) {
            see("get", &object.content);
        }
        if let Ok(content) = input.get_range(key, 0, u64::MAX) {
            see("get-range", &content);
        }
        if let Ok(mut reader) = input.read(key) {
            see("read", &reader.chunk(1 << 20).unwrap_or_default());
        }
        if input.copy(key, &output, "copied", Condition::Always).is_ok()
            && let Ok(object) = output.get("copied")
        {
            see("copy", &object.content);
        }
        if let Ok(info) = input.head(key) {
            see("head", info.key.as_bytes());
        }
        for object in input.list(key).take(100).flatten() {
            if object.key.contains("secret") {
                see("list", SECRET);
            }
        }
        // Overwrites or deletes what it must not.
        let _ = output.put(key, b"overwritten");
        if let Ok(mut writer) = output.write(key) {
            let _ = writer.write_all(b"overwritten");
            let _ = writer.finish();
        }
        let _ = input.copy("object", &output, key, Condition::Always);
        let _ = output.delete(key);
    }
    if seen.is_empty() { Ok(()) } else { Err(Failure::reject(seen.join(", "))) }
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
