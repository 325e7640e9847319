//! `MetricCounters`: what a tokenizer does to running text, in integers.

use std::sync::Arc;

use gristmill_core::metrics::noise::Noise;
use gristmill_core::metrics::outliers::DocumentSize;
use gristmill_core::metrics::{
    self as core, DocumentFacts, EncodedDocument, MetricOptions, NUM_COLUMNS, NUM_GROUPS, column_names,
};
use gristmill_core::unicode::ClassTable;
use gristmill_core::{Error, Result};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{IdArray, contiguous, integer_array, integers};
use crate::calls::{classes_of, shared_classes, without_gil};
use crate::encoder::Encoder;
use crate::errors::{guard, to_python};
use crate::texts;

/// Mergeable integer counters of one pass over a corpus.
#[pyclass(module = "gristmill._native")]
pub(crate) struct MetricCounters {
    core: core::MetricCounters,
    /// Of what was encoded elsewhere.
    classes: Arc<ClassTable>,
}

/// Texts encoded elsewhere, as Python has them: texts, ids, offsets, spans.
type EncodedTexts<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);
/// Row, bytes, tokens.
type Size = (u64, u64, u64);

#[pymethods]
impl MetricCounters {
    /// `noise_rate` is the probability times 2**32.
    #[new]
    #[pyo3(signature = (vocab_size, unknown_id=None, byte_fallback_ids=None, noises=None, noise_rate=0, seed=0))]
    fn new(
        vocab_size: usize,
        unknown_id: Option<u32>,
        byte_fallback_ids: Option<Vec<u32>>,
        noises: Option<Vec<String>>,
        noise_rate: u64,
        seed: u64,
    ) -> PyResult<Self> {
        let mut byte_fallback_ids = byte_fallback_ids.unwrap_or_default();
        byte_fallback_ids.sort_unstable();
        let noises = noises.unwrap_or_default().iter().map(|name| noise(name)).collect::<PyResult<_>>()?;
        let options = MetricOptions { vocab_size, unknown_id, byte_fallback_ids, noises, noise_rate, seed };
        Ok(Self { core: core::MetricCounters::new(options), classes: shared_classes() })
    }

    /// Counters from `to_json`.
    #[staticmethod]
    fn from_json(py: Python<'_>, json: &str) -> PyResult<Self> {
        guard(|| {
            let core = core::MetricCounters::from_json(json).map_err(|error| to_python(py, &error))?;
            Ok(Self { core, classes: shared_classes() })
        })
    }

