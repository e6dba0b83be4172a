//! What an SVG contains, before anything is drawn: how many elements, each counted as often as it would be drawn, and what
//! this guest doesn't draw. Source: SVG 2, 5.6 (`use`), 13.7 (markers), and 2.6 (references).

use std::collections::HashMap;

use roxmltree::{Document, Node, NodeId};

use crate::links::{Links, Reference, Times, drawn, hrefs, urls};
use crate::refusal::Refusal;
use crate::settings::Settings;

/// How deep elements may be inside each other, with those that they refer to. Drawing goes as deep into the stack.
const MAX_NESTING: usize = 100;
/// How many elements may be added up for each that is allowed. Those of which something was left out are added up again.
const STEPS_PER_ELEMENT: u64 = 10;

/// How long the text may be that entities stand for.
const MAX_EXPANSION: usize = 16 << 20;

/// Memory for an element that is drawn, in bytes, and for each byte of its attributes: a number of two digits becomes a
/// coordinate of four bytes, and is there in a few copies.
const ELEMENT_BYTES: u64 = 2048;
const ATTRIBUTE_BYTES: u64 = 16;

/// Refuses text whose entities stand for much more text, which the parser would put together. Programs that draw use
/// entities for names alone.
pub(crate) fn check_entities(text: &str) -> Result<(), Refusal> {
    let Some(start) = text.find("<!DOCTYPE") else {
        return Ok(());
    };
    let Some(first) = text[start..].find("<!ENTITY") else {
        return Ok(());
    };
    let declarations = &text[start + first..];
    let declarations = &declarations[..declarations.find("]>").unwrap_or(declarations.len())];
    let is_plain = |rest: &str| {
        rest.starts_with('#')
            || ["amp;", "lt;", "gt;", "quot;", "apos;"].iter().any(|name| rest.starts_with(name))
    };
    let references =
        |text: &str| text.match_indices('&').filter(|(at, _)| !is_plain(&text[at + 1..])).count();
    if references(declarations) > 0 || declarations.contains('%') {
        return Err(Refusal::NotSupported("an SVG with entities that contain others".to_owned()));
    }
    if references(text).saturating_mul(declarations.len()) > MAX_EXPANSION {
        return Err(Refusal::NotSupported("an SVG with many uses of long entities".to_owned()));
    }
    Ok(())
}

/// What drawing a part takes.
#[derive(Clone, Copy, Default)]
struct Weight {
    elements: u64,
    bytes: u64,
    nesting: usize,
    /// Points at which the part draws a marker, if it inherits one.
    points: u64,
    /// Shapes that the part paints with a pattern, if it inherits one.
    shapes: u64,
}

/// What is weighed of an element.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    /// What it contains, where it stands.
    Content,
    /// The same where others refer to it, with the markers and patterns that it inherits from the elements around it.
    Referred,
}

struct Survey<'a, 'input> {
    links: Links<'a, 'input>,
    weights: HashMap<(NodeId, Scope), Option<Weight>>,
    /// Number of references that were left out, as what they refer to was being added up.
    left_out: u64,
    /// Number of elements that were added up, some of them more than once.
    steps: u64,
    max_steps: u64,
}

/// Checks that the document may be drawn within bounds. Returns the names of what is left out, each once.
pub(crate) fn check(document: &Document<'_>, settings: &Settings) -> Result<Vec<String>, Refusal> {
    let root = document.root_element();
    if root.tag_name().name() != "svg" {
        return Err(Refusal::NotSupported("an XML document without a picture".to_owned()));
    }
    check_nesting(root)?;
    let unsupported = unsupported(root);
    if !settings.ignores
        && let Some(what) = unsupported.first()
    {
        return Err(Refusal::NotSupported(format!("an SVG with {what}")));
    }
    let mut survey = Survey {
        links: Links::of(root),
        weights: HashMap::new(),
        left_out: 0,
        steps: 0,
        max_steps: settings.max_elements.saturating_mul(STEPS_PER_ELEMENT),
    };
    let weight = survey.content(root, 1)?;
    if weight.elements > settings.max_elements {
        let (found, bound) = (weight.elements, settings.max_elements);
        return Err(Refusal::TooLarge { what: "elements", found, setting: "MAX_ELEMENTS", bound });
    }
    let text = document.input_text().len() as u64 * ATTRIBUTE_BYTES;
    let drawn = weight.bytes.saturating_mul(ATTRIBUTE_BYTES);
    check_memory(drawn.saturating_add(text).saturating_add(weight.elements * ELEMENT_BYTES), settings)?;
    Ok(unsupported)
}

pub(crate) fn check_memory(needed: u64, settings: &Settings) -> Result<(), Refusal> {
    if needed > settings.memory {
        return Err(Refusal::TooLarge {
            what: "MiB to draw",
            found: needed.div_ceil(1 << 20),
            setting: "TASK_MEMORY_MIB",
            bound: settings.memory >> 20,
        });
    }
    Ok(())
}

fn too_deep() -> Refusal {
    Refusal::NotSupported(format!("an SVG of elements nested more than {MAX_NESTING} deep"))
}

/// Without recursion, which is what it protects.
fn check_nesting(root: Node<'_, '_>) -> Result<(), Refusal> {
    let mut level = 1;
    let mut node = root;
    loop {
        if level > MAX_NESTING {
            return Err(too_deep());
        }
        if let Some(child) = node.first_child() {
            (node, level) = (child, level + 1);
            continue;
        }
        loop {
            if node == root {
                return Ok(());
            }
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            let Some(parent) = node.parent() else { return Ok(()) };
            (node, level) = (parent, level - 1);
        }
    }
}

