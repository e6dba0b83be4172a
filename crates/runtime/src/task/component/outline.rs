//! Reads from a component's file, before it is compiled, what it imports and exports, of how many parts it consists, and
//! in which language it was written.
//!
//! Nothing here decides whether a component is valid: the compiler does. What can't be read is left out.

use super::author::{Author, Traces};
use super::parts::{Counter, Parts};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    ComponentTypeSectionReader, Encoding, InstanceTypeDeclaration, Parser, Payload, TypeBounds,
};

/// Maximum number of a component's types that are read.
const MOST_TYPES: usize = 100_000;
/// Maximum number of imports and of exports that are read, and of functions of one instance. More are left to the
/// compiler, which reads them in a confined process: each import has a copy of what it must have.
const MOST_NAMES: usize = 500;
/// Maximum number of types in types of one section: their reader recurses.
const MOST_NESTED: usize = 500;
/// First bytes of the type of a component and of an instance, which hold other types.
const NESTING: [u8; 2] = [0x41, 0x42];

/// What a component's file says of it.
#[derive(Debug, Default)]
pub(super) struct Outline<'a> {
    /// Whether it is a core module and no component.
    pub(super) is_module: bool,
    /// In the file's order.
    pub(super) imports: Vec<Import<'a>>,
    /// In the file's order.
    pub(super) exports: Vec<(&'a str, ComponentExternalKind)>,
    /// `None` if they are known only when the component is linked.
    pub(super) parts: Option<Parts>,
    /// In which language it was written, if its tools say that.
    pub(super) author: Option<Author>,
}

/// An import of a component.
#[derive(Debug)]
pub(super) struct Import<'a> {
    pub(super) name: &'a str,
    /// The interface that an import with a label implements.
    pub(super) implements: Option<&'a str>,
    pub(super) kind: ComponentExternalKind,
    /// What an instance must have. `None` if that wasn't read.
    pub(super) contract: Option<Contract<'a>>,
}

/// What an imported instance must have, in addition to types.
#[derive(Clone, Debug, Default)]
pub(super) struct Contract<'a> {
    pub(super) functions: Vec<&'a str>,
    pub(super) has_resources: bool,
}

/// The types of the outermost component by their index, as far as they are read: only those of instances.
#[derive(Default)]
struct Types<'a> {
    known: Vec<Option<Contract<'a>>>,
    /// Whether the next indices aren't known, as something was left out.
    is_lost: bool,
}

impl<'a> Outline<'a> {
    /// Reads a component or a core module. Returns `None` if it can't be read.
    pub(super) fn read(file: &'a [u8]) -> Option<Self> {
        let mut outline = Self::default();
        let mut types = Types::default();
        let mut counter = Some(Counter::default());
        let mut traces = Traces::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(file) {
            let payload = payload.ok()?;
            match &payload {
                Payload::Version { encoding, .. } => {
                    outline.is_module |= depth == 0 && *encoding == Encoding::Module;
                    depth += 1;
                }
                Payload::End(_) => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 1 {
                outline.interfaces(file, &payload, &mut types)?;
            }
            traces.read(&payload);
            counter = counter.and_then(|mut counter| counter.read(&payload).map(|()| counter));
        }
        outline.parts = counter.and_then(Counter::total);
        outline.author = traces.author();
        Some(outline)
    }

    /// Reads a section of the outermost component.
    fn interfaces(&mut self, file: &[u8], payload: &Payload<'a>, types: &mut Types<'a>) -> Option<()> {
        match payload {
            Payload::ComponentTypeSection(section) => {
                types.read(file.get(section.range())?, section)?;
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    if let ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
                    | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } = alias.ok()?
                    {
                        types.push(None);
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import.ok()?;
                    let contract = match import.ty {
                        ComponentTypeRef::Instance(index) => types.get(index),
                        _ => None,
                    };
                    let (name, kind) = (import.name, import.ty.kind());
                    if kind == ComponentExternalKind::Type {
                        types.push(None);
                    }
                    if self.imports.len() == MOST_NAMES {
                        return None;
                    }
                    self.imports.push(Import {
                        name: name.name,
                        implements: name.implements,
                        kind,
                        contract,
                    });
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.ok()?;
                    if export.kind == ComponentExternalKind::Type {
                        types.push(None);
                    }
                    if self.exports.len() == MOST_NAMES {
                        return None;
                    }
                    self.exports.push((export.name.name, export.kind));
                }
            }
            _ => {}
        }
        Some(())
    }
}

