//! Writes a program's bill of materials in CycloneDX 1.5: its crates and its other parts.
//!
//! cargo names the crates and their licences; `Cargo.lock` has the digests of the downloads. Tools that run at compile
//! time (build scripts, procedural macros) and dependencies of tests are left out, because they aren't in the program.
//! The same commit gives the same bytes. <https://cyclonedx.org/docs/1.5/json/>

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    command::{self, quiet},
    places::Places,
};

/// The package of the program.
const PACKAGE: &str = "wasmrun-worker";
/// How cargo marks a package whose dependencies it has already listed.
const LISTED: &str = " (*)";

/// A part of the program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    name: String,
    version: String,
    /// SPDX expression.
    licence: String,
    /// Package URL by which scanners look the part up: <https://github.com/package-url/purl-spec>. A part that was
    /// never published has none, so that it isn't taken for another package of the same name.
    purl: Option<String>,
    /// SHA-256 of the download.
    checksum: Option<String>,
}

impl Part {
    fn new(name: &str, version: &str, licence: &str, purl: String) -> Self {
        let (name, version, licence) = (name.into(), version.into(), licence.into());
        Self { name, version, licence, purl: Some(purl), checksum: None }
    }

    /// The standard library of the compiler in use.
    pub(crate) fn standard_library() -> Result<Self> {
        let version = quiet(Command::new("rustc").arg("--version"))?;
        let version = version.split_whitespace().nth(1).context("rustc does not say its version")?;
        Ok(Self::new("rust-std", version, "MIT OR Apache-2.0", format!("pkg:generic/rust@{version}")))
    }

    /// A part from an installed Debian package. Returns `None` if the system has no package of this name.
    pub(crate) fn of_debian(name: &str, licence: &str) -> Option<Self> {
        let shown = quiet(Command::new("dpkg-query").args(["-W", "-f", "${Version} ${Architecture}", name]));
        let shown = shown.ok()?;
        let (version, architecture) = shown.split_once(' ')?;
        let release = fs::read_to_string("/etc/os-release").ok()?;
        let says = |key: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.map(|value| value.trim_matches('"').to_owned())
        };
        let (system, number) = (says("ID")?, says("VERSION_ID").unwrap_or_default());
        let escaped = version.replace('+', "%2B").replace(':', "%3A");
        let purl = format!("pkg:deb/{system}/{name}@{escaped}?arch={architecture}&distro={system}-{number}");
        Some(Self::new(name, version, licence, purl))
    }

    /// SQLite, which is C code inside a crate. Its known vulnerabilities are listed by its own version, not the
    /// crate's.
    ///
    /// # Errors
    ///
    /// Fails if the crate's sources don't contain the version.
    pub(crate) fn sqlite(places: &Places) -> Result<Self> {
        let metadata = quiet(command::cargo(places).args(["metadata", "--locked", "--format-version", "1"]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
        let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let manifest = packages.iter().find(|package| package["name"] == "libsqlite3-sys");
        let manifest = manifest.and_then(|package| package["manifest_path"].as_str());
        let header =
            Path::new(manifest.context("SQLite's crate is not there")?).with_file_name("sqlite3/sqlite3.h");
        let header =
            fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
        let version = header.lines().find_map(|line| line.strip_prefix("#define SQLITE_VERSION "));
        let version = version.context("SQLite does not say its version")?.trim().trim_matches('"');
        Ok(Self::new("sqlite", version, "blessing", format!("pkg:generic/sqlite@{version}")))
    }

    /// uPlot, which is JavaScript inside a crate of this repository.
    ///
    /// # Errors
    ///
    /// Fails if the file doesn't name its version.
    pub(crate) fn uplot(places: &Places) -> Result<Self> {
        let file = places.root.join("crates/watch/src/page/uPlot.iife.min.js");
        let script = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // The first line is `/*! https://github.com/leeoniya/uPlot (v1.6.32) */`.
        let version = script.lines().next().and_then(|line| line.split_once("(v")?.1.split_once(')'));
        let (version, _) = version.context("uPlot does not say its version")?;
        Ok(Self::new("uplot", version, "MIT", format!("pkg:npm/uplot@{version}")))
    }

    /// The part's identifier within the document.
    fn reference(&self) -> String {
        self.purl.clone().unwrap_or_else(|| format!("{}@{}", self.name, self.version))
    }

    fn described(&self, kind: &str) -> Value {
        let mut part = json!({
            "type": kind,
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            "licenses": [{ "expression": self.licence }],
        });
        if let Some(purl) = &self.purl {
            part["purl"] = json!(purl);
        }
        if let Some(checksum) = &self.checksum {
            part["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        part
    }
}

/// Describes the program for a target, including these parts that aren't crates, with this time (RFC 3339).
///
/// # Errors
///
/// Fails if cargo can't list the dependencies, or if `Cargo.lock` lacks a package that cargo lists.
pub(crate) fn describe(places: &Places, target: &str, others: &[Part], time: &str) -> Result<String> {
    let tree =
        quiet(
            command::cargo(places)
                .args(["tree", "--locked", "--package", PACKAGE, "--target", target])
                .args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "{p}|{l}"]),
        )?;
    let lock = places.root.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let crates = Crates::read(&tree, &checksums(&lock))?;
    Ok(crates.document(others, time))
}

/// The checksums of all downloaded packages, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    lock.split("[[package]]").filter_map(package_of).collect()
}

