//! ThumbHash: a preview of a picture in about 25 bytes. Source: Evan Wallace, evanw.github.io/thumbhash, whose bytes these
//! are. His crate dates from 2023, and takes pixels of four channels.

use std::f32::consts::PI;

use crate::background::rgba;
use crate::picture::Picture;

/// The longest side of a picture to make a hash of, in pixels.
pub(crate) const MAX_SIDE: u32 = 100;

/// A channel as a sum of cosines.
struct Waves {
    average: f32,
    /// The other coefficients, from 0 to 1.
    others: Vec<f32>,
    /// The largest of the others before.
    scale: f32,
}

/// Returns the hash of a picture in sRGB with at most [`MAX_SIDE`] pixels a side.
pub(crate) fn of(picture: &Picture) -> Vec<u8> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    if width == 0 || height == 0 {
        return Vec::new();
    }
    let (planes, has_alpha) = planes(picture);
    let most = if has_alpha { 5.0 } else { 7.0 };
    let waves = |side: usize| ((most * side as f32 / width.max(height) as f32).round() as usize).max(1);
    let (across, down) = (waves(width), waves(height));
    let light = Waves::of(&planes[0], width, height, across.max(3), down.max(3));
    let [yellow, red] = [1, 2].map(|plane| Waves::of(&planes[plane], width, height, 3, 3));
    let alpha = has_alpha.then(|| Waves::of(&planes[3], width, height, 5, 5));

    let part = |value: f32, shift: u32| (value.round() as u32) << shift;
    let is_landscape = width > height;
    let colours = part(63.0 * light.average, 0)
        | part(31.5 + 31.5 * yellow.average, 6)
        | part(31.5 + 31.5 * red.average, 12)
        | part(31.0 * light.scale, 18)
        | u32::from(has_alpha) << 23;
    let shape = if is_landscape { down as u32 } else { across as u32 }
        | part(63.0 * yellow.scale, 3)
        | part(63.0 * red.scale, 9)
        | u32::from(is_landscape) << 15;
    let mut hash = [&colours.to_le_bytes()[..3], &shape.to_le_bytes()[..2]].concat();
    if let Some(alpha) = &alpha {
        hash.push((part(15.0 * alpha.average, 0) | part(15.0 * alpha.scale, 4)) as u8);
    }
    let channels = [Some(&light), Some(&yellow), Some(&red), alpha.as_ref()];
    let mut nibbles = channels
        .into_iter()
        .flatten()
        .flat_map(|waves| &waves.others)
        .map(|value| (15.0 * value).round() as u8);
    while let Some(low) = nibbles.next() {
        hash.push(low | nibbles.next().unwrap_or(0) << 4);
    }
    hash
}

/// Returns the planes of brightness, of yellow against blue, of red against green, and of alpha, and whether a pixel isn't
/// opaque.
fn planes(picture: &Picture) -> ([Vec<f32>; 4], bool) {
    let pixels: Vec<[f32; 4]> = picture
        .pixels
        .chunks_exact(picture.layout.channels())
        .map(|pixel| rgba(picture.layout, pixel).map(|value| f32::from(value) / 255.0))
        .collect();
    // What is transparent has the average colour.
    let mut average = [0.0; 3];
    let alpha: f32 = pixels.iter().map(|pixel| pixel[3]).sum();
    for pixel in &pixels {
        for (sum, value) in average.iter_mut().zip(pixel) {
            *sum += pixel[3] * value;
        }
    }
    let average = average.map(|sum| if alpha > 0.0 { sum / alpha } else { 0.0 });
    let has_alpha = alpha < pixels.len() as f32;
    let mut planes = [const { Vec::new() }; 4];
    for &[red, green, blue, alpha] in &pixels {
        let [red, green, blue] =
            [(red, 0), (green, 1), (blue, 2)].map(|(value, at)| average[at] * (1.0 - alpha) + alpha * value);
        let values = [(red + green + blue) / 3.0, (red + green) / 2.0 - blue, red - green, alpha];
        for (plane, value) in planes.iter_mut().zip(values) {
            plane.push(value);
        }
    }
    (planes, has_alpha)
}

impl Waves {
    fn of(values: &[f32], width: usize, height: usize, across: usize, down: usize) -> Self {
        let cosine =
            |wave: usize, at: usize, side: usize| (PI / side as f32 * wave as f32 * (at as f32 + 0.5)).cos();
        let mut waves = Waves { average: 0.0, others: Vec::new(), scale: 0.0 };
        for y_wave in 0..down {
            let rows: Vec<f32> = (0..height).map(|y| cosine(y_wave, y, height)).collect();
            // A triangle of waves: those that are fine in both directions are left out.
            for x_wave in (0..across).take_while(|x_wave| x_wave * down < across * (down - y_wave)) {
                let columns: Vec<f32> = (0..width).map(|x| cosine(x_wave, x, width)).collect();
                let mut sum = 0.0;
                for (row, y) in values.chunks_exact(width).zip(&rows) {
                    for (value, x) in row.iter().zip(&columns) {
                        sum += value * x * y;
                    }
                }
                let wave = sum / (width * height) as f32;
                if (x_wave, y_wave) == (0, 0) {
                    waves.average = wave;
                } else {
                    waves.scale = waves.scale.max(wave.abs());
                    waves.others.push(wave);
                }
            }
        }
        for wave in &mut waves.others {
            *wave = if waves.scale > 0.0 { 0.5 + 0.5 / waves.scale * *wave } else { *wave };
        }
        waves
    }
}
