//! Turns and mirrors pictures.

use crate::orientation::Orientation;
use crate::picture::Picture;

impl Picture {
    /// Turns the pixels as `orientation` says.
    pub fn upright(self) -> Self {
        let orientation = self.orientation;
        Picture { orientation: Orientation::UPRIGHT, ..self.turned(orientation) }
    }

    /// Turns the picture clockwise by quarters of a turn.
    pub fn rotated(self, quarters: u8) -> Self {
        let upright = self.upright();
        match quarters % 4 {
            1 => upright.turned(Orientation(6)),
            2 => upright.turned(Orientation(3)),
            3 => upright.turned(Orientation(8)),
            _ => upright,
        }
    }

    /// Mirrors the picture top to bottom.
    pub fn flipped(self) -> Self {
        self.upright().turned(Orientation(4))
    }

    /// Mirrors the picture left to right.
    pub fn flopped(self) -> Self {
        self.upright().turned(Orientation(2))
    }

    /// Moves each pixel to where it belongs if the picture is stored with this orientation.
    fn turned(self, orientation: Orientation) -> Self {
        if orientation == Orientation::UPRIGHT {
            return self;
        }
        let (width, height) = orientation.turned((self.width, self.height));
        let channels = self.layout.channels();
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height {
            for x in 0..width {
                // The pixel that belongs here.
                let ((from_x, from_y), _) = orientation.stored_part((x, y), (1, 1), (width, height));
                let start = (from_y as usize * self.width as usize + from_x as usize) * channels;
                pixels.extend_from_slice(&self.pixels[start..start + channels]);
            }
        }
        let full = orientation.turned(self.full);
        Picture { full, width, height, pixels, ..self }
    }
}

impl Orientation {
    /// Returns where a part of the upright picture is in the picture as it is stored: its start and its size. `whole` is
    /// the upright picture's size.
    pub(crate) fn stored_part(
        self,
        (left, top): (u32, u32),
        (width, height): (u32, u32),
        whole: (u32, u32),
    ) -> ((u32, u32), (u32, u32)) {
        let (right, bottom) = (whole.0 - left - width, whole.1 - top - height);
        let start = match self.number() {
            2 => (right, top),
            3 => (right, bottom),
            4 => (left, bottom),
            5 => (top, left),
            6 => (top, right),
            7 => (bottom, right),
            8 => (bottom, left),
            _ => (left, top),
        };
        (start, self.turned((width, height)))
    }
}
