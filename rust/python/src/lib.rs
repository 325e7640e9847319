//! The bindings of `gristmill-core`: parse arguments, release the GIL, wrap results. No algorithm lives here.
//!
//! | file | binds |
//! |---|---|
//! | `encoder.rs`, `packer.rs`, `best_fit.rs`, `metrics.rs`, `trainer.rs` | the classes of the same names |
//! | `texts.rs` | Python objects and Arrow columns to `&str`, and what is wrong with those that are none |
//! | `arrow.rs` | columns in Arrow memory, through capsules |
//! | `arrays.rs` | numpy arrays to slices of ids and offsets, and back |
//! | `errors.rs` | `gristmill_core::Error` to the exceptions of `gristmill.errors`, panics to `RuntimeError` |
//! | `calls.rs` | calls without the GIL: signals looked at, the rest of Unicode handed in |

mod arrays;
mod arrow;
mod best_fit;
mod calls;
mod encoder;
mod errors;
mod metrics;
mod packer;
mod texts;
mod trainer;

use gristmill_core::order;
use numpy::PyArray1;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

use crate::errors::guard;

/// `(index, reason)` of each element of `texts` that is no text.
#[pyfunction]
fn check_texts(texts: &Bound<'_, PyAny>) -> PyResult<Vec<(usize, String)>> {
    guard(|| {
        let objects = texts::objects(texts)?;
        Ok(texts::read(&objects)?.bad)
    })
}

/// The permutation of `range(length)` that (seed, purpose, epoch, index) choose, as int64.
#[pyfunction]
fn permutation<'py>(
    py: Python<'py>,
    seed: u64,
    purpose: &str,
    epoch: u64,
    index: u64,
    length: u64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    guard(|| {
        let permutation = order::Permutation::new(order::derive_seed(seed, purpose, epoch, index), length);
        let mut places: Vec<i64> = Vec::new();
        let num_places = usize::try_from(length).unwrap_or(usize::MAX);
        places.try_reserve_exact(num_places).map_err(|_| {
            PyMemoryError::new_err(format!("a permutation of {length} elements does not fit"))
        })?;
        py.detach(|| places.extend(permutation.iter().filter_map(|place| i64::try_from(place).ok())));
        Ok(PyArray1::from_vec(py, places))
    })
}

/// A seed below 2**63, hashed from (seed, purpose, epoch, index).
#[pyfunction]
fn derive_seed(seed: u64, purpose: &str, epoch: u64, index: u64) -> u64 {
    order::derive_seed(seed, purpose, epoch, index)
}

/// The compiled part of gristmill.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<encoder::Encoder>()?;
    module.add_class::<packer::Packer>()?;
    module.add_class::<best_fit::BestFitPacker>()?;
    module.add_class::<metrics::MetricCounters>()?;
    module.add_class::<arrow::ArrowTexts>()?;
    module.add_class::<arrow::ArrowStream>()?;
    module.add_class::<trainer::BpeTrainer>()?;
    module.add_function(wrap_pyfunction!(check_texts, module)?)?;
    module.add_function(wrap_pyfunction!(trainer::pattern_of, module)?)?;
    module.add_function(wrap_pyfunction!(trainer::pattern_regex, module)?)?;
    module.add_function(wrap_pyfunction!(permutation, module)?)?;
    module.add_function(wrap_pyfunction!(derive_seed, module)?)
}
