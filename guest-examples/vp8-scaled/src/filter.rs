//! The loop filter. Source: RFC 6386, 15.

use crate::header::Frame;
use crate::plane::Canvases;
use crate::predict::{Area, CHROMA, LUMA, STRIDE};

/// How strongly a macroblock is filtered.
#[derive(Clone, Copy, Default)]
pub(crate) struct Strength {
    /// Nothing is filtered at level 0.
    pub(crate) level: u8,
    /// Whether edges between subblocks are filtered too.
    pub(crate) is_inner: bool,
}

/// The bounds that a level stands for (15.4).
#[derive(Clone, Copy)]
struct Bounds {
    /// Of the step at an edge between macroblocks.
    outer: i16,
    /// Of the step at an edge between subblocks.
    inner: i16,
    /// Of the steps between samples on one side of an edge.
    interior: i16,
    /// With steps above this, only the samples at the edge are changed.
    variance: i16,
}

impl Bounds {
    fn new(level: u8, sharpness: u8) -> Self {
        let mut interior = level;
        if sharpness > 0 {
            interior >>= if sharpness > 4 { 2 } else { 1 };
            interior = interior.min(9 - sharpness);
        }
        let (level, interior) = (i16::from(level), i16::from(interior.max(1)));
        let variance = match level {
            40.. => 2,
            15.. => 1,
            _ => 0,
        };
        Bounds { outer: (level + 2) * 2 + interior, inner: level * 2 + interior, interior, variance }
    }
}

/// Which filter a frame has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Simple,
    Normal,
}

/// Rows of macroblocks that are filtered.
pub(crate) struct Filtering {
    kind: Kind,
    sharpness: u8,
    strengths: Vec<Strength>,
    luma: Lines<16>,
    chroma: [Lines<8>; 2],
}

impl Filtering {
    pub(crate) fn new(columns: usize, frame: &Frame<'_>) -> Self {
        Filtering {
            kind: if frame.is_filter_simple { Kind::Simple } else { Kind::Normal },
            sharpness: frame.sharpness,
            strengths: vec![Strength::default(); columns],
            luma: Lines::new(columns),
            chroma: [(); 2].map(|()| Lines::new(columns)),
        }
    }

    pub(crate) fn store(&mut self, x: usize, area: &Area, strength: Strength) {
        self.strengths[x] = strength;
        self.luma.store(x, &area[LUMA..], STRIDE);
        for (lines, at) in self.chroma.iter_mut().zip(CHROMA) {
            lines.store(x, &area[at..], STRIDE);
        }
    }

    /// Filters the row `y`, after which the row before doesn't change any more.
    pub(crate) fn filter(&mut self, y: usize, canvases: &mut Canvases) {
        let is_first = y == 0;
        self.luma.filter(&self.strengths, self.sharpness, self.kind, is_first);
        if self.kind == Kind::Normal {
            for lines in &mut self.chroma {
                lines.filter(&self.strengths, self.sharpness, self.kind, is_first);
            }
        }
        if let Some(before) = y.checked_sub(1) {
            self.put(before, canvases, false);
        }
    }

    pub(crate) fn put(&self, y: usize, canvases: &mut Canvases, is_last: bool) {
        for x in 0..self.strengths.len() {
            let (samples, stride) = self.luma.of_row(x, is_last);
            canvases.luma.put((x, y), samples, stride);
            for (canvas, lines) in canvases.chroma.iter_mut().zip(&self.chroma) {
                let (samples, stride) = lines.of_row(x, is_last);
                canvas.put((x, y), samples, stride);
            }
        }
    }

    pub(crate) fn advance(&mut self) {
        self.luma.advance();
        self.chroma.iter_mut().for_each(Lines::advance);
    }
}

/// A plane's samples while a row of macroblocks is filtered: below the row that was filtered before.
pub(crate) struct Lines<const SIDE: usize> {
    stride: usize,
    pub(crate) samples: Vec<u8>,
}

impl<const SIDE: usize> Lines<SIDE> {
    pub(crate) fn new(macroblocks: usize) -> Self {
        let stride = macroblocks * SIDE;
        Lines { stride, samples: vec![0; stride * SIDE * 2] }
    }

