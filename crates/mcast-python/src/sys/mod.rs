//! What Python's objects and the systems ask care for: all of this crate's `unsafe`.
//!
//! Each platform module offers `descriptor(receiver)`: its one pollable descriptor, and
//! `descriptors(subscriber)`: those of a subscriber, and `capturing(capture)`: that of a capture; or an OSError.

#[cfg(not(unix))]
#[path = "no_descriptor.rs"]
mod platform;
#[cfg(unix)]
#[path = "unix.rs"]
mod platform;

use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::PyByteArray;

pub(crate) use platform::{capturing, descriptor, descriptors};

/// Lends the bytes of a bytearray, to be written by what calls nothing of Python's.
pub(crate) fn with_bytes_mut<T>(array: &Bound<'_, PyByteArray>, write: impl FnOnce(&mut [u8]) -> T) -> T {
    with_critical_section(array, || {
        // SAFETY: whoever would resize or use the array needs Python's lock, or in builds without
        // one the array's own, and this thread has it until `write` returns.
        write(unsafe { array.as_bytes_mut() })
    })
}

/// Takes an object out of what Python's collector of cycles visits, which costs more than to make
/// it. For objects that refer to nothing that could refer back.
pub(crate) fn uncollected<T>(object: Bound<'_, T>) -> Bound<'_, T> {
    // SAFETY: it is a whole object of a collected type, as all classes of pyo3's are, and nobody
    // else has it yet. To be taken out twice, as its end does once more, is allowed.
    unsafe { pyo3::ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
    object
}
