//! Decodes PNM: PBM, PGM and PPM, as text and as bytes, and PAM. Source: Netpbm, "pbm", "pgm", "ppm" and "pam".

use crate::Bounds;
use crate::colour::Colour;
use crate::decode::{Cost, filled, packed};
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;

const FORMAT: &str = "PNM";
const INVALID: Refusal = Refusal::Damaged(FORMAT, "its header is invalid");

/// Takes the next word, after spaces and comments.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    loop {
        *rest = rest.trim_ascii_start();
        if !rest.starts_with(b"#") {
            break;
        }
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        *rest = &rest[end..];
    }
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    (!word.is_empty()).then_some(word)
}

fn number(word: &[u8]) -> Option<u32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

struct Header {
    width: u32,
    height: u32,
    layout: Layout,
    largest: u32,
    kind: u8,
}

impl Header {
    fn read(rest: &mut &[u8], kind: u8) -> Option<Self> {
        let (width, height, layout, largest) = if kind == b'7' {
            let (mut width, mut height, mut depth, mut largest) = (0, 0, 0, 0);
            loop {
                match word(rest)? {
                    b"ENDHDR" => break,
                    b"WIDTH" => width = number(word(rest)?)?,
                    b"HEIGHT" => height = number(word(rest)?)?,
                    b"DEPTH" => depth = number(word(rest)?)?,
                    b"MAXVAL" => largest = number(word(rest)?)?,
                    // The depth says as much.
                    b"TUPLTYPE" => _ = word(rest)?,
                    _ => return None,
                }
            }
            let layout = match depth {
                1 => Layout::Gray,
                2 => Layout::GrayAlpha,
                3 => Layout::Rgb,
                4 => Layout::Rgba,
                _ => return None,
            };
            (width, height, layout, largest)
        } else {
            let (width, height) = (number(word(rest)?)?, number(word(rest)?)?);
            let largest = if matches!(kind, b'1' | b'4') { 1 } else { number(word(rest)?)? };
            let layout = if matches!(kind, b'3' | b'6') { Layout::Rgb } else { Layout::Gray };
            (width, height, layout, largest)
        };
        // One space ends the header.
        *rest = rest.get(1..).unwrap_or_default();
        (1..=65_535).contains(&largest).then_some(Header { width, height, layout, largest, kind })
    }
}

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let mut rest = content.get(2..).unwrap_or_default();
    let kind = content.get(1).copied().unwrap_or_default();
    let header = Header::read(&mut rest, kind).ok_or(INVALID)?;
    let Header { width, height, layout, .. } = header;
    let channels = layout.channels();
    Cost::unscaled(FORMAT, (width, height), layout, channels as u64, content).check(target, bounds)?;

    let count = width as usize * height as usize * channels;
    let pixels = filled(samples(rest, &header, count), count, layout, FORMAT, bounds)?;
    let (orientation, colour) = (Orientation::UPRIGHT, Colour::Standard);
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

/// Returns at most `count` samples, fewer if there are no more.
fn samples(mut rest: &[u8], header: &Header, count: usize) -> Vec<u8> {
    let largest = header.largest;
    let scaled = move |value: u32| ((value.min(largest) * 255 + largest / 2) / largest) as u8;
    // The cost counts them once: they must not grow by doubling.
    let mut samples = Vec::with_capacity(count);
    match header.kind {
        // A set bit is black, and digits need no space between them.
        b'1' => {
            let digits = rest.iter().filter(|byte| matches!(byte, b'0' | b'1'));
            samples.extend(digits.take(count).map(|&digit| if digit == b'1' { 0 } else { 255 }));
        }
        b'2' | b'3' => {
            let values = std::iter::from_fn(|| number(word(&mut rest)?));
            samples.extend(values.take(count).map(scaled));
        }
        b'4' => {
            let width = header.width as usize;
            for row in rest.chunks(width.div_ceil(8)).take(header.height as usize) {
                let bits = 0..width.min(row.len() * 8);
                samples.extend(bits.map(|x| if packed(row, 1, x) == 1 { 0 } else { 255 }));
            }
        }
        _ if largest < 256 => {
            samples.extend(rest.iter().take(count).map(|&value| scaled(u32::from(value))));
        }
        _ => {
            let pairs = rest.chunks_exact(2).take(count);
            samples.extend(pairs.map(|pair| scaled(u32::from(u16::from_be_bytes([pair[0], pair[1]])))));
        }
    }
    samples
}
