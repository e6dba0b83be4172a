//! Reads EXIF, as far as cameras and photographers say something that a reader of a picture needs. Whatever is damaged is
//! left out, and what isn't asked for isn't decoded. Source: Exif 3.0 (CIPA DC-008), 4.6; TIFF 6.0, section 2.

/// Maximum length of a text, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 256;

pub(crate) mod tag {
    pub(crate) const MAKE: u16 = 0x010f;
    pub(crate) const MODEL: u16 = 0x0110;
    pub(crate) const ORIENTATION: u16 = 0x0112;
    pub(crate) const ARTIST: u16 = 0x013b;
    pub(crate) const COPYRIGHT: u16 = 0x8298;
    pub(crate) const EXIF: u16 = 0x8769;
    pub(crate) const GPS: u16 = 0x8825;
    /// In the directory `EXIF`.
    pub(crate) const DATE_TAKEN: u16 = 0x9003;
    pub(crate) const OFFSET_TAKEN: u16 = 0x9011;
    /// In the directory `GPS`.
    pub(crate) const LATITUDE: u16 = 2;
    pub(crate) const LONGITUDE: u16 = 4;
}

/// A block of TIFF structure.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

/// A list of fields.
#[derive(Clone, Copy)]
pub(crate) struct Directory<'a> {
    block: Block<'a>,
    /// Twelve bytes each.
    entries: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads the start of a block. Some programs that write WebP and PNG keep the prefix that only JPEG has.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
        let is_big_endian = match bytes.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        Some(Block { bytes, is_big_endian })
    }

    fn short(self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Returns the first directory.
    pub(crate) fn first(self) -> Option<Directory<'a>> {
        self.directory(self.long(4)?)
    }

    /// Returns the directory at a place, as far as it is within the block.
    fn directory(self, at: u32) -> Option<Directory<'a>> {
        let start = (at as usize).checked_add(2)?;
        let count = usize::from(self.short(at as usize)?);
        let rest = self.bytes.get(start..)?;
        Some(Directory { block: self, entries: &rest[..rest.len().min(count * 12)] })
    }

    /// Counts the directories that follow each other, each of which is a page of a TIFF. Stops at `most`, as they can follow
    /// each other in a circle.
    pub(crate) fn count(self, most: u32) -> u32 {
        let mut count = 0;
        let mut at = self.long(4).unwrap_or(0);
        while at != 0 && count < most {
            let Some(entries) = self.short(at as usize) else {
                break;
            };
            count += 1;
            let next = (at as usize).saturating_add(2 + 12 * usize::from(entries));
            at = self.long(next).unwrap_or(0);
        }
        count
    }
}

impl<'a> Directory<'a> {
    /// Returns the type of a field, and the place of its values.
    fn field(&self, tag: u16) -> Option<(u16, usize, usize)> {
        let block = self.block;
        let start = self.entries.as_ptr() as usize - block.bytes.as_ptr() as usize;
        let mut places = (0..self.entries.len() / 12).map(|entry| start + entry * 12);
        let at = places.find(|&at| block.short(at) == Some(tag))?;
        let (kind, count) = (block.short(at + 2)?, block.long(at + 4)? as usize);
        let size = match kind {
            1 | 2 | 6 | 7 | 129 => 1,
            3 | 8 => 2,
            4 | 9 | 11 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let bytes = count.checked_mul(size)?;
        let values = if bytes <= 4 { at + 8 } else { block.long(at + 8)? as usize };
        Some((kind, values, count))
    }

    /// Returns the first number of a field of whole numbers. A signed one is against the standard, but some cameras write it.
    pub(crate) fn number(&self, tag: u16) -> Option<u32> {
        match self.field(tag)? {
            (_, _, 0) => None,
            (1 | 6 | 7, at, _) => self.block.bytes.get(at).map(|&byte| byte.into()),
            (3 | 8, at, _) => self.block.short(at).map(u32::from),
            (4 | 9, at, _) => self.block.long(at),
            _ => None,
        }
    }

    /// Returns the directory that a field points to.
    pub(crate) fn inner(&self, tag: u16) -> Option<Directory<'a>> {
        self.block.directory(self.number(tag)?)
    }

    /// Returns a text up to its first zero byte, without control characters, or none if nothing remains.
    pub(crate) fn text(&self, tag: u16) -> Option<String> {
        let (1 | 2 | 7 | 129, at, count) = self.field(tag)? else {
            return None;
        };
        let bytes = self.block.bytes.get(at..)?;
        let bytes = &bytes[..bytes.len().min(count).min(MAX_TEXT_BYTES)];
        clean(bytes.split(|&byte| byte == 0).next()?)
    }

    /// Returns degrees, minutes and seconds as degrees. The field before says which half of the globe they are on.
    pub(crate) fn degrees(&self, tag: u16, negative: u8, most: f64) -> Option<f64> {
        let (5 | 10, at, 3..) = self.field(tag)? else {
            return None;
        };
        let half = self.text(tag - 1)?;
        let mut degrees = 0.0;
        for (place, unit) in [(at, 1.0), (at + 8, 60.0), (at + 16, 3600.0)] {
            let (over, under) = (self.block.long(place)?, self.block.long(place + 4)?);
            match (over, under) {
                // Seconds that aren't known.
                (0, 0) => {}
                (_, 0) => return None,
                _ => degrees += f64::from(over) / f64::from(under) / unit,
            }
        }
        let signed = if half.as_bytes().first() == Some(&negative) { -degrees } else { degrees };
        (degrees <= most).then_some(signed)
    }
}

/// Makes a text of bytes, without control characters and blanks at its ends, or none if nothing remains.
pub(crate) fn clean(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT_BYTES)]);
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    let text = text.trim().trim_end_matches('\u{fffd}');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns a time as ISO 8601 has it. Cameras write `2026:11:28 12:34:56`, and zeros or blanks if they don't know it.
pub(crate) fn time(text: &str, offset: Option<&str>) -> Option<String> {
    let fits = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(byte, expected)| match expected {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                _ => byte == expected,
            })
    };
    if !fits(text, "0000:00:00 00:00:00") || text.starts_with("0000") {
        return None;
    }
    let offset = offset.filter(|offset| fits(offset, "+00:00")).unwrap_or_default();
    Some(format!("{}T{}{offset}", text[..10].replace(':', "-"), &text[11..]))
}
