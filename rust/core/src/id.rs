//! The integer types of token ids: `u16` where the largest id fits, else `u32`.

use crate::encoder::Scratch;
use crate::worker::Worker;

/// A token id in memory.
///
/// Only these two: an encoder keeps workers for each.
pub trait TokenId: Copy + Default + Ord + Send + Sync + std::fmt::Debug + 'static {
    /// The largest id that fits.
    const MAX: u32;
    /// From an id that is known to fit (`<= Self::MAX`).
    #[must_use]
    fn from_u32(id: u32) -> Self;
    /// The id as a number.
    #[must_use]
    fn to_u32(self) -> u32;
    /// Where a scratch keeps the worker of this type.
    #[doc(hidden)]
    fn worker(scratch: &mut Scratch) -> &mut Option<Box<Worker<Self>>>;
}

impl TokenId for u16 {
    const MAX: u32 = 0xffff;
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // callers choose u16 only where the largest id fits
    fn from_u32(id: u32) -> Self {
        id as Self
    }
    #[inline]
    fn to_u32(self) -> u32 {
        u32::from(self)
    }
    #[inline]
    fn worker(scratch: &mut Scratch) -> &mut Option<Box<Worker<Self>>> {
        &mut scratch.narrow
    }
}

impl TokenId for u32 {
    const MAX: u32 = Self::MAX;
    #[inline]
    fn from_u32(id: u32) -> Self {
        id
    }
    #[inline]
    fn to_u32(self) -> u32 {
        self
    }
    #[inline]
    fn worker(scratch: &mut Scratch) -> &mut Option<Box<Worker<Self>>> {
        &mut scratch.wide
    }
}
