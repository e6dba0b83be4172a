//! A scan: its header, and the order in which its blocks lie. Source: ITU-T T.81, A.2, B.2.3 and F.1.2.3.

use crate::bits::{Bits, Entropy};
use crate::error::Result;
use crate::frame::Frame;
use crate::huffman::Step;
use crate::markers::{RST0, Segment};

/// A component of a scan, with the numbers of its Huffman tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Index in the frame.
    pub(crate) component: usize,
    pub(crate) dc: usize,
    pub(crate) ac: usize,
}

/// The parameters of SOS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) members: Vec<Member>,
    /// First and last coefficient in zigzag order.
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Bit position of the previous scan of these coefficients (zero: there was none), and of this one.
    pub(crate) high: u32,
    pub(crate) low: u32,
}

impl Scan {
    pub(crate) fn read(segment: &Segment, frame: &Frame) -> Result<Self> {
        const SHORT: &str = "a scan header that is too short";
        let count = usize::from(segment.bytes(0, 1, SHORT)?[0]);
        if count == 0 || count > frame.components.len() {
            return Err(segment.damaged("a scan of no components, or of more than there are"));
        }
        let mut members: Vec<Member> = Vec::new();
        for spec in segment.bytes(1, 2 * count, SHORT)?.chunks_exact(2) {
            let component = frame
                .components
                .iter()
                .position(|component| component.id == spec[0])
                .filter(|&index| members.iter().all(|member| member.component != index))
                .ok_or_else(|| segment.damaged("a scan of an unknown component, or of one twice"))?;
            let (dc, ac) = (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
            if dc > 3 || ac > 3 {
                return Err(segment.damaged("a Huffman table's number that is not 0 to 3"));
            }
            members.push(Member { component, dc, ac });
        }
        let parameters = segment.bytes(1 + 2 * count, 3, SHORT)?;
        let scan = Scan {
            members,
            first: u32::from(parameters[0]),
            last: u32::from(parameters[1]),
            high: u32::from(parameters[2] >> 4),
            low: u32::from(parameters[2] & 15),
        };
        if parts(&scan, frame).len() > 10 {
            return Err(segment.damaged("more than ten blocks in an MCU"));
        }
        Ok(scan)
    }

    /// Number of MCUs, across and down. A scan of one component isn't interleaved: each of its blocks is an MCU.
    pub(crate) fn mcus(&self, frame: &Frame) -> (u32, u32) {
        match self.members.as_slice() {
            [member] => frame.blocks(&frame.components[member.component]),
            _ => frame.mcus(),
        }
    }

    /// Returns what each member has of `all`, which are in the frame's order.
    pub(crate) fn of_members<'a, T>(&self, all: &'a mut [T]) -> Vec<&'a mut T> {
        let mut free: Vec<Option<&mut T>> = all.iter_mut().map(Some).collect();
        self.members.iter().filter_map(|member| free[member.component].take()).collect()
    }

    /// Number of restart intervals.
    pub(crate) fn intervals(&self, frame: &Frame, interval: u32) -> u32 {
        let (across, down) = self.mcus(frame);
        if interval == 0 { 1 } else { (across * down).div_ceil(interval) }
    }
}

/// Decodes the blocks of a scan.
pub(crate) trait Coder {
    /// Begins a restart interval.
    fn restart(&mut self);

    /// Decodes a block of the member `member` of the scan, at a column and row of the component's blocks.
    fn block(&mut self, bits: &mut Bits, member: usize, column: usize, row: usize) -> Step<()>;
}

/// A block of an MCU.
struct Part {
    member: usize,
    /// How many blocks of its component an MCU has, across and down.
    size: (usize, usize),
    /// Place among these.
    place: (usize, usize),
}

fn parts(scan: &Scan, frame: &Frame) -> Vec<Part> {
    let mut parts = Vec::new();
    for (member, index) in scan.members.iter().map(|member| member.component).enumerate() {
        let component = &frame.components[index];
        let size = match scan.members.len() {
            1 => (1, 1),
            _ => (component.h as usize, component.v as usize),
        };
        for y in 0..size.1 {
            parts.extend((0..size.0).map(|x| Part { member, size, place: (x, y) }));
        }
    }
    parts
}

/// Decodes a scan that begins at the offset `start` in the file. Returns the offset of the marker that ends it.
pub(crate) fn decode(
    entropy: &mut Entropy,
    start: usize,
    (scan, frame, interval): (&Scan, &Frame, u32),
    coder: &mut impl Coder,
) -> Result<usize> {
    let parts = parts(scan, frame);
    let (across, down) = scan.mcus(frame);
    let mut left = across * down;
    let (mut column, mut row) = (0, 0);
    let mut restarts = 0u8;
    entropy.begin(start);
    loop {
        coder.restart();
        let mut here = if interval == 0 { left } else { left.min(interval) };
        left -= here;
        while here > 0 {
            let limit = entropy.fill();
            let from = column;
            let until = from + here.min(across - from);
            let mut bits = entropy.bits();
            let outcome = columns(&mut bits, limit, &parts, (&mut column, until), row, coder);
            let at = bits.at;
            entropy.advance(at);
            outcome.map_err(|why| entropy.error(why))?;
            entropy.check()?;
            here -= column - from;
            if column == across {
                (column, row) = (0, row + 1);
            }
        }
        let marker = entropy.finish()?;
        if left == 0 {
            return Ok(entropy.marker_at());
        }
        if marker != RST0 + restarts {
            return Err(entropy.error("not the restart marker that should follow"));
        }
        restarts = (restarts + 1) & 7;
        entropy.begin(entropy.marker_at() + 2);
    }
}

/// Decodes MCUs of a row, as long as one may begin.
#[inline(always)]
fn columns(
    bits: &mut Bits,
    limit: usize,
    parts: &[Part],
    (column, until): (&mut u32, u32),
    row: u32,
    coder: &mut impl Coder,
) -> Step<()> {
    // A copy stays in registers.
    let mut reader = *bits;
    let mut outcome = Ok(());
    'columns: while *column < until && reader.at < limit {
        for part in parts {
            let x = *column as usize * part.size.0 + part.place.0;
            let y = row as usize * part.size.1 + part.place.1;
            outcome = coder.block(&mut reader, part.member, x, y);
            if outcome.is_err() {
                break 'columns;
            }
        }
        *column += 1;
    }
    bits.at = reader.at;
    outcome
}
