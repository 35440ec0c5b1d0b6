//! Values that can be pickled and copied: what makes them again, and of what.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::refused;

/// What `__reduce__` returns.
pub(crate) type Pickled<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>);

/// A value that this function of the native module makes again of these arguments.
pub(crate) fn pickled<'py>(
    py: Python<'py>,
    function: &str,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<Pickled<'py>> {
    let make = py.import("pymcast._pymcast")?.getattr(function)?;
    Ok((make, arguments.into_pyobject(py)?))
}

/// The exception for what no version of this package pickled.
pub(crate) fn unpickled(what: &str) -> PyErr {
    refused(format_args!("this is not a pickled pymcast.{what}"))
}

/// A time, as nanoseconds since 1970.
pub(crate) fn time_of(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

/// The same the other way.
pub(crate) fn nanoseconds_of(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    u64::try_from(since).unwrap_or(u64::MAX)
}
