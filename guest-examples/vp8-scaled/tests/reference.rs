//! Decodes random frames as the crate `image-webp` does.

mod common;

use std::io::Cursor;

use common::writer::{Settings, frame};
use common::{Random, file};
use image_webp::WebPDecoder;
use image_webp::vp8::Vp8Decoder;
use vp8_scaled::{Options, Plane, decode};

/// Whether a plane is the part that is visible of another one, the rows of which are `stride` bytes long.
fn is_part(plane: &Plane, whole: &[u8], stride: usize) -> bool {
    let width = plane.width as usize;
    plane.samples.len() == width * plane.height as usize
        && plane.samples.chunks(width).zip(whole.chunks(stride)).all(|(row, whole)| row == &whole[..width])
}

#[test]
fn random_frames_with_all_features_come_out_as_with_image_webp() {
    let mut random = Random(1);
    for _ in 0..3_000 {
        let settings = Settings::random(&mut random);
        let data = frame(&settings);
        let theirs = Vp8Decoder::decode_frame(data.as_slice()).expect("it is valid");
        let ours = decode(&data, &Options::default()).expect("it is valid");
        let stride = settings.width.next_multiple_of(16) as usize;
        assert_eq!((ours.luma.width, ours.luma.height), (settings.width, settings.height));
        assert!(is_part(&ours.luma, &theirs.ybuf, stride), "luma of {settings:?}");
        assert!(is_part(&ours.chroma[0], &theirs.ubuf, stride / 2), "U of {settings:?}");
        assert!(is_part(&ours.chroma[1], &theirs.vbuf, stride / 2), "V of {settings:?}");
    }
}

#[test]
fn pixels_are_those_of_image_webp() {
    let mut random = Random(2);
    for turn in 0..300 {
        let settings = Settings::random(&mut random);
        // The smallest sizes first, where each pixel is at an edge.
        let (width, height) = (1 + turn % 5, 1 + turn / 5 % 5);
        let settings = if turn < 25 { Settings { width, height, ..settings } } else { settings };
        let data = frame(&settings);
        let mut decoder = WebPDecoder::new(Cursor::new(file(&data))).expect("it is valid");
        let mut theirs = vec![0; settings.width as usize * settings.height as usize * 3];
        decoder.read_image(&mut theirs).expect("it is valid");
        let ours = decode(&data, &Options::default()).expect("it is valid").to_rgb();
        assert!(ours == theirs, "{settings:?}");
    }
}

#[test]
fn what_image_webp_takes_for_whole_is_taken_for_whole() {
    let mut random = Random(3);
    let (mut whole, mut others) = (0, 0);
    for _ in 0..300 {
        let data = frame(&Settings { magnitude: 1, ..Settings::random(&mut random) });
        for _ in 0..20 {
            // The first partition may be cut too, or the last one by a byte.
            let missing = if random.chance(50) { random.below(4) } else { random.below(data.len() as u32) };
            let data = &data[..data.len() - missing as usize];
            let theirs = Vp8Decoder::decode_frame(data);
            let ours = decode(data, &Options::default());
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{missing} bytes are missing: {ours:?}");
            if ours.is_ok() { whole += 1 } else { others += 1 }
        }
    }
    // Four bytes at the end of a partition are zeros, which a decoder needs not all.
    assert!(whole > 100 && others > 1_000, "{whole} were whole, {others} not");
}
