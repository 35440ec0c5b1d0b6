//! Why live traffic cannot be watched.

use std::{error, io};

use mcast_sys::{ClassifiedError, FailureClass};

/// The reason why live traffic cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// No interface to capture on.
    #[error("no interface is up and can multicast, except loopback")]
    NoInterface,
    /// No interface is the default for multicast.
    #[error("there is no route for multicast, so no default interface")]
    NoDefaultInterface,
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
        matches!(self, Self::NoInterface | Self::NoDefaultInterface).then_some(FailureClass::Environment)
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NoInterface => Some("name one: `-i lo`; `mcast interfaces` lists them".into()),
            Self::NoDefaultInterface => Some("name an interface: `mcast interfaces` lists them".into()),
            _ => None,
        }
    }

    fn transparent(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Multicast(error) => Some(error),
            Self::Capture(error) => Some(error),
            _ => None,
        }
    }
}
