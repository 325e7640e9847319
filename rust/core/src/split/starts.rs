//! Stage 1c: the positions of the bits of masks.

use super::classify::BLOCK;
use super::rows::SEGMENT;
use crate::instructions::{Instructions, Level};

/// At most one piece a byte; and the last store of positions may write past the end.
const MAX_STARTS: usize = SEGMENT + 64;

/// Byte positions where pieces start, in order.
#[derive(Debug)]
pub(crate) struct Starts {
    positions: Box<[u32; MAX_STARTS]>,
    len: usize,
}

impl Default for Starts {
    fn default() -> Self {
        Self { positions: Box::new([0; MAX_STARTS]), len: 0 }
    }
}

impl Starts {
    /// The positions.
    pub(crate) fn as_slice(&self) -> &[u32] {
        &self.positions[..self.len]
    }

    /// Forget all but the last position: where the piece starts whose end is not known yet.
    pub(crate) fn keep_last(&mut self) {
        if self.len > 0 {
            self.positions[0] = self.positions[self.len - 1];
            self.len = 1;
        }
    }

    /// Forget all that come after `end`, itself a start; `false` where it is not reached yet.
    pub(crate) fn end_at(&mut self, end: usize) -> bool {
        let before = self.as_slice().partition_point(|&start| (start as usize) < end);
        if before == self.len {
            return false;
        }
        self.len = before;
        self.push(end);
        true
    }

    /// Forget all.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Add one position.
    #[allow(clippy::cast_possible_truncation)] // texts longer than 32 bits are cut before (see the worker)
    pub(crate) fn push(&mut self, position: usize) {
        self.positions[self.len] = position as u32;
        self.len += 1;
    }

    /// Append the positions of all bits, the first bit being at byte `base`.
    #[allow(clippy::cast_possible_truncation)] // texts longer than 4 GiB are cut before (see the encoder)
    pub(crate) fn append(&mut self, instructions: Instructions, masks: &[u64], base: usize) {
        let base = base as u32;
        match instructions.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level exists only where the machine has its instructions.
            Level::Avx512 => unsafe { self.append_avx512(masks, base) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { self.append_avx2(masks, base) },
            Level::Portable => self.append_plain(masks, base),
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn append_plain(&mut self, masks: &[u64], base: u32) {
        let mut block_start = base as usize;
        for &mask in masks {
            let mut bits = mask;
            while bits != 0 {
                self.push(block_start + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
            block_start += BLOCK;
        }
    }

    /// As above, with one instruction for the lowest bit and one to clear it.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn append_avx2(&mut self, masks: &[u64], base: u32) {
        self.append_plain(masks, base);
    }

    /// Compress the numbers 0 to 63 to those whose bit is set, then widen 16 at a time. Stores whole vectors: what
    /// lies past the end is overwritten by the next.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,bmi1,bmi2,popcnt")]
    #[allow(clippy::cast_ptr_alignment, clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // Loads and stores ask for no alignment; the numbers are at most 64.
    fn append_avx512(&mut self, masks: &[u64], base: u32) {
        use std::arch::x86_64::{
            __m512i, _mm512_add_epi32, _mm512_castsi512_si128, _mm512_cvtepu8_epi32,
            _mm512_extracti32x4_epi32, _mm512_loadu_si512, _mm512_maskz_compress_epi8, _mm512_set1_epi32,
            _mm512_storeu_si512,
        };
        const NUMBERS: [u8; BLOCK] = {
            let mut numbers = [0; BLOCK];
            let mut i = 0;
            while i < BLOCK {
                numbers[i] = i as u8;
                i += 1;
            }
            numbers
        };
        assert!(self.len + masks.len() * BLOCK + 16 <= MAX_STARTS, "more starts than bytes");
        // SAFETY: the constant has 64 bytes; the load asks for no alignment.
        let numbers = unsafe { _mm512_loadu_si512(NUMBERS.as_ptr().cast::<__m512i>()) };
        let positions = self.positions.as_mut_ptr();
        let mut len = self.len;
        let mut block_start = _mm512_set1_epi32(base.cast_signed());
        for &mask in masks {
            let bytes = _mm512_maskz_compress_epi8(mask, numbers);
            let count = mask.count_ones() as usize;
            // SAFETY: `len` counts at most 64 a block and every store writes 16 from `len` (or at most 48 more)
            // on, rounded up to 16: inside of the array by the assertion.
            let store = |at: usize, lanes| unsafe {
                let wide = _mm512_add_epi32(_mm512_cvtepu8_epi32(lanes), block_start);
                _mm512_storeu_si512(positions.add(at).cast::<__m512i>(), wide);
            };
            store(len, _mm512_castsi512_si128(bytes));
            if count > 16 {
                store(len + 16, _mm512_extracti32x4_epi32::<1>(bytes));
                if count > 32 {
                    store(len + 32, _mm512_extracti32x4_epi32::<2>(bytes));
                    store(len + 48, _mm512_extracti32x4_epi32::<3>(bytes));
                }
            }
            len += count;
            block_start = _mm512_add_epi32(block_start, _mm512_set1_epi32(BLOCK as i32));
        }
        self.len = len;
    }
}
