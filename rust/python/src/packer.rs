//! `Packer`: documents to blocks. Packing itself is a copy, so it is done under the GIL, which keeps pushes whole.

use gristmill_core::Totals;
use gristmill_core::encoder as core_encoder;
use gristmill_core::id::TokenId;
use gristmill_core::packer::{self as core, LanePosition};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{self, ArrayId, BlockArrays, IdArray, contiguous, integers};
use crate::calls::without_gil;
use crate::encoder::Encoder;
use crate::errors::{guard, to_python};
use crate::texts;

/// Joins documents with EOS and chops them into blocks, in `num_lanes` lanes.
#[pyclass(module = "gristmill._native")]
pub(crate) struct Packer(Typed);

enum Typed {
    Narrow(core::Packer<u16>),
    Wide(core::Packer<u32>),
}

impl Typed {
    fn narrow(&mut self) -> Option<&mut core::Packer<u16>> {
        if let Self::Narrow(packer) = self { Some(packer) } else { None }
    }

    fn wide(&mut self) -> Option<&mut core::Packer<u32>> {
        if let Self::Wide(packer) = self { Some(packer) } else { None }
    }
}

/// Do the same with a packer of either type (any `Typed` in scope).
macro_rules! with_packer {
    ($typed:expr, $packer:ident => $body:expr) => {
        match $typed {
            Typed::Narrow($packer) => $body,
            Typed::Wide($packer) => $body,
        }
    };
}

pub(crate) use with_packer;

type Position = (u64, u64, u64, u64, u64);

#[pymethods]
impl Packer {
    #[new]
    #[pyo3(signature = (seq_length, eos_token_id, wide, num_lanes=1))]
    fn new(
        py: Python<'_>,
        seq_length: usize,
        eos_token_id: u32,
        wide: bool,
        num_lanes: usize,
    ) -> PyResult<Self> {
        guard(|| {
            let typed = if wide {
                core::Packer::new(seq_length, eos_token_id, num_lanes).map(Typed::Wide)
            } else {
                core::Packer::new(seq_length, eos_token_id, num_lanes).map(Typed::Narrow)
            };
            typed.map(Self).map_err(|error| to_python(py, &error))
        })
    }

    /// Encode and append documents; returns the bad ones that were left out.
    fn push_texts<'py>(
        slf: &Bound<'py, Self>,
        encoder: &Bound<'py, Encoder>,
        texts: &Bound<'py, PyAny>,
        num_threads: usize,
        skip_bad: bool,
    ) -> PyResult<Vec<(usize, String)>> {
        guard(|| {
            let objects = texts::objects(texts)?;
            let texts = texts::read_or_refuse(&objects, skip_bad)?;
            let encoder = &encoder.get().core;
            let narrow = matches!(slf.borrow().0, Typed::Narrow(_));
            if narrow {
                push_texts_as(slf, encoder, &texts.good, num_threads, Typed::narrow)?;
            } else {
                push_texts_as(slf, encoder, &texts.good, num_threads, Typed::wide)?;
            }
            Ok(texts.bad)
        })
    }

    /// Append documents that were encoded elsewhere.
    fn push_documents(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        offsets: &Bound<'_, PyAny>,
        num_bytes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        guard(|| {
            let ids = IdArray::new("ids", ids)?;
            let offsets = integers("offsets", offsets)?;
            let num_bytes = integers("num_bytes", num_bytes)?;
            // Borrowed last: converting an array may let other threads run.
            match &mut slf.borrow_mut().0 {
                Typed::Narrow(packer) => push(slf.py(), packer, &ids, &offsets, &num_bytes),
                Typed::Wide(packer) => push(slf.py(), packer, &ids, &offsets, &num_bytes),
            }
        })
    }

    /// How many blocks can be taken now without leaving one out.
    #[getter]
    fn num_ready_blocks(&self) -> usize {
        with_packer!(&self.0, packer => packer.num_ready_blocks())
    }

    /// Up to `max_blocks` ready blocks, `(n, seq_length)`.
    fn take_blocks<'py>(&mut self, py: Python<'py>, max_blocks: usize) -> PyResult<Bound<'py, PyAny>> {
        guard(|| {
            with_packer!(&mut self.0, packer => {
                let ids = packer.take_blocks(max_blocks);
                Ok(arrays::blocks(py, ids, packer.seq_length())?.into_any())
            })
        })
    }

    /// Ready blocks into `out`, as many as it has rows; returns how many they are.
    fn take_into(&mut self, out: &Bound<'_, PyAny>) -> PyResult<usize> {
        guard(
            || with_packer!(&mut self.0, packer => arrays::with_output(out, |out| Ok(packer.take_into(out)))),
        )
    }

    /// As `take_blocks`, with the documents' bounds.
    fn take_with_segments<'py>(&mut self, py: Python<'py>, max_blocks: usize) -> PyResult<BlockArrays<'py>> {
        guard(|| {
            with_packer!(&mut self.0, packer => {
                let seq_length = packer.seq_length();
                arrays::block_arrays(py, packer.take_with_segments(max_blocks), seq_length)
            })
        })
    }

    /// Append documents that were encoded elsewhere, and copy all blocks that are ready then to `out`; returns how
    /// many they are. No id may be above `max_id`.
    #[pyo3(signature = (ids, offsets, num_bytes, max_id, out))]
    fn pack_documents(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        offsets: &Bound<'_, PyAny>,
        num_bytes: Option<&Bound<'_, PyAny>>,
        max_id: u32,
        out: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        guard(|| {
            let py = slf.py();
            let ids = IdArray::new("ids", ids)?;
            let offsets = integers("offsets", offsets)?;
            let num_bytes = num_bytes.map(|bytes| integers("num_bytes", bytes)).transpose()?;
            let num_bytes = num_bytes.as_ref().map(contiguous);
            with_packer!(&mut slf.borrow_mut().0, packer => {
                let ids = ids.to_ids(py)?;
                arrays::with_output(out, |out| {
                    packer
                        .pack_documents(&ids, &contiguous(&offsets), num_bytes.as_deref(), max_id, out)
                        .map_err(|error| to_python(py, &error))
                })
            })
        })
    }

    /// All remaining blocks, as `take_with_segments` gives them.
    fn finish<'py>(&mut self, py: Python<'py>, pad_token_id: Option<u32>) -> PyResult<BlockArrays<'py>> {
        guard(|| {
            with_packer!(&mut self.0, packer => {
                let blocks = packer.finish(pad_token_id).map_err(|error| to_python(py, &error))?;
                arrays::block_arrays(py, blocks, packer.seq_length())
            })
        })
    }

    /// For each lane: document number, tokens of it delivered, and documents, bytes, tokens before it.
    fn lane_positions(&self) -> Vec<Position> {
        let positions = with_packer!(&self.0, packer => packer.lane_positions());
        let flat = |LanePosition { document, offset, before }| {
            (document, offset, before.documents, before.bytes, before.tokens)
        };
        positions.into_iter().map(flat).collect()
    }

    /// Go on where another packer stood.
    // By value: the bindings hand over a list made for this call.
    #[allow(clippy::needless_pass_by_value)]
    fn resume(
        &mut self,
        py: Python<'_>,
        next_block: u64,
        next_document: u64,
        positions: Vec<Position>,
    ) -> PyResult<()> {
        let positions: Vec<LanePosition> = positions
            .iter()
            .map(|&(document, offset, documents, bytes, tokens)| LanePosition {
                document,
                offset,
                before: Totals { documents, bytes, tokens },
            })
            .collect();
        with_packer!(&mut self.0, packer => packer.resume(next_block, next_document, &positions))
            .map_err(|error| to_python(py, &error))
    }

    /// Number of the next block to be taken.
    #[getter]
    fn next_block(&self) -> u64 {
        with_packer!(&self.0, packer => packer.next_block())
    }

    /// Number that the next pushed document gets.
    #[getter]
    fn next_document(&self) -> u64 {
        with_packer!(&self.0, packer => packer.next_document())
    }

    /// The account so far, by name.
    #[getter]
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        named_counters(py, with_packer!(&self.0, packer => packer.counters()))
    }
}

