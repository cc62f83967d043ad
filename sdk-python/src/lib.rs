//! The native core of `torch_remote`: the session with an executor behind `driver.h`, the device in C++ (`csrc/`), and the control path.
//!
//! Owns what crosses between PyTorch, Python and the wire. Leaves the protocol's decisions to `torch_remote_proto` and the names users see to `torch_remote`.
//! Invariants: an operator on a cache hit takes one lock and appends bytes, without Python, allocation or waiting; nothing runs in a forked child.
#![allow(non_snake_case, reason = "the crate is the Python module `_C`")]

mod bindings;
mod bulk;
mod connect;
mod control;
mod conversation;
mod devices;
mod driver;
mod failure;
mod gil;
mod ids;
mod marks;
mod nap;
mod notice;
mod raw;
mod results;
mod runtime;
mod session;
mod signature;
mod submit;
mod sync;

use pyo3::prelude::*;

/// Generated client of the data path over `torch_remote_proto`'s messages.
#[allow(missing_docs, clippy::all)]
mod stub {
    include!(concat!(env!("OUT_DIR"), "/torchremote.agent.v1.rs"));
    pub(crate) use data_plane_client::DataPlaneClient;
}

/// Native core of torch_remote; its Python face is `torch_remote`.
#[pymodule]
fn _C(module: &Bound<'_, PyModule>) -> PyResult<()> {
    control::register(module)?;
    bindings::register(module)
}
