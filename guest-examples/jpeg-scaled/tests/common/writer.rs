//! The encoder. Source: ITU-T T.81, B.2, F.1.2 and G.1.2.

use super::{Random, corner_samples, zigzag};

pub struct Component {
    pub id: u8,
    pub h: usize,
    pub v: usize,
    /// Blocks in whole MCUs, row by row, each with its coefficients in zigzag order.
    pub blocks: Vec<[i16; 64]>,
}

/// Which components, first and last coefficient, previous and present bit position.
#[derive(Clone, Debug)]
pub struct Scan(pub Vec<usize>, pub u8, pub u8, pub u8, pub u8);

pub struct Picture {
    /// The frame header's marker.
    pub sof: u8,
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    pub quantisers: [u8; 64],
    pub scans: Vec<Scan>,
    pub interval: usize,
}

impl Picture {
    /// A picture of random coefficients, mostly small and of low frequency.
    pub fn random(seed: u64, (width, height): (usize, usize), samplings: &[(usize, usize)]) -> Self {
        let mut random = Random(seed);
        let (h, v) = maxima(samplings);
        let mut components = Vec::new();
        for (index, &(ch, cv)) in samplings.iter().enumerate() {
            let count = width.div_ceil(8 * h) * ch * height.div_ceil(8 * v) * cv;
            let blocks = (0..count).map(|_| random_block(&mut random)).collect();
            components.push(Component { id: index as u8 + 1, h: ch, v: cv, blocks });
        }
        let quantisers = std::array::from_fn(|k| 2 + k as u8 / 6);
        let scans = vec![Scan((0..samplings.len()).collect(), 0, 63, 0, 0)];
        Picture { sof: 0xc0, width, height, components, quantisers, scans, interval: 0 }
    }

    fn maxima(&self) -> (usize, usize) {
        maxima(&self.components.iter().map(|component| (component.h, component.v)).collect::<Vec<_>>())
    }

    fn mcus(&self) -> (usize, usize) {
        let (h, v) = self.maxima();
        (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v))
    }

    /// Width and height of a component in samples.
    fn size(&self, component: &Component) -> (usize, usize) {
        let (h, v) = self.maxima();
        ((self.width * component.h).div_ceil(h), (self.height * component.v).div_ceil(v))
    }

    /// Width, height and samples of a plane, of which each block becomes `side` x `side`.
    pub fn expected(&self, index: usize, side: usize) -> (usize, usize, Vec<f64>) {
        let component = &self.components[index];
        let (width, height) = self.size(component);
        let (width, height) = ((width * side).div_ceil(8), (height * side).div_ceil(8));
        let across = self.mcus().0 * component.h;
        let mut samples = vec![0.0; width * height];
        for (at, block) in component.blocks.iter().enumerate() {
            let mut values = [0.0; 64];
            for (k, &place) in zigzag().iter().enumerate() {
                values[place] = f64::from(block[k]) * f64::from(self.quantisers[k]);
            }
            for (inner, sample) in corner_samples(side, &values).into_iter().enumerate() {
                let (x, y) = (at % across * side + inner % side, at / across * side + inner / side);
                if x < width && y < height {
                    samples[y * width + x] = sample;
                }
            }
        }
        (width, height, samples)
    }

    pub fn write(&self) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8];
        let segment = |file: &mut Vec<u8>, marker: u8, body: &[u8]| {
            file.extend([0xff, marker]);
            file.extend((body.len() as u16 + 2).to_be_bytes());
            file.extend(body);
        };
        segment(&mut file, 0xdb, &[&[0], self.quantisers.as_slice()].concat());
        let mut frame = vec![8];
        frame.extend((self.height as u16).to_be_bytes());
        frame.extend((self.width as u16).to_be_bytes());
        frame.push(self.components.len() as u8);
        for component in &self.components {
            frame.extend([component.id, (component.h << 4 | component.v) as u8, 0]);
        }
        segment(&mut file, self.sof, &frame);
        for (class, (counts, symbols)) in [dc_table(), ac_table()].into_iter().enumerate() {
            segment(&mut file, 0xc4, &[&[(class << 4) as u8], counts.as_slice(), &symbols].concat());
        }
        if self.interval > 0 {
            segment(&mut file, 0xdd, &(self.interval as u16).to_be_bytes());
        }
        for scan in &self.scans {
            let mut header = vec![scan.0.len() as u8];
            for &index in &scan.0 {
                header.extend([self.components[index].id, 0]);
            }
            header.extend([scan.1, scan.2, scan.3 << 4 | scan.4]);
            segment(&mut file, 0xda, &header);
            self.write_scan(scan, &mut file);
        }
        file.extend([0xff, 0xd9]);
        file
    }

    fn write_scan(&self, scan: &Scan, file: &mut Vec<u8>) {
        // The blocks in the scan's order: those of each MCU.
        let mut mcus: Vec<Vec<(usize, usize)>> = Vec::new();
        if let [index] = scan.0[..] {
            let (width, height) = self.size(&self.components[index]);
            let across = self.mcus().0 * self.components[index].h;
            for y in 0..height.div_ceil(8) {
                mcus.extend((0..width.div_ceil(8)).map(|x| vec![(index, y * across + x)]));
            }
        } else {
            let (columns, rows) = self.mcus();
            for (y, x) in (0..columns * rows).map(|at| (at / columns, at % columns)) {
                let mut mcu = Vec::new();
                for &index in &scan.0 {
                    let Component { h, v, .. } = self.components[index];
                    for (by, bx) in (0..h * v).map(|at| (at / h, at % h)) {
                        mcu.push((index, (y * v + by) * columns * h + x * h + bx));
                    }
                }
                mcus.push(mcu);
            }
        }
        let interval = if self.interval == 0 { mcus.len() } else { self.interval };
        for (number, mcus) in mcus.chunks(interval).enumerate() {
            if number > 0 {
                file.extend([0xff, 0xd0 + (number as u8 - 1) % 8]);
            }
            let mut coder = Coder::new(scan, self.sof == 0xc2);
            for &(index, at) in mcus.iter().flatten() {
                coder.block(index, &self.components[index].blocks[at]);
            }
            coder.finish(file);
        }
    }
}