    /// Stores a macroblock of the row.
    pub(crate) fn store(&mut self, x: usize, samples: &[u8], stride: usize) {
        let start = SIDE * self.stride + x * SIDE;
        for (to, from) in self.samples[start..].chunks_mut(self.stride).zip(samples.chunks(stride)).take(SIDE)
        {
            to[..SIDE].copy_from_slice(&from[..SIDE]);
        }
    }

    /// Filters the row.
    pub(crate) fn filter(&mut self, strengths: &[Strength], sharpness: u8, kind: Kind, is_first: bool) {
        for (x, strength) in strengths.iter().enumerate().filter(|(_, strength)| strength.level > 0) {
            let bounds = Bounds::new(strength.level, sharpness);
            let at = SIDE * self.stride + x * SIDE;
            let inner = || (4..SIDE).step_by(4).take_while(|_| strength.is_inner);
            if x > 0 {
                self.across(at, bounds, kind, true);
            }
            inner().for_each(|column| self.across(at + column, bounds, kind, false));
            if !is_first {
                self.down(at, bounds, kind, true);
            }
            inner().for_each(|line| self.down(at + line * self.stride, bounds, kind, false));
        }
    }

    /// Filters across a vertical edge to the left of `at`. Rows become columns for it, and back.
    #[inline(never)]
    fn across(&mut self, at: usize, bounds: Bounds, kind: Kind, is_outer: bool) {
        let start = |y: usize| at + y * self.stride - 4;
        let mut samples = [[0; SIDE]; 8];
        for top in (0..SIDE).step_by(8) {
            let row = |y: usize| self.samples[start(top + y)..].first_chunk().copied().unwrap_or_default();
            let columns = transposed([0, 1, 2, 3, 4, 5, 6, 7].map(row));
            for (samples, column) in samples.iter_mut().zip(columns) {
                samples[top..top + 8].copy_from_slice(&column);
            }
        }
        if !segments(&mut samples, bounds, kind, is_outer) {
            return;
        }
        for top in (0..SIDE).step_by(8) {
            let column = |samples: [u8; SIDE]| samples[top..].first_chunk().copied().unwrap_or_default();
            for (y, row) in transposed(samples.map(column)).into_iter().enumerate() {
                let start = start(top + y);
                self.samples[start..start + 8].copy_from_slice(&row);
            }
        }
    }

    /// Filters across a horizontal edge above `at`.
    #[inline(never)]
    fn down(&mut self, at: usize, bounds: Bounds, kind: Kind, is_outer: bool) {
        let mut samples = [[0; SIDE]; 8];
        let start = at - 4 * self.stride;
        for (samples, row) in samples.iter_mut().zip(self.samples[start..].chunks(self.stride)) {
            samples.copy_from_slice(&row[..SIDE]);
        }
        if !segments(&mut samples, bounds, kind, is_outer) {
            return;
        }
        for (samples, row) in samples[1..7].iter().zip(self.samples[start..].chunks_mut(self.stride).skip(1))
        {
            row[..SIDE].copy_from_slice(samples);
        }
    }

    /// Goes on to the next row.
    pub(crate) fn advance(&mut self) {
        self.samples.copy_within(SIDE * self.stride.., 0);
    }

    /// The samples of a macroblock of the row before, or of the last one.
    pub(crate) fn of_row(&self, x: usize, is_last: bool) -> (&[u8], usize) {
        let start = if is_last { SIDE * self.stride } else { 0 } + x * SIDE;
        (&self.samples[start..], self.stride)
    }
}

/// Filters segments of eight samples across an edge, which is in their middle. Returns whether any has changed.
fn segments<const SIDE: usize>(
    samples: &mut [[u8; SIDE]; 8],
    bounds: Bounds,
    kind: Kind,
    is_outer: bool,
) -> bool {
    match kind {
        Kind::Simple => simple(samples, if is_outer { bounds.outer } else { bounds.inner }),
        Kind::Normal if is_outer => normal::<SIDE, true>(samples, bounds),
        Kind::Normal => normal::<SIDE, false>(samples, bounds),
    }
}

/// Turns rows into columns: swaps pairs of samples, then pairs of these, and again.
#[inline]
fn transposed(rows: [[u8; 8]; 8]) -> [[u8; 8]; 8] {
    let mut rows = rows.map(u64::from_le_bytes);
    for (distance, mask) in
        [(1, 0x00ff_00ff_00ff_00ff), (2, 0x0000_ffff_0000_ffff), (4, 0x0000_0000_ffff_ffff)]
    {
        for first in (0..8).filter(|row| row & distance == 0) {
            let (a, b) = (rows[first], rows[first + distance]);
            let swapped = (a >> (8 * distance) ^ b) & mask;
            rows[first] = a ^ swapped << (8 * distance);
            rows[first + distance] = b ^ swapped;
        }
    }
    rows.map(u64::to_le_bytes)
}

