//! Tests of fitting, cropping and backgrounds.

use super::*;
use crate::colour::Colour;
use crate::shape::needed_side;

pub(super) fn picture(width: u32, height: u32, layout: Layout, pixels: Vec<u8>) -> Picture {
    let (orientation, colour) = (Orientation::UPRIGHT, Colour::Standard);
    Picture { full: (width, height), width, height, layout, pixels, orientation, colour }
}

pub(super) fn shape(width: u32, height: u32, fit: Fit) -> Shape {
    Shape {
        width: Some(width),
        height: Some(height),
        fit,
        gravity: Gravity::Centre,
        enlarge: true,
        linear: false,
        background: [0, 0, 0, 255],
    }
}

#[test]
fn sizes_are_those_of_sharp() {
    // What sharp 0.34 makes of 400 x 300, with and without enlarging.
    for (width, height, fit, enlarged, kept) in [
        (200, 200, Fit::Cover, (200, 200), (200, 200)),
        (200, 200, Fit::Contain, (200, 200), (200, 200)),
        (200, 200, Fit::Inside, (200, 150), (200, 150)),
        (200, 200, Fit::Outside, (267, 200), (267, 200)),
        (200, 200, Fit::Fill, (200, 200), (200, 200)),
        (800, 200, Fit::Cover, (800, 200), (400, 200)),
        (800, 800, Fit::Contain, (800, 800), (800, 800)),
        (800, 800, Fit::Inside, (800, 600), (400, 300)),
        (800, 200, Fit::Outside, (800, 600), (400, 300)),
        (800, 200, Fit::Fill, (800, 200), (400, 200)),
    ] {
        let shape = shape(width, height, fit);
        assert_eq!(shape.size((400, 300)), enlarged, "{fit:?} {width} x {height}");
        assert_eq!(Shape { enlarge: false, ..shape }.size((400, 300)), kept, "{fit:?} {width} x {height}");
    }
    let by_width = Shape { height: None, ..shape(200, 0, Fit::Cover) };
    assert_eq!(by_width.size((800, 533)), (200, 133));
    let by_height = Shape { width: None, ..shape(0, 150, Fit::Contain) };
    assert_eq!(by_height.size((400, 300)), (200, 150));
    assert_eq!(Shape { width: None, ..by_width }.size((33, 17)), (33, 17));
    assert_eq!(Shape { fit: Fit::Fill, ..by_height }.size((400, 300)), (400, 150));
    // No side vanishes, and none overflows.
    assert_eq!(shape(100, 100, Fit::Inside).size((65_535, 1)), (100, 1));
    assert_eq!(shape(u32::MAX, u32::MAX, Fit::Outside).size((1, u32::MAX)), (u32::MAX, u32::MAX));
}

#[test]
fn each_size_is_what_is_made() {
    let pixels = photograph(40, 30);
    let source = picture(40, 30, Layout::Rgb, pixels);
    for fit in [Fit::Contain, Fit::Cover, Fit::Inside, Fit::Outside, Fit::Fill] {
        for (width, height) in [(20, 20), (80, 9), (9, 80), (1, 1), (40, 30), (39, 31)] {
            for (enlarge, linear) in [(true, false), (false, false), (true, true)] {
                let shape = Shape { enlarge, linear, ..shape(width, height, fit) };
                let made = source.rendered(&shape).expect("it is small");
                assert_eq!((made.width, made.height), shape.size((40, 30)), "{shape:?}");
                assert_eq!(made.pixels.len(), (made.width * made.height * 3) as usize, "{shape:?}");
            }
        }
    }
}

