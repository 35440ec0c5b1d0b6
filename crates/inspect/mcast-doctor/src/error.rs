//! The errors of an examination or a measurement.

use std::error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use mcast_host::Error as HostError;
use mcast_sys::{ClassifiedError, FailureClass, SocketChange};

/// The reason why an examination or a measurement failed. What could not be observed is not an error: it is listed in
/// [`Report::open_questions`](crate::Report::open_questions).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library could not list interfaces, join or receive.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// A live capture failed.
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
    /// What announces itself could not be listened to.
    #[error(transparent)]
    Discovery(#[from] mcast_watch::live::LiveError),
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
    /// A socket of a measurement could not be opened.
    #[error("cannot open {what}: {source}")]
    Open {
        /// The socket.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A program could not be started: the one to examine, or that of a remedy; or a thread.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program or thread.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// The program ended before it could be examined.
    #[error("{program} ended ({status}) before it could be examined")]
    Ended {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
    },
    /// The program was started, and neither it nor the processes that it started opened a UDP socket.
    #[error("{0} and the processes that it started have not opened a UDP socket")]
    NoSocket(String),
    /// A program of a remedy failed.
    #[error("the remedy failed: {program} ended with {status}, in: {command}")]
    RemedyFailed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The whole remedy as a command.
        command: String,
        /// Whether the remedy needs root.
        needs_root: bool,
    },
    /// The state before a remedy is unknown, so that it could not be undone completely.
    #[error("the state before the remedy is unknown, so the remedy was not undone completely")]
    NotUndone,
    /// What a remedy changed cannot be read, so that it is not known whether it is still there.
    #[error("cannot read the current state of {what}")]
    Unreadable {
        /// What was changed.
        what: String,
    },
    /// The network namespace that a remedy changed is not reachable: no process is in it.
    #[error("no process is in the network namespace that was changed")]
    NetworkGone,
    /// A socket of another program could not be changed.
    #[error("cannot change socket {socket} of {program} ({change}): {source}")]
    Socket {
        /// The program, as `name (pid)`.
        program: String,
        /// The inode of the socket.
        socket: u64,
        /// The change.
        change: SocketChange,
        /// The system's error.
        source: io::Error,
        /// What would allow it.
        remedy: Option<String>,
    },
    /// A file of a remedy could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The program to examine does not exist, has no UDP socket, or has its sockets where they cannot be examined.
    #[error(transparent)]
    Host(HostError),
}

impl Error {
    /// Returns what the user can do about the error, if there is something.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Multicast(error) => error.remedy(),
            Self::Capture(error) => error.remedy().map(str::to_owned),
            Self::Discovery(error) => error.remedy(),
            Self::Host(error) => of_host(error),
            Self::Socket { remedy, .. } => remedy.clone(),
            Self::Ended { .. } => Some("its output may show why".into()),
            Self::NoSocket(_) => Some("if another process does the work, name it with --pid or --port".into()),
            Self::RemedyFailed { program, needs_root, .. } => {
                let hint = if *needs_root { "; it needs root" } else { "" };
                Some(format!("{program} prints why above{hint}"))
            }
            Self::Unreadable { .. } => {
                Some("run as root, with the program that made the change installed".into())
            }
            Self::NetworkGone => Some(
                "run `mcast doctor --undo` in it: `ip netns exec NAME mcast doctor --undo`; if it is gone, nothing is left to undo".into(),
            ),
            Self::File(_)
            | Self::System { .. }
            | Self::Open { .. }
            | Self::Start { .. }
            | Self::Write { .. }
            | Self::NotUndone => None,
        }
    }
}

/// Returns what the user can do about sockets that were not found.
fn of_host(error: &HostError) -> Option<String> {
    match error {
        HostError::NoProgram(_) => Some(
            "name the process that has the socket, once it is open: `mcast groups` lists the programs and their groups".into(),
        ),
        HostError::OtherNamespace { pid, .. } => {
            Some(format!("nsenter --net=/proc/{pid}/ns/net mcast doctor --pid {pid}"))
        }
        HostError::SocketElsewhere { socket, name, .. } => {
            let name = name.as_deref().unwrap_or("NAME");
            let port = socket.port();
            let unknown = match name {
                "NAME" => "; `lsns --type net` and `ip netns` list the namespaces",
                _ => "",
            };
            Some(format!("ip netns exec {name} mcast doctor --port {port}{unknown}"))
        }
        other => ClassifiedError::remedy(other),
    }
}

/// What fails in both crates is one error for those who match it.
impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Multicast(error) => Self::Multicast(error),
            HostError::System { what, source } => Self::System { what, source },
            error => Self::Host(error),
        }
    }
}

impl ClassifiedError for Error {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::System { .. } | Self::Open { .. } | Self::Start { .. } | Self::Write { .. } => None,
            Self::Host(error) => error.class(),
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(FailureClass::Permission)
            }
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
            Self::Discovery(error) => Some(error),
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
        let remedy = |error: HostError| Error::from(error).remedy().unwrap();
        assert!(remedy(HostError::NoProgram("x".into())).starts_with("name the process that has the socket"));
        assert_eq!(remedy(HostError::Hidden("x (7)".into())), "run as the same user, or as root");
        let elsewhere = HostError::OtherNamespace { name: "x (7)".into(), pid: 7 };
        assert_eq!(remedy(elsewhere), "nsenter --net=/proc/7/ns/net mcast doctor --pid 7");
        let socket = |name: Option<&str>| HostError::SocketElsewhere {
            program: "x (7)".into(),
            socket: ([0; 4], 5000).into(),
            name: name.map(str::to_owned),
        };
        assert_eq!(remedy(socket(Some("blue"))), "ip netns exec blue mcast doctor --port 5000");
        assert!(remedy(socket(None)).starts_with("ip netns exec NAME mcast doctor --port 5000; "));
    }
}