fn maxima(samplings: &[(usize, usize)]) -> (usize, usize) {
    let h = samplings.iter().map(|sampling| sampling.0).max().expect("there is a component");
    let v = samplings.iter().map(|sampling| sampling.1).max().expect("there is a component");
    (h, v)
}

fn random_block(random: &mut Random) -> [i16; 64] {
    let signed = |random: &mut Random, limit: u32| random.below(2 * limit + 1) as i16 - limit as i16;
    let mut block = [0; 64];
    block[0] = signed(random, 200);
    // Some blocks have only a mean, some are full.
    let chance = [0, 4, 16, 60][random.below(4) as usize];
    for (k, coefficient) in block.iter_mut().enumerate().skip(1) {
        if random.below(64) < chance {
            *coefficient = signed(random, 1 + 40 / k as u32);
        }
    }
    if random.below(50) == 0 {
        block[1 + random.below(63) as usize] = signed(random, 1000);
    }
    block
}

/// Sixteen categories, four bits each but for the last.
fn dc_table() -> ([u8; 16], Vec<u8>) {
    let mut counts = [0; 16];
    counts[3] = 12;
    (counts, (0..12).collect())
}

/// All symbols, with codes of 2 to 14 bits.
fn ac_table() -> ([u8; 16], Vec<u8>) {
    let mut counts = [0; 16];
    (counts[1], counts[3], counts[8], counts[13]) = (1, 4, 190, 61);
    let first = [0x00, 0x01, 0x11, 0x02, 0xf0];
    let rest = (0..=255u8).filter(|symbol| !first.contains(symbol));
    (counts, first.into_iter().chain(rest).collect())
}

/// Code and length of each symbol.
fn codes((counts, symbols): ([u8; 16], Vec<u8>)) -> Vec<Option<(u32, u32)>> {
    let mut codes = vec![None; 256];
    let (mut code, mut symbols) = (0, symbols.into_iter());
    for (length, count) in (1..).zip(counts) {
        for symbol in symbols.by_ref().take(count.into()) {
            codes[usize::from(symbol)] = Some((code, length));
            code += 1;
        }
        code <<= 1;
    }
    codes
}

struct Coder<'a> {
    scan: &'a Scan,
    progressive: bool,
    dc: Vec<Option<(u32, u32)>>,
    ac: Vec<Option<(u32, u32)>>,
    bits: Vec<bool>,
    predictions: [i32; 4],
    empty_blocks: u32,
    /// Corrections of the blocks that are counted as empty.
    corrections: Vec<bool>,
}

