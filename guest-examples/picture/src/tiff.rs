//! Decodes the first page of a TIFF. Source: TIFF 6.0, and BigTIFF.

mod directory;
mod fax;
mod samples;
mod unpack;

use crate::colour::{Colour, MAX_PROFILE_BYTES};
use crate::decode::Cost;
use crate::jpeg::part;
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};
use directory::{Directory, Field};
use samples::{Form, Meaning, divide_by_alpha, palette};
use unpack::{Compression, unpack};

const FORMAT: &str = "TIFF";
const INVALID: Refusal = Refusal::Damaged(FORMAT, "its directory is invalid");
const INVALID_PIXELS: Refusal = Refusal::Damaged(FORMAT, "its compressed pixels are invalid");

/// Maximum size of the tables that the JPEGs of a file share.
const MAX_TABLES_BYTES: usize = 1 << 16;

/// How often the strips of a file may name its bytes. Without a limit, each of a million could name all of them.
const MAX_OVERLAP: u64 = 4;

/// A page: its pixels' form, and where its strips or tiles are.
struct Page<'a> {
    width: u32,
    height: u32,
    layout: Layout,
    is_multiplied: bool,
    form: Form,
    compression: Compression,
    is_ycbcr: bool,
    tables: Option<&'a [u8]>,
    /// The bits of a byte are stored the other way round.
    is_reversed: bool,
    /// The number of planes that are read: one, or one for each channel.
    planes: u32,
    /// The size of a strip or tile.
    part: (u32, u32),
    is_tiled: bool,
    offsets: Field<'a>,
    counts: Option<Field<'a>>,
}

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let directory = Directory::read(content)?;
    let page = Page::read(content, &directory)?;
    let Page { width, height, layout, .. } = page;
    let channels = layout.channels();
    let samples = (u64::from(width) * u64::from(height)).saturating_mul(channels as u64);
    let part = match page.compression {
        Compression::Jpeg => part::memory(page.part, page.form.samples),
        _ => page.form.bytes(page.part.0, page.part.1),
    };
    let file = 2 * content.len() as u64;
    let decoding = samples.saturating_add(part).saturating_add(file);
    Cost { format: FORMAT, width, height, decoded_rows: height, channels, decoding }.check(target, bounds)?;

    let profile = directory.field(34_675)?.map(|field| field.bytes());
    if profile.is_some_and(|profile| profile.len() > MAX_PROFILE_BYTES) {
        return Err(Refusal::large_profile());
    }
    let colour = Colour::of_profile(profile)?;
    let orientation = directory.number(274)?.and_then(|value| Orientation::of(value.try_into().ok()?));

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

impl<'a> Page<'a> {
    fn read(content: &[u8], directory: &Directory<'a>) -> Result<Self, Refusal> {
        if directory.field(50_706)?.is_some() {
            return not_supported("a DNG raw photograph");
        }
        if content.get(8..10) == Some(b"CR") {
            return not_supported("a CR2 raw photograph");
        }
        let number = |tag, default: u64| Ok(directory.number(tag)?.unwrap_or(default));
        let side = |tag| -> Result<u32, Refusal> {
            directory.number(tag)?.ok_or(INVALID)?.try_into().map_err(|_| INVALID)
        };
        if number(254, 0)? & 1 != 0 {
            return not_supported("a TIFF whose first page is a preview, as raw photographs have");
        }
        let (width, height) = (side(256)?, side(257)?);
        let compression = Compression::of(number(259, 1)?, number(292, 0)?).or_else(not_supported)?;
        let samples = number(277, 1)? as usize;
        let bits = match directory.field(258)? {
            None => 1,
            Some(field) => {
                let first = field.at(0).ok_or(INVALID)?;
                if field.all().any(|bits| bits != first) {
                    return not_supported("a TIFF with channels of different numbers of bits");
                }
                first
            }
        };
        if let Some(field) = directory.field(339)?
            && field.all().any(|format| !matches!(format, 1 | 4))
        {
            return not_supported("a TIFF with signed samples or fractions");
        }
        let extra = directory.field(338)?;
        let (meaning, mut layout) = match number(262, u64::MAX)? {
            0 => (Meaning::WhiteIsZero, Layout::Gray),
            1 => (Meaning::Plain, Layout::Gray),
            2 => (Meaning::Plain, Layout::Rgb),
            3 if bits <= 16 => {
                let values = directory.field(320)?.ok_or(INVALID)?.all();
                let palette = palette(values, bits as usize);
                (Meaning::Palette(palette.ok_or(INVALID)?), Layout::Rgb)
            }
            4 => return not_supported("a TIFF that is a mask"),
            5 if number(332, 1)? == 1 => (Meaning::Plain, Layout::Cmyk),
            5 => return not_supported("a TIFF with unusual inks"),
            6 if compression == Compression::Jpeg => (Meaning::Plain, Layout::Rgb),
            6 => {
                let subsampling = directory.field(530)?;
                let factor = |at| subsampling.and_then(|field| field.at(at)).unwrap_or(2);
                let [across, down] = [factor(0), factor(1)];
                if ![1, 2, 4].contains(&across) || ![1, 2, 4].contains(&down) {
                    return Err(INVALID);
                }
                (Meaning::YCbCr { across: across as usize, down: down as usize }, Layout::Rgb)
            }
            8..=10 => return not_supported("a TIFF in Lab"),
            32_803 | 34_892 => return not_supported("a raw photograph"),
            32_844 | 32_845 => return not_supported("a TIFF in LogLuv"),
            _ => return not_supported("a TIFF with unusual colours"),
        };
        let is_palette = matches!(meaning, Meaning::Palette(_));
        let colours = if is_palette { 1 } else { layout.channels() };
        // The kind of the sample after the colours: 1 is alpha that is multiplied, 2 alpha that isn't. Where nothing is
        // said, programs take it for alpha.
        let kind = extra.map_or(2, |field| field.at(0).unwrap_or(0));
        let has_alpha = samples > colours && matches!(kind, 1 | 2);
        match layout {
            Layout::Gray if has_alpha => layout = Layout::GrayAlpha,
            Layout::Rgb if has_alpha && !is_palette => layout = Layout::Rgba,
            _ => {}
        }
        let is_ycbcr = matches!(meaning, Meaning::YCbCr { .. });
        let predictor = number(317, 1)?;
        let is_planar = samples > 1 && number(284, 1)? == 2;
        let is_eight = bits == 8 && predictor == 1 && samples == 3 && !is_planar;
        let is_usual = match compression {
            Compression::Fax(_) => bits == 1 && samples == 1 && predictor == 1,
            Compression::Jpeg => bits == 8 && predictor == 1 && samples <= 4,
            _ => matches!(predictor, 1 | 2),
        };
        if !(1..=16).contains(&bits) || samples > 64 {
            return not_supported("a TIFF with an unusual number of bits or channels");
        }
        if samples < colours {
            return Err(INVALID);
        }
        if !is_usual || (is_ycbcr && !is_eight) || (is_planar && !matches!(meaning, Meaning::Plain)) {
            return not_supported("a TIFF of an unusual kind");
        }
        // Many programs write the defaults.
        let are = |tag, expected: &[f64]| -> Result<bool, Refusal> {
            let Some(field) = directory.field(tag)? else {
                return Ok(true);
            };
            let near = |(found, expected): (f64, &f64)| (found - expected).abs() < 0.001;
            Ok(field.fractions().count() == expected.len() && field.fractions().zip(expected).all(near))
        };
        let is_usual_ycbcr =
            are(529, &[0.299, 0.587, 0.114])? && are(532, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0])?;
        if is_ycbcr && !is_usual_ycbcr {
            return not_supported("a TIFF in YCbCr with coefficients of its own");
        }

