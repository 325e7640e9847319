//! Calls of the core without the GIL.

use gristmill_core::encoder::Encoder;
use gristmill_core::unicode::{Class, ClassRange};
use gristmill_core::{Error, Result};
use pyo3::prelude::*;

use crate::errors::to_python;

/// Run `work` without the GIL. It gets the question "interrupted?", which takes the GIL for a moment and lets
/// Python's signal handlers run; what they raise (`KeyboardInterrupt`) ends the call.
///
/// At the first code point that Unicode 14 does not assign, the installed `tokenizers` is asked and the work is
/// done again: the core leaves nothing half done behind. That happens once per encoder.
pub(crate) fn without_gil<R: Send>(
    py: Python<'_>,
    encoder: &Encoder,
    mut work: impl FnMut(&mut dyn FnMut() -> bool) -> Result<R> + Send,
) -> PyResult<R> {
    loop {
        match interruptible(py, &mut work)? {
            Err(Error::UnicodeRestNeeded { .. }) => encoder.set_unicode_rest(&class_ranges(py)?),
            result => return result.map_err(|error| to_python(py, &error)),
        }
    }
}

/// Run `work` once without the GIL, with the question "interrupted?". What signal handlers raise is the outer error.
pub(crate) fn interruptible<R: Send>(
    py: Python<'_>,
    work: impl FnOnce(&mut dyn FnMut() -> bool) -> Result<R> + Send,
) -> PyResult<Result<R>> {
    let mut raised: Option<PyErr> = None;
    let result = py.detach(|| {
        work(&mut || {
            // Asked again while the workers come to their end: the first exception is the one to raise.
            if raised.is_none() {
                raised = Python::attach(|py| py.check_signals().err());
            }
            raised.is_some()
        })
    });
    raised.map_or(Ok(result), Err)
}

/// The classes of all code points, from the installed `tokenizers`.
pub(crate) fn class_ranges(py: Python<'_>) -> PyResult<Vec<ClassRange>> {
    let ranges: Vec<(u32, u32, u8)> =
        py.import("gristmill._unicode")?.getattr("class_ranges")?.call0()?.extract()?;
    Ok(ranges.into_iter().map(|(first, last, number)| (first, last, class(number))).collect())
}

/// The classes of some code points, from the installed `tokenizers`.
pub(crate) fn classes_of(py: Python<'_>, code_points: &[u32]) -> PyResult<Vec<(u32, Class)>> {
    let numbers: Vec<u8> =
        py.import("gristmill._unicode")?.getattr("classes_of")?.call1((code_points.to_vec(),))?.extract()?;
    Ok(code_points.iter().copied().zip(numbers.into_iter().map(class)).collect())
}

/// The numbers of `gristmill._unicode`.
fn class(number: u8) -> Class {
    match number {
        0 => Class::Letter,
        1 => Class::Number,
        2 => Class::Space,
        _ => Class::Other,
    }
}
