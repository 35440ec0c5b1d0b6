//! Keys, in a build without ciphers: using them raises an error.

use mcast_stream::seal::Keys;
use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;

pub(super) fn read(_: &str) -> PyResult<Keys> {
    Err(without_ciphers())
}

pub(super) fn new_line(_: u16, _: &str) -> PyResult<String> {
    Err(without_ciphers())
}

fn without_ciphers() -> PyErr {
    PyNotImplementedError::new_err("this build has no ciphers: build with the feature `seal`")
}
