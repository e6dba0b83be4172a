//! Every kind of file at every scale, sample by sample, against the standard's formula and against another decoder.

mod common;

use common::writer::{Picture, Scan};
use common::{Random, coefficients_of, corner_samples};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use jpeg_scaled::{Chroma, Color, Header, Options, Process, Scale, decode};

const SIDES: [(Scale, usize); 3] = [(Scale::Eighth, 1), (Scale::Quarter, 2), (Scale::Half, 4)];

/// Compares all planes of a file with what its coefficients say.
fn check(picture: &Picture, what: &str) {
    let file = picture.write();
    for (scale, side) in SIDES {
        let planes = decode(&file, &Options { scale, ..Options::default() })
            .unwrap_or_else(|error| panic!("{what}, {scale:?}: {error}"));
        for (index, plane) in planes.planes.iter().enumerate() {
            let (width, height, expected) = picture.expected(index, side);
            assert_eq!((plane.width as usize, plane.height as usize), (width, height), "{what}, {scale:?}");
            compare(&plane.samples, &expected, 0.76, &format!("{what}, {scale:?}, plane {index}"));
        }
    }
}

fn compare(samples: &[u8], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(samples.len(), expected.len(), "{what}");
    for (at, (&sample, expected)) in samples.iter().zip(expected).enumerate() {
        assert!((f64::from(sample) - expected).abs() < tolerance, "{what}: {sample} for {expected} at {at}");
    }
}

/// As photographs are mostly stored: color at half the resolution both ways.
const PHOTOGRAPH: &[(usize, usize)] = &[(2, 2), (1, 1), (1, 1)];

#[test]
fn samplings() {
    let samplings: [&[(usize, usize)]; 12] = [
        &[(1, 1)],
        &[(2, 2)],
        &[(1, 1), (1, 1), (1, 1)],
        &[(2, 1), (1, 1), (1, 1)],
        &[(1, 2), (1, 1), (1, 1)],
        PHOTOGRAPH,
        &[(4, 1), (1, 1), (1, 1)],
        &[(2, 2), (2, 1), (1, 2)],
        &[(1, 1), (2, 2), (1, 1)],
        &[(3, 1), (1, 1), (2, 1)],
        &[(1, 1), (1, 3), (1, 2)],
        &[(4, 2), (1, 1), (1, 1)],
    ];
    for (seed, samplings) in samplings.into_iter().enumerate() {
        // A lone component's sampling has no meaning; the test encoder knows only the factors 1, 1.
        let written = if samplings.len() == 1 { &[(1, 1)] } else { samplings };
        for size in [(1, 1), (8, 8), (9, 17), (64, 40), (75, 51)] {
            let mut picture = Picture::random(seed as u64, size, written);
            check(&picture, &format!("{samplings:?}, {size:?}"));
            picture.scans = (0..samplings.len()).map(|index| Scan(vec![index], 0, 63, 0, 0)).collect();
            picture.sof = 0xc1;
            check(&picture, &format!("{samplings:?}, {size:?}, each component by itself"));
        }
    }
}

#[test]
fn restart_intervals() {
    for interval in [1, 2, 3, 7, 9, 100] {
        let mut picture = Picture::random(7, (130, 70), PHOTOGRAPH);
        picture.interval = interval;
        check(&picture, &format!("baseline, interval {interval}"));
        picture.sof = 0xc2;
        picture.scans = usual_progression();
        check(&picture, &format!("progressive, interval {interval}"));
    }
}

/// What libjpeg's `jpeg_simple_progression` writes.
fn usual_progression() -> Vec<Scan> {
    vec![
        Scan(vec![0, 1, 2], 0, 0, 0, 1),
        Scan(vec![0], 1, 5, 0, 2),
        Scan(vec![2], 1, 63, 0, 1),
        Scan(vec![1], 1, 63, 0, 1),
        Scan(vec![0], 6, 63, 0, 2),
        Scan(vec![0], 1, 63, 2, 1),
        Scan(vec![0, 1, 2], 0, 0, 1, 0),
        Scan(vec![2], 1, 63, 1, 0),
        Scan(vec![1], 1, 63, 1, 0),
        Scan(vec![0], 1, 63, 1, 0),
    ]
}

