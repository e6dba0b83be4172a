//! From the file to planes.

use crate::bits::Entropy;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::markers::{DHT, DNL, EOI, Markers, SOS, Segment};
use crate::plane::{Canvas, Plane, Planes};
use crate::progressive::{Band, FirstOfBand, FirstOfMeans, Layer, RefineBand, RefineMeans};
use crate::scan::{self, Member, Scan};
use crate::sequential::{Sequential, Target};
use crate::survey::{self, Found, Need};
use crate::tables::Tables;
use crate::{Header, Options, Process};

/// Decodes a file at a scale.
///
/// All limits are checked before memory for the picture is allocated, and so is that the file could hold as many blocks
/// as its header says. The crate's documentation says how far a file is checked.
///
/// # Errors
///
/// [`Error::Unsupported`], [`Error::CutShort`] and [`Error::Damaged`] are about the file, the others about
/// [`Options::limits`].
pub fn decode(file: &[u8], options: &Options) -> Result<Planes> {
    let header = Header::read(file)?;
    let frame = &header.frame;
    check_limits(file, frame, options)?;
    let sides: Vec<u32> = frame
        .components
        .iter()
        .map(|component| frame.side(component, options.scale, options.chroma))
        .collect();
    let markers = Markers::new(file)?;
    let planes = match frame.process {
        Process::Progressive => {
            let found = survey::survey(markers.clone(), frame, options.limits.scans)?;
            progressive(markers, frame, &sides, &found)?
        }
        Process::Baseline | Process::Extended => sequential(markers, frame, &sides)?,
    };
    let (width, height) = header.size(options.scale);
    Ok(Planes { width, height, color: header.color, planes })
}

fn check_limits(file: &[u8], frame: &Frame, options: &Options) -> Result<()> {
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    if pixels > options.limits.pixels {
        return Err(Error::TooManyPixels { pixels, limit: options.limits.pixels });
    }
    let needed = frame.memory_bytes(options.scale, options.chroma);
    if needed > options.limits.memory_bytes {
        return Err(Error::TooMuchMemory { needed, limit: options.limits.memory_bytes });
    }
    if frame.all_blocks() > file.len() as u64 * 8 {
        return Err(Error::CutShort { length: file.len() });
    }
    Ok(())
}

/// What lies between two scans.
fn next_scan<'a>(
    markers: &mut Markers<'a>,
    tables: &mut Tables,
    frames: &mut u32,
) -> Result<Option<Segment<'a>>> {
    loop {
        let segment = markers.next()?;
        match segment.marker {
            EOI => return Ok(None),
            SOS => return Ok(Some(segment)),
            DNL => return Err(segment.damaged("a marker that has no place here")),
            0xc0..=0xcf if segment.marker != DHT => {
                *frames += 1;
                if *frames > 1 {
                    return Err(segment.damaged("a second frame header"));
                }
            }
            _ => tables.define(&segment)?,
        }
    }
}

fn sequential(mut markers: Markers, frame: &Frame, sides: &[u32]) -> Result<Vec<Plane>> {
    let mut tables = Tables::new(true);
    let mut canvases: Vec<Option<Canvas>> = frame.components.iter().map(|_| None).collect();
    let mut entropy = Entropy::new(markers.file);
    let mut frames = 0;
    while let Some(segment) = next_scan(&mut markers, &mut tables, &mut frames)? {
        let scan = Scan::read(&segment, frame)?;
        if scan.members.iter().any(|member| canvases[member.component].is_some()) {
            return Err(segment.damaged("a second scan of a component"));
        }
        let mut targets = Vec::new();
        for (canvas, member) in scan.of_members(&mut canvases).into_iter().zip(&scan.members) {
            let component = &frame.components[member.component];
            targets.push(Target {
                canvas: canvas.insert(Canvas::new(sides[member.component], frame.padded_blocks(component))),
                quantisers: tables.quantisers[component.quantisation]
                    .ok_or_else(|| segment.damaged("a scan whose quantisation table isn't defined"))?,
                differences: tables.differences(member.dc).map_err(|why| segment.damaged(why))?,
                coefficients: tables.coefficients(member.ac).map_err(|why| segment.damaged(why))?,
                prediction: 0,
            });
        }
        let layout = (&scan, frame, tables.restart_interval);
        markers.at = scan::decode(&mut entropy, markers.at, layout, &mut Sequential { targets })?;
    }
    let mut planes = Vec::new();
    for ((canvas, component), &side) in canvases.into_iter().zip(&frame.components).zip(sides) {
        let canvas = canvas.ok_or(Error::Damaged { at: markers.at, why: "a component without any scan" })?;
        planes.push(canvas.into_plane(frame.plane(component, side)));
    }
    Ok(planes)
}

