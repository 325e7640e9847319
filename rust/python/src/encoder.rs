//! `Encoder`: texts to ids.

use gristmill_core::encoder::{self as core, EncoderOptions};
use gristmill_core::id::TokenId;
use gristmill_core::instructions::Instructions;
use gristmill_core::vocabulary::Vocabulary;
use numpy::{Element, PyArray1, PyArrayDescr};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrays::IdArray;
use crate::calls::{shared_classes, without_gil};
use crate::errors::{bad_document, guard, to_python};
use crate::texts;

/// Own byte-level BPE encoder, immutable, safe to share between threads.
#[pyclass(frozen, module = "gristmill._native")]
pub(crate) struct Encoder {
    pub(crate) core: core::Encoder,
    /// All ids fit 16 bits.
    narrow: bool,
    /// The `tokenizer.json` without vocabulary and merges.
    head: String,
}

type Batch<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>, Vec<(usize, String)>);

impl Encoder {
    fn encode_as<'py, I: TokenId + Element>(
        &self,
        py: Python<'py>,
        text: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        // It fails where the text has a code point that the core does not know yet.
        if text.len() <= SHORT_TEXT
            && let Ok(array) = self.core.with_short_ids(text, |ids: &[I]| PyArray1::from_slice(py, ids))
        {
            return Ok(array.into_any());
        }
        let encoded = without_gil(py, &self.core, &[text], |interrupted| {
            self.core.encode_batch::<I>(&[text], 1, interrupted)
        })?;
        Ok(PyArray1::from_vec(py, encoded.ids).into_any())
    }

    fn encode_batch_as<'py, I: TokenId + Element>(
        &self,
        py: Python<'py>,
        texts: texts::Texts<'_>,
        num_threads: usize,
    ) -> PyResult<Batch<'py>> {
        let encoded = without_gil(py, &self.core, &texts.good, |interrupted| {
            self.core.encode_batch::<I>(&texts.good, num_threads, interrupted)
        })?;
        let ids = PyArray1::from_vec(py, encoded.ids).into_any();
        Ok((ids, PyArray1::from_vec(py, encoded.offsets), texts.bad))
    }
}

/// Bytes that are encoded in less time than it takes to let go of the GIL and to get it again.
const SHORT_TEXT: usize = 1 << 11;

/// Speed and memory as the environment asks for them, for tests and measurements. Ids never depend on it.
fn options() -> PyResult<EncoderOptions> {
    let mut options = EncoderOptions { instructions: chosen_instructions()?, ..EncoderOptions::default() };
    if let Ok(value) = std::env::var("GRISTMILL_CACHE_BYTES") {
        options.cache_bytes = value.parse().map_err(|_| {
            PyValueError::new_err(format!("GRISTMILL_CACHE_BYTES is {value:?} (expected a number of bytes)"))
        })?;
    }
    Ok(options)
}

/// The machine's fastest instructions, or those that the environment names.
pub(crate) fn chosen_instructions() -> PyResult<Instructions> {
    let Ok(name) = std::env::var("GRISTMILL_INSTRUCTIONS") else { return Ok(Instructions::fastest()) };
    Instructions::from_name(&name).ok_or_else(|| {
        let names: Vec<&str> = Instructions::available().into_iter().map(Instructions::name).collect();
        PyValueError::new_err(format!(
            "GRISTMILL_INSTRUCTIONS is {name:?} (expected one that this machine has: {})",
            names.join(", ")
        ))
    })
}

#[pymethods]
impl Encoder {
    /// Read a `tokenizer.json`.
    #[staticmethod]
    fn from_json(py: Python<'_>, tokenizer_json: &str) -> PyResult<Self> {
        guard(|| {
            let options = options()?;
            let (vocabulary, head) = py
                .detach(|| Vocabulary::from_json_with_head(tokenizer_json))
                .map_err(|error| to_python(py, &error))?;
            let narrow = vocabulary.max_token_id() <= <u16 as TokenId>::MAX;
            let mut core = py.detach(|| core::Encoder::with_options(vocabulary, options));
            core.share_classes(shared_classes());
            Ok(Self { core, narrow, head })
        })
    }