impl<'a> Types<'a> {
    /// Reads a section of types, whose bytes are these.
    fn read(&mut self, bytes: &[u8], section: &ComponentTypeSectionReader<'a>) -> Option<()> {
        if bytes.iter().filter(|byte| NESTING.contains(byte)).count() > MOST_NESTED {
            self.is_lost = true;
            return Some(());
        }
        for ty in section.clone() {
            let contract = contract(ty.ok()?);
            if contract.as_ref().is_some_and(|contract| contract.functions.len() > MOST_NAMES) {
                return None;
            }
            self.push(contract);
        }
        Some(())
    }

    fn push(&mut self, contract: Option<Contract<'a>>) {
        self.is_lost |= self.known.len() == MOST_TYPES;
        if !self.is_lost {
            self.known.push(contract);
        }
    }

    fn get(&self, index: u32) -> Option<Contract<'a>> {
        self.known.get(index as usize)?.clone()
    }
}

/// Returns what the type of an instance asks for, and `None` for another type.
fn contract(ty: ComponentType<'_>) -> Option<Contract<'_>> {
    let ComponentType::Instance(declarations) = ty else { return None };
    let mut contract = Contract::default();
    for declaration in &declarations {
        let InstanceTypeDeclaration::Export { name, ty } = declaration else { continue };
        match ty {
            ComponentTypeRef::Type(TypeBounds::Eq(_)) => {}
            ComponentTypeRef::Func(_) if contract.functions.len() <= MOST_NAMES => {
                contract.functions.push(name.name);
            }
            ComponentTypeRef::Func(_) => {}
            _ => contract.has_resources = true,
        }
    }
    Some(contract)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contracts_of(text: &str) -> Vec<Option<(Vec<String>, bool)>> {
        let bytes = wat::parse_str(format!("(component {text})")).expect("a component");
        let outline = Outline::read(&bytes).expect("read");
        let owned = |contract: Contract<'_>| {
            (contract.functions.iter().map(ToString::to_string).collect(), contract.has_resources)
        };
        outline.imports.into_iter().map(|import| import.contract.map(owned)).collect()
    }

    #[test]
    fn what_each_imported_instance_must_have_is_read() {
        let contracts = contracts_of(
            r#"(import "a:b/types" (instance $types (type $t' (record (field "x" u8))) (export "t" (type $t (eq $t')))))
            (alias export $types "t" (type $t))
            (import "a:b/calls" (instance (alias outer 1 $t (type $t)) (export "u" (type (eq $t))) (export "f" (func)) (export "r" (type (sub resource)))))
            (import "g" (func))"#,
        );
        assert_eq!(contracts, [Some((vec![], false)), Some((vec!["f".to_owned()], true)), None]);
    }

    #[test]
    fn a_file_with_very_many_names_is_left_to_the_compiler() {
        let read = |text: String| {
            Outline::read(&wat::parse_str(format!("(component {text})")).expect("text")).is_some()
        };
        let functions = |number: usize| -> String {
            let exports: String =
                (0..number).map(|number| format!(r#"(export "f{number}" (func))"#)).collect();
            format!(r#"(import "a:b/c" (instance {exports}))"#)
        };
        let imports =
            |number: usize| (0..number).map(|number| format!(r#"(import "f{number}" (func))"#)).collect();
        assert!(read(functions(MOST_NAMES)) && read(imports(MOST_NAMES)));
        assert!(!read(functions(MOST_NAMES + 1)) && !read(imports(MOST_NAMES + 1)));
    }

    /// The reader of types recurses.
    #[test]
    fn types_that_are_nested_too_deeply_are_not_read() {
        let nested = |depth| {
            let (open, close) = ("(type (instance ".repeat(depth), "))".repeat(depth));
            contracts_of(&format!(r#"{open}{close} (import "a:b/c" (instance (export "f" (func))))"#))
        };
        assert_eq!(nested(10), [Some((vec!["f".to_owned()], false))]);
        let many = "(type (instance))".repeat(MOST_NESTED + 1);
        assert_eq!(
            contracts_of(&format!(r#"{many} (import "a:b/c" (instance (export "f" (func))))"#)),
            [None]
        );
    }
}
