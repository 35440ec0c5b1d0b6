//! Clocks that distribute or follow the time by PTP, over UDP and over Ethernet.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mcast_packet::payload::{Ptp, PtpAnnounce, PtpClock, PtpDataSet, PtpKind, PtpV1Sync};
use mcast_packet::{Network, ether_type};

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource,
};
use super::facts::DiscoveredFacts;
use super::registry::Registry;
use super::rivals::{Rivals, announce_rival};
use super::support::announced_by;
use super::{DiscoveryDatagram, DiscoveryPacket, DiscoveryQuestion, DiscoveryRequest, Observer};
use crate::clock::Time;

/// Where a message came from, and the profile of its sender: that of the standard is 0, that of IEEE 802.1AS is 1; they are different
/// networks of clocks.
#[derive(Clone, Copy)]
struct Origin {
    now: Time,
    place: DiscoveryPlace,
    source: DiscoverySource,
    profile: u8,
}

/// Reads what clocks announce.
#[derive(Debug)]
pub(super) struct PtpObserver {
    masters: Rivals,
    /// The domains to ask in, the latest last.
    domains: Vec<u8>,
    /// The next domain to ask in.
    next: usize,
    /// When to ask.
    due: Option<Time>,
}

impl PtpObserver {
    /// The groups of all messages but those between neighbors, for versions 1 and 2 (IEEE 1588-2008 annex D).
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 129);
    /// A clock that does not distribute the time is forgotten after this time without a message. It may send one in 32 s.
    const FOLLOWER: Duration = Duration::from_secs(100);
    /// The time between two rounds of questions.
    const ASKING: Duration = Duration::from_secs(30);
    const MAX_DOMAINS: usize = 16;
    /// The identity in questions: of no vendor.
    const SELF: u64 = 0x0200_00ff_fe6d_6374;

    pub(super) fn new() -> Self {
        Self { masters: Rivals::new(), domains: vec![0], next: 0, due: None }
    }

    fn message(
        &mut self,
        now: Time,
        place: DiscoveryPlace,
        source: DiscoverySource,
        bytes: &[u8],
        registry: &mut Registry,
    ) {
        let Some(header) = Ptp::parse(bytes) else {
            registry.counts.malformed += 1;
            return;
        };
        if self.domains.len() < Self::MAX_DOMAINS && !self.domains.contains(&header.domain) {
            self.domains.push(header.domain);
        }
        let profile = bytes.first().map_or(0, |byte| byte >> 4);
        let origin = Origin { now, place, source, profile };
        match header.kind {
            PtpKind::Announce => match PtpAnnounce::parse(bytes) {
                Some(announce) => self.announce(origin, &header, &announce, registry),
                None => registry.counts.malformed += 1,
            },
            PtpKind::DelayRequest | PtpKind::PeerDelayRequest => {
                follower(origin, &header, registry);
            }
            PtpKind::Management => {
                if let Some(answer) = PtpDataSet::parse(bytes) {
                    answered(origin, &answer, registry);
                }
            }
            _ => {}
        }
    }

    fn announce(&mut self, origin: Origin, header: &Ptp, announce: &PtpAnnounce, registry: &mut Registry) {
        let Origin { now, place, profile, .. } = origin;
        let mut announced = clock(origin, header.clock, header.domain);
        // Others take over when three announcements are missing (IEEE 1588-2019 clause 17.2.4).
        let lifetime = interval(header.log_interval) * 3;
        announced.expires = Some(now.after(lifetime));
        announced.add("state", "master");
        announced.facts = Some(DiscoveredFacts::MasterClock.into());
        announced.add("grandmaster", ClockName(announce.grandmaster.identity));
        properties(&mut announced, &announce.grandmaster);
        announced.add("steps removed", announce.steps_removed);
        announced.add("time source", time_source(announce.time_source));
        // Programs that ignore what is valid are wrong by this many seconds (IEEE 1588-2019 table 37).
        announced.add("timescale", if header.flags & 0x0008 != 0 { "PTP" } else { "arbitrary" });
        announced.add("UTC offset", format_args!("{} s", announce.utc_offset));
        announced.add("UTC offset valid", if header.flags & 0x0004 != 0 { "yes" } else { "no" });
        announced.add("interval", format_args!("{} s", interval(header.log_interval).as_secs_f64()));
        let domain = header.domain;
        let role = (place, DiscoveryProtocol::Ptp, format!("{domain}/{profile}").into());
        let rivals = self.masters.announce(now, role, &announced.key, lifetime);
        announce_rival(now, announced, &rivals, registry, |others| {
            format!("more than one master in domain {domain}: also {others}")
        });
    }

    fn version_1(
        &mut self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        sync: &PtpV1Sync<'_>,
        registry: &mut Registry,
    ) {
        let subdomain = super::UntrustedText::new(sync.subdomain);
        let id = format!("{}/{subdomain}", Uuid(sync.clock));
        let mut announced = announced_by(now, datagram, DiscoveryProtocol::PtpV1, DiscoveredKind::Clock, id);
        announced.name = Uuid(sync.clock).to_string().into();
        announced.service = format!("domain {subdomain}").into();
        // Others take over when ten messages are missing (IEEE 1588-2002, PTP_SYNC_RECEIPT_TIMEOUT).
        let lifetime = interval(sync.log_interval) * 10;
        announced.expires = Some(now.after(lifetime));
        announced.add("domain", &subdomain);
        announced.add("state", "master");
        announced.add("grandmaster", Uuid(sync.grandmaster));
        announced.add("stratum", sync.stratum);
        announced.add_text("quality", sync.quality);
        announced.add_some("preferred", sync.is_preferred.then_some("yes"));
        announced.add("steps removed", sync.steps_removed);
        let role = (datagram.place, DiscoveryProtocol::PtpV1, subdomain.clone());
        let rivals = self.masters.announce(now, role, &announced.key, lifetime);
        announce_rival(now, announced, &rivals, registry, |others| {
            format!("more than one master in domain {subdomain}: also {others}")
        });
    }
}

