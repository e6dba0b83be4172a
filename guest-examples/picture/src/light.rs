//! Amounts of light, and the numbers that sRGB has for them. Source: IEC 61966-2-1.

/// Converts between sRGB's eight bits and sixteen bits of light.
pub(crate) struct Light {
    /// The amount of light of each number.
    of: [u16; 256],
    /// The least amount of light of each number but the first: halfway, as sRGB counts, from the number before.
    from: [u16; 255],
}

/// Returns the light of a number, both from 0 to 1.
fn light(number: f64) -> f64 {
    if number <= 0.04045 { number / 12.92 } else { ((number + 0.055) / 1.055).powf(2.4) }
}

impl Light {
    pub(crate) fn new() -> Self {
        let scaled = |number: f64| (light(number / 255.0) * 65_535.0).round() as u16;
        Light {
            of: std::array::from_fn(|number| scaled(number as f64)),
            from: std::array::from_fn(|number| scaled(number as f64 + 0.5)),
        }
    }

    pub(crate) fn of(&self, number: u8) -> u16 {
        self.of[usize::from(number)]
    }

    pub(crate) fn number(&self, light: u16) -> u8 {
        self.from.partition_point(|&least| least <= light) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_back() {
        let light = Light::new();
        assert!((0..=255).all(|number| light.number(light.of(number)) == number));
        assert_eq!((light.number(0), light.number(65_535)), (0, 255));
    }

    #[test]
    fn half_of_the_light_is_not_half_of_the_number() {
        // 188 is what sRGB calls half of white's light.
        assert_eq!(Light::new().number(32_768), 188);
    }
}
