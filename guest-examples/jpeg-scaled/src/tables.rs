//! The tables that a file defines between scans: quantisers, Huffman codes, the restart interval. Source: ITU-T T.81,
//! B.2.4.

use std::rc::Rc;

use crate::error::Result;
use crate::huffman::{Coefficients, Differences, Listing, Step, ZIGZAG};
use crate::markers::{DHT, DQT, DRI, Segment, u16_at};
use crate::standard;

/// A Huffman table's codes, and what is made of them once a scan needs it.
struct Slot<T> {
    listing: Listing,
    made: Option<Rc<T>>,
}

impl<T> Slot<T> {
    fn new(listing: Listing) -> Option<Self> {
        Some(Slot { listing, made: None })
    }

    fn get(slot: &mut Option<Self>, make: impl Fn(&Listing) -> Step<T>) -> Step<Rc<T>> {
        let slot = slot.as_mut().ok_or("a scan whose Huffman table isn't defined")?;
        match &slot.made {
            Some(made) => Ok(made.clone()),
            None => {
                let made = Rc::new(make(&slot.listing)?);
                slot.made = Some(made.clone());
                Ok(made)
            }
        }
    }
}

pub(crate) struct Tables {
    /// Row by row.
    pub(crate) quantisers: [Option<[u16; 64]>; 4],
    differences: [Option<Slot<Differences>>; 4],
    coefficients: [Option<Slot<Coefficients>>; 4],
    /// Number of MCUs in a restart interval. Zero: there are no restart intervals.
    pub(crate) restart_interval: u32,
}

impl Tables {
    /// With `standard`, the Huffman tables of K.3 are there until a file defines its own.
    pub(crate) fn new(standard: bool) -> Self {
        let mut tables = Tables {
            quantisers: [None; 4],
            differences: [const { None }; 4],
            coefficients: [const { None }; 4],
            restart_interval: 0,
        };
        if standard {
            for (slot, listing) in tables.differences.iter_mut().zip(standard::differences()) {
                *slot = Slot::new(listing);
            }
            for (slot, listing) in tables.coefficients.iter_mut().zip(standard::coefficients()) {
                *slot = Slot::new(listing);
            }
        }
        tables
    }

    /// Takes note of a segment, if it defines tables.
    pub(crate) fn define(&mut self, segment: &Segment) -> Result<()> {
        match segment.marker {
            DQT => self.define_quantisers(segment),
            DHT => self.define_codes(segment),
            DRI => {
                let interval = u16_at(segment.body, 0);
                self.restart_interval =
                    interval.ok_or_else(|| segment.damaged("a restart interval that is too short"))?.into();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// B.2.4.1.
    fn define_quantisers(&mut self, segment: &Segment) -> Result<()> {
        const SHORT: &str = "a quantisation table that is too short";
        let mut at = 0;
        while let Some(&head) = segment.body.get(at) {
            let slot = self
                .quantisers
                .get_mut(usize::from(head & 15))
                .ok_or_else(|| segment.damaged("a quantisation table's number that is not 0 to 3"))?;
            let mut table = [0; 64];
            let size = if head >> 4 == 0 { 1 } else { 2 };
            let values = segment.bytes(at + 1, 64 * size, SHORT)?;
            for (bytes, &place) in values.chunks_exact(size).zip(&ZIGZAG) {
                table[usize::from(place)] = u16_at(bytes, 0).unwrap_or(u16::from(bytes[0]));
            }
            *slot = Some(table);
            at += 1 + 64 * size;
        }
        Ok(())
    }

    /// B.2.4.2.
    fn define_codes(&mut self, segment: &Segment) -> Result<()> {
        const SHORT: &str = "a Huffman table that is too short";
        let mut at = 0;
        while let Some(&head) = segment.body.get(at) {
            let mut counts = [0; 16];
            counts.copy_from_slice(segment.bytes(at + 1, 16, SHORT)?);
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            if total > 256 {
                return Err(segment.damaged("a Huffman table of more than 256 codes"));
            }
            let listing = Listing::new(counts, segment.bytes(at + 17, total, SHORT)?);
            let number = usize::from(head & 15);
            match (head >> 4, number) {
                (0, 0..4) => self.differences[number] = Slot::new(listing),
                (1, 0..4) => self.coefficients[number] = Slot::new(listing),
                _ => return Err(segment.damaged("a Huffman table's number or class that doesn't exist")),
            }
            at += 17 + total;
        }
        Ok(())
    }

    pub(crate) fn differences(&mut self, number: usize) -> Step<Rc<Differences>> {
        Slot::get(&mut self.differences[number], Differences::new)
    }

    pub(crate) fn coefficients(&mut self, number: usize) -> Step<Rc<Coefficients>> {
        Slot::get(&mut self.coefficients[number], Coefficients::new)
    }
}
