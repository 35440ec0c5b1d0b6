//! The receiving end of every measurement: counts what arrives, and replies to what asks for a reply.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use mcast_pace::{ClockTime, Limiter, Quota};

use crate::arrivals::Arrivals;
use crate::wire::{
    Examination, MessageType, ProbeReply, ProbeRequest, SessionHeader, SessionId, SessionMessage, UnixNanos,
};
use crate::{ProbeCase, SessionArrivals, SessionKey, Sessions, SystemCounters};

/// What a replier counts, and which requests it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplierKind {
    /// Counts the datagrams of `mcast perf send`, and reports the counts to senders that close a stream.
    Perf {
        /// Also replies to the pings of a [`PingPong`](crate::PingPong).
        pings: bool,
    },
    /// Replies to the probes of `mcast ping` and `mcast doctor --probe`.
    Probes {
        /// Also replies to requests for what this host found out about itself.
        examinations: bool,
    },
}

impl ReplierKind {
    /// Returns the quota of each source, and of all together.
    const fn quotas(self) -> (Quota, Quota) {
        match self {
            // A sender repeats its closing message about ten times; several senders may do so at once.
            Self::Perf { .. } => (Quota { per_second: 20, burst: 10 }, Quota { per_second: 200, burst: 50 }),
            // The maximum rate of one prober, by multicast and by unicast, with a margin.
            Self::Probes { .. } => {
                (Quota { per_second: 250, burst: 50 }, Quota { per_second: 2_000, burst: 400 })
            }
        }
    }
}

/// How a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageArrival {
    /// The source.
    pub source: SocketAddr,
    /// The index of the interface; 0 if it is unknown.
    pub interface: u32,
    /// The hop limit on arrival, if the system reports it.
    pub hop_limit: Option<u8>,
    /// Whether it arrived at the socket for unicast.
    pub by_unicast: bool,
    /// The time of arrival, by the clock of this host.
    pub time: UnixNanos,
    /// The length of the payload, of which less may have been received.
    pub length: usize,
}

/// What a replier reads from its host when a reply contains it.
pub trait ReplierHost {
    /// Returns the system's counters, for a report.
    fn counters(&mut self) -> SystemCounters;

    /// Returns the number of probes of a session on the wire, if that is known, and what this host found out about
    /// itself. The first call lets it begin.
    fn examine(&mut self, session: SessionId) -> (Option<u64>, String);
}

/// The receiving end of a measurement, for every kind of session.
///
/// Source addresses can be forged, so that a reply may go to a host that asked for nothing. No reply is longer than its
/// request, and replies are limited in rate, by address and in total. Pongs are not limited: they are sent only to a
/// sender that knows a token which was sent to its address and port.
///
/// ```
/// use mcast_measure::wire::{MessageType, SessionHeader, SessionId, SessionSettings, UnixNanos};
/// use mcast_measure::{MessageArrival, ClockTime, Replier, ReplierHost, ReplierKind, Sessions, SystemCounters};
/// use std::time::Duration;
///
/// struct Host;
///
/// impl ReplierHost for Host {
///     fn counters(&mut self) -> SystemCounters {
///         SystemCounters::default()
///     }
///
///     fn examine(&mut self, _session: SessionId) -> (Option<u64>, String) {
///         (None, String::new())
///     }
/// }
///
/// let sessions = Sessions::new(1, 0, Duration::from_secs(3), SystemCounters::default());
/// let mut replier = Replier::new(ReplierKind::Perf { pings: false }, 1, 0, sessions);
/// let session = SessionId(7);
/// let header = SessionHeader { kind: MessageType::Data, stream: 0, session, sequence: 0, time: UnixNanos(5) };
/// let source = ([10, 0, 0, 1], 9).into();
/// let time = UnixNanos(8);
/// let arrival = MessageArrival { source, interface: 2, hop_limit: None, by_unicast: false, time, length: 32 };
/// let now = ClockTime(0);
/// assert_eq!(replier.handle_datagram(now, &header.encode(), &arrival, &mut Host), None);
///
/// // The sender states that it has sent two datagrams, and gets a report.
/// let closing = SessionSettings::default().closing(SessionHeader { sequence: 2, ..header });
/// assert!(replier.handle_datagram(now, &closing, &arrival, &mut Host).is_some());
/// let end = now + Duration::from_secs(1);
/// let ended = replier.sessions().take_ended(end, SystemCounters::default);
/// assert_eq!((ended[0].report.received, ended[0].report.lost), (1, 1));
/// ```
#[derive(Debug)]
pub struct Replier {
    kind: ReplierKind,
    id: u64,
    unicast_port: u16,
    limiter: Limiter,
    tokens: RandomState,
    sessions: Sessions,
    arrivals: Arrivals,
    foreign: u64,
    reply: Vec<u8>,
    /// A ping that is not yet counted: the pong is sent first, because the sender measures the time until it arrives.
    latest_ping: Option<(SessionHeader, MessageArrival, ClockTime)>,
    /// The latest ping with a valid token: the next one is most likely from the same sender, and need not be hashed.
    proven: Option<(SocketAddr, SessionId, u64)>,
}

