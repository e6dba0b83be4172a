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

/// The SDK for JavaScript and TypeScript: helpers, and the types of the interfaces.
const SCRIPT_SDK: &[File] = files! {
    "types/interfaces/wasmrun-task-handler.d.ts" <- "javascript/types/interfaces/wasmrun-task-handler.d.ts",
    "types/interfaces/wasmrun-task-message.d.ts" <- "javascript/types/interfaces/wasmrun-task-message.d.ts",
    "types/interfaces/wasmrun-task-object-store.d.ts" <- "javascript/types/interfaces/wasmrun-task-object-store.d.ts",
    "types/interfaces/wasmrun-task-queue.d.ts" <- "javascript/types/interfaces/wasmrun-task-queue.d.ts",
    "types/task.d.ts" <- "javascript/types/task.d.ts",
    "wasmrun-guest.d.ts" <- "javascript/wasmrun-guest.d.ts",
    "wasmrun-guest.js" <- "javascript/wasmrun-guest.js",
};

/// The interfaces of standard input and output, which a program in JavaScript or TypeScript calls itself.
const STREAMS: &[File] = files! {
    "types/command.d.ts" <- "javascript/command.d.ts",
    "wit/deps/wasi-cli/cli.wit" <- "wit/command/cli.wit",
    "wit/deps/wasi-io/streams.wit" <- "wit/command/streams.wit",
};

/// Returns the files of a project.
pub(super) fn files(lang: Language, kind: Kind) -> Vec<File> {
    let files = match kind {
        // The program needs no interface of wasmrun.
        Kind::Command => [own(lang, kind), common(lang), command(lang), project(kind)],
        Kind::Object | Kind::Message => [own(lang, kind), common(lang), bindings(lang), project(kind)],
    };
    let mut files = files.concat();
    files.extend(world(lang, kind));
    if matches!(lang, Language::Javascript | Language::Typescript) {
        files.extend(if kind == Kind::Command { STREAMS } else { SCRIPT_SDK });
    }
    // The SDK has the interfaces for Rust.
    if lang != Language::Rust && kind != Kind::Command {
        files.extend(PACKAGE);
    }
    files
}

/// Returns the files that differ between languages and kinds: a table with a row for each pair.
fn own(lang: Language, kind: Kind) -> &'static [File] {
    match (lang, kind) {
        (Language::Rust, Kind::Object) => files! {
            "src/lib.rs" <- "rust/object.rs",
        },
        (Language::Rust, Kind::Message) => files! {
            "src/lib.rs" <- "rust/message.rs",
        },
        (Language::Rust, Kind::Command) => files! {
            "src/main.rs" <- "rust/command.rs",
        },
        (Language::Python, Kind::Object) => files! {
            "app.py" <- "python/object.py",
        },
        (Language::Python, Kind::Message) => files! {
            "app.py" <- "python/message.py",
        },
        (Language::Python, Kind::Command) => files! {
            "app.py" <- "python/command.py",
        },
        (Language::Javascript, Kind::Object) => files! {
            "guest.js" <- "javascript/object.js",
        },
        (Language::Javascript, Kind::Message) => files! {
            "guest.js" <- "javascript/message.js",
        },
        (Language::Javascript, Kind::Command) => files! {
            "guest.js" <- "javascript/command.js",
        },
        (Language::Typescript, Kind::Object) => files! {
            "guest.ts" <- "typescript/object.ts",
        },
        (Language::Typescript, Kind::Message) => files! {
            "guest.ts" <- "typescript/message.ts",
        },
        (Language::Typescript, Kind::Command) => files! {
            "guest.ts" <- "typescript/command.ts",
        },
        (Language::C, Kind::Object) => files! {
            "shout.c" <- "c/object.c",
        },
        (Language::C, Kind::Message) => files! {
            "shout.c" <- "c/message.c",
        },
        (Language::C, Kind::Command) => files! {
            "shout.c" <- "c/command.c",
        },
        (Language::Go, Kind::Object) => files! {
            "export_wasmrun_task_handler/handler.go" <- "go/object.go",
        },
        (Language::Go, Kind::Message) => files! {
            "export_wasmrun_task_handler/handler.go" <- "go/message.go",
        },
        (Language::Go, Kind::Command) => files! {
            "main.go" <- "go/command.go",
        },
    }
}

