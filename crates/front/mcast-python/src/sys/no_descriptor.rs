//! Systems where a receiver has no single pollable descriptor.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

pub(crate) fn receiver_descriptor(_receiver: &mcast::Receiver) -> PyResult<i64> {
    Err(PyOSError::new_err("a receiver has no descriptor on this system: use Receiver.wait"))
}

pub(crate) fn capture_descriptor(_capture: &mcast_capture::Capture) -> PyResult<i64> {
    Err(PyOSError::new_err("a capture has no descriptor on this system"))
}

pub(crate) fn subscriber_descriptors(_subscriber: &mcast_stream::Subscriber) -> PyResult<Vec<i64>> {
    Err(PyOSError::new_err("a subscriber has no descriptors on this system"))
}