impl<'a> Coder<'a> {
    fn new(scan: &'a Scan, progressive: bool) -> Self {
        let (dc, ac) = (codes(dc_table()), codes(ac_table()));
        let (bits, corrections) = (Vec::new(), Vec::new());
        Coder { scan, progressive, dc, ac, bits, predictions: [0; 4], empty_blocks: 0, corrections }
    }

    fn put(&mut self, value: u32, count: u32) {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn put_symbol(&mut self, symbol: u32) {
        let (code, length) = self.ac[symbol as usize].expect("the table has all symbols");
        self.put(code, length);
    }

    fn put_value(&mut self, value: i32, size: u32) {
        self.put((if value < 0 { value - 1 } else { value }) as u32 & ((1 << size) - 1), size);
    }

    fn block(&mut self, index: usize, block: &[i16; 64]) {
        let &Scan(_, first, last, high, low) = self.scan;
        if first == 0 && high > 0 {
            self.bits.push(block[0] >> low & 1 == 1);
            return;
        }
        if first == 0 {
            let value = i32::from(block[0] >> low);
            let difference = value - self.predictions[index];
            self.predictions[index] = value;
            let size = size(difference);
            let (code, length) = self.dc[size as usize].expect("the table has all categories");
            self.put(code, length);
            self.put_value(difference, size);
        }
        let band = first.max(1)..=last;
        if !self.progressive {
            self.first_of_band(block, band, 0);
        } else if first > 0 && high == 0 {
            self.first_of_band(block, band, low);
        } else if first > 0 {
            self.refine_band(block, band, low);
        }
    }

    fn first_of_band(&mut self, block: &[i16; 64], band: std::ops::RangeInclusive<u8>, low: u8) {
        let mut zeros = 0;
        for k in band {
            let value = i32::from(block[usize::from(k)]);
            // Divided, so that it is rounded towards zero.
            let value = value / (1 << low);
            if value == 0 {
                zeros += 1;
                continue;
            }
            self.end_empty_blocks();
            while zeros > 15 {
                self.put_symbol(0xf0);
                zeros -= 16;
            }
            let size = size(value);
            self.put_symbol(zeros << 4 | size);
            self.put_value(value, size);
            zeros = 0;
        }
        if zeros > 0 && self.progressive {
            self.empty_blocks += 1;
        } else if zeros > 0 {
            self.put_symbol(0);
        }
    }

    fn refine_band(&mut self, block: &[i16; 64], band: std::ops::RangeInclusive<u8>, low: u8) {
        let size_at = |k: u8| block[usize::from(k)].unsigned_abs() >> low;
        let last_new = band.clone().rev().find(|&k| size_at(k) == 1).unwrap_or(0);
        let (mut zeros, mut corrections) = (0, Vec::new());
        for k in band {
            let size = size_at(k);
            if size == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 && k <= last_new {
                self.end_empty_blocks();
                self.put_symbol(0xf0);
                zeros -= 16;
                self.bits.append(&mut corrections);
            }
            if size > 1 {
                corrections.push(size & 1 == 1);
                continue;
            }
            self.end_empty_blocks();
            self.put_symbol(zeros << 4 | 1);
            self.bits.push(block[usize::from(k)] > 0);
            self.bits.append(&mut corrections);
            zeros = 0;
        }
        if zeros > 0 || !corrections.is_empty() {
            self.empty_blocks += 1;
            self.corrections.append(&mut corrections);
        }
    }

    fn end_empty_blocks(&mut self) {
        if self.empty_blocks > 0 {
            let category = self.empty_blocks.ilog2();
            self.put_symbol(category << 4);
            self.put(self.empty_blocks - (1 << category), category);
            self.empty_blocks = 0;
            let mut corrections = std::mem::take(&mut self.corrections);
            self.bits.append(&mut corrections);
        }
    }

    fn finish(mut self, file: &mut Vec<u8>) {
        self.end_empty_blocks();
        while !self.bits.len().is_multiple_of(8) {
            self.bits.push(true);
        }
        for bits in self.bits.chunks(8) {
            let byte = bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
            file.push(byte);
            if byte == 0xff {
                file.push(0);
            }
        }
    }
}

/// The category of a number (tables F.1 and F.2).
fn size(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}
