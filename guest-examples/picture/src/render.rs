//! Makes results of different shapes from one decoded picture.

use crate::attention;
use crate::picture::Picture;
use crate::refusal::Refusal;
use crate::resize::Part;
use crate::shape::{Fit, Gravity, Plan, Shape};

impl Picture {
    /// Returns the picture in a shape: upright, and in sRGB. Its size follows from the header's, whatever the scale at which
    /// it was decoded.
    ///
    /// # Errors
    ///
    /// When a result of this size can't be in memory.
    pub fn rendered(&self, shape: &Shape) -> Result<Picture, Refusal> {
        let plan = shape.plan(self.orientation.turned(self.full));
        let spare = (plan.scaled.0 - plan.kept.0, plan.scaled.1 - plan.kept.1);
        let offset = if shape.gravity == Gravity::Attention && spare != (0, 0) {
            let side = Some(attention::LOOKED_AT_SIDE);
            let gravity = Gravity::Centre;
            let looked_at =
                Shape { width: side, height: side, fit: Fit::Inside, gravity, linear: false, ..*shape };
            attention::offset(&self.rendered(&looked_at)?, plan.scaled, spare)
        } else {
            shape.gravity.offset(spare)
        };
        let part = self.part(plan, offset);
        let kept = self.orientation.turned(plan.kept);
        let picture =
            if shape.linear { self.part_resized_in_light(part, kept) } else { self.part_resized(part, kept) };
        let picture = picture?.in_srgb().upright();
        if plan.canvas == plan.kept {
            return Ok(picture);
        }
        let spare = (plan.canvas.0 - plan.kept.0, plan.canvas.1 - plan.kept.1);
        picture.framed(plan.canvas, shape.gravity.offset(spare), shape.background)
    }

    /// Returns the part of the stored pixels that a plan keeps, from an offset in the upright result.
    fn part(&self, plan: Plan, offset: (u32, u32)) -> Part {
        let (start, size) = self.orientation.stored_part(offset, plan.kept, plan.scaled);
        let scaled = self.orientation.turned(plan.scaled);
        let covered = self.covered();
        let across = |pixels: u32| f64::from(pixels) * covered.0 / f64::from(scaled.0);
        let down = |pixels: u32| f64::from(pixels) * covered.1 / f64::from(scaled.1);
        Part { left: across(start.0), top: down(start.1), width: across(size.0), height: down(size.1) }
    }
}
