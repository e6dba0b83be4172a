//! Converts pixels to sRGB, so that a picture shows as its profile means without the profile. Of a thumbnail this takes
//! little time, and nothing that an upload calls a profile reaches the output.

use moxcms::{
    CicpProfile, ColorPrimaries, ColorProfile, DataColorSpace, Layout as Channels, ParsingOptions,
    ToneReprCurve, TransformOptions, XyY,
};

use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;

/// Maximum size of a colour profile. Those of printers, the largest in use, have one to three megabytes.
pub(crate) const MAX_PROFILE_BYTES: usize = 4 << 20;

/// What the numbers of the pixels mean.
#[derive(Clone, Debug)]
pub(crate) enum Colour {
    /// sRGB, or ink without a description.
    Standard,
    /// As the bytes of an ICC profile say, if they are one.
    Profile(Vec<u8>),
    /// As code points for video say. Source: ITU-T H.273.
    Points(CicpProfile),
    /// As a gamma and primaries say.
    Described(Described),
}

/// Colours without a profile.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// The exponent that the samples were made with, mostly 1/2.2. None is the curve of sRGB.
    gamma: Option<f32>,
    /// White, and the primaries. None are those of sRGB.
    primaries: Option<(XyY, ColorPrimaries)>,
}

impl Described {
    /// Returns nothing if this is sRGB, or as near to it as such a description comes.
    pub(crate) fn new(gamma: Option<f32>, primaries: Option<(XyY, ColorPrimaries)>) -> Option<Self> {
        let gamma = gamma.filter(|gamma| (gamma - 1.0 / 2.2).abs() > 0.001);
        let primaries = primaries.filter(|(white, ColorPrimaries { red, green, blue })| {
            let found = [white.x as f32, white.y as f32, red.x, red.y, green.x, green.y, blue.x, blue.y];
            let srgb = [0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06];
            found.iter().zip(srgb).any(|(found, srgb)| (found - srgb).abs() > 0.002)
        });
        (gamma.is_some() || primaries.is_some()).then_some(Described { gamma, primaries })
    }

    fn profile(&self) -> ColorProfile {
        let mut profile = srgb_with(self.gamma.map(|gamma| ToneReprCurve::Parametric(vec![1.0 / gamma])));
        if let Some((white, primaries)) = self.primaries {
            profile.update_rgb_colorimetry(white, primaries);
        }
        profile
    }
}

/// Returns sRGB, with another curve if there is one.
fn srgb_with(curve: Option<ToneReprCurve>) -> ColorProfile {
    let mut profile = ColorProfile::new_srgb();
    profile.cicp = None;
    if let Some(curve) = curve {
        profile.red_trc = Some(curve.clone());
        profile.green_trc = Some(curve.clone());
        profile.blue_trc = Some(curve);
    }
    profile
}

impl Colour {
    /// # Errors
    ///
    /// When the profile is too large to be read. Without it, the colours would be wrong.
    pub(crate) fn of_profile(profile: Option<impl AsRef<[u8]> + Into<Vec<u8>>>) -> Result<Self, Refusal> {
        match profile {
            None => Ok(Colour::Standard),
            Some(profile) if profile.as_ref().len() <= MAX_PROFILE_BYTES => {
                Ok(Colour::Profile(profile.into()))
            }
            Some(_) => Err(Refusal::large_profile()),
        }
    }

    /// Returns the profile for pixels of this layout, or none if there is none that fits.
    fn profile(&self, layout: Layout) -> Option<ColorProfile> {
        let profile = match self {
            Colour::Standard => return None,
            Colour::Points(points) => ColorProfile::new_from_cicp(*points),
            Colour::Described(described) => described.profile(),
            Colour::Profile(bytes) => {
                let options =
                    ParsingOptions { max_profile_size: MAX_PROFILE_BYTES + 1, ..Default::default() };
                ColorProfile::new_from_slice_with_options(bytes, options).ok()?
            }
        };
        match (profile.color_space, layout) {
            (DataColorSpace::Cmyk, Layout::Cmyk) => Some(profile),
            (DataColorSpace::Rgb, Layout::Gray | Layout::GrayAlpha | Layout::Rgb | Layout::Rgba) => {
                Some(profile)
            }
            (DataColorSpace::Gray, Layout::Gray | Layout::GrayAlpha | Layout::Rgb | Layout::Rgba) => {
                // The curve for gray applies to each channel.
                Some(srgb_with(Some(profile.gray_trc?)))
            }
            _ => None,
        }
    }
}

impl Picture {
    /// Returns the picture in sRGB.
    pub fn in_srgb(mut self) -> Self {
        if let Some(converted) = self.converted() {
            self.pixels = converted;
        } else if self.layout == Layout::Cmyk {
            self.pixels = ink_on_paper(&self.pixels);
        }
        if self.layout == Layout::Cmyk {
            self.layout = Layout::Rgb;
        }
        self.colour = Colour::Standard;
        self
    }

    /// Returns the pixels as their profile says. Returns nothing if there is no profile, or none that can be applied.
    fn converted(&self) -> Option<Vec<u8>> {
        let profile = self.colour.profile(self.layout)?;
        // The library keeps gray and colour apart. Gray passes as colour, and stays neutral.
        let (source, from, to) = match self.layout {
            Layout::Gray => {
                (Some(self.pixels.iter().flat_map(|&gray| [gray; 3]).collect()), Channels::Rgb, Channels::Rgb)
            }
            Layout::GrayAlpha => {
                let pairs = self.pixels.chunks_exact(2);
                let spread: Vec<u8> = pairs.flat_map(|pair| [pair[0], pair[0], pair[0], pair[1]]).collect();
                (Some(spread), Channels::Rgba, Channels::Rgba)
            }
            Layout::Rgb => (None, Channels::Rgb, Channels::Rgb),
            Layout::Rgba => (None, Channels::Rgba, Channels::Rgba),
            // The library has no name for four inks, and takes any four channels.
            Layout::Cmyk => (None, Channels::Rgba, Channels::Rgb),
        };
        let source = source.as_ref().unwrap_or(&self.pixels);
        let options = TransformOptions::default();
        let transform = profile.create_transform_8bit(from, &ColorProfile::new_srgb(), to, options).ok()?;
        let mut converted = vec![0; source.len() / from.channels() * to.channels()];
        transform.transform(source, &mut converted).ok()?;
        Some(match self.layout {
            Layout::Gray => converted.chunks_exact(3).map(|pixel| pixel[1]).collect(),
            Layout::GrayAlpha => converted.chunks_exact(4).flat_map(|pixel| [pixel[1], pixel[3]]).collect(),
            Layout::Rgb | Layout::Rgba | Layout::Cmyk => converted,
        })
    }
}

/// Converts amounts of ink to RGB where no profile says how they look on paper.
fn ink_on_paper(pixels: &[u8]) -> Vec<u8> {
    let light = |ink: u8, black: u8| ((255 - u32::from(ink)) * (255 - u32::from(black)) + 127) / 255;
    let of_pixel = |pixel: &[u8]| [0, 1, 2].map(|channel| light(pixel[channel], pixel[3]) as u8);
    pixels.chunks_exact(4).flat_map(of_pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmyk_is_ink_on_white_paper() {
        let pixels = [0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 0];
        assert_eq!(ink_on_paper(&pixels), [255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 0, 0]);
    }
}
