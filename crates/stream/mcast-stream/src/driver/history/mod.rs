//! The history of a stream over TCP: a server of what something else stores, and the client of subscribers.
//! `docs/protocol.md` specifies the protocol, under *History servers*.

mod reader;
mod server;
mod settings;
mod subscription;

pub(super) use server::{Counts, KeysNow, Withdrawal, start};
pub use server::{
    HistoryListener, HistoryProvider, HistoryServer, HistoryServerStatistics, HistorySource,
    HistoryUnavailable, Snapshot,
};
pub(super) use settings::HistorySettings;
pub(super) use subscription::HistorySubscription;

/// The most frames that are sealed with one key in each direction, as for datagrams.
const MOST_FRAMES: u64 = 1 << 22;
