//! Decodes the first page of a TIFF. Source: TIFF 6.0, and BigTIFF.

mod fax;
mod fields;
mod page;
mod samples;
mod unpack;

use crate::colour::{Colour, MAX_PROFILE_BYTES};
use crate::decode::Cost;
use crate::jpeg::part;
use crate::orientation::Orientation;
use crate::picture::Picture;
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};
use fields::Fields;
use page::Page;
use samples::{Form, Meaning, divide_by_alpha};
use unpack::{Compression, unpack};

const FORMAT: &str = "TIFF";
const INVALID: Refusal = Refusal::Damaged(FORMAT, "its directory is invalid");
const INVALID_PIXELS: Refusal = Refusal::Damaged(FORMAT, "its compressed pixels are invalid");

/// How often the strips of a file may name its bytes. Without a limit, each of a million could name all of them.
const MAX_OVERLAP: u64 = 4;

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let fields = Fields::read(content)?;
    let page = Page::read(content, &fields)?;
    let Page { width, height, layout, .. } = page;
    let channels = layout.channels();
    let samples = (u64::from(width) * u64::from(height)).saturating_mul(channels as u64);
    let part = match page.compression {
        Compression::Jpeg => part::memory(page.parts.size, page.form.samples),
        _ => page.form.bytes(page.parts.size.0, page.parts.size.1),
    };
    let file = 2 * content.len() as u64;
    let decoding = samples.saturating_add(part).saturating_add(file);
    Cost { format: FORMAT, width, height, decoded_rows: height, channels, decoding }.check(target, bounds)?;

    let profile = fields.field(34_675)?.map(|field| field.bytes);
    if profile.is_some_and(|profile| profile.len() > MAX_PROFILE_BYTES) {
        return Err(Refusal::large_profile());
    }
    let colour = Colour::of_profile(profile)?;
    let orientation = fields.number(274)?.and_then(Orientation::of);

    let mut pixels = vec![layout.missing(); samples as usize];
    let is_cut = page.fill(content, &mut pixels)?;
    if is_cut
        && (bounds.truncated == Truncated::Reject || pixels.iter().all(|&byte| byte == layout.missing()))
    {
        return Err(Refusal::CutShort(FORMAT));
    }
    if page.is_multiplied {
        divide_by_alpha(&mut pixels, channels);
    }
    let orientation = orientation.unwrap_or(Orientation::UPRIGHT);
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

fn not_supported<T>(what: &str) -> Result<T, Refusal> {
    Err(Refusal::NotSupported(what.to_owned()))
}