    /// The counters as JSON.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| self.core.to_json().map_err(|error| to_python(py, &error)))
    }

    /// Encode and count texts, the first of which is row `first_row` (or the good ones are `rows`); returns the bad ones
    /// that were left out. The tokens of the reference and of the parallel texts are those of the good texts.
    #[pyo3(signature = (encoder, texts, num_threads, skip_bad, first_row=0, reference_tokens=None, parallel_tokens=None, rows=None))]
    #[allow(clippy::too_many_arguments)] // a method's arguments are its caller's
    fn add_texts(
        slf: &Bound<'_, Self>,
        encoder: &Bound<'_, Encoder>,
        texts: &Bound<'_, PyAny>,
        num_threads: usize,
        skip_bad: bool,
        first_row: u64,
        reference_tokens: Option<&Bound<'_, PyAny>>,
        parallel_tokens: Option<&Bound<'_, PyAny>>,
        rows: Option<Vec<u64>>,
    ) -> PyResult<Vec<(usize, String)>> {
        guard(|| {
            let py = slf.py();
            let objects = texts::objects(texts)?;
            let texts = texts::read_or_refuse(&objects, skip_bad)?;
            let encoder = &encoder.get().core;
            // Bad ones ascend, so that one walk leaves them out.
            let mut bad = texts.bad.iter().map(|&(index, _)| index).peekable();
            let good = (0..objects.len()).filter(|index| bad.next_if_eq(index).is_none());
            let rows = rows.unwrap_or_else(|| good.map(|index| first_row + index as u64).collect());
            let facts = facts(&rows, reference_tokens, parallel_tokens)?;
            // Taken out while it works, so that no other thread meets a borrowed object; what one adds meanwhile is
            // merged at the end.
            let empty = core::MetricCounters::new(slf.borrow().core.options().clone());
            let mut counters = std::mem::replace(&mut slf.borrow_mut().core, empty);
            let result = without_gil(py, encoder, &texts.good, |interrupted| {
                counters.add_texts(encoder, &texts.good, &facts, num_threads, interrupted)
            });
            let mut meter = slf.borrow_mut();
            std::mem::swap(&mut meter.core, &mut counters);
            meter.core.merge(&counters).map_err(|error| to_python(py, &error))?;
            result?;
            Ok(texts.bad)
        })
    }

    /// Count texts that were encoded elsewhere, from the given rows; spans are character offsets, `(num_tokens, 2)`.
    /// `noised` is the same of their forms with noise, one for each noise.
    #[allow(clippy::needless_pass_by_value)] // PyO3 hands them over
    #[pyo3(signature = (encoded, rows, noised, reference_tokens=None, parallel_tokens=None))]
    fn add_encoded(
        slf: &Bound<'_, Self>,
        encoded: EncodedTexts<'_>,
        rows: Vec<u64>,
        noised: Vec<EncodedTexts<'_>>,
        reference_tokens: Option<&Bound<'_, PyAny>>,
        parallel_tokens: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        guard(|| {
            let facts = facts(&rows, reference_tokens, parallel_tokens)?;
            let encoded = Encoded::new(&encoded)?;
            let noised = noised.iter().map(Encoded::new).collect::<PyResult<Vec<_>>>()?;
            let mut noised_of: Vec<Vec<EncodedDocument<'_>>> = vec![Vec::new(); encoded.len()];
            for noise in &noised {
                if noise.len() != encoded.len() {
                    return Err(different_numbers("noised texts", noise.len(), encoded.len()));
                }
                for (forms, document) in noised_of.iter_mut().zip(noise.documents()?) {
                    forms.push(document);
                }
            }
            let documents: Vec<EncodedDocument<'_>> = (encoded.documents()?.into_iter().zip(&noised_of))
                .map(|(document, noised)| EncodedDocument { noised, ..document })
                .collect();
            let mut counters = slf.borrow_mut();
            counters.with_classes(slf.py(), |core, classes| core.add_encoded(&documents, &facts, classes))
        })
    }

    /// The texts with each noise, in the order of the options.
    fn noised_texts(slf: &Bound<'_, Self>, texts: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<String>>> {
        guard(|| {
            let objects = texts::objects(texts)?;
            let texts = texts::read_or_refuse(&objects, false)?.good;
            slf.borrow_mut().with_classes(slf.py(), |core, classes| {
                let sources = core.options().noise_sources();
                sources
                    .map(|source| texts.iter().map(|text| core::noised_text(source, text, classes)).collect())
                    .collect()
            })
        })
    }

    /// Add the counters of another part of the pass.
    fn merge(slf: &Bound<'_, Self>, other: &Bound<'_, Self>) -> PyResult<()> {
        // Copied first: `counters.merge(counters)` is odd, but no borrow error.
        let other = other.borrow().core.clone();
        slf.borrow_mut().core.merge(&other).map_err(|error| to_python(slf.py(), &error))
    }

    /// The sums by name.
    #[getter]
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = PyDict::new(py);
        for (name, value) in column_names().into_iter().zip(self.core.totals()) {
            named.set_item(name, value)?;
        }
        Ok(named)
    }

    /// The names of the columns of `groups`.
    #[getter]
    #[allow(clippy::unused_self)] // a property of each object
    fn columns(&self) -> Vec<String> {
        column_names()
    }

    /// The sums of each group of documents, `(num_groups, num_columns)`.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u64>>> {
        PyArray1::from_vec(py, self.core.groups().as_flattened().to_vec()).reshape([NUM_GROUPS, NUM_COLUMNS])
    }

    /// How often each id occurred, `(vocab_size,)`.
    #[getter]
    fn token_counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, self.core.token_counts())
    }

    /// The samples of distinct words, of runs of non-whitespace and of identifiers: whether there were more words than
    /// it holds, and hashes with words, ascending; a very long word is None.
    #[getter]
    #[allow(clippy::type_complexity)] // pairs and lists, as Python has them
    fn type_samples(&self) -> Vec<(bool, Vec<(u64, Option<String>)>)> {
        (self.core.type_samples().iter())
            .map(|sample| {
                let words = sample.words().map(|(hash, word)| (hash, word.map(str::to_owned)));
                (sample.overflowed(), words.collect())
            })
            .collect()
    }

    /// `(row, bytes, tokens)` of the documents of the fewest and of the most bytes per token.
    #[getter]
    fn outliers(&self) -> (Vec<Size>, Vec<Size>) {
        let sizes =
            |kept: &[DocumentSize]| kept.iter().map(|size| (size.row, size.bytes, size.tokens)).collect();
        let outliers = self.core.outliers();
        (sizes(&outliers.worst), sizes(&outliers.best))
    }
}

