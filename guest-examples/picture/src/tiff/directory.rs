//! The directory of a TIFF's first page. The others are never looked for, so that their links can't lead in a circle.
//! Source: TIFF 6.0, section 2; BigTIFF has the same fields with wider numbers.

use super::FORMAT;
use crate::refusal::Refusal;

const CUT: Refusal = Refusal::CutShort(FORMAT);

#[derive(Clone, Copy)]
pub(super) struct Directory<'a> {
    content: &'a [u8],
    entries: &'a [u8],
    /// The most significant byte comes first.
    pub(super) is_big_endian: bool,
    /// Offsets have eight bytes.
    is_wide: bool,
}

/// The values of an entry, in the file.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    kind: u16,
    bytes: &'a [u8],
    is_big_endian: bool,
}

fn number(bytes: &[u8], is_big_endian: bool) -> u64 {
    let join = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
    if is_big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
}

/// Returns the number of bytes of a value. Source: TIFF 6.0, "Types".
fn size_of(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

impl<'a> Directory<'a> {
    /// # Errors
    ///
    /// When the file ends before or within the directory.
    pub(super) fn read(content: &'a [u8]) -> Result<Self, Refusal> {
        let is_big_endian = content.starts_with(b"MM");
        let part = |at: u64, length: u64| {
            let at = usize::try_from(at).ok()?;
            content.get(at..at.checked_add(usize::try_from(length).ok()?)?)
        };
        let value = |at, length| part(at, length).map(|bytes| number(bytes, is_big_endian)).ok_or(CUT);
        let is_wide = value(2, 2)? == 43;
        let (first, count_bytes, entry_bytes) =
            if is_wide { (value(8, 8)?, 8, 20) } else { (value(4, 4)?, 2, 12) };
        let count = value(first, count_bytes)?;
        let entries = count.checked_mul(entry_bytes).and_then(|bytes| part(first + count_bytes, bytes));
        Ok(Directory { content, entries: entries.ok_or(CUT)?, is_big_endian, is_wide })
    }

    /// Returns the first entry with this tag.
    ///
    /// # Errors
    ///
    /// When the file ends before the entry's values.
    pub(super) fn field(&self, tag: u16) -> Result<Option<Field<'a>>, Refusal> {
        let (entry_bytes, offset_bytes) = if self.is_wide { (20, 8) } else { (12, 4) };
        let value = |bytes| number(bytes, self.is_big_endian);
        let mut entries = self.entries.chunks_exact(entry_bytes);
        let Some(entry) = entries.find(|entry| value(&entry[..2]) == u64::from(tag)) else {
            return Ok(None);
        };
        let kind = value(&entry[2..4]) as u16;
        let (count, values) = entry[4..].split_at(offset_bytes);
        let length = usize::try_from(value(count))
            .ok()
            .and_then(|count| count.checked_mul(size_of(kind)))
            .ok_or(CUT)?;
        let bytes = if length <= offset_bytes {
            &values[..length]
        } else {
            let start = usize::try_from(value(values)).map_err(|_| CUT)?;
            start.checked_add(length).and_then(|end| self.content.get(start..end)).ok_or(CUT)?
        };
        Ok(Some(Field { kind, bytes, is_big_endian: self.is_big_endian }))
    }

    /// Returns the first value of an entry, if it has one that is a whole number.
    pub(super) fn number(&self, tag: u16) -> Result<Option<u64>, Refusal> {
        Ok(self.field(tag)?.and_then(|field| field.at(0)))
    }
}

impl<'a> Field<'a> {
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn count(&self) -> usize {
        self.bytes.len() / size_of(self.kind)
    }

    /// Returns a value that is a whole number, not less than zero.
    pub(super) fn at(&self, index: usize) -> Option<u64> {
        let size = size_of(self.kind);
        let bytes = self.bytes.chunks_exact(size).nth(index)?;
        matches!(self.kind, 1 | 3 | 4 | 7 | 13 | 16 | 18).then(|| number(bytes, self.is_big_endian))
    }

    pub(super) fn all(self) -> impl Iterator<Item = u64> + use<'a> {
        let size = size_of(self.kind);
        self.bytes.chunks_exact(size).map(move |bytes| number(bytes, self.is_big_endian))
    }

    /// Returns the values as fractions. A denominator of zero makes a value that is equal to none.
    pub(super) fn fractions(self) -> impl Iterator<Item = f64> + use<'a> {
        let half = move |bytes| number(bytes, self.is_big_endian) as f64;
        self.bytes.chunks_exact(8).map(move |bytes| half(&bytes[..4]) / half(&bytes[4..]))
    }
}
