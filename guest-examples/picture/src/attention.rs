//! Finds the part of a picture that people look at first.
//!
//! A pixel counts by its edges, and more where its colour is that of skin or saturated. Idea and constants are those of
//! smartcrop.js by Jonas Wagner (MIT), which sharp's `attention` resembles too. The kept part moves along the picture, and
//! the place with the largest sum wins, in which the middle counts more than the ends.

use crate::background::rgba;
use crate::picture::Picture;

const DETAIL_WEIGHT: f32 = 0.2;

const SKIN: [f32; 3] = [0.78, 0.57, 0.44];
const SKIN_THRESHOLD: f32 = 0.8;
const SKIN_BIAS: f32 = 0.01;
const SKIN_WEIGHT: f32 = 1.8;

const SATURATION_THRESHOLD: f32 = 0.4;
const SATURATION_BIAS: f32 = 0.2;
const SATURATION_WEIGHT: f32 = 0.1;

/// Length of the longer side of the picture that is looked at, in pixels.
pub(crate) const LOOKED_AT_SIDE: u32 = 160;

/// Returns where the kept part starts, if it leaves out `spare` pixels of `scaled`. `picture` is the upright picture in
/// sRGB at a small size.
pub(crate) fn offset(picture: &Picture, scaled: (u32, u32), spare: (u32, u32)) -> (u32, u32) {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let scores = scores(picture);
    let columns: Vec<f32> = (0..width).map(|x| (0..height).map(|y| scores[y * width + x]).sum()).collect();
    let rows: Vec<f32> = scores.chunks_exact(width.max(1)).map(|row| row.iter().sum()).collect();
    (best(&columns, scaled.0, spare.0), best(&rows, scaled.1, spare.1))
}

/// Returns the start of the best part of a side.
fn best(sums: &[f32], scaled: u32, spare: u32) -> u32 {
    if spare == 0 || sums.is_empty() {
        return 0;
    }
    let count = sums.len();
    let kept = (count as u64 * u64::from(scaled - spare)).div_ceil(u64::from(scaled)) as usize;
    let last = count.saturating_sub(kept.max(1));
    // The middle counts twice as much as the ends.
    let weight = |at: usize| {
        let from_middle = (2 * at + 1) as f32 / kept as f32 - 1.0;
        1.0 - from_middle * from_middle / 2.0
    };
    let score = |start: usize| -> f32 {
        sums[start..start + kept].iter().enumerate().map(|(at, sum)| sum * weight(at)).sum()
    };
    let middle = last / 2;
    // Of equal parts the most central one.
    let mut found = (middle, score(middle));
    for start in 0..=last {
        let scored = score(start);
        let is_nearer = start.abs_diff(middle) < found.0.abs_diff(middle);
        if scored > found.1 || (scored == found.1 && is_nearer) {
            found = (start, scored);
        }
    }
    if last == 0 {
        return spare / 2;
    }
    ((found.0 as u64 * u64::from(spare) + last as u64 / 2) / last as u64) as u32
}

fn scores(picture: &Picture) -> Vec<f32> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let pixels: Vec<[f32; 4]> = picture
        .pixels
        .chunks_exact(picture.layout.channels())
        .map(|pixel| rgba(picture.layout, pixel).map(|value| f32::from(value) / 255.0))
        .collect();
    let lights: Vec<f32> =
        pixels.iter().map(|[red, green, blue, _]| 0.2126 * red + 0.7152 * green + 0.0722 * blue).collect();
    let mut scores = Vec::with_capacity(pixels.len());
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            let light = lights[at];
            let around = [
                lights[y * width + x.saturating_sub(1)],
                lights[y * width + (x + 1).min(width - 1)],
                lights[y.saturating_sub(1) * width + x],
                lights[(y + 1).min(height - 1) * width + x],
            ];
            let detail = (4.0 * light - around.iter().sum::<f32>()).abs().min(1.0);
            let skin = skin(pixels[at], light);
            let saturation = saturation(pixels[at], light);
            let score = detail * DETAIL_WEIGHT
                + skin * (detail + SKIN_BIAS) * SKIN_WEIGHT
                + saturation * (detail + SATURATION_BIAS) * SATURATION_WEIGHT;
            scores.push(score * pixels[at][3]);
        }
    }
    scores
}

/// How near a colour is to that of skin, whatever its brightness, from 0 to 1.
fn skin([red, green, blue, _]: [f32; 4], light: f32) -> f32 {
    let length = (red * red + green * green + blue * blue).sqrt();
    if length == 0.0 || !(0.2..=1.0).contains(&light) {
        return 0.0;
    }
    let distance =
        [red, green, blue].into_iter().zip(SKIN).map(|(value, skin)| (value / length - skin).powi(2));
    let near = 1.0 - distance.sum::<f32>().sqrt();
    ((near - SKIN_THRESHOLD) / (1.0 - SKIN_THRESHOLD)).max(0.0)
}

/// How saturated a colour is, as HSL has it, from 0 to 1.
fn saturation([red, green, blue, _]: [f32; 4], light: f32) -> f32 {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least || !(0.05..=0.9).contains(&light) {
        return 0.0;
    }
    let sum = most + least;
    let saturation = (most - least) / if sum > 1.0 { 2.0 - sum } else { sum };
    ((saturation - SATURATION_THRESHOLD) / (1.0 - SATURATION_THRESHOLD)).max(0.0)
}
