//! Whatever the bytes, decoding returns, without panic or overflow, a picture of the header's size or an error.

mod common;

use common::Random;
use common::writer::{Picture, Scan};
use jpeg_scaled::{Chroma, Header, Limits, Options, Scale, decode};

/// Small files of all kinds.
fn files() -> Vec<Vec<u8>> {
    let photograph: &[(usize, usize)] = &[(2, 2), (1, 1), (1, 1)];
    let mut with_intervals = Picture::random(1, (40, 20), photograph);
    with_intervals.interval = 1;
    let mut one_by_one = Picture::random(2, (33, 30), &[(1, 2), (2, 1), (1, 1)]);
    one_by_one.scans = (0..3).map(|index| Scan(vec![index], 0, 63, 0, 0)).collect();
    let mut progressive = Picture::random(3, (40, 30), photograph);
    progressive.sof = 0xc2;
    progressive.scans = vec![
        Scan(vec![0, 1, 2], 0, 0, 0, 1),
        Scan(vec![0], 1, 5, 0, 2),
        Scan(vec![1], 1, 63, 0, 1),
        Scan(vec![0], 6, 63, 0, 2),
        Scan(vec![0], 1, 63, 2, 1),
        Scan(vec![0, 1, 2], 0, 0, 1, 0),
        Scan(vec![1], 1, 63, 1, 0),
        Scan(vec![0], 1, 63, 1, 0),
    ];
    let gray = Picture::random(4, (30, 40), &[(1, 1)]);
    [with_intervals, one_by_one, progressive, gray].iter().map(Picture::write).collect()
}

fn damaged(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..1 + random.below(4) {
        let length = file.len() as u32;
        if length < 4 {
            break;
        }
        let at = random.below(length) as usize;
        match random.below(8) {
            0 => file[at] = random.below(256) as u8,
            1 => file[at] ^= 1 << random.below(8),
            2 => file[at] = 0xff,
            3 => file.truncate(at),
            4 => {
                let end = (at + random.below(40) as usize).min(file.len());
                file.drain(at..end);
            }
            5 => file.insert(at, random.below(256) as u8),
            6 => {
                let end = (at + random.below(60) as usize).min(file.len());
                let copy = file[at..end].to_vec();
                let to = random.below(length) as usize;
                file.splice(to..to, copy);
            }
            // In the headers, where a byte changes most.
            _ => file[random.below(length.min(330)) as usize] = random.below(256) as u8,
        }
    }
    file
}

#[test]
fn a_hundred_thousand_damaged_files() {
    let files = files();
    let mut random = Random(2026);
    let (mut decoded, mut refused) = (0, 0);
    for turn in 0..100_000 {
        let file = damaged(&files[turn % files.len()], &mut random);
        let scale = Scale::ALL[random.below(3) as usize];
        let chroma = if random.below(2) == 0 { Chroma::Subsampled } else { Chroma::Full };
        // A header may claim more than this test should take time for.
        let limits = Limits { pixels: 1 << 20, memory_bytes: 8 << 20, scans: 20 };
        match decode(&file, &Options { scale, chroma, limits }) {
            Ok(planes) => {
                decoded += 1;
                let header = Header::read(&file).expect("it was decoded");
                assert_eq!(header.size(scale), (planes.width, planes.height));
                for plane in &planes.planes {
                    assert_eq!(plane.samples.len(), plane.width as usize * plane.height as usize);
                }
                let channels = planes.planes.len();
                assert_eq!(
                    planes.to_pixels().len(),
                    planes.width as usize * planes.height as usize * channels
                );
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    // Both ways were tried in earnest.
    assert!(decoded > 5_000 && refused > 5_000, "{decoded} decoded, {refused} refused");
}

#[test]
fn any_bytes_after_the_first_marker() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let mut file = vec![0xff, 0xd8];
        for _ in 0..random.below(60) {
            let marker = [0xff, 0xc0 + random.below(64) as u8];
            match random.below(3) {
                0 => file.extend(marker),
                1 => file.extend([marker[0], marker[1], 0, random.below(30) as u8]),
                _ => file.push(random.below(256) as u8),
            }
        }
        assert!(decode(&file, &Options::default()).is_err());
    }
}
