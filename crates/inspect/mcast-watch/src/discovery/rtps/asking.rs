//! Asks for the participants of DDS, and for their readers and writers, as a participant that only listens.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_packet::payload::{Rtps, RtpsData, RtpsGuid, RtpsPrefix, RtpsVendor};

use super::super::entry::DiscoveryProtocol;
use super::super::registry::Registry;
use super::super::{DiscoveryDatagram, DiscoveryPlace, DiscoveryQuestion};
use super::ParticipantPlace;
use crate::clock::Time;
use crate::lru::Lru;

/// The questions to participants. Everything that arrives may be forged, so an answer to it is no longer than it is, and
/// none is sent to those that do not know the number of this participant.
#[derive(Debug)]
pub(super) struct RtpsAsking {
    /// The identity of this participant.
    own: RtpsPrefix,
    domains: Vec<u32>,
    /// The next greeting: of each domain, one by IPv4 and one by IPv6.
    next: usize,
    due: Option<Time>,
    /// When those that have appeared in a domain are greeted, which cannot know of this participant.
    newcomers: Option<(Time, u32)>,
    /// What was read of each writer, by the network.
    known: Lru<(DiscoveryPlace, RtpsGuid), ReadWriter>,
    requests: VecDeque<DiscoveryQuestion>,
    count: u32,
}

/// A writer of discovery, by what was read of it.
#[derive(Debug, Default)]
struct ReadWriter {
    /// The last change without a gap.
    last: u64,
    /// When the next one was first requested, and how often since.
    requested: Option<(Time, u32)>,
    /// Whether its participant has departed since.
    has_departed: bool,
}

impl RtpsAsking {
    const NAME: [u8; 16] = *b"mcast discover \0";
    /// How long others remember this participant, in seconds, and how often it must greet.
    const LEASE: u32 = 20;
    const INTERVAL: Duration = Duration::from_secs(8);
    /// The domains that are asked before anything is known of others. Most networks use 0, and those of ROS a small number.
    const FIRST_DOMAINS: u32 = 10;
    /// The ports of domains end here.
    const LAST_DOMAIN: u32 = 232;
    const GROUPS: [IpAddr; 2] = [IpAddr::V4(Rtps::GROUP), IpAddr::V6(Rtps::GROUP_V6)];
    /// As many greetings are sent at once, and the next ones after a pause: 320 per second and family at most, and every domain
    /// within a second.
    const BURST: usize = 64;
    const PAUSE: Duration = Duration::from_millis(100);
    /// Participants that appear within this time are greeted together, in one domain at a time: their announcements may be forged.
    const NEWCOMERS: Duration = Duration::from_millis(500);
    const MAX_REQUESTS: usize = 256;
    const MAX_WRITERS: usize = 4_096;
    /// A participant that does not send what it has after this number of requests in this time does not receive them.
    const MIN_REQUESTS: u32 = 3;
    const UNANSWERED: Duration = Duration::from_millis(700);

    pub(super) fn new() -> Self {
        let [random, more] = [0, 1].map(|number| RandomState::new().hash_one(number).to_be_bytes());
        let mut own = [0; 12];
        own.iter_mut().skip(2).zip(random.iter().chain(&more)).for_each(|(to, from)| *to = *from);
        Self {
            own: RtpsPrefix(own),
            domains: (0..Self::FIRST_DOMAINS).collect(),
            next: 0,
            due: None,
            newcomers: None,
            known: Lru::new(Self::MAX_WRITERS),
            requests: VecDeque::new(),
            count: 0,
        }
    }

    /// Returns whether a message is one of its own questions.
    pub(super) fn is_own(&self, message: &Rtps<'_>) -> bool {
        message.participant == self.own
    }

    /// Returns whether a participant with such a name is a program that asks as this one does, and has nothing else to announce.
    pub(super) fn is_question(RtpsPrefix(from): RtpsPrefix, vendor: Option<RtpsVendor>, name: &[u8]) -> bool {
        from.starts_with(&[0, 0])
            && vendor == Some(RtpsVendor(0))
            && Self::NAME.strip_suffix(&[0]) == Some(name)
    }

    pub(super) fn start(&mut self, now: Time) {
        (self.due, self.next) = (Some(now), 0);
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.due.into_iter().chain(self.newcomers.map(|(due, _)| due)).min()
    }

    /// Notes that a participant has appeared in a domain.
    pub(super) fn add_newcomer(&mut self, domain: u32, now: Time) {
        if self.due.is_some() && domain <= Self::LAST_DOMAIN {
            self.newcomers.get_or_insert_with(|| (now.after(Self::NEWCOMERS), domain));
        }
    }

    /// Notes that there are participants in a domain. A new one is greeted at once.
    pub(super) fn add_domain(&mut self, domain: u32, now: Time) {
        if domain <= Self::LAST_DOMAIN && !self.domains.contains(&domain) {
            self.domains.push(domain);
            if self.due.is_some() && self.next == 0 {
                (self.due, self.next) = (Some(now), Self::GROUPS.len() * (self.domains.len() - 1));
            }
        }
    }