#[test]
fn progressions() {
    let spectral_selection_only = vec![
        Scan(vec![2, 0, 1], 0, 0, 0, 0),
        Scan(vec![0], 3, 63, 0, 0),
        Scan(vec![0], 1, 2, 0, 0),
        Scan(vec![1], 1, 24, 0, 0),
        Scan(vec![1], 25, 63, 0, 0),
        Scan(vec![2], 1, 63, 0, 0),
    ];
    // Bands that are refined in other cuts than they were begun in, so that scans that are needed bring along others.
    let mut overlapping =
        vec![Scan(vec![0], 0, 0, 0, 3), Scan(vec![1], 0, 0, 0, 0), Scan(vec![2], 0, 0, 0, 0)];
    overlapping.extend([0, 1, 2].map(|index| Scan(vec![index], 1, 4, 0, 2)));
    overlapping.extend([0, 1, 2].map(|index| Scan(vec![index], 5, 30, 0, 2)));
    overlapping.extend([0, 1, 2].map(|index| Scan(vec![index], 31, 63, 0, 2)));
    overlapping.extend([3, 2, 1].map(|high| Scan(vec![0], 0, 0, high, high - 1)));
    for high in [2, 1] {
        overlapping.extend([0, 1, 2].map(|index| Scan(vec![index], 26, 63, high, high - 1)));
        overlapping.extend([0, 1, 2].map(|index| Scan(vec![index], 3, 25, high, high - 1)));
        overlapping.extend([0, 1, 2].map(|index| Scan(vec![index], 1, 2, high, high - 1)));
    }
    let progressions = [usual_progression(), spectral_selection_only, overlapping];
    for (number, scans) in progressions.into_iter().enumerate() {
        for samplings in [PHOTOGRAPH, &[(1, 1), (1, 1), (1, 1)], &[(2, 1), (1, 1), (1, 2)]] {
            for (seed, size) in [(1, 1), (9, 17), (64, 40), (175, 251)].into_iter().enumerate() {
                let mut picture = Picture::random(seed as u64, size, samplings);
                (picture.sof, picture.scans) = (0xc2, scans.clone());
                check(&picture, &format!("progression {number}, {samplings:?}, {size:?}"));
            }
        }
    }
}

#[test]
fn color_at_the_pictures_resolution() {
    let full = Options { chroma: Chroma::Full, ..Options::default() };
    for (samplings, factor) in
        [(PHOTOGRAPH, 2), (&[(2, 1), (1, 1), (1, 1)], 1), (&[(4, 4), (1, 1), (1, 1)], 4)]
    {
        for progressive in [false, true] {
            let mut picture = Picture::random(3, (83, 45), samplings);
            if progressive || samplings[0] == (4, 4) {
                (picture.sof, picture.scans) = (0xc2, usual_progression());
                // Eighteen blocks don't fit in an MCU.
                picture.scans.splice(0..1, (0..3).map(|index| Scan(vec![index], 0, 0, 0, 1)));
                picture.scans.retain(|scan| !(scan.0.len() == 3 && scan.3 == 1));
                picture.scans.extend((0..3).map(|index| Scan(vec![index], 0, 0, 1, 0)));
            }
            let file = picture.write();
            for (scale, side) in SIDES {
                let planes = decode(&file, &Options { scale, ..full }).expect("the file is whole");
                for (index, plane) in planes.planes.iter().enumerate() {
                    let side = if index == 0 { side } else { (side * factor).min(8) };
                    let (width, height, expected) = picture.expected(index, side);
                    assert_eq!((plane.width as usize, plane.height as usize), (width, height));
                    compare(
                        &plane.samples,
                        &expected,
                        0.76,
                        &format!("{samplings:?}, {scale:?}, plane {index}"),
                    );
                }
                if factor == 2 {
                    assert!(planes.planes.iter().all(|plane| plane.width == planes.width));
                }
            }
        }
    }
}

/// A picture with edges, gradients and some noise, in RGB.
fn photograph(width: usize, height: usize) -> Vec<u8> {
    let mut random = Random(11);
    let mut pixels = Vec::new();
    for (y, x) in (0..width * height).map(|at| (at / width, at % width)) {
        let noise = random.below(20) as usize;
        let (x, y) = (x * 200 / width, y * 200 / height);
        let stripe = if (x / 9 + y / 13) % 2 == 0 { 40 } else { 0 };
        pixels.extend([x + noise, y + stripe, (x + y) / 2 + stripe].map(|value| (20 + value).min(255) as u8));
    }
    pixels
}

