//! Whatever the bytes, decoding returns, without panic or overflow, a picture of the header's size or an error.

mod common;

use common::Random;
use common::writer::{Settings, frame};
use vp8_scaled::{Error, Header, Limits, Options, Scale, decode};

fn damaged(data: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..1 + random.below(4) {
        let length = data.len() as u32;
        if length < 4 {
            break;
        }
        let at = random.below(length) as usize;
        match random.below(7) {
            0 => data[at] = random.below(256) as u8,
            1 => data[at] ^= 1 << random.below(8),
            2 => data[at] = 0xff,
            3 => data.truncate(at),
            4 => drop(data.drain(at..(at + random.below(40) as usize).min(length as usize))),
            5 => data.insert(at, random.below(256) as u8),
            // In the headers, where a byte changes most.
            _ => data[random.below(length.min(40)) as usize] = random.below(256) as u8,
        }
    }
    data
}

#[test]
fn a_hundred_thousand_damaged_frames() {
    let mut random = Random(2026);
    let (mut decoded, mut refused) = (0, 0);
    let mut data = Vec::new();
    for turn in 0..100_000 {
        if turn % 20 == 0 {
            data = frame(&Settings::random(&mut random));
        }
        let damaged = damaged(&data, &mut random);
        let scale = Scale::ALL[random.below(4) as usize];
        // A header may claim more than this test should take time for.
        let limits = Limits { pixels: 20_000, memory_bytes: 8 << 20 };
        match decode(&damaged, &Options { scale, limits }) {
            Ok(planes) => {
                decoded += 1;
                let header = Header::read(&damaged).expect("it was decoded");
                assert_eq!(header.size(scale), (planes.luma.width, planes.luma.height));
                for plane in planes.chroma.iter().chain([&planes.luma]) {
                    assert_eq!(plane.samples.len(), plane.width as usize * plane.height as usize);
                }
                assert_eq!(planes.to_rgb().len(), 3 * planes.luma.samples.len());
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    // Both ways were tried in earnest.
    assert!(decoded > 10_000 && refused > 10_000, "{decoded} decoded, {refused} refused");
}

#[test]
fn what_is_no_key_frame_is_refused() {
    let data = frame(&Settings::random(&mut Random(1)));
    let with = |at: usize, byte: u8| {
        let mut data = data.clone();
        data[at] = byte;
        decode(&data, &Options::default())
    };
    assert_eq!(with(0, data[0] | 1), Err(Error::NotKeyFrame));
    assert_eq!(with(3, 0), Err(Error::NotKeyFrame));
    // The first decision says which color space it has.
    assert_eq!(with(10, 0xff), Err(Error::Unsupported("a reserved color space")));
    let mut empty = data.clone();
    empty[6..8].fill(0);
    assert_eq!(decode(&empty, &Options::default()), Err(Error::Damaged("a picture without pixels")));
    assert_eq!(decode(&[], &Options::default()), Err(Error::CutShort));
}
