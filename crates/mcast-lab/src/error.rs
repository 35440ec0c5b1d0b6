//! What can go wrong in a lab.

use std::{error, fmt, io};

/// Why something in a lab could not be done: what was tried, on what, why not, and what would help.
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
    /// This user, in this environment, may not make namespaces.
    Refused {
        /// The step that was refused, and the setting that seems to be behind it.
        why: String,
        /// What to change.
        remedy: String,
    },
    /// A name, an address or a value makes no sense.
    Invalid(String),
    /// No host, switch or interface has this name.
    Missing(String),
    /// The name is taken.
    Taken(String),
    /// This kernel, or this protocol, cannot do it.
    Unsupported(String),
    /// The lab this belonged to was dropped.
    Gone,
    /// It did not happen within the time that it always takes.
    TimedOut(String),
    /// A topology file is wrong.
    Topology {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The kernel refused; [`LabError::cause`] has its error.
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

    /// What was being done, in words.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> &LabErrorKind {
        &self.0.kind
    }

    /// The operating system's error, where there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        self.0.cause.as_ref()
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self.kind() {
            LabErrorKind::Refused { remedy, .. } => Some(remedy),
            LabErrorKind::Gone => Some("keep the Lab alive as long as its hosts are used"),
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
            Self::System => f.write_str("the system refused"),
        }
    }
}

impl error::Error for LabError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

/// Says what was being done when the kernel refused.
pub(crate) trait Doing<T> {
    fn doing<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T, LabError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T, LabError> {
        self.map_err(|cause| LabError::system(operation(), cause))
    }
}