fn encoded((width, height): (usize, usize), prepare: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    prepare(&mut encoder);
    encoder
        .encode(&photograph(width, height), width as u16, height as u16, ColorType::Rgb)
        .expect("it is valid");
    file
}

#[test]
fn another_decoder_agrees_block_by_block() {
    let (width, height) = (203, 147);
    let samplings =
        [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2];
    for (sampling, progressive, interval) in samplings.into_iter().flat_map(|sampling| {
        [(sampling, false, 0), (sampling, true, 0), (sampling, false, 5), (sampling, true, 5)]
    }) {
        let file = encoded((width, height), |encoder| {
            encoder.set_sampling_factor(sampling);
            encoder.set_progressive(progressive);
            encoder.set_restart_interval(interval);
            // The encoder can't have both.
            encoder.set_optimized_huffman_tables(interval == 0);
        });
        let mut decoder = jpeg_decoder::Decoder::new(file.as_slice());
        // Leaves the components as they are.
        decoder.set_color_transform(jpeg_decoder::ColorTransform::RGB);
        let full = decoder.decode().expect("the file is whole");
        for (scale, side) in SIDES {
            let planes = decode(&file, &Options { scale, ..Options::default() }).expect("the file is whole");
            let luma = &planes.planes[0];
            assert_eq!((luma.width, luma.height), (planes.width, planes.height));
            // Whole blocks only: what fills up the last ones isn't in the picture.
            for (y, x) in (0..height / 8 * (width / 8)).map(|at| (at / (width / 8), at % (width / 8))) {
                let samples = std::array::from_fn(|at| {
                    f64::from(full[((y * 8 + at / 8) * width + x * 8 + at % 8) * 3])
                });
                for (at, expected) in corner_samples(side, &coefficients_of(&samples)).into_iter().enumerate()
                {
                    let (row, column) = (y * side + at / side, x * side + at % side);
                    let sample = luma.samples[row * luma.width as usize + column];
                    assert!(
                        (f64::from(sample) - expected).abs() <= 2.0,
                        "{sampling:?}, progressive {progressive}, {scale:?}: {sample} for {expected} at {x}, {y}"
                    );
                }
            }
        }
    }
}

#[test]
fn pixels_are_those_of_another_decoder_at_the_same_scale() {
    // Jumps of color lie between pixels of this scale, and the other decoder doesn't enlarge color at the edge.
    let file = encoded((256, 160), |encoder| encoder.set_sampling_factor(SamplingFactor::F_1_1));
    for (scale, width) in [(Scale::Eighth, 32), (Scale::Quarter, 64), (Scale::Half, 128)] {
        let mut decoder = jpeg_decoder::Decoder::new(file.as_slice());
        let scaled = decoder.scale(width, u16::MAX).expect("the header is valid");
        assert_eq!(scaled.0, width);
        let expected = decoder.decode().expect("the file is whole");
        let pixels =
            decode(&file, &Options { scale, ..Options::default() }).expect("the file is whole").to_pixels();
        assert_eq!(pixels.len(), expected.len());
        for (at, (&pixel, &expected)) in pixels.iter().zip(&expected).enumerate() {
            assert!(pixel.abs_diff(expected) <= 3, "{scale:?}: {pixel} for {expected} at {at}");
        }
    }
}

#[test]
fn smaller_color_planes_are_enlarged_to_pixels() {
    for samplings in
        [PHOTOGRAPH, &[(4, 1), (1, 1), (1, 1)], &[(3, 1), (2, 1), (1, 1)], &[(1, 1), (2, 2), (1, 1)]]
    {
        let mut picture = Picture::random(5, (83, 45), samplings);
        // Flat color: brightness 178, and no blue.
        for (component, mean) in picture.components.iter_mut().zip([200, -200, 100]) {
            component.blocks.fill(std::array::from_fn(|k| if k == 0 { mean } else { 0 }));
        }
        let planes = decode(&picture.write(), &Options::default()).expect("the file is whole");
        assert_eq!((planes.width, planes.height), (11, 6), "{samplings:?}");
        let pixels = planes.to_pixels();
        assert_eq!(pixels.len(), 11 * 6 * 3);
        // Cb = 128 - 50 and Cr = 128 + 25, by ITU-T T.871, 7.
        let expected = [178.0 + 1.402 * 25.0, 178.0 + 0.344 * 50.0 - 0.714 * 25.0, 178.0 - 1.772 * 50.0];
        for pixel in pixels.chunks(3) {
            compare(pixel, &expected, 1.0, &format!("{samplings:?}"));
        }
    }
}