#[test]
fn gravity_chooses_the_part_that_is_kept() {
    // Nine fields, whose numbers are the nine places. Nothing is resized, so the pixels are exact.
    let fields: Vec<u8> = (0..9).flat_map(|y| (0..9).map(move |x| y / 3 * 3 + x / 3)).collect();
    let source = picture(9, 9, Layout::Gray, fields);
    use Gravity::*;
    let places = [NorthWest, North, NorthEast, West, Centre, East, SouthWest, South, SouthEast];
    for (number, gravity) in (0_u8..).zip(places) {
        let row = Shape { gravity, enlarge: false, ..shape(9, 3, Fit::Cover) };
        let made = source.rendered(&row).expect("it is small");
        assert_eq!(made.pixels[0], number / 3 * 3, "{gravity:?}");
        let column = Shape { gravity, enlarge: false, ..shape(3, 9, Fit::Cover) };
        let made = source.rendered(&column).expect("it is small");
        assert_eq!(made.pixels[0], number % 3, "{gravity:?}");
    }
}

/// Stores an upright picture of one channel as a camera held in this way does.
fn stored(width: u32, height: u32, pixels: &[u8], orientation: u8) -> Picture {
    let pixel = |x: u32, y: u32| pixels[(y * width + x) as usize];
    let (wide, high, stored) = turned::stored((width, height), orientation, pixel);
    Picture { orientation: Orientation(orientation), ..picture(wide, high, Layout::Gray, stored) }
}

#[test]
fn shapes_are_those_of_the_upright_picture_however_it_is_stored() {
    let (width, height) = (60, 44);
    let pixels: Vec<u8> = (0..height).flat_map(|y| (0..width).map(move |x| (x * 3 + y) as u8)).collect();
    let gravities = [Gravity::NorthEast, Gravity::SouthWest, Gravity::Centre, Gravity::Attention];
    for fit in [Fit::Contain, Fit::Cover, Fit::Inside, Fit::Outside, Fit::Fill] {
        for (gravity, linear) in gravities.into_iter().flat_map(|gravity| [(gravity, false), (gravity, true)])
        {
            let shape = Shape { gravity, linear, ..shape(21, 30, fit) };
            let upright = stored(width, height, &pixels, 1).rendered(&shape).expect("it is small");
            for orientation in 2..=8 {
                let turned =
                    stored(width, height, &pixels, orientation).rendered(&shape).expect("it is small");
                assert_eq!(turned.orientation, Orientation::UPRIGHT);
                assert_eq!((turned.width, turned.height), (upright.width, upright.height));
                // Columns are resized before rows, or after them.
                let furthest = turned.pixels.iter().zip(&upright.pixels).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(furthest <= Some(2), "{shape:?}, orientation {orientation}: {furthest:?}");
            }
        }
    }
}

#[test]
fn a_scaled_jpeg_is_cropped_where_the_whole_one_is() {
    // 107 of 853 rows at an eighth, of which five eighths of the last are the picture.
    let gray: Vec<u8> =
        (0..853_u32).flat_map(|y| (0..1280_u32).map(move |x| (x / 8 + y / 9) as u8)).collect();
    let mut file = Vec::new();
    Encoder::new(&mut file, 100)
        .encode(&gray, 1280, 853, jpeg_encoder::ColorType::Luma)
        .expect("the picture is valid");
    let whole = picture(1280, 853, Layout::Gray, gray);
    for fit in [Fit::Cover, Fit::Inside, Fit::Fill, Fit::Contain] {
        for gravity in [Gravity::South, Gravity::NorthEast] {
            let shape = Shape { gravity, ..shape(90, 70, fit) };
            let decoded = decode(file.clone(), std::slice::from_ref(&shape), &settings().bounds);
            let decoded = decoded.expect("it is a picture");
            assert_eq!((decoded.width, decoded.height), (160, 107), "{fit:?}");
            let scaled = decoded.rendered(&shape).expect("it is small");
            let whole = whole.rendered(&shape).expect("it is small");
            let furthest = scaled.pixels.iter().zip(&whole.pixels).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(furthest <= Some(6), "{fit:?} {gravity:?}: {furthest:?}");
        }
    }
}

