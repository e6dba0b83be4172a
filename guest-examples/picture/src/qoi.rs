//! Decodes QOI. Source: "The Quite OK Image Format", specification 1.0.

use crate::Bounds;
use crate::colour::{Colour, Described};
use crate::decode::{Cost, filled};
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;

const FORMAT: &str = "QOI";

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let (header, data) = content.split_first_chunk::<14>().ok_or(Refusal::CutShort(FORMAT))?;
    let &[_, _, _, _, a, b, c, d, e, f, g, h, channels, space] = header;
    let (width, height) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    let layout = match channels {
        3 => Layout::Rgb,
        4 => Layout::Rgba,
        _ => return Err(Refusal::Damaged(FORMAT, "its header is invalid")),
    };
    let channels = layout.channels();
    Cost::unscaled(FORMAT, (width, height), layout, channels as u64, content).check(target, bounds)?;

    let count = width as usize * height as usize * channels;
    let mut pixels = Vec::with_capacity(count);
    expand(data, channels, count, &mut pixels);
    let pixels = filled(pixels, count, layout, FORMAT, bounds)?;
    let linear = if space == 1 { Described::new(Some(1.0), None) } else { None };
    let colour = linear.map_or(Colour::Standard, Colour::Described);
    let orientation = Orientation::UPRIGHT;
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

/// Appends pixels until there are `count` bytes, or no more data.
fn expand(mut data: &[u8], channels: usize, count: usize, pixels: &mut Vec<u8>) {
    let mut seen = [[0_u8; 4]; 64];
    let mut pixel = [0, 0, 0, 255];
    while pixels.len() < count {
        let (repeats, after): (usize, &[u8]) = match data {
            [0xfe, red, green, blue, after @ ..] => {
                pixel = [*red, *green, *blue, pixel[3]];
                (1, after)
            }
            [0xff, red, green, blue, alpha, after @ ..] => {
                pixel = [*red, *green, *blue, *alpha];
                (1, after)
            }
            [0xfe | 0xff, ..] | [] => return,
            [index @ 0..=0x3f, after @ ..] => {
                pixel = seen[usize::from(*index)];
                (1, after)
            }
            [steps @ 0x40..=0x7f, after @ ..] => {
                for (channel, shift) in [(0, 4), (1, 2), (2, 0)] {
                    pixel[channel] = pixel[channel].wrapping_add(steps >> shift & 3).wrapping_sub(2);
                }
                (1, after)
            }
            [green @ 0x80..=0xbf, others, after @ ..] => {
                let green = (green & 0x3f).wrapping_sub(32);
                pixel[0] = pixel[0].wrapping_add(green).wrapping_add(others >> 4).wrapping_sub(8);
                pixel[1] = pixel[1].wrapping_add(green);
                pixel[2] = pixel[2].wrapping_add(green).wrapping_add(others & 15).wrapping_sub(8);
                (1, after)
            }
            [0x80..=0xbf] => return,
            [run, after @ ..] => (usize::from(run & 0x3f) + 1, after),
        };
        data = after;
        let [red, green, blue, alpha] = pixel.map(usize::from);
        seen[(red * 3 + green * 5 + blue * 7 + alpha * 11) % 64] = pixel;
        for _ in 0..repeats.min((count - pixels.len()) / channels) {
            pixels.extend_from_slice(&pixel[..channels]);
        }
    }
}
