//! The size of a result, and the part of the picture that it shows.

/// How a picture fits into a width and a height. These are the meanings of sharp and of CSS `object-fit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The whole picture, with its proportions, on a background that fills the rest.
    Contain,
    /// A part of the picture, with its proportions, that fills the size. [`Gravity`] chooses the part.
    Cover,
    /// The whole picture, with its proportions, as large as fits. No background is added.
    Inside,
    /// The whole picture, with its proportions, as small as covers the size.
    Outside,
    /// The whole picture, stretched to the size.
    Fill,
}

/// Which part a picture keeps with [`Fit::Cover`], and where it lies on its background with [`Fit::Contain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    Centre,
    North,
    NorthEast,
    East,
    SouthEast,
    South,
    SouthWest,
    West,
    NorthWest,
    /// The part with most edges, saturated colours and skin. For a background it is the centre.
    Attention,
}

impl Gravity {
    /// Returns where the kept part starts if `spare` pixels are left out, across and down. The centre rounds down.
    pub(crate) fn offset(self, spare: (u32, u32)) -> (u32, u32) {
        use Gravity::*;
        let x = match self {
            NorthWest | West | SouthWest => 0,
            North | Centre | South | Attention => spare.0 / 2,
            NorthEast | East | SouthEast => spare.0,
        };
        let y = match self {
            NorthWest | North | NorthEast => 0,
            West | Centre | East | Attention => spare.1 / 2,
            SouthWest | South | SouthEast => spare.1,
        };
        (x, y)
    }
}

/// The size and the crop of a result. Sides are those of the upright picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Width in pixels. Without it, it follows from the height, or is the picture's.
    pub width: Option<u32>,
    /// Height in pixels. Without it, it follows from the width, or is the picture's.
    pub height: Option<u32>,
    pub fit: Fit,
    pub gravity: Gravity,
    /// Whether a smaller picture grows. Without it, it keeps its pixels, and is only cropped or laid on a background.
    pub enlarge: bool,
    /// Whether to resize amounts of light instead of sRGB's numbers. Fine patterns keep their brightness. It takes about
    /// three times the memory, and a JPEG is decoded at its full size.
    pub linear: bool,
    /// The colour of what [`Fit::Contain`] adds: red, green, blue and alpha in sRGB.
    pub background: [u8; 4],
}

/// What a shape makes of a picture of a certain size, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The whole picture's size after resizing.
    pub(crate) scaled: (u32, u32),
    /// The part of it that is kept.
    pub(crate) kept: (u32, u32),
    /// The size of the result, which a background fills where the kept part doesn't.
    pub(crate) canvas: (u32, u32),
}

impl Shape {
    /// Returns what the shape makes of an upright picture of this size. Sides are rounded to the nearest pixel, and are
    /// at least one pixel long.
    pub(crate) fn plan(&self, full: (u32, u32)) -> Plan {
        let (full_width, full_height) = (full.0.max(1), full.1.max(1));
        let full = (full_width, full_height);
        let whole = |scaled| Plan { scaled, kept: scaled, canvas: scaled };
        let by_width = |width: u32| (width, scaled(full_height, width, full_width));
        let by_height = |height: u32| (scaled(full_width, height, full_height), height);
        let allowed = |size: (u32, u32)| {
            if self.enlarge { size } else { (size.0.min(full_width), size.1.min(full_height)) }
        };
        let (width, height) = match (self.width, self.height) {
            (None, None) => return whole(full),
            (Some(width), None) if self.fit == Fit::Fill => return whole(allowed((width, full_height))),
            (None, Some(height)) if self.fit == Fit::Fill => return whole(allowed((full_width, height))),
            (Some(width), None) => return whole(allowed(by_width(width))),
            (None, Some(height)) => return whole(allowed(by_height(height))),
            (Some(width), Some(height)) => (width, height),
        };
        // Which side is reached first when the picture grows from nothing.
        let is_wider = u64::from(full_width) * u64::from(height) >= u64::from(full_height) * u64::from(width);
        let inner = allowed(if is_wider { by_width(width) } else { by_height(height) });
        let outer = allowed(if is_wider { by_height(height) } else { by_width(width) });
        match self.fit {
            Fit::Fill => whole(allowed((width, height))),
            Fit::Inside => whole(inner),
            Fit::Outside => whole(outer),
            Fit::Contain => Plan { scaled: inner, kept: inner, canvas: (width, height) },
            Fit::Cover => {
                let kept = (outer.0.min(width), outer.1.min(height));
                Plan { scaled: outer, kept, canvas: kept }
            }
        }
    }

    /// Returns the size of what the shape makes of a picture of this size.
    pub fn size(&self, full: (u32, u32)) -> (u32, u32) {
        self.plan(full).canvas
    }

    /// Returns a size that each step of making the shape fits into.
    pub(crate) fn largest(&self, full: (u32, u32)) -> (u32, u32) {
        let Plan { kept, canvas, .. } = self.plan(full);
        (kept.0.max(canvas.0), kept.1.max(canvas.1))
    }

    /// Returns how many bytes of each decoded pixel are copied while resizing.
    pub(crate) fn copied_bytes(&self, channels: usize) -> u64 {
        let channels = channels as u64;
        match channels {
            // Converted to sRGB twice over, and sixteen bits of each channel.
            _ if self.linear => 5 * channels,
            // Multiplied by alpha.
            2 | 4 => channels,
            _ => 0,
        }
    }
}

/// Returns `side * numerator / denominator`, rounded to the nearest whole number, and at least one.
fn scaled(side: u32, numerator: u32, denominator: u32) -> u32 {
    let (side, numerator, denominator) = (u64::from(side), u64::from(numerator), u64::from(denominator));
    let scaled = (side * numerator + denominator / 2) / denominator.max(1);
    scaled.clamp(1, u64::from(u32::MAX)) as u32
}

/// Returns the length of the longer side that these shapes need of an upright picture of this size.
pub(crate) fn needed_side<'a>(full: (u32, u32), shapes: impl IntoIterator<Item = &'a Shape>) -> u32 {
    let longer = full.0.max(full.1);
    let needed = |shape: &Shape| {
        if shape.linear {
            return longer;
        }
        let (width, height) = shape.plan(full).scaled;
        let side = match shape.fit {
            // Each side has a scale of its own. Rounded up, so that neither is too small.
            Fit::Fill => {
                let of =
                    |to: u32, from: u32| (u64::from(to) * u64::from(longer)).div_ceil(u64::from(from.max(1)));
                of(width, full.0).max(of(height, full.1))
            }
            _ => u64::from(width.max(height)),
        };
        side.min(u64::from(longer)) as u32
    };
    shapes.into_iter().map(needed).max().unwrap_or(1).max(1)
}