impl Replier {
    /// Creates a replier with a random id, which its replies carry, and the port at which it receives unicast probes,
    /// or 0 if it receives none. The sessions are those of senders that it counts.
    #[must_use]
    pub fn new(kind: ReplierKind, id: u64, unicast_port: u16, sessions: Sessions) -> Self {
        let (each, all) = kind.quotas();
        Self {
            kind,
            id,
            unicast_port,
            limiter: Limiter::new(each, all),
            tokens: RandomState::new(),
            sessions,
            arrivals: Arrivals::default(),
            foreign: 0,
            reply: Vec::new(),
            latest_ping: None,
            proven: None,
        }
    }

    /// Records a message that arrived `now`, counted from the moment the host joined. Returns the reply to it, which is
    /// never longer, if it asks for one that the rate limit allows.
    pub fn handle_datagram(
        &mut self,
        now: ClockTime,
        message: &[u8],
        arrival: &MessageArrival,
        host: &mut impl ReplierHost,
    ) -> Option<&[u8]> {
        self.count_latest_ping();
        self.reply.clear();
        match (self.kind, SessionHeader::decode(message)) {
            (_, None) => self.foreign += 1,
            (ReplierKind::Perf { .. }, Some(header)) if header.kind == MessageType::Data => {
                self.sessions.data(key(&header, arrival), &header, arrival.length, arrival.time, now);
            }
            (ReplierKind::Perf { pings }, Some(header)) => {
                self.handle_perf(now, &header, message, arrival, pings, host);
            }
            (ReplierKind::Probes { examinations }, Some(_)) => {
                self.handle_probe(now, message, arrival, examinations, host);
            }
        }
        debug_assert!(self.reply.len() <= message.len(), "a reply must not be longer than its request");
        (!self.reply.is_empty()).then_some(&self.reply)
    }

    /// Handles a message to a receiver of `mcast perf` that is not data.
    fn handle_perf(
        &mut self,
        now: ClockTime,
        header: &SessionHeader,
        message: &[u8],
        arrival: &MessageArrival,
        pings: bool,
        host: &mut impl ReplierHost,
    ) {
        let (source, key) = (arrival.source, key(header, arrival));
        let token = || self.tokens.hash_one((source, header.session));
        match SessionMessage::decode(message) {
            Some((_, SessionMessage::Opening(settings))) => self.sessions.open(key, header, &settings, now),
            Some((_, SessionMessage::Closing(settings))) => {
                let Some(session) = self.sessions.close(key, header, &settings, now) else { return };
                if self.limiter.allows(now, key.source) {
                    self.reply = session.report(self.id, &host.counters()).encode(*header);
                }
            }
            Some((_, SessionMessage::Call)) if pings => {
                if self.limiter.allows(now, key.source) {
                    self.reply.extend(header.with_kind(MessageType::Token).encode());
                    self.reply.extend(token().to_be_bytes());
                }
            }
            Some((_, SessionMessage::Ping(own))) => {
                // A ping to another receiver counts as data, too.
                self.latest_ping = Some((*header, *arrival, now));
                let claim = Some((source, header.session, own));
                if pings && (self.proven == claim || own == token()) {
                    self.proven = claim;
                    // The pong is the ping itself.
                    self.reply.extend_from_slice(message);
                    header.with_kind(MessageType::Pong).write(&mut self.reply);
                }
            }
            Some((_, SessionMessage::Probe(_) | SessionMessage::Reply(_))) | None => self.foreign += 1,
            // A message for senders, or a call that others answer.
            Some(_) => {}
        }
    }

