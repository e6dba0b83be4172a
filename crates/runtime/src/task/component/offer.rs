//! Finds by the imports of a component, before it is compiled, what wasmrun doesn't offer.
//!
//! Compiling a large component takes half a minute, and the linker names only the first import that it misses.

use super::author::{self, Author};
use super::outline::{Import, Outline};
use crate::task::host::{config, keyvalue, logging};
use wasmparser::ComponentExternalKind;

/// The interfaces that the host implements, one in a line: its name, and its functions.
const OFFERED: &str = include_str!("offered.txt");
/// The version of WASI that [`OFFERED`] lists.
const WASI: &str = "0.2.12";
/// The interfaces of `wasi:http` for a client.
const OFFERED_OF_HTTP: [&str; 2] = ["wasi:http/outgoing-handler", "wasi:http/types"];
/// Versions of proposals that the host implements, in addition to their other names.
const PROPOSALS: [(&str, &str); 3] = [
    ("wasi:config", "wasi:config/store@0.2.0-rc.1"),
    ("wasi:logging", "wasi:logging/logging@0.1.0-draft"),
    ("wasi:keyvalue", "store, atomics and batch of wasi:keyvalue@0.2.0-draft2 and @0.2.0-draft"),
];
/// Interfaces of drafts that the host implements, in version 0.2.0-draft.
const DRAFTS: [&str; 6] = [
    "wasi:blobstore/blobstore",
    "wasi:blobstore/container",
    "wasi:blobstore/types",
    "wasi:messaging/producer",
    "wasi:messaging/request-reply",
    "wasi:messaging/types",
];
/// Maximum number of imports that are named; a component may have millions.
const MOST_NAMED: usize = 8;
/// Longest import name that is quoted, in characters.
const NAME_CHARS: usize = 80;
/// What to do about an interface of a library.
const COMPOSE: &str = "compose the component with one that exports it, such as with `wac plug`";

/// Describes in one sentence each import that isn't offered and what to do about it. Returns `None` if there is none.
pub(super) fn misfit(outline: &Outline<'_>) -> Option<String> {
    let mut missing = outline.imports.iter().filter_map(|import| not_offered(import, outline.author));
    let named: Vec<String> = missing.by_ref().take(MOST_NAMED).collect();
    let more = match missing.count() {
        _ if named.is_empty() => return None,
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!("the component imports what this wasmrun does not offer: {}{more}", named.join("; ")))
}

/// Names an import that isn't offered, and says what to do. Returns `None` if it's offered, or if only the linker can tell.
fn not_offered(import: &Import<'_>, author: Option<Author>) -> Option<String> {
    let shown = |text: &str| text.chars().take(NAME_CHARS).collect::<String>();
    let advice = match (import.implements, import.kind, &import.contract) {
        (Some(interface), ..) => format!(
            "it implements {} under a label of its own: import the interface by its name",
            shown(interface)
        ),
        (None, ComponentExternalKind::Func, _) => format!("a function without an interface: {COMPOSE}"),
        // An instance of types alone needs no implementation.
        (None, ComponentExternalKind::Instance, Some(contract))
            if contract.functions.is_empty() && !contract.has_resources =>
        {
            return None;
        }
        (None, ComponentExternalKind::Instance, _) => advice(import, author)?,
        _ => return None,
    };
    Some(format!("{} ({advice})", shown(import.name)))
}

/// Says what to do about an interface that isn't offered.
fn advice(import: &Import<'_>, author: Option<Author>) -> Option<String> {
    let (interface, version) = import.name.split_once('@').unwrap_or((import.name, ""));
    let Some((package, name_in_package)) = interface.split_once('/') else { return Some(COMPOSE.into()) };
    if let Some((_, offered)) = PROPOSALS.iter().find(|(proposal, _)| *proposal == package) {
        let is_offered = import.name == *offered
            || import.name == logging::UNVERSIONED
            || config::OTHER_NAMES.contains(&import.name)
            || keyvalue::NAMES.contains(&import.name);
        return (!is_offered).then(|| format!("this wasmrun offers {offered}: build against that"));
    }
    let is = |minor: &str| version.strip_prefix(minor).is_some_and(|rest| rest.starts_with('.'));
    let advice = match package {
        "wasi:messaging" | "wasi:blobstore" if version == "0.2.0-draft" && DRAFTS.contains(&interface) => {
            return None;
        }
        "wasi:messaging" | "wasi:blobstore" => {
            "of version 0.2.0-draft this wasmrun offers the interfaces as published: build against them"
        }
        "wasmrun:task" => match version {
            "" => "it names no version: build against version 0.1.0",
            _ if is("0.1") => return lacking(import, interface, "0.1.0"),
            _ => "this wasmrun offers version 0.1.0: build against that",
        },
        "fermyon:spin-sqs" if version == "2.0.0" => return None,
        "fermyon:spin-sqs" => "this wasmrun offers version 2.0.0: build against that",
        _ if package.starts_with("fermyon:") || package.starts_with("spin:") => match name_in_package {
            "key-value" => "of Spin: use wasi:keyvalue, granted by --keyvalue",
            "variables" | "config" => "of Spin: use wasi:config, granted by --config-value",
            _ => "of Spin: build without it",
        },
        "wasi:http" if is("0.2") && OFFERED_OF_HTTP.contains(&interface) => return None,
        "wasi:http" => {
            let leave_out = author::advice(author).http;
            return Some(format!("tasks send requests with outgoing-handler of WASI 0.2: {leave_out}"));
        }
        _ if OFFERED.lines().any(|line| line.split('/').next() == Some(package)) => match version {
            _ if is("0.2") => return lacking(import, interface, WASI),
            _ if is("0.3") => "WASI 0.3, with async functions: build the component for WASI 0.2",
            _ => "this wasmrun offers WASI 0.2: build the component for that",
        },
        _ if package.starts_with("wasi:") => "build without it",
        _ => COMPOSE,
    };
    Some(advice.into())
}