#[test]
fn what_decoding_must_deliver_follows_from_the_largest_shape() {
    let full = (4000, 3000);
    let [small, large] = [shape(320, 240, Fit::Inside), shape(300, 300, Fit::Cover)];
    assert_eq!(needed_side(full, std::slice::from_ref(&small)), 320);
    assert_eq!(needed_side(full, &[small.clone(), large]), 400);
    assert_eq!(needed_side(full, &[shape(40, 1500, Fit::Fill)]), 2000);
    assert_eq!(needed_side(full, &[shape(9000, 9000, Fit::Inside)]), 4000);
    assert_eq!(needed_side(full, &[Shape { linear: true, ..small }]), 4000);
    assert_eq!(needed_side(full, &[]), 1);
    assert_eq!(needed_side((0, 0), &[shape(1, 1, Fit::Fill)]), 1);
}

#[test]
fn a_result_that_would_not_fit_into_memory_is_refused_by_the_header() {
    let file = jpeg(64, 2, |_| {});
    for fit in [Fit::Contain, Fit::Outside, Fit::Fill] {
        let shapes = [shape(8, 8, Fit::Inside), shape(60_000, 60_000, fit)];
        let refusal =
            decode(file.clone(), shapes.as_slice(), &settings().bounds).expect_err("it is too large");
        let Refusal::TooLarge(Excess::Memory { needed, .. }) = refusal else {
            panic!("{refusal:?}");
        };
        assert!(needed > 60_000 * 60_000, "{fit:?}");
    }
    // Copies for resizing count too.
    let file = png(600, 600, ::png::ColorType::Rgba, ::png::BitDepth::Eight, &vec![9; 600 * 600 * 4]);
    let bounds = Bounds { memory: 3 << 20, ..settings().bounds };
    let small = shape(8, 8, Fit::Inside);
    let is_made = |shape: Shape| decode(file.clone(), std::slice::from_ref(&shape), &bounds).is_ok();
    assert!(is_made(small.clone()) && !is_made(Shape { linear: true, ..small }));
}

#[test]
fn a_background_fills_what_the_picture_leaves() {
    let red = [200, 10, 10];
    let source = picture(4, 2, Layout::Rgb, red.repeat(8));
    let framed = Shape { background: [1, 2, 3, 255], ..shape(4, 4, Fit::Contain) };
    let made = source.rendered(&framed).expect("it is small");
    assert_eq!(made.layout, Layout::Rgb);
    assert_eq!(made.pixels, [[1, 2, 3].repeat(4), red.repeat(8), [1, 2, 3].repeat(4)].concat());
    let south = source.rendered(&Shape { gravity: Gravity::South, ..framed.clone() }).expect("it is small");
    assert_eq!(south.pixels, [[1, 2, 3].repeat(8), red.repeat(8)].concat());

    let clear = source.rendered(&Shape { background: [0; 4], ..framed.clone() }).expect("it is small");
    assert_eq!(clear.layout, Layout::Rgba);
    assert_eq!((&clear.pixels[..4], &clear.pixels[16..20]), (&[0; 4][..], &[200, 10, 10, 255][..]));

    // A gray picture stays gray on gray, and becomes coloured on a colour.
    let gray = picture(4, 2, Layout::Gray, vec![7; 8]);
    let on_colour = gray.rendered(&framed).expect("it is small");
    assert_eq!((on_colour.layout, &on_colour.pixels[12..15]), (Layout::Rgb, &[7; 3][..]));
    let on_gray = gray.rendered(&Shape { background: [9, 9, 9, 255], ..framed }).expect("it is small");
    assert_eq!(on_gray.pixels, [[9; 4], [7; 4], [7; 4], [9; 4]].concat());
}

#[test]
fn a_smaller_picture_is_laid_on_the_background_without_growing() {
    let source = picture(2, 2, Layout::Gray, vec![255; 4]);
    let framed = Shape { enlarge: false, ..shape(4, 4, Fit::Contain) };
    let made = source.rendered(&framed).expect("it is small");
    assert_eq!(made.pixels, [0, 0, 0, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 0, 0, 0]);
}

