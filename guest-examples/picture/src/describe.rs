//! Describes a picture: what its file says, and what its pixels show.

use crate::background::rgba;
use crate::encode::Rights;
use crate::exif::{self, tag};
use crate::format::Format;
use crate::ifd::{Block, Directory};
use crate::picture::Picture;
use crate::refusal::Refusal;
use crate::shape::{Fit, Gravity, Shape};
use crate::{boxes, frames, jpeg, png, thumbhash, webp, xmp};

/// What a file says about its picture, apart from the pixels. Texts have at most 256 bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Name of the format, such as `jpeg`.
    pub format: &'static str,
    /// Number of frames of an animation, or of pages of a document. At most 65,535 are counted.
    pub frames: u32,
    /// When the picture was taken, in the camera's time: `2026-11-28T12:34:56`, with an offset if the camera knew it.
    pub taken: Option<String>,
    /// The camera's maker and model.
    pub camera: Option<(String, String)>,
    /// Latitude and longitude in degrees, north and east positive.
    pub location: Option<(f64, f64)>,
    /// Who owns the picture, and who made it.
    pub rights: Rights,
}

/// Reads what a file says about its picture. What can't be read is left out. Where the picture was taken isn't decoded
/// unless it is asked for.
pub fn metadata(content: &[u8], with_location: bool) -> Metadata {
    let format = Format::of(content);
    let (exif, xmp) = blocks(content, format);
    // A TIFF is such a block itself.
    let block = if format == Format::Tiff { Some(content) } else { exif.as_deref() };
    let first = block.and_then(Block::of).and_then(Block::first);
    let text = |tag| first.and_then(|first: Directory<'_>| first.text(tag));
    let taken = first.and_then(|first| first.inner(tag::EXIF)).and_then(|inner| {
        exif::time(&inner.text(tag::DATE_TAKEN)?, inner.text(tag::OFFSET_TAKEN).as_deref())
    });
    let camera = match (text(tag::MAKE), text(tag::MODEL)) {
        (None, None) => None,
        (make, model) => Some((make.unwrap_or_default(), model.unwrap_or_default())),
    };
    let location = if with_location { first.and_then(location) } else { None };
    let property = |name| xmp.as_deref().and_then(|packet| xmp::property(packet, name));
    let rights = Rights {
        copyright: text(tag::COPYRIGHT).or_else(|| property("dc:rights")),
        creator: text(tag::ARTIST).or_else(|| property("dc:creator")),
    };
    Metadata {
        format: format.name(),
        frames: frames::count(content, format),
        taken,
        camera,
        location,
        rights,
    }
}

/// Returns the file's EXIF block and XMP packet.
fn blocks(content: &[u8], format: Format) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    match format {
        Format::Jpeg => jpeg::blocks(content),
        Format::Png => png::blocks(content),
        Format::WebP => webp::blocks(content),
        Format::JpegXl => boxes::blocks(content),
        Format::Tiff => {
            let xmp = Block::of(content).and_then(Block::first).and_then(|first| first.field(tag::XMP));
            (None, xmp.map(|field| field.bytes.to_vec()))
        }
        _ => (None, None),
    }
}

fn location(first: Directory<'_>) -> Option<(f64, f64)> {
    let gps = first.inner(tag::GPS)?;
    let latitude = gps.degrees(tag::LATITUDE, b'S', 90.0)?;
    let longitude = gps.degrees(tag::LONGITUDE, b'W', 180.0)?;
    Some((latitude, longitude))
}

/// What a picture's pixels show, in a few bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Width of the upright picture in pixels, as the file's header states it.
    pub width: u32,
    /// Height of the upright picture in pixels.
    pub height: u32,
    /// How the file's pixels have to be turned, as EXIF numbers it: 1 is upright.
    pub orientation: u8,
    /// Whether the picture has a channel for transparency.
    pub has_alpha: bool,
    /// The most frequent colour: red, green and blue in sRGB.
    pub dominant: [u8; 3],
    /// The ThumbHash, a blurred preview of about 25 bytes.
    pub thumbhash: Vec<u8>,
}

impl Picture {
    /// Describes the picture.
    ///
    /// # Errors
    ///
    /// When the pixels don't fill the picture.
    pub fn described(&self) -> Result<Description, Refusal> {
        let (width, height) = self.orientation.turned(self.full);
        let side = Some(thumbhash::MAX_SIDE);
        let small = self.rendered(&Shape {
            width: side,
            height: side,
            fit: Fit::Inside,
            gravity: Gravity::Centre,
            enlarge: false,
            linear: false,
            background: [0; 4],
        })?;
        Ok(Description {
            width,
            height,
            orientation: self.orientation.number(),
            has_alpha: self.layout.has_alpha(),
            dominant: dominant(&small),
            thumbhash: thumbhash::of(&small),
        })
    }
}

/// Sorts pixels by their colours into 4,096 boxes, and returns the average of the fullest, as sharp does. Transparent
/// pixels count less.
fn dominant(picture: &Picture) -> [u8; 3] {
    // Weight, and red, green and blue times weight.
    let mut boxes = vec![[0_u64; 4]; 4096];
    for pixel in picture.pixels.chunks_exact(picture.layout.channels()) {
        let [red, green, blue, alpha] = rgba(picture.layout, pixel);
        let [x, y, z] = [red, green, blue].map(|value| usize::from(value >> 4));
        let weighted = [255, red, green, blue].map(|value| u64::from(value) * u64::from(alpha));
        for (sum, value) in boxes[x << 8 | y << 4 | z].iter_mut().zip(weighted) {
            *sum += value;
        }
    }
    // Of equally full boxes the first.
    let fullest = boxes.into_iter().rev().max_by_key(|sums| sums[0]).unwrap_or_default();
    let [weight, red, green, blue] = fullest;
    let weight = weight / 255;
    [red, green, blue].map(|sum| (sum + weight / 2).checked_div(weight).unwrap_or(0) as u8)
}
