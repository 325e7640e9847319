//! Byte-level BPE encoding, packing and tokenizer metrics: all the algorithm of gristmill, without Python.
//!
//! ```text
//!             ┌──────────────────────── encoder ────────────────────────┐
//! document ──►│ split ──► piece_table ──(new)──► merge ──► piece_table  │──► ids ──► packer (lanes) ──► blocks
//!   &str      │   │ unicode    │ known               │ vocabulary        │     │
//!             └────────────────┴─────────────────────┴───────────────────┘     └──► metrics
//! ```
//!
//! # The core in sixty seconds
//!
//! [`Vocabulary`](vocabulary::Vocabulary) reads a `tokenizer.json`, or says why this engine does not cover it.
//! [`Encoder`](encoder::Encoder) turns a text into ids: where the tokenizer has added tokens or a normalizer, `preparation`
//! sees to them first; then [`split`] cuts it into pieces as the regex of the tokenizer does,
//! `piece_table` remembers the ids of pieces seen before, [`merge`] makes those of new ones by the rule that
//! defines BPE. [`parallel`] runs that over a batch in scoped threads. [`Packer`](packer::Packer) puts EOS after
//! each document, deals the documents out to lanes and chops the lanes into blocks; it can tell where it stands
//! and go on from there. [`training`] learns a vocabulary. [`metrics`] counts words and tokens; [`order`] derives seeds and permutations.
//!
//! Start with the plain forms, which define what each stage means: `split::Pieces`, `merge::MergeTable`, and
//! `Encoder::encode_plainly`, which is the two in a row. The fast forms lie beside them: `split::classify` and
//! `split::boundaries` find pieces by arithmetic on bit masks, 2 KB at a time; `piece_table` looks up 512 pieces at
//! once; `merge::ranked` merges in registers. [`Instructions`](instructions::Instructions) says what the machine has;
//! tests run every stage with every set.
//!
//! One stage a file. Ids are exactly those of the Python package `tokenizers`; nothing is approximated.

mod added_tokens;
pub mod arrow;
pub mod best_fit;
mod byte_alphabet;
pub mod cancel;
pub mod encoder;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod huge_pages;
pub mod id;
pub mod instructions;
mod join;
mod lane;
pub mod merge;
pub mod metrics;
mod normalize;
pub mod order;
pub mod packer;
pub mod parallel;
mod piece_table;
mod preparation;
pub mod segments;
pub mod split;
#[doc(hidden)]
pub mod stages;
#[cfg(test)]
mod testing;
mod tokenizer_json;
pub mod training;
pub mod ucs4;
pub mod unicode;
mod unicode_marks;
mod unicode_tables;
pub mod vocabulary;
mod worker;

pub use error::{Error, Result};
pub use lane::Totals;
