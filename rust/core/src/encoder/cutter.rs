//! Documents as jobs for several workers, so that one huge document does not leave the others idle.
//!
//! ```text
//! documents   ┌ a ┐┌ b ┐┌ c ┐ … ┌──────────────────────── one of 20 MB ────────────────────────┐
//! jobs        └─ together: ─┘   └── text ──┘└── text ──┘└ pieces ┘└ part ┘└ part ┘└ p ┘└ text ─┘
//!               256 KB           cut before a blank      up to a   one piece that is longer
//!                                                        start     than any other: its bytes
//! ```
//!
//! Three ways to cut, the cheapest first:
//!
//! 1. Before a blank and the like (`sure_cut`): there a piece starts whatever else is around and whatever the pattern,
//!    and no piece before looks that far, so both sides encode alone as they do together.
//! 2. Where there is no such place near (Chinese, minified code, …) the text is scanned for where pieces start. The
//!    worker gets the text from one start on, with the place of another one where it stops: all that it may look ahead
//!    to is there.
//! 3. Inside of a piece that is itself longer than a job, anywhere. Parts are merged alone and joined in order
//!    (`Merger::join`), which gives the tokens of the whole piece.
//!
//! Jobs are made when a worker asks for one, so the first ones are worked on while the rest of a text is still scanned.

use crate::cancel::Cancel;
use crate::error::Result;
use crate::instructions::Instructions;
use crate::parallel::RANGE_BYTES;
use crate::preparation::Preparation;
use crate::split::Splitting;
use crate::split::boundaries::Boundaries;
use crate::split::starts::Starts;
use crate::unicode::ClassTable;
use crate::worker::MAX_TEXT;

/// How large jobs are, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobSizes {
    /// Documents are taken together up to this many.
    pub(super) together: usize,
    /// A longer document is cut into texts of about this many.
    pub(super) text: usize,
    /// So far behind that a place to cut is looked for, before the text is scanned.
    pub(super) search: usize,
    /// Parts of one piece; a piece of twice as many is cut.
    pub(super) part: usize,
}

impl Default for JobSizes {
    fn default() -> Self {
        // A power of two for parts: a run of one byte then falls into whole tokens, and no seam has to be mended.
        Self { together: RANGE_BYTES, text: 1 << 20, search: 1 << 16, part: 1 << 18 }
    }
}

/// What one worker does at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job<'t> {
    /// Whole documents: short ones, or one that is not encoded as it stands.
    Documents(&'t [&'t str]),
    /// The pieces of `text` before `end`; `last` where the document ends there.
    Pieces { text: &'t str, end: usize, last: bool },
    /// The bytes from `start` on of one piece, as far as that was cut.
    Part { piece: &'t [u8], start: usize, last: bool },
}

/// Cuts documents into jobs.
#[derive(Debug)]
pub(super) struct Cutter<'t> {
    texts: &'t [&'t str],
    sizes: JobSizes,
    instructions: Instructions,
    classes: &'t ClassTable,
    splitting: Splitting,
    preparation: &'t Preparation,
    num_jobs: usize,
    state: State<'t>,
}

#[derive(Debug)]
enum State<'t> {
    /// Before the first of `texts`.
    Between,
    /// A piece starts at the beginning of this rest of the first of `texts`, or it is all of it.
    Inside(&'t str),
    /// The same, while starts are looked for.
    Scanning(Box<Scan<'t>>),
}

#[derive(Debug)]
struct Scan<'t> {
    text: &'t str,
    boundaries: Boundaries,
    starts: Starts,
    /// The last start so far.
    last_start: usize,
    /// Up to where the piece that starts there is in jobs already.
    num_cut: Option<usize>,
}

