//! The closing summary as JSON.

use std::time::Duration;

use mcast_stream::Subscriber;
use serde::Serialize;

use super::listen::Tally;

/// What was received in all: `schemas/subscribe-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    messages: u64,
    bytes: u64,
    seconds: f64,
    lost_messages: u64,
    unknown_losses: u64,
    messages_from_history: u64,
    datagrams: u64,
    repaired: Repaired,
    naks: Naks,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_others: Option<ForOthers>,
}

/// The missing datagrams that arrived after all.
#[derive(Debug, Serialize)]
struct Repaired {
    by_publisher: u64,
    by_subscribers: u64,
    recovered: u64,
}

/// The NAKs that were sent.
#[derive(Debug, Serialize)]
struct Naks {
    to_publisher: u64,
    to_subscribers: u64,
}

/// What it did for other subscribers.
#[derive(Debug, Serialize)]
struct ForOthers {
    naks: u64,
    datagrams: u64,
    bytes: u64,
    refused: u64,
}

impl Summary {
    /// Returns the summary of a subscriber after this time.
    pub(super) fn new(
        subscriber: &Subscriber,
        tally: &Tally,
        repairs_for_others: bool,
        time: Duration,
    ) -> Self {
        let counted = subscriber.statistics();
        let for_others = ForOthers {
            naks: counted.local_naks,
            datagrams: counted.local_repairs,
            bytes: counted.local_repair_bytes,
            refused: counted.local_refused,
        };
        Self {
            stream: subscriber.stream().map(|stream| stream.to_string()),
            messages: tally.messages,
            bytes: tally.bytes,
            seconds: time.as_secs_f64(),
            lost_messages: tally.lost,
            unknown_losses: tally.unknown_losses,
            messages_from_history: counted.from_history,
            datagrams: counted.received,
            repaired: Repaired {
                by_publisher: counted.repaired.saturating_sub(counted.repaired_locally),
                by_subscribers: counted.repaired_locally,
                recovered: counted.recovered,
            },
            naks: Naks {
                to_publisher: counted.naks.saturating_sub(counted.naks_to_repairers),
                to_subscribers: counted.naks_to_repairers,
            },
            for_others: repairs_for_others.then_some(for_others),
        }
    }
}
