//! What elements refer to: by `href`, and by attributes, styles and the style rules that match them. Source: SVG 2, 2.6
//! (references), 6.3 (styles), 11.6 (markers).

use std::collections::HashMap;

use roxmltree::Node;
use simplecss::{AttributeOperator, DeclarationTokenizer, Element, PseudoClass, Rule, StyleSheet};

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

/// Returns where an element's `href` leads, in each of its namespaces: which of them counts is the renderer's choice.
pub(crate) fn hrefs<'a>(node: Node<'a, '_>) -> impl Iterator<Item = &'a str> {
    let is_shown = SHOWS.contains(&node.tag_name().name());
    node.attributes()
        .filter(move |attribute| is_shown && attribute.name() == "href")
        .map(|attribute| attribute.value().trim())
}

/// Returns where each `url(…)` of a value leads.
pub(crate) fn urls(value: &str) -> impl Iterator<Item = &str> {
    value.match_indices("url(").map(move |(at, start)| {
        let rest = &value[at + start.len()..];
        rest[..rest.find(')').unwrap_or(rest.len())].trim().trim_matches(['"', '\'']).trim()
    })
}

/// Returns at how many points an element draws a marker, and how many shapes it paints.
pub(crate) fn drawn(node: Node<'_, '_>) -> (u64, u64) {
    // A point takes two characters or more.
    let points = |name| node.attribute(name).map_or(0, |data| data.len() as u64 / 2 + 1);
    match node.tag_name().name() {
        "path" => (points("d"), 1),
        "polyline" | "polygon" => (points("points"), 1),
        "line" => (2, 1),
        "rect" | "circle" | "ellipse" => (0, 1),
        _ => (0, 0),
    }
}

/// How often an element draws what it refers to. Markers and patterns are inherited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Once,
    /// A marker at each point.
    EachPoint,
    /// A pattern in each shape, or a marker at one of its ends.
    EachShape,
}

/// What an element refers to.
pub(crate) struct Reference<'a, 'input> {
    pub(crate) target: Node<'a, 'input>,
    pub(crate) times: Times,
    /// Whether the element itself says so, and not a style rule.
    pub(crate) is_own: bool,
}

/// All that elements can refer to.
pub(crate) struct Links<'a, 'input> {
    by_id: HashMap<&'a str, Node<'a, 'input>>,
    /// Style rules that refer to something.
    rules: Vec<Rule<'a>>,
}

impl<'a, 'input> Links<'a, 'input> {
    pub(crate) fn of(root: Node<'a, 'input>) -> Self {
        let mut by_id = HashMap::new();
        let mut styles = StyleSheet::new();
        for node in root.descendants() {
            if let Some(id) = node.attribute("id") {
                by_id.entry(id).or_insert(node);
            }
            if node.tag_name().name() == "style" {
                styles.parse_more(node.text().unwrap_or_default());
            }
        }
        let refers = |rule: &Rule<'_>| rule.declarations.iter().any(|style| style.value.contains("url("));
        styles.rules.retain(refers);
        Links { by_id, rules: styles.rules }
    }

    fn target(&self, reference: &str) -> Option<Node<'a, 'input>> {
        self.by_id.get(reference.strip_prefix('#')?).copied()
    }

    /// Returns what an element's `href` shows.
    pub(crate) fn shown(&self, node: Node<'a, 'input>) -> Vec<Node<'a, 'input>> {
        hrefs(node).filter_map(|href| self.target(href)).collect()
    }

    /// Returns what an element's attributes and styles refer to. Of styles for the same property each counts.
    pub(crate) fn references(&self, node: Node<'a, 'input>) -> Vec<Reference<'a, 'input>> {
        let mut found = Vec::new();
        let mut add = |property: &str, value: &str, is_own: bool| {
            for target in urls(value).filter_map(|url| self.target(url)) {
                let times = match property {
                    "marker" | "marker-mid" => Times::EachPoint,
                    "marker-start" | "marker-end" => Times::EachShape,
                    "fill" | "stroke" if target.tag_name().name() == "pattern" => Times::EachShape,
                    _ => Times::Once,
                };
                found.push(Reference { target, times, is_own });
            }
        };
        for attribute in node.attributes() {
            if attribute.name() == "style" {
                DeclarationTokenizer::from(attribute.value())
                    .for_each(|style| add(style.name, style.value, true));
            } else {
                add(attribute.name(), attribute.value(), true);
            }
        }
        for rule in self.rules.iter().filter(|rule| rule.selector.matches(&Matched(node))) {
            rule.declarations.iter().for_each(|style| add(style.name, style.value, false));
        }
        found
    }
}

/// An element, as selectors look at it.
struct Matched<'a, 'input>(Node<'a, 'input>);

impl Element for Matched<'_, '_> {
    fn parent_element(&self) -> Option<Self> {
        self.0.parent_element().map(Matched)
    }

    fn prev_sibling_element(&self) -> Option<Self> {
        self.0.prev_sibling_element().map(Matched)
    }

    fn has_local_name(&self, name: &str) -> bool {
        self.0.tag_name().name() == name
    }

    fn attribute_matches(&self, name: &str, operator: AttributeOperator<'_>) -> bool {
        self.0.attribute(name).is_some_and(|value| operator.matches(value))
    }

    fn pseudo_class_matches(&self, class: PseudoClass<'_>) -> bool {
        matches!(class, PseudoClass::FirstChild) && self.prev_sibling_element().is_none()
    }
}
