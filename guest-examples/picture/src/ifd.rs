//! Reads directories of TIFF and BigTIFF, which EXIF has too. Nothing is decoded before it is asked for, and links between
//! directories are followed only where they are counted. Source: TIFF 6.0, section 2; BigTIFF has the same fields with wider
//! numbers.

/// A file, or a block of EXIF.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    /// The most significant byte comes first.
    is_big_endian: bool,
    /// Offsets have eight bytes.
    is_wide: bool,
}

/// A list of fields.
#[derive(Clone, Copy)]
pub(crate) struct Directory<'a> {
    block: Block<'a>,
    /// The entries, as far as they are there.
    entries: &'a [u8],
    /// Whether all entries are there.
    pub(crate) is_whole: bool,
}

/// The values of a field.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) kind: u16,
    /// The values, as far as they are there.
    pub(crate) bytes: &'a [u8],
    /// Whether all values are there.
    pub(crate) is_whole: bool,
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

/// Returns the first bytes, at most `length`.
fn start(bytes: &[u8], length: u64) -> &[u8] {
    &bytes[..usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len())]
}

impl<'a> Block<'a> {
    /// Reads the start of a block. Some programs that write WebP and PNG keep the prefix that only JPEG has.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
        let (is_big_endian, is_wide) = match bytes.get(..4)? {
            b"II*\0" => (false, false),
            b"MM\0*" => (true, false),
            b"II+\0" => (false, true),
            b"MM\0+" => (true, true),
            _ => return None,
        };
        Some(Block { bytes, is_big_endian, is_wide })
    }

    /// Returns the numbers of bytes of an offset, of the count of entries, and of an entry.
    fn sizes(self) -> [usize; 3] {
        if self.is_wide { [8, 8, 20] } else { [4, 2, 12] }
    }

    fn rest(self, at: u64) -> Option<&'a [u8]> {
        self.bytes.get(usize::try_from(at).ok()?..)
    }

    fn number(self, at: u64, length: usize) -> Option<u64> {
        Some(number(self.rest(at)?.get(..length)?, self.is_big_endian))
    }

    /// Returns the place of the first directory.
    fn first_at(self) -> Option<u64> {
        let [offset_bytes, ..] = self.sizes();
        self.number(offset_bytes as u64, offset_bytes)
    }

    pub(crate) fn first(self) -> Option<Directory<'a>> {
        self.directory(self.first_at()?)
    }

    /// Returns the directory at a place, as far as it is within the block.
    fn directory(self, at: u64) -> Option<Directory<'a>> {
        let [_, count_bytes, entry_bytes] = self.sizes();
        let length = self.number(at, count_bytes)?.saturating_mul(entry_bytes as u64);
        let entries = start(self.rest(at)?.get(count_bytes..)?, length);
        Some(Directory { block: self, entries, is_whole: entries.len() as u64 == length })
    }

    /// Counts the directories that follow each other, each of which is a page of a TIFF. Stops at `most`, as they can follow
    /// each other in a circle.
    pub(crate) fn count(self, most: u32) -> u32 {
        let [offset_bytes, count_bytes, entry_bytes] = self.sizes();
        let mut count = 0;
        let mut at = self.first_at().unwrap_or(0);
        while at != 0 && count < most {
            let Some(entries) = self.number(at, count_bytes) else {
                break;
            };
            count += 1;
            let length = entries.saturating_mul(entry_bytes as u64).saturating_add(count_bytes as u64);
            at = self.number(at.saturating_add(length), offset_bytes).unwrap_or(0);
        }
        count
    }
}

impl<'a> Directory<'a> {
    pub(crate) fn is_big_endian(&self) -> bool {
        self.block.is_big_endian
    }

    /// Returns the first field with this tag.
    pub(crate) fn field(&self, tag: u16) -> Option<Field<'a>> {
        let [offset_bytes, _, entry_bytes] = self.block.sizes();
        let is_big_endian = self.block.is_big_endian;
        let value = |bytes| number(bytes, is_big_endian);
        let mut entries = self.entries.chunks_exact(entry_bytes);
        let entry = entries.find(|entry| value(&entry[..2]) == u64::from(tag))?;
        let kind = value(&entry[2..4]) as u16;
        let (count, values) = entry[4..].split_at(offset_bytes);
        let length = value(count).saturating_mul(size_of(kind) as u64);
        let place = if length <= offset_bytes as u64 {
            values
        } else {
            self.block.rest(value(values)).unwrap_or_default()
        };
        let bytes = start(place, length);
        Some(Field { kind, bytes, is_whole: bytes.len() as u64 == length, is_big_endian })
    }

    /// Returns the first value of a field, if it has one that is a whole number.
    pub(crate) fn number(&self, tag: u16) -> Option<u64> {
        self.field(tag)?.at(0)
    }

    /// Returns the directory that a field points to.
    pub(crate) fn inner(&self, tag: u16) -> Option<Directory<'a>> {
        self.block.directory(self.number(tag)?)
    }
}

impl<'a> Field<'a> {
    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / size_of(self.kind)
    }

    /// Returns a value that is a whole number. A signed one is against the standard, but some cameras write it.
    pub(crate) fn at(&self, index: usize) -> Option<u64> {
        let is_whole_number = matches!(self.kind, 1 | 3 | 4 | 6..=9 | 13 | 16 | 18);
        let bytes = self.bytes.chunks_exact(size_of(self.kind)).nth(index)?;
        is_whole_number.then(|| number(bytes, self.is_big_endian))
    }

    pub(crate) fn all(self) -> impl Iterator<Item = u64> + use<'a> {
        let size = size_of(self.kind);
        self.bytes.chunks_exact(size).map(move |bytes| number(bytes, self.is_big_endian))
    }

    /// Returns the values as fractions: what is above the line, and what is below.
    pub(crate) fn fractions(self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let half = move |bytes| number(bytes, self.is_big_endian);
        self.bytes.chunks_exact(8).map(move |bytes| (half(&bytes[..4]), half(&bytes[4..])))
    }
}
