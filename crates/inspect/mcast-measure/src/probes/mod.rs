//! Probes and replies: the session of `mcast ping` and `mcast doctor --probe`.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::wire::{
    MessageType, ProbeCase, ProbeReply, ProbeRequest, SessionHeader, SessionId, SessionMessage, UnixNanos,
};
use crate::{Histogram, LossCounter, SequenceOrder};

/// Maximum number of responders tracked.
const MAX_RESPONDERS: usize = 256;

/// What a session of probes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Compares multicast with unicast. Replies are as long as probes, and each address of a host is a
    /// responder.
    Ping,
    /// Shows which sizes and hop limits arrive. Replies are short, so that only the way to the responder is
    /// tested. A host is one responder, although it replies from the address of the interface on which a
    /// probe arrived.
    PathTest,
    /// The same by unicast to one host, whose port for unicast probes is known.
    UnicastPathTest,
}

impl Purpose {
    const fn is_path_test(self) -> bool {
        matches!(self, Self::PathTest | Self::UnicastPathTest)
    }

    /// Returns whether a reply to a probe by unicast, or to the group, belongs to such a session.
    const fn expects(self, by_unicast: bool) -> bool {
        match self {
            Self::Ping => true,
            Self::PathTest => !by_unicast,
            Self::UnicastPathTest => by_unicast,
        }
    }
}

/// Which datagram sizes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// Every size arrived.
    None,
    /// Sizes up to `passes` arrived, and none from `lost` on.
    Between {
        /// The largest size that arrived.
        passes: usize,
        /// The smallest size that never arrived.
        lost: usize,
    },
    /// Nothing arrived, or arrivals do not depend on size.
    Unclear,
}

/// A reply that a session has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedReply {
    /// The index of the responder in [`ProbeSession::responders`].
    pub responder: usize,
    /// Whether this is its first reply.
    pub is_new: bool,
    /// The number of the probe.
    pub number: u64,
    /// The reply.
    pub reply: ProbeReply,
    /// The time from the probe to the reply.
    pub round_trip: Duration,
}

/// The probes sent and the responders, in bounded memory.
#[derive(Clone, Debug)]
pub struct ProbeSession {
    id: SessionId,
    purpose: Purpose,
    timeout: Duration,
    cases: Vec<ProbeCase>,
    sent: Vec<SentProbes>,
    responders: Vec<RespondingHost>,
    foreign: u64,
    refused: u64,
}

impl ProbeSession {
    /// Creates a session with probes of one case, to a group and to each responder. A probe without a reply
    /// counts as lost after `timeout`.
    #[must_use]
    pub fn ping(id: SessionId, case: ProbeCase, timeout: Duration) -> Self {
        Self::new(id, Purpose::Ping, vec![case], timeout)
    }

    /// Creates a session that tests which cases reach the responders. Only the first 65,535 cases are used,
    /// because a probe identifies its case by 16 bits.
    #[must_use]
    pub fn path_test(id: SessionId, mut cases: Vec<ProbeCase>) -> Self {
        cases.truncate(usize::from(u16::MAX));
        Self::new(id, Purpose::PathTest, cases, Duration::ZERO)
    }

    /// Like [`Self::path_test`], with probes by unicast to one host. [`RespondingHost::multicast`] returns their results, as in
    /// a test by multicast.
    #[must_use]
    pub fn unicast_path_test(id: SessionId, cases: Vec<ProbeCase>) -> Self {
        Self { purpose: Purpose::UnicastPathTest, ..Self::path_test(id, cases) }
    }

