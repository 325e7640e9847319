//! `BpeTrainer`: counts the pieces of texts, then learns merges.

use gristmill_core::split::Splitting;
use gristmill_core::training as core;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::calls::{classes_of, interruptible, shared_classes};
use crate::errors::{guard, to_python};
use crate::texts;

/// Trains a byte-level BPE with one of the known patterns, as `BpeTrainer` of `tokenizers` would.
#[pyclass(module = "gristmill._native")]
pub(crate) struct BpeTrainer(core::BpeTrainer);

/// The name of the pattern that a `pre_tokenizer` of a `tokenizer.json` cuts texts by.
#[pyfunction]
pub(crate) fn pattern_of(py: Python<'_>, pre_tokenizer: &str) -> PyResult<&'static str> {
    Ok(splitting(py, pre_tokenizer)?.name())
}

/// The regex of the pattern of that name, None where there is none.
#[pyfunction]
pub(crate) fn pattern_regex(name: &str) -> Option<&'static str> {
    Splitting::all().into_iter().find(|splitting| splitting.name() == name).map(Splitting::regex)
}

fn splitting(py: Python<'_>, pre_tokenizer: &str) -> PyResult<Splitting> {
    Splitting::from_pre_tokenizer_json(pre_tokenizer).map_err(|error| to_python(py, &error))
}

type Model<'py> = (Vec<String>, Bound<'py, PyArray2<u32>>);

#[pymethods]
impl BpeTrainer {
    /// `pre_tokenizer` is that of a `tokenizer.json`; the pattern of GPT-2 by default.
    #[new]
    #[pyo3(signature = (max_memory=None, pre_tokenizer=None))]
    fn new(py: Python<'_>, max_memory: Option<u64>, pre_tokenizer: Option<&str>) -> PyResult<Self> {
        let splitting = pre_tokenizer.map_or(Ok(Splitting::Gpt2), |json| splitting(py, json))?;
        Ok(Self(core::BpeTrainer::with_classes(splitting, shared_classes(), max_memory)))
    }

    /// Count the pieces of texts; returns the bad ones that were left out.
    fn push_texts(
        &mut self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        num_threads: usize,
        skip_bad: bool,
    ) -> PyResult<Vec<(usize, String)>> {
        guard(|| {
            let objects = texts::objects(texts)?;
            let texts = texts::read_or_refuse(&objects, skip_bad)?;
            loop {
                match interruptible(py, |interrupted| self.0.push(&texts.good, num_threads, interrupted))? {
                    // Nothing was counted yet.
                    Err(gristmill_core::Error::UnicodeRestNeeded { .. }) => {
                        let unassigned = self.0.unassigned().to_vec();
                        self.0.learn_classes(&classes_of(py, &unassigned)?);
                    }
                    result => return result.map(|()| texts.bad).map_err(|error| to_python(py, &error)),
                }
            }
        })
    }

    /// Learn merges from the counts, which are used up. `on_progress` is called with the number of merges now and
    /// then; what it raises ends the training. Returns the tokens by id, and pairs of ids, `(num_merges, 2)`.
    #[pyo3(signature = (vocab_size, min_frequency, special_tokens, initial_alphabet, max_token_length=None,
                        on_progress=None))]
    #[allow(clippy::too_many_arguments)] // the trainer's options, as `tokenizers` has them
    fn train<'py>(
        &mut self,
        py: Python<'py>,
        vocab_size: usize,
        min_frequency: u64,
        special_tokens: Vec<String>,
        initial_alphabet: Vec<char>,
        max_token_length: Option<usize>,
        on_progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Model<'py>> {
        guard(|| {
            let options = core::TrainingOptions {
                vocab_size,
                min_frequency,
                special_tokens,
                initial_alphabet,
                max_token_length,
            };
            let on_progress = on_progress.map(|call| call.clone().unbind());
            let mut raised: Option<PyErr> = None;
            let result = py.detach(|| {
                self.0.train(&options, &mut |num_merges| {
                    // Asked again while the worker comes to its end: the first exception is the one to raise.
                    if raised.is_none() {
                        raised = Python::attach(|py| {
                            py.check_signals()?;
                            on_progress
                                .as_ref()
                                .map_or(Ok(()), |call| call.call1(py, (num_merges,)).map(drop))
                        })
                        .err();
                    }
                    raised.is_some()
                })
            });
            if let Some(error) = raised {
                return Err(error);
            }
            let model = result.map_err(|error| to_python(py, &error))?;
            let num_merges = model.merges.len();
            let ids: Vec<u32> = model.merges.into_iter().flat_map(<[u32; 2]>::from).collect();
            Ok((model.vocabulary, PyArray1::from_vec(py, ids).reshape([num_merges, 2])?))
        })
    }

    /// Documents, bytes and pieces counted, and the bytes that the trainer holds.
    #[getter]
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counted = self.0.counted();
        let named = PyDict::new(py);
        named.set_item("documents", counted.documents)?;
        named.set_item("bytes", counted.bytes)?;
        named.set_item("pieces", counted.pieces)?;
        named.set_item("memory", self.0.memory())?;
        Ok(named)
    }
}
