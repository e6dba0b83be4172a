//! The loop filter. Source: RFC 6386, 15.

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
                self.across::<true>(at, bounds, kind);
            }
            inner().for_each(|column| self.across::<false>(at + column, bounds, kind));
            if !is_first {
                self.down::<true>(at, bounds, kind);
            }
            inner().for_each(|line| self.down::<false>(at + line * self.stride, bounds, kind));
        }
    }

    /// Filters across a vertical edge to the left of `at`.
    fn across<const IS_OUTER: bool>(&mut self, at: usize, bounds: Bounds, kind: Kind) {
        let mut samples = [[0; SIDE]; 8];
        for y in 0..SIDE {
            if let Some(row) = self.samples[at + y * self.stride - 4..].first_chunk::<8>() {
                for (samples, &sample) in samples.iter_mut().zip(row) {
                    samples[y] = sample;
                }
            }
        }
        if !segments::<SIDE, IS_OUTER>(&mut samples, bounds, kind) {
            return;
        }
        for y in 0..SIDE {
            if let Some(row) = self.samples[at + y * self.stride - 4..].first_chunk_mut::<8>() {
                *row = samples.map(|samples| samples[y]);
            }
        }
    }

    /// Filters across a horizontal edge above `at`.
    fn down<const IS_OUTER: bool>(&mut self, at: usize, bounds: Bounds, kind: Kind) {
        let mut samples = [[0; SIDE]; 8];
        let start = at - 4 * self.stride;
        for (samples, row) in samples.iter_mut().zip(self.samples[start..].chunks(self.stride)) {
            samples.copy_from_slice(&row[..SIDE]);
        }
        if !segments::<SIDE, IS_OUTER>(&mut samples, bounds, kind) {
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
#[inline(always)]
fn segments<const SIDE: usize, const IS_OUTER: bool>(
    samples: &mut [[u8; SIDE]; 8],
    bounds: Bounds,
    kind: Kind,
) -> bool {
    match kind {
        Kind::Simple => simple::<SIDE>(samples, if IS_OUTER { bounds.outer } else { bounds.inner }),
        Kind::Normal => normal::<SIDE, IS_OUTER>(samples, bounds),
    }
}

#[inline(always)]
fn clamp(value: i16) -> i16 {
    value.clamp(-128, 127)
}

#[inline(always)]
fn sample(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}

#[inline(always)]
fn is_near(p1: i16, p0: i16, q0: i16, q1: i16, bound: i16) -> bool {
    (p0 - q0).abs() * 2 + (p1 - q1).abs() / 2 <= bound
}

/// The simple filter (15.2).
#[expect(
    clippy::needless_range_loop,
    reason = "lanes that are indexed alike are computed at once, with SIMD"
)]
#[inline(always)]
fn simple<const SIDE: usize>(samples: &mut [[u8; SIDE]; 8], bound: i16) -> bool {
    let mut changed = false;
    for at in 0..SIDE {
        let [p1, p0, q0, q1] = [2, 3, 4, 5].map(|index: usize| i16::from(samples[index][at]));
        let is_filtered = is_near(p1, p0, q0, q1, bound);
        let step = clamp(clamp(p1 - q1) + 3 * (q0 - p0));
        let (p, q) = (p0 + (clamp(step + 3) >> 3), q0 - (clamp(step + 4) >> 3));
        samples[3][at] = if is_filtered { sample(p) } else { samples[3][at] };
        samples[4][at] = if is_filtered { sample(q) } else { samples[4][at] };
        changed |= is_filtered;
    }
    changed
}

/// The normal filter (15.3).
#[expect(
    clippy::needless_range_loop,
    reason = "lanes that are indexed alike are computed at once, with SIMD"
)]
#[inline(always)]
fn normal<const SIDE: usize, const IS_OUTER: bool>(samples: &mut [[u8; SIDE]; 8], bounds: Bounds) -> bool {
    let edge = if IS_OUTER { bounds.outer } else { bounds.inner };
    let mut changed = false;
    for at in 0..SIDE {
        let [p3, p2, p1, p0, q0, q1, q2, q3] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|index: usize| i16::from(samples[index][at]));
        let is_smooth = |a: i16, b: i16| (a - b).abs() <= bounds.interior;
        let is_filtered = is_near(p1, p0, q0, q1, edge)
            & is_smooth(p3, p2)
            & is_smooth(p2, p1)
            & is_smooth(p1, p0)
            & is_smooth(q3, q2)
            & is_smooth(q2, q1)
            & is_smooth(q1, q0);
        let is_varied = ((p1 - p0).abs() > bounds.variance) | ((q1 - q0).abs() > bounds.variance);
        let outer = clamp(p1 - q1);
        let step = clamp(if IS_OUTER | is_varied { outer } else { 0 } + 3 * (q0 - p0));
        // By how much the samples at the edge change, and the next, and the ones after those.
        let (up, down) = (clamp(step + 3) >> 3, clamp(step + 4) >> 3);
        let (mut p, mut q) = ([p0 + up, p1, p2], [q0 - down, q1, q2]);
        if IS_OUTER {
            let part = |of: i16| (of * step + 63) >> 7;
            let (first, second, third) = (part(27), part(18), part(9));
            p = if is_varied { p } else { [p0 + first, p1 + second, p2 + third] };
            q = if is_varied { q } else { [q0 - first, q1 - second, q2 - third] };
        } else {
            let half = if is_varied { 0 } else { (down + 1) >> 1 };
            (p[1], q[1]) = (p1 + half, q1 - half);
        }
        for (index, value) in [3, 2, 1].into_iter().zip(p).chain([4, 5, 6].into_iter().zip(q)) {
            samples[index][at] = if is_filtered { sample(value) } else { samples[index][at] };
        }
        changed |= is_filtered;
    }
    changed
}