#[test]
fn light_keeps_the_brightness_of_fine_patterns() {
    let checks: Vec<u8> = (0..64 * 64).map(|at| if (at / 64 + at % 64) % 2 == 0 { 255 } else { 0 }).collect();
    let source = picture(64, 64, Layout::Gray, checks);
    let mean = |linear| {
        let shape = Shape { linear, ..shape(8, 8, Fit::Inside) };
        source.rendered(&shape).expect("it is small").pixels[27]
    };
    // Half of the numbers, and half of the light: 1.055 * 0.5 ^ (1 / 2.4) - 0.055.
    let half = ((1.055 * 0.5_f64.powf(1.0 / 2.4) - 0.055) * 255.0).round() as u8;
    assert!(mean(false).abs_diff(128) <= 1 && mean(true).abs_diff(half) <= 1);
}

#[test]
fn transparent_pixels_never_bleed() {
    // Opaque white on the left, transparent red on the right.
    let row = [[255, 255, 255, 255].repeat(8), [255, 0, 0, 0].repeat(8)].concat();
    let source = picture(16, 16, Layout::Rgba, row.repeat(16));
    for linear in [false, true] {
        for fit in [Fit::Fill, Fit::Cover, Fit::Contain] {
            let shape = Shape { linear, background: [255; 4], ..shape(7, 5, fit) };
            let made = source.rendered(&shape).expect("it is small");
            for pixel in made.pixels.chunks_exact(4) {
                assert!(pixel[3] < 16 || pixel[..3].iter().all(|&colour| colour > 250), "{pixel:?}");
            }
        }
    }
}

#[test]
fn attention_keeps_what_stands_out() {
    let (width, height) = (300_u32, 100_u32);
    // A dull gradient, and a patch at a place across: stripes, or a colour near that of skin.
    let with_patch = |left: u32, patch: &dyn Fn(u32, u32) -> [u8; 3]| {
        let pixels = (0..height).flat_map(|y| {
            (0..width).flat_map(move |x| {
                let inside = (left..left + 60).contains(&x) && (20..80).contains(&y);
                if inside { patch(x, y) } else { [100 + (y / 10) as u8; 3] }
            })
        });
        picture(width, height, Layout::Rgb, pixels.collect())
    };
    let shape = Shape { gravity: Gravity::Attention, ..shape(100, 100, Fit::Cover) };
    let stripes = |x: u32, _: u32| if x % 8 < 4 { [30; 3] } else { [220; 3] };
    let skin = |x: u32, y: u32| [224 - (x % 7) as u8, 172 - (y % 5) as u8, 140];
    let patches: [&dyn Fn(u32, u32) -> [u8; 3]; 2] = [&stripes, &skin];
    for patch in patches {
        for left in [0, 40, 120, 200, 240] {
            let source = with_patch(left, patch);
            let made = source.rendered(&shape).expect("it is small");
            let is_patch = |pixel: &[u8]| !(99..=110).contains(&pixel[0]);
            let shown = made.pixels.chunks_exact(3).filter(|pixel| is_patch(pixel)).count();
            let all = source.pixels.chunks_exact(3).filter(|pixel| is_patch(pixel)).count();
            assert!(shown * 10 >= all * 9, "at {left}: {shown} of {all}");
            let again = source.rendered(&shape).expect("it is small");
            assert_eq!(again.pixels, made.pixels);
        }
    }
    // Where nothing stands out it is the middle.
    let plain = with_patch(0, &|_, y| [100 + (y / 10) as u8; 3]);
    let centre = Shape { gravity: Gravity::Centre, ..shape.clone() };
    let [attention, centre] = [shape, centre].map(|shape| plain.rendered(&shape).expect("it is small"));
    assert_eq!(attention.pixels, centre.pixels);
}
