//! Byte-level BPE encoding, packing and tokenizer metrics: all the algorithm of gristmill, without Python.
//!
//! ```text
//!             ┌──────────────────── encoder ─────────────────────┐
//! document ──►│ split ──► piece_cache ──(new)──► merge           │──► ids ──► packer (lanes) ──► blocks
//!   &str      │   │ unicode    │ known               │ vocabulary │     │
//!             └────────────────┴─────────────────────┴────────────┘     └──► metrics
//! ```
//!
//! # The core in sixty seconds
//!
//! [`Vocabulary`](vocabulary::Vocabulary) reads a `tokenizer.json`, or says why this engine does not cover it.
//! [`Encoder`](encoder::Encoder) turns a text into ids: [`split`] cuts it into pieces as the regex of GPT-2 does,
//! [`piece_cache`] remembers the ids of pieces seen before, [`merge`] makes those of new ones by the rule that
//! defines BPE. [`parallel`] runs that over a batch in scoped threads. [`Packer`](packer::Packer) puts EOS after
//! each document, deals the documents out to lanes and chops the lanes into blocks; it can tell where it stands
//! and go on from there. [`training`] learns a vocabulary. [`metrics`] counts words and tokens; [`order`] derives seeds and permutations.
//!
//! One stage a file. Ids are exactly those of the Python package `tokenizers`; nothing is approximated.

mod byte_alphabet;
pub mod cancel;
pub mod encoder;
pub mod error;
pub mod id;
mod lane;
pub mod merge;
pub mod metrics;
pub mod order;
pub mod packer;
pub mod parallel;
pub mod piece_cache;
pub mod split;
mod tokenizer_json;
pub mod training;
pub mod unicode;
mod unicode_tables;
pub mod vocabulary;

pub use error::{Error, Result};
pub use lane::Totals;