/// An account by name.
pub(crate) fn named_counters(py: Python<'_>, counters: core::PackerCounters) -> PyResult<Bound<'_, PyDict>> {
    let named = PyDict::new(py);
    named.set_item("documents", counters.totals.documents)?;
    named.set_item("bytes", counters.totals.bytes)?;
    named.set_item("tokens", counters.totals.tokens)?;
    named.set_item("eos_tokens", counters.eos_tokens)?;
    named.set_item("tokens_emitted", counters.tokens_emitted)?;
    named.set_item("tokens_carried", counters.tokens_carried)?;
    named.set_item("tokens_dropped", counters.tokens_dropped)?;
    named.set_item("tokens_padding", counters.tokens_padding)?;
    Ok(named)
}

/// Encode before the packer is touched: an interrupted call leaves it as it was, and two threads that push at
/// once do so one after the other.
fn push_texts_as<I: TokenId>(
    slf: &Bound<'_, Packer>,
    encoder: &core_encoder::Encoder,
    texts: &[&str],
    num_threads: usize,
    typed: fn(&mut Typed) -> Option<&mut core::Packer<I>>,
) -> PyResult<()> {
    let py = slf.py();
    let to_python = |error| to_python(py, &error);
    core::fitting::<I>(i64::from(encoder.vocabulary().max_token_id())).map_err(to_python)?;
    let num_bytes: Vec<i64> =
        texts.iter().map(|text| i64::try_from(text.len()).unwrap_or(i64::MAX)).collect();
    let Some((head, eos)) =
        typed(&mut slf.borrow_mut().0).map(|packer| (packer.head(), packer.eos_token_id()))
    else {
        return Ok(()); // the caller chose by the type, which never changes
    };
    let batch = without_gil(py, encoder, texts, |interrupted| {
        encoder.encode_joined(head.clone(), texts, eos, num_threads, interrupted)
    })?;
    match typed(&mut slf.borrow_mut().0) {
        Some(packer) => packer.push_encoded(batch.ids, &batch.offsets, &num_bytes).map_err(to_python),
        None => Ok(()),
    }
}

fn push<I: ArrayId>(
    py: Python<'_>,
    packer: &mut core::Packer<I>,
    ids: &IdArray<'_>,
    offsets: &PyReadonlyArray1<'_, i64>,
    num_bytes: &PyReadonlyArray1<'_, i64>,
) -> PyResult<()> {
    packer
        .push_documents(&ids.to_ids::<I>(py)?, &contiguous(offsets), &contiguous(num_bytes))
        .map_err(|error| to_python(py, &error))
}
