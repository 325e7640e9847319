//! Python objects to `&str`, under the GIL and without a copy where the text is ASCII or `bytes`; columns in Arrow
//! memory, without the GIL and never copied.
//!
//! A `str` that is not ASCII is widened by Python to UCS-4, which `ucs4` encodes; Python's own encoder takes many times as
//! long, and leaves its copy attached to the object: a caller who holds the corpus as a list would hold it twice. Here the
//! copies go with the batch. Reading UCS-1/2/4 where they lie needs one wheel per version of Python.

use gristmill_core::instructions::Instructions;
use gristmill_core::ucs4;
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::arrow::ArrowTexts;
use crate::encoder::chosen_instructions;
use crate::errors::bad_document;

/// The texts of a batch, and `(index, reason)` of what is none.
pub(crate) struct Texts<'a> {
    pub(crate) good: Vec<&'a str>,
    pub(crate) bad: Vec<(usize, String)>,
}

/// UTF-8 of those texts that are a `str` and not ASCII.
pub(crate) struct Transcoded {
    utf8: String,
    /// Where it ends of each text, of all of them up to the last that is here; of the others nothing is here.
    ends: Vec<usize>,
}

impl Transcoded {
    /// Transcode where it is needed. What cannot be is left to `read_one`, which says why.
    fn new(objects: &[Bound<'_, PyAny>]) -> PyResult<Self> {
        let mut transcoded = Self { utf8: String::new(), ends: Vec::new() };
        let (mut not_ascii, mut num_characters) = (Vec::new(), 0);
        for (index, object) in objects.iter().enumerate() {
            let Ok(text) = object.cast::<PyString>() else { continue };
            if !text.call_method0(intern!(text.py(), "isascii"))?.is_truthy()? {
                not_ascii.push((index, text));
                num_characters += text.len()?;
            }
        }
        if not_ascii.is_empty() {
            return Ok(transcoded);
        }
        let instructions = chosen_instructions()?;
        // Most of it is ASCII, as a rule; else it grows.
        ucs4::reserve(&mut transcoded.utf8, num_characters + num_characters / 8);
        let mut code_points = Vec::new();
        for (index, text) in not_ascii {
            // A batch may have hundreds of megabytes of them, and Ctrl-C should not wait for their end.
            text.py().check_signals()?;
            let before = transcoded.utf8.len();
            transcoded.ends.resize(index, before);
            if transcoded.append(instructions, text, &mut code_points)? {
                transcoded.ends.push(transcoded.utf8.len());
            } else {
                transcoded.utf8.truncate(before);
            }
        }
        Ok(transcoded)
    }

    /// Append the UTF-8 of a text; `false` where it has none, and only a part of it was appended.
    fn append(
        &mut self,
        instructions: Instructions,
        text: &Bound<'_, PyString>,
        code_points: &mut Vec<u32>,
    ) -> PyResult<bool> {
        let len = text.len()?;
        if len <= CHARACTERS_AT_ONCE {
            read_code_points(text, code_points)?;
            return Ok(ucs4::append_utf8(instructions, code_points, &mut self.utf8));
        }
        for start in (0..len).step_by(CHARACTERS_AT_ONCE) {
            text.py().check_signals()?;
            let part = substring(text, start, len.min(start + CHARACTERS_AT_ONCE))?;
            read_code_points(&part, code_points)?;
            if !ucs4::append_utf8(instructions, code_points, &mut self.utf8) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        // What is not ASCII is not empty.
        (start < end).then(|| &self.utf8[start..end])
    }
}

/// Characters that are widened at once: four bytes each, which would else be four times a long text.
const CHARACTERS_AT_ONCE: usize = 1 << 16;

/// The characters from `start` to `end` of a text.
fn substring<'py>(text: &Bound<'py, PyString>, start: usize, end: usize) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: the object is a `str`, and what Python returns is a new reference to one, or null with an error set.
    let part = unsafe {
        let part = ffi::PyUnicode_Substring(text.as_ptr(), start.cast_signed(), end.cast_signed());
        Bound::from_owned_ptr_or_err(text.py(), part)?
    };
    Ok(part.cast_into()?)
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
    Objects(Python<'py>, Vec<Bound<'py, PyAny>>, Transcoded),
    Arrow(Python<'py>, ArrowTexts),
}

impl<'py> Batch<'py> {
    fn of_objects(py: Python<'py>, objects: Vec<Bound<'py, PyAny>>) -> PyResult<Self> {
        let transcoded = Transcoded::new(&objects)?;
        Ok(Self::Objects(py, objects, transcoded))
    }

    fn py(&self) -> Python<'py> {
        match self {
            Self::Objects(py, ..) | Self::Arrow(py, _) => *py,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Objects(_, objects, _) => objects.len(),
            Self::Arrow(_, texts) => texts.len(),
        }
    }
}

/// Hold what a sequence has.
pub(crate) fn objects<'py>(texts: &Bound<'py, PyAny>) -> PyResult<Batch<'py>> {
    let py = texts.py();
    if let Ok(list) = texts.cast::<PyList>() {
        return Batch::of_objects(py, list.iter().collect());
    }
    if let Ok(tuple) = texts.cast::<PyTuple>() {
        return Batch::of_objects(py, tuple.iter().collect());
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
    Batch::of_objects(py, texts.try_iter()?.collect::<PyResult<_>>()?)
}

/// As `read`, but the first bad one is an error unless `skip_bad`.
pub(crate) fn read_or_refuse<'a>(batch: &'a Batch<'_>, skip_bad: bool) -> PyResult<Texts<'a>> {
    let texts = read(batch)?;
    match texts.bad.first() {
        Some((index, reason)) if !skip_bad => Err(bad_document(batch.py(), *index, reason)),
        _ => Ok(texts),
    }
}

/// Sort good from bad.
pub(crate) fn read<'a>(batch: &'a Batch<'_>) -> PyResult<Texts<'a>> {
    let (objects, transcoded) = match batch {
        Batch::Objects(_, objects, transcoded) => (objects, transcoded),
        Batch::Arrow(py, texts) => return Ok(py.detach(|| read_values(texts))),
    };
    let mut texts = Texts { good: Vec::with_capacity(objects.len()), bad: Vec::new() };
    for (index, object) in objects.iter().enumerate() {
        if let Some(text) = transcoded.get(index) {
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
