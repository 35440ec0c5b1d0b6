//! The history of a stream over TCP: a server of what something else stores, and the client of subscribers.
//! `docs/protocol.md` specifies the protocol, under *History servers*.

mod reader;
mod server;
mod settings;
mod subscription;

pub use server::{
    HistoryListener, HistoryProvider, HistoryServer, HistoryServerStatistics, HistorySource,
    HistoryUnavailable,
};
pub(super) use settings::HistorySettings;
pub(super) use subscription::HistorySubscription;

use crate::wire::Incarnation;

const GREETING: &[u8; 4] = b"MCH1";
/// A history has messages of many incarnations: its keys are those of none.
const NO_INCARNATION: Incarnation = Incarnation(0);
/// The most frames that are sealed with one key in each direction, as for datagrams.
const MOST_FRAMES: u64 = 1 << 22;
