//! Undoes the compression of a strip or tile.

use super::fax::{Fax, expand};

/// How strips and tiles are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    PackBits,
    Lzw,
    Deflate,
    Fax(Fax),
    Jpeg,
}

impl Compression {
    /// Returns the compression with this number, or what to call it. `options` are those of group 3.
    /// Source: TIFF 6.0, "Compression"; libtiff, `tiff.h`.
    pub(super) fn of(number: u64, options: u64) -> Result<Self, &'static str> {
        Ok(match number {
            1 => Compression::None,
            2 => Compression::Fax(Fax::Rle),
            3 => Compression::Fax(Fax::Group3 { two_dimensional: options & 1 != 0 }),
            4 => Compression::Fax(Fax::Group4),
            5 => Compression::Lzw,
            7 => Compression::Jpeg,
            8 | 32_946 => Compression::Deflate,
            32_773 => Compression::PackBits,
            6 => return Err("a TIFF with old-style JPEG compression"),
            9 | 10 | 34_661 => return Err("a TIFF with JBIG compression"),
            32_766 => return Err("a TIFF with NeXT compression"),
            32_771 => return Err("a TIFF with fax compression on words"),
            32_809 => return Err("a TIFF with ThunderScan compression"),
            33_003 | 33_004 | 33_005 | 34_712 => return Err("a TIFF with JPEG 2000 compression"),
            34_676 | 34_677 => return Err("a TIFF with SGI Log compression"),
            34_887 => return Err("a TIFF with LERC compression"),
            34_925 => return Err("a TIFF with LZMA compression"),
            34_933 | 34_934 => return Err("a TIFF with PNG or JPEG XR compression"),
            50_000 => return Err("a TIFF with Zstandard compression"),
            50_001 => return Err("a TIFF with WebP compression"),
            50_002 | 52_546 => return Err("a TIFF with JPEG XL compression"),
            _ => return Err("a TIFF with an unknown compression"),
        })
    }
}

/// Expands `data` into `out`. Returns the number of bytes that were filled before the data ended or made no sense.
pub(super) fn unpack(data: &[u8], compression: Compression, width: u32, out: &mut [u8]) -> usize {
    match compression {
        // A JPEG has its own decoder.
        Compression::None | Compression::Jpeg => {
            let length = data.len().min(out.len());
            out[..length].copy_from_slice(&data[..length]);
            length
        }
        Compression::PackBits => pack_bits(data, out),
        Compression::Lzw => lzw(data, out),
        Compression::Deflate => deflate(data, out),
        Compression::Fax(fax) => expand(data, width, fax, out),
    }
}

/// Source: TIFF 6.0, section 9.
fn pack_bits(mut data: &[u8], out: &mut [u8]) -> usize {
    let mut filled = 0;
    while let [count, after @ ..] = data {
        let room = out.len() - filled;
        if room == 0 {
            break;
        }
        let (length, used) = match count {
            0..=127 => {
                let said = usize::from(*count) + 1;
                let length = said.min(after.len()).min(room);
                out[filled..filled + length].copy_from_slice(&after[..length]);
                (length, said)
            }
            128 => (0, 0),
            129..=255 => {
                let [value, ..] = after else { break };
                let length = (257 - usize::from(*count)).min(room);
                out[filled..filled + length].fill(*value);
                (length, 1)
            }
        };
        filled += length;
        data = after.get(used..).unwrap_or_default();
    }
    filled
}

/// Source: TIFF 6.0, section 13.
fn lzw(mut data: &[u8], out: &mut [u8]) -> usize {
    let mut decoder = weezl::decode::Configuration::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
        .with_yield_on_full_buffer(true)
        .build();
    let mut filled = 0;
    while filled < out.len() {
        let result = decoder.decode_bytes(data, &mut out[filled..]);
        data = &data[result.consumed_in..];
        filled += result.consumed_out;
        if !matches!(result.status, Ok(weezl::LzwStatus::Ok))
            || (result.consumed_in == 0 && result.consumed_out == 0)
        {
            break;
        }
    }
    filled
}

/// A zlib stream.
fn deflate(mut data: &[u8], out: &mut [u8]) -> usize {
    let mut decoder = fdeflate::Decompressor::new();
    // Its checksum is behind the last pixel, where some programs don't write it.
    decoder.ignore_adler32();
    let mut filled = 0;
    while filled < out.len() && !decoder.is_done() {
        match decoder.read(data, out, filled, true) {
            Ok((consumed, produced)) => {
                data = &data[consumed..];
                filled += produced;
                if consumed == 0 && produced == 0 {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    filled
}
