//! Reads EXIF, as far as cameras and photographers say something that a reader of a picture needs. Whatever is damaged is
//! left out, and what isn't asked for isn't decoded. Source: Exif 3.0 (CIPA DC-008), 4.6.

use crate::ifd::Directory;

/// Maximum length of a text, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 256;

pub(crate) mod tag {
    pub(crate) const MAKE: u16 = 0x010f;
    pub(crate) const MODEL: u16 = 0x0110;
    pub(crate) const ORIENTATION: u16 = 0x0112;
    /// A packet of XMP, in a TIFF.
    pub(crate) const XMP: u16 = 0x02bc;
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

impl Directory<'_> {
    /// Returns a text up to its first zero byte, without control characters, or none if nothing remains.
    pub(crate) fn text(&self, tag: u16) -> Option<String> {
        let field = self.field(tag).filter(|field| matches!(field.kind, 1 | 2 | 7 | 129))?;
        let bytes = &field.bytes[..field.bytes.len().min(MAX_TEXT_BYTES)];
        clean(bytes.split(|&byte| byte == 0).next()?)
    }

    /// Returns degrees, minutes and seconds as degrees. The field before says which half of the globe they are on.
    pub(crate) fn degrees(&self, tag: u16, negative: u8, most: f64) -> Option<f64> {
        let field = self.field(tag).filter(|field| matches!(field.kind, 5 | 10))?;
        let half = self.text(tag - 1)?;
        let mut fractions = field.fractions();
        let mut degrees = 0.0;
        for unit in [1.0, 60.0, 3600.0] {
            match fractions.next()? {
                // Seconds that aren't known.
                (0, 0) => {}
                (_, 0) => return None,
                (over, under) => degrees += over as f64 / under as f64 / unit,
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
