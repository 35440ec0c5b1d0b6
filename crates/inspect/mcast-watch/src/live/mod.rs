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

mod active_queriers;
mod error;
mod feed;
mod frames;
mod group_frames;
mod held_memberships;
mod interfaces;
#[cfg(feature = "json")]
mod json;
mod local_members;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
mod payload;
mod querier_interface;
mod querier_listener;
mod recording;
mod report;
mod stream_filter;
mod traffic_monitor;

pub use active_queriers::{ActiveQuerierEvent, ActiveQueriers, QuerierTrouble};
pub use error::LiveError;
pub use feed::sequence_info;
pub use frames::{InterfaceFollower, LiveFrames};
pub use group_frames::{
    FrameLosses, GroupFrameKind, GroupFrames, GroupFramesOptions, NextGroupFrame, SocketFrames, WireFrames,
};
pub use held_memberships::HeldMemberships;
pub use interfaces::selected_interfaces;
#[cfg(feature = "json")]
pub use json::{PacketRecord, PacketSummaryRecord};
pub use local_members::{LocalMember, LocalMembers, LocalMembersWatcher};
pub use monitor::{Monitor, MonitorOptions};
pub use payload::RecognizedPayload;
pub use querier_interface::{CapturedQuery, QuerierInterface};
pub use querier_listener::QuerierListener;
pub use report::{MonitorReport, RecordingStatus};
pub use stream_filter::StreamFilter;
pub use traffic_monitor::TrafficMonitor;
