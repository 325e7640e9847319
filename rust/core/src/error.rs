//! Everything that can go wrong in the core, as data. The bindings turn it into Python exceptions in one place.

use std::fmt;

/// What went wrong, with the offending values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The JSON of a tokenizer cannot be read, or contradicts itself.
    InvalidTokenizer {
        /// What was found and what was expected.
        reason: String,
    },
    /// The tokenizer is sound, but this engine does not cover it.
    UnsupportedTokenizer {
        /// Why not, for a reader who knows tokenizers and not this crate.
        reason: String,
    },
    /// A code point that Unicode 14 does not assign: its class has to come from outside
    /// (see `Encoder::learn_classes`). Nothing of the call took effect.
    UnicodeRestNeeded {
        /// The first such code point met.
        code_point: u32,
    },
    /// An id that is no token of the vocabulary.
    UnknownId {
        /// The id.
        id: i64,
        /// The largest id there is.
        max: u32,
    },
    /// An id that the id type of a packer cannot hold.
    IdDoesNotFit {
        /// The id.
        id: i64,
        /// The largest id that fits.
        max: u32,
    },
    /// Training would hold more memory than it may.
    MemoryLimit {
        /// Bytes that the next step would bring it to.
        needed: u64,
        /// Bytes that it may hold.
        limit: u64,
    },
    /// A trainer was used after it had trained, or after an error that left it with a part of a batch.
    TrainerSpent,
    /// The caller asked for the end of a long call. Nothing of the call took effect.
    Cancelled,
    /// Offsets that do not cut the given ids into documents.
    InvalidOffsets {
        /// What was found and what was expected.
        reason: String,
    },
    /// An option with a value outside of its range.
    InvalidOption {
        /// Name of the option.
        name: &'static str,
        /// The value given.
        value: u64,
        /// What was expected.
        expected: &'static str,
    },
    /// An Arrow array or stream that is no column of texts.
    UnsupportedArrow {
        /// The format string of the C data interface.
        format: String,
        /// What it stands for.
        found: String,
    },
    /// An Arrow table without the column that was asked for.
    MissingArrowColumn {
        /// The column asked for.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// An Arrow array that contradicts itself, or was consumed before.
    InvalidArrow {
        /// What was found and what was expected.
        reason: String,
    },
    /// A stream of Arrow arrays whose producer failed.
    ArrowStream {
        /// Its error code, one of `errno`.
        code: i32,
        /// What it said.
        message: String,
    },
    /// A buffer of the caller has no room for all blocks. Nothing of the call took effect.
    OutputTooSmall {
        /// Blocks that there are.
        needed: u64,
        /// Blocks that fit.
        room: u64,
    },
    /// Documents were pushed after the end of the corpus.
    PackerFinished,
    /// A saved position that does not belong to this packer or to these documents.
    InvalidResume {
        /// What was found and what was expected.
        reason: String,
    },
}

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTokenizer { reason } => write!(f, "the tokenizer cannot be read: {reason}"),
            Self::UnsupportedTokenizer { reason }
            | Self::InvalidOffsets { reason }
            | Self::InvalidResume { reason } => f.write_str(reason),
            Self::UnicodeRestNeeded { code_point } => {
                write!(f, "U+{code_point:04X} is not assigned in Unicode 14: its class has to be asked for")
            }
            Self::UnknownId { id, max } => {
                write!(f, "id {id} is not in the vocabulary (expected one of its ids, the largest is {max})")
            }
            Self::IdDoesNotFit { id, max } => {
                write!(f, "id {id} does not fit the id type (expected an id from 0 to {max})")
            }
            Self::MemoryLimit { needed, limit } => write!(
                f,
                "training needs {needed} bytes by now, max_memory is {limit} (expected a larger limit, fewer \
                 documents, or a pre-tokenizer that cuts more)"
            ),
            Self::TrainerSpent => f.write_str(
                "the trainer has trained already, or failed before (expected: a new one, with the texts from the start)",
            ),
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::InvalidOption { name, value, expected } => {
                write!(f, "{name} is {value} (expected {expected})")
            }
            Self::UnsupportedArrow { format, found } => write!(
                f,
                "an Arrow column of the format {format:?}: {found} (expected string, large_string, string_view, \
                 binary, large_binary, binary_view, or a dictionary of one of them)"
            ),
            Self::MissingArrowColumn { column, found } => {
                write!(f, "no column {column:?} in the Arrow table (found {}; set text_column)", found.join(", "))
            }
            Self::InvalidArrow { reason } => write!(f, "an Arrow array cannot be read: {reason}"),
            Self::ArrowStream { code, message } => {
                write!(f, "an Arrow stream failed with the code {code}: {message} (expected the next array)")
            }
            Self::OutputTooSmall { needed, room } => {
                write!(f, "out has room for {room} blocks (expected room for {needed})")
            }
            Self::PackerFinished => {
                f.write_str("the packer is finished and takes no more documents (expected: a new packer)")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Shorthand for the most frequent variant of the loader.
pub(crate) fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidTokenizer { reason: reason.into() }
}