    /// Returns the id, which all messages carry.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    fn new(id: SessionId, purpose: Purpose, cases: Vec<ProbeCase>, timeout: Duration) -> Self {
        let sent = vec![SentProbes::default(); cases.len()];
        Self { id, purpose, timeout, cases, sent, responders: Vec::new(), foreign: 0, refused: 0 }
    }

    /// Returns the cases to probe with.
    #[must_use]
    pub fn cases(&self) -> &[ProbeCase] {
        &self.cases
    }

    /// Returns the next probe of a case to the group; `None` if there is no such case.
    #[must_use]
    pub fn probe(&self, now: ClockTime, case: usize) -> Option<Vec<u8>> {
        let ProbeCase { size, hop_limit } = *self.cases.get(case)?;
        let by_unicast = self.purpose == Purpose::UnicastPathTest;
        let probe = ProbeRequest { hop_limit, by_unicast, short_reply: self.purpose.is_path_test() };
        Some(probe.encode(self.header(self.stream_of(case)?, self.sent(case), now), size))
    }

    /// Counts the next probe of a case as sent now.
    pub fn handle_sent(&mut self, now: ClockTime, case: usize) {
        if let Some(sent) = self.sent.get_mut(case) {
            sent.record(now);
        }
    }

    /// Counts a unicast probe to a responder as sent now, and returns it; `None` if there is no such
    /// responder.
    pub fn unicast_probe(&mut self, now: ClockTime, responder: usize) -> Option<Vec<u8>> {
        let number = self.responders.get_mut(responder)?.unicast_sent.record(now);
        let size = self.cases.first()?.size;
        let probe = ProbeRequest { hop_limit: 0, by_unicast: true, short_reply: false };
        Some(probe.encode(self.header(0, number, now), size))
    }

    fn header(&self, stream: u16, sequence: u64, now: ClockTime) -> SessionHeader {
        let time = UnixNanos(now.0);
        SessionHeader { kind: MessageType::Probe, stream, session: self.id, sequence, time }
    }

    /// Returns the stream number of a case: 0 in a ping, from 1 on in a path test.
    fn stream_of(&self, case: usize) -> Option<u16> {
        u16::try_from(case).ok()?.checked_add(u16::from(self.purpose.is_path_test()))
    }

    fn case_of(&self, stream: u16) -> Option<usize> {
        let case = stream.checked_sub(u16::from(self.purpose.is_path_test()))?;
        Some(usize::from(case)).filter(|case| *case < self.cases.len())
    }

    /// Handles a message to the socket that sends the probes. Returns the reply, if it answers a probe of this session.
    pub fn handle_datagram(
        &mut self,
        now: ClockTime,
        message: &[u8],
        source: IpAddr,
    ) -> Option<AcceptedReply> {
        let decoded = match SessionMessage::decode(message) {
            Some((header, SessionMessage::Reply(reply)))
                if header.session == self.id && self.purpose.expects(reply.by_unicast) =>
            {
                // The reply echoes the send time of its probe.
                let round_trip = now.0.checked_sub(header.time.0).map(Duration::from_nanos);
                round_trip.map(|round_trip| (header, reply, round_trip))
            }
            _ => None,
        };
        let Some((header, reply, round_trip)) = decoded else {
            self.foreign += 1;
            return None;
        };
        let accepted = self.accept(source, &header, reply, round_trip);
        self.refused += u64::from(accepted.is_none());
        accepted
    }

    fn accept(
        &mut self,
        source: IpAddr,
        header: &SessionHeader,
        reply: ProbeReply,
        round_trip: Duration,
    ) -> Option<AcceptedReply> {
        let case = self.case_of(header.stream)?;
        let number = header.sequence;
        if self.cases.get(case)?.size != reply.length as usize {
            return None;
        }
        let known = self.responders.iter().position(|responder| {
            responder.id == reply.responder && (self.purpose.is_path_test() || responder.address == source)
        });
        // Unicast pings are sent only to responders that have replied to the group before.
        let is_unicast_ping = reply.by_unicast && self.purpose == Purpose::Ping;
        let index = match known {
            Some(index) => index,
            None if is_unicast_ping || self.responders.len() == MAX_RESPONDERS => return None,
            None => self.add_responder(source, case, number, &reply)?,
        };
        let sent_to_group = self.sent(case);
        let responder = self.responders.get_mut(index)?;
        let (sent, results) = match is_unicast_ping {
            true => (responder.unicast_sent.count(), &mut responder.unicast),
            false => (sent_to_group, responder.multicast.get_mut(case)?),
        };
        if number >= sent {
            return None;
        }
        results.record(number, round_trip);
        if !is_unicast_ping {
            responder.update(&reply);
        }
        Some(AcceptedReply { responder: index, is_new: known.is_none(), number, reply, round_trip })
    }

    fn add_responder(
        &mut self,
        address: IpAddr,
        case: usize,
        number: u64,
        reply: &ProbeReply,
    ) -> Option<usize> {
        let probes = self.sent.get(case)?;
        let sent = probes.time_of(number)?;
        let start = probes.time_of(0).unwrap_or_default();
        let joined = Some(sent - reply.joined).filter(|joined| *joined > start);
        let first = joined.map_or(0, |joined| probes.before(joined).min(number));
        self.responders.push(RespondingHost {
            address,
            id: reply.responder,
            unicast_port: reply.unicast_port,
            hops: None,
            interfaces: BTreeSet::new(),
            join_to_first: joined.map(|_| reply.joined),
            multicast: vec![ProbeResults::new(first); self.cases.len()],
            unicast: ProbeResults::new(0),
            unicast_sent: SentProbes::default(),
        });
        Some(self.responders.len() - 1)
    }

    /// Returns the number of probes of a case sent to the group.
    #[must_use]
    pub fn sent(&self, case: usize) -> u64 {
        self.sent.get(case).map_or(0, SentProbes::count)
    }

    /// Returns the number of probes of a case sent to the group since a responder joined.
    #[must_use]
    pub fn sent_since_join(&self, responder: &RespondingHost, case: usize) -> u64 {
        self.sent(case).saturating_sub(responder.multicast(case).first)
    }

    /// Returns the responders, in the order of their first reply.
    #[must_use]
    pub fn responders(&self) -> &[RespondingHost] {
        &self.responders
    }

    /// Returns the number of a ping's probes to the group to include for this responder: those sent since it
    /// joined that have been answered or whose timeout has passed.
    #[must_use]
    pub fn sent_to_group(&self, responder: &RespondingHost, now: ClockTime) -> u64 {
        let expired = self.sent.first().map_or(0, |sent| sent.before(self.expired_before(now)));
        responder.multicast(0).sent(expired)
    }

    /// Returns the number of unicast probes to include for this responder.
    #[must_use]
    pub fn sent_to(&self, responder: &RespondingHost, now: ClockTime) -> u64 {
        responder.unicast.sent(responder.unicast_sent.before(self.expired_before(now)))
    }

    /// Returns the time before which probes without a reply count as lost.
    fn expired_before(&self, now: ClockTime) -> ClockTime {
        // A probe that is exactly as old as the timeout has expired.
        now + Duration::from_nanos(1) - self.timeout
    }

    /// Returns whether there is a responder and every responder has replied to every probe so far.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let answered = |responder: &RespondingHost| {
            let group = responder
                .multicast
                .iter()
                .zip(&self.sent)
                .all(|(results, sent)| results.received() >= sent.count().saturating_sub(results.first));
            group && responder.unicast.received() >= responder.unicast_sent.count()
        };
        !self.responders.is_empty() && self.responders.iter().all(answered)
    }

    /// Returns which sizes reach a responder with this hop limit.
    #[must_use]
    pub fn size_limit(&self, responder: &RespondingHost, hop_limit: u8) -> SizeLimit {
        let mut sizes: Vec<(usize, bool)> = self
            .probed()
            .filter(|(_, case)| case.hop_limit == hop_limit)
            .map(|(index, case)| (case.size, responder.multicast(index).received() > 0))
            .collect();
        sizes.sort_unstable();
        let arrived = sizes.iter().take_while(|(_, arrived)| *arrived).count();
        let lost_after = sizes.iter().skip(arrived).all(|(_, arrived)| !*arrived);
        match (arrived, sizes.get(arrived)) {
            (0, _) => SizeLimit::Unclear,
            (_, None) => SizeLimit::None,
            (arrived, Some((lost, _))) if lost_after => {
                SizeLimit::Between { passes: sizes[arrived - 1].0, lost: *lost }
            }
            _ => SizeLimit::Unclear,
        }
    }

    /// Returns the lowest hop limit that reaches a responder, among the cases of the smallest size.
    #[must_use]
    pub fn min_hop_limit(&self, responder: &RespondingHost) -> Option<u8> {
        let smallest = self.probed().map(|(_, case)| case.size).min()?;
        let arrived = self
            .probed()
            .filter(|(index, case)| case.size == smallest && responder.multicast(*index).received() > 0);
        arrived.map(|(_, case)| case.hop_limit).min()
    }

    /// Returns the cases with at least one probe; the system may have refused to send the others.
    fn probed(&self) -> impl Iterator<Item = (usize, ProbeCase)> {
        self.cases.iter().copied().enumerate().filter(|(index, _)| self.sent(*index) > 0)
    }

    /// Returns the number of messages that are not replies to this session.
    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Returns the number of replies that match no probe, or came from more responders than are tracked.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

