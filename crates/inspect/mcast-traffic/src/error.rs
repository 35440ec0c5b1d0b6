//! Why traffic cannot be sent.

use std::net::SocketAddr;
use std::{error, io};

use mcast::Family;
use mcast_sys::{ClassifiedError, FailureClass};

/// The reason why traffic cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrafficError {
    /// All interfaces were selected, and none can send.
    #[error("no interface is up, can multicast and has an {0} address")]
    NoInterface(Family),
    /// The interface of a target was not found.
    #[error("cannot send to {to}")]
    Target {
        /// The target.
        to: SocketAddr,
        /// Why the interface was not found.
        source: mcast::Error,
    },
    /// An unspecified address is not that of a host.
    #[error("{0} is not the address of a host")]
    NoHost(SocketAddr),
    /// The queue discipline of an interface cannot be read.
    #[error("cannot read the queue discipline of {interface}")]
    ReadDiscipline {
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// The queue discipline of an interface does not support launch times, or needs another clock than others.
    #[error("{interface} has the queue discipline {disciplines}, which ignores launch times")]
    Discipline {
        /// The interface.
        interface: String,
        /// Its queue disciplines, separated by commas, or `none`.
        disciplines: String,
    },
    /// The system cannot start a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// An interface was not found, or the system cannot send.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// Transmit times cannot be captured.
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
    /// The capture file cannot be opened again.
    #[error(transparent)]
    File(#[from] mcast_capture::FileError),
}

impl ClassifiedError for TrafficError {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::NoInterface(_) | Self::Discipline { .. } => Some(FailureClass::Environment),
            Self::NoHost(_) => Some(FailureClass::Usage),
            _ => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NoInterface(_) => Some("`mcast interfaces` shows what each of them lacks".into()),
            Self::NoHost(_) => {
                Some("name the host that receives; only a receiver listens at any of its addresses".into())
            }
            Self::Discipline { interface, .. } => {
                Some(format!("sudo tc qdisc replace dev {interface} root fq"))
            }
            _ => None,
        }
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