    /// Notes a change that arrived from a writer of discovery; returns `false` if it was known before. What is repeated late, after the
    /// goodbye that followed it, is not there any more.
    pub(super) fn received(&mut self, place: DiscoveryPlace, data: &RtpsData<'_>) -> bool {
        if self.due.is_none() {
            return true;
        }
        let (known, _) = self.known.touch((place, data.writer), ReadWriter::default);
        known.requested = None;
        let is_new = data.sequence > known.last;
        if data.sequence == known.last.saturating_add(1) {
            known.last = data.sequence;
        }
        is_new
    }

    /// Notes that a participant has departed: what it repeats late is not there any more.
    pub(super) fn note_departure(&mut self, participant: ParticipantPlace) {
        for writer in writers(participant) {
            self.known.get_mut(&writer).into_iter().for_each(|known| known.has_departed = true);
        }
    }

    /// Forgets what was read of a participant that has appeared, if it had departed before: it starts again.
    pub(super) fn note_appearance(&mut self, participant: ParticipantPlace) {
        for writer in writers(participant) {
            if self.known.get(&writer).is_some_and(|known| known.has_departed) {
                self.known.remove(&writer);
            }
        }
    }

    /// Returns what is requested of a participant that does not send it.
    pub(super) fn unanswered(&self, now: Time, participant: ParticipantPlace) -> Option<&'static str> {
        let is_unanswered =
            |(since, count)| count >= Self::MIN_REQUESTS && now.since(since) >= Self::UNANSWERED;
        let mut known =
            writers(participant).into_iter().filter_map(|writer| self.known.get(&writer)?.requested);
        known.any(is_unanswered).then_some("requests by unicast for its readers and writers")
    }

    /// Answers the heartbeats in a message with requests for what is missing, to this address of the participant. Those for no
    /// participant in particular are answered if the datagram was for this one. A writer that waits for other readers, too, sends
    /// heartbeats to the group, for all of them: an answer to it names the writer's participant, and is longer than the heartbeat, so it
    /// is paid for by this credit in bytes.
    pub(super) fn answer(
        &mut self,
        now: Time,
        message: &Rtps<'_>,
        datagram: &DiscoveryDatagram<'_>,
        to: SocketAddr,
        credit: &mut usize,
        registry: &mut Registry,
    ) {
        if self.due.is_none() {
            return;
        }
        for mut heartbeat in message.heartbeats_for(self.own) {
            let (writer, (first, last)) = (heartbeat.writer, heartbeat.range);
            if !matches!(writer.entity, RtpsGuid::PUBLICATIONS_WRITER | RtpsGuid::SUBSCRIPTIONS_WRITER) {
                continue;
            }
            if !heartbeat.is_named && datagram.destination.ip().is_multicast() {
                let Some(rest) = credit.checked_sub(RtpsPrefix::MAX_REQUEST_LENGTH) else { continue };
                (*credit, heartbeat.is_named) = (rest, true);
            }
            if self.requests.len() >= Self::MAX_REQUESTS {
                registry.counts.refused += 1;
                return;
            }
            let (known, _) = self.known.touch((datagram.place, writer), ReadWriter::default);
            // What is gone cannot be requested.
            known.last = known.last.max(first.saturating_sub(1)).min(last.max(first.saturating_sub(1)));
            let (since, count) = known.requested.unwrap_or((now, 0));
            known.requested = (known.last < last).then(|| (since, count.saturating_add(1)));
            self.count = self.count.wrapping_add(1);
            let mut buffer = [0; RtpsPrefix::MAX_REQUEST_LENGTH];
            self.requests.push_back(DiscoveryQuestion {
                protocol: DiscoveryProtocol::Rtps,
                place: Some(datagram.place),
                destination: to,
                payload: self.own.request(&heartbeat, known.last, self.count, &mut buffer).to_vec(),
            });
        }
    }

    pub(super) fn poll(&mut self, now: Time) -> Option<DiscoveryQuestion> {
        if let Some(request) = self.requests.pop_front() {
            return Some(request);
        }
        if let Some((_, domain)) = self.newcomers.take_if(|(due, _)| *due <= now) {
            let [v4, v6] = Self::GROUPS.map(|group| self.greeting(domain, group));
            self.requests.extend(v6);
            return v4;
        }
        self.due.filter(|due| *due <= now)?;
        let Some(domain) = self.domains.get(self.next / Self::GROUPS.len()).copied() else {
            (self.due, self.next) = (Some(now.after(Self::INTERVAL)), 0);
            return None;
        };
        let group = Self::GROUPS[self.next % Self::GROUPS.len()];
        self.next += 1;
        if self.next.is_multiple_of(Self::BURST) {
            self.due = Some(now.after(Self::PAUSE));
        }
        self.greeting(domain, group)
    }

    fn greeting(&self, domain: u32, group: IpAddr) -> Option<DiscoveryQuestion> {
        let port = u16::try_from(u32::from(Rtps::FIRST_PORT) + 250 * domain).ok()?;
        Some(DiscoveryQuestion {
            protocol: DiscoveryProtocol::Rtps,
            place: None,
            destination: SocketAddr::new(group, port),
            payload: self.own.greeting(domain, group, &Self::NAME, Self::LEASE).to_vec(),
        })
    }
}

/// Returns the two writers by which a participant states its readers and writers.
fn writers((place, prefix): ParticipantPlace) -> [(DiscoveryPlace, RtpsGuid); 2] {
    [RtpsGuid::PUBLICATIONS_WRITER, RtpsGuid::SUBSCRIPTIONS_WRITER]
        .map(|entity| (place, RtpsGuid { prefix, entity }))
}
