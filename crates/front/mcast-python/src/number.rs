//! Numeric arguments, with errors for numbers that are out of range.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;

use crate::error::value_error;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($type:ty): $what:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(pub(crate) $type);

        impl<'py> FromPyObject<'_, 'py> for $name {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
                object.extract::<$type>().map(Self).map_err(|error| number_error(object, $what, <$type>::MAX, &error))
            }
        }
    )+};
}

numbers! {
    /// A UDP port.
    Port(u16): "a port";
    /// A hop limit (IPv4: TTL).
    HopLimit(u8): "a hop limit";
    /// A traffic class: DSCP and ECN.
    TrafficClass(u8): "a traffic class";
    /// A size in bytes.
    Bytes(usize): "a number of bytes";
    /// Bytes per second.
    ByteRate(u64): "a rate in bytes per second";
    /// The key of a message.
    MessageKey(u64): "a message's key";
    /// The number of a message.
    MessageNumber(u64): "a message's number";
    /// A number of subscribers.
    Subscribers(usize): "a number of subscribers";
}

fn number_error(
    object: Borrowed<'_, '_, PyAny>,
    what: &str,
    max: impl std::fmt::Display,
    error: &PyErr,
) -> PyErr {
    match error.is_instance_of::<PyOverflowError>(object.py()) {
        true => value_error(format_args!("{what} is a number from 0 to {max}, not {}", &*object)),
        false => PyTypeError::new_err(format!("{what} is a whole number, not {}", object.get_type())),
    }
}
