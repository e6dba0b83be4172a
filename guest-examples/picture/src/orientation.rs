//! How a picture is to be turned, from each place where files say so.

use crate::exif::tag;
use crate::ifd::Block;
use crate::xmp;

/// How a camera was held, as EXIF numbers it: 1 is upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation(pub(crate) u8);

impl Orientation {
    pub const UPRIGHT: Orientation = Orientation(1);

    /// Returns the size that a picture stored with this size has upright, or the other way around.
    pub(crate) fn turned(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.0 >= 5 { (height, width) } else { (width, height) }
    }

    /// Returns the number that EXIF has for it, 1 to 8.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Chooses between what a file says in several places. EXIF is what cameras write, and counts first.
    pub(crate) fn choose(exif: Option<&[u8]>, xmp: Option<&[u8]>, others: Option<&[u8]>) -> Self {
        exif.and_then(Self::from_exif)
            .or_else(|| xmp.and_then(Self::from_xmp))
            .or_else(|| others.and_then(Self::from_exif))
            .unwrap_or(Self::UPRIGHT)
    }

    /// Returns the orientation that this number stands for. Source: TIFF 6.0, section 8.
    pub(crate) fn of(value: u64) -> Option<Self> {
        match value {
            1..=8 => Some(Orientation(value as u8)),
            _ => None,
        }
    }

    /// Reads the orientation from a TIFF block, as EXIF contains it.
    pub(crate) fn from_exif(block: &[u8]) -> Option<Self> {
        Block::of(block)?.first()?.number(tag::ORIENTATION).and_then(Self::of)
    }

    /// Reads `tiff:Orientation` from an XMP packet, as an attribute or as an element. Source: ISO 16684-1, 7.4 and 8.
    pub(crate) fn from_xmp(packet: &[u8]) -> Option<Self> {
        match xmp::property(packet, "tiff:Orientation")?.as_bytes() {
            [digit @ b'1'..=b'8'] => Some(Orientation(digit - b'0')),
            _ => None,
        }
    }
}

/// Decodes the text in which ImageMagick keeps a block of bytes in a PNG: a line break, a name, the number of bytes, and
/// the bytes as hexadecimal digits. Source: ImageMagick, coders/png.c, `Magick_png_write_raw_profile`.
pub(crate) fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_prefix(b"\n")?;
    let name = text.iter().position(|&byte| byte == b'\n')?;
    let text = text[name + 1..].trim_ascii_start();
    let digits = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    let nibbles: Vec<u8> =
        text[digits..].iter().filter(|byte| !byte.is_ascii_whitespace()).map_while(digit).collect();
    Some(nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orientation_is_read_whatever_its_type() {
        // Little endian, one entry: orientation (0x0112), a short or a signed long, one of it, 6.
        for kind in [3, 9] {
            let entry = [0x12, 0x01, kind, 0, 1, 0, 0, 0, 6, 0, 0, 0];
            let block = [b"II*\0\x08\0\0\0\x01\0".as_slice(), &entry, &[0; 4]].concat();
            assert_eq!(Orientation::from_exif(&block), Some(Orientation(6)));
            assert_eq!(
                Orientation::from_exif(&[b"Exif\0\0", block.as_slice()].concat()),
                Some(Orientation(6))
            );
        }
    }

    #[test]
    fn exif_that_makes_no_sense_says_nothing() {
        for block in [b"".as_slice(), b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"] {
            assert_eq!(Orientation::from_exif(block), None);
        }
    }

    #[test]
    fn xmp_says_it_as_an_attribute_or_an_element() {
        for (packet, expected) in [
            ("<rdf:Description tiff:Orientation=\"6\"/>", Some(6)),
            ("<rdf:Description tiff:Orientation = '8' />", Some(8)),
            ("<tiff:Orientation> 3 </tiff:Orientation>", Some(3)),
            ("<tiff:Orientation>9</tiff:Orientation>", None),
            ("<tiff:Orientation>61</tiff:Orientation>", None),
            ("tiff:Orientation", None),
            ("tiff:Orientation=", None),
            ("tiff:Orientation=\"6", None),
        ] {
            assert_eq!(Orientation::from_xmp(packet.as_bytes()), expected.map(Orientation), "{packet}");
        }
    }

    #[test]
    fn a_raw_profile_is_read() {
        assert_eq!(raw_profile(b"\nexif\n       3\n00ff\n7a\n"), Some(vec![0, 255, 0x7a]));
        for text in [b"".as_slice(), b"\n", b"\nexif", b"\nexif\n", b"\nexif\n3"] {
            assert_eq!(raw_profile(text), None);
        }
    }
}
