//! Checks the length of the names in a component. A trap's backtrace copies the name of each frame, and twenty copies
//! of a name of twenty megabytes are more than a task may make the host hold.

use wasmparser::{KnownCustom, Name, Parser, Payload};

/// Longest acceptable name. No compiler makes longer ones: the deepest generics in Rust take some kilobytes.
const LONGEST: usize = 8 << 10;

/// Returns whether all names are short enough for the backtraces of traps.
pub(crate) fn are_short(component: &[u8]) -> bool {
    let names = Parser::new(0).parse_all(component).map(|payload| match payload {
        Ok(Payload::CustomSection(section)) => match section.as_known() {
            KnownCustom::Name(mut names) => names.all(|name| name.is_ok_and(|name| is_short(&name))),
            _ => true,
        },
        other => other.is_ok(),
    });
    names.into_iter().all(|short| short)
}

fn is_short(name: &Name<'_>) -> bool {
    match name {
        Name::Module { name, .. } => name.len() <= LONGEST,
        Name::Function(names) => {
            names.clone().into_iter().all(|naming| naming.is_ok_and(|naming| naming.name.len() <= LONGEST))
        }
        // The engine doesn't read the other names.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Vec<u8> {
        let text = format!("(component (component (core module (func ${name}))))");
        wat::parse_str(text).expect("a component")
    }

    #[test]
    fn a_name_that_no_compiler_makes_is_found_however_deep() {
        assert!(are_short(&named("f")));
        assert!(are_short(&named(&"f".repeat(LONGEST))));
        assert!(!are_short(&named(&"f".repeat(LONGEST + 1))));
        assert!(!are_short(b"no component"));
    }

    #[test]
    fn a_section_of_names_that_breaks_off_is_not_believed() {
        let long = named(&"f".repeat(LONGEST + 1));
        for end in (0..long.len()).step_by(97) {
            assert!(!are_short(&long[..end]));
        }
    }
}
