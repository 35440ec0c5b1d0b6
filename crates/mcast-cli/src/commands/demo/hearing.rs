//! What a receiver is given, or that it is given nothing.

use std::time::{Duration, Instant};

use mcast::{GroupAddr, InterfaceIndex, Receiver, Result};

use super::event::Event;

/// How long what should come may take. It takes less than a millisecond.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing must come before it is called silence.
pub(super) const SILENCE: Duration = Duration::from_millis(150);

/// What the receiver is given next, within so long.
pub(super) fn hear(
    receiver: &Receiver,
    group: GroupAddr,
    patience: Duration,
    name: impl Fn(InterfaceIndex) -> String,
) -> Result<Event> {
    let mut buffer = [0; 2048];
    let datagram = receiver.recv_timeout(&mut buffer, patience)?;
    Ok(match datagram {
        Some(datagram) => Event::received(datagram.arrival(), datagram.payload(), name(datagram.interface())),
        None => Event::ReceivedNothing { group: group.into() },
    })
}

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
