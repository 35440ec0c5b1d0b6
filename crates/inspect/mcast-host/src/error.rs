//! Why the facts of a machine, or the sockets of a program, could not be read.

use std::error;
use std::io;
use std::net::SocketAddr;

use mcast_sys::{ClassifiedError, FailureClass};

/// The reason why the facts of a machine, or the sockets of a program, could not be read. What could not be read of a
/// snapshot is not an error: it is listed in [`HostSnapshot::parts`](crate::snapshot::HostSnapshot::parts).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library could not list interfaces.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
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
    /// The program is here, and its sockets belong to another network namespace.
    #[error("{program} has no UDP socket here: its socket {} belongs to another network namespace{}", socket, name.as_ref().map(|name| format!(", {name}")).unwrap_or_default())]
    SocketElsewhere {
        /// The program, as `name (pid)`.
        program: String,
        /// The address to which the socket is bound.
        socket: SocketAddr,
        /// The name under which `ip netns` lists the namespace, if it does.
        name: Option<String>,
    },
    /// This platform does not report it.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// The result of reading facts.
pub type Result<T> = std::result::Result<T, Error>;

impl ClassifiedError for Error {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::System { .. } => None,
            Self::Hidden(_) => Some(FailureClass::Permission),
            _ => Some(FailureClass::Environment),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Multicast(error) => error.remedy(),
            Self::Hidden(_) => Some("run as the same user, or as root".into()),
            _ => None,
        }
    }

    fn transparent(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Multicast(error) => Some(error),
            _ => None,
        }
    }
}
