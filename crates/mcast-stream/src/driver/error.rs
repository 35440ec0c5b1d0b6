//! What can fail.

use crate::sender::{ConfigError, Refusal};

/// Why a stream cannot be published or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A socket failed.
    #[error(transparent)]
    Socket(#[from] mcast::Error),
    /// The socket for what goes between one receiver and the sender failed.
    #[error("the socket for repairs: {0}")]
    Control(#[source] std::io::Error),
    /// The settings cannot be.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The message cannot be taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The state file of a publisher cannot be used.
    #[error("the state file {path}: {cause}")]
    State {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A publisher needs somewhere to send to.
    #[error("no group is named to publish to, or to hear")]
    NoDestination,
    /// No stream of the name was announced.
    #[error("no stream named {0:?} was announced in time")]
    NoSuchStream(String),
    /// A stream cannot be announced by this name.
    #[error("a stream is announced by a name of 1 to 255 bytes, not of {0}")]
    Name(usize),
    /// A snapshot could not be served or fetched.
    #[error("the snapshot: {0}")]
    Snapshot(#[source] std::io::Error),
    /// A snapshot is larger than the caller accepts, or its publisher is not the one that it claims to be.
    #[error("the snapshot: it is {size} bytes long, more than the limit of {limit}")]
    SnapshotTooLarge {
        /// Its size in bytes, as the server says.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Paths are told apart by two bits.
    #[error("a stream has at most four paths, not {0}")]
    TooManyPaths(usize),
    /// What goes between one receiver and the sender has one family.
    #[error("the paths of a stream are all IPv4 or all IPv6, not some of each")]
    MixedFamilies,
    /// A thread could not be started.
    #[error("starting a thread: {0}")]
    Thread(#[source] std::io::Error),
}