/// Returns the files of a language that are the same for each kind.
fn common(lang: Language) -> &'static [File] {
    match lang {
        Language::Rust => files! {
            ".gitignore" <- "rust/gitignore",
            "rust-toolchain.toml" <- "rust/rust-toolchain.toml",
        },
        Language::Python => files! {
            ".gitignore" <- "python/gitignore",
            "requirements.txt" <- "python/requirements.txt",
        },
        Language::Javascript => files! {
            ".gitignore" <- "javascript/gitignore",
            "jsconfig.json" <- "javascript/jsconfig.json",
            "package.json" <- "javascript/package.json.in",
        },
        Language::Typescript => files! {
            ".gitignore" <- "typescript/gitignore",
            "package.json" <- "typescript/package.json.in",
            "tsconfig.json" <- "typescript/tsconfig.json",
        },
        Language::C => files! {
            ".gitignore" <- "c/gitignore",
            "requirements.txt" <- "c/requirements.txt",
        },
        Language::Go => files! {
            ".gitignore" <- "go/gitignore",
            "requirements.txt" <- "go/requirements.txt",
        },
    }
}

/// Returns the files of a language for guests that call wasmrun's interfaces.
fn bindings(lang: Language) -> &'static [File] {
    match lang {
        Language::Rust => files! {
            "Cargo.toml" <- "rust/Cargo.toml.in",
            "README.md" <- "rust/README.md.in",
        },
        Language::Python => files! {
            "README.md" <- "python/README.md.in",
            "wasmrun_guest.py" <- "python/wasmrun_guest.py",
        },
        Language::Javascript => files! { "README.md" <- "javascript/README.md.in" },
        Language::Typescript => files! { "README.md" <- "typescript/README.md.in" },
        Language::C => files! {
            "README.md" <- "c/README.md.in",
            "bindings/guest.c" <- "c/bindings/guest.c",
            "bindings/guest.h" <- "c/bindings/guest.h",
            "bindings/guest_component_type.o" <= "c/bindings/guest_component_type.o",
            "build.sh" <- "c/build.sh",
        },
        Language::Go => files! {
            "README.md" <- "go/README.md.in",
            "adapter/README.md" <- "adapter/README.md",
            "adapter/wasi_snapshot_preview1.reactor.wasm" <= "adapter/wasi_snapshot_preview1.reactor.wasm",
            "build.sh" <- "go/build.sh",
            "go.mod" <- "go/go.mod.in",
            "vendor/go.bytecodealliance.org/pkg/LICENSE" <- "go/vendor/LICENSE",
            "vendor/go.bytecodealliance.org/pkg/wit/runtime/runtime.go" <- "go/vendor/wit/runtime/runtime.go",
            "vendor/go.bytecodealliance.org/pkg/wit/types/option.go" <- "go/vendor/wit/types/option.go",
            "vendor/go.bytecodealliance.org/pkg/wit/types/result.go" <- "go/vendor/wit/types/result.go",
            "vendor/go.bytecodealliance.org/pkg/wit/types/tuple.go" <- "go/vendor/wit/types/tuple.go",
            "vendor/go.bytecodealliance.org/pkg/wit/types/unit.go" <- "go/vendor/wit/types/unit.go",
            "vendor/modules.txt" <- "go/vendor/modules.txt",
            "wasmrun_task_handler/empty.s" <- "go/bindings/wasmrun_task_handler/empty.s",
            "wasmrun_task_handler/wit_bindings.go" <- "go/bindings/wasmrun_task_handler/wit_bindings.go",
            "wasmrun_task_message/empty.s" <- "go/bindings/wasmrun_task_message/empty.s",
            "wasmrun_task_message/wit_bindings.go" <- "go/bindings/wasmrun_task_message/wit_bindings.go",
            "wasmrun_task_object_store/empty.s" <- "go/bindings/wasmrun_task_object_store/empty.s",
            "wasmrun_task_object_store/wit_bindings.go" <- "go/bindings/wasmrun_task_object_store/wit_bindings.go",
            "wasmrun_task_queue/empty.s" <- "go/bindings/wasmrun_task_queue/empty.s",
            "wasmrun_task_queue/wit_bindings.go" <- "go/bindings/wasmrun_task_queue/wit_bindings.go",
            "wit_exports.go" <- "go/bindings/wit_exports.go",
        },
    }
}

