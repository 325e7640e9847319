//! Calls of the core without the GIL.

use std::sync::{Arc, OnceLock};

use gristmill_core::encoder::Encoder;
use gristmill_core::unicode::{Class, ClassTable};
use gristmill_core::{Error, Result};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::to_python;

/// Run `work` without the GIL. It gets the question "interrupted?", which takes the GIL for a moment and lets
/// Python's signal handlers run; what they raise (`KeyboardInterrupt`) ends the call.
///
/// At the first code point that Unicode 14 does not assign, the installed `tokenizers` is asked for all of them that
/// `texts` have, and the work is done again: the core leaves nothing half done behind.
pub(crate) fn without_gil<R: Send>(
    py: Python<'_>,
    encoder: &Encoder,
    texts: &[&str],
    mut work: impl FnMut(&mut dyn FnMut() -> bool) -> Result<R> + Send,
) -> PyResult<R> {
    loop {
        match interruptible(py, &mut work)? {
            Err(Error::UnicodeRestNeeded { code_point }) => {
                // What met it may be made of a text, and not in it.
                let mut unassigned = py.detach(|| encoder.classes().unassigned_in(texts.iter().copied()));
                unassigned.insert(code_point);
                encoder.learn_classes(&classes_of(py, &unassigned.iter().collect::<Vec<_>>())?);
            }
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

/// The classes of code points as this process knows them: each is asked for once.
pub(crate) fn shared_classes() -> Arc<ClassTable> {
    static SHARED: OnceLock<Arc<ClassTable>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(ClassTable::unicode_14())))
}

/// The classes of some code points, from the installed `tokenizers`.
pub(crate) fn classes_of(py: Python<'_>, code_points: &[u32]) -> PyResult<Vec<(u32, Class)>> {
    let characters: String = code_points.iter().copied().filter_map(char::from_u32).collect();
    let classes_of = py.import("gristmill._unicode")?.getattr("classes_of")?;
    let numbers = classes_of.call1((&characters,))?.cast_into::<PyBytes>()?;
    let classes = numbers.as_bytes().iter().copied().map(Class::from_number);
    Ok(characters.chars().map(u32::from).zip(classes).collect())
}
