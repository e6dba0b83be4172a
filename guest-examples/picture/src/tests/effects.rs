//! Tests of blurring, sharpening, turning and removing colours.

use super::shapes::picture;
use super::*;

#[test]
fn a_blurred_dot_is_a_gaussian_function() {
    let (side, middle, sigma) = (21_i32, 10, 1.5_f64);
    let mut pixels = vec![0; (side * side) as usize];
    pixels[(middle * side + middle) as usize] = 255;
    let blurred = picture(side as u32, side as u32, Layout::Gray, pixels).blurred(sigma as f32);
    let value = |distance: i32| (-f64::from(distance * distance) / (2.0 * sigma * sigma)).exp();
    let sum: f64 = (-5..=5).map(value).sum();
    for y in 0..side {
        for x in 0..side {
            let expected = 255.0 * value(x - middle) * value(y - middle) / (sum * sum);
            let found = f64::from(blurred.pixels[(y * side + x) as usize]);
            assert!((found - expected).abs() <= 1.0, "{x} {y}: {found} and {expected}");
        }
    }
}

#[test]
fn a_blur_keeps_what_is_flat_and_ignores_what_is_no_number() {
    let flat = || picture(5, 3, Layout::Rgb, [10, 200, 255].repeat(15));
    for sigma in [0.3, 2.0, 40.0, 1e30, f32::INFINITY] {
        assert_eq!(flat().blurred(sigma).pixels, flat().pixels, "{sigma}");
        assert_eq!(flat().sharpened(sigma).pixels, flat().pixels, "{sigma}");
    }
    let pixels = photograph(9, 7);
    for sigma in [0.0, -1.0, f32::NAN, f32::NEG_INFINITY] {
        assert_eq!(picture(9, 7, Layout::Rgb, pixels.clone()).blurred(sigma).pixels, pixels, "{sigma}");
    }
    assert!(picture(0, 0, Layout::Rgb, Vec::new()).blurred(2.0).pixels.is_empty());
}

#[test]
fn a_blur_does_not_bleed_what_is_transparent() {
    let row = [[255, 255, 255, 255].repeat(8), [255, 0, 0, 0].repeat(8)].concat();
    let blurred = picture(16, 9, Layout::Rgba, row.repeat(9)).blurred(2.0);
    for pixel in blurred.pixels.chunks_exact(4) {
        assert!(pixel[3] < 8 || pixel[..3].iter().all(|&colour| colour > 245), "{pixel:?}");
    }
    // The edge of alpha is as soft as that of a colour.
    let edge = picture(16, 9, Layout::Gray, [[255; 8], [0; 8]].concat().repeat(9)).blurred(2.0);
    for (pixel, expected) in blurred.pixels.chunks_exact(4).zip(&edge.pixels) {
        assert_eq!(pixel[3], *expected);
    }
}

#[test]
fn an_edge_is_sharpened_by_its_difference_from_the_blur() {
    let pixels = [[100; 8], [150; 8]].concat().repeat(5);
    let blurred = picture(16, 5, Layout::Gray, pixels.clone()).blurred(1.0);
    let sharpened = picture(16, 5, Layout::Gray, pixels.clone()).sharpened(1.0);
    for ((sharpened, blurred), pixel) in sharpened.pixels.iter().zip(&blurred.pixels).zip(&pixels) {
        assert_eq!(i32::from(*sharpened), 2 * i32::from(*pixel) - i32::from(*blurred));
    }
    assert!(sharpened.pixels[7] < 90 && sharpened.pixels[8] > 160);
    // All channels move alike, so the hue stays.
    let colours = [[100, 110, 120].repeat(8), [150, 160, 170].repeat(8)].concat().repeat(5);
    let sharpened = picture(16, 5, Layout::Rgb, colours).sharpened(1.0);
    for pixel in sharpened.pixels.chunks_exact(3) {
        assert_eq!((pixel[1] - pixel[0], pixel[2] - pixel[1]), (10, 10));
    }
    let transparent = [[9, 9, 9, 0].repeat(8), [150, 150, 150, 255].repeat(8)].concat().repeat(5);
    let sharpened = picture(16, 5, Layout::Rgba, transparent).sharpened(1.0);
    assert!(sharpened.pixels.chunks_exact(4).all(|pixel| pixel[3] == 0 || pixel[0].abs_diff(150) <= 1));
}

#[test]
fn gray_has_as_much_light_as_the_colour() {
    let light = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30], [255, 255, 255], [0, 0, 0]];
    let gray = picture(6, 1, Layout::Rgb, colours.concat()).grayscale();
    assert_eq!(gray.layout, Layout::Gray);
    for ([red, green, blue], gray) in colours.into_iter().zip(gray.pixels) {
        let expected = 0.2126 * light(red) + 0.7152 * light(green) + 0.0722 * light(blue);
        // Less than a step of sRGB away.
        let (below, above) = (light(gray.saturating_sub(1)), light(gray.saturating_add(1)));
        assert!(gray == 0 || gray == 255 || (below..above).contains(&expected), "{gray}: {expected}");
    }
    let clear = picture(1, 1, Layout::Rgba, vec![255, 255, 255, 3]).grayscale();
    assert_eq!((clear.layout, clear.pixels), (Layout::GrayAlpha, vec![255, 3]));
}

#[test]
fn quarters_turn_clockwise_and_mirrors_mirror() {
    let source = || picture(3, 2, Layout::Gray, vec![1, 2, 3, 4, 5, 6]);
    for (quarters, width, expected) in [
        (0, 3, [1, 2, 3, 4, 5, 6]),
        (1, 2, [4, 1, 5, 2, 6, 3]),
        (2, 3, [6, 5, 4, 3, 2, 1]),
        (3, 2, [3, 6, 2, 5, 1, 4]),
        (5, 2, [4, 1, 5, 2, 6, 3]),
    ] {
        let turned = source().rotated(quarters);
        assert_eq!((turned.width, turned.pixels.as_slice()), (width, expected.as_slice()), "{quarters}");
    }
    assert_eq!(source().flipped().pixels, [4, 5, 6, 1, 2, 3]);
    assert_eq!(source().flopped().pixels, [3, 2, 1, 6, 5, 4]);
    // A stored orientation is undone before.
    let lying = Picture { orientation: Orientation(6), ..source() };
    assert_eq!(lying.rotated(3).pixels, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_background_shows_through() {
    let source = || picture(3, 1, Layout::Rgba, vec![200, 0, 0, 255, 200, 0, 0, 0, 200, 0, 0, 128]);
    let on_blue = source().on([0, 0, 100, 255]);
    assert_eq!((on_blue.layout, &on_blue.pixels[..6]), (Layout::Rgb, &[200, 0, 0, 0, 0, 100][..]));
    // 128 of 255 of the red, and the rest of the blue.
    assert_eq!(on_blue.pixels[6..], [(200 * 128_u32 / 255) as u8, 0, (100 * 127_u32 / 255) as u8 + 1]);
    let on_nothing = source().on([0; 4]);
    assert_eq!(on_nothing.layout, Layout::Rgba);
    assert_eq!(on_nothing.pixels[8..], [200, 0, 0, 128]);
    let gray = || picture(1, 1, Layout::GrayAlpha, vec![50, 0]);
    assert_eq!(gray().on([9, 9, 9, 255]).pixels, [9]);
    assert_eq!(gray().on([9, 8, 7, 255]).pixels, [9, 8, 7]);
}