/// Says what an interface of an offered version lacks here: a newer version may have more functions.
fn lacking(import: &Import<'_>, interface: &str, version: &str) -> Option<String> {
    let mut lines = OFFERED.lines().map(|line| line.split(' '));
    let Some(offered) = lines.find_map(|mut words| (words.next() == Some(interface)).then_some(words)) else {
        return Some(format!(
            "version {version} of the package, which this wasmrun offers, has no such interface"
        ));
    };
    let functions = &import.contract.as_ref()?.functions;
    let lacking = functions.iter().find(|function| !offered.clone().any(|offered| offered == **function))?;
    let lacking: String = lacking.chars().take(NAME_CHARS).collect();
    Some(format!("this wasmrun offers version {version}, without {lacking}: build against that version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: &str = r#"(instance $h) (export "wasmrun:task/handler@0.1.0" (instance $h))"#;

    fn of(imports: &str, exports: &str) -> Option<String> {
        let bytes = wat::parse_str(format!("(component {imports} {exports})")).expect("a component");
        misfit(&Outline::read(&bytes)?)
    }

    fn import(name: &str) -> String {
        with_function(name, "f")
    }

    fn with_function(name: &str, function: &str) -> String {
        format!(r#"(import "{name}" (instance (export "{function}" (func))))"#)
    }

    #[test]
    fn each_import_that_is_not_offered_is_named_with_what_to_do() {
        let imports = [
            "wasi:http/incoming-handler@0.2.10",
            "wasi:logging/logging@0.2.0",
            "wasi:config/store@0.1.0",
            "wasi:clocks/monotonic-clock@0.3.0",
            "wasmrun:task/message@0.2.0",
            "wasmrun:task/queue",
            "wasi:messaging/consumer@0.2.0-draft",
            "lib:text/upper",
        ];
        let text = of(&imports.map(import).concat(), HANDLER).expect("refused");
        for name in imports {
            assert!(text.contains(name), "{name} in {text}");
        }
        for hint in [
            "send requests with outgoing-handler",
            "logging@0.1.0-draft",
            "store@0.2.0-rc.1",
            "WASI 0.2",
            "offers version 0.1.0",
            "names no version",
            "wac plug",
        ] {
            assert!(text.contains(hint), "{hint} in {text}");
        }
        assert!(!text.contains("more"), "{text}");
    }

    #[test]
    fn a_part_of_a_proposal_that_is_not_offered_is_told_what_is() {
        for name in ["wasi:keyvalue/watcher@0.2.0-draft2", "wasi:keyvalue/store@0.2.0"] {
            let text = of(&import(name), HANDLER).expect("refused");
            assert!(text.contains(name) && text.contains("store, atomics and batch"), "{text}");
        }
    }

    #[test]
    fn what_is_offered_in_some_version_is_no_misfit() {
        let imports = [
            ("wasi:io/streams@0.2.77", "[method]input-stream.read"),
            ("wasi:cli/environment@0.2.0", "get-environment"),
            ("wasmrun:task/message@0.1.7", "[method]message.id"),
            ("wasi:logging/logging@0.1.0-draft", "log"),
            ("wasi:logging/logging", "log"),
            ("wasi:keyvalue/batch@0.2.0-draft", "get-many"),
            ("wasi:keyvalue/atomics@0.2.0-draft2", "increment"),
            ("wasi:config/store@0.2.0-rc.1", "get"),
            ("wasi:config/store@0.2.0-draft", "get"),
            ("wasi:config/runtime@0.2.0-draft", "get"),
            ("wasi:blobstore/types@0.2.0-draft", "x"),
            ("wasi:messaging/producer@0.2.0-draft", "send"),
            ("wasi:http/types@0.2.3", "[constructor]fields"),
            ("wasi:http/outgoing-handler@0.2.12", "handle"),
        ];
        assert_eq!(
            of(&imports.map(|(name, function)| with_function(name, function)).concat(), HANDLER),
            None
        );
        let types = r#"(import "acme:billing/types@1.2.3" (instance (type $t (record (field "x" u8))) (export "t" (type (eq $t)))))"#;
        assert_eq!(of(types, HANDLER), None, "types need no implementation");
    }

    #[test]
    fn a_function_that_only_newer_versions_have_is_named() {
        let of_one = |name, function| of(&with_function(name, function), HANDLER).expect("refused");
        let text = of_one("wasi:clocks/monotonic-clock@0.2.99", "brand-new");
        assert!(
            text.contains("wasi:clocks/monotonic-clock@0.2.99") && text.contains("0.2.12, without brand-new"),
            "{text}"
        );
        let text = of_one("wasi:clocks/timezone@0.2.5", "display");
        assert!(text.contains("no such interface"), "{text}");
        let text = of_one("wasmrun:task/queue@0.1.9", "[method]queue.peek");
        assert!(text.contains("version 0.1.0, without [method]queue.peek"), "{text}");
    }

    #[test]
    fn a_function_and_an_instance_without_an_interface_are_named() {
        let text = of(r#"(import "upper" (func)) (import "tools" (instance (export "f" (func))))"#, HANDLER);
        let text = text.expect("refused");
        assert!(text.contains("upper (a function") && text.contains("tools (compose"), "{text}");
    }

    #[test]
    fn a_label_is_named_with_the_interface_that_it_implements() {
        let import = Import {
            name: "cache",
            implements: Some("wasi:keyvalue/store@0.2.0"),
            kind: ComponentExternalKind::Instance,
            contract: None,
        };
        let text = not_offered(&import, None).expect("refused");
        assert!(text.starts_with("cache (it implements wasi:keyvalue/store@0.2.0 under a label"), "{text}");
    }

    /// With another version of the engine, the list is generated again from its WIT.
    #[test]
    fn what_is_listed_as_offered_is_what_the_host_implements() {
        let engine = wasmtime::Engine::default();
        let mut linker = wasmtime::component::Linker::new(&engine);
        crate::task::host::add_to_linker(&mut linker).expect("linked");
        for line in OFFERED.lines() {
            let (interface, functions) = line.split_once(' ').unwrap_or((line, ""));
            let version = if interface.starts_with("wasi:") { WASI } else { "0.1.0" };
            let mut instance = linker.instance(&format!("{interface}@{version}")).expect("an instance");
            for function in functions.split_whitespace() {
                let defined = instance.func_new(function, |_, _, _, _| Ok(()));
                assert!(defined.is_err(), "{interface} has no {function}");
            }
        }
    }

    /// Returns the line of [`OFFERED`] for the interface of a WIT file that guests import, if it has one.
    fn line_of(wit: &str) -> Option<String> {
        let (mut interface, mut resource, mut functions) = (None, None, Vec::new());
        for line in wit.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("interface ") {
                interface = Some(name.trim_end_matches(" {"));
            } else if let Some(name) = line.strip_prefix("resource ") {
                resource = Some(name.trim_end_matches(" {"));
            } else if let (Some((name, is)), false) = (line.split_once(": "), line.starts_with("//")) {
                match resource {
                    Some(resource) if is.starts_with("static func(") => {
                        functions.push(format!("[static]{resource}.{name}"));
                    }
                    Some(resource) if is.starts_with("func(") => {
                        functions.push(format!("[method]{resource}.{name}"));
                    }
                    None if is.starts_with("func(") => functions.push(name.to_owned()),
                    _ => {}
                }
            } else if line == "}" {
                resource = None;
            }
        }
        // `handler` is what guests export.
        let interface = interface.filter(|name| *name != "handler");
        interface.map(|name| format!("wasmrun:task/{name} {}", functions.join(" ")))
    }

    #[test]
    fn each_function_of_the_wit_package_is_listed_as_offered() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/wit")).expect("a folder");
        let files = files.map(|file| file.expect("a file").path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
        let mut of_wit: Vec<String> =
            files.flat_map(|path| line_of(&std::fs::read_to_string(path).expect("text"))).collect();
        of_wit.sort();
        let listed: Vec<&str> = OFFERED.lines().filter(|line| line.starts_with("wasmrun:task/")).collect();
        assert_eq!(listed, of_wit);
    }

    #[test]
    fn what_an_inner_component_imports_is_its_own_affair() {
        let inner = format!("(component {})", import("wasi:nn/types@0.2.0"));
        assert_eq!(of(&inner, HANDLER), None);
    }

    #[test]
    fn hundreds_of_imports_with_long_names_make_one_bounded_sentence() {
        let long = "x".repeat(2_000);
        let imports: String = (0..400).map(|i| import(&format!("wasi:{long}/i{i}@0.2.0"))).collect();
        let text = of(&imports, HANDLER).expect("refused");
        assert!(text.len() < 2_000, "{}", text.len());
        assert!(text.ends_with("; and 392 more"), "{text}");
    }

    #[test]
    fn damaged_and_truncated_components_are_left_to_the_compiler() {
        let whole = wat::parse_str(format!("(component {} {HANDLER})", import("wasi:nn/types@0.2.0")));
        let whole = whole.expect("a component");
        for end in 0..whole.len() {
            let _ = Outline::read(&whole[..end]).as_ref().and_then(misfit);
            let mut changed = whole.clone();
            changed[end] ^= 0xff;
            let _ = Outline::read(&changed).as_ref().and_then(misfit);
        }
        assert!(Outline::read(b"no component").is_none());
    }
}