/// Maximum number of probes whose send times are retained.
const MAX_TIMES: usize = 4_096;
/// The results of a case that a session does not have.
static NO_RESULTS: ProbeResults = ProbeResults::new(0);

/// The probes sent so far, with the send times of the latest.
#[derive(Clone, Debug, Default)]
struct SentProbes {
    discarded: u64,
    times: VecDeque<ClockTime>,
}

impl SentProbes {
    /// Counts a probe as sent now, and returns its number.
    fn record(&mut self, now: ClockTime) -> u64 {
        if self.times.len() == MAX_TIMES {
            self.times.pop_front();
            self.discarded += 1;
        }
        let number = self.count();
        self.times.push_back(now);
        number
    }

    /// Returns the number of probes sent.
    fn count(&self) -> u64 {
        self.discarded + self.times.len() as u64
    }

    /// Returns the send time of a probe, if it is still retained.
    fn time_of(&self, number: u64) -> Option<ClockTime> {
        let index = usize::try_from(number.checked_sub(self.discarded)?).ok()?;
        self.times.get(index).copied()
    }

    /// Returns the number of probes sent before `time`.
    fn before(&self, time: ClockTime) -> u64 {
        self.discarded + self.times.partition_point(|sent| *sent < time) as u64
    }
}

/// The replies to the probes sent by multicast, or to those sent by unicast.
#[derive(Clone, Debug)]
pub struct ProbeResults {
    /// The first probe that is included in the statistics.
    first: u64,
    replies: LossCounter,
    round_trips: Histogram,
}

