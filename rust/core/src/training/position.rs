//! The integer type of positions in an arena: 32 bits where they fit, which halves the lists, else 64.

/// A place of the arena, as it is stored in a list.
pub(crate) trait Position: Copy + Send {
    /// The largest place that fits.
    const MAX: usize;
    /// From a place that is known to fit.
    fn new(place: usize) -> Self;
    /// The place as an index.
    fn get(self) -> usize;
}

impl Position for u32 {
    const MAX: usize = u32::MAX as usize;
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the arena is no longer than MAX
    fn new(place: usize) -> Self {
        place as u32
    }
    #[inline]
    fn get(self) -> usize {
        self as usize
    }
}

impl Position for usize {
    const MAX: usize = usize::MAX;
    #[inline]
    fn new(place: usize) -> Self {
        place
    }
    #[inline]
    fn get(self) -> usize {
        self
    }
}
