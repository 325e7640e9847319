//! The account of what training holds in memory, against the limit that the caller set.

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

    /// Bytes held now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

fn bytes_of<T>(count: usize) -> u64 {
    (count as u64).saturating_mul(size_of::<T>() as u64)
}