impl Page<'_> {
    /// Decodes all strips or tiles. Returns whether the file ends before them.
    fn fill(&self, content: &[u8], pixels: &mut [u8]) -> Result<bool, Refusal> {
        let [across, down] = self.grid();
        let (mut buffer, mut raw) = (Vec::new(), Vec::new());
        let (mut is_cut, mut named) = (false, 0);
        for plane in 0..self.planes {
            for index in 0..across * down {
                let (left, top) = (index % across * self.parts.size.0, index / across * self.parts.size.1);
                let rows = if self.parts.is_tiled {
                    self.parts.size.1
                } else {
                    self.parts.size.1.min(self.height - top)
                };
                let at = (plane * across * down + index) as usize;
                let needed = self.form.bytes(self.parts.size.0, rows) as usize;
                let (data, is_short) = self.data(content, at, needed)?;
                named += data.len() as u64;
                if named > MAX_OVERLAP * content.len() as u64 {
                    return Err(Refusal::Damaged(FORMAT, "its strips or tiles overlap"));
                }
                is_cut |= is_short;
                let place = Place { plane: plane as usize, left, top, rows };
                if self.compression == Compression::Jpeg {
                    if !is_short {
                        self.put_jpeg(data, &place, pixels, &mut raw)?;
                    }
                    continue;
                }
                buffer.clear();
                buffer.resize(needed, 0);
                let reversed: Vec<u8>;
                let data = if self.is_reversed {
                    reversed = data.iter().map(|byte| byte.reverse_bits()).collect();
                    &reversed
                } else {
                    data
                };
                let filled = unpack(data, self.compression, self.parts.size.0, &mut buffer);
                if filled < needed && !is_short {
                    return Err(INVALID_PIXELS);
                }
                self.put(&buffer[..filled], &place, pixels, &mut raw);
            }
        }
        Ok(is_cut)
    }

    /// Returns the bytes of a strip or tile, and whether the file ends within them.
    fn data<'c>(&self, content: &'c [u8], at: usize, needed: usize) -> Result<(&'c [u8], bool), Refusal> {
        let start = self.parts.offsets.at(at).ok_or(INVALID)?;
        let said = self.parts.counts.and_then(|counts| counts.at(at)).filter(|&count| count > 0);
        let length = match said {
            // What is needed is known, and what is said may be wrong.
            _ if self.compression == Compression::None => needed as u64,
            Some(count) => count,
            // Old programs leave it out.
            None => (content.len() as u64).saturating_sub(start),
        };
        let end = start.checked_add(length).ok_or(INVALID)?;
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        match range.and_then(|(start, end)| content.get(start..end)) {
            Some(data) => Ok((data, false)),
            None => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                Ok((content.get(start..).unwrap_or_default(), true))
            }
        }
    }

    /// Puts the rows of a strip or tile where they belong.
    fn put(&self, data: &[u8], place: &Place, pixels: &mut [u8], raw: &mut Vec<u16>) {
        let channels = self.layout.channels();
        let (wide, left, top) = (self.width as usize, place.left as usize, place.top as usize);
        if let Meaning::YCbCr { across, down } = self.form.meaning
            && (across, down) != (1, 1)
        {
            self.form.convert_units(data, self.parts.size.0, |x, y, colour| {
                let (x, y) = (left + x, top + y);
                if x < wide && y < self.height as usize && x < left + self.parts.size.0 as usize {
                    pixels[(y * wide + x) * 3..][..3].copy_from_slice(&colour);
                }
            });
            return;
        }
        let row_bytes = self.form.bytes(self.parts.size.0, 1) as usize;
        self.put_rows(&self.form, data.chunks_exact(row_bytes), place, pixels, channels, raw);
    }

    fn put_rows<'r>(
        &self,
        form: &Form,
        rows: impl Iterator<Item = &'r [u8]>,
        place: &Place,
        pixels: &mut [u8],
        channels: usize,
        raw: &mut Vec<u16>,
    ) {
        let wide = self.width as usize;
        let columns = (self.parts.size.0 as usize).min(wide - place.left as usize);
        let shown = (self.height - place.top).min(place.rows) as usize;
        let written = if self.planes > 1 { 1 } else { channels };
        for (y, row) in rows.take(shown).enumerate() {
            let start = ((place.top as usize + y) * wide + place.left as usize) * channels;
            let out = &mut pixels[start + place.plane..start + columns * channels];
            form.convert(row, out, written, channels, raw);
        }
    }

    fn put_jpeg(
        &self,
        data: &[u8],
        place: &Place,
        pixels: &mut [u8],
        raw: &mut Vec<u16>,
    ) -> Result<(), Refusal> {
        // The tables stand between a start and an end marker of their own.
        let file = match self.tables.and_then(|tables| tables.strip_suffix(&[0xff, 0xd9])) {
            Some(tables) => [tables, data.get(2..).unwrap_or_default()].concat(),
            None => data.to_vec(),
        };
        let part = part::decode(&file, self.is_ycbcr, self.parts.size).map_err(|refusal| match refusal {
            Refusal::NotSupported(what) => Refusal::NotSupported(format!("a TIFF that contains {what}")),
            _ => INVALID_PIXELS,
        })?;
        let columns = self.parts.size.0.min(self.width - place.left);
        let rows = place.rows.min(self.height - place.top);
        if part.channels != self.form.samples || part.width < columns || part.height < rows {
            return Err(INVALID_PIXELS);
        }
        let row_bytes = part.width as usize * part.channels;
        let rows = part.pixels.chunks_exact(row_bytes);
        self.put_rows(&self.form, rows, place, pixels, self.layout.channels(), raw);
        Ok(())
    }
}

/// Where a strip or tile belongs.
struct Place {
    plane: usize,
    left: u32,
    top: u32,
    rows: u32,
}
