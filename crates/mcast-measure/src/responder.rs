//! The other end of probes: replies how they arrived, at a limited rate.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::wire::{ProbeReply, SessionMessage};
use crate::{Limiter, Quota};

/// The maximum rate of one prober, by multicast and by unicast, with a margin.
const EACH: Quota = Quota { per_second: 250, burst: 50 };
const ALL: Quota = Quota { per_second: 2_000, burst: 400 };

/// How a message arrived at a responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeArrival {
    /// The source address.
    pub source: IpAddr,
    /// The index of the interface; 0 if it is unknown.
    pub interface: u32,
    /// The hop limit on arrival, if the system reports it.
    pub hop_limit: Option<u8>,
    /// Whether it arrived at the unicast socket.
    pub by_unicast: bool,
}

/// Replies to probes of `mcast ping` and `mcast doctor --probe`.
#[derive(Debug)]
pub struct ProbeResponder {
    id: u64,
    unicast_port: u16,
    limiter: Limiter,
    foreign: u64,
}

impl ProbeResponder {
    /// Creates a responder with a random id, and the port at which it receives unicast probes, or 0 if it
    /// receives none.
    #[must_use]
    pub fn new(id: u64, unicast_port: u16) -> Self {
        Self { id, unicast_port, limiter: Limiter::new(EACH, ALL), foreign: 0 }
    }

    /// Returns the reply to a message that arrived `joined` after the responder joined, if the message is a
    /// probe and the rate limit allows a reply. A reply is never longer than its probe.
    pub fn reply_to(&mut self, message: &[u8], arrival: &ProbeArrival, joined: Duration) -> Option<Vec<u8>> {
        let (header, probe) = match SessionMessage::decode(message) {
            Some((header, SessionMessage::Probe(probe))) if probe.by_unicast == arrival.by_unicast => {
                (header, probe)
            }
            _ => {
                self.foreign += 1;
                return None;
            }
        };
        let reply = ProbeReply {
            responder: self.id,
            interface: arrival.interface,
            length: u32::try_from(message.len()).unwrap_or(u32::MAX),
            hop_limit: probe.hop_limit,
            arrival_hop_limit: arrival.hop_limit,
            by_unicast: arrival.by_unicast,
            unicast_port: self.unicast_port,
            joined,
        };
        let length = if probe.short_reply { 0 } else { message.len() };
        self.limiter.allows(arrival.source, joined).then(|| reply.encode(header, length))
    }

    /// Returns the number of messages that are not probes.
    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Returns the number of probes over the rate limit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.limiter.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MessageType, PROBE_LENGTH, ProbeRequest, SessionHeader, SessionId};

    const ARRIVAL: ProbeArrival = ProbeArrival {
        source: IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)),
        interface: 3,
        hop_limit: Some(3),
        by_unicast: false,
    };

    fn probe(length: usize, by_unicast: bool, short_reply: bool) -> Vec<u8> {
        let header = SessionHeader::new(MessageType::Probe, SessionId(1));
        ProbeRequest { hop_limit: 4, by_unicast, short_reply }.encode(header, length)
    }

    fn reply(responder: &mut ProbeResponder, message: &[u8]) -> Option<Vec<u8>> {
        responder.reply_to(message, &ARRIVAL, Duration::from_secs(1))
    }

    #[test]
    fn a_reply_is_as_long_as_its_probe_or_short_and_describes_its_arrival() {
        for length in [0, 64, 1_400, 60_000] {
            for short_reply in [false, true] {
                let probe = probe(length, false, short_reply);
                let reply = reply(&mut ProbeResponder::new(1, 9), &probe).unwrap();
                assert_eq!(reply.len(), if short_reply { PROBE_LENGTH } else { probe.len() });
                let Some((_, SessionMessage::Reply(reply))) = SessionMessage::decode(&reply) else {
                    panic!("no reply")
                };
                assert_eq!((reply.length as usize, reply.interface, reply.hops()), (probe.len(), 3, Some(1)));
                assert_eq!((reply.unicast_port, reply.joined), (9, Duration::from_secs(1)));
            }
        }
    }

    #[test]
    fn only_probes_are_answered() {
        let mut responder = ProbeResponder::new(1, 9);
        assert_eq!(reply(&mut responder, b"hello"), None);
        assert_eq!(reply(&mut responder, &probe(64, false, false)[..50]), None);
        let own = reply(&mut responder, &probe(64, false, false)).unwrap();
        assert_eq!(reply(&mut responder, &own), None);
        assert_eq!(reply(&mut responder, &probe(64, true, false)), None);
        assert_eq!(responder.foreign(), 4);
    }

    #[test]
    fn replies_are_limited_in_rate() {
        let mut responder = ProbeResponder::new(1, 9);
        let replies =
            (0..1_000).filter(|_| reply(&mut responder, &probe(64, false, false)).is_some()).count();
        assert_eq!((replies, responder.refused()), (50, 950));
    }
}
