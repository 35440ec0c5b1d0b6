//! Numeric arguments, with errors for numbers that are out of range, and support for pickling and copying values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::error::value_error;

/// Names of arguments in other packages for multicast, and what they are here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("iface", "interface"),
    ("iface_ip", "interface"),
    ("iface_ips", "interface"),
    ("ifaces", "interface"),
    // Only senders have one.
    ("ttl", "hop_limit"),
];

/// Refuses keyword arguments that a constructor does not have.
pub(crate) fn refuse_keywords(class: &str, unknown: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    let Some((name, _)) = unknown.and_then(|unknown| unknown.iter().next()) else { return Ok(()) };
    let name: String = name.extract()?;
    let here =
        ELSEWHERE.iter().find(|(other, here)| *other == name && (*here == "interface" || class == "Sender"));
    let hint =
        here.map(|(_, here)| format!("; write {here}=, or use pymcast.multicast_expert")).unwrap_or_default();
    Err(PyTypeError::new_err(format!("{class}() got an unexpected keyword argument '{name}'{hint}")))
}

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

/// The result of `__reduce__`: a function, and the arguments with which it restores the value.
pub(crate) type Pickled<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>);

/// Pickles a value as a call of a function in the native module.
pub(crate) fn pickled<'py>(
    py: Python<'py>,
    function: &str,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<Pickled<'py>> {
    let make = py.import("pymcast._pymcast")?.getattr(function)?;
    Ok((make, arguments.into_pyobject(py)?))
}

/// Returns the exception for data that is not a pickled value of this package.
pub(crate) fn unpickle_error(what: &str) -> PyErr {
    value_error(format_args!("this is not a pickled pymcast.{what}"))
}

/// Converts nanoseconds since 1970 to a time.
pub(crate) fn time_of(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

/// Converts a time to nanoseconds since 1970.
pub(crate) fn nanoseconds_of(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    u64::try_from(since).unwrap_or(u64::MAX)
}
