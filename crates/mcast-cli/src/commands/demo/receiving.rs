//! Timeouts for expected and unexpected datagrams, and the joins of a receiver.

use std::time::{Duration, Instant};

use mcast::{GroupAddr, Receiver};

use super::event::Event;

/// The timeout for an expected datagram, which normally takes less than a millisecond.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before concluding that no datagram arrives.
pub(super) const SILENCE: Duration = Duration::from_millis(150);

/// Returns the interfaces on which the receiver's only membership was joined, as an event.
pub(super) fn joined(receiver: &Receiver, group: GroupAddr) -> Event {
    let statuses = receiver.memberships();
    let interfaces = statuses.iter().flat_map(|status| &status.interfaces);
    let joined = interfaces.filter(|interface| interface.failure.is_none());
    Event::Joined {
        group: group.into(),
        interfaces: joined.map(|interface| interface.name.clone()).collect(),
    }
}

/// Returns the time left until `until`.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
