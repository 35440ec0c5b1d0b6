//! Systems where no single descriptor stands for a receiver.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

pub(crate) fn descriptor(_receiver: &mcast::Receiver) -> PyResult<i64> {
    Err(PyOSError::new_err("a receiver has no descriptor on this system: wait for it with Receiver.wait"))
}

pub(crate) fn capturing(_capture: &mcast_capture::Capture) -> PyResult<i64> {
    Err(PyOSError::new_err("a capture has no descriptor on this system"))
}

pub(crate) fn descriptors(_subscriber: &mcast_stream::Subscriber) -> PyResult<Vec<i64>> {
    Err(PyOSError::new_err("a subscriber has no descriptors on this system"))
}
