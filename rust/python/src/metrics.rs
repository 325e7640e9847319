//! `MetricCounters`: what a tokenizer does to running text, in integers.

use gristmill_core::metrics::{self as core, EncodedDocument};
use numpy::{PyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{IdArray, contiguous, integer_array, integers};
use crate::calls::without_gil;
use crate::encoder::Encoder;
use crate::errors::{guard, to_python};
use crate::texts;

/// Mergeable integer counters of one pass over a corpus.
#[pyclass(module = "gristmill._native")]
pub(crate) struct MetricCounters(core::MetricCounters);

#[pymethods]
impl MetricCounters {
    #[new]
    fn new(vocab_size: usize) -> Self {
        Self(core::MetricCounters::new(vocab_size))
    }

    /// Encode and count texts; returns the bad ones that were left out.
    fn add_texts<'py>(
        slf: &Bound<'py, Self>,
        encoder: &Bound<'py, Encoder>,
        texts: &Bound<'py, PyAny>,
        num_threads: usize,
        skip_bad: bool,
    ) -> PyResult<Vec<(usize, String)>> {
        guard(|| {
            let py = slf.py();
            let objects = texts::objects(texts)?;
            let texts = texts::read_or_refuse(&objects, skip_bad)?;
            let encoder = &encoder.get().core;
            let vocab_size = slf.borrow().0.token_counts().len();
            let counters = without_gil(py, encoder, &texts.good, |interrupted| {
                let mut counters = core::MetricCounters::new(vocab_size);
                counters.add_texts(encoder, &texts.good, num_threads, interrupted)?;
                Ok(counters)
            })?;
            slf.borrow_mut().0.merge(&counters).map_err(|error| to_python(py, &error))?;
            Ok(texts.bad)
        })
    }

    /// Count texts that were encoded elsewhere; `spans` are character offsets, `(num_tokens, 2)`.
    fn add_encoded(
        slf: &Bound<'_, Self>,
        texts: &Bound<'_, PyAny>,
        ids: &Bound<'_, PyAny>,
        offsets: &Bound<'_, PyAny>,
        spans: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        guard(|| {
            let objects = texts::objects(texts)?;
            let texts = texts::read_or_refuse(&objects, false)?.good;
            let ids = IdArray::new("ids", ids)?.to_numbers();
            let offsets = integers("offsets", offsets)?;
            let offsets = contiguous(&offsets);
            let spans = character_spans(spans, ids.len())?;
            if offsets.len() != texts.len() + 1 {
                return Err(PyValueError::new_err(format!(
                    "there are {} offsets for {} texts (expected one more than texts)",
                    offsets.len(),
                    texts.len()
                )));
            }
            let mut documents = Vec::with_capacity(texts.len());
            for (text, bounds) in texts.into_iter().zip(offsets.windows(2)) {
                let range = usize::try_from(bounds[0]).unwrap_or(usize::MAX)
                    ..usize::try_from(bounds[1]).unwrap_or(usize::MAX);
                let (Some(ids), Some(spans)) = (ids.get(range.clone()), spans.get(range)) else {
                    return Err(PyValueError::new_err(format!(
                        "a text has the offsets {} to {} (expected ascending ones of at most {})",
                        bounds[0],
                        bounds[1],
                        ids.len()
                    )));
                };
                documents.push(EncodedDocument { text, ids, spans });
            }
            let mut counters = slf.borrow_mut();
            counters.0.add_encoded(&documents).map_err(|error| to_python(slf.py(), &error))
        })
    }

    /// Add the counters of another part of the pass.
    fn merge(slf: &Bound<'_, Self>, other: &Bound<'_, Self>) -> PyResult<()> {
        // Copied first: `counters.merge(counters)` is odd, but no borrow error.
        let other = other.borrow().0.clone();
        slf.borrow_mut().0.merge(&other).map_err(|error| to_python(slf.py(), &error))
    }

    /// The sums by name.
    #[getter]
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = PyDict::new(py);
        for (name, value) in self.0.totals().entries() {
            named.set_item(name, value)?;
        }
        Ok(named)
    }

    /// How often each id occurred, `(vocab_size,)`.
    #[getter]
    fn token_counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, self.0.token_counts())
    }
}

fn character_spans(spans: &Bound<'_, PyAny>, num_ids: usize) -> PyResult<Vec<(usize, usize)>> {
    let array = integer_array("spans", spans)?;
    let shape = array.shape().to_vec();
    if shape != [num_ids, 2] {
        return Err(PyValueError::new_err(format!(
            "spans has the shape {shape:?} (expected [{num_ids}, 2]: one span an id)"
        )));
    }
    let array: PyReadonlyArray2<'_, i64> = array.extract()?;
    array
        .as_array()
        .rows()
        .into_iter()
        .map(|row| match (usize::try_from(row[0]), usize::try_from(row[1])) {
            (Ok(start), Ok(end)) => Ok((start, end)),
            _ => Err(PyValueError::new_err(format!(
                "a token has the span {} to {} (expected places in its text)",
                row[0], row[1]
            ))),
        })
        .collect()
}
