//! Errors of publishers and subscribers.

use std::error::Error;

use mcast_sys::{ClassifiedError, FailureClass};

use crate::publisher::{ConfigError, Refusal};

/// Why a stream cannot be published or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A socket failed.
    #[error(transparent)]
    Socket(#[from] mcast::Error),
    /// The system refused a step.
    #[error("{step}: {cause}")]
    Io {
        /// The step.
        step: StreamStep,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The settings are invalid.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The message was not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The publisher requires no acknowledgements.
    #[error("the publisher requires no acknowledgements")]
    AcksNotRequired,
    /// A [`Waker`](crate::Waker) ended the wait. Nothing is lost: call again.
    #[error("woken up")]
    Woken,
    /// The log of a publisher cannot be used.
    #[cfg(feature = "log")]
    #[error(transparent)]
    Log(#[from] mcast_log::LogError),
    /// The publisher stores nothing, because it has no log.
    #[error("the publisher has no log")]
    NoLog,
    /// A log needs a stream that the next publisher can name.
    #[error("a log needs a stream that was chosen, not a random one")]
    LogWithoutStream,
    /// A message was published without the log, so that the numbers of the log are no longer those of the stream.
    #[error("a message was published without the log of the stream")]
    LogBypassed,
    /// No group and no host was given to publish to or to subscribe to.
    #[error("no group was given to publish to or to subscribe to")]
    NoDestination,
    /// No stream with this name was announced in time.
    #[error("no stream named {0:?} was announced in time")]
    NoSuchStream(String),
    /// A stream cannot be announced under this name.
    #[error("the name of a stream must have 1 to 255 bytes, not {0}")]
    Name(usize),
    /// A snapshot is larger than the caller accepts, or its publisher is not the one that it claims to be.
    #[error("the snapshot: it is {size} bytes long, more than the limit of {limit}")]
    SnapshotTooLarge {
        /// Its size in bytes, as the server says.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The rate of a history server is too low for as many clients as it serves at a time.
    #[error("a history server must send at least 1,000,000 bytes per second, not {0}")]
    HistoryRate(u64),
    /// A history is delivered in order and without snapshots, which the policy or the start does not allow.
    #[error("a history cannot be combined with the policy `latest`, or with snapshots")]
    HistoryOrder,
    /// Only what the publisher signs must be delivered, and histories and snapshots are not signed.
    #[error(
        "histories and snapshots are not signed, so that they cannot be combined with public keys of the publisher"
    )]
    NotSigned,
    /// A setting has no effect together with the others.
    #[error(transparent)]
    NoEffect(#[from] UnusedSetting),
    /// More than four paths were given: the header has two bits for the path.
    #[error("a stream has at most four paths, not {0}")]
    TooManyPaths(usize),
    /// Too many hosts were given.
    #[error("a stream is sent to at most 64 hosts, not {0}")]
    TooManyHosts(usize),
    /// The paths are of both address families.
    #[error("the paths of a stream must be all IPv4 or all IPv6")]
    MixedFamilies,
    /// The interface has no address that other hosts reach, so snapshots cannot be served there.
    #[error("the interface has no {0} address to serve snapshots at")]
    NoAddress(mcast::Family),
}

/// What a publisher or a subscriber was about to do when the system refused it ([`StreamError::Io`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamStep {
    /// Opening the unicast socket on which a subscriber sends feedback and receives repairs, or a publisher sends them.
    #[error("cannot open the socket for feedback and repairs")]
    OpenUnicast,
    /// Receiving repairs on that socket.
    #[error("cannot receive repairs")]
    ReceiveUnicast,
    /// Waiting for datagrams on the sockets of a subscriber.
    #[error("cannot wait for datagrams")]
    Wait,
    /// Starting a thread.
    #[error("cannot start a thread")]
    StartThread,
    /// Listening for requests of snapshots at this address.
    #[error("cannot serve snapshots at {0}")]
    ServeSnapshots(std::net::SocketAddr),
    /// Fetching a snapshot over TCP.
    #[error("cannot fetch the snapshot")]
    FetchSnapshot,
    /// Listening for requests of the history at this address.
    #[error("cannot serve the history at {0}")]
    ServeHistory(std::net::SocketAddr),
    /// Reading or writing the state file of a publisher.
    #[error("cannot use the state file {}", .0.display())]
    StateFile(std::path::PathBuf),
}

impl StreamStep {
    /// Returns what makes an error of the system one of this step.
    pub(in crate::driver) fn failed(self) -> impl FnOnce(std::io::Error) -> StreamError {
        move |cause| StreamError::Io { step: self, cause }
    }

    /// Returns what to do, where that is known.
    fn remedy(&self, cause: &std::io::Error) -> Option<&'static str> {
        match self {
            Self::ServeSnapshots(_) | Self::ServeHistory(_) => cannot_listen(cause),
            _ => None,
        }
    }
}