/// Shorthand for what the loader recognises and does not cover.
pub(crate) fn unsupported(reason: impl Into<String>) -> Error {
    Error::UnsupportedTokenizer { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every variant, its message, and a `match` without `_`: a new variant does not compile until it is here.
    #[test]
    fn every_variant_says_what_was_found_and_what_was_expected() {
        let reason = || "found a, expected b".to_owned();
        let cases = [
            (Error::InvalidTokenizer { reason: reason() }, "cannot be read: found a, expected b"),
            (Error::UnsupportedTokenizer { reason: reason() }, "found a, expected b"),
            (Error::UnicodeRestNeeded { code_point: 0x1c8a }, "U+1C8A is not assigned in Unicode 14"),
            (Error::UnknownId { id: -3, max: 70 }, "id -3 is not in the vocabulary (expected"),
            (Error::IdDoesNotFit { id: 65_536, max: 65_535 }, "id 65536 does not fit the id type (expected"),
            (Error::Cancelled, "cancelled"),
            (Error::InvalidOffsets { reason: reason() }, "found a, expected b"),
            (
                Error::InvalidOption { name: "num_lanes", value: 0, expected: "1 or more" },
                "num_lanes is 0 (expected 1 or more)",
            ),
            (
                Error::UnsupportedArrow { format: "l".to_owned(), found: "integers".to_owned() },
                "of the format \"l\": integers (expected string",
            ),
            (
                Error::MissingArrowColumn { column: "text".to_owned(), found: vec!["a".to_owned()] },
                "no column \"text\" in the Arrow table (found a;",
            ),
            (Error::InvalidArrow { reason: reason() }, "cannot be read: found a, expected b"),
            (Error::ArrowStream { code: 5, message: "gone".to_owned() }, "with the code 5: gone (expected"),
            (Error::OutputTooSmall { needed: 3, room: 2 }, "room for 2 blocks (expected room for 3)"),
            (Error::PackerFinished, "takes no more documents (expected"),
            (Error::InvalidResume { reason: reason() }, "found a, expected b"),
            (Error::MemoryLimit { needed: 9, limit: 5 }, "needs 9 bytes by now, max_memory is 5 (expected"),
            (Error::TrainerSpent, "trained already, or failed before (expected"),
        ];
        let mut seen = [false; 17];
        for (error, part) in cases {
            let number = match error {
                Error::InvalidTokenizer { .. } => 0,
                Error::UnsupportedTokenizer { .. } => 1,
                Error::UnicodeRestNeeded { .. } => 2,
                Error::UnknownId { .. } => 3,
                Error::Cancelled => 4,
                Error::InvalidOffsets { .. } => 5,
                Error::InvalidOption { .. } => 6,
                Error::PackerFinished => 7,
                Error::InvalidResume { .. } => 8,
                Error::IdDoesNotFit { .. } => 9,
                Error::MemoryLimit { .. } => 10,
                Error::TrainerSpent => 11,
                Error::OutputTooSmall { .. } => 12,
                Error::UnsupportedArrow { .. } => 13,
                Error::MissingArrowColumn { .. } => 14,
                Error::InvalidArrow { .. } => 15,
                Error::ArrowStream { .. } => 16,
            };
            seen[number] = true;
            let message = error.to_string();
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(seen, [true; 17]);
    }
}
