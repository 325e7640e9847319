//! numpy arrays to slices, and back.

use std::borrow::Cow;

use gristmill_core::Result as CoreResult;
use gristmill_core::id::TokenId;
use gristmill_core::packer::{Blocks, fitting};
use numpy::{
    Element, PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::errors::to_python;

/// Ids of any integer type, borrowed as they are.
pub(crate) enum IdArray<'py> {
    Narrow(PyReadonlyArray1<'py, u16>),
    Wide(PyReadonlyArray1<'py, u32>),
    Signed(PyReadonlyArray1<'py, i64>),
}

impl<'py> IdArray<'py> {
    /// From a one-dimensional array of integers; other types than uint16, uint32 and int64 are converted.
    pub(crate) fn new(name: &str, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(ids) = array.extract() {
            return Ok(Self::Narrow(ids));
        }
        if let Ok(ids) = array.extract() {
            return Ok(Self::Wide(ids));
        }
        Ok(Self::Signed(integers(name, array)?))
    }

    /// All ids as numbers.
    pub(crate) fn to_numbers(&self) -> Vec<i64> {
        match self {
            Self::Narrow(ids) => ids.as_array().iter().copied().map(i64::from).collect(),
            Self::Wide(ids) => ids.as_array().iter().copied().map(i64::from).collect(),
            Self::Signed(ids) => ids.as_array().iter().copied().collect(),
        }
    }

    /// All ids in the type `I`, each one checked where it might not fit; as they lie there where they are of this type.
    pub(crate) fn to_ids<I: ArrayId>(&self, py: Python<'_>) -> PyResult<Cow<'_, [I]>> {
        if let Some(ids) = I::borrow(self) {
            return Ok(Cow::Borrowed(ids));
        }
        let ids: CoreResult<Vec<I>> = match self {
            Self::Narrow(ids) => Ok(ids.as_array().iter().map(|&id| I::from_u32(u32::from(id))).collect()),
            Self::Wide(ids) => ids.as_array().iter().map(|&id| fitting(i64::from(id))).collect(),
            Self::Signed(ids) => ids.as_array().iter().map(|&id| fitting(id)).collect(),
        };
        ids.map(Cow::Owned).map_err(|error| to_python(py, &error))
    }
}

/// The types of ids, as arrays have them.
pub(crate) trait ArrayId: TokenId + Element {
    /// The ids themselves, where they are of this type and lie one after the other.
    fn borrow<'a>(ids: &'a IdArray<'_>) -> Option<&'a [Self]>;
}

impl ArrayId for u16 {
    fn borrow<'a>(ids: &'a IdArray<'_>) -> Option<&'a [Self]> {
        if let IdArray::Narrow(ids) = ids { ids.as_slice().ok() } else { None }
    }
}

impl ArrayId for u32 {
    fn borrow<'a>(ids: &'a IdArray<'_>) -> Option<&'a [Self]> {
        if let IdArray::Wide(ids) = ids { ids.as_slice().ok() } else { None }
    }
}

/// A one-dimensional array of any integer type as int64; an empty list counts as one.
pub(crate) fn integers<'py>(name: &str, values: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, i64>> {
    let array = integer_array(name, values)?;
    array
        .extract()
        .map_err(|_| PyValueError::new_err(format!("{name} has {} dimensions (expected 1)", array.ndim())))
}

/// An array of any integer type and shape as int64.
pub(crate) fn integer_array<'py>(
    name: &str,
    values: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = values.cast::<PyUntypedArray>()
        && array.dtype().is_equiv_to(&numpy::dtype::<i64>(values.py()))
    {
        return Ok(array.clone());
    }
    let py = values.py();
    let array = py.import("numpy")?.call_method1("asarray", (values,))?;
    let dtype = array.getattr("dtype")?;
    let kind: String = dtype.getattr("kind")?.extract()?;
    let size: usize = array.getattr("size")?.extract()?;
    if size > 0 && !matches!(kind.as_str(), "i" | "u") {
        return Err(PyTypeError::new_err(format!("{name} has the dtype {dtype} (expected an integer type)")));
    }
    Ok(array.call_method1("astype", ("int64",))?.cast_into()?)
}

/// The elements of an array as one slice, copied only where it has gaps.
pub(crate) fn contiguous<'a, T: Element + Copy>(array: &'a PyReadonlyArray1<'_, T>) -> Cow<'a, [T]> {
    match array.as_slice() {
        Ok(slice) => Cow::Borrowed(slice),
        Err(_) => Cow::Owned(array.as_array().iter().copied().collect()),
    }
}

/// Blocks, `(n, seq_length)`; how many ids of each are real, `(n,)`; and the documents' bounds in them: `cu_seqlens`,
/// where each block's begin in it, `(n + 1,)`, and the document of each segment.
pub(crate) type BlockArrays<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

/// All arrays of blocks, without a copy.
pub(crate) fn block_arrays<I: ArrayId>(
    py: Python<'_>,
    taken: Blocks<I>,
    seq_length: usize,
) -> PyResult<BlockArrays<'_>> {
    let Blocks { ids, num_valid, segments } = taken;
    Ok((
        blocks(py, ids, seq_length)?.into_any(),
        PyArray1::from_vec(py, num_valid),
        PyArray1::from_vec(py, segments.cu_seqlens),
        PyArray1::from_vec(py, segments.offsets),
        PyArray1::from_vec(py, segments.documents),
    ))
}

/// Let `fill` write to an array of the caller, which is of type `I` and without gaps.
pub(crate) fn with_output<I: ArrayId, R>(
    out: &Bound<'_, PyAny>,
    fill: impl FnOnce(&mut [I]) -> PyResult<R>,
) -> PyResult<R> {
    let py = out.py();
    let refuse = |found: String| {
        let name = numpy::dtype::<I>(py);
        Err(PyValueError::new_err(format!(
            "out is {found} (expected a writable, contiguous array of {name})"
        )))
    };
    let Ok(array) = out.cast::<PyArray2<I>>() else {
        let dtype =
            out.getattr("dtype").map_or_else(|_| "no array".to_owned(), |dtype| format!("of {dtype}"));
        return refuse(dtype);
    };
    let Ok(mut array) = array.try_readwrite() else {
        return refuse("read-only, or the ids themselves".to_owned());
    };
    match array.as_slice_mut() {
        Ok(slice) => fill(slice),
        Err(_) => refuse("not contiguous".to_owned()),
    }
}

/// `(num_blocks, seq_length)` from blocks one after the other, without a copy.
pub(crate) fn blocks<T: Element>(
    py: Python<'_>,
    ids: Vec<T>,
    seq_length: usize,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    let num_blocks = ids.len() / seq_length;
    PyArray1::from_vec(py, ids).reshape([num_blocks, seq_length])
}