/// A setting that has no effect together with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusedSetting {
    /// Repairing for others, of a subscriber that requests no repairs.
    #[error("a subscriber that requests no repairs does not repair for others")]
    RepairForOthers,
    /// Repairing for others, with too little memory for a datagram of any length.
    #[error("a subscriber that repairs for others must retain at least 65,536 bytes, not {0}")]
    RepairForOthersBytes(usize),
    /// The address of a history server, or another setting of the history, without a history.
    #[error("a history server or another setting of the history is given, but no history is used")]
    History,
    /// The state file of a publisher whose stream the next one cannot name.
    #[error("a state file needs a stream that was chosen, not a random one")]
    StateFile,
    /// The eviction time, or the rate below which subscribers are evicted, of a publisher that waits for none.
    #[error("a publisher that waits for no subscriber evicts none")]
    Eviction,
    /// The time for which a block waits to be full, without forward error correction.
    #[error("there are no blocks that could wait, because forward error correction is off")]
    FecDelay,
}

impl UnusedSetting {
    /// Returns what to do instead.
    const fn remedy(self) -> &'static str {
        match self {
            Self::RepairForOthers => "choose a policy other than best-effort, or do not repair for others",
            Self::RepairForOthersBytes(_) => "retain more, or do not repair for others",
            Self::History => "start in the past or heal losses, or remove the setting",
            Self::StateFile => "choose the stream, or remove the state file",
            Self::Eviction => "wait for the slowest subscriber, or remove the setting",
            Self::FecDelay => "choose a forward error correction, or remove the setting",
        }
    }
}

/// Returns what to do if a server cannot listen at an address.
fn cannot_listen(cause: &std::io::Error) -> Option<&'static str> {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => Some("another program uses the port: name a free one, or 0 for any"),
        std::io::ErrorKind::AddrNotAvailable => {
            Some("use one of this machine's addresses: `mcast interfaces` lists them")
        }
        _ => None,
    }
}

impl ClassifiedError for StreamError {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Settings(_)
            | Self::Refused(Refusal::TooLong { .. })
            | Self::TooManyPaths(_)
            | Self::TooManyHosts(_)
            | Self::Name(_)
            | Self::HistoryOrder
            | Self::HistoryRate(_)
            | Self::NotSigned
            | Self::NoEffect(_)
            | Self::AcksNotRequired
            | Self::NoLog
            | Self::LogWithoutStream
            | Self::LogBypassed
            | Self::MixedFamilies => Some(FailureClass::Usage),
            Self::NoSuchStream(_) => Some(FailureClass::No),
            Self::NoAddress(_) => Some(FailureClass::Environment),
            #[cfg(feature = "log")]
            Self::Log(error) => error.class(),
            _ => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NoAddress(_) => Some("give it one that is not link-local".into()),
            Self::NoEffect(setting) => Some(setting.remedy().into()),
            Self::Io { step, cause } => step.remedy(cause).map(Into::into),
            #[cfg(feature = "log")]
            Self::Log(error) => error.remedy(),
            _ => None,
        }
    }

    fn transparent(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Socket(error) => Some(error),
            #[cfg(feature = "log")]
            Self::Log(error) => Some(error),
            _ => None,
        }
    }
}