fn progressive(mut markers: Markers, frame: &Frame, sides: &[u32], found: &[Found]) -> Result<Vec<Plane>> {
    let mut tables = Tables::new(false);
    let mut entropy = Entropy::new(markers.file);
    let needs: Vec<Need> =
        sides.iter().enumerate().map(|(index, &side)| survey::need(index, side as usize, found)).collect();
    let mut layers = Vec::new();
    for ((component, &side), need) in frame.components.iter().zip(sides).zip(&needs) {
        layers.push(Layer::new(side, frame.padded_blocks(component), need.history));
    }
    let mut quantisers: Vec<Option<[u16; 64]>> = vec![None; layers.len()];
    let mut frames = 0;
    let mut scans = found.iter();
    while let Some(segment) = next_scan(&mut markers, &mut tables, &mut frames)? {
        let Some(Found { scan, end }) = scans.next() else {
            return Err(segment.damaged("a scan that wasn't there before"));
        };
        for &Member { component, .. } in &scan.members {
            // The tables are those of a component's first scan.
            let table = tables.quantisers[frame.components[component].quantisation];
            quantisers[component] = quantisers[component].or(table);
        }
        if scan.members.iter().all(|member| scan.first > needs[member.component].last) {
            markers.at = *end;
            continue;
        }
        let layout = (scan, frame, tables.restart_interval);
        let (entropy, start) = (&mut entropy, markers.at);
        markers.at = match (scan.first, scan.high) {
            (0, 0) => {
                let mut members = Vec::new();
                for (layer, member) in scan.of_members(&mut layers).into_iter().zip(&scan.members) {
                    let differences = tables.differences(member.dc).map_err(|why| segment.damaged(why))?;
                    members.push((layer, differences, 0));
                }
                scan::decode(entropy, start, layout, &mut FirstOfMeans { members, low: scan.low })?
            }
            (0, _) => {
                let members = scan.of_members(&mut layers);
                scan::decode(entropy, start, layout, &mut RefineMeans { members, low: scan.low })?
            }
            (first, high) => {
                let member = scan.members[0];
                let band = Band {
                    layer: &mut layers[member.component],
                    coefficients: tables.coefficients(member.ac).map_err(|why| segment.damaged(why))?,
                    first,
                    last: scan.last,
                    low: scan.low,
                    empty_blocks: 0,
                };
                if high == 0 {
                    scan::decode(entropy, start, layout, &mut FirstOfBand(band))?
                } else {
                    scan::decode(entropy, start, layout, &mut RefineBand(band))?
                }
            }
        };
    }
    finished(layers, frame, sides, quantisers, markers.at)
}

/// Makes planes of the layers of a progressive file that ends at `at`.
fn finished(
    layers: Vec<Layer>,
    frame: &Frame,
    sides: &[u32],
    quantisers: Vec<Option<[u16; 64]>>,
    at: usize,
) -> Result<Vec<Plane>> {
    let mut planes = Vec::new();
    for (((layer, component), &side), quantisers) in
        layers.into_iter().zip(&frame.components).zip(sides).zip(quantisers)
    {
        let why = "a component whose quantisation table isn't defined";
        let quantisers = quantisers.ok_or(Error::Damaged { at, why })?;
        planes.push(layer.into_canvas(&quantisers).into_plane(frame.plane(component, side)));
    }
    Ok(planes)
}
