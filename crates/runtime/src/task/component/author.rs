//! The language that a component was written in, as its tools noted it, and the advice that depends on it.
//!
//! The tools write a section `producers` into each module and component
//! (<https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md>).

use wasmparser::{Encoding, KnownCustom, Name, Payload};

/// A language of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    Rust,
    C,
    Go,
    Python,
    JavaScript,
    CSharp,
}

/// Advice for authors of a language.
pub(super) struct Advice {
    /// What turns a core module into a component.
    pub(super) component: &'static str,
    /// What makes a component that runs as a task, as a sentence.
    pub(super) task: &'static str,
    /// How to leave out the interface `wasi:http`.
    pub(super) http: &'static str,
}

/// For authors of an unknown language.
const ANY: Advice = Advice {
    component: "turn it into one with `wasm-tools component embed` and `wasm-tools component new`; in Rust, build it with `cargo build --target wasm32-wasip2`",
    task: "Build it as a program with main, or as a library (in Rust: crate-type cdylib) against the world wasmrun:task/task",
    http: "build without it; in JavaScript, disable componentize-js's features http and fetch-event",
};

impl Author {
    /// All advice that depends on the language.
    const fn advice(self) -> Advice {
        match self {
            Self::Rust => Advice {
                component: "build it with `cargo build --target wasm32-wasip2`",
                task: "Build it as a program with main, or as a library (crate-type cdylib) against the world wasmrun:task/task: `wasmrun new NAME --lang rust` shows how",
                http: "leave out the crate that uses it",
            },
            Self::C => Advice {
                component: "turn it into one with `wasm-tools component embed` and `wasm-tools component new`",
                task: "Build it against the world wasmrun:task/task with the bindings of `wit-bindgen c`: `wasmrun new NAME --lang c` shows how",
                http: "generate the bindings for a world without it",
            },
            Self::Go => Advice {
                component: "build it with -buildmode=c-shared, and turn it into one with `wasm-tools component embed` and `wasm-tools component new --adapt`: `wasmrun new NAME --lang go` shows how",
                task: "Build it against the world wasmrun:task/task with the bindings of `wit-bindgen go`: `wasmrun new NAME --lang go` shows how",
                http: "generate the bindings for a world without it",
            },
            Self::Python => Advice {
                component: "build it with `componentize-py componentize`",
                task: "Name a world that exports wasmrun:task/handler or wasi:cli/run with componentize-py's option -w: `wasmrun new NAME --lang python` shows how",
                http: "leave it out of the world: componentize-py imports all of that",
            },
            Self::JavaScript => Advice {
                component: "build it with componentize-js",
                task: "Name a world that exports wasmrun:task/handler or wasi:cli/run with componentize-js's option -n: `wasmrun new NAME --lang javascript` shows how",
                http: "disable componentize-js's features http and fetch-event, and leave it out of the world",
            },
            Self::CSharp => Advice {
                component: "build it with the package BytecodeAlliance.Componentize.DotNet.Wasm.SDK",
                task: "Build it as a program with Main, or for a world that exports wasmrun:task/handler, with the package BytecodeAlliance.Componentize.DotNet.Wasm.SDK",
                http: "leave out HttpClient, and leave it out of the world",
            },
        }
    }
}

/// Returns the advice for an author, if its language is known, or for any.
pub(super) fn advice(author: Option<Author>) -> Advice {
    author.map_or(ANY, Author::advice)
}

/// What names the language for certain: tools, and languages that no other language's tools are written in. The tools
/// of Python and JavaScript contain code in C and Rust.
const CERTAIN: [(&str, Author); 9] = [
    ("ComponentizeJS", Author::JavaScript),
    ("componentize-qjs", Author::JavaScript),
    ("JavaScript", Author::JavaScript),
    ("componentize-py", Author::Python),
    ("Python", Author::Python),
    ("componentize-dotnet", Author::CSharp),
    ("C#", Author::CSharp),
    ("TinyGo", Author::Go),
    ("Go", Author::Go),
];