fn package_of(text: &str) -> Option<((&str, &str), &str)> {
    let field = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(value.trim_matches('"'))
    };
    Some(((field("name")?, field("version")?), field("checksum")?))
}

/// The program's package, its crates, and the dependencies between them.
struct Crates {
    program: Part,
    parts: BTreeMap<String, Part>,
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Crates {
    /// Parses the output of `cargo tree`: a line for each package, which starts with its depth.
    fn read(tree: &str, checksums: &BTreeMap<(&str, &str), &str>) -> Result<Self> {
        let mut parts = BTreeMap::new();
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut above: Vec<Part> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let (depth, part) = part_of(line, checksums).with_context(|| format!("cargo says {line:?}"))?;
            let reference = part.reference();
            above.truncate(depth);
            needs.entry(reference.clone()).or_default();
            if let Some(parent) = above.last() {
                needs.entry(parent.reference()).or_default().insert(reference.clone());
                parts.insert(reference, part.clone());
            }
            above.push(part);
        }
        match above.into_iter().next() {
            Some(program) if program.name == PACKAGE => Ok(Self { program, parts, needs }),
            _ => bail!("cargo does not say what {PACKAGE} depends on"),
        }
    }

    fn document(mut self, others: &[Part], time: &str) -> String {
        let program = self.program.reference();
        for other in others {
            self.needs.entry(program.clone()).or_default().insert(other.reference());
            self.needs.entry(other.reference()).or_default();
            self.parts.insert(other.reference(), other.clone());
        }
        let components: Vec<_> = self.parts.values().map(|part| part.described("library")).collect();
        let dependencies: Vec<_> =
            self.needs.iter().map(|(part, needs)| json!({ "ref": part, "dependsOn": needs })).collect();
        let mut document = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": { "timestamp": time, "component": self.program.described("application") },
            "components": components,
            "dependencies": dependencies,
        });
        document["serialNumber"] = json!(serial_number(&document.to_string()));
        format!("{document:#}\n")
    }
}

