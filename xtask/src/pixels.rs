//! Reads a picture's size from its header, to list the demo's results.

/// Width and height of a JPEG or WebP file. Returns `None` for any other file.
pub(crate) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    if bytes.starts_with(b"\xff\xd8") { jpeg(&bytes[2..]) } else { webp(bytes) }
}

/// Walks the segments to the frame header (ITU T.81, B.2.2).
fn jpeg(mut bytes: &[u8]) -> Option<(u32, u32)> {
    loop {
        let marker = match bytes {
            [0xff, 0xff, ..] => {
                bytes = &bytes[1..]; // Any number of fill bytes may precede a marker.
                continue;
            }
            [0xff, marker, ..] => *marker,
            _ => return None,
        };
        let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        // The frame headers, without the three other markers in their range.
        if (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
            let side =
                |at: usize| Some(u32::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
            return Some((side(7)?, side(5)?));
        }
        bytes = bytes.get(2 + length..)?;
    }
}

/// Reads the first chunk (RFC 9649) of a lossy, lossless or extended file.
fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12) != Some(b"WEBP") {
        return None;
    }
    let number = |at: usize, len: usize| {
        let digits = bytes.get(at..at + len)?;
        Some(digits.iter().rev().fold(0, |sum: u32, digit| sum << 8 | u32::from(*digit)))
    };
    match bytes.get(12..16)? {
        b"VP8 " => Some((number(26, 2)? & 0x3fff, number(28, 2)? & 0x3fff)),
        b"VP8L" => {
            let sides = number(21, 4)?;
            Some(((sides & 0x3fff) + 1, (sides >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => Some((number(24, 3)? + 1, number(27, 3)? + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::size;
    use std::fs;

    #[test]
    fn the_sizes_of_real_photographs_are_read() {
        // Tests run in their package's folder.
        let folder = "../demo/photographs";
        for (name, expected) in [
            ("coffee cup.jpg", Some((4242, 2828))),
            ("hubble-deep-field.jpg", Some((1000, 872))),
            ("retina.webp", Some((1411, 1411))),
            ("clock.png", None),
        ] {
            let bytes = fs::read(format!("{folder}/{name}")).expect("photograph");
            assert_eq!(size(&bytes), expected, "{name}");
            assert_eq!(size(&bytes[..20]), None, "{name}, cut off");
        }
    }
}
