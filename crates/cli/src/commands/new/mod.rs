//! `wasmrun new`: creates the project of a guest, with its cases.

mod templates;

use self::templates::{Content, files};
use crate::output::failure::Failure;
use crate::output::to_stdout;
use crate::settings::flags::{Kind, Language, NewArgs};
use crate::settings::project::PROJECT_FILE;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest name of a project.
const MAX_NAME_BYTES: usize = 64;

pub(crate) fn new(args: &NewArgs) -> Result<ExitCode, Failure> {
    check_name(&args.name)?;
    if args.lang == Language::Rust && TAKEN_IN_RUST.contains(&args.name.as_str()) {
        return Err(Failure::usage(format!(
            "the name {} is taken in Rust's packages: choose another",
            args.name
        )));
    }
    if args.sdk.is_some() && args.lang != Language::Rust {
        return Err(Failure::usage("--sdk is for guests in Rust: the others need no SDK"));
    }
    if args.sdk.is_some() && args.kind == Kind::Command {
        return Err(Failure::usage("--sdk is for guests that call wasmrun: a command needs no SDK"));
    }
    let values = values(&args.name, args.lang, args.kind, sdk(args.sdk.as_deref())?);
    let files = files(args.lang, args.kind);
    create(Path::new(&args.name), files.into_iter().map(|(path, content)| (path, content.filled(&values))))?;
    let mut text = format!("created {}: see its README.md and {PROJECT_FILE}. Next:\n\n", args.name);
    text.push_str(&format!("  cd {}\n", args.name));
    for line in args.lang.setup().iter().chain([&args.lang.build(), &"wasmrun test"]) {
        text.push_str(&format!("  {line}\n"));
    }
    if args.lang == Language::Rust && args.kind != Kind::Command && args.sdk.is_none() {
        text.push_str(concat!(
            "\nThe SDK is not published yet: name it in a clone with --sdk CLONE/crates/guest, or write its\n",
            "path into Cargo.toml.\n"
        ));
    }
    to_stdout(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Returns the values for the places in the files.
fn values(name: &str, lang: Language, kind: Kind, sdk: String) -> [(&'static str, String); 5] {
    [
        ("name", name.to_owned()),
        ("sdk", sdk),
        ("build", lang.build().to_owned()),
        ("component", lang.component(kind, name)),
        ("watch", lang.watched(kind).to_owned()),
    ]
}

/// Names of packages that cargo can't build: directories of its own, and the SDK.
const TAKEN_IN_RUST: [&str; 5] = ["build", "deps", "examples", "incremental", "wasmrun-guest"];

/// Refuses a name that a package of some language can't have. It is also the directory's name, so it leads nowhere else.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_well_formed = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if is_well_formed {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the name {name:?} is not allowed: at most {MAX_NAME_BYTES} of a-z, 0-9 and '-', beginning with a letter"
    )))
}

/// Returns the line of Cargo.toml that names the SDK.
fn sdk(path: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = path else {
        return Ok(format!("wasmrun-guest = \"={}\"", env!("CARGO_PKG_VERSION")));
    };
    let wrong = |why: String| Failure::usage(format!("cannot use the SDK in {}: {why}", path.display()));
    let found: PathBuf = path.canonicalize().map_err(|error| wrong(error.to_string()))?;
    if !found.join("Cargo.toml").is_file() {
        return Err(wrong("it has no Cargo.toml: name crates/guest in a clone of wasmrun".into()));
    }
    let text = found.to_str().ok_or_else(|| wrong("its path is not UTF-8".into()))?;
    Ok(format!("wasmrun-guest = {{ path = {} }}", crate::settings::project::quoted(text)))
}

