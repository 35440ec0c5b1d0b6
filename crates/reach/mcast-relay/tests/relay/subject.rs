//! The relay under test, and what it asks its driver to do.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use mcast_group::{Group, SourceFilter};
use mcast_pace::ClockTime;
use mcast_relay::{
    CopyPayload, LegArrival, LegId, PathId, PathPort, PathSide, RefusalReason, Relay, RelayConfig,
    RelayEvent, RelayOutput, RelayPath, Rule,
};

pub(crate) struct Subject {
    pub(crate) relay: Relay,
    pub(crate) now: ClockTime,
    pub(crate) paths: Vec<(PathId, PathSide, PathPort)>,
    pub(crate) events: Vec<RelayEvent>,
    pub(crate) joins: Vec<(LegId, Group, SourceFilter)>,
    pub(crate) announcements: Vec<(LegId, Box<[u8]>)>,
    /// Datagrams for gateways of AMT: where they requested them, source, destination and hop limit.
    pub(crate) encapsulated: Vec<(SocketAddr, SocketAddr, SocketAddr, u8)>,
}

/// A copy: where it is sent from and to, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentCopy {
    pub(crate) path: PathId,
    pub(crate) side: PathSide,
    pub(crate) destination: SocketAddr,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) trail: RelayPath,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns the address of the relay on a leg.
pub(crate) fn own(leg: u8) -> IpAddr {
    [10, 0, leg, 200].into()
}

impl Subject {
    /// Creates a relay with these rules that has listened for two seconds.
    pub(crate) fn new(rules: &str) -> Self {
        Self::with(RelayConfig::new(mcast_relay::parse_rules(rules).unwrap(), 1))
    }

    pub(crate) fn with(config: RelayConfig) -> Self {
        let relay = Relay::new(config).unwrap();
        let (paths, events, joins) = (Vec::new(), Vec::new(), Vec::new());
        let mut subject = Self {
            relay,
            now: ClockTime::START,
            paths,
            events,
            joins,
            announcements: Vec::new(),
            encapsulated: Vec::new(),
        };
        let legs: Vec<LegId> = subject.relay.legs().map(|(leg, _)| leg).collect();
        for leg in legs {
            let addresses = [own(leg.0), format!("2001:db8:{}::200", leg.0).parse().unwrap()];
            subject.relay.handle_leg_up(subject.now, leg, &addresses);
        }
        subject.wait(Duration::from_secs(2));
        subject
    }

    /// Lets time pass; returns the copies that are sent in it.
    pub(crate) fn wait(&mut self, time: Duration) -> Vec<SentCopy> {
        let (end, mut copies) = (self.now + time, self.outputs(&[]));
        while let Some(deadline) = self.relay.poll_timeout().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.relay.handle_timeout(self.now);
            copies.extend(self.outputs(&[]));
        }
        self.now = end;
        copies
    }

    /// Passes a datagram with hop limit 8; returns the copies.
    pub(crate) fn receive(
        &mut self,
        leg: u8,
        source: &str,
        destination: &str,
        payload: &[u8],
    ) -> Vec<SentCopy> {
        self.receive_with(8, leg, source, destination, payload)
    }

    pub(crate) fn receive_with(
        &mut self,
        hop_limit: u8,
        leg: u8,
        source: &str,
        destination: &str,
        payload: &[u8],
    ) -> Vec<SentCopy> {
        let (leg, source, destination) = (LegId(leg), address(source), address(destination));
        let arrival = LegArrival {
            leg,
            source,
            destination,
            hop_limit,
            mac: None,
            trail: RelayPath::default(),
            payload,
        };
        self.relay.handle_datagram(self.now, &arrival);
        self.outputs(payload)
    }

    /// Passes a coalesced buffer of datagrams with this length; returns how many are forwarded together, and their copies.
    pub(crate) fn receive_coalesced(
        &mut self,
        leg: u8,
        source: &str,
        destination: &str,
        payload: &[u8],
        segment: usize,
    ) -> (usize, Vec<SentCopy>) {
        let (leg, source, destination) = (LegId(leg), address(source), address(destination));
        let (hop_limit, mac, trail) = (8, None, RelayPath::default());
        let arrival = LegArrival { leg, source, destination, hop_limit, mac, trail, payload };
        let segment = NonZeroUsize::new(segment).unwrap();
        let count = self.relay.handle_coalesced(self.now, &arrival, segment);
        (count, self.outputs(&payload[..payload.len().min(count * segment.get())]))
    }

    /// Passes a unicast datagram that has arrived at a path; returns what is sent on.
    pub(crate) fn reply(&mut self, path: PathId, source: &str, payload: &[u8]) -> Vec<SentCopy> {
        self.relay.handle_reply(self.now, path, address(source));
        self.outputs(payload)
    }

    pub(crate) fn port(&self, path: PathId) -> PathPort {
        self.paths.iter().find(|(id, ..)| *id == path).unwrap().2
    }

    pub(crate) fn refused(&self, reason: RefusalReason) -> u64 {
        self.relay.rules().map(|(_, counts)| counts.refused(reason)).sum()
    }

    pub(crate) fn replace_rules(&mut self, rules: &[&str]) {
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        self.relay.replace_rules(self.now, rules).unwrap();
        self.outputs(&[]);
    }

    pub(crate) fn outputs(&mut self, received: &[u8]) -> Vec<SentCopy> {
        let mut copies = Vec::new();
        while let Some(output) = self.relay.poll_output() {
            match output {
                RelayOutput::OpenPath { path, side, port, .. } => self.paths.push((path, side, port)),
                RelayOutput::ClosePath(path) => {
                    let position = self.paths.iter().position(|(id, ..)| *id == path).unwrap();
                    self.paths.remove(position);
                }
                RelayOutput::Send { path, trail, destination, hop_limit, payload, .. } => {
                    let side = self.paths.iter().find(|(id, ..)| *id == path).unwrap().1;
                    let payload = match payload {
                        CopyPayload::AsReceived => received.to_vec(),
                        CopyPayload::Other(bytes) => bytes.into(),
                    };
                    copies.push(SentCopy { path, side, destination, hop_limit, trail, payload });
                }
                RelayOutput::Join { leg, group, sources } => self.joins.push((leg, group, sources)),
                RelayOutput::Announce { leg, bytes } => self.announcements.push((leg, bytes)),
                RelayOutput::Encapsulate { listener, source, destination, hop_limit, .. } => {
                    self.encapsulated.push((listener, source, destination, hop_limit));
                }
                RelayOutput::Event(event) => self.events.push(event),
            }
        }
        copies
    }
}
