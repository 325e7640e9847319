//! The account of what training holds in memory, against the limit that the caller set.
//!
//! Memory is accounted for before it is taken, by capacity, and while a table grows both the old and the new one
//! count. So a limit is never exceeded by more than small change (a test counts what the allocator hands out).

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Bytes held by the large structures of one training, shared by its threads.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// No limit is the largest limit.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit: limit.unwrap_or(u64::MAX), used: AtomicU64::new(0) }
    }

    /// Account for `count` values of type `T` that are about to be allocated.
    pub(crate) fn reserve<T>(&self, count: usize) -> Result<()> {
        let bytes = bytes_of::<T>(count);
        let needed = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if needed > self.limit {
            return Err(Error::MemoryLimit { needed, limit: self.limit });
        }
        Ok(())
    }

    /// Give back what `reserve` took.
    pub(crate) fn release<T>(&self, count: usize) {
        self.used.fetch_sub(bytes_of::<T>(count), Ordering::Relaxed);
    }

    /// Append; where the vector has to grow, its new memory is accounted for first.
    #[inline]
    pub(crate) fn push<T>(&self, vector: &mut Vec<T>, value: T) -> Result<()> {
        let (len, capacity) = (vector.len(), vector.capacity());
        if len == capacity {
            self.grow::<T>(capacity, |num_more| vector.reserve_exact(num_more))?;
        }
        vector.push(value);
        Ok(())
    }

    /// As `push`, into a queue.
    #[inline]
    pub(crate) fn queue<T: Ord>(&self, queue: &mut BinaryHeap<T>, value: T) -> Result<()> {
        let (len, capacity) = (queue.len(), queue.capacity());
        if len == capacity {
            self.grow::<T>(capacity, |num_more| queue.reserve_exact(num_more))?;
        }
        queue.push(value);
        Ok(())
    }

    /// Double what is full.
    #[cold]
    fn grow<T>(&self, capacity: usize, reserve: impl FnOnce(usize)) -> Result<()> {
        let new_capacity = (2 * capacity).max(16);
        self.reserve::<T>(new_capacity)?;
        reserve(new_capacity - capacity);
        self.release::<T>(capacity);
        Ok(())
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

fn bytes_of<T>(count: usize) -> u64 {
    (count as u64).saturating_mul(size_of::<T>() as u64)
}

/// Bytes that the allocator takes for that many: whole units of 16, its note of the size included.
pub(crate) fn allocation(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}
