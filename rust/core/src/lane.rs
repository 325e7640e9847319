//! One lane of a packer: its undelivered tokens and the documents they belong to.

use std::collections::VecDeque;
use std::iter::Sum;

use crate::error::{Error, Result};
use crate::packer::LanePosition;

/// Sums over documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// How many documents.
    pub documents: u64,
    /// Their bytes of UTF-8.
    pub bytes: u64,
    /// Their tokens, one EOS each counted.
    pub tokens: u64,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.tokens += other.tokens;
    }
}

impl Sum for Totals {
    fn sum<S: Iterator<Item = Self>>(all: S) -> Self {
        all.fold(Self::default(), |mut sum, totals| {
            sum.add(totals);
            sum
        })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Lane<I> {
    /// Undelivered tokens are `tokens[delivered..]`.
    tokens: Vec<I>,
    delivered: usize,
    /// Documents that are not wholly delivered; the first one has the number `position.document`.
    documents: VecDeque<Totals>,
    position: LanePosition,
}

impl<I: Copy> Lane<I> {
    /// Undelivered tokens.
    pub(crate) fn tokens(&self) -> &[I] {
        &self.tokens[self.delivered..]
    }

    /// Take `tokens` for those of this lane: the undelivered ones, and behind them whole documents, of each of which the
    /// number of tokens (EOS counted) and of bytes is given.
    pub(crate) fn replace(&mut self, tokens: Vec<I>, documents: impl Iterator<Item = (usize, u64)>) {
        (self.tokens, self.delivered) = (tokens, 0);
        self.documents.extend(documents.map(|(tokens, bytes)| Totals {
            documents: 1,
            bytes,
            tokens: tokens as u64,
        }));
    }

    /// As `deliver`, without a copy where most of the tokens go.
    pub(crate) fn deliver_owned(&mut self, num_tokens: usize, num_lanes: u64) -> Vec<I> {
        if self.delivered > 0 || num_tokens < self.tokens.len() / 2 {
            let mut taken = Vec::with_capacity(num_tokens);
            self.deliver(num_tokens, num_lanes, |tokens| taken.extend_from_slice(tokens));
            return taken;
        }
        let rest = self.tokens[num_tokens..].to_vec();
        let mut taken = std::mem::replace(&mut self.tokens, rest);
        taken.truncate(num_tokens);
        self.advance(num_tokens, num_lanes);
        taken
    }

    pub(crate) fn new(lane: u64) -> Self {
        Self::resumed(LanePosition { document: lane, ..LanePosition::default() })
    }

    /// A lane whose next document is `position.document`, `position.offset` tokens of it delivered before.
    pub(crate) fn resumed(position: LanePosition) -> Self {
        Self { tokens: Vec::new(), delivered: 0, documents: VecDeque::new(), position }
    }

    pub(crate) fn position(&self) -> LanePosition {
        self.position
    }

    /// Whether a document of this number would be appended whole: nothing of it was delivered before.
    pub(crate) fn expects(&self, document: u64) -> bool {
        let LanePosition { document: first, offset, .. } = self.position;
        (!self.documents.is_empty() || offset == 0) && document >= first
    }

    /// The documents of the next `num_tokens` tokens, and how many of the tokens are of each.
    pub(crate) fn segments(
        &self,
        num_tokens: usize,
        num_lanes: u64,
    ) -> impl Iterator<Item = (u64, usize)> + use<'_, I> {
        let LanePosition { mut document, mut offset, .. } = self.position;
        let mut documents = self.documents.iter();
        let mut missing = num_tokens as u64;
        std::iter::from_fn(move || {
            let next = if missing > 0 { documents.next()? } else { return None };
            let taken = missing.min(next.tokens - offset);
            let segment = (document, usize::try_from(taken).unwrap_or(usize::MAX));
            missing -= taken;
            offset = 0;
            document += num_lanes;
            Some(segment)
        })
    }

    /// Move on over documents that were delivered elsewhere, while this lane had nothing left.
    pub(crate) fn pass_over(&mut self, documents: Totals) {
        debug_assert!(self.documents.is_empty() && self.position.offset == 0, "a document is not finished");
        self.position.document += documents.documents;
        self.position.before.add(documents);
    }

    /// Undelivered tokens.
    pub(crate) fn num_tokens(&self) -> usize {
        self.tokens.len() - self.delivered
    }

    /// All documents this lane ever got.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.position.before;
        self.documents.iter().for_each(|document| totals.add(*document));
        totals
    }

    /// Whether a document of `num_tokens` (EOS counted) may be pushed: after a resume, the one that was cut must
    /// be as long as what was delivered of it.
    pub(crate) fn check(&self, document: u64, num_tokens: u64, num_lanes: u64) -> Result<()> {
        let LanePosition { offset, .. } = self.position;
        if document == self.position.document && self.documents.is_empty() && offset >= num_tokens {
            return Err(Error::InvalidResume {
                reason: format!(
                    "document {document} of lane {} has {num_tokens} tokens, but {offset} of it were delivered \
                     before (expected the same documents and tokenizer)",
                    document % num_lanes
                ),
            });
        }
        Ok(())
    }

    /// Whether the corpus may end before `next_document`: a resumed lane must have got back what it stood at.
    pub(crate) fn check_end(&self, next_document: u64, num_lanes: u64) -> Result<()> {
        let LanePosition { document, offset, .. } = self.position;
        if self.documents.is_empty() && (offset > 0 || document >= next_document + num_lanes) {
            return Err(Error::InvalidResume {
                reason: format!(
                    "lane {} stood at document {document}, {offset} tokens into it, but the corpus ends after \
                     {next_document} documents (expected the same documents)",
                    document % num_lanes
                ),
            });
        }
        Ok(())
    }

    /// Append a document and EOS. Returns how many of its tokens were left out as delivered before; a document
    /// before the lane's position is left out whole, and was counted before.
    pub(crate) fn push(&mut self, document: u64, ids: &[I], eos: I, num_bytes: u64, num_lanes: u64) -> u64 {
        let expected = self.position.document + self.documents.len() as u64 * num_lanes;
        if document < expected {
            return 0;
        }
        let skipped = if self.documents.is_empty() { self.position.offset } else { 0 };
        self.documents.push_back(Totals { documents: 1, bytes: num_bytes, tokens: ids.len() as u64 + 1 });
        let first = usize::try_from(skipped).unwrap_or(usize::MAX).min(ids.len());
        self.tokens.extend_from_slice(&ids[first..]);
        self.tokens.push(eos);
        skipped
    }

    /// Hand the next `num_tokens` to `take`, and move the position on.
    pub(crate) fn deliver(&mut self, num_tokens: usize, num_lanes: u64, take: impl FnOnce(&[I])) {
        let end = self.delivered + num_tokens;
        take(&self.tokens[self.delivered..end]);
        self.delivered = end;
        // Moving the rest to the front at every block would cost O(n²); this way each token moves about once.
        if self.delivered * 2 >= self.tokens.len() {
            self.tokens.drain(..self.delivered);
            self.delivered = 0;
        }
        self.advance(num_tokens, num_lanes);
    }

    fn advance(&mut self, num_tokens: usize, num_lanes: u64) {
        let position = &mut self.position;
        position.offset += num_tokens as u64;
        while let Some(document) =
            self.documents.front().copied().filter(|first| position.offset >= first.tokens)
        {
            position.offset -= document.tokens;
            position.document += num_lanes;
            position.before.add(document);
            self.documents.pop_front();
        }
    }
}