#[test]
fn headers_tell_size_process_and_color() {
    let picture = |sof, ids: &[u8]| {
        let mut picture = Picture::random(1, (83, 45), &vec![(1, 1); ids.len()]);
        picture.sof = sof;
        for (component, &id) in picture.components.iter_mut().zip(ids) {
            component.id = id;
        }
        picture.write()
    };
    let header = Header::read(&picture(0xc1, &[7])).expect("the header is valid");
    assert_eq!((header.width(), header.height()), (83, 45));
    assert_eq!((header.process(), header.color), (Process::Extended, Color::Gray));
    assert_eq!(Scale::ALL.map(|scale| header.size(scale)), [(11, 6), (21, 12), (42, 23)]);
    let color = |file: &[u8]| Header::read(file).expect("the header is valid").color;
    assert_eq!(color(&picture(0xc0, &[1, 2, 3])), Color::YCbCr);
    assert_eq!(color(&picture(0xc0, b"RGB")), Color::Rgb);
    assert_eq!(color(&picture(0xc0, &[0, 1, 2])), Color::YCbCr);
    // Adobe's segment says so; JFIF's wins.
    let jfif = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".as_slice();
    let adobe = |transform| [b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat();
    let with = |segments: &[u8], ids| {
        let file = picture(0xc0, ids);
        [&file[..2], segments, &file[2..]].concat()
    };
    assert_eq!(color(&with(&adobe(0), &[1, 2, 3])), Color::Rgb);
    assert_eq!(color(&with(&adobe(1), b"RGB")), Color::YCbCr);
    assert_eq!(color(&with(&[jfif, &adobe(0)].concat(), &[1, 2, 3])), Color::YCbCr);
    let rgb = with(&adobe(0), &[1, 2, 3]);
    let planes = decode(&rgb, &Options::default()).expect("the file is whole");
    let interleaved: Vec<u8> =
        (0..11 * 6).flat_map(|at| [0, 1, 2].map(|index| planes.planes[index].samples[at])).collect();
    assert_eq!(planes.to_pixels(), interleaved);
}

#[test]
fn the_standards_tables_stand_in_for_missing_ones() {
    // What the encoder writes without optimised tables are those of K.3.
    let file = encoded((120, 90), |_| {});
    let mut bare = file[..2].to_vec();
    let mut at = 2;
    while file[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] != 0xc4 {
            bare.extend(&file[at..end]);
        }
        at = end;
    }
    bare.extend(&file[at..]);
    assert!(bare.len() < file.len() - 400);
    for (scale, _) in SIDES {
        let options = Options { scale, ..Options::default() };
        assert_eq!(decode(&bare, &options), decode(&file, &options));
    }
}

#[test]
fn memory_is_not_more_than_the_header_says() {
    // 12 megapixels with 4:2:0 sampling: one byte and a half for 64 pixels, or three times that.
    let header = |sof| {
        let mut picture = Picture::random(1, (16, 16), PHOTOGRAPH);
        (picture.sof, picture.scans, picture.width, picture.height) = (sof, Vec::new(), 4000, 3000);
        Header::read(&picture.write()).expect("the header is valid")
    };
    let blocks = 250 * 188 * 6;
    let at_an_eighth = |sof| header(sof).memory_bytes(Scale::Eighth, Chroma::Subsampled);
    let fixed = at_an_eighth(0xc0) - blocks;
    assert!(fixed < 1 << 20);
    assert_eq!(at_an_eighth(0xc2), fixed + 3 * blocks);
    assert_eq!(header(0xc0).memory_bytes(Scale::Half, Chroma::Subsampled), fixed + 16 * blocks);
    assert_eq!(header(0xc2).memory_bytes(Scale::Half, Chroma::Subsampled), fixed + 56 * blocks);
}
