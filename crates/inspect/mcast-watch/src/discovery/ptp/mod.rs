//! Clocks that distribute or follow the time by PTP, over UDP and over Ethernet.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mcast_packet::payload::{Ptp, PtpAnnounce, PtpClock, PtpDataSet, PtpKind, PtpV1Sync};
use mcast_packet::{Network, ether_type};

use super::entry::{DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource};
use super::registry::{Announced, Registry};
use super::rivals::{Rivals, announce_rival};
use super::{DiscoveryDatagram, DiscoveryPacket, DiscoveryQuestion, Observer};
use crate::clock::Time;

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
        // The standard profile is 0, that of IEEE 802.1AS is 1; they are different networks of clocks.
        let profile = bytes.first().map_or(0, |byte| byte >> 4);
        match header.kind {
            PtpKind::Announce => match PtpAnnounce::parse(bytes) {
                Some(announce) => self.announce(now, place, source, &header, profile, &announce, registry),
                None => registry.counts.malformed += 1,
            },
            PtpKind::DelayRequest | PtpKind::PeerDelayRequest => {
                follower(now, place, source, &header, profile, registry);
            }
            PtpKind::Management => {
                if let Some(answer) = PtpDataSet::parse(bytes) {
                    answered(now, place, source, profile, &answer, registry);
                }
            }
            _ => {}
        }
    }

    #[allow(clippy::too_many_arguments, reason = "where it arrived, and the two parts of the message")]
    fn announce(
        &mut self,
        now: Time,
        place: DiscoveryPlace,
        source: DiscoverySource,
        header: &Ptp,
        profile: u8,
        announce: &PtpAnnounce,
        registry: &mut Registry,
    ) {
        let mut announced = clock(place, source, header.clock, header.domain, profile);
        // Others take over when three announcements are missing (IEEE 1588-2019 clause 17.2.4).
        let lifetime = interval(header.log_interval) * 3;
        announced.lifetime = Some(lifetime);
        announced.field("state", "master");
        announced.field("grandmaster", ClockName(announce.grandmaster.identity));
        properties(&mut announced, &announce.grandmaster);
        announced.field("steps removed", announce.steps_removed);
        announced.field("time source", time_source(announce.time_source));
        // Programs that ignore what is valid are wrong by this many seconds (IEEE 1588-2019 table 37).
        announced.field("timescale", if header.flags & 0x0008 != 0 { "PTP" } else { "arbitrary" });
        announced.field("UTC offset", format_args!("{} s", announce.utc_offset));
        announced.field("UTC offset valid", if header.flags & 0x0004 != 0 { "yes" } else { "no" });
        announced.field("interval", format_args!("{} s", interval(header.log_interval).as_secs_f64()));
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
        let key = DiscoveryKey {
            protocol: DiscoveryProtocol::PtpV1,
            place: datagram.place,
            id: format!("{}/{subdomain}", Uuid(sync.clock)).into(),
        };
        let mut announced = Announced::new(key, DiscoveredKind::Clock, DiscoverySource::Ip(datagram.source));
        announced.name = Uuid(sync.clock).to_string().into();
        announced.service = format!("domain {subdomain}").into();
        announced.addresses = vec![datagram.source.ip()];
        // Others take over when ten messages are missing (IEEE 1588-2002, PTP_SYNC_RECEIPT_TIMEOUT).
        let lifetime = interval(sync.log_interval) * 10;
        announced.lifetime = Some(lifetime);
        announced.field("domain", &subdomain);
        announced.field("state", "master");
        announced.field("grandmaster", Uuid(sync.grandmaster));
        announced.field("stratum", sync.stratum);
        announced.text("quality", sync.quality);
        if sync.is_preferred {
            announced.field("preferred", "yes");
        }
        announced.field("steps removed", sync.steps_removed);
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

    fn ask(&mut self, now: Time) {
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
fn clock(
    place: DiscoveryPlace,
    source: DiscoverySource,
    identity: u64,
    domain: u8,
    profile: u8,
) -> Announced {
    let id = match profile {
        0 => format!("{}/{domain}", ClockName(identity)),
        _ => format!("{}/{domain}/{profile}", ClockName(identity)),
    };
    let key = DiscoveryKey { protocol: DiscoveryProtocol::Ptp, place, id: id.into() };
    let mut announced = Announced::new(key, DiscoveredKind::Clock, source);
    announced.name = ClockName(identity).to_string().into();
    announced.service = format!("domain {domain}").into();
    announced.addresses = source.ip().into_iter().collect();
    announced.field("domain", domain);
    announced.field(
        "transport",
        match source.ip() {
            Some(IpAddr::V4(_)) => "UDP over IPv4",
            Some(IpAddr::V6(_)) => "UDP over IPv6",
            None => "Ethernet",
        },
    );
    if profile != 0 {
        announced.field("profile", profile);
    }
    announced
}

/// Records a clock that asks for the delay. A master asks its neighbors, too, and is described better by its announcements.
fn follower(
    now: Time,
    place: DiscoveryPlace,
    source: DiscoverySource,
    header: &Ptp,
    profile: u8,
    registry: &mut Registry,
) {
    let mut announced = clock(place, source, header.clock, header.domain, profile);
    if let Some(known) = registry.get(&announced.key) {
        // It keeps what it answered to a question.
        if known.field("state").is_some_and(|state| state.as_bytes() == b"master") {
            return;
        }
        return registry.renew(now, &announced.key, Some(PtpObserver::FOLLOWER));
    }
    announced.lifetime = Some(PtpObserver::FOLLOWER);
    announced.field("state", "follower");
    registry.announce(now, announced);
}

/// Records a clock that answered a question.
fn answered(
    now: Time,
    place: DiscoveryPlace,
    source: DiscoverySource,
    profile: u8,
    answer: &PtpDataSet,
    registry: &mut Registry,
) {
    let mut announced = clock(place, source, answer.clock.identity, answer.domain, profile);
    let known = registry.get(&announced.key).and_then(|known| known.field("state"));
    if known.is_some_and(|state| state.as_bytes() == b"master") {
        return;
    }
    announced.lifetime = Some(PtpObserver::FOLLOWER);
    announced.field("state", "follower");
    properties(&mut announced, &answer.clock);
    announced.field("ports", answer.ports);
    if answer.is_slave_only {
        announced.field("never master", "yes");
    }
    registry.announce(now, announced);
}

fn properties(announced: &mut Announced, clock: &PtpClock) {
    announced.field("priority 1", clock.priority1);
    announced.field("class", clock.class);
    announced.field("accuracy", accuracy(clock.accuracy));
    announced.field("variance", format_args!("{:#06x}", clock.variance));
    announced.field("priority 2", clock.priority2);
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

#[cfg(test)]
mod reports;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::testing::Bench;

    const PTP: DiscoveryProtocol = DiscoveryProtocol::Ptp;
    const GENERAL: &str = "224.0.1.129:320";

    pub(super) fn message(kind: PtpKind, clock: u64, domain: u8, body: &[u8]) -> Vec<u8> {
        let length = Ptp::HEADER_LENGTH + body.len();
        let header = Ptp {
            kind,
            minor_version: 0,
            length: length as u16,
            domain,
            flags: 0,
            correction: 0,
            clock,
            clock_port: 1,
            sequence: 1,
            log_interval: 1,
        };
        let mut bytes = vec![0; length];
        header.emit(&mut bytes).unwrap();
        bytes[Ptp::HEADER_LENGTH..].copy_from_slice(body);
        bytes
    }

    fn announce(clock: u64, domain: u8) -> Vec<u8> {
        let mut body = [0; 30];
        body[10..19].copy_from_slice(&[0, 37, 0, 128, 6, 0x21, 0x4e, 0x5d, 127]);
        body[19..27].copy_from_slice(&clock.to_be_bytes());
        body[29] = 0x20;
        message(PtpKind::Announce, clock, domain, &body)
    }

    const FIRST: u64 = 0x0011_22ff_fe00_0001;
    const SECOND: u64 = 0x0011_22ff_fe00_0002;

    #[test]
    fn master_is_listed_with_its_properties_until_three_announcements_are_missing() {
        let mut bench = Bench::new();
        bench.datagram("10.0.0.1:320", GENERAL, &announce(FIRST, 0));
        let clock = bench.only(PTP);
        assert_eq!(
            (clock.name.to_string(), clock.service.to_string()),
            ("001122.fffe.000001".into(), "domain 0".into())
        );
        assert_eq!((clock.value("class"), clock.value("accuracy")), ("6".into(), "100 ns".into()));
        assert_eq!((clock.value("priority 1"), clock.value("time source")), ("128".into(), "GNSS".into()));
        bench.wait(5.9);
        assert_eq!(bench.names(PTP).len(), 1);
        bench.wait(0.2);
        assert_eq!(bench.names(PTP).len(), 0);
    }

    #[test]
    fn second_master_in_a_domain_is_remarked_with_both_and_not_in_another_domain() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            bench.datagram("10.0.0.1:320", GENERAL, &announce(FIRST, 0));
            bench.datagram("10.0.0.2:320", GENERAL, &announce(SECOND, 0));
            bench.datagram("10.0.0.3:320", GENERAL, &announce(3, 7));
            bench.wait(1.0);
        }
        let remarks: Vec<_> = bench.of(PTP).map(|clock| clock.value("remark")).collect();
        assert_eq!(
            remarks,
            [
                "",
                "more than one master in domain 0: also 001122.fffe.000002",
                "more than one master in domain 0: also 001122.fffe.000001",
            ]
        );
        // The remark is one change, not one with each announcement.
        assert_eq!(bench.events(PTP), "AACA");
        for _ in 0..6 {
            bench.datagram("10.0.0.2:320", GENERAL, &announce(SECOND, 0));
            bench.wait(2.0);
        }
        assert_eq!(bench.only(PTP).value("remark"), "");
    }

    #[test]
    fn clock_over_ethernet_and_follower_are_listed() {
        let mut bench = Bench::new();
        bench.frame([0x01, 0x1b, 0x19, 0, 0, 0], ether_type::PTP, &announce(FIRST, 0));
        bench.frame(
            [0x01, 0x1b, 0x19, 0, 0, 0],
            ether_type::PTP,
            &message(PtpKind::DelayRequest, SECOND, 0, &[0; 10]),
        );
        bench.frame(
            [0x01, 0x1b, 0x19, 0, 0, 0],
            ether_type::PTP,
            &message(PtpKind::DelayRequest, FIRST, 0, &[0; 10]),
        );
        let states: Vec<_> = bench.of(PTP).map(|clock| clock.value("state")).collect();
        assert_eq!(states, ["master", "follower"]);
        bench.frame([0x01, 0x1b, 0x19, 0, 0, 0], ether_type::PTP, &[0; 20]);
        assert_eq!(bench.table.counts().malformed, 1);
    }

    #[test]
    fn answer_to_a_question_describes_a_follower() {
        let mut bench = Bench::new();
        bench.table.ask(bench.now);
        let mut questions = std::iter::from_fn(|| bench.table.poll_transmit(bench.now));
        let question = questions.find(|question| question.protocol == PTP).unwrap();
        assert_eq!(question.destination, GENERAL.parse().unwrap());
        let mut body = [0; 40];
        body[..20].copy_from_slice(&question.payload[34..54]);
        body[12] = 2;
        body[15] = 1;
        body[17] = 22;
        body[20..30].copy_from_slice(&[2, 0, 0, 1, 255, 255, 0xfe, 0xff, 0xff, 128]);
        body[30..38].copy_from_slice(&SECOND.to_be_bytes());
        bench.datagram("10.0.0.2:320", GENERAL, &message(PtpKind::Management, SECOND, 0, &body));
        let clock = bench.only(PTP);
        assert_eq!((clock.value("state"), clock.value("never master")), ("follower".into(), "yes".into()));
        assert_eq!((clock.value("class"), clock.value("accuracy")), ("255".into(), "unknown".into()));
    }

    #[test]
    fn clocks_of_version_1_are_listed_by_their_domain() {
        let mut bytes = [0; 124];
        bytes[..9].copy_from_slice(b"\0\x01\0\x01_DFLT");
        bytes[20] = 1;
        bytes[22..28].copy_from_slice(&[0, 0x1d, 0xc1, 1, 2, 3]);
        bytes[54..60].copy_from_slice(&[0, 0x1d, 0xc1, 1, 2, 3]);
        bytes[67..72].copy_from_slice(b"\x04DFLT");
        let mut bench = Bench::new();
        bench.datagram("10.0.0.1:319", "224.0.1.129:319", &bytes);
        let clock = bench.only(DiscoveryProtocol::PtpV1);
        assert_eq!(
            (clock.name.to_string(), clock.service.to_string()),
            ("001dc1010203".into(), "domain _DFLT".into())
        );
        assert_eq!((clock.value("stratum"), clock.value("quality")), ("4".into(), "DFLT".into()));
        bench.wait(10.1);
        assert_eq!(bench.names(DiscoveryProtocol::PtpV1).len(), 0);
    }

    #[test]
    fn flood_of_clocks_is_bounded_and_leaves_a_lasting_one() {
        let mut bench = Bench::new();
        for _ in 0..2 {
            bench.datagram("10.0.0.1:320", GENERAL, &announce(FIRST, 0));
            bench.wait(1.5);
        }
        for clock in 0..5_000_u64 {
            bench.datagram("10.0.0.66:320", GENERAL, &announce(clock, clock as u8));
        }
        let names = bench.names(PTP);
        assert!(names.len() <= 2_000 && names.contains(&"001122.fffe.000001".into()), "{}", names.len());
        let remark = bench.of(PTP).map(|clock| clock.value("remark").len()).max().unwrap();
        assert!(remark < 256, "{remark}");
    }
}
