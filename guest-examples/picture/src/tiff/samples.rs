//! Turns the samples of a strip or tile into pixels of eight bits. Source: TIFF 6.0, sections 3 to 6, 14, 18 and 21.

/// What the samples of a pixel mean.
pub(super) enum Meaning {
    /// Less is brighter, as ink is.
    WhiteIsZero,
    /// As they are.
    Plain,
    /// Indices of colours.
    Palette(Vec<[u8; 3]>),
    /// Brightness, and two differences of colour for each `across` x `down` pixels.
    YCbCr { across: usize, down: usize },
}

/// The form of the samples of a strip or tile.
pub(super) struct Form {
    pub(super) meaning: Meaning,
    /// The number of bits of a sample, at most sixteen.
    pub(super) bits: usize,
    /// The number of samples of a pixel in the strip or tile.
    pub(super) samples: usize,
    pub(super) is_big_endian: bool,
    /// Each sample is the difference from that of the pixel before.
    pub(super) is_differenced: bool,
}

impl Form {
    /// Returns the number of bytes of `rows` rows of `width` pixels.
    pub(super) fn bytes(&self, width: u32, rows: u32) -> u64 {
        let (width, rows) = (u64::from(width), u64::from(rows));
        if let Meaning::YCbCr { across, down } = self.meaning
            && (across, down) != (1, 1)
        {
            let (across, down) = (across as u64, down as u64);
            return width
                .div_ceil(across)
                .saturating_mul(rows.div_ceil(down))
                .saturating_mul(across * down + 2);
        }
        let bits = (self.bits * self.samples) as u64;
        width.saturating_mul(bits).div_ceil(8).saturating_mul(rows)
    }

    /// Converts a row of `width` pixels to `channels` channels of each, as many as `out` holds. Each pixel of `out` takes
    /// `stride` bytes.
    pub(super) fn convert(
        &self,
        row: &[u8],
        out: &mut [u8],
        channels: usize,
        stride: usize,
        raw: &mut Vec<u16>,
    ) {
        self.unpack(row, raw);
        let largest = (1_u32 << self.bits) - 1;
        let scaled = |value: u16| ((u32::from(value) * 255 + largest / 2) / largest) as u8;
        for (pixel, out) in raw.chunks_exact(self.samples).zip(out.chunks_mut(stride)) {
            match &self.meaning {
                Meaning::Palette(palette) => {
                    let colour = palette.get(usize::from(pixel[0])).copied().unwrap_or_default();
                    out[..3].copy_from_slice(&colour);
                }
                Meaning::WhiteIsZero => {
                    out[0] = 255 - scaled(pixel[0]);
                    for (out, &value) in out[1..channels].iter_mut().zip(&pixel[1..]) {
                        *out = scaled(value);
                    }
                }
                Meaning::Plain => {
                    for (out, &value) in out[..channels].iter_mut().zip(pixel) {
                        *out = scaled(value);
                    }
                }
                Meaning::YCbCr { .. } => {
                    out[..3].copy_from_slice(&rgb([pixel[0], pixel[1], pixel[2]].map(scaled)));
                }
            }
        }
    }

    /// Takes the samples of a row apart, and adds up differences.
    fn unpack(&self, row: &[u8], raw: &mut Vec<u16>) {
        raw.clear();
        match self.bits {
            8 => raw.extend(row.iter().map(|&byte| u16::from(byte))),
            16 => {
                let pairs = row.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
                if self.is_big_endian {
                    raw.extend(pairs.map(u16::from_be_bytes));
                } else {
                    raw.extend(pairs.map(u16::from_le_bytes));
                }
            }
            bits => {
                let (mut held, mut count) = (0_u32, 0);
                for &byte in row {
                    (held, count) = (held << 8 | u32::from(byte), count + 8);
                    while count >= bits {
                        count -= bits;
                        raw.push((held >> count) as u16 & ((1_u32 << bits) - 1) as u16);
                    }
                    held &= (1 << count) - 1;
                }
            }
        }
        if self.is_differenced {
            let largest = ((1_u32 << self.bits) - 1) as u16;
            for at in self.samples..raw.len() {
                raw[at] = raw[at].wrapping_add(raw[at - self.samples]) & largest;
            }
        }
    }

