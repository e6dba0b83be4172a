//! The chunks of a PNG that its decoder doesn't read, or not where they may stand.
//! Source: PNG, third edition, 5 and 11.3.

use crate::colour::MAX_PROFILE_BYTES;
use crate::orientation::raw_profile;
use crate::refusal::Refusal;

/// Maximum size of a text that is read.
const MAX_TEXT_BYTES: usize = 1 << 20;

const SIGNATURE_BYTES: usize = 8;
/// Length, type, and checksum of a chunk without data.
const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

struct Chunk<'a> {
    kind: &'a [u8],
    data: &'a [u8],
}

/// Returns the chunk at the start of `bytes`, and what follows it. Returns nothing if `bytes` end within the chunk.
fn next(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_at_checked(4)?;
    let (data, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (_checksum, rest) = rest.split_at_checked(4)?;
    Some((Chunk { kind, data }, rest))
}

/// Ends a file that lacks its end in a way that lets the pixels that are there be read. Returns whether it lacked it.
pub(super) fn mend(content: &mut Vec<u8>) -> bool {
    let mut rest = content.get(SIGNATURE_BYTES..).unwrap_or_default();
    while let Some((chunk, after)) = next(rest) {
        if chunk.kind == b"IEND" {
            return false;
        }
        rest = after;
    }
    let at = content.len() - rest.len();
    if rest.get(4..8) == Some(b"IDAT") {
        let said = rest.first_chunk().map_or(0, |&length| u32::from_be_bytes(length));
        let length = said.min((rest.len() - 8) as u32);
        content[at..at + 4].copy_from_slice(&length.to_be_bytes());
        content.truncate(at + 8 + length as usize);
        content.extend([0; 4]);
    } else {
        content.truncate(at);
    }
    content.extend(END);
    true
}

/// Returns the number of frames that the chunk for animations states.
pub(super) fn frames(content: &[u8]) -> Option<u32> {
    let mut rest = content.get(SIGNATURE_BYTES..)?;
    while let Some((chunk, after)) = next(rest) {
        match chunk.kind {
            b"acTL" => return chunk.data.first_chunk().map(|&count| u32::from_be_bytes(count)),
            b"IDAT" => return None,
            _ => rest = after,
        }
    }
    None
}

/// What chunks say about how to show the pixels.
#[derive(Default)]
pub(super) struct Chunks<'a> {
    pub(super) profile: Option<Vec<u8>>,
    pub(super) exif: Option<&'a [u8]>,
    pub(super) xmp: Option<Vec<u8>>,
    /// The EXIF block that ImageMagick keeps as text.
    pub(super) raw_profile: Option<Vec<u8>>,
}

impl<'a> Chunks<'a> {
    /// Reads them, before and after the pixels. Of several of a kind the first counts.
    pub(super) fn of(content: &'a [u8]) -> Result<Self, Refusal> {
        let mut chunks = Chunks::default();
        let mut rest = content.get(SIGNATURE_BYTES..).unwrap_or_default();
        while let Some((Chunk { kind, data }, after)) = next(rest) {
            match kind {
                b"iCCP" if chunks.profile.is_none() => chunks.profile = profile(data)?,
                b"eXIf" if chunks.exif.is_none() => chunks.exif = Some(data),
                b"tEXt" | b"zTXt" | b"iTXt" => chunks.take_text(kind, data),
                b"IEND" => break,
                _ => {}
            }
            rest = after;
        }
        Ok(chunks)
    }

    fn take_text(&mut self, kind: &[u8], data: &[u8]) {
        let Some((keyword, rest)) = split_at_zero(data) else {
            return;
        };
        if keyword == b"XML:com.adobe.xmp" && self.xmp.is_none() {
            self.xmp = text(kind, rest);
        }
        if matches!(keyword, b"Raw profile type exif" | b"Raw profile type APP1")
            && self.raw_profile.is_none()
        {
            self.raw_profile = text(kind, rest).as_deref().and_then(raw_profile);
        }
    }
}

fn profile(data: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let Some((_name, [0, compressed @ ..])) = split_at_zero(data) else {
        return Ok(None);
    };
    match fdeflate::decompress_to_vec_bounded(compressed, MAX_PROFILE_BYTES) {
        Ok(profile) => Ok(Some(profile)),
        Err(fdeflate::BoundedDecompressionError::OutputTooLarge { .. }) => Err(Refusal::large_profile()),
        Err(fdeflate::BoundedDecompressionError::DecompressionError { .. }) => Ok(None),
    }
}

/// Returns the text of a chunk, from after its keyword.
fn text(kind: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    let (is_compressed, text) = match kind {
        b"tEXt" => (false, rest),
        b"zTXt" => (true, rest.get(1..)?),
        _ => {
            let (_language, rest_after) = split_at_zero(rest.get(2..)?)?;
            let (_translated, text) = split_at_zero(rest_after)?;
            (rest.first() == Some(&1), text)
        }
    };
    if is_compressed {
        fdeflate::decompress_to_vec_bounded(text, MAX_TEXT_BYTES).ok()
    } else {
        Some(text[..text.len().min(MAX_TEXT_BYTES)].to_vec())
    }
}

fn split_at_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}
