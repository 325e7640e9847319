//! Numbers, which some patterns cut into groups.

use super::rows::{Row, Rows};
use super::scan::Text;
use crate::error::Result;
use crate::unicode::Class;

/// How many numbers (`\p{N}`) are one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// `\p{N}`: each alone.
    One,
    /// `\p{N}{1,3}`: three from the left, then three, then what is left.
    Three,
    /// `\p{N}+`: all that follow each other.
    All,
}

impl Digits {
    /// Where the piece ends that starts at `start`, with a number.
    pub(crate) fn piece_end(self, text: &Text<'_>, start: usize) -> Result<usize> {
        let most = match self {
            Self::One => 1,
            Self::Three => 3,
            Self::All => return text.run_end(start, |class| class == Class::Number),
        };
        let mut end = start;
        for _ in 0..most {
            match text.class_at(end)? {
                Some((Class::Number, width)) => end += width,
                _ => break,
            }
        }
        Ok(end)
    }

    /// Add the starts inside of runs of numbers, whose first one is a start already. `in_group` says how many numbers
    /// the last group had at the end of the segment before, where a run goes on; it becomes that of this one.
    pub(crate) fn add_starts(self, rows: &mut Rows, in_group: &mut u32) {
        let (starts, number, inner) = (&mut rows.starts, &rows.number, &rows.more.inner);
        match self {
            Self::All => {}
            Self::One => {
                for slot in 1..=rows.num_blocks {
                    starts[slot] |= number[slot] & !inner[slot];
                }
            }
            Self::Three => {
                for slot in 1..=rows.num_blocks {
                    *in_group = add_groups(starts, number, inner, slot, *in_group);
                }
            }
        }
    }
}

/// The groups of three of one block; gives `in_group` for the next one.
#[inline]
fn add_groups(starts: &mut Row, number: &Row, inner: &Row, slot: usize, in_group: u32) -> u32 {
    let (before, numbers) = (number[slot - 1], number[slot]);
    // The fourth byte of a run and later ones: without them there is nothing to add.
    let is_before = |distance: u32| numbers << distance | before >> (64 - distance);
    let long = numbers & is_before(1) & is_before(2) & is_before(3);
    let at_end = numbers.leading_ones();
    if long == 0 {
        if at_end == 0 {
            return 0;
        }
        let run = !(u64::MAX >> at_end);
        return (run & !inner[slot]).count_ones();
    }
    let mut left = numbers;
    let mut count = 0;
    while left != 0 {
        let first = left.trailing_zeros();
        let length = (left >> first).trailing_ones();
        let run = (u64::MAX >> (u64::BITS - length)) << first;
        left &= !run;
        count = if first == 0 && before >> 63 == 1 { in_group } else { 0 };
        let mut characters = run & !inner[slot];
        while characters != 0 {
            if count == 3 {
                starts[slot] |= characters & characters.wrapping_neg();
                count = 0;
            }
            count += 1;
            characters &= characters - 1;
        }
    }
    if at_end == 0 { 0 } else { count }
}
