//! Writes who owns a picture and who made it, as EXIF and XMP have it.

use super::Rights;
use crate::exif::tag;
use crate::xmp;

/// Maximum length of each text, in bytes. Both, escaped, fit into a segment of a JPEG.
const MAX_TEXT_BYTES: usize = 1024;

/// What is written next to the pixels.
pub(super) struct Blocks {
    /// A TIFF block.
    pub(super) exif: Vec<u8>,
    pub(super) xmp: String,
}

/// Returns the blocks for these texts, or none if there is nothing to say.
pub(super) fn blocks(rights: Option<&Rights>) -> Option<Blocks> {
    let rights = rights?;
    let text = |text: &Option<String>| {
        let text: String = text.iter().flat_map(|text| text.chars()).filter(|c| !c.is_control()).collect();
        let text = text.trim();
        let end = (0..=text.len().min(MAX_TEXT_BYTES)).rev().find(|&end| text.is_char_boundary(end));
        text.get(..end?).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let rights = Rights { copyright: text(&rights.copyright), creator: text(&rights.creator) };
    (rights != Rights::default()).then(|| Blocks { exif: exif(&rights), xmp: xmp::packet(&rights) })
}

/// Returns a block with one directory. Source: TIFF 6.0, section 2; Exif 3.0, 4.6.
fn exif(rights: &Rights) -> Vec<u8> {
    let fields = [(tag::ARTIST, &rights.creator), (tag::COPYRIGHT, &rights.copyright)];
    let texts: Vec<(u16, &str)> =
        fields.into_iter().filter_map(|(tag, text)| Some((tag, text.as_deref()?))).collect();
    let mut block = b"MM\0*\0\0\0\x08".to_vec();
    block.extend((texts.len() as u16).to_be_bytes());
    let mut at = 8 + 2 + 12 * texts.len() + 4;
    let mut values = Vec::new();
    for (tag, text) in texts {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        block.extend(tag.to_be_bytes());
        // Older EXIF has ASCII only.
        let kind: u16 = if text.is_ascii() { 2 } else { 129 };
        block.extend(kind.to_be_bytes());
        block.extend((value.len() as u32).to_be_bytes());
        if value.len() <= 4 {
            value.resize(4, 0);
            block.extend(value);
        } else {
            block.extend((at as u32).to_be_bytes());
            // Values begin at even places.
            value.resize(value.len().next_multiple_of(2), 0);
            at += value.len();
            values.extend(value);
        }
    }
    block.extend([0; 4]);
    block.extend(values);
    block
}
