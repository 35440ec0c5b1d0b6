//! The class and the remedy of an error, for programs that report errors of several crates.

use std::error::Error;
use std::io;

use mcast_group::ParseError;

use super::ErrorKind;

/// The party that can act on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The operation ran, and the answer is no.
    No,
    /// The request is wrong.
    Usage,
    /// A permission is missing.
    Permission,
    /// Something in the environment is missing: an interface, a kernel feature, a file.
    Environment,
    /// The reader of the output has gone, which is not a failure.
    BrokenPipe,
}

/// An error that knows its class and its remedy. Every crate implements it for its errors, so that a program that
/// reports them needs no table of kinds.
pub trait ClassifiedError: Error {
    /// Returns the class of the failure; `None` if the cause ([`Error::source`]) determines it.
    fn class(&self) -> Option<FailureClass>;

    /// Returns what to do about the error in one sentence, if something general helps.
    fn remedy(&self) -> Option<String> {
        None
    }

    /// Returns the error that this one only passes on, and that [`Error::source`] skips for this reason.
    fn transparent(&self) -> Option<&(dyn Error + 'static)> {
        None
    }
}

impl ErrorKind {
    /// Returns the class of failures of this kind.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::SourceNeeded | Self::Mismatch | Self::TooLarge => FailureClass::Usage,
            Self::Permission => FailureClass::Permission,
            _ => FailureClass::Environment,
        }
    }
}

impl ClassifiedError for io::Error {
    fn class(&self) -> Option<FailureClass> {
        Some(match self.kind() {
            io::ErrorKind::BrokenPipe => FailureClass::BrokenPipe,
            io::ErrorKind::PermissionDenied => FailureClass::Permission,
            _ => FailureClass::Environment,
        })
    }

    fn remedy(&self) -> Option<String> {
        crate::process::is_out_of_descriptors(self).then(|| {
            "raise the limit on open files: `ulimit -n 65536` in the shell, or `LimitNOFILE=65536` in the service's unit".into()
        })
    }
}

impl ClassifiedError for ParseError {
    fn class(&self) -> Option<FailureClass> {
        Some(FailureClass::Usage)
    }
}
