//! Changes of a picture that keep its size. They convert the picture to sRGB.

use crate::background::rgba;
use crate::light::Light;
use crate::picture::{Layout, Picture};

/// The largest standard deviation of a blur, in pixels. A larger one counts as this.
pub const MAX_SIGMA: f32 = 250.0;

/// How much of the difference from its surroundings is added to a pixel that is sharpened.
const AMOUNT: f32 = 1.0;

impl Picture {
    /// Blurs the picture by a Gaussian function of this standard deviation in pixels, at most [`MAX_SIGMA`]. The time grows
    /// with it. Beyond its edge the picture goes on with the pixels of the edge.
    pub fn blurred(self, sigma: f32) -> Self {
        let mut picture = self.in_srgb();
        if let Some(kernel) = kernel(sigma) {
            let channels = picture.layout.channels();
            let row = picture.width as usize * channels;
            let is_empty = row == 0 || picture.pixels.is_empty();
            if !is_empty {
                let across = blurred_across(&picture.pixels, row, picture.layout, &kernel);
                blur_down(&across, &mut picture.pixels, row, picture.layout, &kernel);
            }
        }
        picture
    }

    /// Sharpens the picture by an unsharp mask: each pixel's brightness moves away from that of its surroundings, which a
    /// blur of this standard deviation in pixels shows. Colours keep their hue, so that no coloured edges appear.
    pub fn sharpened(self, sigma: f32) -> Self {
        let mut picture = self.in_srgb();
        let channels = picture.layout.channels();
        let has_alpha = picture.layout.has_alpha();
        let layout = if has_alpha { Layout::GrayAlpha } else { Layout::Gray };
        let mut brightness = Vec::with_capacity(picture.pixels.len() / channels * layout.channels());
        for pixel in picture.pixels.chunks_exact(channels) {
            let rgba = rgba(picture.layout, pixel);
            brightness.push(luma(rgba));
            if has_alpha {
                brightness.push(rgba[3]);
            }
        }
        let (orientation, colour) = (picture.orientation, picture.colour.clone());
        let (full, width, height) = (picture.full, picture.width, picture.height);
        let mask =
            Picture { full, width, height, layout, pixels: brightness, orientation, colour }.blurred(sigma);
        let colours = if has_alpha { channels - 1 } else { channels };
        for (pixel, blurred) in
            picture.pixels.chunks_exact_mut(channels).zip(mask.pixels.chunks_exact(layout.channels()))
        {
            let difference = f32::from(luma(rgba(picture.layout, pixel))) - f32::from(blurred[0]);
            for colour in &mut pixel[..colours] {
                *colour = (f32::from(*colour) + AMOUNT * difference).round() as u8;
            }
        }
        picture
    }

    /// Returns the picture without colours: each pixel has as much light as before. Source: ITU-R BT.709, whose weights are
    /// those of sRGB's primaries.
    pub fn grayscale(self) -> Self {
        let picture = self.in_srgb();
        let layout = match picture.layout {
            Layout::Gray | Layout::GrayAlpha => return picture,
            Layout::Rgb | Layout::Cmyk => Layout::Gray,
            Layout::Rgba => Layout::GrayAlpha,
        };
        let light = Light::new();
        let mut pixels = Vec::with_capacity(picture.pixels.len());
        for pixel in picture.pixels.chunks_exact(picture.layout.channels()) {
            let [red, green, blue, alpha] = rgba(picture.layout, pixel);
            let [red, green, blue] = [red, green, blue].map(|number| u64::from(light.of(number)));
            pixels.push(light.number(((red * 2126 + green * 7152 + blue * 722 + 5000) / 10_000) as u16));
            if layout.has_alpha() {
                pixels.push(alpha);
            }
        }
        Picture { layout, pixels, ..picture }
    }
}

/// Returns the brightness of a pixel as JPEG has it. Source: ITU-R BT.601.
fn luma([red, green, blue, _]: [u8; 4]) -> u8 {
    ((u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114 + 500) / 1000) as u8
}

/// Returns the weights of a pixel's neighbours on both sides, or none if the pixel alone counts. Three standard deviations
/// hold all but a four-hundredth of the function.
fn kernel(sigma: f32) -> Option<Vec<f32>> {
    if sigma.is_nan() || sigma < 0.1 {
        return None;
    }
    let sigma = sigma.min(MAX_SIGMA);
    let radius = (sigma * 3.0).ceil() as i32;
    let weights: Vec<f32> =
        (-radius..=radius).map(|at| (-((at * at) as f32) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    Some(weights.into_iter().map(|weight| weight / sum).collect())
}

/// Adds a weighted row to another.
fn add(sums: &mut [f32], row: &[f32], weight: f32) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += weight * value;
    }
}

/// Blurs each row. Returns 256ths, with the colours multiplied by alpha, so that transparent pixels don't bleed theirs.
fn blurred_across(pixels: &[u8], row: usize, layout: Layout, kernel: &[f32]) -> Vec<u16> {
    let channels = layout.channels();
    let radius = kernel.len() / 2;
    let mut padded: Vec<f32> = Vec::with_capacity(row + 2 * radius * channels);
    let mut sums = vec![0.0; row];
    let mut blurred = Vec::with_capacity(pixels.len());
    for pixels in pixels.chunks_exact(row) {
        padded.clear();
        let multiplied = pixels.chunks_exact(channels).flat_map(|pixel| {
            let alpha = if layout.has_alpha() { f32::from(pixel[channels - 1]) / 255.0 } else { 1.0 };
            pixel.iter().enumerate().map(move |(channel, &value)| {
                let is_alpha = layout.has_alpha() && channel == channels - 1;
                f32::from(value) * if is_alpha { 1.0 } else { alpha }
            })
        });
        padded.resize(radius * channels, 0.0);
        padded.extend(multiplied);
        padded.resize(row + 2 * radius * channels, 0.0);
        for at in 0..radius * channels {
            padded[at] = padded[radius * channels + at % channels];
            padded[radius * channels + row + at] = padded[radius * channels + row - channels + at % channels];
        }
        sums.fill(0.0);
        for (at, &weight) in kernel.iter().enumerate() {
            add(&mut sums, &padded[at * channels..], weight);
        }
        blurred.extend(sums.iter().map(|sum| (sum * 256.0).round() as u16));
    }
    blurred
}

/// Blurs each column, and divides the colours by alpha again.
fn blur_down(blurred: &[u16], pixels: &mut [u8], row: usize, layout: Layout, kernel: &[f32]) {
    let channels = layout.channels();
    let radius = kernel.len() / 2;
    let rows = blurred.len() / row;
    let mut sums = vec![0.0; row];
    for (y, pixels) in pixels.chunks_exact_mut(row).enumerate() {
        sums.fill(0.0);
        for (at, &weight) in kernel.iter().enumerate() {
            let from = (y + at).saturating_sub(radius).min(rows - 1);
            for (sum, &value) in sums.iter_mut().zip(&blurred[from * row..(from + 1) * row]) {
                *sum += weight / 256.0 * f32::from(value);
            }
        }
        for (pixel, sums) in pixels.chunks_exact_mut(channels).zip(sums.chunks_exact(channels)) {
            let alpha = if layout.has_alpha() { sums[channels - 1] / 255.0 } else { 1.0 };
            let colours = if layout.has_alpha() { channels - 1 } else { channels };
            for (channel, (value, sum)) in pixel.iter_mut().zip(sums).enumerate() {
                let divided = if channel == colours {
                    *sum
                } else if alpha > 0.0 {
                    sum / alpha
                } else {
                    0.0
                };
                *value = divided.round() as u8;
            }
        }
    }
}
