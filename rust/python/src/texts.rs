//! Python objects to `&str`, under the GIL and without a copy where the text is ASCII or `bytes`; columns in Arrow
//! memory, without the GIL and never copied.
//!
//! A `str` that is not ASCII is transcoded by Python. By default that is done once and the copy stays attached to the
//! object, which serves whoever encodes it again. Training and packing read a corpus once, so there the copies go with the
//! batch (`Transcoded`): a caller who holds the corpus as a list would else hold it twice. Reading UCS-1/2/4 in the workers
//! would spare both, and needs one wheel per version of Python; that Python widens to UCS-4, and `ucs4` encodes, takes half
//! the time of Python's encoder.

use gristmill_core::ucs4;
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::arrow::ArrowTexts;
use crate::errors::bad_document;

/// The texts of a batch, and `(index, reason)` of what is none.
pub(crate) struct Texts<'a> {
    pub(crate) good: Vec<&'a str>,
    pub(crate) bad: Vec<(usize, String)>,
}

/// UTF-8 of those texts that are a `str` and not ASCII, at their places.
pub(crate) struct Transcoded(Vec<Option<String>>);

impl Transcoded {
    /// Transcode where it is needed. What cannot be is left to `read_one`, which says why.
    pub(crate) fn new(batch: &Batch<'_>) -> PyResult<Self> {
        let Batch::Objects(_, objects) = batch else { return Ok(Self(Vec::new())) };
        let mut code_points = Vec::new();
        let of_one = |object: &Bound<'_, PyAny>| {
            let Ok(text) = object.cast::<PyString>() else { return Ok(None) };
            if text.call_method0(intern!(text.py(), "isascii"))?.is_truthy()? {
                return Ok(None);
            }
            read_code_points(text, &mut code_points)?;
            Ok(ucs4::to_utf8(&code_points))
        };
        objects.iter().map(of_one).collect::<PyResult<_>>().map(Self)
    }

    fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index)?.as_deref()
    }
}

/// Put the code points of a text in place of what is there.
fn read_code_points(text: &Bound<'_, PyString>, code_points: &mut Vec<u32>) -> PyResult<()> {
    let len = text.len()?;
    code_points.clear();
    code_points.reserve(len);
    // SAFETY: the object is a `str` of `len` code points, for which there is room; all of them are written, or Python says
    // that it failed.
    unsafe {
        let written = ffi::PyUnicode_AsUCS4(
            text.as_ptr(),
            code_points.as_mut_ptr(),
            code_points.capacity().cast_signed(),
            0,
        );
        if written.is_null() {
            return Err(PyErr::fetch(text.py()));
        }
        code_points.set_len(len);
    }
    Ok(())
}

/// The elements of a sequence, held, so that nobody can free them while the GIL is released.
pub(crate) enum Batch<'py> {
    Objects(Python<'py>, Vec<Bound<'py, PyAny>>),
    Arrow(Python<'py>, ArrowTexts),
}

impl<'py> Batch<'py> {
    fn py(&self) -> Python<'py> {
        match self {
            Self::Objects(py, _) | Self::Arrow(py, _) => *py,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Objects(_, objects) => objects.len(),
            Self::Arrow(_, texts) => texts.len(),
        }
    }
}

/// Hold what a sequence has.
pub(crate) fn objects<'py>(texts: &Bound<'py, PyAny>) -> PyResult<Batch<'py>> {
    let py = texts.py();
    if let Ok(list) = texts.cast::<PyList>() {
        return Ok(Batch::Objects(py, list.iter().collect()));
    }
    if let Ok(tuple) = texts.cast::<PyTuple>() {
        return Ok(Batch::Objects(py, tuple.iter().collect()));
    }
    if let Ok(texts) = texts.cast::<ArrowTexts>() {
        return Ok(Batch::Arrow(py, texts.get().clone()));
    }
    if ArrowTexts::is_arrow(texts)? {
        return Ok(Batch::Arrow(py, ArrowTexts::read(texts, None)?));
    }
    // A lone text is a sequence too, of one-character texts: surely not what was meant.
    if texts.is_instance_of::<PyString>() || texts.is_instance_of::<PyBytes>() {
        return Err(PyTypeError::new_err(format!(
            "texts is a lone value of type {} (expected a list of texts)",
            type_name(texts)
        )));
    }
    Ok(Batch::Objects(py, texts.try_iter()?.collect::<PyResult<_>>()?))
}

