//! Why an examination could not be made.

use std::io;

/// Why an examination could not be made at all. What merely could not be looked at is told in
/// [`Report::unknown`](crate::Report::unknown).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library could not list interfaces, join or receive.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// A capture failed while it ran.
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
    /// A capture file could not be read.
    #[error(transparent)]
    File(#[from] mcast_capture::FileError),
    /// A table of the system could not be read.
    #[error("cannot read {what}: {source}")]
    System {
        /// Which.
        what: String,
        /// The system's word.
        source: io::Error,
    },
    /// There is no such program, or it has no UDP socket.
    #[error("{0}")]
    NoProgram(String),
    /// The program is another user's, and the system does not show its sockets.
    #[error("{0} may not be looked into")]
    Hidden(String),
    /// The program is in another network namespace.
    #[error("{name} is in another network namespace")]
    OtherNamespace {
        /// The program, as `name (pid)`.
        name: String,
        /// Its id.
        pid: u32,
    },
    /// This system cannot be examined so.
    #[error("{0}")]
    Unsupported(&'static str),
}

impl Error {
    /// What helps, where something does.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Multicast(error) => error.remedy(),
            Self::Capture(error) => error.remedy().map(str::to_owned),
            Self::NoProgram(_) => Some(
                "start it first, or name its id or port: `mcast groups` lists who has joined what".into(),
            ),
            Self::Hidden(_) => Some("run as its user, or as root".into()),
            Self::OtherNamespace { pid, .. } => {
                Some(format!("nsenter --net=/proc/{pid}/ns/net mcast doctor --pid {pid}"))
            }
            Self::File(_) | Self::System { .. } | Self::Unsupported(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_depends_on_why_the_program_is_not_seen() {
        let remedy = |error: Error| error.remedy().unwrap();
        assert!(remedy(Error::NoProgram("x".into())).starts_with("start it first"));
        assert_eq!(remedy(Error::Hidden("x (7)".into())), "run as its user, or as root");
        let elsewhere = Error::OtherNamespace { name: "x (7)".into(), pid: 7 };
        assert_eq!(remedy(elsewhere), "nsenter --net=/proc/7/ns/net mcast doctor --pid 7");
    }
}
