//! Looks through a progressive file before anything is decoded: which scans are there, and which of them the scale
//! needs. Source: ITU-T T.81, G.1.1.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::markers::{DNL, DRI, EOI, Markers, SOS, Segment, u16_at};
use crate::plane::last_kept;
use crate::scan::Scan;

/// A scan, and where its data ends.
pub(crate) struct Found {
    pub(crate) scan: Scan,
    /// Offset of the marker that ends it.
    pub(crate) end: usize,
}

/// What of a component must be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Scans that begin with a later coefficient, in zigzag order, are not needed.
    pub(crate) last: u32,
    /// Whether it matters which coefficients aren't zero, because a scan refines them.
    pub(crate) history: bool,
}

/// Checks all scans of a file, and that it has an end. `markers` is at the first segment that follows the frame header,
/// or earlier. Of the data of scans it checks that there are as many restart intervals as there should be.
pub(crate) fn survey(mut markers: Markers, frame: &Frame, limit: u32) -> Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    // For each component and coefficient, the bit position down to which it is known.
    let mut known = vec![[None::<u32>; 64]; frame.components.len()];
    let mut interval = 0;
    loop {
        let segment = markers.next()?;
        match segment.marker {
            EOI => break,
            DRI => interval = u16_at(segment.body, 0).unwrap_or(0).into(),
            SOS => {
                let scan = Scan::read(&segment, frame)?;
                check_progression(&segment, &scan, &mut known)?;
                if found.len() >= limit as usize {
                    return Err(Error::TooManyScans { limit });
                }
                markers.skip_scan(scan.intervals(frame, interval))?;
                found.push(Found { scan, end: markers.at });
            }
            DNL => return Err(segment.damaged("a marker that has no place here")),
            _ => {}
        }
    }
    if known.iter().any(|component| component[0].is_none()) {
        return Err(Error::Damaged { at: markers.at, why: "a component without any scan" });
    }
    Ok(found)
}

/// G.1.1.1.1 and G.1.1.1.2: bands, and from bit position to bit position.
fn check_progression(segment: &Segment, scan: &Scan, known: &mut [[Option<u32>; 64]]) -> Result<()> {
    let &Scan { first, last, high, low, .. } = scan;
    let is_band = if first == 0 { last == 0 } else { last >= first && last < 64 && scan.members.len() == 1 };
    if !is_band || low > 13 || (high > 0 && high != low + 1) {
        return Err(segment.damaged("a scan of coefficients that don't belong together"));
    }
    for member in &scan.members {
        for known in &mut known[member.component][first as usize..=last as usize] {
            if *known != (high > 0).then_some(high) {
                return Err(segment.damaged("a scan that doesn't follow the earlier ones"));
            }
            *known = Some(low);
        }
    }
    Ok(())
}

/// What of a component must be decoded for a block's corner of `side` x `side`. A scan that refines needs to know which
/// coefficients of its whole band aren't zero, so that it brings along earlier scans of which nothing is kept.
pub(crate) fn need(component: usize, side: usize, found: &[Found]) -> Need {
    let mut need = Need { last: last_kept(side), history: false };
    loop {
        let before = need;
        for Found { scan, .. } in found {
            let refines = scan.high > 0 && scan.first > 0 && scan.first <= need.last;
            if refines && scan.members.iter().any(|member| member.component == component) {
                need = Need { last: need.last.max(scan.last), history: true };
            }
        }
        if need == before {
            return need;
        }
    }
}