    /// Handles a message to a replier to probes.
    fn handle_probe(
        &mut self,
        now: ClockTime,
        message: &[u8],
        arrival: &MessageArrival,
        examinations: bool,
        host: &mut impl ReplierHost,
    ) {
        let source = arrival.source.ip().to_canonical();
        match SessionMessage::decode(message) {
            Some((header, SessionMessage::Probe(probe))) if probe.by_unicast == arrival.by_unicast => {
                let case = ProbeCase { size: message.len(), hop_limit: probe.hop_limit };
                self.arrivals.record(header.session, source, case, arrival.by_unicast);
                if self.limiter.allows(now, source) {
                    let length = if probe.short_reply { 0 } else { message.len() };
                    let reply = self.describe(now, &probe, message.len(), arrival);
                    self.reply = reply.encode(header, length);
                }
            }
            Some((header, SessionMessage::Examine)) if examinations => {
                let at_socket = self.arrivals.known_to_group(header.session, source);
                if self.limiter.allows(now, source) {
                    let (on_wire, text) = host.examine(header.session);
                    self.reply = Examination { responder: self.id, on_wire, at_socket, text }.encode(header);
                }
            }
            _ => self.foreign += 1,
        }
    }

    /// Counts the ping that was answered last, which would otherwise delay its pong. Call it after sending the pong; the
    /// next message counts it at the latest.
    pub fn count_latest_ping(&mut self) {
        if let Some((header, arrival, now)) = self.latest_ping.take() {
            self.sessions.data(key(&header, &arrival), &header, arrival.length, arrival.time, now);
        }
    }

    fn describe(
        &self,
        now: ClockTime,
        probe: &ProbeRequest,
        length: usize,
        arrival: &MessageArrival,
    ) -> ProbeReply {
        ProbeReply {
            responder: self.id,
            interface: arrival.interface,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            hop_limit: probe.hop_limit,
            arrival_hop_limit: arrival.hop_limit,
            by_unicast: arrival.by_unicast,
            unicast_port: self.unicast_port,
            joined: since_start(now),
        }
    }

    /// Returns the random id.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the sessions of senders, to end them and to read their progress.
    pub fn sessions(&mut self) -> &mut Sessions {
        self.count_latest_ping();
        &mut self.sessions
    }

    /// Returns what has arrived of each session of probes, oldest first.
    pub fn arrivals(&self) -> impl Iterator<Item = &SessionArrivals> {
        self.arrivals.iter()
    }

    /// Returns the number of sessions of which [`arrivals`](Self::arrivals) contains nothing any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.arrivals.forgotten()
    }

    /// Returns the number of messages that are not for a replier of this kind.
    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Returns the number of requests over the rate limit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.limiter.refused()
    }
}

const fn key(header: &SessionHeader, arrival: &MessageArrival) -> SessionKey {
    let (source, interface, session) = (arrival.source.ip(), arrival.interface, header.session);
    SessionKey { source, interface, session }
}

