//! What an SVG contains, before anything is drawn: how many elements, each counted as often as it would be drawn, and what
//! this guest doesn't draw. Source: SVG 2, 5.6 (`use`), 13.7 (markers), and 2.6 (references).

use std::collections::HashMap;

use roxmltree::{Document, Node, NodeId};

use crate::refusal::Refusal;
use crate::settings::Settings;

/// How deep elements may be inside each other, with those that they refer to. Drawing goes as deep into the stack.
const MAX_NESTING: usize = 100;

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
}

struct Survey<'a, 'input> {
    by_id: HashMap<&'a str, Node<'a, 'input>>,
    weights: HashMap<NodeId, Option<Weight>>,
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
    let mut survey = Survey { by_id: HashMap::new(), weights: HashMap::new() };
    for node in root.descendants() {
        if let Some(id) = node.attribute("id") {
            survey.by_id.entry(id).or_insert(node);
        }
    }
    let weight = survey.weigh(root, 1)?;
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

/// Elements whose `href` shows what it refers to.
const SHOWS: [&str; 9] = [
    "use",
    "pattern",
    "linearGradient",
    "radialGradient",
    "filter",
    "image",
    "feImage",
    "script",
    "textPath",
];

fn href<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    let is_shown = SHOWS.contains(&node.tag_name().name());
    node.attributes()
        .find(|attribute| is_shown && attribute.name() == "href")
        .map(|attribute| attribute.value().trim())
}

/// Returns where each `url(…)` of a value leads.
fn urls(value: &str) -> impl Iterator<Item = &str> {
    value.match_indices("url(").map(move |(at, start)| {
        let rest = &value[at + start.len()..];
        rest[..rest.find(')').unwrap_or(rest.len())].trim().trim_matches(['"', '\'']).trim()
    })
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
        if href(node).is_some_and(|href| !href.starts_with('#') && !href.starts_with("data:")) {
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
    fn weigh(&mut self, node: Node<'a, 'input>, level: usize) -> Result<Weight, Refusal> {
        if level > MAX_NESTING {
            return Err(too_deep());
        }
        match self.weights.get(&node.id()) {
            Some(Some(weight)) if level + weight.nesting > MAX_NESTING => return Err(too_deep()),
            Some(Some(weight)) => return Ok(*weight),
            // It is being added up.
            Some(None) => {
                return Err(Refusal::Damaged("its elements refer to each other in a circle".to_owned()));
            }
            None => {}
        }
        self.weights.insert(node.id(), None);
        let bytes = node.attributes().map(|attribute| attribute.value().len() as u64).sum();
        let mut weight = Weight { elements: 1, bytes, nesting: 0 };
        for child in node.children().filter(Node::is_element) {
            let part = self.weigh(child, level + 1)?;
            weight.add(part, 1);
        }
        let target = |survey: &Self, reference: &str| survey.by_id.get(reference.strip_prefix('#')?).copied();
        if let Some(used) = href(node).and_then(|href| target(self, href)) {
            let part = self.weigh(used, level + 1)?;
            weight.add(part, 1);
        }
        for attribute in node.attributes() {
            let is_style = attribute.name() == "style";
            let is_marker =
                attribute.name().starts_with("marker") || (is_style && attribute.value().contains("marker"));
            // A marker is drawn at each point, which takes two characters or more.
            let points =
                node.attribute("d").or(node.attribute("points")).map_or(1, |data| data.len() as u64 / 2 + 1);
            for url in urls(attribute.value()) {
                if let Some(used) = target(self, url) {
                    let part = self.weigh(used, level + 1)?;
                    weight.add(part, if is_marker { points } else { 1 });
                }
            }
        }
        self.weights.insert(node.id(), Some(weight));
        Ok(weight)
    }
}

impl Weight {
    fn add(&mut self, part: Weight, times: u64) {
        self.elements = self.elements.saturating_add(part.elements.saturating_mul(times));
        self.bytes = self.bytes.saturating_add(part.bytes.saturating_mul(times));
        self.nesting = self.nesting.max(part.nesting + 1);
    }
}