impl ProbeResults {
    /// Creates empty results, which include the probes from `first` on.
    const fn new(first: u64) -> Self {
        Self { first, replies: LossCounter::of_session(), round_trips: Histogram::new() }
    }

    /// Records a reply; a duplicate has no round-trip time.
    fn record(&mut self, number: u64, round_trip: Duration) {
        if !matches!(self.replies.record(number), SequenceOrder::Duplicate | SequenceOrder::Stray) {
            self.round_trips.record_duration(round_trip);
        }
    }

    /// Returns the number of probes with a reply.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.replies.counts().received
    }

    /// Returns the number of duplicate replies.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.replies.counts().duplicates
    }

    /// Returns the round-trip times.
    #[must_use]
    pub const fn round_trips(&self) -> &Histogram {
        &self.round_trips
    }

    /// Returns the number of probes to include: those that have been answered or whose timeout has passed.
    fn sent(&self, expired: u64) -> u64 {
        let end = expired.max(self.replies.next().unwrap_or(0));
        end.saturating_sub(self.first).max(self.received())
    }
}

/// A host that replies to probes.
#[derive(Clone, Debug)]
pub struct RespondingHost {
    /// The address of its first reply.
    pub address: IpAddr,
    /// Its random id, because several responders may share an address.
    pub id: u64,
    /// The port on which it replies to unicast probes; 0 for none.
    pub unicast_port: u16,
    /// Minimum and maximum number of routers on the path, if both ends report hop limits.
    pub hops: Option<(u8, u8)>,
    /// The indices of the interfaces on which it received probes to the group, as reported by its host.
    pub interfaces: BTreeSet<u32>,
    /// Time from its join to the first probe that reached it, if it joined after probing started; `None` if
    /// it had joined before.
    pub join_to_first: Option<Duration>,
    multicast: Vec<ProbeResults>,
    unicast: ProbeResults,
    unicast_sent: SentProbes,
}

impl RespondingHost {
    /// Returns the results of the probes of a case that were sent to the group; a ping has one case, 0.
    #[must_use]
    pub fn multicast(&self, case: usize) -> &ProbeResults {
        self.multicast.get(case).unwrap_or(&NO_RESULTS)
    }

    /// Returns the results of the probes sent to this responder by unicast.
    #[must_use]
    pub const fn unicast(&self) -> &ProbeResults {
        &self.unicast
    }

    fn update(&mut self, reply: &ProbeReply) {
        self.unicast_port = reply.unicast_port;
        if self.interfaces.len() < MAX_RESPONDERS {
            self.interfaces.insert(reply.interface);
        }
        if let Some(hops) = reply.hops() {
            let (min, max) = self.hops.unwrap_or((hops, hops));
            self.hops = Some((min.min(hops), max.max(hops)));
        }
    }
}
