//! Memory that is touched all over: on pages of 2 MiB, where the system has them.
//!
//! A fresh page of 4 KiB costs its first touch about as much as encoding the text that fills it does (measured: 2.4
//! GB/s, against 21 GB/s on huge pages), and a table of some megabytes on small pages misses the TLB at every look-up.

const HUGE_PAGE: usize = 2 << 20;

/// Ask for huge pages under memory that was reserved but not touched yet. A hint: nothing depends on it.
pub(crate) fn advise<T>(memory: &[std::mem::MaybeUninit<T>]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = memory.as_ptr().addr().next_multiple_of(PAGE);
        let end = (memory.as_ptr().addr() + size_of_val(memory)) & !(PAGE - 1);
        if end < start + HUGE_PAGE {
            return;
        }
        // SAFETY: the range lies inside of memory that the caller has borrowed; the advice changes no contents.
        unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(start), end - start, libc::MADV_HUGEPAGE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Make room for at least `additional` more elements; new memory is on huge pages.
pub(crate) fn reserve<T>(vector: &mut Vec<T>, additional: usize) {
    if vector.capacity() - vector.len() >= additional {
        return;
    }
    let needed = vector.len() + additional;
    if needed * size_of::<T>() < HUGE_PAGE {
        vector.reserve(additional);
        return;
    }
    // Not by `Vec::reserve`: to `realloc`, what was reserved and never touched is memory like any other. It copies all of
    // it, 4 KiB at a time on both sides, as advice for a part of a block keeps the system from moving the block.
    let mut larger = Vec::with_capacity(needed.max(2 * vector.len()));
    advise(larger.spare_capacity_mut());
    larger.append(vector);
    *vector = larger;
}

/// Ask for the cache line of something that is looked at soon.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches nothing, and SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>((&raw const *value).cast::<i8>());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// A fixed number of elements, all bytes zero at first, each 64-byte group of them aligned.
#[derive(Debug)]
pub(crate) struct ZeroedArray<T> {
    storage: Vec<u128>,
    /// Elements of `storage` before the first aligned one.
    offset: usize,
    len: usize,
    element: std::marker::PhantomData<T>,
}

/// Types for which all bytes zero, and any other bytes, are a value.
///
/// # Safety
///
/// The type must be plain integers without padding, and its size must divide 64 or be a multiple of it.
pub(crate) unsafe trait Plain: Copy {}

impl<T: Plain> ZeroedArray<T> {
    const ALIGNMENT: usize = 64;

    /// `len` elements of zero bytes. The memory is taken from the system when it is touched first.
    pub(crate) fn new(len: usize) -> Self {
        const {
            assert!(align_of::<T>() <= Self::ALIGNMENT);
        }
        let num_bytes = len * size_of::<T>();
        // What fills whole huge pages begins with one: its edges would else be a thousand small ones. The room that
        // this takes is never touched.
        let alignment = if num_bytes >= HUGE_PAGE { HUGE_PAGE } else { Self::ALIGNMENT };
        let num_words = (num_bytes + alignment).div_ceil(size_of::<u128>());
        // `vec![0; n]` asks for zeroed memory and writes none.
        let mut storage = vec![0_u128; num_words];
        let misaligned = storage.as_ptr().addr() % alignment;
        let offset = if misaligned == 0 { 0 } else { (alignment - misaligned) / size_of::<u128>() };
        // SAFETY: a slice of integers may be seen as one of maybe uninitialised ones; nothing is written through it.
        let memory = unsafe {
            std::slice::from_raw_parts(storage.as_mut_ptr().cast::<std::mem::MaybeUninit<u128>>(), num_words)
        };
        advise(memory);
        Self { storage, offset, len, element: std::marker::PhantomData }
    }

    /// The elements.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: `new` reserved `len` elements behind the offset, which makes them aligned; T is `Plain`, so
        // whatever integers lie there are values of it.
        unsafe { std::slice::from_raw_parts(self.storage.as_ptr().add(self.offset).cast::<T>(), self.len) }
    }

    /// The elements.
    #[inline]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed alone.
        unsafe {
            std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().add(self.offset).cast::<T>(), self.len)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn what_is_in_a_vector_stays_when_room_is_made(
            steps in prop::collection::vec((0_usize..5_000, prop_oneof![0_usize..10_000, 1_000_000_usize..3_000_000]), 1..6),
        ) {
            let (mut vector, mut expected) = (Vec::new(), Vec::new());
            for (num_new, additional) in steps {
                reserve(&mut vector, num_new + additional);
                prop_assert!(vector.capacity() - vector.len() >= num_new + additional);
                let place = vector.as_ptr();
                vector.extend((0..num_new).map(|number| u16::try_from(number).unwrap()));
                prop_assert_eq!(vector.as_ptr(), place, "moved, though there was room");
                expected.extend((0..num_new).map(|number| u16::try_from(number).unwrap()));
                prop_assert_eq!(&vector, &expected);
            }
        }
    }
}
