//! Numbers that arguments take, and words for those that are out of range.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;

use crate::error::refused;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($type:ty): $what:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(pub(crate) $type);

        impl<'py> FromPyObject<'_, 'py> for $name {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
                object.extract::<$type>().map(Self).map_err(|error| wrong(object, $what, <$type>::MAX, &error))
            }
        }
    )+};
}

numbers! {
    /// A UDP port.
    Port(u16): "a port";
    /// How many networks a datagram may cross.
    HopLimit(u8): "a hop limit";
    /// DSCP and ECN.
    TrafficClass(u8): "a traffic class";
    /// A size.
    Bytes(usize): "a number of bytes";
    /// Bytes per second.
    ByteRate(u64): "a rate in bytes per second";
    /// What a message is about.
    MessageKey(u64): "a message's key";
    /// The number of a message.
    MessageNumber(u64): "a message's number";
    /// A number of receivers.
    Receivers(usize): "a number of receivers";
}

fn wrong(object: Borrowed<'_, '_, PyAny>, what: &str, most: impl std::fmt::Display, error: &PyErr) -> PyErr {
    match error.is_instance_of::<PyOverflowError>(object.py()) {
        true => refused(format_args!("{what} is a number from 0 to {most}, not {}", &*object)),
        false => PyTypeError::new_err(format!("{what} is a whole number, not {}", object.get_type())),
    }
}
