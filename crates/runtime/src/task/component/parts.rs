//! Of how many parts a component consists when it starts, and whether its limits allow them.

use super::refusal::LoadError;
use crate::model::limits::{Limit, Limits};
use bytesize::ByteSize;
use std::fmt;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Instance, Payload,
};

/// Maximum number of modules, components and core instances of a component: the engine's own. More are left to the
/// compiler to refuse.
const MOST: usize = 1_000;
/// Maximum depth of components in components.
const DEEPEST: usize = 100;

/// Parts of a component when it starts, and their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Number of core instances, without adapters.
    pub core_instances: u64,
    /// Maximum number of adapters. Where a component is composed of others, the compiler puts these between them, and
    /// each is a core instance, too.
    pub adapters: u64,
    /// Number of memories.
    pub memories: u64,
    /// Bytes of all memories together.
    pub memory_bytes: u64,
    /// Number of tables.
    pub tables: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
}

/// What a component needs of a limit when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The limit, which has the name of its flag.
    pub limit: Limit,
    /// What the component needs.
    pub needed: u64,
    /// What the limit allows.
    pub allowed: u64,
    /// Whether the component needs no more than that.
    pub is_exact: bool,
}

impl Parts {
    fn add(&mut self, other: Self) {
        for (sum, number) in [
            (&mut self.core_instances, other.core_instances),
            (&mut self.adapters, other.adapters),
            (&mut self.memories, other.memories),
            (&mut self.memory_bytes, other.memory_bytes),
            (&mut self.tables, other.tables),
            (&mut self.table_elements, other.table_elements),
        ] {
            *sum = sum.saturating_add(number);
        }
    }

    /// Returns each limit next to what the component needs of it.
    pub fn against(&self, limits: &Limits) -> [Excess; 5] {
        let of = |limit, needed, allowed: usize| Excess {
            limit,
            needed,
            allowed: allowed as u64,
            is_exact: limit != Limit::CoreInstances || self.adapters == 0,
        };
        [
            of(Limit::CoreInstances, self.core_instances, limits.core_instances),
            of(Limit::Memories, self.memories, limits.memories),
            of(Limit::Memory, self.memory_bytes, limits.memory_bytes),
            of(Limit::Tables, self.tables, limits.tables),
            of(Limit::TableElements, self.table_elements, limits.table_elements),
        ]
    }

    /// Refuses a component with more parts than its limits allow.
    ///
    /// # Errors
    ///
    /// Names each limit that it exceeds, and the flag with the value that would do.
    pub fn check(&self, limits: &Limits) -> Result<(), LoadError> {
        let exceeded = self.exceeded(limits);
        if exceeded.is_empty() {
            return Ok(());
        }
        let each: Vec<String> = exceeded.iter().map(ToString::to_string).collect();
        Err(LoadError::Limits(format!("the component has {}", each.join("; and "))))
    }

    /// Returns the limits that the component exceeds.
    fn exceeded(&self, limits: &Limits) -> Vec<Excess> {
        self.against(limits).into_iter().filter(|limit| limit.needed > limit.allowed).collect()
    }

    /// Returns the limits with no more core instances than the component can have: the host's memory is divided by what
    /// a task may take.
    pub(super) fn tighten(&self, limits: Limits) -> Limits {
        let most = usize::try_from(self.core_instances.saturating_add(self.adapters)).unwrap_or(usize::MAX);
        Limits { core_instances: limits.core_instances.min(most.max(1)), ..limits }
    }
}

impl Excess {
    /// Returns the flag with the value that the component needs.
    pub fn flag(&self) -> String {
        match self.limit {
            Limit::Memory if self.needed.is_multiple_of(1 << 20) => {
                format!("--memory {}MiB", self.needed >> 20)
            }
            Limit::Memory => format!("--memory {}KiB", self.needed.div_ceil(1 << 10)),
            limit => format!("--{limit} {}", self.needed),
        }
    }

    /// Returns what the component needs as text, such as `38 core instances`.
    pub fn amount(&self) -> String {
        let number = self.needed;
        let (one, many) = match self.limit {
            Limit::Memory => return format!("{} of memory at the start", ByteSize(number).display().iec()),
            Limit::CoreInstances => ("core instance", "core instances"),
            Limit::Memories => ("memory", "memories"),
            Limit::Tables => ("table", "tables"),
            _ => ("table element at the start", "table elements at the start"),
        };
        format!("{number} {}", if number == 1 { one } else { many })
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = match self.limit {
            Limit::Memory => ByteSize(self.allowed).display().iec().to_string(),
            _ => self.allowed.to_string(),
        };
        let at_least = if self.is_exact { "" } else { "at least " };
        let (amount, flag) = (self.amount(), self.flag());
        write!(f, "{at_least}{amount}, more than the limit of {allowed}: {flag}")
    }
}

