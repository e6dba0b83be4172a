//! How a macroblock is predicted. Source: RFC 6386, 10 and 11.

use crate::bools::Bools;
use crate::header::Frame;
use crate::tables::SUBBLOCK_MODES;

/// How a plane of a macroblock is predicted (11.2, 11.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All samples are the mean of those around (`DC_PRED`).
    Mean,
    /// Each column continues the sample above (`V_PRED`).
    Vertical,
    /// Each row continues the sample to the left (`H_PRED`).
    Horizontal,
    /// Differences continue both ways (`TM_PRED`).
    Motion,
}

/// How a subblock of luma is predicted (11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubblockMode {
    Mean,
    Motion,
    Vertical,
    Horizontal,
    LeftDown,
    RightDown,
    VerticalRight,
    VerticalLeft,
    HorizontalDown,
    HorizontalUp,
}

/// How luma is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luma {
    Whole(Mode),
    Split([SubblockMode; 16]),
}

/// What precedes a macroblock's coefficients.
pub(crate) struct Macroblock {
    pub(crate) segment: usize,
    pub(crate) has_coefficients: bool,
    pub(crate) luma: Luma,
    pub(crate) chroma: Mode,
}

impl Macroblock {
    /// Reads a macroblock. `above` and `left` are the modes of the subblocks around it, and become its own.
    pub(crate) fn read(
        frame: &mut Frame<'_>,
        above: &mut [SubblockMode; 4],
        left: &mut [SubblockMode; 4],
    ) -> Self {
        let bools = &mut frame.modes;
        let segment = frame.segments.map_or(0, |[root, low, high]| {
            if bools.read(root) { 2 + usize::from(bools.read(high)) } else { usize::from(bools.read(low)) }
        });
        let has_coefficients = !frame.coded.is_some_and(|probability| bools.read(probability));
        let luma = if bools.read(145) {
            let mode = if bools.read(156) {
                if bools.read(128) { Mode::Motion } else { Mode::Horizontal }
            } else if bools.read(163) {
                Mode::Vertical
            } else {
                Mode::Mean
            };
            let of_subblocks = match mode {
                Mode::Mean => SubblockMode::Mean,
                Mode::Vertical => SubblockMode::Vertical,
                Mode::Horizontal => SubblockMode::Horizontal,
                Mode::Motion => SubblockMode::Motion,
            };
            (*above, *left) = ([of_subblocks; 4], [of_subblocks; 4]);
            Luma::Whole(mode)
        } else {
            let mut modes = [SubblockMode::Mean; 16];
            for (row, left) in modes.chunks_exact_mut(4).zip(left) {
                for (mode, above) in row.iter_mut().zip(above.iter_mut()) {
                    *mode = read_subblock(bools, *above, *left);
                    (*above, *left) = (*mode, *mode);
                }
            }
            Luma::Split(modes)
        };
        let chroma = read_chroma(&mut frame.modes);
        Macroblock { segment, has_coefficients, luma, chroma }
    }
}

fn read_chroma(bools: &mut Bools) -> Mode {
    if !bools.read(142) {
        Mode::Mean
    } else if !bools.read(114) {
        Mode::Vertical
    } else if !bools.read(183) {
        Mode::Horizontal
    } else {
        Mode::Motion
    }
}

fn read_subblock(bools: &mut Bools, above: SubblockMode, left: SubblockMode) -> SubblockMode {
    use SubblockMode::*;
    let probabilities = &SUBBLOCK_MODES[above as usize * 10 + left as usize];
    let mut read = |node: usize| bools.read(probabilities[node]);
    if !read(0) {
        Mean
    } else if !read(1) {
        Motion
    } else if !read(2) {
        Vertical
    } else if !read(3) {
        if !read(4) {
            Horizontal
        } else if read(5) {
            VerticalRight
        } else {
            RightDown
        }
    } else if !read(6) {
        LeftDown
    } else if !read(7) {
        VerticalLeft
    } else if read(8) {
        HorizontalUp
    } else {
        HorizontalDown
    }
}