/// Creates a directory with files, or nothing.
fn create(directory: &Path, files: impl Iterator<Item = (&'static str, Vec<u8>)>) -> Result<(), Failure> {
    let shown = directory.display();
    fs::create_dir(directory).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{shown} is there already: nothing is overwritten, name another"))
        }
        _ => Failure::backend(format!("cannot create the directory {shown}: {error}")),
    })?;
    for (path, content) in files {
        let path = directory.join(path);
        if let Err(error) = write(&path, &content) {
            // The user could not create the project again if a part of it was there.
            let _ = fs::remove_dir_all(directory);
            return Err(Failure::backend(format!("cannot write {}: {error}", path.display())));
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(path)?.write_all(content)
}

impl Language {
    /// Returns the commands that a new project needs once.
    fn setup(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &[],
            Self::Python | Self::C | Self::Go => {
                &["python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"]
            }
            Self::Javascript | Self::Typescript => &["npm install"],
        }
    }

    /// Returns the command that builds the component.
    fn build(self) -> &'static str {
        match self {
            Self::Rust => "cargo build --release --target wasm32-wasip2",
            Self::Python => ".venv/bin/componentize-py -d wit -w guest componentize app -o guest.wasm",
            Self::Javascript | Self::Typescript => "npm run --silent build",
            Self::C | Self::Go => "sh build.sh",
        }
    }

    /// Returns the path of the component in the project.
    fn component(self, kind: Kind, name: &str) -> String {
        match (self, kind) {
            (Self::Rust, Kind::Command) => format!("target/wasm32-wasip2/release/{name}.wasm"),
            // The component of a library has underscores.
            (Self::Rust, _) => format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_")),
            _ => "guest.wasm".to_owned(),
        }
    }

    /// Returns what `wasmrun dev` watches, as items of a list in TOML.
    fn watched(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Rust, _) => r#""src", "Cargo.toml""#,
            (Self::Python, Kind::Command) => r#""app.py", "wit""#,
            (Self::Python, _) => r#""app.py", "wasmrun_guest.py", "wit""#,
            (Self::Javascript, Kind::Command) => r#""guest.js", "package.json", "wit""#,
            (Self::Javascript, _) => r#""guest.js", "wasmrun-guest.js", "package.json", "wit""#,
            (Self::Typescript, Kind::Command) => r#""guest.ts", "package.json", "tsconfig.json", "wit""#,
            (Self::Typescript, _) => {
                r#""guest.ts", "wasmrun-guest.js", "package.json", "tsconfig.json", "wit""#
            }
            (Self::C, Kind::Command) => r#""shout.c", "build.sh""#,
            (Self::C, _) => r#""shout.c", "bindings", "build.sh""#,
            (Self::Go, Kind::Command) => r#""main.go", "component.go", "go.mod", "build.sh""#,
            (Self::Go, _) => r#""export_wasmrun_task_handler", "go.mod", "build.sh""#,
        }
    }
}

impl Content {
    /// Returns the content with the values in the places of `{{NAME}}`.
    fn filled(self, values: &[(&str, String)]) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Text(text) => {
                let fill = |text: String, (name, value): &(&str, String)| {
                    text.replace(&format!("{{{{{name}}}}}"), value)
                };
                values.iter().fold(text.to_owned(), fill).into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::project::{CaseFile, ProjectFile};
    use clap::ValueEnum;
    use std::collections::BTreeSet;

    #[test]
    fn a_name_leads_nowhere() {
        for name in ["", ".", "..", "a/b", "../x", "/x", "-x", "x-", "X", "1x", "a_b", "ü", &"x".repeat(65)]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["x", "thumbnail", "a-1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_project_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("x");
        let files = || [("a", b"a".to_vec()), ("b/c", b"c".to_vec())].into_iter();
        // A file is no directory for another one.
        let error = create(&directory, files().chain([("a/d", Vec::new())])).expect_err("refused");
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert!(!directory.exists());
        create(&directory, files()).expect("created");
        assert_eq!(fs::read(directory.join("b/c")).expect("read"), b"c");
        assert!(create(&directory, files()).is_err() && directory.join("a").exists());
    }

    #[test]
    fn each_template_is_a_project_with_cases_and_each_value_has_its_place() {
        for (lang, kind) in Language::value_variants()
            .iter()
            .flat_map(|lang| Kind::value_variants().iter().map(move |kind| (*lang, *kind)))
        {
            let values = values("x", lang, kind, "y = 1".into());
            let files = files(lang, kind);
            let names: BTreeSet<&str> = files.iter().map(|(path, _)| *path).collect();
            assert_eq!(names.len(), files.len(), "{lang:?} {kind:?}");
            let mut cases = 0;
            for (path, content) in files {
                let Ok(text) = String::from_utf8(content.filled(&values)) else { continue };
                // JavaScript has other braces.
                assert!(!text.contains("{{"), "{lang:?} {path}: {text}");
                if path == PROJECT_FILE {
                    let file: ProjectFile = toml::from_str(&text).expect("a project");
                    assert_eq!(file.build.as_deref(), Some(lang.build()));
                    assert!(!file.watch.is_empty() && file.component.is_some());
                } else if path.ends_with("case.toml") {
                    CaseFile::parse(&text).expect("a case");
                    cases += 1;
                }
            }
            assert!(cases >= 2, "{lang:?} {kind:?}");
        }
    }
}
