//! The other end of probes: replies how they arrived, at a limited rate.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::wire::{Examination, ProbeReply, SessionHeader, SessionId, SessionMessage};
use mcast_pace::{Limiter, Quota};

use crate::ProbeCase;

/// The maximum rate of one prober, by multicast and by unicast, with a margin.
const EACH: Quota = Quota { per_second: 250, burst: 50 };
const ALL: Quota = Quota { per_second: 2_000, burst: 400 };

/// The maximum number of counters of all sessions. The oldest session is forgotten first. The probes of a large fleet fit:
/// each of its machines is a few sessions with about ten counters.
const MAX_COUNTERS: usize = 16_384;
/// A session takes the memory of this number of counters, beside its own.
const SESSION: usize = 8;
/// The maximum number of cases per session.
const MAX_CASES: usize = 256;

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
    arrivals: VecDeque<SessionArrivals>,
    /// The counters in `arrivals`.
    counters: usize,
    forgotten: u64,
}

/// What has arrived of one session at a responder, including what the rate limit left unanswered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionArrivals {
    /// The session.
    pub session: SessionId,
    /// The source address of its first message.
    pub source: IpAddr,
    by_group: BTreeMap<ProbeCase, u64>,
    by_unicast: BTreeMap<ProbeCase, u64>,
}

impl SessionArrivals {
    const fn new(session: SessionId, source: IpAddr) -> Self {
        Self { session, source, by_group: BTreeMap::new(), by_unicast: BTreeMap::new() }
    }

    /// Returns the number of probes of a case that arrived, duplicates included.
    #[must_use]
    pub fn count(&self, case: ProbeCase, by_unicast: bool) -> u64 {
        let counts = if by_unicast { &self.by_unicast } else { &self.by_group };
        counts.get(&case).copied().unwrap_or_default()
    }

    /// Returns the number of probes to the group that arrived by case, duplicates included.
    pub fn to_group_by_case(&self) -> impl Iterator<Item = (ProbeCase, u64)> + '_ {
        self.by_group.iter().map(|(case, count)| (*case, *count))
    }

    /// Returns the number of probes to the group that arrived, duplicates included.
    #[must_use]
    pub fn to_group(&self) -> u64 {
        self.by_group.values().sum()
    }

    /// Returns whether the case is new.
    fn record(&mut self, case: ProbeCase, by_unicast: bool) -> bool {
        let counts = if by_unicast { &mut self.by_unicast } else { &mut self.by_group };
        let is_new = !counts.contains_key(&case);
        if is_new && counts.len() >= MAX_CASES {
            return false;
        }
        *counts.entry(case).or_default() += 1;
        is_new
    }

    fn counters(&self) -> usize {
        SESSION + self.by_group.len() + self.by_unicast.len()
    }
}