        let tiles = directory.field(322)?;
        let part = match tiles {
            Some(_) => (side(322)?, side(323)?),
            None => {
                let rows = number(278, u64::from(height))?.min(u64::from(height));
                (width, rows as u32)
            }
        };
        if part.0 == 0 || part.1 == 0 {
            return Err(Refusal::Damaged(FORMAT, "its strips or tiles are empty"));
        }
        let [offsets, counts] = if tiles.is_some() { [324, 325] } else { [273, 279] };
        let tables = directory.field(347)?.map(|field| field.bytes());
        if tables.is_some_and(|tables| tables.len() > MAX_TABLES_BYTES) {
            return Err(INVALID);
        }
        let page = Page {
            width,
            height,
            layout,
            is_multiplied: layout.has_alpha() && kind == 1,
            form: Form {
                meaning,
                bits: bits as usize,
                samples: if is_planar { 1 } else { samples },
                is_big_endian: directory.is_big_endian,
                is_differenced: predictor == 2,
            },
            compression,
            is_ycbcr: number(262, 0)? == 6,
            tables,
            is_reversed: number(266, 1)? == 2 && compression != Compression::Jpeg,
            planes: if is_planar { layout.channels() as u32 } else { 1 },
            part,
            is_tiled: tiles.is_some(),
            offsets: directory.field(offsets)?.ok_or(INVALID)?,
            counts: directory.field(counts)?,
        };
        let [across, down] = page.grid().map(u64::from);
        if u64::from(page.planes).saturating_mul(across.saturating_mul(down)) > page.offsets.count() as u64 {
            return Err(Refusal::Damaged(FORMAT, "strips or tiles are missing"));
        }
        Ok(page)
    }

    /// The number of strips or tiles across and down.
    fn grid(&self) -> [u32; 2] {
        [self.width.div_ceil(self.part.0), self.height.div_ceil(self.part.1)]
    }

    /// Decodes all strips or tiles. Returns whether the file ends before them.
    fn fill(&self, content: &[u8], pixels: &mut [u8]) -> Result<bool, Refusal> {
        let [across, down] = self.grid();
        let (mut buffer, mut raw) = (Vec::new(), Vec::new());
        let (mut is_cut, mut named) = (false, 0);
        for plane in 0..self.planes {
            for index in 0..across * down {
                let (left, top) = (index % across * self.part.0, index / across * self.part.1);
                let rows = if self.is_tiled { self.part.1 } else { self.part.1.min(self.height - top) };
                let at = (plane * across * down + index) as usize;
                let needed = self.form.bytes(self.part.0, rows) as usize;
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
                let filled = unpack(data, self.compression, self.part.0, &mut buffer);
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
        let start = self.offsets.at(at).ok_or(INVALID)?;
        let said = self.counts.and_then(|counts| counts.at(at)).filter(|&count| count > 0);
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
            self.form.convert_units(data, self.part.0, |x, y, colour| {
                let (x, y) = (left + x, top + y);
                if x < wide && y < self.height as usize && x < left + self.part.0 as usize {
                    pixels[(y * wide + x) * 3..][..3].copy_from_slice(&colour);
                }
            });
            return;
        }
        let row_bytes = self.form.bytes(self.part.0, 1) as usize;
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
        let columns = (self.part.0 as usize).min(wide - place.left as usize);
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
        let part = part::decode(&file, self.is_ycbcr, self.part).map_err(|refusal| match refusal {
            Refusal::NotSupported(what) => Refusal::NotSupported(format!("a TIFF that contains {what}")),
            _ => INVALID_PIXELS,
        })?;
        let columns = self.part.0.min(self.width - place.left);
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
