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

/// The text of a file in `templates/`.
macro_rules! text {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $file))
    };
}

/// Files with text from `templates/`, as `PATH <- FILE`.
macro_rules! files {
    ($($path:literal <- $file:literal),* $(,)?) => {
        [$(($path, Content::Text(text!($file)))),*]
    };
}

/// A file of the package `wasmrun:task`.
macro_rules! wit {
    ($($file:literal),*) => {
        [$((
            concat!("wit/deps/wasmrun-task/", $file),
            Content::Text(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/wit/", $file))),
        )),*]
    };
}

/// Returns the files of a project.
pub(super) fn files(lang: Language, kind: Kind) -> Vec<File> {
    let mut files = match lang {
        Language::Rust => rust(kind),
        Language::Python => python(kind),
        Language::Javascript => javascript(kind),
        Language::C => c(kind),
    };
    files.extend(cases(kind));
    files
}

/// The cases, which are the same in each language.
fn cases(kind: Kind) -> Vec<File> {
    match kind {
        Kind::Object => {
            let texts = files! {
                "cases/hello/case.toml" <- "object/hello.toml",
                "cases/hello/given/input/hello.txt" <- "object/hello.given",
                "cases/hello/expected/output/hello.txt" <- "object/hello.expected",
                "cases/no-object/case.toml" <- "object/no-object.toml",
                "cases/not-text/case.toml" <- "object/not-text.toml",
            };
            let bytes =
                include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/object/not-text.given"));
            [&texts[..], &[("cases/not-text/given/input/latin-1.txt", Content::Bytes(bytes))]].concat()
        }
        Kind::Message => files! {
            "cases/hello/case.toml" <- "message/hello.toml",
            "cases/blank/case.toml" <- "message/blank.toml",
        }
        .to_vec(),
    }
}

/// The world of a guest, and the package that it imports from.
fn wit(kind: Kind) -> Vec<File> {
    with_package(match kind {
        Kind::Object => files! { "wit/guest.wit" <- "wit/object.wit" },
        Kind::Message => files! { "wit/guest.wit" <- "wit/message.wit" },
    })
}

fn with_package(world: [File; 1]) -> Vec<File> {
    let package = wit!["handler.wit", "message.wit", "object-store.wit", "queue.wit", "task.wit"];
    [&world[..], &package].concat()
}

fn rust(kind: Kind) -> Vec<File> {
    let own = match kind {
        Kind::Object => files! {
            "guest.toml" <- "rust/guest.object.toml",
            "src/lib.rs" <- "rust/object.rs",
        },
        Kind::Message => files! {
            "guest.toml" <- "rust/guest.message.toml",
            "src/lib.rs" <- "rust/message.rs",
        },
    };
    let common = files! {
        ".gitignore" <- "rust/gitignore",
        "Cargo.toml" <- "rust/Cargo.toml.in",
        "README.md" <- "rust/README.md.in",
        "rust-toolchain.toml" <- "rust/rust-toolchain.toml",
    };
    [&own[..], &common].concat()
}

fn python(kind: Kind) -> Vec<File> {
    let own = match kind {
        Kind::Object => files! {
            "guest.toml" <- "python/guest.object.toml",
            "app.py" <- "python/object.py",
        },
        Kind::Message => files! {
            "guest.toml" <- "python/guest.message.toml",
            "app.py" <- "python/message.py",
        },
    };
    let common = files! {
        ".gitignore" <- "python/gitignore",
        "README.md" <- "python/README.md.in",
        "requirements.txt" <- "python/requirements.txt",
    };
    [&own[..], &common, &wit(kind)].concat()
}

fn javascript(kind: Kind) -> Vec<File> {
    let own = match kind {
        Kind::Object => files! {
            "guest.toml" <- "javascript/guest.object.toml",
            "guest.js" <- "javascript/object.js",
        },
        Kind::Message => files! {
            "guest.toml" <- "javascript/guest.message.toml",
            "guest.js" <- "javascript/message.js",
        },
    };
    let common = files! {
        ".gitignore" <- "javascript/gitignore",
        "README.md" <- "javascript/README.md.in",
        "package.json" <- "javascript/package.json.in",
    };
    [&own[..], &common, &wit(kind)].concat()
}

/// Both kinds have the same bindings, and so the same world: the linker leaves out the interfaces that aren't called.
fn c(kind: Kind) -> Vec<File> {
    let own = match kind {
        Kind::Object => files! {
            "guest.toml" <- "c/guest.object.toml",
            "shout.c" <- "c/object.c",
        },
        Kind::Message => files! {
            "guest.toml" <- "c/guest.message.toml",
            "shout.c" <- "c/message.c",
        },
    };
    let common = files! {
        ".gitignore" <- "c/gitignore",
        "README.md" <- "c/README.md.in",
        "bindings/guest.c" <- "c/bindings/guest.c",
        "bindings/guest.h" <- "c/bindings/guest.h",
        "build.sh" <- "c/build.sh",
        "requirements.txt" <- "c/requirements.txt",
    };
    let types =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/c/bindings/guest_component_type.o"));
    let types = [("bindings/guest_component_type.o", Content::Bytes(types))];
    [&own[..], &common, &types, &with_package(files! { "wit/guest.wit" <- "wit/c.wit" })].concat()
}
