//! Support for pickling and copying values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::value_error;

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