const fn since_start(now: ClockTime) -> Duration {
    Duration::from_nanos(now.0)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{
        CLOSING_LENGTH, PING_LENGTH, PROBE_LENGTH, ReceiverReport, SessionSettings, examination_request,
    };

    const PERF: ReplierKind = ReplierKind::Perf { pings: false };
    const PINGS: ReplierKind = ReplierKind::Perf { pings: true };
    const PROBES: ReplierKind = ReplierKind::Probes { examinations: false };
    const PATH_TESTS: ReplierKind = ReplierKind::Probes { examinations: true };
    const KINDS: [ReplierKind; 4] = [PERF, PINGS, PROBES, PATH_TESTS];
    const START: ClockTime = ClockTime(0);
    const SECOND: Duration = Duration::from_secs(1);

    /// Finds text that no reply has room for.
    struct Host;

    impl ReplierHost for Host {
        fn counters(&mut self) -> SystemCounters {
            SystemCounters { receive_calls: 7, ..SystemCounters::default() }
        }

        fn examine(&mut self, _session: SessionId) -> (Option<u64>, String) {
            (Some(3), "fault".repeat(1_000))
        }
    }

    fn replier(kind: ReplierKind) -> Replier {
        let sessions = Sessions::new(1, 0, 3 * SECOND, SystemCounters::default());
        Replier::new(kind, 1, 9, sessions)
    }

    fn arrival(port: u16, by_unicast: bool) -> MessageArrival {
        MessageArrival {
            source: ([10, 0, 0, 1], port).into(),
            interface: 3,
            hop_limit: Some(3),
            by_unicast,
            time: UnixNanos(0),
            length: 100,
        }
    }

    /// Returns the reply to a message to the group from port 1.
    fn reply(replier: &mut Replier, message: &[u8], now: ClockTime) -> Option<Vec<u8>> {
        replier.handle_datagram(now, message, &arrival(1, false), &mut Host).map(<[u8]>::to_vec)
    }

    fn header(kind: MessageType) -> SessionHeader {
        SessionHeader { sequence: 2, time: UnixNanos(3), ..SessionHeader::new(kind, SessionId(1)) }
    }

    fn probe(length: usize, by_unicast: bool, short_reply: bool) -> Vec<u8> {
        let probe = ProbeRequest { hop_limit: 4, by_unicast, short_reply };
        probe.encode(header(MessageType::Probe), length)
    }

    fn with_token(kind: MessageType, token: u64, length: usize) -> Vec<u8> {
        let mut message = header(kind).encode().to_vec();
        message.extend(token.to_be_bytes());
        message.resize(length, 0);
        message
    }

    fn closing() -> Vec<u8> {
        SessionSettings::default().closing(header(MessageType::Closing))
    }

    fn report(reply: &[u8]) -> ReceiverReport {
        match SessionMessage::decode(reply) {
            Some((_, SessionMessage::Report(report))) => *report,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_closing_message_is_answered_with_what_arrived() {
        let mut replier = replier(PERF);
        assert_eq!(reply(&mut replier, &closing(), START), None, "nothing of it has arrived");
        assert_eq!(reply(&mut replier, &header(MessageType::Data).encode(), START), None);
        let report = report(&reply(&mut replier, &closing(), START).unwrap());
        assert_eq!((report.receiver, report.number, report.received, report.receive_calls), (1, 1, 1, 7));
    }

    #[test]
    fn only_the_holder_of_its_token_gets_pongs() {
        let mut replier = replier(PINGS);
        let mut reply = |message: &[u8], port| {
            let reply = replier.handle_datagram(START, message, &arrival(port, false), &mut Host);
            reply.map(<[u8]>::to_vec)
        };
        let offer = reply(&with_token(MessageType::Call, 0, PING_LENGTH), 1).unwrap();
        let Some((_, SessionMessage::Token(token))) = SessionMessage::decode(&offer) else {
            panic!("{offer:?}")
        };
        let ping = with_token(MessageType::Ping, token, 100);
        let pong = reply(&ping, 1).unwrap();
        assert_eq!(pong.len(), ping.len());
        assert_eq!(SessionMessage::decode(&pong), Some((header(MessageType::Pong), SessionMessage::Pong)));
        assert_eq!(reply(&ping, 2), None, "another port");
        assert_eq!(reply(&with_token(MessageType::Ping, token ^ 1, 100), 1), None);
        assert_eq!(reply(&ping[..PING_LENGTH - 1], 1), None);
        // Pongs are not limited in rate.
        assert!((0..1_000).all(|_| reply(&ping, 1).is_some()));
    }

    #[test]
    fn pings_are_data_to_every_receiver() {
        for kind in [PERF, PINGS] {
            let mut replier = replier(kind);
            assert_eq!(reply(&mut replier, &with_token(MessageType::Ping, 0, 100), START), None);
            assert_eq!(report(&reply(&mut replier, &closing(), START).unwrap()).received, 1);
        }
    }

    #[test]
    fn a_reply_is_as_long_as_its_probe_or_short_and_describes_its_arrival() {
        for length in [0, 64, 1_400, 60_000] {
            for short_reply in [false, true] {
                let probe = probe(length, false, short_reply);
                let reply = reply(&mut replier(PROBES), &probe, START + SECOND).unwrap();
                assert_eq!(reply.len(), if short_reply { PROBE_LENGTH } else { probe.len() });
                let Some((_, SessionMessage::Reply(reply))) = SessionMessage::decode(&reply) else {
                    panic!("no reply")
                };
                assert_eq!((reply.length as usize, reply.interface, reply.hops()), (probe.len(), 3, Some(1)));
                assert_eq!((reply.unicast_port, reply.joined), (9, SECOND));
            }
        }
    }

    #[test]
    fn a_request_is_answered_with_what_arrived_of_its_session() {
        let mut replier = replier(PATH_TESTS);
        let _ = reply(&mut replier, &probe(64, false, true), START);
        let bytes = reply(&mut replier, &examination_request(header(MessageType::Examine)), START).unwrap();
        let Some((_, SessionMessage::Examination(found))) = SessionMessage::decode(&bytes) else {
            panic!("no examination")
        };
        assert_eq!((found.responder, found.on_wire, found.at_socket), (1, Some(3), 1));
        assert!(found.text.starts_with("faultfault"));
    }

    #[test]
    fn what_another_kind_answers_is_not_answered() {
        let own = reply(&mut replier(PROBES), &probe(64, false, false), START).unwrap();
        let messages = [
            b"hello".to_vec(),
            closing(),
            with_token(MessageType::Call, 0, PING_LENGTH),
            probe(64, false, false),
            probe(64, false, false)[..50].to_vec(),
            probe(64, true, false),
            own,
            examination_request(header(MessageType::Examine)),
        ];
        // The messages that are answered, and the number that is foreign.
        let expected: [(&[usize], u64); 4] = [(&[], 5), (&[2], 5), (&[3], 7), (&[3, 7], 6)];
        for (kind, (answered, foreign)) in KINDS.into_iter().zip(expected) {
            let mut replier = replier(kind);
            let is_answered = |message: &Vec<u8>| reply(&mut replier, message, START).is_some();
            let found: Vec<bool> = messages.iter().map(is_answered).collect();
            let indices: Vec<usize> = (0..found.len()).filter(|index| found[*index]).collect();
            assert_eq!((&indices[..], replier.foreign()), (answered, foreign), "{kind:?}");
            assert!(replier.sessions().is_empty());
        }
    }

    #[test]
    fn reports_and_tokens_share_a_rate_limit() {
        let mut replier = replier(PINGS);
        let _ = reply(&mut replier, &header(MessageType::Data).encode(), START);
        let mut answered = |message: &[u8], count| {
            (0..count).filter(|_| reply(&mut replier, message, START).is_some()).count()
        };
        let tokens = answered(&with_token(MessageType::Call, 0, PING_LENGTH), 6);
        let reports = answered(&closing(), 6);
        assert_eq!((tokens, reports, replier.refused()), (6, 4, 2));
    }

    proptest! {
        /// The promises to those whose address is forged, for every kind of replier and any messages.
        #[test]
        fn replies_are_neither_longer_nor_more_than_allowed(
            kind in 0_usize..4,
            requests in proptest::collection::vec(
                (1_u8..14, 0_u64..2, 0_u8..2, 1_u16..3, any::<bool>(), 0_usize..1_300, 0_u64..20), 1..600,
            ),
        ) {
            let kind = KINDS[kind];
            let (mut replier, mut now) = (replier(kind), START);
            let mut replies = 0;
            for (number, session, flags, port, by_unicast, length, pause) in requests {
                now = now + Duration::from_millis(pause);
                let mut message = header(MessageType::Data).encode().to_vec();
                message[4] = number;
                message[15] = session as u8;
                message.resize(message.len().max(length), 0);
                if let Some(first) = message.get_mut(32) {
                    *first = flags;
                }
                let reply = replier.handle_datagram(now, &message, &arrival(port, by_unicast), &mut Host);
                prop_assert!(reply.is_none_or(|reply| reply.len() <= message.len()));
                let is_pong = reply.and_then(SessionHeader::decode).is_some_and(|it| it.kind == MessageType::Pong);
                prop_assert!(!is_pong, "no token was sent with the ping");
                replies += u64::from(reply.is_some());
            }
            let (each, _) = kind.quotas();
            prop_assert!(replies <= each.burst + each.per_second * now.0 / 1_000_000_000);
        }

        /// No message is answered that was cut off.
        #[test]
        fn short_requests_get_no_reply(kind in 0_usize..4, which in 0_usize..4, cut in 1_usize..1_200) {
            let mut replier = replier(KINDS[kind]);
            let _ = reply(&mut replier, &header(MessageType::Data).encode(), START);
            let (message, least) = match which {
                0 => (closing(), CLOSING_LENGTH),
                1 => (with_token(MessageType::Call, 0, PING_LENGTH), PING_LENGTH),
                2 => (probe(0, false, false), PROBE_LENGTH),
                _ => (examination_request(header(MessageType::Examine)), 1_200),
            };
            prop_assert_eq!(message.len(), least);
            let cut = cut.min(least);
            prop_assert_eq!(reply(&mut replier, &message[..least - cut], START), None);
        }
    }

    #[test]
    fn each_source_and_all_together_are_limited() {
        for request in [probe(64, false, false), examination_request(header(MessageType::Examine))] {
            let mut replier = replier(PATH_TESTS);
            let mut answered = |last: u8| {
                let source = SocketAddr::from((IpAddr::from([10, 0, 0, last]), 1));
                let arrival = MessageArrival { source, ..arrival(1, false) };
                let is_answered =
                    |_: &u32| replier.handle_datagram(START, &request, &arrival, &mut Host).is_some();
                (0..1_000).filter(is_answered).count()
            };
            let counts: Vec<usize> = (1..=10).map(&mut answered).collect();
            assert_eq!(counts, [50, 50, 50, 50, 50, 50, 50, 50, 0, 0]);
            assert_eq!(replier.refused(), 9_600);
        }
    }
}