fn unsupported(root: Node<'_, '_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |what: &str| {
        if !found.iter().any(|known| known == what) {
            found.push(what.to_owned());
        }
    };
    for node in root.descendants().filter(Node::is_element) {
        match node.tag_name().name() {
            "text" => add("text, for which there are no fonts"),
            "script" => add("a script"),
            "image" | "feImage" => add("a picture inside"),
            "foreignObject" => add("a foreign object"),
            _ => {}
        }
        if hrefs(node).any(|href| !href.starts_with('#') && !href.starts_with("data:")) {
            add("an external reference");
        }
        for attribute in node.attributes() {
            if attribute.namespace().is_none() && attribute.name().starts_with("on") {
                add("a script");
            }
            if urls(attribute.value()).any(|url| !url.starts_with('#')) {
                add("an external reference");
            }
        }
        if node.tag_name().name() == "style" {
            let css = node.text().unwrap_or_default();
            if css.contains("@import")
                || urls(css).any(|url| !url.starts_with('#') && !url.starts_with("data:"))
            {
                add("an external reference");
            }
        }
    }
    found
}

impl<'a, 'input> Survey<'a, 'input> {
    /// Adds up an element, what it contains, and what it refers to.
    fn content(&mut self, node: Node<'a, 'input>, level: usize) -> Result<Weight, Refusal> {
        if let Some(weight) = self.known(node, Scope::Content, level)? {
            return Ok(weight);
        }
        let left_out = self.left_out;
        let bytes = node.attributes().map(|attribute| attribute.value().len() as u64).sum();
        let (points, shapes) = drawn(node);
        let mut weight = Weight { elements: 1, bytes, nesting: 0, points, shapes };
        for child in node.children().filter(Node::is_element) {
            let part = self.content(child, level + 1)?;
            weight.add_inheriting(part);
        }
        let is_use = node.tag_name().name() == "use";
        for target in self.links.shown(node) {
            if is_use {
                // It inherits from here.
                let part = self.content(target, level + 1)?;
                weight.add_inheriting(part);
            } else {
                let part = self.referred(target, level + 1)?;
                weight.add(part, 1);
            }
        }
        for Reference { target, times, is_own } in self.links.references(node) {
            let inherited = weight.inherited(times);
            if inherited.is_some() && !is_own && self.leaves_out(target) {
                continue;
            }
            let part = self.referred(target, level + 1)?;
            weight.add(part, inherited.unwrap_or(1));
        }
        self.keep(node, Scope::Content, weight, left_out);
        Ok(weight)
    }

    /// Adds up what another element refers to.
    fn referred(&mut self, node: Node<'a, 'input>, level: usize) -> Result<Weight, Refusal> {
        if let Some(weight) = self.known(node, Scope::Referred, level)? {
            return Ok(weight);
        }
        let left_out = self.left_out;
        let mut weight = self.content(node, level)?;
        for ancestor in node.ancestors().skip(1) {
            for Reference { target, times, .. } in self.links.references(ancestor) {
                let times = weight.inherited(times).unwrap_or(0);
                if times > 0 && !self.leaves_out(target) {
                    let part = self.referred(target, level + 1)?;
                    weight.add(part, times);
                }
            }
        }
        self.keep(node, Scope::Referred, weight, left_out);
        Ok(weight)
    }

    /// Whether what is inherited, or set by a style rule, is being added up: it isn't drawn inside of itself.
    fn leaves_out(&mut self, target: Node<'_, '_>) -> bool {
        let is_open = |scope| self.weights.get(&(target.id(), scope)).is_some_and(Option::is_none);
        let leaves_out = is_open(Scope::Content) || is_open(Scope::Referred);
        self.left_out += u64::from(leaves_out);
        leaves_out
    }

    /// Keeps a weight for the next reference, unless something was left out of it that counts elsewhere.
    fn keep(&mut self, node: Node<'_, '_>, scope: Scope, weight: Weight, left_out_before: u64) {
        let key = (node.id(), scope);
        if self.left_out == left_out_before {
            self.weights.insert(key, Some(weight));
        } else {
            self.weights.remove(&key);
        }
    }

    /// Returns the weight, if it is added up already. Otherwise, notes that this has begun.
    fn known(&mut self, node: Node<'_, '_>, scope: Scope, level: usize) -> Result<Option<Weight>, Refusal> {
        let key = (node.id(), scope);
        self.steps += 1;
        if self.steps > self.max_steps {
            return Err(Refusal::NotSupported(
                "an SVG whose markers and patterns inherit each other".to_owned(),
            ));
        }
        match self.weights.get(&key) {
            _ if level > MAX_NESTING => Err(too_deep()),
            Some(Some(weight)) if level + weight.nesting > MAX_NESTING => Err(too_deep()),
            Some(Some(weight)) => Ok(Some(*weight)),
            Some(None) => Err(Refusal::Damaged("its elements refer to each other in a circle".to_owned())),
            None => {
                self.weights.insert(key, None);
                Ok(None)
            }
        }
    }
}

impl Weight {
    fn add(&mut self, part: Weight, times: u64) {
        self.elements = self.elements.saturating_add(part.elements.saturating_mul(times));
        self.bytes = self.bytes.saturating_add(part.bytes.saturating_mul(times));
        self.nesting = self.nesting.max(part.nesting + 1);
    }

    /// Adds a part that inherits from this one.
    fn add_inheriting(&mut self, part: Weight) {
        self.add(part, 1);
        self.points = self.points.saturating_add(part.points);
        self.shapes = self.shapes.saturating_add(part.shapes);
    }

    /// Returns how often the part draws what it inherits, or nothing for what isn't inherited.
    fn inherited(&self, times: Times) -> Option<u64> {
        match times {
            Times::Once => None,
            Times::EachPoint => Some(self.points),
            Times::EachShape => Some(self.shapes),
        }
    }
}
