//! Waits for a datagram at a receiver, or for its absence.

use std::time::Duration;

use mcast::{GroupAddr, InterfaceIndex, Receiver, Result};

use super::super::event::Event;

/// Waits for the next datagram of the receiver, within this time.
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
