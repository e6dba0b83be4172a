//! Decodes the first frame of a GIF, on a transparent canvas.

use std::io::Cursor;
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use crate::decode::Cost;
use crate::picture::Picture;
use crate::refusal::Refusal;
use crate::resize::UNFILLED;
use crate::target::Target;
use crate::{Bounds, Truncated};

const FORMAT: &str = "GIF";

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    // An extension that this library doesn't know changes no pixel.
    options.allow_unknown_blocks(true);
    if let Some(memory) = NonZeroU64::new(bounds.memory) {
        options.set_memory_limit(MemoryLimit::Bytes(memory));
    }
    let mut decoder = options.read_info(Cursor::new(content)).map_err(|error| refusal(&error))?;
    let (canvas_width, canvas_height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(|error| refusal(&error))?;
    let frame = frame.ok_or(Refusal::Damaged(FORMAT, "it has no frame"))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (wide, high) = (usize::from(frame.width), usize::from(frame.height));
    // A canvas without pixels is as large as its first frame, for most readers.
    let (width, height) = match (canvas_width, canvas_height) {
        (0, _) | (_, 0) => ((left + wide) as u32, (top + high) as u32),
        size => size,
    };
    // The canvas, and the frame with its indices.
    let decoding = 4 * u64::from(width) * u64::from(height) + 5 * (wide * high) as u64 + content.len() as u64;
    Cost { format: FORMAT, width, height, decoded_rows: height, channels: 4, decoding }
        .check(target, bounds)?;

    let mut frame = vec![0; decoder.buffer_size()];
    match decoder.read_into_buffer(&mut frame) {
        Err(_) if bounds.truncated == Truncated::Keep && frame.iter().any(|&byte| byte != 0) => {}
        result => result.map_err(|error| refusal(&error))?,
    }
    let (canvas_wide, canvas_high) = (width as usize, height as usize);
    let pixels = if (left, top, wide, high) == (0, 0, canvas_wide, canvas_high) {
        frame
    } else {
        let mut canvas = vec![0; canvas_wide * canvas_high * 4];
        // What is outside the canvas isn't shown.
        let shown = wide.min(canvas_wide.saturating_sub(left)) * 4;
        let rows =
            frame.chunks_exact((wide * 4).max(1)).zip(canvas.chunks_exact_mut(canvas_wide * 4).skip(top));
        for (from, to) in rows.filter(|_| shown > 0) {
            to[left * 4..left * 4 + shown].copy_from_slice(&from[..shown]);
        }
        canvas
    };
    Picture::from_rgba(width, height, pixels).ok_or(UNFILLED)
}

fn refusal(error: &DecodingError) -> Refusal {
    match error {
        DecodingError::UnexpectedEof | DecodingError::Io(_) | DecodingError::EndCodeNotFound => {
            Refusal::CutShort(FORMAT)
        }
        DecodingError::LzwError(_) => Refusal::Damaged(FORMAT, "its compressed pixels are invalid"),
        _ => Refusal::Damaged(FORMAT, "its header, or that of its first frame, is invalid"),
    }
}