impl<'t> Cutter<'t> {
    pub(super) fn new(
        texts: &'t [&'t str],
        sizes: JobSizes,
        instructions: Instructions,
        classes: &'t ClassTable,
        splitting: Splitting,
        preparation: &'t Preparation,
    ) -> Self {
        let state = State::Between;
        Self { texts, sizes, instructions, classes, splitting, preparation, num_jobs: 0, state }
    }

    /// The next job and its number; `None` when there are no more.
    pub(super) fn next_job(&mut self, cancel: &Cancel) -> Option<(usize, Result<Job<'t>>)> {
        let number = self.num_jobs;
        self.num_jobs += 1;
        let rest = match std::mem::replace(&mut self.state, State::Between) {
            State::Scanning(scan) => return Some((number, self.go_on(scan, cancel))),
            State::Inside(rest) => rest,
            State::Between => {
                let together = self.num_together();
                if together > 0 {
                    let (documents, after) = self.texts.split_at(together);
                    self.texts = after;
                    return Some((number, Ok(Job::Documents(documents))));
                }
                let text = self.texts.first()?;
                // What is not encoded as it stands is left to one worker.
                if !self.preparation.leaves(text) {
                    let (document, after) = self.texts.split_at(1);
                    self.texts = after;
                    return Some((number, Ok(Job::Documents(document))));
                }
                text
            }
        };
        Some((number, self.cut(rest, cancel)))
    }

    /// How many of the next documents are short and together as many bytes as one job should have.
    fn num_together(&self) -> usize {
        let mut num_bytes = 0;
        let mut count = 0;
        for text in self.texts {
            if num_bytes >= self.sizes.together || !self.is_short(text) {
                break;
            }
            num_bytes += text.len();
            count += 1;
        }
        count
    }

    fn is_short(&self, text: &str) -> bool {
        text.len() <= self.sizes.text + self.sizes.search
    }

    /// The first job of this rest of a document.
    fn cut(&mut self, rest: &'t str, cancel: &Cancel) -> Result<Job<'t>> {
        // What has no positions of 32 bits is not scanned: better one large job.
        let is_scannable = rest.len() <= MAX_TEXT;
        let search = if is_scannable { self.sizes.search } else { rest.len() };
        if self.is_short(rest) {
            return Ok(self.all(rest));
        }
        // Where no pattern cuts, no place is sure.
        if self.splitting != Splitting::Whole
            && let Some(cut) = sure_cut(rest, self.sizes.text, search)
        {
            let (text, after) = rest.split_at(cut);
            self.state = State::Inside(after);
            return Ok(Job::Pieces { text, end: cut, last: false });
        }
        if !is_scannable {
            return Ok(self.all(rest));
        }
        let mut boundaries = Boundaries::new(self.splitting);
        boundaries.restart(self.instructions, rest.as_bytes(), self.classes)?;
        let scan = Scan { text: rest, boundaries, starts: Starts::default(), last_start: 0, num_cut: None };
        self.go_on(Box::new(scan), cancel)
    }

    /// The rest of the document as one job.
    fn all(&mut self, rest: &'t str) -> Job<'t> {
        self.texts = &self.texts[1..];
        Job::Pieces { text: rest, end: rest.len(), last: true }
    }

    /// Scan until there is a job.
    fn go_on(&mut self, mut scan: Box<Scan<'t>>, cancel: &Cancel) -> Result<Job<'t>> {
        let Scan { text, boundaries, starts, last_start, num_cut } = &mut *scan;
        let text = *text;
        loop {
            // No piece starts between the last start and here.
            let num_scanned = boundaries.num_scanned().min(text.len());
            let in_jobs = num_cut.unwrap_or(*last_start);
            if num_scanned - in_jobs >= 2 * self.sizes.part {
                if num_cut.is_none() && *last_start > 0 {
                    let end = *last_start;
                    *num_cut = Some(end);
                    self.state = State::Scanning(scan);
                    return Ok(Job::Pieces { text, end, last: false });
                }
                let end = in_jobs + self.sizes.part;
                let piece = &text.as_bytes()[*last_start..end];
                let start = in_jobs - *last_start;
                *num_cut = Some(end);
                self.state = State::Scanning(scan);
                return Ok(Job::Part { piece, start, last: false });
            }
            cancel.check()?;
            starts.clear();
            let goes_on = boundaries.next_starts(self.instructions, text.as_bytes(), self.classes, starts)?;
            let starts = starts.as_slice();
            if let Some(num_cut) = *num_cut {
                let end = starts.first().map_or(text.len(), |&start| start as usize);
                if goes_on && starts.is_empty() {
                    continue;
                }
                let piece = &text.as_bytes()[*last_start..end];
                let start = num_cut - *last_start;
                if goes_on {
                    self.state = State::Inside(&text[end..]);
                } else {
                    self.texts = &self.texts[1..];
                }
                return Ok(Job::Part { piece, start, last: !goes_on });
            }
            if !goes_on {
                return Ok(self.all(text));
            }
            if let Some(&end) = starts.iter().find(|&&start| start as usize >= self.sizes.text) {
                let end = end as usize;
                self.state = State::Inside(&text[end..]);
                return Ok(Job::Pieces { text, end, last: false });
            }
            *last_start = starts.last().map_or(*last_start, |&start| start as usize);
        }
    }
}

/// A place of at least `from` and less than `from + search` where a text can be cut such that both sides encode alone as
/// they do together: before a blank, or behind a letter or number before a newline too. There a piece starts whatever
/// else is around and whatever the pattern, and no piece before looks that far.
pub(super) fn sure_cut(text: &str, from: usize, search: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_cut = |position: &usize| {
        let (before, after) = (bytes[position - 1], bytes[*position]);
        before.is_ascii_graphic() && after == b' ' || before.is_ascii_alphanumeric() && after == b'\n'
    };
    (from..bytes.len().min(from.saturating_add(search))).find(is_cut)
}

/// A text in parts of about `part_bytes`, cut where that is sure; the last one may be longer.
pub(super) fn parts(text: &str, part_bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(cut) = sure_cut(text, part_bytes, text.len()) else { return Some(text) };
        let (part, after) = text.split_at(cut);
        rest = Some(after);
        Some(part)
    })
}