/// What tools noted of a component.
#[derive(Default)]
pub(super) struct Traces {
    certain: Option<Author>,
    /// The language of the module that is being read, of Rust and C.
    module: Option<Author>,
    code_bytes: u32,
    /// That of the module with the most code: adapters, which are in Rust, have little.
    largest: Option<(u32, Option<Author>)>,
}

impl Traces {
    /// Reads the next part of the file.
    pub(super) fn read(&mut self, payload: &Payload<'_>) {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => (self.module, self.code_bytes) = (None, 0),
            Payload::CodeSectionStart { size, .. } => self.code_bytes = *size,
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Producers(fields) => {
                    for field in fields.into_iter().map_while(Result::ok) {
                        for value in field.values.into_iter().map_while(Result::ok) {
                            self.note(value.name);
                        }
                    }
                }
                // componentize-py leaves no other trace: the interpreter is one of the modules.
                KnownCustom::Name(mut names) => {
                    if let Some(Ok(Name::Module { name, .. })) = names.next()
                        && name.starts_with("libpython")
                    {
                        self.certain = Some(Author::Python);
                    }
                }
                _ => {}
            },
            Payload::End(_) => {
                if self.largest.is_none_or(|(bytes, _)| self.code_bytes > bytes) {
                    self.largest = Some((self.code_bytes, self.module));
                }
                self.code_bytes = 0;
            }
            _ => {}
        }
    }

    fn note(&mut self, name: &str) {
        if let Some((_, author)) = CERTAIN.iter().find(|(known, _)| *known == name) {
            self.certain = self.certain.or(Some(*author));
        } else if name == "Rust" {
            self.module = Some(Author::Rust);
        } else if name.starts_with("C_plus_plus") || matches!(name, "C99" | "C11" | "C17" | "C23") {
            // Programs in Rust may contain code in C.
            self.module = self.module.or(Some(Author::C));
        }
    }

    pub(super) fn author(&self) -> Option<Author> {
        self.certain.or(self.largest.and_then(|(_, author)| author))
    }
}

#[cfg(test)]
mod tests {
    use super::super::outline::Outline;
    use super::*;

    fn producers(values: &[(&str, &str)]) -> String {
        let producers = values.iter().map(|(field, name)| format!(r#"({field} "{name}" "1")"#));
        format!("(@producers {})", producers.collect::<String>())
    }

    fn module(code: usize, values: &[(&str, &str)]) -> String {
        format!("(core module (func {}) {})", "nop ".repeat(code), producers(values))
    }

    fn of(text: &str) -> Option<Author> {
        Outline::read(&wat::parse_str(text).expect("a component")).expect("read").author
    }

    #[test]
    fn the_language_is_that_of_the_tool_and_else_of_the_largest_module() {
        let adapter = module(10, &[("language", "Rust")]);
        for (name, author) in [
            ("Rust", Author::Rust),
            ("C11", Author::C),
            ("C_plus_plus_17", Author::C),
            ("Go", Author::Go),
            ("C#", Author::CSharp),
        ] {
            let main = module(1_000, &[("language", name), ("processed-by", "a tool")]);
            assert_eq!(of(&format!("(component {main} {adapter})")), Some(author));
            assert_eq!(of(&format!("(component {adapter} {main})")), Some(author));
            let alone = format!("(module {})", producers(&[("language", name)]));
            assert_eq!(of(&alone), Some(author), "a core module");
        }
        let engine = module(1_000, &[("language", "C11"), ("language", "Rust")]);
        let tool = producers(&[("language", "JavaScript"), ("processed-by", "ComponentizeJS")]);
        assert_eq!(of(&format!("(component {engine} {adapter} {tool})")), Some(Author::JavaScript));
        let python = format!("(component {engine} (core module $libpython3.14.so))");
        assert_eq!(of(&python), Some(Author::Python));
        let both = module(1_000, &[("language", "C11"), ("language", "Rust")]);
        assert_eq!(of(&format!("(component {both})")), Some(Author::Rust));
        assert_eq!(of("(component)"), None);
    }
}
