//! Failures as Python's exceptions, which carry what to do.
//!
//! The classes are written in Python (`pymcast/_errors.py`), where they can derive from Python's
//! own and be read by people.

use std::str::FromStr;

use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

const MODULE: &str = "pymcast._errors";

/// What failed, as `from_library` in Python is told.
pub(crate) struct Failure<'a> {
    /// Which exception it is.
    pub(crate) kind: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) reason: String,
    pub(crate) remedy: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) interface: Option<&'a str>,
    pub(crate) errno: Option<i32>,
}

impl Failure<'_> {
    pub(crate) fn raise(self, py: Python<'_>) -> PyErr {
        static MAKER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let Self { kind, operation, reason, remedy, group, interface, errno } = self;
        let made = MAKER
            .import(py, MODULE, "from_library")
            .and_then(|make| make.call1((kind, operation, reason, remedy, group, interface, errno)));
        made.map_or_else(|failure| failure, PyErr::from_value)
    }
}

/// The exception for a failure of the library's.
pub(crate) fn raise(py: Python<'_>, error: &mcast::Error) -> PyErr {
    let failure = Failure {
        kind: &format!("{:?}", error.kind()),
        operation: &format!("{:?}", error.operation()).to_lowercase(),
        reason: error.to_string(),
        remedy: error.remedy(),
        group: error.group().map(|group| group.to_string()),
        interface: error.interface(),
        errno: error.os_error().and_then(std::io::Error::raw_os_error),
    };
    failure.raise(py)
}

/// What a text means.
pub(crate) fn parse<T: FromStr<Err = mcast::ParseError>>(py: Python<'_>, text: &str) -> PyResult<T> {
    text.parse().map_err(|error| misunderstood(py, &error))
}

/// The exception for text that cannot be understood.
fn misunderstood(py: Python<'_>, error: &mcast::ParseError) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = CLASS
        .import(py, MODULE, "ParseError")
        .and_then(|class| class.call1((error.to_string(), error.remedy())));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// The exception for the use of what is closed.
pub(crate) fn closed(py: Python<'_>, what: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = CLASS.import(py, MODULE, "closed").and_then(|make| make.call1((what,)));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// The exception for the opening of what is open.
pub(crate) fn already_open(py: Python<'_>, what: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = CLASS.import(py, MODULE, "already_open").and_then(|make| make.call1((what,)));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// The time is over.
pub(crate) fn timed_out() -> PyErr {
    PyTimeoutError::new_err("nothing came in time")
}

/// The time is over in which there was to be room for a message.
pub(crate) fn no_room() -> PyErr {
    PyTimeoutError::new_err(
        "there was no room for the message in time: a subscriber is slow, or the publisher keeps to its rate",
    )
}

/// A value that makes no sense.
pub(crate) fn refused(message: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(message.to_string())
}

/// The library's results as Python's.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception that says what failed.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for mcast::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, &error))
    }
}
