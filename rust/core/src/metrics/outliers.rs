//! The documents whose compression lies farthest from the others'.

use std::cmp::Ordering;

/// A shorter document is no outlier.
pub const MIN_BYTES: u64 = 1024;
/// How many are kept at each end.
pub const NUM_KEPT: usize = 10;

/// A document: its row in the corpus, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentSize {
    /// Number of its row.
    pub row: u64,
    /// Bytes of UTF-8.
    pub bytes: u64,
    /// Tokens.
    pub tokens: u64,
}

/// The documents of the fewest and of the most bytes per token, the farthest first; of two alike, the earlier row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outliers {
    /// Of the fewest bytes per token.
    pub worst: Vec<DocumentSize>,
    /// Of the most.
    pub best: Vec<DocumentSize>,
}

impl Outliers {
    /// Meet a document.
    pub(crate) fn meet(&mut self, document: DocumentSize) {
        if document.bytes < MIN_BYTES || document.tokens == 0 {
            return;
        }
        keep(&mut self.worst, document, by_bytes_per_token);
        keep(&mut self.best, document, |a, b| by_bytes_per_token(b, a));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for &document in &other.worst {
            keep(&mut self.worst, document, by_bytes_per_token);
        }
        for &document in &other.best {
            keep(&mut self.best, document, |a, b| by_bytes_per_token(b, a));
        }
    }
}

fn keep(
    kept: &mut Vec<DocumentSize>,
    document: DocumentSize,
    order: impl Fn(&DocumentSize, &DocumentSize) -> Ordering,
) {
    let order = |a: &DocumentSize, b: &DocumentSize| order(a, b).then(a.row.cmp(&b.row));
    let place = kept.partition_point(|other| order(other, &document).is_lt());
    if place < NUM_KEPT {
        kept.insert(place, document);
        kept.truncate(NUM_KEPT);
    }
}

fn by_bytes_per_token(a: &DocumentSize, b: &DocumentSize) -> Ordering {
    let times = |x: u64, y: u64| u128::from(x) * u128::from(y);
    times(a.bytes, b.tokens).cmp(&times(b.bytes, a.tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_are_kept_however_they_came() {
        let documents: Vec<DocumentSize> = (0..100)
            .map(|row| DocumentSize { row, bytes: 2000 + row * 7 % 50, tokens: 100 + row * 31 % 97 })
            .collect();
        let of = |documents: &mut dyn Iterator<Item = &DocumentSize>| {
            let mut outliers = Outliers::default();
            documents.for_each(|&document| outliers.meet(document));
            outliers
        };
        let whole = of(&mut documents.iter());
        let mut sorted = documents.clone();
        sorted.sort_by(|a, b| by_bytes_per_token(a, b).then(a.row.cmp(&b.row)));
        assert_eq!(whole.worst, sorted[..NUM_KEPT]);
        sorted.sort_by(|a, b| by_bytes_per_token(b, a).then(a.row.cmp(&b.row)));
        assert_eq!(whole.best, sorted[..NUM_KEPT]);
        let mut merged = of(&mut documents[40..].iter());
        merged.merge(&of(&mut documents[..40].iter()));
        assert_eq!(merged, whole);
        let mut none = Outliers::default();
        none.meet(DocumentSize { row: 0, bytes: MIN_BYTES - 1, tokens: 1 });
        none.meet(DocumentSize { row: 0, bytes: MIN_BYTES, tokens: 0 });
        assert_eq!(none, Outliers::default());
    }
}
