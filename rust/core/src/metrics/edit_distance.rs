//! The Levenshtein distance of two sequences of ids, 64 cells of a column at once.

/// How many insertions, deletions and replacements turn `left` into `right`.
///
/// Myers' bit vectors ("A Fast Bit-Vector Algorithm for Approximate String Matching Based on Dynamic Programming",
/// 1999) in the form that Hyyrö gives for the distance of whole sequences ("A Bit-Vector Algorithm for Computing
/// Levenshtein and Damerau Edit Distances", 2003); what both begin or end with is left out first.
#[must_use]
pub fn edit_distance<T: Copy + Eq>(left: &[T], right: &[T]) -> usize {
    let same = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[same..], &right[same..]);
    let same = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[..left.len() - same], &right[..right.len() - same]);
    let (pattern, text) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    match pattern {
        [] => return text.len(),
        // One token became several, as most often.
        [only] => return text.len() - usize::from(text.contains(only)),
        _ => {}
    }
    // (vertical steps up, vertical steps down) of 64 rows each
    let (mut one, mut many) = ([(u64::MAX, 0_u64)], Vec::new());
    let columns = if pattern.len() <= 64 {
        one.as_mut_slice()
    } else {
        many.resize(pattern.len().div_ceil(64), one[0]);
        many.as_mut_slice()
    };
    let last = columns.len() - 1;
    let last_bit = (pattern.len() - 1) % 64;
    let mut distance = pattern.len();
    for symbol in text {
        // What comes in from above: the first row is 0, 1, 2, ...
        let (mut up_in, mut down_in) = (1, 0);
        for (block, (up, down)) in columns.iter_mut().enumerate() {
            let rows = &pattern[block * 64..pattern.len().min((block + 1) * 64)];
            let mut equal = 0_u64;
            for (row, other) in rows.iter().enumerate() {
                equal |= u64::from(symbol == other) << row;
            }
            let vertical = equal | *down;
            let equal = equal | down_in;
            let horizontal = ((equal & *up).wrapping_add(*up) ^ *up) | equal;
            let horizontal_up = *down | !(horizontal | *up);
            let horizontal_down = *up & horizontal;
            let bit = if block == last { last_bit } else { 63 };
            let (up_out, down_out) = (horizontal_up >> bit & 1, horizontal_down >> bit & 1);
            let shifted_up = horizontal_up << 1 | up_in;
            let shifted_down = horizontal_down << 1 | down_in;
            *up = shifted_down | !(vertical | shifted_up);
            *down = shifted_up & vertical;
            (up_in, down_in) = (up_out, down_out);
        }
        distance += usize::from(up_in == 1);
        distance -= usize::from(down_in == 1);
    }
    distance
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The table of the textbook.
    fn plain(left: &[u32], right: &[u32]) -> usize {
        let mut row: Vec<usize> = (0..=right.len()).collect();
        for (i, a) in left.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, b) in right.iter().enumerate() {
                let replaced = diagonal + usize::from(a != b);
                diagonal = row[j + 1];
                row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
            }
        }
        row[right.len()]
    }

    #[test]
    fn goldens() {
        let ids = |word: &str| word.chars().map(u32::from).collect::<Vec<_>>();
        assert_eq!(edit_distance(&ids("kitten"), &ids("sitting")), 3);
        assert_eq!(edit_distance(&ids("flaw"), &ids("lawn")), 2);
        assert_eq!(edit_distance(&[], &ids("abc")), 3);
        assert_eq!(edit_distance(&ids("abc"), &ids("abc")), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn equals_the_plain_table(
            left in proptest::collection::vec(0_u32..4, 0..200),
            right in proptest::collection::vec(0_u32..4, 0..200),
        ) {
            prop_assert_eq!(edit_distance(&left, &right), plain(&left, &right));
        }
    }
}
