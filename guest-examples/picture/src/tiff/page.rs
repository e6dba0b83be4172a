//! A page of a TIFF: its pixels' form, and where its strips or tiles are.

use super::fields::Fields;
use super::samples::{Form, Meaning, palette};
use super::unpack::Compression;
use super::{FORMAT, INVALID, not_supported};
use crate::ifd::Field;
use crate::picture::Layout;
use crate::refusal::Refusal;

/// Maximum size of the tables that the JPEGs of a file share.
const MAX_TABLES_BYTES: usize = 1 << 16;

pub(super) struct Page<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) layout: Layout,
    pub(super) is_multiplied: bool,
    pub(super) form: Form,
    pub(super) compression: Compression,
    pub(super) is_ycbcr: bool,
    pub(super) tables: Option<&'a [u8]>,
    /// The bits of a byte are stored the other way round.
    pub(super) is_reversed: bool,
    /// The number of planes that are read: one, or one for each channel.
    pub(super) planes: u32,
    pub(super) parts: Parts<'a>,
}

/// The strips or tiles.
pub(super) struct Parts<'a> {
    /// The size of each.
    pub(super) size: (u32, u32),
    pub(super) is_tiled: bool,
    pub(super) offsets: Field<'a>,
    pub(super) counts: Option<Field<'a>>,
}

impl<'a> Page<'a> {
    pub(super) fn read(content: &[u8], fields: &Fields<'a>) -> Result<Self, Refusal> {
        refuse_raw(content, fields)?;
        let (width, height) = (fields.side(256)?, fields.side(257)?);
        let compression =
            Compression::of(fields.number_or(259, 1)?, fields.number_or(292, 0)?).or_else(not_supported)?;
        let samples = fields.number_or(277, 1)? as usize;
        let bits = bits(fields)?;
        let (meaning, mut layout) = meaning(fields, bits, compression)?;
        let is_palette = matches!(meaning, Meaning::Palette(_));
        let colours = if is_palette { 1 } else { layout.channels() };
        // The kind of the sample after the colours: 1 is alpha that is multiplied, 2 alpha that isn't. Where nothing is
        // said, programs take it for alpha.
        let kind = fields.field(338)?.map_or(2, |field| field.at(0).unwrap_or(0));
        let has_alpha = samples > colours && matches!(kind, 1 | 2);
        match layout {
            Layout::Gray if has_alpha => layout = Layout::GrayAlpha,
            Layout::Rgb if has_alpha && !is_palette => layout = Layout::Rgba,
            _ => {}
        }
        let is_planar = samples > 1 && fields.number_or(284, 1)? == 2;
        let form = Form {
            meaning,
            bits,
            samples: if is_planar { 1 } else { samples },
            is_big_endian: fields.is_big_endian(),
            is_differenced: fields.number_or(317, 1)? == 2,
        };
        check_kind(fields, &form, compression, (samples, colours))?;
        let tables = fields.field(347)?.map(|field| field.bytes);
        if tables.is_some_and(|tables| tables.len() > MAX_TABLES_BYTES) {
            return Err(INVALID);
        }
        let page = Page {
            width,
            height,
            layout,
            is_multiplied: layout.has_alpha() && kind == 1,
            form,
            compression,
            is_ycbcr: fields.number_or(262, 0)? == 6,
            tables,
            is_reversed: fields.number_or(266, 1)? == 2 && compression != Compression::Jpeg,
            planes: if is_planar { layout.channels() as u32 } else { 1 },
            parts: Parts::read(fields, (width, height))?,
        };
        let [across, down] = page.grid().map(u64::from);
        let needed = u64::from(page.planes).saturating_mul(across.saturating_mul(down));
        if needed > page.parts.offsets.count() as u64 {
            return Err(Refusal::Damaged(FORMAT, "strips or tiles are missing"));
        }
        Ok(page)
    }

    /// The number of strips or tiles across and down.
    pub(super) fn grid(&self) -> [u32; 2] {
        let (width, height) = self.parts.size;
        [self.width.div_ceil(width), self.height.div_ceil(height)]
    }
}

