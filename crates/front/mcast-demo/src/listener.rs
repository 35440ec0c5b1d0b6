//! A receiver on a host, and what it is expected to receive.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{GroupAddr, Receiver};

use crate::stage::Stage;
use crate::{DemoError, Event};

/// The timeout for an expected datagram, which normally takes less than a millisecond.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before concluding that no datagram arrives.
pub(crate) const SILENCE: Duration = Duration::from_millis(150);

/// Returns the time left until `until`.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// The sender of the datagrams. Those of other senders are ignored, because the demonstration may run several times on
/// this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The TTL at the receiver; `None` if it is not compared, because not every system reports it.
    pub(crate) ttl: Option<u8>,
}

/// A receiver on a host.
pub(crate) struct Listener {
    host: String,
    receiver: Receiver,
    pub(crate) group: GroupAddr,
    /// The interfaces of the host: index and name.
    interfaces: Vec<(u32, String)>,
    origin: Origin,
}

impl Listener {
    /// Checks that a receiver has joined the group on these interfaces.
    pub(crate) fn new(
        host: &str,
        receiver: Receiver,
        (group, expected_on): (GroupAddr, &[&str]),
        interfaces: Vec<(u32, String)>,
        origin: Origin,
        stage: &mut Stage<'_>,
    ) -> Result<Self, DemoError> {
        let statuses = receiver.memberships();
        let joined = statuses.iter().flat_map(|status| &status.interfaces);
        let joined = joined.filter(|interface| interface.failure.is_none());
        let event = |names| Event::Joined { group: group.into(), interfaces: names };
        let expected = event(expected_on.iter().map(ToString::to_string).collect());
        stage.check(host, &event(joined.map(|interface| interface.name.clone()).collect()), &expected)?;
        Ok(Self { host: host.to_owned(), receiver, group, interfaces, origin })
    }

    /// Checks that this text arrives on this interface.
    pub(crate) fn check_received(
        &self,
        text: &str,
        interface: &str,
        stage: &mut Stage<'_>,
    ) -> Result<(), DemoError> {
        let Origin { address: source, ttl, .. } = self.origin;
        let (interface, text) = (interface.to_owned(), text.to_owned());
        let expected = Event::Received { group: self.group.into(), interface, source, ttl, text };
        Ok(stage.check(&self.host, &self.receive(TIMEOUT)?, &expected)?)
    }

    /// Checks that nothing arrives.
    pub(crate) fn check_silence(&self, until: Instant, stage: &mut Stage<'_>) -> Result<(), DemoError> {
        let expected = Event::ReceivedNothing { group: self.group.into() };
        Ok(stage.check(&self.host, &self.receive(left(until))?, &expected)?)
    }

    fn receive(&self, timeout: Duration) -> mcast::Result<Event> {
        let until = Instant::now() + timeout;
        let mut buffer = [0; 2048];
        while let Some(datagram) = self.receiver.recv_timeout(&mut buffer, left(until))? {
            if datagram.source.port() == self.origin.port {
                return Ok(Event::Received {
                    group: datagram.destination.into(),
                    interface: self.name_of(datagram.interface.number()),
                    source: datagram.source.ip(),
                    ttl: datagram.hop_limit.filter(|_| self.origin.ttl.is_some()),
                    text: String::from_utf8_lossy(datagram.payload()).into_owned(),
                });
            }
        }
        Ok(Event::ReceivedNothing { group: self.group.into() })
    }

    fn name_of(&self, index: u32) -> String {
        let known = self.interfaces.iter().find(|(known, _)| *known == index);
        known.map_or_else(|| format!("interface {index}"), |(_, name)| name.clone())
    }
}
