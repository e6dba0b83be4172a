//! Finds by the names of a component's imports, before it is compiled, what wasmrun doesn't offer.
//!
//! Compiling a large component takes half a minute, and the linker names only the first import that it misses. This
//! check reads names alone: types of a component can be nested deeply enough to exhaust the stack, so only the compiling
//! child reads them. Packages that aren't known here are left to the linker, as an import of types alone needs no
//! implementation.

use crate::task::host::{config, keyvalue, logging};
use crate::task::world::World;
use wasmparser::{Parser, Payload};

/// Packages of WASI that the host implements, in version 0.2.
const OFFERED: [&str; 6] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];
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

/// Describes in one sentence each import that isn't offered and what to do about it. Returns `None` if there is none, or
/// if the component exports the handler of no world, which is the first thing to say of it.
pub(super) fn misfit(component: &[u8]) -> Option<String> {
    let mut depth = 0_u32;
    let mut is_for_tasks = false;
    let mut missing: Vec<String> = Vec::new();
    let mut more = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        // The compiler says what is wrong with a component that can't be read.
        match payload.ok()? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    let Some(text) = not_offered(import.ok()?.name.name) else { continue };
                    if missing.len() < MOST_NAMED {
                        missing.push(text);
                    } else {
                        more += 1;
                    }
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    let name = export.ok()?.name.name;
                    is_for_tasks |= World::of([name]).is_some() || name.starts_with("wasi:cli/run@");
                }
            }
            _ => {}
        }
    }
    if missing.is_empty() || !is_for_tasks {
        return None;
    }
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    Some(format!("the component imports what this wasmrun does not offer: {}{more}", missing.join("; ")))
}

/// Says why an import isn't offered, and what to do. Returns `None` if it's offered or unknown.
fn not_offered(name: &str) -> Option<String> {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, _) = interface.split_once('/')?;
    let shown: String = name.chars().take(NAME_CHARS).collect();
    let is = |minor: &str| version.strip_prefix(minor).is_some_and(|rest| rest.starts_with('.'));
    if package == "wasmrun:task" {
        return match version {
            "" => Some(format!("{shown} (it names no version: build against version 0.1.0)")),
            _ if is("0.1") => None,
            _ => Some(format!("{shown} (this wasmrun offers version 0.1.0: build against that)")),
        };
    }
    if package == "fermyon:spin-sqs" {
        return (version != "2.0.0")
            .then(|| format!("{shown} (this wasmrun offers version 2.0.0: build against that)"));
    }
    if package.starts_with("fermyon:") || package.starts_with("spin:") {
        let (_, interface) = interface.split_once('/')?;
        let instead = match interface {
            "key-value" => "of Spin: use wasi:keyvalue, granted by --keyvalue",
            "variables" | "config" => "of Spin: use wasi:config, granted by --config-value",
            _ => "of Spin: build without it",
        };
        return Some(format!("{shown} ({instead})"));
    }
    if !package.starts_with("wasi:") {
        return None;
    }
    if let "wasi:messaging" | "wasi:blobstore" = package {
        let is_offered = version == "0.2.0-draft" && DRAFTS.contains(&interface);
        let versions =
            "of version 0.2.0-draft this wasmrun offers the interfaces as published: build against them";
        return (!is_offered).then(|| format!("{shown} ({versions})"));
    }
    if OFFERED.contains(&package) {
        return match version {
            _ if is("0.2") => None,
            _ if is("0.3") => {
                Some(format!("{shown} (WASI 0.3, with async functions: build the component for WASI 0.2)"))
            }
            _ => Some(format!("{shown} (this wasmrun offers WASI 0.2: build the component for that)")),
        };
    }
    if let Some((_, offered)) = PROPOSALS.iter().find(|(proposal, _)| *proposal == package) {
        let is_offered = name == *offered
            || name == logging::UNVERSIONED
            || config::OTHER_NAMES.contains(&name)
            || keyvalue::NAMES.contains(&name);
        return (!is_offered).then(|| format!("{shown} (this wasmrun offers {offered}: build against that)"));
    }
    let instead = match package {
        "wasi:http" => {
            "tasks have no HTTP: build without it; in JavaScript, disable componentize-js's features http and fetch-event"
        }
        _ => "build without it",
    };
    Some(format!("{shown} ({instead})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: &str = r#"(instance $h) (export "wasmrun:task/handler@0.1.0" (instance $h))"#;

    fn of(imports: &str, exports: &str) -> Option<String> {
        misfit(&wat::parse_str(format!("(component {imports} {exports})")).expect("a component"))
    }

    fn import(name: &str) -> String {
        format!(r#"(import "{name}" (instance (export "f" (func))))"#)
    }

    #[test]
    fn each_import_that_is_not_offered_is_named_with_what_to_do() {
        let imports = [
            "wasi:http/types@0.2.10",
            "wasi:logging/logging@0.2.0",
            "wasi:config/store@0.1.0",
            "wasi:clocks/monotonic-clock@0.3.0",
            "wasi:random/random@0.1.0",
            "wasmrun:task/message@0.2.0",
            "wasmrun:task/queue",
            "fermyon:spin/key-value@2.0.0",
            "wasi:messaging/consumer@0.2.0-draft",
        ];
        let text = of(&imports.map(import).concat(), HANDLER).expect("refused");
        for name in imports {
            assert!(text.contains(name), "{name} in {text}");
        }
        for hint in [
            "fetch-event",
            "logging@0.1.0-draft",
            "store@0.2.0-rc.1",
            "WASI 0.2",
            "offers version 0.1.0",
            "names no version",
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
    fn what_is_offered_or_unknown_is_left_to_the_linker() {
        let imports = [
            "wasi:io/streams@0.2.12",
            "wasi:cli/environment@0.2.0",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:logging/logging",
            "wasi:keyvalue/batch@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:config/store@0.2.0-draft",
            "wasi:config/runtime@0.2.0-draft",
            "wasmrun:task/message@0.1.7",
            "acme:billing/ledger@1.2.3",
            "plain-name",
            "wasi:blobstore/types@0.2.0-draft",
        ];
        assert_eq!(of(&imports.map(import).concat(), HANDLER), None);
    }

    #[test]
    fn what_an_inner_component_imports_is_its_own_affair() {
        let inner = format!("(component {})", import("wasi:http/types@0.2.0"));
        assert_eq!(of(&inner, HANDLER), None);
    }

    #[test]
    fn a_component_of_another_world_is_first_told_its_world() {
        let exports = r#"(instance $h) (export "wasi:http/incoming-handler@0.2.0" (instance $h))"#;
        assert_eq!(of(&import("wasi:http/types@0.2.0"), exports), None);
    }

    #[test]
    fn thousands_of_imports_with_long_names_make_one_bounded_sentence() {
        let long = "x".repeat(2_000);
        let imports: String = (0..5_000).map(|i| import(&format!("wasi:{long}/i{i}@0.2.0"))).collect();
        let text = of(&imports, HANDLER).expect("refused");
        assert!(text.len() < 2_000, "{}", text.len());
        assert!(text.ends_with("; and 4992 more"), "{text}");
    }

    #[test]
    fn damaged_and_truncated_components_are_left_to_the_compiler() {
        let whole = wat::parse_str(format!("(component {} {HANDLER})", import("wasi:http/types@0.2.0")));
        let whole = whole.expect("a component");
        for end in 0..whole.len() {
            let _ = misfit(&whole[..end]);
            let mut changed = whole.clone();
            changed[end] ^= 0xff;
            let _ = misfit(&changed);
        }
        assert_eq!(misfit(b"no component"), None);
    }
}
