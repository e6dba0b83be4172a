//! TIFF with the codes of fax machines. The encoder here follows the definitions of ITU-T T.4, on pixels.

use fax::Bits;
use fax::maps::{black, white};

use super::tiff_kinds::{read, tags, tiff};
use super::*;

#[derive(Default)]
struct Writer {
    bits: Vec<bool>,
}

impl Writer {
    fn write(&mut self, bits: &str) {
        self.bits.extend(bits.bytes().map(|bit| bit == b'1'));
    }

    fn run(&mut self, is_black: bool, mut length: usize) {
        let table: &[(u16, Bits)] = if is_black { &black::ENTRIES } else { &white::ENTRIES };
        let mut code = |value: usize| {
            let (_, bits) =
                table.iter().find(|(entry, _)| usize::from(*entry) == value).expect("there is a code");
            self.bits.extend((0..bits.len).rev().map(|at| bits.data >> at & 1 == 1));
        };
        while length >= 64 {
            let part = (length / 64 * 64).min(2560);
            code(part);
            length -= part;
        }
        code(length);
    }

    fn one_dimensional(&mut self, row: &[bool]) {
        let (mut at, mut is_black) = (0, false);
        while at < row.len() {
            let length = row[at..].iter().take_while(|&&pixel| pixel == is_black).count();
            self.run(is_black, length);
            (at, is_black) = (at + length, !is_black);
        }
    }

    /// T.4, 4.2.1.3.
    fn two_dimensional(&mut self, before: &[bool], row: &[bool]) {
        let width = row.len() as i64;
        let pixel = |line: &[bool], at: i64| at >= 0 && line[at as usize];
        // The next pixel after `from` that differs from the one left of it.
        let change = |line: &[bool], from: i64| {
            (from + 1..width).find(|&at| pixel(line, at) != pixel(line, at - 1)).unwrap_or(width)
        };
        let mut a0 = -1;
        while a0 < width {
            let is_black = pixel(row, a0);
            let mut b1 = change(before, a0);
            while b1 < width && pixel(before, b1) == is_black {
                b1 = change(before, b1);
            }
            let b2 = if b1 < width { change(before, b1) } else { width };
            let a1 = (a0.max(0)..width).find(|&at| pixel(row, at) != is_black).unwrap_or(width);
            if b2 < a1 {
                self.write("0001");
                a0 = b2;
            } else if (a1 - b1).abs() <= 3 {
                let codes = ["0000010", "000010", "010", "1", "011", "000011", "0000011"];
                self.write(codes[(a1 - b1 + 3) as usize]);
                a0 = a1;
            } else {
                let a2 = (a1..width).find(|&at| pixel(row, at) == is_black).unwrap_or(width);
                self.write("001");
                self.run(is_black, (a1 - a0.max(0)) as usize);
                self.run(!is_black, (a2 - a1) as usize);
                a0 = a2;
            }
        }
    }

    fn align(&mut self) {
        self.bits.resize(self.bits.len().next_multiple_of(8), false);
    }

    fn finish(mut self) -> Vec<u8> {
        self.align();
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        self.bits.chunks(8).map(byte).collect()
    }
}

/// A page with lines of each length, slants, empty rows, and noise.
fn page(width: usize, height: usize) -> Vec<Vec<bool>> {
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 24
    };
    (0..height)
        .map(|y| {
            let row = (0..width).map(|x| match y % 8 {
                0 => false,
                1 => true,
                2 | 3 => (x + 2 * y) / 9 % 2 == 0,
                4 | 5 => x > width / 3 + y && x < width - 5,
                6 => noise() < 40,
                _ => (x / (y + 1)) % 2 == 1,
            });
            row.collect()
        })
        .collect()
}

const EOL: &str = "000000000001";

