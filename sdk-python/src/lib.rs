//! The native core of `torch_remote`.
#![allow(non_snake_case, reason = "the crate is the Python module `_C`")]

mod control;

use pyo3::prelude::*;

/// Native core of torch_remote; its Python face is `torch_remote`.
#[pymodule]
fn _C(module: &Bound<'_, PyModule>) -> PyResult<()> {
    control::register(module)
}