    /// The `tokenizer.json` it was made from, without the vocabulary and the merges of the model.
    #[getter]
    fn head_json(&self) -> &str {
        &self.head
    }

    /// Tokens by id, as the file spells them; None where no token has an id.
    fn tokens(&self) -> Vec<Option<String>> {
        let vocabulary = self.core.vocabulary();
        (0..=vocabulary.max_token_id()).map(|id| vocabulary.token(id)).collect()
    }

    /// The id of a token as the file spells it; looks at all of them.
    fn token_id(&self, token: &str) -> Option<u32> {
        self.core.vocabulary().token_id(token)
    }

    /// Whether some text is encoded to this id.
    fn is_reachable(&self, token_id: u32) -> bool {
        self.core.vocabulary().is_reachable(token_id)
    }

    #[getter]
    fn max_token_id(&self) -> u32 {
        self.core.vocabulary().max_token_id()
    }

    /// Tokens, added ones included.
    #[getter]
    fn num_tokens(&self) -> usize {
        self.core.vocabulary().num_tokens()
    }

    /// Tokens of the model.
    #[getter]
    fn num_model_tokens(&self) -> usize {
        self.core.vocabulary().num_model_tokens()
    }

    /// The name of the pattern that cuts texts into pieces.
    #[getter]
    fn pattern(&self) -> &'static str {
        self.core.vocabulary().splitting().name()
    }

    /// What besides cutting and merging decides ids.
    #[getter]
    fn extras(&self) -> Vec<String> {
        self.core.vocabulary().extras()
    }

    /// Whether the bytes of the ids of a text are just its bytes.
    #[getter]
    fn tiles_texts(&self) -> bool {
        self.core.vocabulary().tiles_texts()
    }

    /// uint16 where the largest id fits, else uint32.
    #[getter]
    fn id_dtype<'py>(&self, py: Python<'py>) -> Bound<'py, PyArrayDescr> {
        if self.narrow { numpy::dtype::<u16>(py) } else { numpy::dtype::<u32>(py) }
    }

    /// Bytes of the tables of pieces, of all threads together.
    #[getter]
    fn cache_bytes(&self) -> usize {
        self.core.cache_bytes()
    }

    /// Set them; what was learned is forgotten.
    #[setter]
    fn set_cache_bytes(&self, cache_bytes: usize) {
        self.core.set_cache_bytes(cache_bytes);
    }

    /// The ids of one text.
    fn encode<'py>(&self, py: Python<'py>, text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        guard(|| {
            let text = texts::read_one(text)?.map_err(|reason| bad_document(py, 0, &reason))?;
            if self.narrow { self.encode_as::<u16>(py, text) } else { self.encode_as::<u32>(py, text) }
        })
    }

    /// The ids of many texts, one after the other, their offsets, and the bad texts that were left out.
    fn encode_batch<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        num_threads: usize,
        skip_bad: bool,
    ) -> PyResult<Batch<'py>> {
        guard(|| {
            let objects = texts::objects(texts)?;
            let texts = texts::read_or_refuse(&objects, skip_bad)?;
            if self.narrow {
                self.encode_batch_as::<u16>(py, texts, num_threads)
            } else {
                self.encode_batch_as::<u32>(py, texts, num_threads)
            }
        })
    }

    /// The bytes that ids stand for; special tokens as their text.
    fn decode_bytes<'py>(&self, py: Python<'py>, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        guard(|| {
            let ids = IdArray::new("ids", ids)?.to_numbers();
            let bytes = self.core.vocabulary().decode(ids).map_err(|error| to_python(py, &error))?;
            Ok(PyBytes::new(py, &bytes))
        })
    }

    /// The bytes of one token, None where no token has this id.
    fn token_bytes<'py>(&self, py: Python<'py>, token_id: i64) -> Option<Bound<'py, PyBytes>> {
        let bytes = u32::try_from(token_id).ok().and_then(|id| self.core.vocabulary().token_bytes(id));
        bytes.map(|bytes| PyBytes::new(py, bytes))
    }
}
