//! Entropy-coded data: byte stuffing removed, and read bit by bit. Source: ITU-T T.81, B.1.1.5 and F.2.2.5.

use crate::error::{Error, Result};

/// Bytes without stuffing that are in memory at once.
const CHUNK_BYTES: usize = 32 << 10;

/// More bytes than one MCU can take: ten blocks (B.2.3) of 64 coefficients, each a code of 16 bits and a value of 15.
const MCU_BYTES: usize = 4 << 10;

/// A reader of bits. Past the end it reads zeros: [`Entropy`] checks afterwards how far it came.
#[derive(Clone, Copy)]
pub(crate) struct Bits<'a> {
    /// The data as numbers whose highest bit comes first, so that reading needs no change of byte order.
    words: &'a [u64],
    /// Number of bits read.
    pub(crate) at: usize,
}

impl Bits<'_> {
    /// Returns the next 64 bits, the first of them highest.
    #[inline(always)]
    pub(crate) fn window(&self) -> u64 {
        let shift = (self.at & 63) as u32;
        match self.words.get(self.at >> 6..) {
            Some(&[high, low, ..]) => high << shift | low >> 1 >> (63 - shift),
            _ => 0,
        }
    }

    #[inline(always)]
    pub(crate) fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }

    /// Reads up to 16 bits as a number.
    #[inline(always)]
    pub(crate) fn read(&mut self, count: u32) -> u32 {
        let value = (self.window() >> 1 >> (63 - count)) as u32;
        self.skip(count);
        value
    }
}

/// The entropy-coded data of a scan, one restart interval at a time.
pub(crate) struct Entropy<'a> {
    file: &'a [u8],
    /// Offset in the file of what isn't read yet.
    next: usize,
    /// How the interval ends, once its end is read.
    end: Option<End>,
    bytes: Vec<u8>,
    words: Vec<u64>,
    /// Number of bits of `words` that are read.
    at: usize,
}

#[derive(Clone, Copy)]
enum End {
    Marker(u8),
    File,
}

impl<'a> Entropy<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Self {
        let (bytes, words) = (Vec::with_capacity(CHUNK_BYTES), Vec::with_capacity(CHUNK_BYTES / 8 + 3));
        Entropy { file, next: 0, end: None, bytes, words, at: 0 }
    }

    /// Begins an interval at an offset in the file.
    pub(crate) fn begin(&mut self, next: usize) {
        self.next = next;
        self.end = None;
        self.bytes.clear();
        self.words.clear();
        self.at = 0;
    }

    /// Offset in the file of the marker that ended the interval.
    pub(crate) fn marker_at(&self) -> usize {
        self.next
    }

    pub(crate) fn bits(&self) -> Bits<'_> {
        Bits { words: &self.words, at: self.at }
    }

    /// Takes note of how far a copy of the reader came.
    pub(crate) fn advance(&mut self, at: usize) {
        self.at = at;
    }

    /// Makes sure that a whole MCU is in memory, and returns up to where one may begin, in bits.
    pub(crate) fn fill(&mut self) -> usize {
        if self.end.is_none() && self.at >= self.safe() {
            self.read_on();
        }
        if self.end.is_some() { usize::MAX } else { self.safe() }
    }

    fn safe(&self) -> usize {
        self.bytes.len().saturating_sub(MCU_BYTES) * 8
    }

    fn read_on(&mut self) {
        let read = (self.at / 64 * 8).min(self.bytes.len());
        self.bytes.drain(..read);
        self.at -= read * 8;
        self.unstuff();
        self.words.clear();
        let (whole, rest) = self.bytes.as_chunks::<8>();
        self.words.extend(whole.iter().map(|&bytes| u64::from_be_bytes(bytes)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.words.extend([u64::from_be_bytes(last), 0, 0]);
    }

    /// Copies bytes without stuffing until the chunk is full or the interval ends.
    fn unstuff(&mut self) {
        while self.bytes.len() < CHUNK_BYTES {
            let rest = self.file.get(self.next..).unwrap_or_default();
            let part = &rest[..rest.len().min(CHUNK_BYTES - self.bytes.len())];
            let found = memchr::memchr(0xff, part);
            let plain = found.unwrap_or(part.len());
            self.bytes.extend_from_slice(&part[..plain]);
            self.next += plain;
            match (found, rest.get(plain + 1)) {
                (Some(_), Some(0x00)) => {
                    self.bytes.push(0xff);
                    self.next += 2;
                }
                // A fill byte before a marker.
                (Some(_), Some(0xff)) => self.next += 1,
                (Some(_), Some(&marker)) => {
                    self.end = Some(End::Marker(marker));
                    return;
                }
                (None, _) if plain < rest.len() => {}
                _ => {
                    self.end = Some(End::File);
                    return;
                }
            }
        }
    }

    /// Checks that no more was read than there is.
    pub(crate) fn check(&self) -> Result<()> {
        if self.end.is_some() && self.at > self.bytes.len() * 8 {
            return Err(self.error("an interval that ends before its last block"));
        }
        Ok(())
    }

    /// Ends the interval after its last block. Returns the marker that follows.
    pub(crate) fn finish(&mut self) -> Result<u8> {
        if self.end.is_none() {
            self.read_on();
        }
        self.check()?;
        match self.end {
            // Less than a byte may be left, which is padding (F.1.2.3).
            Some(End::Marker(marker)) if self.bytes.len() * 8 - self.at < 8 => Ok(marker),
            _ => Err(self.error("data after the last block of an interval")),
        }
    }

    /// The error for what was met here.
    pub(crate) fn error(&self, why: &'static str) -> Error {
        if matches!(self.end, Some(End::File)) {
            return Error::CutShort { length: self.file.len() };
        }
        // Stuffed bytes that are not read yet aren't counted, so that this is some bytes too late at most.
        let unread = self.bytes.len().saturating_sub(self.at / 8);
        Error::Damaged { at: self.next.saturating_sub(unread), why }
    }
}
