//! Conversion of the library's errors to Python exceptions.
//!
//! The exception classes are written in Python (`pymcast/_errors.py`), because they derive from Python's built-in
//! exceptions.

use std::str::FromStr;

use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

const MODULE: &str = "pymcast._errors";

/// The arguments of the Python function `from_library`, which makes an exception.
pub(crate) struct Failure<'a> {
    /// Selects the exception class.
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

/// Converts an error of the library to an exception.
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

/// Parses text.
pub(crate) fn parse<T: FromStr<Err = mcast::ParseError>>(py: Python<'_>, text: &str) -> PyResult<T> {
    text.parse().map_err(|error| parse_error(py, &error))
}

/// Returns the exception for text that cannot be parsed.
fn parse_error(py: Python<'_>, error: &mcast::ParseError) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = CLASS
        .import(py, MODULE, "ParseError")
        .and_then(|class| class.call1((error.to_string(), error.remedy())));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// Returns the exception for using a closed object.
pub(crate) fn closed_error(py: Python<'_>, what: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = CLASS.import(py, MODULE, "closed").and_then(|make| make.call1((what,)));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// Returns the exception for opening an object that is already open.
pub(crate) fn already_open_error(py: Python<'_>, what: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = CLASS.import(py, MODULE, "already_open").and_then(|make| make.call1((what,)));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// Returns the exception for a receive that timed out.
pub(crate) fn timeout_error() -> PyErr {
    PyTimeoutError::new_err("timed out: nothing was received")
}

/// Returns the exception for a message that could not be queued before its timeout.
pub(crate) fn no_room_error() -> PyErr {
    PyTimeoutError::new_err(
        "timed out: the message could not be queued, because a subscriber is slow or the rate limit was reached",
    )
}

/// Returns a ValueError.
pub(crate) fn value_error(message: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(message.to_string())
}

/// Converts the library's results to Python's.
pub(crate) trait OrRaise<T> {
    /// Returns the value, or the error as an exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for mcast::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, &error))
    }
}
