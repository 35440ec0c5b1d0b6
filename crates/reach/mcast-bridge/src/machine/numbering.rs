//! Datagrams of a plain group. They have no numbers of their own, so that one bridge at a time numbers them, under an
//! incarnation of its own.

use mcast_stream::wire::MessageNumber;
use mcast_stream::{ClockTime, Nanos};

use super::{BridgeEvent, BridgeMachine, BridgeRefusal};
use crate::engine::BridgeBeacon;
use crate::metadata::DatagramMetadata;
use crate::record::{Content, GapCause};

/// How long to wait until a bridge is gone whose presence is noted. One that was killed is noted for
/// [`BridgeBeacon::KEPT_FOR`].
const TIMEOUT: Nanos = Nanos::from_millis(BridgeBeacon::KEPT_FOR.as_millis() as u64 + 2_000);

/// The numbers of the datagrams, and whether this bridge may store them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbering {
    next: MessageNumber,
    /// Whether no other bridge was noted when it began to store. A bridge that comes later waits for this one.
    is_alone: bool,
    /// Since when another bridge is noted.
    excluded: Option<ClockTime>,
}

impl BridgeMachine {
    /// Whether datagrams of a plain group may be passed: the engine's last record is known, and therefore the
    /// incarnation that they are stored under.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.incarnation.is_some()
    }

    /// Handles a datagram of a plain group. `time` is in milliseconds since 1970.
    pub fn handle_datagram(&mut self, now: ClockTime, time: u64, metadata: DatagramMetadata, bytes: &[u8]) {
        self.statistics.messages += 1;
        self.statistics.message_bytes += bytes.len() as u64;
        let number = self.numbering.next;
        self.numbering.next = number + 1;
        let content = Content::Datagram { metadata: Box::new(metadata), bytes: bytes.into() };
        self.push(now, time, number, content);
    }

    /// Notes that the system dropped this number of datagrams. `time` is in milliseconds since 1970.
    pub fn handle_drops(&mut self, now: ClockTime, time: u64, count: u64) {
        let first = self.numbering.next;
        let Some(before) = count.checked_sub(1) else { return };
        self.numbering.next = first + count;
        self.push(now, time, first + before, Content::Gap { first, cause: GapCause::ReceiveBufferFull });
    }

    /// Whether it may store: of a plain group, only one bridge at a time may.
    pub(super) const fn may_append(&self) -> bool {
        self.config.group.is_none() || self.numbering.is_alone
    }

    /// Begins an incarnation of a plain group when the engine's last record and the other bridges are known.
    pub(super) fn begin(&mut self, now: ClockTime) -> Result<(), BridgeRefusal> {
        let Some(least) = self.config.group else { return Ok(()) };
        if self.incarnation.is_none() {
            let stored = self.stored().map_or(least, |stored| stored.incarnation);
            // A clock that was set back, or a bridge that is started again at once, must not repeat one.
            let next =
                mcast_stream::wire::Incarnation(stored.0.saturating_add(u32::from(self.stored().is_some())));
            self.incarnation = Some(least.max(next));
        }
        if self.numbering.is_alone {
            return Ok(());
        }
        if self.others.is_empty() {
            self.numbering.is_alone = true;
            return Ok(());
        }
        let since = *self.numbering.excluded.get_or_insert_with(|| {
            self.events.push_back(BridgeEvent::OtherBridge);
            now
        });
        if now.since(since) > TIMEOUT { Err(BridgeRefusal::OtherBridge) } else { Ok(()) }
    }
}
