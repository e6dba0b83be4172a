//! The arithmetic decoder. Source: RFC 6386, 7.

/// Bytes that are loaded at once.
const LOADED_BYTES: usize = 7;

/// Reads decisions, each of which was coded with a probability.
///
/// Past the end it reads zeros. Whoever reads has to ask [`is_past_end`](Self::is_past_end) now and then.
#[derive(Clone, Copy)]
pub(crate) struct Bools<'a> {
    /// What isn't loaded yet.
    rest: &'a [u8],
    /// The loaded bits: those of the eight that decide next, and `ahead` more.
    value: u64,
    /// Number of bits that are loaded ahead. If negative, more must be loaded before the next decision.
    ahead: i32,
    /// The size of the coder's interval less one, 127 to 254.
    range: u32,
    /// Number of bytes that were missing.
    missing: u32,
}

impl<'a> Bools<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Bools { rest: data, value: 0, ahead: -8, range: 254, missing: 0 }
    }

    /// Whether decisions depended on more than the data. One zero byte beyond the end is allowed, as libwebp allows it.
    pub(crate) fn is_past_end(&self) -> bool {
        self.missing > 1
    }

    /// Reads a decision that is false with a probability of `probability` of 256.
    #[inline(always)]
    pub(crate) fn read(&mut self, probability: u8) -> bool {
        if self.ahead < 0 {
            self.load();
        }
        let split = (self.range * u32::from(probability)) >> 8;
        let is_set = (self.value >> self.ahead) as u32 > split;
        let size = if is_set {
            self.value -= u64::from(split + 1) << self.ahead;
            self.range - split
        } else {
            split + 1
        };
        let shift = size.leading_zeros() - 24;
        self.range = (size << shift) - 1;
        self.ahead -= shift as i32;
        is_set
    }

    /// Reads a decision that is as likely as not, and returns the number, or its negative if it is set.
    #[inline(always)]
    pub(crate) fn signed(&mut self, number: i32) -> i32 {
        if self.read(128) { -number } else { number }
    }

    #[inline(always)]
    fn load(&mut self) {
        match self.rest.first_chunk::<8>() {
            Some(&bytes) => {
                self.value = self.value << (8 * LOADED_BYTES) | u64::from_be_bytes(bytes) >> 8;
                self.ahead += 8 * LOADED_BYTES as i32;
                self.rest = &self.rest[LOADED_BYTES..];
            }
            None => self.load_byte(),
        }
    }

    /// Loads no more than is needed, so that `missing` is exact.
    #[cold]
    #[inline(never)]
    fn load_byte(&mut self) {
        let byte = match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                byte
            }
            None => {
                self.missing = self.missing.saturating_add(1);
                0
            }
        };
        self.value = self.value << 8 | u64::from(byte);
        self.ahead += 8;
    }

    /// Reads a flag.
    pub(crate) fn flag(&mut self) -> bool {
        self.read(128)
    }

    /// Reads a number of up to eight bits, the highest bit first.
    pub(crate) fn number(&mut self, bits: u32) -> u8 {
        (0..bits).fold(0, |number, _| number << 1 | u8::from(self.flag()))
    }

    /// Reads a number and its sign, if a flag says that there is one.
    pub(crate) fn optional(&mut self, bits: u32) -> Option<i32> {
        self.flag().then(|| {
            let number = i32::from(self.number(bits));
            self.signed(number)
        })
    }
}