/// Counts the parts of a component while it is read.
#[derive(Default)]
pub(super) struct Counter {
    /// The modules and components that are being read, the innermost last.
    frames: Vec<Frame>,
    /// Whether components with code are instantiated in others. Otherwise there are no adapters.
    is_composed: bool,
    total: Option<Parts>,
}

/// A module or component that is being read.
#[derive(Default)]
struct Frame {
    is_module: bool,
    /// The modules and components by their index; `None` for those that are known only when the component is linked.
    modules: Vec<Option<Parts>>,
    components: Vec<Option<Parts>>,
    parts: Parts,
}

impl Counter {
    /// Returns the parts of the whole component.
    pub(super) fn total(self) -> Option<Parts> {
        let total = self.total?;
        let adapters = if self.is_composed { total.adapters } else { 0 };
        (total.core_instances <= MOST as u64).then_some(Parts { adapters, ..total })
    }

    /// Reads the next part of the file. Returns `None` if the parts can't be counted.
    pub(super) fn read(&mut self, payload: &Payload<'_>) -> Option<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                let is_module = *encoding == Encoding::Module;
                let parts = Parts { core_instances: u64::from(is_module), ..Parts::default() };
                self.frames.push(Frame { is_module, parts, ..Frame::default() });
                (self.frames.len() <= DEEPEST).then_some(())
            }
            Payload::End(_) => {
                let ended = self.frames.pop()?;
                match self.frames.last_mut() {
                    None => self.total = Some(ended.parts),
                    Some(outer) if ended.is_module => push(&mut outer.modules, Some(ended.parts))?,
                    Some(outer) => push(&mut outer.components, Some(ended.parts))?,
                }
                Some(())
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias.ok()?)?;
                }
                Some(())
            }
            _ => self.count(payload),
        }
    }

    /// Counts what a section of the innermost module or component adds to it.
    fn count(&mut self, payload: &Payload<'_>) -> Option<()> {
        let frame = self.frames.last_mut()?;
        match payload {
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    let memory = memory.ok()?;
                    let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16))?;
                    let memory_bytes = memory.initial.saturating_mul(page);
                    frame.parts.add(Parts { memories: 1, memory_bytes, ..Parts::default() });
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let table_elements = table.ok()?.ty.initial;
                    frame.parts.add(Parts { tables: 1, table_elements, ..Parts::default() });
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance.ok()? {
                        let module = *frame.modules.get(module_index as usize)?;
                        frame.parts.add(module?);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance.ok()? {
                        let component = (*frame.components.get(component_index as usize)?)?;
                        self.is_composed |= component.core_instances > 0;
                        frame.parts.add(component);
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.clone() {
                    if let CanonicalFunction::Lower { .. } = function.ok()? {
                        frame.parts.adapters = frame.parts.adapters.saturating_add(1);
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    match import.ok()?.ty {
                        ComponentTypeRef::Module(_) => push(&mut frame.modules, None)?,
                        ComponentTypeRef::Component(_) => push(&mut frame.components, None)?,
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.ok()?;
                    frame.again(export.kind, export.index as usize)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Option<()> {
        let known = match *alias {
            ComponentAlias::Outer { kind, count, index } => {
                let outer = self.frames.len().checked_sub(1 + count as usize)?;
                let outer = self.frames.get(outer)?;
                match kind {
                    ComponentOuterAliasKind::CoreModule => (true, *outer.modules.get(index as usize)?),
                    ComponentOuterAliasKind::Component => (false, *outer.components.get(index as usize)?),
                    _ => return Some(()),
                }
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => (true, None),
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => (false, None),
            _ => return Some(()),
        };
        let frame = self.frames.last_mut()?;
        match known {
            (true, parts) => push(&mut frame.modules, parts),
            (false, parts) => push(&mut frame.components, parts),
        }
    }
}

impl Frame {
    /// What is exported has a second index.
    fn again(&mut self, kind: ComponentExternalKind, index: usize) -> Option<()> {
        match kind {
            ComponentExternalKind::Module => {
                let parts = *self.modules.get(index)?;
                push(&mut self.modules, parts)
            }
            ComponentExternalKind::Component => {
                let parts = *self.components.get(index)?;
                push(&mut self.components, parts)
            }
            _ => Some(()),
        }
    }
}

fn push(list: &mut Vec<Option<Parts>>, parts: Option<Parts>) -> Option<()> {
    list.push(parts);
    (list.len() <= MOST).then_some(())
}

#[cfg(test)]
mod tests {
    use super::super::outline::Outline;
    use super::*;

    fn of(text: &str) -> Option<Parts> {
        Outline::read(&wat::parse_str(format!("(component {text})")).expect("a component"))?.parts
    }

    const MODULE: &str = "(core module $m (memory 3) (table 5 funcref))";

    #[test]
    fn what_a_component_instantiates_is_counted_and_not_what_it_only_has() {
        let one = Parts {
            core_instances: 1,
            memories: 1,
            memory_bytes: 3 << 16,
            tables: 1,
            table_elements: 5,
            ..Parts::default()
        };
        assert_eq!(of(MODULE), Some(Parts::default()));
        assert_eq!(of(&format!("{MODULE} (core instance (instantiate $m))")), Some(one));
        // An instance of exports has no code, and an imported memory is another's.
        let borrowed = r#"(core module $b (import "a" "m" (memory 1)))
            (core module $a (memory (export "m") 1)) (core instance $i (instantiate $a))
            (core instance $j (export "m" (memory $i "m"))) (core instance (instantiate $b (with "a" (instance $j))))"#;
        let parts = of(borrowed).expect("counted");
        assert_eq!((parts.core_instances, parts.memories, parts.memory_bytes), (2, 1, 1 << 16));
        let page = "(core module $m (memory 100 (pagesize 1))) (core instance (instantiate $m))";
        assert_eq!(of(page).map(|parts| parts.memory_bytes), Some(100));
    }

    #[test]
    fn components_in_components_count_as_often_as_they_are_instantiated() {
        let nested = |outer: &str| {
            of(&format!(
                "{MODULE} (component $c (alias outer 1 0 (core module $o)) (core instance (instantiate $o)) (core instance (instantiate $o))) {outer}"
            ))
        };
        assert_eq!(nested("").map(|parts| parts.core_instances), Some(0));
        let twice = "(instance (instantiate $c)) (instance (instantiate $c))";
        assert_eq!(nested(twice).map(|parts| (parts.core_instances, parts.memories)), Some((4, 4)));
        let exported = r#"(export $again "c" (component $c)) (instance (instantiate $again))"#;
        assert_eq!(nested(exported).map(|parts| parts.core_instances), Some(2));
    }

    #[test]
    fn what_only_linking_shows_is_not_counted() {
        assert_eq!(of(r#"(import "m" (core module $m)) (core instance (instantiate $m))"#), None);
        assert_eq!(of(r#"(import "c" (component $c)) (instance (instantiate $c))"#), None);
    }

    /// Each level has two instances of the next.
    #[test]
    fn the_number_of_instances_does_not_overflow() {
        let mut text = "(core module $m) (core instance (instantiate $m))".to_owned();
        for _ in 0..80 {
            text = format!("(component $c {text}) (instance (instantiate $c)) (instance (instantiate $c))");
        }
        assert_eq!(of(&text), None);
    }

    fn refused(parts: Parts, limits: &Limits) -> String {
        parts.check(limits).expect_err("refused").to_string()
    }

    #[test]
    fn each_limit_is_named_with_the_value_that_would_do() {
        let parts = Parts { core_instances: 38, memories: 1, memory_bytes: 17 << 20, ..Parts::default() };
        let limits = Limits { core_instances: 16, memory_bytes: 16 << 20, ..Limits::default() };
        assert_eq!(
            refused(parts, &limits),
            "the component has 38 core instances, more than the limit of 16: --core-instances 38; and 17.0 MiB of memory at the start, more than the limit of 16.0 MiB: --memory 17MiB"
        );
        let composed = Parts { adapters: 9, ..parts };
        assert!(refused(composed, &limits).contains("has at least 38 core instances"));
        let exact = Limits { core_instances: 38, memory_bytes: 17 << 20, ..Limits::default() };
        assert_eq!(parts.exceeded(&exact), []);
        let odd = Excess { limit: Limit::Memory, needed: 65_537, allowed: 1, is_exact: true };
        assert_eq!(odd.flag(), "--memory 65KiB");
    }

    #[test]
    fn a_component_takes_no_more_of_the_limit_than_it_can_have() {
        let parts = Parts { core_instances: 4, adapters: 0, ..Parts::default() };
        assert_eq!(parts.tighten(Limits::default()).core_instances, 4);
        assert_eq!(Parts { adapters: 2, ..parts }.tighten(Limits::default()).core_instances, 6);
        let few = Limits { core_instances: 2, ..Limits::default() };
        assert_eq!(parts.tighten(few).core_instances, 2);
        assert_eq!(Parts::default().tighten(Limits::default()).core_instances, 1);
    }
}
