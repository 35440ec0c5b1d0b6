//! Errors of a lab.

use std::io;

use mcast_sys::{ClassifiedError, FailureClass};

/// An error of a lab: the operation that failed, its subject, the reason and, where known, a remedy.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LabError(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{operation}: {}", reason(.kind, .cause.as_ref()))]
struct Inner {
    operation: String,
    kind: LabErrorKind,
    #[source]
    cause: Option<io::Error>,
}

fn reason(kind: &LabErrorKind, cause: Option<&io::Error>) -> String {
    match (kind, cause) {
        (LabErrorKind::System, Some(cause)) => cause.to_string(),
        (kind, Some(cause)) => format!("{kind} ({cause})"),
        (kind, None) => kind.to_string(),
    }
}

/// The kinds of [`LabError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabErrorKind {
    /// This user, in this environment, may not create namespaces.
    #[error("{why}; {remedy}")]
    Refused {
        /// The step that was refused, and the setting that seems to cause it.
        why: String,
        /// The remedy: what to change.
        remedy: String,
    },
    /// A name, an address or a value is not valid.
    #[error("{0}")]
    Invalid(String),
    /// No host, switch or interface has this name.
    #[error("{0}")]
    Missing(String),
    /// The name is in use already.
    #[error("{0}")]
    Taken(String),
    /// This kernel, or this protocol, does not support the operation.
    #[error("{0}")]
    Unsupported(String),
    /// The lab was dropped.
    #[error("the lab has been dropped")]
    Gone,
    /// It did not happen within its time limit.
    #[error("{0}")]
    TimedOut(String),
    /// A topology file is not valid.
    #[error("line {line}: {problem}")]
    Topology {
        /// The line number, starting at 1.
        line: usize,
        /// The problem in that line.
        problem: String,
    },
    /// A system call failed; [`LabError::cause`] returns its error.
    #[error("a system call failed")]
    System,
}

impl LabError {
    pub(crate) fn new(operation: impl Into<String>, kind: LabErrorKind) -> Self {
        Self(Box::new(Inner { operation: operation.into(), kind, cause: None }))
    }

    pub(crate) fn system(operation: impl Into<String>, cause: io::Error) -> Self {
        Self(Box::new(Inner { operation: operation.into(), kind: LabErrorKind::System, cause: Some(cause) }))
    }

    pub(crate) fn with_cause(mut self, cause: io::Error) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// Returns a description of the operation that failed.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> &LabErrorKind {
        &self.0.kind
    }

    /// Returns the error of the operating system, if there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        self.0.cause.as_ref()
    }

    /// Returns the remedy, if one is known.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self.kind() {
            LabErrorKind::Refused { remedy, .. } => Some(remedy),
            LabErrorKind::Gone => Some("keep the Lab as long as its hosts are used"),
            _ => None,
        }
    }
}

impl ClassifiedError for LabError {
    fn class(&self) -> Option<FailureClass> {
        Some(match self.kind() {
            LabErrorKind::Refused { .. } => FailureClass::Permission,
            LabErrorKind::Topology { .. } | LabErrorKind::Invalid(_) => FailureClass::Usage,
            _ => FailureClass::Environment,
        })
    }

    fn remedy(&self) -> Option<String> {
        self.remedy().map(Into::into)
    }
}

/// Adds a description of the operation to an I/O error.
pub(crate) trait ErrorContext<T> {
    fn context<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T, LabError>;
}

impl<T> ErrorContext<T> for io::Result<T> {
    fn context<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T, LabError> {
        self.map_err(|cause| LabError::system(operation(), cause))
    }
}
