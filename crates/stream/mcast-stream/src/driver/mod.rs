//! The state machines on real sockets: a [`Publisher`] and a [`Subscriber`].

#[cfg(not(any(feature = "acknowledgements", feature = "history")))]
#[path = "off/account.rs"]
mod account;
mod clock;
mod discovery;
mod discovery_group;
mod error;
mod health;
#[cfg(feature = "history")]
mod heartbeats;
#[cfg(feature = "history")]
mod history;
#[cfg(not(feature = "history"))]
#[path = "off/history.rs"]
mod history;
#[cfg(feature = "log")]
mod logged;
mod publish;
mod publisher;
#[cfg(feature = "history")]
mod side_channel;
#[cfg(feature = "history")]
mod snapshot;
mod spinning;
mod subscriber;
#[cfg(feature = "tokio")]
pub mod tokio;
mod transmit;
mod unicast;
mod until;

use mcast::{InterfaceIndex, InterfaceSelector, Membership};

pub use clock::replace as replace_file;
#[cfg(feature = "seal")]
pub use discovery::find_signed_stream;
pub use discovery::{AnnouncedStream, Announcements, discover, find_stream};
pub use discovery_group::{DISCOVERY_V4, DISCOVERY_V6};
pub use error::{StreamError, StreamStep, UnusedSetting};
pub use health::{HostStatus, PathChange};
#[cfg(feature = "history")]
pub use heartbeats::{HeardHeartbeat, HeartbeatListener};
#[cfg(feature = "history")]
pub use history::{
    HistoryListener, HistoryProvider, HistoryServer, HistoryServerStatistics, HistorySource,
    HistoryUnavailable,
};
#[cfg(feature = "log")]
pub use logged::{LogHold, LogStart, LoggedPublisher, LoggedPublisherBuilder};
pub use publish::Publish;
pub use publisher::{Closing, Publisher, PublisherBuilder, PublisherProgress};
#[cfg(feature = "history")]
pub use side_channel::RefusedRequest;
#[cfg(feature = "history")]
pub use snapshot::{
    MAX_SNAPSHOT, Snapshot, SnapshotFetcher, SnapshotServer, fetch_snapshot, fetch_snapshot_while,
};
pub use subscriber::{StallCause, Subscriber, SubscriberBuilder};
pub use until::Until;

/// Returns the incarnation by the time of day, which publishers have unless their caller sets another one: quarters of a
/// second since 2024.
#[must_use]
pub fn present_incarnation() -> crate::wire::Incarnation {
    crate::wire::Incarnation(clock::incarnation())
}

/// Returns the index of the selected interface, which must exist at the start; `None` if the selector does not name a
/// single interface. Sockets follow the name, because an interface that is created again has another index.
fn present_index(selector: Option<&InterfaceSelector>) -> mcast::Result<Option<InterfaceIndex>> {
    match selector {
        None | Some(InterfaceSelector::Default | InterfaceSelector::All) => Ok(None),
        Some(selector) => Ok(Some(mcast::interface::find(selector)?.index)),
    }
}

/// Builds a receiver of these groups, whose memberships outlive their interfaces. At first, there must be an interface for
/// each.
fn build_following(
    builder: mcast::ReceiverBuilder,
    memberships: Vec<Membership>,
) -> mcast::Result<mcast::Receiver> {
    let receiver = builder.follow(!memberships.is_empty()).join_all(memberships).build()?;
    match receiver.memberships().into_iter().find_map(|status| status.waiting) {
        None => Ok(receiver),
        Some(why) => Err(why),
    }
}

/// Joins several values into one label.
fn label<T: ToString>(all: impl Iterator<Item = T>) -> String {
    all.map(|each| each.to_string()).collect::<Vec<_>>().join(",")
}
