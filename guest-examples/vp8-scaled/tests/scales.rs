//! Each pixel at a scale is the mean of those that it stands for.

mod common;

use common::Random;
use common::writer::{Settings, frame};
use vp8_scaled::{Error, Header, Limits, Options, Plane, Scale, decode};

/// The means of cells of this side. Those at an edge may be smaller.
fn means(plane: &Plane, cell: u32) -> Plane {
    let (width, height) = (plane.width.div_ceil(cell), plane.height.div_ceil(cell));
    let mean = |x: u32, y: u32| {
        let (right, bottom) = (((x + 1) * cell).min(plane.width), ((y + 1) * cell).min(plane.height));
        let at = |x: u32, y: u32| u32::from(plane.samples[(y * plane.width + x) as usize]);
        let sum: u32 = (y * cell..bottom).flat_map(|y| (x * cell..right).map(move |x| at(x, y))).sum();
        let count = (right - x * cell) * (bottom - y * cell);
        ((sum + count / 2) / count) as u8
    };
    let samples = (0..width * height).map(|at| mean(at % width, at / width)).collect();
    Plane { width, height, samples }
}

/// The means of 2 x 2 pixels, to which color differences are interpolated with the weights 9, 3, 3 and 1.
fn interpolated_means(plane: &Plane) -> Plane {
    let (width, height) = (plane.width as usize, plane.height as usize);
    let at = |x: usize, y: usize| u32::from(plane.samples[y * width + x]);
    let nearest =
        |at: usize, length: usize| [(at.saturating_sub(1), 1), (at, 6), ((at + 1).min(length - 1), 1)];
    let mean = |x: usize, y: usize| {
        let rows = nearest(y, height);
        let cells = rows.iter().flat_map(|row| nearest(x, width).map(move |column| (column, *row)));
        let sum: u32 = cells.map(|((x, across), (y, down))| across * down * at(x, y)).sum();
        ((sum + 32) / 64) as u8
    };
    let samples = (0..width * height).map(|at| mean(at % width, at / width)).collect();
    Plane { samples, ..*plane }
}

#[test]
fn a_scaled_picture_consists_of_means_without_the_loop_filter_from_a_quarter_down() {
    let mut random = Random(1);
    for _ in 0..300 {
        let settings = Settings::random(&mut random);
        let filtered = frame(&settings);
        // The same frame, without the filter.
        let unfiltered = frame(&Settings { level: 0, ..settings.clone() });
        for (scale, cell) in [(Scale::Half, 2), (Scale::Quarter, 4), (Scale::Eighth, 8)] {
            let whole = if scale == Scale::Half { &filtered } else { &unfiltered };
            let whole = decode(whole, &Options::default()).expect("it is valid");
            let options = Options { scale, ..Options::default() };
            let scaled = decode(&filtered, &options).expect("it is valid");
            assert_eq!(scaled.luma, means(&whole.luma, cell), "luma at {scale:?} of {settings:?}");
            // Color has half the resolution already.
            for (chroma, whole) in scaled.chroma.iter().zip(&whole.chroma) {
                let expected =
                    if scale == Scale::Half { interpolated_means(whole) } else { means(whole, cell / 2) };
                assert_eq!(*chroma, expected, "color at {scale:?} of {settings:?}");
            }
            let header = Header::read(&filtered).expect("it is valid");
            assert_eq!((scaled.luma.width, scaled.luma.height), header.size(scale));
            let pixels = scaled.luma.samples.len();
            assert_eq!(scaled.to_rgb().len(), 3 * pixels);
            assert!(header.memory_bytes(scale) >= 3 * pixels as u64);
        }
    }
}

#[test]
fn what_exceeds_a_limit_is_refused_before_it_is_decoded() {
    let settings = Settings { width: 64, height: 32, ..Settings::random(&mut Random(1)) };
    // Only the header is there.
    let data = &frame(&settings)[..10];
    let with = |limits: Limits| decode(data, &Options { limits, ..Options::default() });
    let limits = Limits::default();
    assert_eq!(
        with(Limits { pixels: 2_047, ..limits }),
        Err(Error::TooManyPixels { pixels: 2_048, limit: 2_047 })
    );
    let needed = Header::read(data).expect("the header is there").memory_bytes(Scale::Full);
    assert_eq!(
        with(Limits { memory_bytes: needed - 1, ..limits }),
        Err(Error::TooMuchMemory { needed, limit: needed - 1 })
    );
    assert_eq!(with(Limits { pixels: 2_048, memory_bytes: needed }), Err(Error::CutShort));
}