    /// Converts a strip or tile in which the colours of several pixels are together. `put` takes the place of each pixel.
    pub(super) fn convert_units(&self, data: &[u8], width: u32, mut put: impl FnMut(usize, usize, [u8; 3])) {
        let Meaning::YCbCr { across, down } = self.meaning else {
            return;
        };
        let units_across = (width as usize).div_ceil(across);
        for (index, unit) in data.chunks_exact(across * down + 2).enumerate() {
            let (left, top) = (index % units_across * across, index / units_across * down);
            for (at, &y) in unit[..across * down].iter().enumerate() {
                let colour = rgb([y, unit[across * down], unit[across * down + 1]]);
                put(left + at % across, top + at / across, colour);
            }
        }
    }
}

/// Source: ITU-R BT.601; TIFF 6.0, section 21, whose defaults are those of JFIF.
fn rgb([y, blue, red]: [u8; 3]) -> [u8; 3] {
    let (y, blue, red) = (f32::from(y), f32::from(blue) - 128.0, f32::from(red) - 128.0);
    [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue]
        .map(|value| value.round().clamp(0.0, 255.0) as u8)
}

/// Reads a palette: all reds, all greens, all blues, of sixteen bits each. Source: TIFF 6.0, "ColorMap".
pub(super) fn palette(values: impl Iterator<Item = u64>, bits: usize) -> Option<Vec<[u8; 3]>> {
    let count = 1 << bits;
    let values: Vec<u64> = values.take(3 * count).collect();
    if values.len() < 3 * count {
        return None;
    }
    // Some programs write eight bits.
    let is_small = values.iter().all(|&value| value < 256);
    let eight = |value: u64| if is_small { value as u8 } else { (value >> 8) as u8 };
    Some((0..count).map(|at| [0, 1, 2].map(|channel| eight(values[channel * count + at]))).collect())
}

pub(super) fn divide_by_alpha(pixels: &mut [u8], channels: usize) {
    for pixel in pixels.chunks_exact_mut(channels) {
        if let Some((&mut alpha, colours)) = pixel.split_last_mut() {
            for colour in colours {
                let divided = (u32::from(*colour) * 255 + u32::from(alpha) / 2).checked_div(u32::from(alpha));
                *colour = divided.unwrap_or(0).min(255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(bits: usize, is_differenced: bool, row: &[u8]) -> Vec<u16> {
        let form = Form { meaning: Meaning::Plain, bits, samples: 1, is_big_endian: true, is_differenced };
        let mut raw = Vec::new();
        form.unpack(row, &mut raw);
        raw
    }

    #[test]
    fn samples_of_each_number_of_bits_are_taken_apart() {
        assert_eq!(raw(2, false, &[0b0001_1011]), [0, 1, 2, 3]);
        assert_eq!(raw(4, false, &[0x0f]), [0, 15]);
        assert_eq!(raw(12, false, &[0xab, 0xcd, 0xef]), [0xabc, 0xdef]);
        assert_eq!(raw(16, false, &[1, 2]), [0x102]);
        assert_eq!(raw(8, true, &[250, 10, 255]), [250, 4, 3]);
        assert_eq!(raw(16, true, &[0xff, 0xff, 0, 2]), [0xffff, 1]);
    }

    #[test]
    fn a_palette_of_eight_bits_is_recognised() {
        let small = [1, 2, 255, 4, 5, 6].into_iter();
        assert_eq!(palette(small, 1), Some(vec![[1, 255, 5], [2, 4, 6]]));
        let wide = [0, 65_535, 257, 0, 514, 0].into_iter();
        assert_eq!(palette(wide, 1), Some(vec![[0, 1, 2], [255, 0, 0]]));
        assert_eq!(palette([1, 2].into_iter(), 1), None);
    }
}
