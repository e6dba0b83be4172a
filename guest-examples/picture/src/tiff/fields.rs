//! The fields of a TIFF's first page, all of which must be in the file. The other pages are never looked for.

use super::{FORMAT, INVALID};
use crate::ifd::{Block, Directory, Field};
use crate::refusal::Refusal;

const CUT: Refusal = Refusal::CutShort(FORMAT);

#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(Directory<'a>);

impl<'a> Fields<'a> {
    /// # Errors
    ///
    /// When the file ends before or within the directory.
    pub(super) fn read(content: &'a [u8]) -> Result<Self, Refusal> {
        let first = Block::of(content).and_then(Block::first).filter(|first| first.is_whole);
        first.map(Fields).ok_or(CUT)
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.0.is_big_endian()
    }

    /// Returns the first field with this tag.
    ///
    /// # Errors
    ///
    /// When the file ends before the field's values.
    pub(super) fn field(&self, tag: u16) -> Result<Option<Field<'a>>, Refusal> {
        match self.0.field(tag) {
            Some(field) if !field.is_whole => Err(CUT),
            found => Ok(found),
        }
    }

    /// Returns the first value of a field, if it has one that is a whole number.
    pub(super) fn number(&self, tag: u16) -> Result<Option<u64>, Refusal> {
        Ok(self.field(tag)?.and_then(|field| field.at(0)))
    }

    pub(super) fn number_or(&self, tag: u16, default: u64) -> Result<u64, Refusal> {
        Ok(self.number(tag)?.unwrap_or(default))
    }

    /// Returns the length of a side in pixels, which must be there.
    pub(super) fn side(&self, tag: u16) -> Result<u32, Refusal> {
        self.number(tag)?.ok_or(INVALID)?.try_into().map_err(|_| INVALID)
    }
}
