//! The memory that drawing takes, from the tree of what is drawn: layers of groups, masks, filters and patterns.

use resvg::tiny_skia::Transform;
use resvg::usvg::{Group, Node, Paint};

/// The renderer clips layers to five times the picture each way.
const LARGEST_LAYER: f64 = 25.0;

/// Computes the bytes of layers that are in memory at once.
pub(crate) struct Layers {
    /// Pixels of the result.
    pub(crate) canvas: f64,
    /// Pixels for each unit of the drawing.
    pub(crate) scale: f64,
}

impl Layers {
    pub(crate) fn of_group(&self, group: &Group) -> f64 {
        let own = if group.should_isolate() {
            let bounds = group.abs_layer_bounding_box();
            let side = |length: f32| f64::from(length) * self.scale + 5.0;
            let pixels = (side(bounds.width()) * side(bounds.height())).min(self.canvas * LARGEST_LAYER);
            // Each primitive of a filter keeps its result.
            let primitives =
                group.filters().iter().map(|filter| filter.primitives().len() + 4).max().unwrap_or(0);
            let masks = 2 * (usize::from(group.mask().is_some()) + usize::from(group.clip_path().is_some()));
            pixels * 4.0 * (1 + primitives + masks) as f64
        } else {
            0.0
        };
        let of_mask = group.mask().map_or(0.0, |mask| self.of_group(mask.root()));
        let children = group.children().iter().map(|node| self.of_node(node)).fold(of_mask, f64::max);
        own + children
    }

    fn of_node(&self, node: &Node) -> f64 {
        match node {
            Node::Group(group) => self.of_group(group),
            Node::Path(path) => {
                let transform = path.abs_transform();
                let paints =
                    [path.fill().map(|fill| fill.paint()), path.stroke().map(|stroke| stroke.paint())];
                let patterns = paints.into_iter().flatten().map(|paint| self.of_paint(paint, transform));
                patterns.fold(0.0, f64::max)
            }
            // Neither is drawn.
            Node::Image(_) | Node::Text(_) => 0.0,
        }
    }

    fn of_paint(&self, paint: &Paint, transform: Transform) -> f64 {
        let Paint::Pattern(pattern) = paint else {
            return 0.0;
        };
        let (x, y) = transform.pre_concat(pattern.transform()).get_scale();
        let (width, height) = (f64::from(pattern.rect().width()), f64::from(pattern.rect().height()));
        let pixels = width * f64::from(x) * self.scale * height * f64::from(y) * self.scale;
        pixels * 4.0 + self.of_group(pattern.root())
    }
}
