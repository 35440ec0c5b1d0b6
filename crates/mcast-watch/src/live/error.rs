//! Why live traffic cannot be watched.

use std::{error, io};

use mcast_sys::{ClassifiedError, FailureClass};

/// The reason why live traffic cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// No interface to capture on.
    #[error("no interface is up and can multicast")]
    NoInterface,
    /// All ports are in use.
    #[error("cannot find an unused port")]
    Port(#[source] io::Error),
    /// A group cannot be joined, or an interface was not found.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// A capture failed.
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
}

impl ClassifiedError for LiveError {
    fn class(&self) -> Option<FailureClass> {
        // The system's error, if there is one, decides.
        matches!(self, Self::NoInterface).then_some(FailureClass::Environment)
    }

    fn remedy(&self) -> Option<String> {
        None
    }

    fn transparent(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Multicast(error) => Some(error),
            Self::Capture(error) => Some(error),
            Self::NoInterface | Self::Port(_) => None,
        }
    }
}