/// Returns the files of a language for programs with `main`.
fn command(lang: Language) -> &'static [File] {
    match lang {
        Language::Rust => files! {
            "Cargo.toml" <- "rust/Cargo.command.toml.in",
            "README.md" <- "rust/README.command.md.in",
        },
        Language::Python => files! {
            "README.md" <- "python/README.command.md.in",
            "wit/deps/wasi-cli/run.wit" <- "wit/command/run.wit",
        },
        Language::Javascript => files! { "README.md" <- "javascript/README.command.md.in" },
        Language::Typescript => files! { "README.md" <- "typescript/README.command.md.in" },
        Language::C => files! {
            "README.md" <- "c/README.command.md.in",
            "adapter/README.md" <- "adapter/README.md",
            "adapter/wasi_snapshot_preview1.command.wasm" <= "adapter/wasi_snapshot_preview1.command.wasm",
            "build.sh" <- "c/build.command.sh",
        },
        Language::Go => files! {
            "README.md" <- "go/README.command.md.in",
            "adapter/README.md" <- "adapter/README.md",
            "adapter/wasi_snapshot_preview1.reactor.wasm" <= "adapter/wasi_snapshot_preview1.reactor.wasm",
            "build.sh" <- "go/build.command.sh",
            "component.go" <- "go/component.go",
            "go.mod" <- "go/go.command.mod.in",
            "wit/deps/wasi-cli/run.wit" <- "wit/command/run.wit",
        },
    }
}

/// Returns the world of a guest. In C and Go it is the same for objects and messages, as the linker leaves out the
/// interfaces that aren't called.
fn world(lang: Language, kind: Kind) -> &'static [File] {
    match (lang, kind) {
        (Language::Rust, _) | (Language::C, Kind::Command) => &[],
        (Language::Python | Language::Go, Kind::Command) => {
            files! { "wit/guest.wit" <- "wit/command/program.wit" }
        }
        (Language::C | Language::Go, _) => files! { "wit/guest.wit" <- "wit/c.wit" },
        (Language::Javascript | Language::Typescript, Kind::Command) => {
            files! { "wit/guest.wit" <- "wit/command/javascript.wit" }
        }
        (_, Kind::Object) => files! { "wit/guest.wit" <- "wit/object.wit" },
        (_, Kind::Message) => files! { "wit/guest.wit" <- "wit/message.wit" },
    }
}

/// Returns the project's settings and its cases, which are the same in each language.
fn project(kind: Kind) -> &'static [File] {
    match kind {
        Kind::Object => files! {
            "guest.toml" <- "object/guest.toml.in",
            "cases/hello/case.toml" <- "object/hello.toml",
            "cases/hello/given/input/hello.txt" <- "object/hello.given",
            "cases/hello/expected/output/hello.txt" <- "object/hello.expected",
            "cases/no-object/case.toml" <- "object/no-object.toml",
            "cases/not-text/case.toml" <- "object/not-text.toml",
            "cases/not-text/given/input/latin-1.txt" <= "object/not-text.given",
            "cases/removed/case.toml" <- "object/removed.toml",
        },
        Kind::Message => files! {
            "guest.toml" <- "message/guest.toml.in",
            "cases/hello/case.toml" <- "message/hello.toml",
            "cases/blank/case.toml" <- "message/blank.toml",
        },
        Kind::Command => files! {
            "guest.toml" <- "command/guest.toml.in",
            "cases/hello/case.toml" <- "object/hello.toml",
            "cases/hello/given/input/hello.txt" <- "object/hello.given",
            "cases/hello/expected/output/hello.txt" <- "object/hello.expected",
            "cases/not-text/case.toml" <- "object/not-text.toml",
            "cases/not-text/given/input/latin-1.txt" <= "object/not-text.given",
        },
    }
}