#[inline(always)]
fn clamp(value: i16) -> i16 {
    value.clamp(-128, 127)
}

#[inline(always)]
fn sample(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}

/// Whether samples are so alike across an edge that it is smoothed.
#[inline(always)]
fn is_near([p1, p0, q0, q1]: [i16; 4], bound: i16) -> bool {
    (p0 - q0).abs() * 2 + ((p1 - q1).abs() >> 1) <= bound
}

/// The simple filter (15.2). Returns whether any sample has changed.
#[inline(never)]
fn simple<const SIDE: usize>(samples: &mut [[u8; SIDE]; 8], bound: i16) -> bool {
    let [_, _, p1, p0, q0, q1, _, _] = *samples;
    let mut results = [[0; SIDE]; 2];
    let mut changed = 0;
    for at in 0..SIDE {
        let [p1, p0, q0, q1] = [p1[at], p0[at], q0[at], q1[at]].map(i16::from);
        let is_filtered = is_near([p1, p0, q0, q1], bound);
        let step = clamp(clamp(p1 - q1) + 3 * (q0 - p0));
        let step = if is_filtered { step } else { 0 };
        results[0][at] = sample(p0 + (clamp(step + 3) >> 3));
        results[1][at] = sample(q0 - (clamp(step + 4) >> 3));
        changed |= u8::from(is_filtered);
    }
    (samples[3], samples[4]) = (results[0], results[1]);
    changed != 0
}

/// The normal filter (15.3). Returns whether any sample has changed.
#[inline(never)]
fn normal<const SIDE: usize, const IS_OUTER: bool>(samples: &mut [[u8; SIDE]; 8], bounds: Bounds) -> bool {
    let edge = if IS_OUTER { bounds.outer } else { bounds.inner };
    let [p3, p2, p1, p0, q0, q1, q2, q3] = *samples;
    let mut results = [[0; SIDE]; 6];
    let mut changed = 0;
    for at in 0..SIDE {
        let [p3, p2, p1, p0] = [p3[at], p2[at], p1[at], p0[at]].map(i16::from);
        let [q3, q2, q1, q0] = [q3[at], q2[at], q1[at], q0[at]].map(i16::from);
        let (p_step, q_step) = ((p1 - p0).abs(), (q1 - q0).abs());
        let steepest = p_step.max(q_step);
        let interior = (p3 - p2).abs().max((p2 - p1).abs()).max((q3 - q2).abs()).max((q2 - q1).abs());
        let is_filtered = is_near([p1, p0, q0, q1], edge) & (interior.max(steepest) <= bounds.interior);
        let is_varied = steepest > bounds.variance;
        // What is not filtered has no step, and so doesn't change.
        let outer = if IS_OUTER | is_varied { clamp(p1 - q1) } else { 0 };
        let step = clamp(outer + 3 * (q0 - p0));
        let step = if is_filtered { step } else { 0 };
        let (up, down) = (clamp(step + 3) >> 3, clamp(step + 4) >> 3);
        // By how much the samples at the edge change, the next ones, and those after them.
        let (p, q) = if IS_OUTER {
            let wide = if is_varied { 0 } else { step };
            let part = |of: i16| (of * wide + 63) >> 7;
            let (up, down) = if is_varied { (up, down) } else { (part(27), part(27)) };
            ([up, part(18), part(9)], [down, part(18), part(9)])
        } else {
            let half = if is_varied { 0 } else { (down + 1) >> 1 };
            ([up, half, 0], [down, half, 0])
        };
        results[0][at] = sample(p2 + p[2]);
        results[1][at] = sample(p1 + p[1]);
        results[2][at] = sample(p0 + p[0]);
        results[3][at] = sample(q0 - q[0]);
        results[4][at] = sample(q1 - q[1]);
        results[5][at] = sample(q2 - q[2]);
        changed |= u8::from(is_filtered);
    }
    samples[1..7].copy_from_slice(&results);
    changed != 0
}
