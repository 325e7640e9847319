//! `ArrowTexts`, `ArrowStream`: columns of text in Arrow memory, through the `PyCapsule` interface, without a copy.

use std::ffi::CStr;
use std::ops::Range;
use std::sync::Arc;

use gristmill_core::Result as CoreResult;
use gristmill_core::arrow::{ArrowArray, ArrowArrayStream, ArrowSchema, TextArray, TextType};
use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyCapsuleMethods, PySlice, PyString};

use crate::errors::{guard, to_python};

/// A sequence of texts that lie in Arrow memory; slices share it. Values are str, bytes where the column is binary or
/// a value is no UTF-8, None where it is null.
#[pyclass(frozen, sequence, module = "gristmill._native")]
#[derive(Clone)]
pub(crate) struct ArrowTexts {
    chunks: Arc<Chunks>,
    rows: Range<usize>,
}

struct Chunks {
    arrays: Vec<TextArray>,
    /// Where each array ends, in rows of all.
    ends: Vec<usize>,
}

impl ArrowTexts {
    fn of(arrays: Vec<TextArray>) -> Self {
        let mut end = 0;
        let ends = arrays
            .iter()
            .map(|array| {
                end += array.len();
                end
            })
            .collect();
        Self { chunks: Arc::new(Chunks { arrays, ends }), rows: 0..end }
    }

    /// The arrays of these rows, cut to them.
    fn arrays(&self) -> impl Iterator<Item = TextArray> {
        let first = self.chunks.ends.partition_point(|&end| end <= self.rows.start);
        let mut start = first.checked_sub(1).map_or(0, |before| self.chunks.ends[before]);
        self.chunks.arrays[first..].iter().map_while(move |array| {
            let rows = self.rows.start.max(start) - start..self.rows.end.max(start) - start;
            start += array.len();
            (!rows.is_empty()).then(|| array.slice(rows.start..rows.end.min(array.len())))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Each row's bytes; None where it is null.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.rows.clone().map(|row| self.value(row).0)
    }

    fn value(&self, row: usize) -> (Option<&[u8]>, TextType) {
        let place = self.chunks.ends.partition_point(|&end| end <= row);
        let array = &self.chunks.arrays[place];
        (array.value(row + array.len() - self.chunks.ends[place]), array.text_type())
    }

    /// Whether an object has the protocol.
    pub(crate) fn is_arrow(documents: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(documents.hasattr("__arrow_c_array__")? || documents.hasattr("__arrow_c_stream__")?)
    }

    /// All arrays of an object with the protocol; of tables, one column.
    pub(crate) fn read(documents: &Bound<'_, PyAny>, column: Option<&str>) -> PyResult<Self> {
        let py = documents.py();
        if documents.hasattr("__arrow_c_array__")? {
            let capsules = documents.call_method0("__arrow_c_array__")?;
            let (schema, array): (Bound<'_, PyAny>, Bound<'_, PyAny>) = capsules.extract()?;
            // SAFETY: the names of the capsules say what they point to.
            let (schema, array) = unsafe {
                let schema = ArrowSchema::take(pointer(&schema, c"arrow_schema")?);
                (schema, ArrowArray::take(pointer(&array, c"arrow_array")?))
            };
            let (schema, array) = (
                schema.map_err(|error| to_python(py, &error))?,
                array.map_err(|error| to_python(py, &error))?,
            );
            let texts = import(py, &schema, array, column)?;
            return Ok(Self::of(vec![texts]));
        }
        let mut stream = ArrowStream::open(documents, column)?;
        let mut arrays = Vec::new();
        while let Some(array) = stream.next_array(py)? {
            arrays.push(array);
        }
        Ok(Self::of(arrays))
    }
}

#[pymethods]
impl ArrowTexts {
    #[new]
    #[pyo3(signature = (documents, column=None))]
    fn new(documents: &Bound<'_, PyAny>, column: Option<&str>) -> PyResult<Self> {
        guard(|| Self::read(documents, column))
    }

    /// The rows of several, one after the other.
    #[staticmethod]
    // By value: the bindings hand over a list made for this call.
    #[allow(clippy::needless_pass_by_value)]
    fn joined(parts: Vec<Bound<'_, Self>>) -> Self {
        Self::of(parts.iter().flat_map(|part| part.get().arrays()).collect())
    }

    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        guard(|| {
            let length = isize::try_from(self.rows.len())?;
            if let Ok(slice) = index.cast::<PySlice>() {
                let slice = slice.indices(length)?;
                if slice.step != 1 {
                    return Err(PyValueError::new_err(format!("the step is {} (expected 1)", slice.step)));
                }
                let start = self.rows.start + usize::try_from(slice.start)?;
                let rows = start..start + slice.slicelength;
                return Ok(Bound::new(py, Self { chunks: Arc::clone(&self.chunks), rows })?.into_any());
            }
            let index: isize = index.extract()?;
            let place = if index < 0 { index + length } else { index };
            let Some(place) = usize::try_from(place).ok().filter(|&place| place < self.rows.len()) else {
                return Err(PyIndexError::new_err(format!("row {index} of {length}")));
            };
            let (value, text_type) = self.value(self.rows.start + place);
            let Some(value) = value else { return Ok(py.None().into_bound(py)) };
            match std::str::from_utf8(value) {
                Ok(text) if text_type == TextType::Text => Ok(PyString::new(py, text).into_any()),
                _ => Ok(PyBytes::new(py, value).into_any()),
            }
        })
    }

    /// How many of the first rows reach `max_bytes`, all if they do not; one at least, if there are any.
    fn num_fitting(&self, max_bytes: usize) -> usize {
        let mut num_bytes = 0;
        let mut num_rows = 0;
        for value in self.values() {
            num_bytes += value.map_or(0, <[u8]>::len);
            num_rows += 1;
            if num_bytes >= max_bytes {
                break;
            }
        }
        num_rows
    }
}

/// The arrays of a stream, as `ArrowTexts`, read one by one.
#[pyclass(module = "gristmill._native")]
pub(crate) struct ArrowStream {
    stream: ArrowArrayStream,
    schema: ArrowSchema,
    column: Option<String>,
}

impl ArrowStream {
    fn open(documents: &Bound<'_, PyAny>, column: Option<&str>) -> PyResult<Self> {
        let py = documents.py();
        let capsule = documents.call_method0("__arrow_c_stream__")?;
        // SAFETY: the name of the capsule says what it points to.
        let stream = unsafe { ArrowArrayStream::take(pointer(&capsule, c"arrow_array_stream")?) };
        let mut stream = stream.map_err(|error| to_python(py, &error))?;
        let schema = py.detach(|| stream.schema()).map_err(|error| to_python(py, &error))?;
        Ok(Self { stream, schema, column: column.map(str::to_owned) })
    }

