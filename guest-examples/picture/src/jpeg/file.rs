//! The segments of a JPEG: what its decoder doesn't tell, and what real files lack that still hold all their pixels.
//! Source: ISO/IEC 10918-1, annex B; JFIF 1.02; ICC.1:2022, B.4.

use std::ops::Range;

use super::FORMAT;
use super::frame::Frame;
use super::tables;
use crate::refusal::Refusal;

/// Ones, with the zero bytes that keep them from being markers. No code consists of ones alone (C.2), so a decoder that
/// gets here before its last block finds an invalid code. It would take the marker that follows for zeros without end.
const PAD: [u8; 32] = {
    let mut pad = [0xff; 32];
    let mut at = 1;
    while at < pad.len() {
        pad[at] = 0;
        at += 2;
    }
    pad
};

/// What a file consists of.
#[derive(Default)]
pub(super) struct File {
    pub(super) frame: Option<Frame>,
    /// Where the frame header starts, with its length.
    pub(super) frame_at: usize,
    pub(super) exif: Option<Range<usize>>,
    pub(super) xmp: Option<Range<usize>>,
    /// The parts of a profile: its number, how many there are, and its bytes.
    profile: Vec<(u8, u8, Range<usize>)>,
    is_jfif: bool,
    /// The transform of colours in Adobe's segment.
    adobe: Option<u8>,
    /// The file ends before its end marker.
    pub(super) is_cut: bool,
    has_tables: bool,
    /// For each component, the coefficients that came to their last bit.
    finished: Vec<(u8, u64)>,
    /// Where to insert or replace bytes: in order, and without overlaps.
    edits: Vec<(Range<usize>, Vec<u8>)>,
    /// Where the file's last segment ends, if it is cut.
    end: usize,
}