impl Observer for PtpObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        if !matches!(datagram.destination.port(), Ptp::EVENT_PORT | Ptp::GENERAL_PORT) {
            return;
        }
        if datagram.payload.starts_with(&[0, 1]) {
            if let Some(sync) = PtpV1Sync::parse(datagram.payload) {
                self.version_1(now, datagram, &sync, registry);
            }
            return;
        }
        self.message(now, datagram.place, DiscoverySource::Ip(datagram.source), datagram.payload, registry);
    }

    fn handle_packet(&mut self, now: Time, packet: &DiscoveryPacket<'_>, registry: &mut Registry) {
        if let Some(Network::Other { ether_type: ether_type::PTP, payload }) = packet.packet.network
            && let Some((_, from)) = packet.packet.hardware_addresses()
        {
            self.message(now, packet.place, DiscoverySource::Mac(from), payload, registry);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    fn ask(&mut self, now: Time, _: &DiscoveryRequest) {
        (self.due, self.next) = (Some(now), 0);
    }

    fn poll_transmit(&mut self, now: Time, _registry: &Registry) -> Option<DiscoveryQuestion> {
        self.due.filter(|due| *due <= now)?;
        let Some(domain) = self.domains.get(self.next).copied() else {
            (self.due, self.next) = (Some(now.after(Self::ASKING)), 0);
            return None;
        };
        self.next += 1;
        Some(DiscoveryQuestion {
            protocol: DiscoveryProtocol::Ptp,
            place: None,
            destination: SocketAddr::from((Self::GROUP, Ptp::GENERAL_PORT)),
            payload: PtpDataSet::question(domain, Self::SELF, self.next as u16).to_vec(),
        })
    }
}

/// Returns the announcement of a clock, with nothing but its identity.
fn clock(origin: Origin, identity: u64, domain: u8) -> Discovered {
    let Origin { now, place, source, profile } = origin;
    let id = match profile {
        0 => format!("{}/{domain}", ClockName(identity)),
        _ => format!("{}/{domain}/{profile}", ClockName(identity)),
    };
    let key = DiscoveryKey { protocol: DiscoveryProtocol::Ptp, place, id: id.into() };
    let mut announced = Discovered::new(key, DiscoveredKind::Clock, source, now);
    announced.name = ClockName(identity).to_string().into();
    announced.service = format!("domain {domain}").into();
    announced.addresses = source.ip().into_iter().collect();
    announced.add("domain", domain);
    announced.add(
        "transport",
        match source.ip() {
            Some(IpAddr::V4(_)) => "UDP over IPv4",
            Some(IpAddr::V6(_)) => "UDP over IPv6",
            None => "Ethernet",
        },
    );
    announced.add_some("profile", (profile != 0).then_some(profile));
    announced
}

/// Records a clock that asks for the delay. A master asks its neighbors, too, and is described better by its announcements.
fn follower(origin: Origin, header: &Ptp, registry: &mut Registry) {
    let now = origin.now;
    let mut announced = clock(origin, header.clock, header.domain);
    if let Some(known) = registry.get(&announced.key) {
        // It keeps what it answered to a question.
        if known.facts.as_deref() == Some(&DiscoveredFacts::MasterClock) {
            return;
        }
        return registry.renew(now, &announced.key, Some(PtpObserver::FOLLOWER));
    }
    announced.expires = Some(now.after(PtpObserver::FOLLOWER));
    announced.add("state", "follower");
    registry.announce(now, announced);
}

/// Records a clock that answered a question.
fn answered(origin: Origin, answer: &PtpDataSet, registry: &mut Registry) {
    let now = origin.now;
    let mut announced = clock(origin, answer.clock.identity, answer.domain);
    let known = registry.get(&announced.key).and_then(|known| known.facts.as_deref());
    if known == Some(&DiscoveredFacts::MasterClock) {
        return;
    }
    announced.expires = Some(now.after(PtpObserver::FOLLOWER));
    announced.add("state", "follower");
    properties(&mut announced, &answer.clock);
    announced.add("ports", answer.ports);
    announced.add_some("never master", answer.is_slave_only.then_some("yes"));
    registry.announce(now, announced);
}

fn properties(announced: &mut Discovered, clock: &PtpClock) {
    announced.add("priority 1", clock.priority1);
    announced.add("class", clock.class);
    announced.add("accuracy", accuracy(clock.accuracy));
    announced.add("variance", format_args!("{:#06x}", clock.variance));
    announced.add("priority 2", clock.priority2);
}

/// Returns an interval. One out of the range of the profiles counts as the next one in it.
fn interval(logarithm: i8) -> Duration {
    Duration::from_secs_f64(f64::from(logarithm.clamp(-4, 6)).exp2())
}

/// Returns the accuracy that a code stands for (IEEE 1588-2019 table 5).
fn accuracy(code: u8) -> String {
    const NAMES: [&str; 27] = [
        "1 ps",
        "2.5 ps",
        "10 ps",
        "25 ps",
        "100 ps",
        "250 ps",
        "1 ns",
        "2.5 ns",
        "10 ns",
        "25 ns",
        "100 ns",
        "250 ns",
        "1 µs",
        "2.5 µs",
        "10 µs",
        "25 µs",
        "100 µs",
        "250 µs",
        "1 ms",
        "2.5 ms",
        "10 ms",
        "25 ms",
        "100 ms",
        "250 ms",
        "1 s",
        "10 s",
        "more than 10 s",
    ];
    let name = code.checked_sub(0x17).and_then(|position| NAMES.get(usize::from(position)));
    name.map_or_else(
        || if code == 0xfe { "unknown".into() } else { format!("{code:#04x}") },
        |name| (*name).into(),
    )
}

/// Returns the source that a code stands for (IEEE 1588-2019 table 6).
fn time_source(code: u8) -> String {
    match code {
        0x10 => "atomic clock",
        0x20 => "GNSS",
        0x30 => "radio",
        0x39 => "serial time code",
        0x40 => "PTP",
        0x50 => "NTP",
        0x60 => "set by hand",
        0x90 => "other",
        0xa0 => "internal oscillator",
        _ => return format!("{code:#04x}"),
    }
    .into()
}

/// The identity of a clock as linuxptp writes it: `001b19.fffe.000001`.
struct ClockName(u64);

impl std::fmt::Display for ClockName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:06x}.{:04x}.{:06x}", self.0 >> 40, self.0 >> 24 & 0xffff, self.0 & 0xff_ffff)
    }
}

/// The identity of a clock of version 1: `001dc1010203`.
struct Uuid([u8; 6]);

impl std::fmt::Display for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
