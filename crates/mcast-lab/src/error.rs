//! Errors of a lab.

use std::{error, fmt, io};

use mcast_sys::{ClassifiedError, FailureClass};

/// An error of a lab: the operation that failed, its subject, the reason and, where known, a remedy.
#[derive(Debug)]
pub struct LabError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    operation: String,
    kind: LabErrorKind,
    cause: Option<io::Error>,
}

/// The kinds of [`LabError`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabErrorKind {
    /// This user, in this environment, may not create namespaces.
    Refused {
        /// The step that was refused, and the setting that seems to cause it.
        why: String,
        /// The remedy: what to change.
        remedy: String,
    },
    /// A name, an address or a value is not valid.
    Invalid(String),
    /// No host, switch or interface has this name.
    Missing(String),
    /// The name is in use already.
    Taken(String),
    /// This kernel, or this protocol, does not support the operation.
    Unsupported(String),
    /// The lab was dropped.
    Gone,
    /// It did not happen within its time limit.
    TimedOut(String),
    /// A topology file is not valid.
    Topology {
        /// The line number, starting at 1.
        line: usize,
        /// The problem in that line.
        problem: String,
    },
    /// A system call failed; [`LabError::cause`] returns its error.
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

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { operation, kind, cause } = &*self.0;
        write!(f, "{operation}: ")?;
        match (kind, cause) {
            (LabErrorKind::System, Some(cause)) => return write!(f, "{cause}"),
            _ => write!(f, "{kind}")?,
        }
        cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

impl fmt::Display for LabErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why, remedy } => write!(f, "{why}; {remedy}"),
            Self::Invalid(what) | Self::Missing(what) | Self::Taken(what) | Self::Unsupported(what) => {
                f.write_str(what)
            }
            Self::Gone => f.write_str("the lab has been dropped"),
            Self::TimedOut(what) => f.write_str(what),
            Self::Topology { line, problem } => write!(f, "line {line}: {problem}"),
            Self::System => f.write_str("a system call failed"),
        }
    }
}

impl error::Error for LabError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
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
