//! A hash table from pairs of ids to small values: open addressing, linear probing, nothing is ever removed.

use super::budget::Budget;
use crate::error::Result;
use crate::huge_pages;

/// Two ids side by side. Compares as the two of them do: left first, then right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair(u64);

impl Pair {
    #[inline]
    pub(crate) fn new(left: u32, right: u32) -> Self {
        Self(u64::from(left) << 32 | u64::from(right))
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the two halves are taken apart
    pub(crate) fn ids(self) -> (u32, u32) {
        ((self.0 >> 32) as u32, self.0 as u32)
    }

    /// The two as one number, which compares as they do.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The upper bits of a product: all but the lowest `shift`.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // no more bits are left than a table has
    pub(crate) fn hash(self, shift: u32) -> usize {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
    }
}

/// No pair: the ids of an arena are below its sentinel.
const EMPTY: Pair = Pair(u64::MAX);

#[derive(Debug, Clone, Copy)]
struct Slot<V> {
    pair: Pair,
    value: V,
}

/// The table; at most half full.
#[derive(Debug)]
pub(crate) struct PairMap<V> {
    slots: Vec<Slot<V>>,
    len: usize,
    shift: u32,
}

impl<V: Copy + Default> PairMap<V> {
    pub(crate) fn new(budget: &Budget) -> Result<Self> {
        const FIRST_BITS: u32 = 8;
        let num_slots = 1 << FIRST_BITS;
        budget.reserve::<Slot<V>>(num_slots)?;
        Ok(Self { slots: empty_slots(num_slots), len: 0, shift: u64::BITS - FIRST_BITS })
    }

    /// The value of `pair`, if it has one.
    #[inline]
    pub(crate) fn get_mut(&mut self, pair: Pair) -> Option<&mut V> {
        let index = self.find(pair);
        let slot = &mut self.slots[index];
        (slot.pair == pair).then_some(&mut slot.value)
    }

    /// The value of `pair`, a default one if it had none.
    #[inline]
    pub(crate) fn entry(&mut self, pair: Pair, budget: &Budget) -> Result<&mut V> {
        let mut index = self.find(pair);
        if self.slots[index].pair == EMPTY {
            if 2 * (self.len + 1) > self.slots.len() {
                self.grow(budget)?;
                index = self.find(pair);
            }
            self.len += 1;
            self.slots[index].pair = pair;
        }
        Ok(&mut self.slots[index].value)
    }

    /// All pairs and their values, in no particular order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Pair, &mut V)> {
        self.slots.iter_mut().filter(|slot| slot.pair != EMPTY).map(|slot| (slot.pair, &mut slot.value))
    }

    /// Drop the table and tell the budget.
    pub(crate) fn free(self, budget: &Budget) {
        budget.release::<Slot<V>>(self.slots.len());
    }

    /// Where `pair` is, or where it belongs.
    #[inline]
    fn find(&self, pair: Pair) -> usize {
        let mask = self.slots.len() - 1;
        let mut index = pair.hash(self.shift);
        // Half of the slots are empty, so this ends.
        while self.slots[index].pair != pair && self.slots[index].pair != EMPTY {
            index = (index + 1) & mask;
        }
        index
    }

    #[cold]
    fn grow(&mut self, budget: &Budget) -> Result<()> {
        let num_slots = 2 * self.slots.len();
        budget.reserve::<Slot<V>>(num_slots)?;
        let old = std::mem::replace(&mut self.slots, empty_slots(num_slots));
        self.shift -= 1;
        for slot in &old {
            if slot.pair != EMPTY {
                let index = self.find(slot.pair);
                self.slots[index] = *slot;
            }
        }
        budget.release::<Slot<V>>(old.len());
        Ok(())
    }
}

fn empty_slots<V: Copy + Default>(num_slots: usize) -> Vec<Slot<V>> {
    let mut slots = Vec::new();
    huge_pages::reserve(&mut slots, num_slots);
    slots.resize(num_slots, Slot { pair: EMPTY, value: V::default() });
    slots
}
