//! The segments of a JPEG: what its decoder doesn't tell, and what real files lack that still hold all their pixels.
//! Source: ISO/IEC 10918-1, annex B; JFIF 1.02; ICC.1:2022, B.4.

use std::ops::Range;

use super::FORMAT;
use super::frame::Frame;
use crate::refusal::Refusal;

/// Ones, with the zero bytes that keep them from being markers. No code consists of ones alone (C.2), so a decoder that
/// gets here before its last block finds an invalid code. It would take the marker that follows for zeros without end.
pub(super) const PAD: &[u8] = [[0xff, 0]; 16].as_flattened();

/// The segment by which a decoder knows a frame of motion JPEG. Webcams leave out the Huffman tables of such frames, and
/// the decoder takes those of the standard (ISO/IEC 10918-1, K.3) for them.
const MOTION_JPEG: &[u8] = b"\xff\xe0\0\x07AVI1\0";

/// The numbers of restart markers.
const RESTARTS: &[u8; 8] = &[0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7];

/// What a file consists of.
#[derive(Default)]
pub(super) struct File {
    pub(super) frame: Option<Frame>,
    /// Where the frame header starts, with its length.
    pub(super) frame_at: usize,
    exif: Option<Range<usize>>,
    xmp: Option<Range<usize>>,
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
    edits: Vec<(Range<usize>, &'static [u8])>,
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
            let Some(marker_at) = find(content, at) else {
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
                    let frame = Frame::read(marker, segment);
                    file.frame = Some(frame.ok_or(Refusal::Damaged(FORMAT, "its frame header is invalid"))?);
                    file.frame_at = start;
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
        if file.is_cut {
            file.edits.push((file.end..content.len(), PAD));
            file.edits.push((content.len()..content.len(), &[0xff, 0xd9]));
        }
        Ok(file)
    }

    /// Returns the frame header of a file that can be read.
    pub(super) fn checked_frame(&self) -> Result<&Frame, Refusal> {
        let missing = if self.is_cut {
            Refusal::CutShort(FORMAT)
        } else {
            Refusal::Damaged(FORMAT, "it has no frame header")
        };
        let frame = self.frame.as_ref().ok_or(missing)?;
        frame.check()?;
        Ok(frame)
    }

    /// Returns the EXIF block and the XMP packet of the file, which is `content`.
    pub(super) fn blocks<'c>(&self, content: &'c [u8]) -> (Option<&'c [u8]>, Option<&'c [u8]>) {
        let part = |range: &Option<Range<usize>>| content.get(range.clone()?);
        (part(&self.exif), part(&self.xmp))
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

    /// Notes which coefficients a scan completes, and asks for the standard's tables if there are none before the first.
    fn take_scan(&mut self, segment: &[u8], marker_at: usize) {
        if !self.has_tables {
            self.edits.push((marker_at..marker_at, MOTION_JPEG));
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
        let mut restarts = 0;
        loop {
            let Some(found) = find(content, at) else {
                self.is_cut = true;
                // A lone 0xff would make a marker of what is put behind it.
                self.end = content.len() - usize::from(content.last() == Some(&0xff));
                self.end = self.end.max(at);
                return content.len();
            };
            match content[found + 1] {
                number @ 0xd0..=0xd7 => {
                    if number != RESTARTS[restarts] {
                        self.edits.push((found + 1..found + 2, &RESTARTS[restarts..=restarts]));
                    }
                    restarts = (restarts + 1) % 8;
                    at = found + 2;
                }
                _ => {
                    // Before the fill bytes too: a decoder doesn't expect a zero byte after them.
                    let fill = content[at..found].iter().rev().take_while(|&&byte| byte == 0xff).count();
                    self.edits.push((found - fill..found - fill, PAD));
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
    pub(super) fn mend(&self, content: &[u8]) -> (Vec<u8>, Vec<Range<usize>>) {
        let added: usize = self.edits.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut mended = Vec::with_capacity(content.len() + added);
        let mut pads = Vec::new();
        let mut at = 0;
        for (range, bytes) in &self.edits {
            mended.extend_from_slice(content.get(at..range.start).unwrap_or_default());
            at = range.end;
            let start = mended.len();
            mended.extend_from_slice(bytes);
            if bytes.starts_with(PAD) {
                // The decoder reads ahead, at most by eight bytes with as many zero bytes, and over the next marker.
                pads.push(start + 1..mended.len() + 18);
            }
        }
        mended.extend_from_slice(content.get(at..).unwrap_or_default());
        (mended, pads)
    }
}

/// Finds the next marker, from `at`: 0xff, and a byte that is neither a stuffed zero nor a fill byte.
fn find(content: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = at + memchr::memchr(0xff, content.get(at..)?)?;
        match content.get(found + 1)? {
            0 => at = found + 2,
            // Of several 0xff in a row, the last makes the marker.
            0xff => at = found + 1,
            _ => return Some(found),
        }
    }
}