/// Sort good from bad.
pub(crate) fn read<'a>(batch: &'a Batch<'_>) -> PyResult<Texts<'a>> {
    read_beside(batch, None)
}

/// As `read`, but the first bad one is an error unless `skip_bad`.
pub(crate) fn read_or_refuse<'a>(batch: &'a Batch<'_>, skip_bad: bool) -> PyResult<Texts<'a>> {
    refuse_bad(batch, read(batch)?, skip_bad)
}

/// As `read_or_refuse`, of texts that were transcoded, where it was needed.
pub(crate) fn read_transcoded_or_refuse<'a>(
    batch: &'a Batch<'_>,
    transcoded: &'a Transcoded,
    skip_bad: bool,
) -> PyResult<Texts<'a>> {
    refuse_bad(batch, read_beside(batch, Some(transcoded))?, skip_bad)
}

fn read_beside<'a>(batch: &'a Batch<'_>, transcoded: Option<&'a Transcoded>) -> PyResult<Texts<'a>> {
    let objects = match batch {
        Batch::Objects(_, objects) => objects,
        Batch::Arrow(py, texts) => return Ok(py.detach(|| read_values(texts))),
    };
    let mut texts = Texts { good: Vec::with_capacity(objects.len()), bad: Vec::new() };
    for (index, object) in objects.iter().enumerate() {
        if let Some(text) = transcoded.and_then(|transcoded| transcoded.get(index)) {
            texts.good.push(text);
            continue;
        }
        match read_one(object)? {
            Ok(text) => texts.good.push(text),
            Err(reason) => texts.bad.push((index, reason)),
        }
    }
    Ok(texts)
}

/// Sort the rows of a column. That a column calls itself UTF-8 does not make it so.
fn read_values(texts: &ArrowTexts) -> Texts<'_> {
    let mut sorted = Texts { good: Vec::new(), bad: Vec::new() };
    for (index, value) in texts.values().enumerate() {
        match value.map(read_utf8) {
            Some(Ok(text)) => sorted.good.push(text),
            Some(Err(reason)) => sorted.bad.push((index, reason)),
            None => sorted.bad.push((index, "null".to_owned())),
        }
    }
    sorted
}

fn read_utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("invalid UTF-8 at byte {}", error.valid_up_to()))
}

fn refuse_bad<'a>(batch: &Batch<'_>, texts: Texts<'a>, skip_bad: bool) -> PyResult<Texts<'a>> {
    match texts.bad.first() {
        Some((index, reason)) if !skip_bad => Err(bad_document(batch.py(), *index, reason)),
        _ => Ok(texts),
    }
}

/// One text, or the reason why it is none. The outer error is Python's own (out of memory).
pub(crate) fn read_one<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Result<&'a str, String>> {
    if let Ok(text) = object.cast::<PyString>() {
        return match text.to_str() {
            Ok(text) => Ok(Ok(text)),
            Err(error) => Ok(Err(surrogate_reason(text, error)?)),
        };
    }
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(read_utf8(bytes.as_bytes()));
    }
    if object.is_none() {
        return Ok(Err("null".to_owned()));
    }
    Ok(Err(format!("a value of type {}: {}", type_name(object), short_repr(object))))
}

fn surrogate_reason(text: &Bound<'_, PyString>, error: PyErr) -> PyResult<String> {
    let py = text.py();
    if !error.is_instance_of::<PyUnicodeEncodeError>(py) {
        return Err(error);
    }
    let position: usize = error.value(py).getattr("start")?.extract()?;
    let code_point: u32 =
        py.import("builtins")?.getattr("ord")?.call1((text.get_item(position)?,))?.extract()?;
    Ok(format!("a lone surrogate U+{code_point:04X} at character {position}"))
}

/// What Python shows of a value, at most 60 characters of it.
fn short_repr(object: &Bound<'_, PyAny>) -> String {
    let Ok(shown) = object.repr() else { return "(it has no repr)".to_owned() };
    let shown = shown.to_string_lossy();
    match shown.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string())
}