impl File {
    /// # Errors
    ///
    /// When the file is hierarchical.
    pub(super) fn of(content: &[u8]) -> Result<Self, Refusal> {
        let mut file = File::default();
        let mut at = 2;
        loop {
            file.end = at;
            // A marker, perhaps after bytes that don't belong there, and after fill bytes.
            let Some(marker_at) = find(content, at, |next| !matches!(next, 0 | 0xff)) else {
                file.is_cut = true;
                break;
            };
            let marker = content[marker_at + 1];
            at = marker_at + 2;
            match marker {
                0xd9 => break,
                // Markers without a segment.
                0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let length = content
                .get(at..at + 2)
                .map_or(usize::MAX, |bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
            let Some(segment) = at.checked_add(length).and_then(|end| content.get(at..end)) else {
                file.is_cut = true;
                break;
            };
            let start = at;
            at += length.max(2);
            match marker {
                0xc4 => file.has_tables = true,
                0xde => return Err(Refusal::NotSupported("a hierarchical JPEG".to_owned())),
                0xc0..=0xcf if !matches!(marker, 0xc8 | 0xcc) && file.frame.is_none() => {
                    file.frame = Frame::read(marker, segment);
                    file.frame_at = start;
                    if file.frame.is_none() {
                        return Err(Refusal::Damaged(FORMAT, "its frame header is invalid"));
                    }
                }
                0xe0..=0xef => file.take_application(marker, segment, start),
                0xda => {
                    file.take_scan(segment, marker_at);
                    at = file.take_pixels(content, at);
                }
                _ => {}
            }
            if file.is_cut {
                break;
            }
        }
        Ok(file)
    }

    fn take_application(&mut self, marker: u8, segment: &[u8], start: usize) {
        let part = |skipped: usize| start + skipped..start + segment.len();
        match (marker, segment.get(2..).unwrap_or_default()) {
            (0xe0, [b'J', b'F', b'I', b'F', 0, ..]) => self.is_jfif = true,
            // The first counts, as for most readers.
            (0xe1, [b'E', b'x', b'i', b'f', 0, _, ..]) if self.exif.is_none() => self.exif = Some(part(8)),
            (0xe1, data) if data.starts_with(b"http://ns.adobe.com/xap/1.0/\0") && self.xmp.is_none() => {
                self.xmp = Some(part(31));
            }
            (0xe2, data) if data.starts_with(b"ICC_PROFILE\0") && data.len() > 14 => {
                self.profile.push((data[12], data[13], part(16)));
            }
            (0xee, [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..]) => {
                self.adobe = Some(*transform)
            }
            _ => {}
        }
    }

    /// Notes which coefficients a scan completes, and inserts the standard's tables if there are none before the first.
    fn take_scan(&mut self, segment: &[u8], marker_at: usize) {
        if !self.has_tables {
            self.edits.push((marker_at..marker_at, tables::standard()));
            self.has_tables = true;
        }
        let count = segment.get(2).map_or(0, |&count| usize::from(count));
        let (Some(components), Some(&[start, end, approximation])) =
            (segment.get(3..3 + 2 * count), segment.get(3 + 2 * count..6 + 2 * count))
        else {
            return;
        };
        if approximation & 15 != 0 || start > end || end > 63 {
            return;
        }
        let done = (u64::MAX >> (63 - end)) & (u64::MAX << start);
        for component in components.chunks_exact(2) {
            match self.finished.iter_mut().find(|(id, _)| *id == component[0]) {
                Some((_, finished)) => *finished |= done,
                None => self.finished.push((component[0], done)),
            }
        }
    }

    /// Skips the compressed pixels of a scan, from `at`. Numbers its restart markers as they should be (B.2.1), and pads
    /// its end. Returns where it ends.
    fn take_pixels(&mut self, content: &[u8], mut at: usize) -> usize {
        let mut restarts = 0_u8;
        loop {
            let Some(found) = find(content, at, |next| !matches!(next, 0 | 0xff)) else {
                self.is_cut = true;
                // A lone 0xff would make a marker of what is put behind it.
                self.end = content.len() - usize::from(content.last() == Some(&0xff));
                self.end = self.end.max(at);
                return content.len();
            };
            match content[found + 1] {
                number @ 0xd0..=0xd7 => {
                    let expected = 0xd0 | (restarts % 8);
                    if number != expected {
                        self.edits.push((found + 1..found + 2, vec![expected]));
                    }
                    restarts = restarts.wrapping_add(1);
                    at = found + 2;
                }
                _ => {
                    // Before the fill bytes too: a decoder doesn't expect a zero byte after them.
                    let fill = content[at..found].iter().rev().take_while(|&&byte| byte == 0xff).count();
                    self.edits.push((found - fill..found - fill, PAD.to_vec()));
                    return found;
                }
            }
        }
    }

    /// Whether the scans together give all coefficients of all components, if each of them is whole.
    pub(super) fn is_complete(&self) -> bool {
        let is_sequential = self.frame.as_ref().is_some_and(|frame| !frame.is_progressive());
        let components = self.frame.as_ref().map_or(&[][..], |frame| &frame.components);
        components.iter().all(|component| {
            self.finished
                .iter()
                .any(|&(id, finished)| id == component.id && (is_sequential || finished == u64::MAX))
        })
    }

    /// Whether three components are red, green and blue, by Adobe's segment. The decoder prefers the components' numbers;
    /// others, and the programs that write such files, don't.
    pub(super) fn is_rgb(&self) -> bool {
        let count = self.frame.as_ref().map_or(0, |frame| frame.components.len());
        count == 3 && !self.is_jfif && self.adobe == Some(0)
    }

    /// Returns the profile, unless a part is missing.
    pub(super) fn profile(&self, content: &[u8]) -> Option<Vec<u8>> {
        let count = self.profile.first()?.1;
        let mut profile = Vec::new();
        for number in 1..=count {
            let (_, _, range) = self.profile.iter().find(|(found, ..)| *found == number)?;
            profile.extend_from_slice(content.get(range.clone())?);
        }
        Some(profile)
    }

    /// Returns the file with what it lacks, and where the pads are after which there are no more pixels.
    pub(super) fn mend(mut self, mut content: Vec<u8>) -> (Vec<u8>, Vec<Range<usize>>) {
        if self.is_cut {
            content.truncate(self.end);
            let end = content.len();
            self.edits.push((end..end, [PAD.as_slice(), &[0xff, 0xd9]].concat()));
        }
        let added: usize = self.edits.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut mended = Vec::with_capacity(content.len() + added);
        let mut pads = Vec::new();
        let mut at = 0;
        for (range, bytes) in self.edits {
            mended.extend_from_slice(content.get(at..range.start).unwrap_or_default());
            at = range.end;
            let start = mended.len();
            mended.extend_from_slice(&bytes);
            if bytes.starts_with(&PAD) {
                // The decoder reads ahead, at most by eight bytes with as many zero bytes, and over the next marker.
                pads.push(start + 1..mended.len() + 18);
            }
        }
        mended.extend_from_slice(content.get(at..).unwrap_or_default());
        (mended, pads)
    }
}

/// Finds the next 0xff, from `at`, whose next byte is as asked. Most bytes are none, so it looks at 32 of them at once.
fn find(content: &[u8], mut at: usize, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    loop {
        let rest = content.get(at..)?;
        let clean = rest
            .chunks_exact(32)
            .take_while(|chunk| !chunk.iter().fold(false, |found, &byte| found | (byte == 0xff)))
            .count();
        let found = rest[clean * 32..].iter().position(|&byte| byte == 0xff)? + clean * 32;
        let next = *rest.get(found + 1)?;
        if is_wanted(next) {
            return Some(at + found);
        }
        // Of several 0xff in a row, the last makes the marker.
        at += found + if next == 0xff { 1 } else { 2 };
    }
}