impl<'a> Parts<'a> {
    fn read(fields: &Fields<'a>, (width, height): (u32, u32)) -> Result<Self, Refusal> {
        let is_tiled = fields.field(322)?.is_some();
        let size = if is_tiled {
            (fields.side(322)?, fields.side(323)?)
        } else {
            let rows = fields.number_or(278, u64::from(height))?.min(u64::from(height));
            (width, rows as u32)
        };
        if size.0 == 0 || size.1 == 0 {
            return Err(Refusal::Damaged(FORMAT, "its strips or tiles are empty"));
        }
        let [offsets, counts] = if is_tiled { [324, 325] } else { [273, 279] };
        let offsets = fields.field(offsets)?.ok_or(INVALID)?;
        Ok(Parts { size, is_tiled, offsets, counts: fields.field(counts)? })
    }
}

/// Refuses what isn't a picture for a viewer.
fn refuse_raw(content: &[u8], fields: &Fields<'_>) -> Result<(), Refusal> {
    if fields.field(50_706)?.is_some() {
        return not_supported("a DNG raw photograph");
    }
    if content.get(8..10) == Some(b"CR") {
        return not_supported("a CR2 raw photograph");
    }
    if fields.number_or(254, 0)? & 1 != 0 {
        return not_supported("a TIFF whose first page is a preview, as raw photographs have");
    }
    Ok(())
}

/// Returns the number of bits of a sample.
fn bits(fields: &Fields<'_>) -> Result<usize, Refusal> {
    let bits = match fields.field(258)? {
        None => 1,
        Some(field) => {
            let first = field.at(0).ok_or(INVALID)?;
            if field.all().any(|bits| bits != first) {
                return not_supported("a TIFF with channels of different numbers of bits");
            }
            first
        }
    };
    if let Some(field) = fields.field(339)?
        && field.all().any(|format| !matches!(format, 1 | 4))
    {
        return not_supported("a TIFF with signed samples or fractions");
    }
    Ok(usize::try_from(bits).unwrap_or(usize::MAX))
}

/// Returns what samples mean, and the layout of the pixels without transparency.
fn meaning(fields: &Fields<'_>, bits: usize, compression: Compression) -> Result<(Meaning, Layout), Refusal> {
    Ok(match fields.number_or(262, u64::MAX)? {
        0 => (Meaning::WhiteIsZero, Layout::Gray),
        1 => (Meaning::Plain, Layout::Gray),
        2 => (Meaning::Plain, Layout::Rgb),
        3 if bits <= 16 => {
            let values = fields.field(320)?.ok_or(INVALID)?.all();
            let palette = palette(values, bits);
            (Meaning::Palette(palette.ok_or(INVALID)?), Layout::Rgb)
        }
        4 => return not_supported("a TIFF that is a mask"),
        5 if fields.number_or(332, 1)? == 1 => (Meaning::Plain, Layout::Cmyk),
        5 => return not_supported("a TIFF with unusual inks"),
        6 if compression == Compression::Jpeg => (Meaning::Plain, Layout::Rgb),
        6 => {
            let subsampling = fields.field(530)?;
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
    })
}

/// Refuses pages whose properties don't go together, of which `samples` is the number of channels, and `colours` that of
/// those that aren't extra.
fn check_kind(
    fields: &Fields<'_>,
    form: &Form,
    compression: Compression,
    (samples, colours): (usize, usize),
) -> Result<(), Refusal> {
    let Form { meaning, bits, .. } = form;
    let predictor = fields.number_or(317, 1)?;
    let is_planar = form.samples != samples;
    let is_ycbcr = matches!(meaning, Meaning::YCbCr { .. });
    let is_eight = *bits == 8 && predictor == 1 && samples == 3 && !is_planar;
    let is_usual = match compression {
        Compression::Fax(_) => *bits == 1 && samples == 1 && predictor == 1,
        Compression::Jpeg => *bits == 8 && predictor == 1 && samples <= 4,
        _ => matches!(predictor, 1 | 2),
    };
    if !(1..=16).contains(bits) || samples > 64 {
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
        let Some(field) = fields.field(tag)? else {
            return Ok(true);
        };
        let fractions = field.fractions().map(|(over, under)| over as f64 / under as f64);
        let near = |(found, expected): (f64, &f64)| (found - expected).abs() < 0.001;
        Ok(field.fractions().count() == expected.len() && fractions.zip(expected).all(near))
    };
    let is_usual_ycbcr =
        are(529, &[0.299, 0.587, 0.114])? && are(532, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0])?;
    if is_ycbcr && !is_usual_ycbcr {
        return not_supported("a TIFF in YCbCr with coefficients of its own");
    }
    Ok(())
}