impl MetricCounters {
    /// Run `work`; where a character has no class yet, the installed `tokenizers` is asked and `work` is run again.
    fn with_classes<R>(
        &mut self,
        py: Python<'_>,
        mut work: impl FnMut(&mut core::MetricCounters, &ClassTable) -> Result<R>,
    ) -> PyResult<R> {
        loop {
            match work(&mut self.core, &self.classes) {
                Err(Error::UnicodeRestNeeded { code_point }) => {
                    // Its neighbours too, which are of the same script: the texts are not at hand here.
                    let neighbours: Vec<u32> = (code_point & !0xff..=code_point | 0xff).collect();
                    self.classes.learn(&classes_of(py, &neighbours)?);
                }
                result => return result.map_err(|error| to_python(py, &error)),
            }
        }
    }
}

fn noise(name: &str) -> PyResult<Noise> {
    Noise::from_name(name).ok_or_else(|| {
        let known = Noise::ALL.map(Noise::name).join(", ");
        PyValueError::new_err(format!("there is no noise {name:?} (expected one of: {known})"))
    })
}

fn different_numbers(what: &str, found: usize, expected: usize) -> PyErr {
    PyValueError::new_err(format!("there are {found} {what} (expected {expected}, one for each text)"))
}

fn facts(
    rows: &[u64],
    reference_tokens: Option<&Bound<'_, PyAny>>,
    parallel_tokens: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<DocumentFacts>> {
    let tokens = |name: &str, tokens: Option<&Bound<'_, PyAny>>| -> PyResult<Vec<u64>> {
        let Some(tokens) = tokens else { return Ok(vec![0; rows.len()]) };
        let tokens = integers(name, tokens)?;
        let tokens: Vec<u64> =
            tokens.as_array().iter().map(|&count| u64::try_from(count).unwrap_or(0)).collect();
        if tokens.len() == rows.len() {
            Ok(tokens)
        } else {
            Err(different_numbers(name, tokens.len(), rows.len()))
        }
    };
    let reference_tokens = tokens("reference_tokens", reference_tokens)?;
    let parallel_tokens = tokens("parallel_tokens", parallel_tokens)?;
    Ok((rows.iter().zip(reference_tokens).zip(parallel_tokens))
        .map(|((&row, reference_tokens), parallel_tokens)| DocumentFacts {
            row,
            reference_tokens,
            parallel_tokens,
        })
        .collect())
}

/// Texts encoded elsewhere, read.
struct Encoded<'py> {
    objects: texts::Batch<'py>,
    ids: Vec<i64>,
    offsets: Vec<i64>,
    spans: Vec<(usize, usize)>,
}

impl<'py> Encoded<'py> {
    fn new((texts, ids, offsets, spans): &EncodedTexts<'py>) -> PyResult<Self> {
        let objects = texts::objects(texts)?;
        let ids = IdArray::new("ids", ids)?.to_numbers();
        let offsets = contiguous(&integers("offsets", offsets)?).into_owned();
        let spans = character_spans(spans, ids.len())?;
        if offsets.len() != objects.len() + 1 {
            return Err(PyValueError::new_err(format!(
                "there are {} offsets for {} texts (expected one more than texts)",
                offsets.len(),
                objects.len()
            )));
        }
        Ok(Self { objects, ids, offsets, spans })
    }

    fn len(&self) -> usize {
        self.objects.len()
    }

    fn documents(&self) -> PyResult<Vec<EncodedDocument<'_>>> {
        let texts = texts::read_or_refuse(&self.objects, false)?.good;
        let mut documents = Vec::with_capacity(texts.len());
        for (text, bounds) in texts.into_iter().zip(self.offsets.windows(2)) {
            let range = usize::try_from(bounds[0]).unwrap_or(usize::MAX)
                ..usize::try_from(bounds[1]).unwrap_or(usize::MAX);
            let (Some(ids), Some(spans)) = (self.ids.get(range.clone()), self.spans.get(range)) else {
                return Err(PyValueError::new_err(format!(
                    "a text has the offsets {} to {} (expected ascending ones of at most {})",
                    bounds[0],
                    bounds[1],
                    self.ids.len()
                )));
            };
            documents.push(EncodedDocument { text, ids, spans, noised: &[] });
        }
        Ok(documents)
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
