//! The table on live traffic: captures that follow interfaces, and a monitor that fills a [`Watch`](crate::Watch) on
//! a thread of its own; and the frames of joined groups. Needs the feature `live`.
//!
//! ```no_run
//! use std::time::{Duration, SystemTime};
//!
//! use mcast_watch::live::{LiveFrames, Monitor, MonitorOptions};
//!
//! let frames = LiveFrames::capture(&["eth0".parse()?])?;
//! let monitor = Monitor::start(frames, MonitorOptions::default())?;
//! loop {
//!     std::thread::sleep(Duration::from_secs(1));
//!     for row in monitor.report(SystemTime::now()).watch.streams {
//!         println!("{} from {}: {:?}", row.key.group, row.key.source, row.now);
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod describe;
mod discovery;
mod frames;
mod group_frames;
mod memberships;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
#[cfg(feature = "json")]
mod packet_json;
mod payload;
mod querier_listener;
mod recording;
#[cfg(feature = "json")]
mod table_json;
#[cfg(feature = "json")]
mod unexamined_json;

use std::{error, io};

use mcast_sys::{ClassifiedError, FailureClass};

pub use describe::{DescribeError, add_descriptions, describe};
#[cfg(feature = "schema")]
pub use discovery::discovery_schemas;
#[cfg(feature = "json")]
pub use discovery::{DiscoveredFieldRecord, DiscoveredRecord, DiscoveryEventRecord, DiscoverySummaryRecord};
pub use discovery::{Discovery, DiscoveryCoverage, DiscoveryOptions, DiscoverySources};
pub use frames::{InterfaceFollower, LiveFrames};
pub use group_frames::{
    FrameLosses, GroupFrameKind, GroupFrames, GroupFramesOptions, NextGroupFrame, SocketFrames, WireFrames,
};
pub use memberships::{HeldMemberships, LocalMember, LocalMembers, LocalMembersWatcher, TrafficMonitor};
use monitor::is_transient;
pub use monitor::{Monitor, MonitorOptions, MonitorReport, RecordingStatus, sequence_info};
#[cfg(feature = "json")]
pub use packet_json::{PacketRecord, PacketSummaryRecord};
pub use payload::RecognizedPayload;
pub use querier_listener::{
    ActiveQuerierEvent, ActiveQueriers, CapturedQuery, QuerierInterface, QuerierListener, QuerierTrouble,
    selected_interfaces,
};
pub use recording::StreamFilter;

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
    /// A file could not be read, or not to its end.
    #[error(transparent)]
    Source(mcast_capture::SourceError),
    /// The system cannot start a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
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
            Self::Source(error) => Some(error),
            _ => None,
        }
    }
}
