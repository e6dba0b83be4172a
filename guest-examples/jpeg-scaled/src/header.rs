//! What a file says about its picture before the first scan.

use crate::error::{Error, Result, Unsupported};
use crate::frame::Frame;
use crate::markers::{APP0, APP14, DHT, EOI, Markers, SOS};
use crate::{Chroma, Color, Process, Scale};

/// What a file says about its picture before the first scan. Reading it allocates next to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the components mean.
    pub color: Color,
    pub(crate) frame: Frame,
}

impl Header {
    /// Reads a file up to its first scan.
    ///
    /// # Errors
    ///
    /// The file is not a JPEG, not of a kind that this crate decodes, cut short or damaged.
    pub fn read(file: &[u8]) -> Result<Self> {
        let mut markers = Markers::new(file)?;
        let (mut frame, mut jfif, mut adobe) = (None, false, None);
        loop {
            let segment = markers.next()?;
            match segment.marker {
                // DHP and EXP (B.3.2, B.3.3); SOF55 of JPEG-LS.
                0xde | 0xdf => return Err(Error::Unsupported(Unsupported::Hierarchical)),
                0xf7 => return Err(Error::Unsupported(Unsupported::Lossless)),
                0xc0..=0xcf if segment.marker != DHT => {
                    if frame.is_some() {
                        return Err(segment.damaged("a second frame header"));
                    }
                    frame = Some(Frame::read(&segment)?);
                }
                APP0 if segment.body.starts_with(b"JFIF\0") => jfif = true,
                APP14 if segment.body.starts_with(b"Adobe") => adobe = segment.body.get(11).copied(),
                SOS | EOI => {
                    let frame = frame.ok_or_else(|| segment.damaged("no frame header before this"))?;
                    return Ok(Header { color: color(&frame, jfif, adobe), frame });
                }
                _ => {}
            }
        }
    }

    /// Width at full size in pixels, from 1 to 65,535.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.frame.width
    }

    /// Height at full size in pixels, from 1 to 65,535.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.frame.height
    }

    /// How the picture is coded.
    #[must_use]
    pub fn process(&self) -> Process {
        self.frame.process
    }

    /// Width and height at a scale: full size over 8, 4 or 2, rounded up.
    #[must_use]
    pub fn size(&self, scale: Scale) -> (u32, u32) {
        let divisor = 8 / scale.side();
        (self.frame.width.div_ceil(divisor), self.frame.height.div_ceil(divisor))
    }

    /// Memory that [`decode`](crate::decode) takes at most, in bytes: its result counts, the file doesn't.
    #[must_use]
    pub fn memory_bytes(&self, scale: Scale, chroma: Chroma) -> u64 {
        self.frame.memory_bytes(scale, chroma)
    }
}

/// Decides what three components mean, as libjpeg-turbo does (`default_decompress_parms`): by JFIF, then by Adobe's
/// segment (ITU-T T.872, 6.5.3), then by the components' identifiers.
fn color(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Color {
    if frame.components.len() == 1 {
        return Color::Gray;
    }
    let rgb = match adobe {
        _ if jfif => false,
        Some(transform) => transform == 0,
        None => frame.components.iter().map(|component| component.id).eq(*b"RGB"),
    };
    if rgb { Color::Rgb } else { Color::YCbCr }
}
