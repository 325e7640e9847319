//! One place where errors of the core become Python exceptions.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gristmill_core::Error;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// An exception of `gristmill.errors`, built by its own `__init__`.
fn named<'py>(py: Python<'py>, class: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    py.import("gristmill.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1(arguments))
        .map_or_else(|error| error, PyErr::from_value)
}

/// The Python exception of a core error.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::InvalidTokenizer { .. } | Error::UnknownId { .. } | Error::IdDoesNotFit { .. } => {
            named(py, "TokenizerError", (message,))
        }
        Error::UnsupportedTokenizer { .. } => named(py, "UnsupportedTokenizerError", (message,)),
        Error::InvalidResume { .. } => named(py, "ResumeError", (message,)),
        Error::UnsupportedArrow { .. } => named(py, "SourceError", (message,)),
        Error::MissingArrowColumn { .. } => named(py, "MissingColumnError", (message,)),
        Error::InvalidArrow { .. } | Error::ArrowStream { .. } => named(py, "ArrowDataError", (message,)),
        Error::MemoryLimit { .. } => named(py, "TrainingMemoryError", (message,)),
        Error::InvalidOffsets { .. } | Error::InvalidOption { .. } | Error::OutputTooSmall { .. } => {
            PyValueError::new_err(message)
        }
        // The last two are handled before they get here: a signal has its own exception, and the rest of
        // Unicode is handed in.
        Error::PackerFinished | Error::TrainerSpent | Error::Cancelled | Error::UnicodeRestNeeded { .. } => {
            PyRuntimeError::new_err(message)
        }
    }
}

/// A document that is no text.
pub(crate) fn bad_document(py: Python<'_>, row: usize, reason: &str) -> PyErr {
    named(py, "BadDocumentError", ("documents", row, reason))
}

/// Run an entry point; a panic becomes a `RuntimeError`, because the `PanicException` of PyO3 is no `Exception`.
pub(crate) fn guard<R>(work: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(PyRuntimeError::new_err(format!(
            "gristmill failed inside, please report it: {}",
            panic_message(panic.as_ref())
        )))
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