    /// Without the GIL: the producer may wait for a thread that needs it.
    fn next_array(&mut self, py: Python<'_>) -> PyResult<Option<TextArray>> {
        py.check_signals()?;
        let Self { stream, schema, column } = self;
        let array = py.detach(|| stream.next_array()).map_err(|error| to_python(py, &error))?;
        array.map(|array| import(py, schema, array, column.as_deref())).transpose()
    }
}

#[pymethods]
impl ArrowStream {
    #[new]
    #[pyo3(signature = (documents, column=None))]
    fn new(documents: &Bound<'_, PyAny>, column: Option<&str>) -> PyResult<Self> {
        guard(|| Self::open(documents, column))
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<ArrowTexts>> {
        guard(|| Ok(self.next_array(py)?.map(|array| ArrowTexts::of(vec![array]))))
    }
}

fn import(
    py: Python<'_>,
    schema: &ArrowSchema,
    array: ArrowArray,
    column: Option<&str>,
) -> PyResult<TextArray> {
    let import = || -> CoreResult<TextArray> {
        // SAFETY: the producer has filled both, and says by the protocol that they keep to the specification.
        unsafe { TextArray::import(schema, array, column) }
    };
    py.detach(import).map_err(|error| to_python(py, &error))
}

/// What a capsule of this name points to.
fn pointer<T>(capsule: &Bound<'_, PyAny>, name: &CStr) -> PyResult<*mut T> {
    let refuse = || {
        let shown = name.to_string_lossy();
        PyTypeError::new_err(format!(
            "the Arrow protocol gave {capsule} (expected a capsule named {shown:?})"
        ))
    };
    let capsule = capsule.cast::<PyCapsule>().map_err(|_| refuse())?;
    if !capsule.is_valid_checked(Some(name)) {
        return Err(refuse());
    }
    Ok(capsule.pointer_checked(Some(name))?.as_ptr().cast())
}
