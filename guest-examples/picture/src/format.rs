//! What a file is. Its first bytes, not its name, decide that.

/// The format of a file, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Pnm,
    Qoi,
    Tiff,
    Ico,
    JpegXl,
    /// A known format that isn't read: its name with the article.
    Other(&'static str),
}

const ISO_BRANDS: [(&[u8], &str); 9] = [
    (b"avif", "an AVIF picture"),
    (b"avis", "an animated AVIF picture"),
    (b"heic", "a HEIC picture"),
    (b"heix", "a HEIC picture"),
    (b"heim", "a HEIC picture"),
    (b"heis", "a HEIC picture"),
    (b"hevc", "an animated HEIC picture"),
    (b"mif1", "a HEIF picture"),
    (b"msf1", "an animated HEIF picture"),
];

const SIGNATURES: [(&[u8], &str); 14] = [
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop document"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\x8aMNG", "an MNG animation"),
    (b"\x8bJNG", "a JNG picture"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"DDS ", "a DDS picture"),
    (b"gimp xcf", "a GIMP picture"),
    (b"farbfeld", "a farbfeld picture"),
    (b"SIMPLE  =", "a FITS picture"),
    (b"PK\x03\x04", "a ZIP archive"),
];

impl Format {
    /// Returns the format's name in lower case, or nothing if it isn't read.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::WebP => "webp",
            Format::Gif => "gif",
            Format::Bmp => "bmp",
            Format::Pnm => "pnm",
            Format::Qoi => "qoi",
            Format::Tiff => "tiff",
            Format::Ico => "ico",
            Format::JpegXl => "jxl",
            Format::Other(_) => "",
        }
    }

    pub(crate) fn of(content: &[u8]) -> Self {
        match content {
            [] => Format::Other("an empty file"),
            [0xff, 0xd8, 0xff, 0xf7, ..] => Format::Other("a JPEG-LS picture"),
            [0xff, 0xd8, 0xff, ..] => Format::Jpeg,
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Format::Png,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Format::WebP,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Format::Gif,
            [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, _, _, 0, 0, ..] => Format::Bmp,
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Format::Tiff,
            // A TGA begins like a CUR without any picture.
            [0, 0, 2, 0, 0, 0, ..] => Format::Other(of_text(content)),
            [0, 0, 1 | 2, 0, ..] => Format::Ico,
            [0xff, 0x0a, ..] => Format::JpegXl,
            content if content.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n") => Format::JpegXl,
            [b'q', b'o', b'i', b'f', ..] => Format::Qoi,
            [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => Format::Other(of_iso(content, brands)),
            [b'P', b'1'..=b'7', b'\t' | b'\n' | b'\r' | b' ' | b'#', ..] => Format::Pnm,
            _ => Format::Other(
                SIGNATURES
                    .iter()
                    .find(|(signature, _)| content.starts_with(signature))
                    .map_or_else(|| of_text(content), |&(_, name)| name),
            ),
        }
    }
}

/// Names a file of the ISO base media format by its brands: the major one, its version, then the compatible ones.
/// Source: ISO/IEC 14496-12, 4.3.
fn of_iso(content: &[u8], brands: &[u8]) -> &'static str {
    let size = content.first_chunk().map_or(0, |&size| u32::from_be_bytes(size) as usize);
    let brands = &brands[..size.saturating_sub(8).min(brands.len()).min(256)];
    let named = |brand: &[u8]| ISO_BRANDS.iter().find(|(known, _)| *known == brand).map(|&(_, name)| name);
    // A general brand says less than a compatible one that names the codec.
    let mut names = brands.chunks_exact(4).filter_map(named);
    let first = names.next();
    match first {
        Some("a HEIF picture") => names.find(|&name| name != "a HEIF picture").unwrap_or("a HEIF picture"),
        Some(name) => name,
        None => "a video",
    }
}

/// Names a text that is a picture, or says that the file's format isn't known.
fn of_text(content: &[u8]) -> &'static str {
    let start = &content[..content.len().min(1024)];
    let text = start.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let holds = |part: &[u8]| start.windows(part.len()).any(|window| window == part);
    if text.starts_with(b"<svg") || (text.starts_with(b"<?xml") || text.starts_with(b"<!")) && holds(b"<svg")
    {
        "an SVG picture"
    } else if text.starts_with(b"<")
        && (holds(b"<html") || holds(b"<!DOCTYPE html") || holds(b"<!doctype html"))
    {
        "an HTML page"
    } else {
        "a file of an unknown format"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_named_by_its_first_bytes() {
        let cases: [(&[u8], &str); 13] = [
            (b"", "an empty file"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC picture"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "an AVIF picture"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "an AVIF picture"),
            (b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "a video"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
            (b"<?xml version='1.0'?>\n<svg width='3'/>", "an SVG picture"),
            (b"<!DOCTYPE html><html>", "an HTML page"),
            (b"8BPS\0\x01", "a Photoshop document"),
            (b"\xff\xd8\xff\xf7", "a JPEG-LS picture"),
            (b"\0\0\x02\0\0\0\0\0\0\0\0\0\x40\0\x40\0", "a file of an unknown format"),
            (b"hello", "a file of an unknown format"),
        ];
        for (content, name) in cases {
            assert_eq!(Format::of(content), Format::Other(name), "{content:?}");
        }
    }
}