/// The page in each variant: the number of its compression, its options, and the data.
fn variants(page: &[Vec<bool>]) -> Vec<(u64, u64, Vec<u8>)> {
    let white = vec![false; page[0].len()];
    let before = |y: usize| if y == 0 { &white } else { &page[y - 1] };
    let mut rle = Writer::default();
    let mut group3 = Writer::default();
    let mut aligned = Writer::default();
    let mut mixed = Writer::default();
    let mut group4 = Writer::default();
    for (y, row) in page.iter().enumerate() {
        rle.one_dimensional(row);
        rle.align();
        group3.write(EOL);
        group3.one_dimensional(row);
        // An end-of-line code that ends a byte.
        while aligned.bits.len() % 8 != 4 {
            aligned.write("0");
        }
        aligned.write(EOL);
        aligned.one_dimensional(row);
        mixed.write(EOL);
        if y % 4 == 0 {
            mixed.write("1");
            mixed.one_dimensional(row);
        } else {
            mixed.write("0");
            mixed.two_dimensional(before(y), row);
        }
        group4.two_dimensional(before(y), row);
    }
    group4.write(EOL);
    group4.write(EOL);
    vec![
        (2, 0, rle.finish()),
        (3, 0, group3.finish()),
        (3, 4, aligned.finish()),
        (3, 1, mixed.finish()),
        (4, 0, group4.finish()),
    ]
}

fn file(
    size: (u32, u32),
    compression: u64,
    options: u64,
    meaning: u64,
    order: u64,
    data: Vec<u8>,
) -> Vec<u8> {
    let values = [(258, 1), (259, compression), (262, meaning), (266, order), (277, 1), (292, options)];
    tiff(&tags(size, &values), &[data], false, false)
}

#[test]
fn fax_of_each_group_is_read() {
    for (width, height) in [(200, 48), (37, 16), (3000, 16)] {
        let page = page(width, height);
        let size = (width as u32, height as u32);
        for (compression, options, data) in variants(&page) {
            for meaning in [0, 1] {
                // White is zero, or the other way round.
                let expected: Vec<u8> = page
                    .iter()
                    .flatten()
                    .map(|&black| if black == (meaning == 0) { 0 } else { 255 })
                    .collect();
                let reversed = data.iter().map(|byte| byte.reverse_bits()).collect();
                for (order, data) in [(1, data.clone()), (2, reversed)] {
                    let file = file(size, compression, options, meaning, order, data);
                    let bounds = &settings().bounds;
                    let picture = decode(file, 5000, bounds).expect("it is a picture");
                    assert_eq!(picture.layout, Layout::Gray);
                    let first = picture.pixels.iter().zip(&expected).position(|(a, b)| a != b);
                    assert_eq!(first, None, "compression {compression}, options {options}, {width}");
                }
            }
        }
    }
}

#[test]
fn white_rows_that_a_fax_leaves_out_are_white() {
    let mut writer = Writer::default();
    writer.two_dimensional(&[false; 32], &[true; 32]);
    writer.write(EOL);
    writer.write(EOL);
    let picture = read(&file((32, 4), 4, 0, 0, 1, writer.finish()));
    assert_eq!(picture.pixels, [[0; 32], [255; 32], [255; 32], [255; 32]].as_flattened());
}

#[test]
fn a_damaged_fax_never_panics_and_is_never_half_a_page() {
    let page = page(70, 16);
    for (compression, options, data) in variants(&page) {
        for length in 0..data.len().saturating_sub(6) {
            let file = file((70, 16), compression, options, 0, 1, data[..length].to_vec());
            let refusal = decode(file, 320, &settings().bounds).expect_err("rows are missing");
            assert!(matches!(refusal, Refusal::Damaged("TIFF", _)), "{refusal}");
        }
        for at in 0..data.len() {
            for byte in [0, 0xff, data[at] ^ 0x10] {
                let mut changed = data.clone();
                changed[at] = byte;
                let _ = decode(file((70, 16), compression, options, 0, 1, changed), 320, &settings().bounds);
            }
        }
    }
    // Runs without length, without end.
    let zeros: String = "001001101010000110111".repeat(10_000);
    let mut writer = Writer::default();
    writer.write(&zeros);
    let refusal = refused(&file((70, 16), 4, 0, 0, 1, writer.finish()));
    assert!(matches!(refusal, Refusal::Damaged("TIFF", _)), "{refusal}");
}