/// Parses one line of the tree: `1anyhow v1.0.104|MIT OR Apache-2.0`, or for packages of this repository `1wasmrun-cli
/// v0.1.0 (/folder)|Apache-2.0`.
fn part_of(line: &str, checksums: &BTreeMap<(&str, &str), &str>) -> Option<(usize, Part)> {
    let line = line.strip_suffix(LISTED).unwrap_or(line);
    let (package, licence) = line.split_once('|')?;
    let name_at = package.find(|c: char| !c.is_ascii_digit())?;
    let (depth, package) = package.split_at(name_at);
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let checksum = checksums.get(&(name, version)).map(|&checksum| checksum.to_owned());
    let part = Part {
        name: name.into(),
        version: version.into(),
        // cargo's own notation from before SPDX expressions.
        licence: licence.split('/').map(str::trim).collect::<Vec<_>>().join(" OR "),
        // Only downloaded packages have a checksum.
        purl: checksum.is_some().then(|| format!("pkg:cargo/{name}@{version}")),
        checksum,
    };
    Some((depth.parse().ok()?, part))
}

/// A UUID of version 8 (RFC 9562), which is the content's digest, so that the same content has the same UUID.
fn serial_number(content: &str) -> String {
    let digest = Sha256::digest(content);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{}", groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::{Crates, checksums, serial_number};
    use serde_json::Value;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\nchecksum = \"aa\"\n\
        dependencies = [\n \"b\",\n]\n\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\nchecksum = \"bb\"\n\n\
        [[package]]\nname = \"wasmrun-worker\"\nversion = \"0.1.0\"\n";
    const TREE: &str = "0wasmrun-worker v0.1.0 (/there)|Apache-2.0\n1a v1.0.0|MIT/Apache-2.0\n2b v2.0.0|ISC\n1own v0.1.0 (/there/own)|MIT\n\
        2a v1.0.0|MIT/Apache-2.0 (*)\n1b v2.0.0|ISC\n";

    fn document() -> Value {
        let crates = Crates::read(TREE, &checksums(LOCK)).expect("crates");
        serde_json::from_str(&crates.document(&[], "2026-01-01T00:00:00Z")).expect("JSON")
    }

    #[test]
    fn every_crate_is_listed_once_with_what_identifies_it() {
        let document = document();
        let components = document["components"].as_array().expect("a list");
        let names: Vec<_> = components.iter().map(|part| part["name"].as_str().expect("a name")).collect();
        assert_eq!(names, ["own", "a", "b"]);
        assert_eq!(components[1]["purl"], "pkg:cargo/a@1.0.0");
        assert_eq!(components[1]["hashes"][0]["content"], "aa");
        assert_eq!(components[1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(document["metadata"]["component"]["name"], "wasmrun-worker");
    }

    #[test]
    fn what_was_never_published_is_not_taken_for_a_strangers() {
        assert_eq!(document()["components"][0].get("purl"), None);
    }

    #[test]
    fn it_is_told_which_crate_needs_which() {
        let document = document();
        let needs = |reference: &str| {
            let all = document["dependencies"].as_array().expect("a list");
            let found = all.iter().find(|needs| needs["ref"] == reference).expect("the crate");
            found["dependsOn"].to_string()
        };
        assert_eq!(needs("wasmrun-worker@0.1.0"), r#"["own@0.1.0","pkg:cargo/a@1.0.0","pkg:cargo/b@2.0.0"]"#);
        assert_eq!(needs("own@0.1.0"), r#"["pkg:cargo/a@1.0.0"]"#);
        assert_eq!(needs("pkg:cargo/a@1.0.0"), r#"["pkg:cargo/b@2.0.0"]"#);
    }

    #[test]
    fn what_cargo_says_in_another_way_is_refused() {
        for tree in ["", "wasmrun-worker", "0other v0.1.0|MIT", "0wasmrun-worker 0.1.0|MIT"] {
            assert!(Crates::read(tree, &checksums(LOCK)).is_err(), "{tree:?}");
        }
    }

    #[test]
    fn the_serial_number_is_that_of_the_content() {
        let number = serial_number("a");
        assert_eq!(number, serial_number("a"));
        assert_ne!(number, serial_number("b"));
        assert_eq!((number.len(), &number[23..24]), (45, "8"), "{number}");
    }
}
