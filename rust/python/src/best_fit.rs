//! `BestFitPacker`: documents to padded blocks that cut no document without need.

use gristmill_core::Totals;
use gristmill_core::best_fit::{self as core, BestFitState, Pieces};
use gristmill_core::encoder as core_encoder;
use gristmill_core::packer::{Blocks, fitting};
use gristmill_core::segments::Segments;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{self, ArrayId, BlockArrays, IdArray, contiguous, integers};
use crate::calls::without_gil;
use crate::encoder::Encoder;
use crate::errors::{guard, to_python};
use crate::packer::{named_counters, with_packer};
use crate::texts;

/// Packs documents side by side, the longest of a window first, each where it fits best.
#[pyclass(module = "gristmill._native")]
pub(crate) struct BestFitPacker(Typed);

enum Typed {
    Narrow(core::BestFitPacker<u16>),
    Wide(core::BestFitPacker<u32>),
}

/// Ids of pieces, the document and length of each; the blocks that wait; and seven counts: documents in the window,
/// documents, bytes and tokens in all, tokens emitted, padding.
type State<'py> =
    (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, BlockArrays<'py>, Counts);
type SavedState<'py> = (Bound<'py, PyAny>, Vec<u64>, Vec<usize>, [Bound<'py, PyAny>; 5], Counts);
type Counts = (usize, u64, u64, u64, u64, u64);

#[pymethods]
impl BestFitPacker {
    #[new]
    fn new(
        py: Python<'_>,
        seq_length: usize,
        eos_token_id: u32,
        pad_token_id: u32,
        wide: bool,
        window: usize,
    ) -> PyResult<Self> {
        guard(|| {
            let typed = if wide {
                core::BestFitPacker::new(seq_length, eos_token_id, pad_token_id, window).map(Typed::Wide)
            } else {
                core::BestFitPacker::new(seq_length, eos_token_id, pad_token_id, window).map(Typed::Narrow)
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
            let py = slf.py();
            let ids = IdArray::new("ids", ids)?;
            let offsets = integers("offsets", offsets)?;
            let num_bytes = integers("num_bytes", num_bytes)?;
            with_packer!(&mut slf.borrow_mut().0, packer => packer
                .push_documents(&ids.to_ids(py)?, &contiguous(&offsets), &contiguous(&num_bytes))
                .map_err(|error| to_python(py, &error)))
        })
    }

    /// How many blocks can be taken now.
    #[getter]
    fn num_ready_blocks(&self) -> usize {
        with_packer!(&self.0, packer => packer.num_ready_blocks())
    }

    /// Up to `max_blocks` blocks with the documents' bounds.
    fn take_with_segments<'py>(&mut self, py: Python<'py>, max_blocks: usize) -> PyResult<BlockArrays<'py>> {
        guard(|| {
            with_packer!(&mut self.0, packer => {
                let seq_length = packer.seq_length();
                arrays::block_arrays(py, packer.take(max_blocks), seq_length)
            })
        })
    }

    /// All remaining blocks, as `take_with_segments` gives them.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<BlockArrays<'py>> {
        guard(|| {
            with_packer!(&mut self.0, packer => {
                let blocks = packer.finish().map_err(|error| to_python(py, &error))?;
                arrays::block_arrays(py, blocks, packer.seq_length())
            })
        })
    }

    /// The account so far, by name.
    #[getter]
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        named_counters(py, with_packer!(&self.0, packer => packer.counters()))
    }

    /// What the packer carries, for `set_state` of another one.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<State<'py>> {
        with_packer!(&self.0, packer => {
            let BestFitState { window_documents, pieces, ready, totals, tokens_emitted, tokens_padding } =
                packer.state();
            let (documents, lengths) = pieces
                .lengths
                .iter()
                .map(|&(document, length)| (signed(document), signed(length as u64)))
                .unzip();
            let Totals { documents: num_documents, bytes, tokens } = totals;
            Ok((
                PyArray1::from_vec(py, pieces.ids).into_any(),
                PyArray1::from_vec(py, documents),
                PyArray1::from_vec(py, lengths),
                arrays::block_arrays(py, ready, packer.seq_length())?,
                (window_documents, num_documents, bytes, tokens, tokens_emitted, tokens_padding),
            ))
        })
    }

    /// Go on from what another packer of the same options carried: what `state` gives, lists in place of arrays of
    /// counts.
    fn set_state(&mut self, state: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            with_packer!(&mut self.0, packer => {
                packer.set_state(read_state(state)?).map_err(|error| to_python(state.py(), &error))
            })
        })
    }
}

impl Typed {
    fn narrow(&mut self) -> Option<&mut core::BestFitPacker<u16>> {
        if let Self::Narrow(packer) = self { Some(packer) } else { None }
    }

    fn wide(&mut self) -> Option<&mut core::BestFitPacker<u32>> {
        if let Self::Wide(packer) = self { Some(packer) } else { None }
    }
}

/// As in `Packer`: encoded before the packer is touched, so that an interrupted call leaves it as it was.
fn push_texts_as<I: ArrayId>(
    slf: &Bound<'_, BestFitPacker>,
    encoder: &core_encoder::Encoder,
    texts: &[&str],
    num_threads: usize,
    typed: fn(&mut Typed) -> Option<&mut core::BestFitPacker<I>>,
) -> PyResult<()> {
    let py = slf.py();
    let to_python = |error| to_python(py, &error);
    fitting::<I>(i64::from(encoder.vocabulary().max_token_id())).map_err(to_python)?;
    let num_bytes: Vec<i64> = texts.iter().map(|text| signed(text.len() as u64)).collect();
    let batch = without_gil(py, encoder, texts, |interrupted| {
        encoder.encode_batch::<I>(texts, num_threads, interrupted)
    })?;
    match typed(&mut slf.borrow_mut().0) {
        Some(packer) => packer.push_documents(&batch.ids, &batch.offsets, &num_bytes).map_err(to_python),
        None => Ok(()), // the caller chose by the type, which never changes
    }
}

fn read_state<I: ArrayId>(state: &Bound<'_, PyAny>) -> PyResult<BestFitState<I>> {
    let py = state.py();
    let (ids, documents, lengths, blocks, counts): SavedState<'_> = state.extract()?;
    let [ready_ids, num_valid, cu_seqlens, offsets, segment_documents] = blocks;
    let (window_documents, num_documents, bytes, tokens, tokens_emitted, tokens_padding) = counts;
    Ok(BestFitState {
        window_documents,
        pieces: Pieces {
            ids: IdArray::new("ids", &ids)?.to_ids(py)?.into_owned(),
            lengths: documents.into_iter().zip(lengths).collect(),
        },
        ready: Blocks {
            ids: IdArray::new("ids", &ready_ids.call_method1("reshape", (-1,))?)?.to_ids(py)?.into_owned(),
            num_valid: num_valid.extract()?,
            segments: Segments {
                cu_seqlens: cu_seqlens.extract()?,
                offsets: offsets.extract()?,
                documents: segment_documents.extract()?,
            },
        },
        totals: Totals { documents: num_documents, bytes, tokens },
        tokens_emitted,
        tokens_padding,
    })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
