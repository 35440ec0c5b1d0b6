//! All of this crate's `unsafe` code and its platform differences.
//!
//! Each platform module has `receiver_descriptor`, `subscriber_descriptors` and `capture_descriptor`, which return the
//! pollable descriptors of an object, or raise OSError.

use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::PyByteArray;

pub(crate) use platform::{capture_descriptor, receiver_descriptor, subscriber_descriptors};

/// Lends the bytes of a bytearray to `write`, which must not call into Python.
pub(crate) fn with_bytes_mut<T>(array: &Bound<'_, PyByteArray>, write: impl FnOnce(&mut [u8]) -> T) -> T {
    with_critical_section(array, || {
        // SAFETY: resizing or using the array requires the GIL or, in free-threaded builds, the array's own lock.
        // This thread holds it until `write` returns.
        write(unsafe { array.as_bytes_mut() })
    })
}

/// Removes an object from the cycle collector's lists, because visiting it costs more than creating it. For objects
/// that cannot be part of a reference cycle.
pub(crate) fn untracked<T>(object: Bound<'_, T>) -> Bound<'_, T> {
    // SAFETY: it is a complete object of a collected type, as all pyo3 classes are, and there is no other reference to
    // it yet. Untracking it again, as its deallocation does, is allowed.
    unsafe { pyo3::ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
    object
}

#[cfg(unix)]
mod platform {
    //! Unix: a receiver has one descriptor, a subscriber two.

    use std::os::fd::{AsFd, AsRawFd};

    use pyo3::prelude::*;

    pub(crate) fn receiver_descriptor(receiver: &mcast::Receiver) -> PyResult<i64> {
        Ok(receiver.as_fd().as_raw_fd().into())
    }

    pub(crate) fn capture_descriptor(capture: &mcast_capture::Capture) -> PyResult<i64> {
        Ok(capture.as_fd().as_raw_fd().into())
    }

    pub(crate) fn subscriber_descriptors(subscriber: &mcast_stream::Subscriber) -> PyResult<Vec<i64>> {
        Ok(subscriber.descriptors().iter().map(|each| each.as_raw_fd().into()).collect())
    }
}

#[cfg(not(unix))]
mod platform {
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
}
