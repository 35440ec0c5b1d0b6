//! The errors of an examination.

use std::error;
use std::io;

use mcast_sys::{ClassifiedError, FailureClass};

/// The reason why an examination failed. What could not be observed is not an error: it is listed in
/// [`Report::unknown`](crate::Report::unknown).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library could not list interfaces, join or receive.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// A live capture failed.
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
    /// A capture file could not be read.
    #[error(transparent)]
    File(#[from] mcast_capture::FileError),
    /// A system table could not be read.
    #[error("cannot read {what}: {source}")]
    System {
        /// The table.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The program does not exist, or has no UDP socket.
    #[error("{0}")]
    NoProgram(String),
    /// The program belongs to another user, and the system hides its sockets.
    #[error("no permission to examine {0}")]
    Hidden(String),
    /// The program is in another network namespace.
    #[error("{name} is in another network namespace")]
    OtherNamespace {
        /// The program, as `name (pid)`.
        name: String,
        /// Its process id.
        pid: u32,
    },
    /// This platform does not support this examination.
    #[error("{0}")]
    Unsupported(&'static str),
}

impl Error {
    /// Returns what the user can do about the error, if there is something.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Multicast(error) => error.remedy(),
            Self::Capture(error) => error.remedy().map(str::to_owned),
            Self::NoProgram(_) => Some(
                "start it first, or give its process id or port; `mcast groups` lists the programs and their groups".into(),
            ),
            Self::Hidden(_) => Some("run as the same user, or as root".into()),
            Self::OtherNamespace { pid, .. } => {
                Some(format!("nsenter --net=/proc/{pid}/ns/net mcast doctor --pid {pid}"))
            }
            Self::File(_) | Self::System { .. } | Self::Unsupported(_) => None,
        }
    }
}

impl ClassifiedError for Error {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::System { .. } => None,
            Self::Hidden(_) => Some(FailureClass::Permission),
            _ => Some(FailureClass::Environment),
        }
    }

    fn remedy(&self) -> Option<String> {
        self.remedy()
    }

    fn transparent(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Multicast(error) => Some(error),
            Self::Capture(error) => Some(error),
            Self::File(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedy_depends_on_why_the_program_cannot_be_examined() {
        let remedy = |error: Error| error.remedy().unwrap();
        assert!(remedy(Error::NoProgram("x".into())).starts_with("start it first"));
        assert_eq!(remedy(Error::Hidden("x (7)".into())), "run as the same user, or as root");
        let elsewhere = Error::OtherNamespace { name: "x (7)".into(), pid: 7 };
        assert_eq!(remedy(elsewhere), "nsenter --net=/proc/7/ns/net mcast doctor --pid 7");
    }
}
