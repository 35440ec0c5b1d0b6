//! Timeouts for expected and unexpected datagrams, and the receivers of the demonstration.

use std::time::{Duration, Instant};

use mcast::{GroupAddr, Receiver};

use super::event::Event;

/// How long what should come may take. It takes less than a millisecond.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing must come before it is called silence.
pub(super) const SILENCE: Duration = Duration::from_millis(150);

/// Where the receiver's only membership was joined.
pub(super) fn joined(receiver: &Receiver, group: GroupAddr) -> Event {
    let statuses = receiver.memberships();
    let interfaces = statuses.iter().flat_map(|status| &status.interfaces);
    let joined = interfaces.filter(|interface| interface.failure.is_none());
    Event::Joined {
        group: group.into(),
        interfaces: joined.map(|interface| interface.name.clone()).collect(),
    }
}

/// What is left of the time in which there should be silence.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
