//! The files of new projects. They are part of the program.

use crate::settings::flags::{Kind, Language};

/// Content of a file.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// Text with places for values, as `{{NAME}}`.
    Text(&'static str),
    Bytes(&'static [u8]),
}

/// Path of a file in the project, and its content.
type File = (&'static str, Content);

/// Files with text from `templates/`, as `PATH <- FILE`, and with bytes, as `PATH <= FILE`.
macro_rules! files {
    ($($path:literal $arrow:tt $file:literal),* $(,)?) => {
        &[$(($path, content!($arrow concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $file)))),*]
    };
}

macro_rules! content {
    (<- $path:expr) => {
        Content::Text(include_str!($path))
    };
    (<= $path:expr) => {
        Content::Bytes(include_bytes!($path))
    };
}

/// Files of the package `wasmrun:task`.
macro_rules! wit {
    ($($file:literal),*) => {
        &[$((
            concat!("wit/deps/wasmrun-task/", $file),
            content!(<- concat!(env!("CARGO_MANIFEST_DIR"), "/wit/", $file)),
        )),*]
    };
}

/// The package that guests without an SDK import from.
const PACKAGE: &[File] = wit!["handler.wit", "message.wit", "object-store.wit", "queue.wit", "task.wit"];

/// Returns the files of a project.
pub(super) fn files(lang: Language, kind: Kind) -> Vec<File> {
    let mut files = [own(lang, kind), common(lang), cases(kind)].concat();
    // The SDK has the interfaces for Rust.
    if lang != Language::Rust {
        files.extend(world(lang, kind).iter().chain(PACKAGE));
    }
    files
}

/// Returns the files that differ between languages and kinds.
fn own(lang: Language, kind: Kind) -> &'static [File] {
    match (lang, kind) {
        (Language::Rust, Kind::Object) => files! {
            "guest.toml" <- "rust/guest.object.toml",
            "src/lib.rs" <- "rust/object.rs",
        },
        (Language::Rust, Kind::Message) => files! {
            "guest.toml" <- "rust/guest.message.toml",
            "src/lib.rs" <- "rust/message.rs",
        },
        (Language::Python, Kind::Object) => files! {
            "guest.toml" <- "python/guest.object.toml",
            "app.py" <- "python/object.py",
        },
        (Language::Python, Kind::Message) => files! {
            "guest.toml" <- "python/guest.message.toml",
            "app.py" <- "python/message.py",
        },
        (Language::Javascript, Kind::Object) => files! {
            "guest.toml" <- "javascript/guest.object.toml",
            "guest.js" <- "javascript/object.js",
        },
        (Language::Javascript, Kind::Message) => files! {
            "guest.toml" <- "javascript/guest.message.toml",
            "guest.js" <- "javascript/message.js",
        },
        (Language::C, Kind::Object) => files! {
            "guest.toml" <- "c/guest.object.toml",
            "shout.c" <- "c/object.c",
        },
        (Language::C, Kind::Message) => files! {
            "guest.toml" <- "c/guest.message.toml",
            "shout.c" <- "c/message.c",
        },
    }
}

/// Returns the files of a language that are the same for each kind.
fn common(lang: Language) -> &'static [File] {
    match lang {
        Language::Rust => files! {
            ".gitignore" <- "rust/gitignore",
            "Cargo.toml" <- "rust/Cargo.toml.in",
            "README.md" <- "rust/README.md.in",
            "rust-toolchain.toml" <- "rust/rust-toolchain.toml",
        },
        Language::Python => files! {
            ".gitignore" <- "python/gitignore",
            "README.md" <- "python/README.md.in",
            "requirements.txt" <- "python/requirements.txt",
        },
        Language::Javascript => files! {
            ".gitignore" <- "javascript/gitignore",
            "README.md" <- "javascript/README.md.in",
            "package.json" <- "javascript/package.json.in",
        },
        Language::C => files! {
            ".gitignore" <- "c/gitignore",
            "README.md" <- "c/README.md.in",
            "bindings/guest.c" <- "c/bindings/guest.c",
            "bindings/guest.h" <- "c/bindings/guest.h",
            "bindings/guest_component_type.o" <= "c/bindings/guest_component_type.o",
            "build.sh" <- "c/build.sh",
            "requirements.txt" <- "c/requirements.txt",
        },
    }
}

/// Returns the world of a guest. In C it is the same for each kind, as the linker leaves out the interfaces that aren't called.
fn world(lang: Language, kind: Kind) -> &'static [File] {
    match (lang, kind) {
        (Language::C, _) => files! { "wit/guest.wit" <- "wit/c.wit" },
        (_, Kind::Object) => files! { "wit/guest.wit" <- "wit/object.wit" },
        (_, Kind::Message) => files! { "wit/guest.wit" <- "wit/message.wit" },
    }
}

/// Returns the cases, which are the same in each language.
fn cases(kind: Kind) -> &'static [File] {
    match kind {
        Kind::Object => files! {
            "cases/hello/case.toml" <- "object/hello.toml",
            "cases/hello/given/input/hello.txt" <- "object/hello.given",
            "cases/hello/expected/output/hello.txt" <- "object/hello.expected",
            "cases/no-object/case.toml" <- "object/no-object.toml",
            "cases/not-text/case.toml" <- "object/not-text.toml",
            "cases/not-text/given/input/latin-1.txt" <= "object/not-text.given",
        },
        Kind::Message => files! {
            "cases/hello/case.toml" <- "message/hello.toml",
            "cases/blank/case.toml" <- "message/blank.toml",
        },
    }
}
