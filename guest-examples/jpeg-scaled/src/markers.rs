//! Walks from marker to marker. Source: ITU-T T.81, B.1.1.

use crate::error::{Error, Result};

// Table B.1.
pub(crate) const DHT: u8 = 0xc4;
pub(crate) const RST0: u8 = 0xd0;
pub(crate) const RST7: u8 = 0xd7;
pub(crate) const SOI: u8 = 0xd8;
pub(crate) const EOI: u8 = 0xd9;
pub(crate) const SOS: u8 = 0xda;
pub(crate) const DQT: u8 = 0xdb;
pub(crate) const DNL: u8 = 0xdc;
pub(crate) const DRI: u8 = 0xdd;
pub(crate) const APP0: u8 = 0xe0;
pub(crate) const APP14: u8 = 0xee;

/// A marker and its parameters.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) marker: u8,
    /// Offset of the marker in the file.
    pub(crate) at: usize,
    /// Parameters without their length. Empty for EOI.
    pub(crate) body: &'a [u8],
}

impl<'a> Segment<'a> {
    pub(crate) fn damaged(&self, why: &'static str) -> Error {
        Error::Damaged { at: self.at, why }
    }

    /// Returns `length` bytes of the parameters.
    pub(crate) fn bytes(&self, start: usize, length: usize, why: &'static str) -> Result<&'a [u8]> {
        let end = start.saturating_add(length);
        self.body.get(start..end).ok_or_else(|| self.damaged(why))
    }
}

/// A position in the file, between two segments.
#[derive(Clone)]
pub(crate) struct Markers<'a> {
    pub(crate) file: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Markers<'a> {
    /// Begins after SOI.
    pub(crate) fn new(file: &'a [u8]) -> Result<Self> {
        match file {
            [0xff, SOI, ..] => Ok(Markers { file, at: 2 }),
            [] | [0xff] => Err(Error::CutShort { length: file.len() }),
            _ => Err(Error::NotJpeg),
        }
    }

    /// Reads the next segment. Nothing may lie between two segments but fill bytes (B.1.1.2).
    pub(crate) fn next(&mut self) -> Result<Segment<'a>> {
        let cut_short = Error::CutShort { length: self.file.len() };
        let rest = self.file.get(self.at..).unwrap_or_default();
        if rest.first().is_some_and(|&byte| byte != 0xff) {
            return Err(Error::Damaged { at: self.at, why: "bytes between two segments" });
        }
        let Some(fill) = rest.iter().position(|&byte| byte != 0xff) else {
            return Err(cut_short);
        };
        let at = self.at + fill - 1;
        let rest = &rest[fill..];
        let marker = rest[0];
        if marker == EOI {
            self.at = at + 2;
            return Ok(Segment { marker, at, body: &[] });
        }
        // These have no parameters and don't belong here; 0x00 is a stuffed byte, and 0x01 is TEM.
        if matches!(marker, 0x00 | 0x01 | RST0..=RST7 | SOI) {
            return Err(Error::Damaged { at, why: "a marker that doesn't begin a segment" });
        }
        let length = match rest {
            &[_, high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
            _ => return Err(cut_short),
        };
        if length < 2 {
            return Err(Error::Damaged { at, why: "a segment shorter than its own length" });
        }
        let body = rest.get(3..1 + length).ok_or(cut_short)?;
        self.at = at + 2 + length;
        Ok(Segment { marker, at, body })
    }

    /// Runs over the entropy-coded data of a scan, to the marker that ends it, and checks that the scan has as many
    /// restart intervals as it should, numbered in order (F.1.2.3, B.2.1).
    pub(crate) fn skip_scan(&mut self, intervals: u32) -> Result<()> {
        let mut passed = 1;
        loop {
            let rest = self.file.get(self.at..).unwrap_or_default();
            let cut_short = Error::CutShort { length: self.file.len() };
            let found = memchr::memchr(0xff, rest).ok_or(cut_short.clone())?;
            let marker = *rest.get(found + 1).ok_or(cut_short)?;
            let at = self.at + found;
            match marker {
                0x00 => self.at = at + 2,
                0xff => self.at = at + 1,
                RST0..=RST7 => {
                    if u32::from(marker - RST0) != (passed - 1) % 8 {
                        return Err(Error::Damaged { at, why: "a restart marker out of order" });
                    }
                    if passed == intervals {
                        return Err(Error::Damaged {
                            at,
                            why: "more restart intervals than the scan should have",
                        });
                    }
                    passed += 1;
                    self.at = at + 2;
                }
                _ if passed < intervals => {
                    return Err(Error::Damaged {
                        at,
                        why: "fewer restart intervals than the scan should have",
                    });
                }
                _ => {
                    self.at = at;
                    return Ok(());
                }
            }
        }
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at..)? {
        &[high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}