impl ProbeResponder {
    /// Creates a responder with a random id, and the port at which it receives unicast probes, or 0 if it
    /// receives none.
    #[must_use]
    pub fn new(id: u64, unicast_port: u16) -> Self {
        let (limiter, arrivals) = (Limiter::new(EACH, ALL), VecDeque::new());
        Self { id, unicast_port, limiter, foreign: 0, arrivals, counters: 0, forgotten: 0 }
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
        let case = ProbeCase { size: message.len(), hop_limit: probe.hop_limit };
        let is_new = self.arrivals_of(header.session, arrival.source).record(case, arrival.by_unicast);
        self.counters += usize::from(is_new);
        self.forget_oldest();
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

    /// Returns the reply to a message that arrived `joined` after the responder joined, if the message asks for what
    /// the responder found out about itself, and the rate limit allows a reply. `examined` returns the number of
    /// probes of a session on the wire, if that is known, and the findings.
    pub fn reply_to_request(
        &mut self,
        message: &[u8],
        arrival: &ProbeArrival,
        joined: Duration,
        examined: impl FnOnce(SessionId) -> (Option<u64>, String),
    ) -> Option<Vec<u8>> {
        let header = request(message)?;
        let at_socket = self.arrivals_of(header.session, arrival.source).to_group();
        self.forget_oldest();
        if !self.limiter.allows(arrival.source, joined) {
            return None;
        }
        let (on_wire, text) = examined(header.session);
        Some(Examination { responder: self.id, on_wire, at_socket, text }.encode(header))
    }

    /// Returns what has arrived of each session, oldest first.
    pub fn arrivals(&self) -> impl Iterator<Item = &SessionArrivals> {
        self.arrivals.iter()
    }

    fn arrivals_of(&mut self, session: SessionId, source: IpAddr) -> &mut SessionArrivals {
        // The latest sessions are the most likely ones.
        let position = self.arrivals.iter().rposition(|arrivals| arrivals.session == session);
        let index = position.unwrap_or_else(|| {
            self.arrivals.push_back(SessionArrivals::new(session, source));
            self.counters += SESSION;
            self.arrivals.len() - 1
        });
        &mut self.arrivals[index]
    }

    fn forget_oldest(&mut self) {
        while self.counters > MAX_COUNTERS {
            let Some(oldest) = self.arrivals.pop_front() else { return };
            self.counters = self.counters.saturating_sub(oldest.counters());
            self.forgotten += 1;
        }
    }

    /// Returns the number of sessions of which [`arrivals`](Self::arrivals) contains nothing any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Returns the responder's id, which its replies carry.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
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

/// Returns the header of a message that asks for a self-examination.
fn request(message: &[u8]) -> Option<SessionHeader> {
    match SessionMessage::decode(message) {
        Some((header, SessionMessage::Examine)) => Some(header),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MessageType, PROBE_LENGTH, ProbeRequest, examination_request};

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
    fn arrivals_are_counted_by_session_and_case_in_bounded_memory() {
        let mut responder = ProbeResponder::new(1, 9);
        for length in [64, 64, 1_400] {
            let _ = reply(&mut responder, &probe(length, false, true));
        }
        let arrivals = responder.arrivals().next().unwrap();
        let count = |size| arrivals.count(ProbeCase { size, hop_limit: 4 }, false);
        assert_eq!([64, 1_400, 99].map(count), [2, 1, 0]);
        for number in 2..4_000 {
            let header = SessionHeader::new(MessageType::Probe, SessionId(number));
            let probe =
                ProbeRequest { hop_limit: 4, by_unicast: false, short_reply: true }.encode(header, 64);
            let _ = reply(&mut responder, &probe);
        }
        // Each session has one counter.
        assert_eq!(responder.arrivals().count(), MAX_COUNTERS / (SESSION + 1));
        assert_eq!(responder.arrivals().last().unwrap().session, SessionId(3_999));
        assert_eq!(responder.forgotten() as usize + MAX_COUNTERS / (SESSION + 1), 3_999);
    }

    #[test]
    fn nothing_of_a_large_fleet_is_forgotten() {
        let mut responder = ProbeResponder::new(1, 9);
        // 64 machines, two families, two rounds, multicast and unicast.
        for (session, length) in (0..64 * 8).flat_map(|session| (64..80).map(move |length| (session, length)))
        {
            let header = SessionHeader::new(MessageType::Probe, SessionId(session));
            let probe = ProbeRequest { hop_limit: 4, by_unicast: false, short_reply: true };
            let _ = reply(&mut responder, &probe.encode(header, length));
        }
        assert_eq!((responder.arrivals().count(), responder.forgotten()), (64 * 8, 0));
        assert!(responder.arrivals().all(|arrivals| arrivals.to_group() == 16));
    }

    #[test]
    fn a_request_is_answered_with_what_arrived_of_its_session() {
        let mut responder = ProbeResponder::new(1, 9);
        let _ = reply(&mut responder, &probe(64, false, true));
        let message = examination_request(SessionHeader::new(MessageType::Examine, SessionId(1)));
        let mut ask = |message: &[u8]| {
            responder.reply_to_request(message, &ARRIVAL, Duration::from_secs(1), |session| {
                assert_eq!(session, SessionId(1));
                (Some(3), "fault".into())
            })
        };
        assert_eq!(ask(&probe(64, false, true)), None);
        let bytes = ask(&message).unwrap();
        let Some((_, SessionMessage::Examination(reply))) = SessionMessage::decode(&bytes) else {
            panic!("no examination")
        };
        let expected = Examination { responder: 1, on_wire: Some(3), at_socket: 1, text: "fault".into() };
        assert_eq!(*reply, expected);
    }

    #[test]
    fn replies_are_limited_in_rate() {
        let mut responder = ProbeResponder::new(1, 9);
        let replies =
            (0..1_000).filter(|_| reply(&mut responder, &probe(64, false, false)).is_some()).count();
        assert_eq!((replies, responder.refused()), (50, 950));
    }
}
