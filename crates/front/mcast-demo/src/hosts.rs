//! The whole demonstration: three acts on virtual hosts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::{Duration, Instant};

use mcast::{GroupAddr, InterfaceSelector, Membership, ParseError, Receiver, Sender};
use mcast_capture::{Capture, CaptureOptions, Filter, Frame};
use mcast_lab::{Host, HostInterface, Lab, LabError, LabErrorKind, Offload, Switch, SwitchOptions};
use mcast_packet::gmp::{IgmpMessage, Record, RecordKind};
use mcast_packet::{Gmp, Packet, Transport};

use crate::listener::{Listener, Origin, SILENCE, TIMEOUT, left};
use crate::narrator::{Scene, Show, Stage};
use crate::{DemoError, Event};

pub(crate) fn play(show: Show<'_>) -> Result<(), DemoError> {
    if let Err(error) = Lab::new() {
        return Err(match error.kind() {
            LabErrorKind::Refused { why, remedy } => {
                DemoError::NoVirtualHosts { why: why.clone(), remedy: remedy.clone() }
            }
            _ => error.into(),
        });
    }
    let mut stage = Stage(show);
    stage.show(Scene::Title("real packets between virtual hosts; nothing leaves this machine"))?;
    play_flooding(&mut stage)?;
    play_snooping(&mut stage)?;
    play_two_interfaces(&mut stage)
}

const FLOODING_PICTURE: &str = "
    eastny            midwood           flatbush          bushwick
    192.168.56.101    192.168.56.103    192.168.56.104    192.168.56.105
    receives          sends to          receives          receives 234.3.2.1
    224.1.1.5         224.1.1.5         224.1.1.5         and captures
        │                 │                 │                 │
    ────┴─────────────────┴─────────────────┴─────────────────┴────  one switch
";

const FLOODING_WHY: &str = "Why: this switch does not know groups and copies every frame to all ports. So bushwick's \
    capture, which shows what its NIC receives, contains it. Its receiver joined another group, and \
    receives only what is sent to that group:";

fn play_flooding(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let network = Network::new(SwitchOptions::default())?;
    let (first, second) = (first_group()?, second_group()?);
    stage.show(Scene::Picture(FLOODING_PICTURE))?;
    stage.show(Scene::Act { name: "flooding", title: "1  A switch that floods" })?;

    let mut wires = network.bushwick.capture(Filter::UdpPort(PORT))?;
    let [eastny, flatbush, bushwick] = &network.listen(stage)?;
    network.midwood.send(TEXT, first, stage)?;
    eastny.check_received(TEXT, "eth0", stage)?;
    flatbush.check_received(TEXT, "eth0", stage)?;
    bushwick.check_silence(Instant::now() + SILENCE, stage)?;
    for wire in &mut wires {
        let summary = format!("Ether / IP / {} / Raw", network.midwood.datagram_to(first));
        let captured = wire.frame(TIMEOUT)?;
        // Its bytes are compared with the tutorial's in the next step.
        let expected = Event::captured("eth0", summary, captured.bytes().to_vec());
        stage.check("bushwick", &captured, &expected)?;
        let compared = Event::Compared { differences: differences(captured.bytes()) };
        stage.check("bushwick", &compared, &Event::Compared { differences: DIFFERENCES.to_vec() })?;
    }
    stage.show(Scene::Explanation(FLOODING_WHY))?;

    network.midwood.send(SECOND_TEXT, second, stage)?;
    bushwick.check_received(SECOND_TEXT, "eth0", stage)?;
    let quiet_until = Instant::now() + SILENCE;
    eastny.check_silence(quiet_until, stage)?;
    flatbush.check_silence(quiet_until, stage)
}

const SNOOPING_WHY: &str = "Why: a host that joins sends a report (IGMP). A snooping switch reads it, and forwards a \
    group only to ports with members. Now not even bushwick's capture sees the other group: capturing does \
    not join it.";

fn play_snooping(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let network = Network::new(SwitchOptions::managed())?;
    let (first, second) = (first_group()?, second_group()?);
    stage.show(Scene::Act {
        name: "snooping",
        title: "2  The same on a switch with snooping and a querier",
    })?;

    let mut wires = network.bushwick.capture(Filter::UdpPort(PORT))?;
    let [eastny, flatbush, bushwick] = &network.listen(stage)?;
    let members = [(&network.eastny, eastny), (&network.flatbush, flatbush), (&network.bushwick, bushwick)];
    for (station, listener) in members {
        network.switch.wait_for_member(&station.host, "eth0", listener.group.group.addr(), TIMEOUT)?;
    }
    check_table(&network, first.group.addr(), &["eastny", "flatbush"], stage)?;
    check_table(&network, second.group.addr(), &["bushwick"], stage)?;

    network.midwood.send(TEXT, first, stage)?;
    eastny.check_received(TEXT, "eth0", stage)?;
    flatbush.check_received(TEXT, "eth0", stage)?;
    let quiet_until = Instant::now() + SILENCE;
    bushwick.check_silence(quiet_until, stage)?;
    for wire in &mut wires {
        stage.check("bushwick", &wire.datagram(left(quiet_until))?, &wire.no_datagram())?;
    }

    network.midwood.send(SECOND_TEXT, second, stage)?;
    bushwick.check_received(SECOND_TEXT, "eth0", stage)?;
    let expected = Event::captured("eth0", network.midwood.datagram_to(second), Vec::new());
    for wire in &mut wires {
        stage.check("bushwick", &wire.datagram(TIMEOUT)?, &expected)?;
    }
    Ok(stage.show(Scene::Explanation(SNOOPING_WHY))?)
}

/// Checks for which hosts the switch forwards a group.
fn check_table(
    network: &Network,
    group: IpAddr,
    expected: &[&str],
    stage: &mut Stage<'_>,
) -> Result<(), DemoError> {
    let members = network.switch.members()?.into_iter().filter(|member| member.group == group);
    let mut hosts: Vec<String> = members.map(|member| member.host).collect();
    hosts.sort();
    let expected = expected.iter().map(ToString::to_string).collect();
    Ok(stage.check("switch", &Event::Learned { group, hosts }, &Event::Learned { group, hosts: expected })?)
}

const TWO_INTERFACES_PICTURE: &str = "
    the way out                                            midwood
    10.0.2.2               ┌──────────────┐                192.168.56.103
        │             eth0 │   flatbush   │ eth1               │
    ────┴──────────────────┤              ├────────────────────┴────
                 10.0.2.15 └──────────────┘ 192.168.56.104
";

const QUESTION: &str = "flatbush joins on INADDR_ANY, to receive on any interface, but nothing arrives. Why? \
    Captures on both its interfaces show where it reports its membership:";

const ANSWER: &str = "Why: INADDR_ANY does not mean any interface. It leaves the choice to the routing \
    table, whose default route uses eth0: the report was sent there. The datagram arrived on eth1, where \
    no program had joined. With that interface named:";

const REMEDY: &str = "To receive on every interface, join on each of them, which is what mcast does by \
    default:";

fn play_two_interfaces(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    stage.show(Scene::Act { name: "two interfaces", title: "3  A host with two interfaces" })?;
    stage.show(Scene::Picture(TWO_INTERFACES_PICTURE))?;
    stage.show(Scene::Explanation(QUESTION))?;
    leave_it_to_the_kernel(stage)?;
    stage.show(Scene::Explanation(ANSWER))?;
    let group = first_group()?;
    let named = Membership::new(group).on(InterfaceSelector::Name("eth1".to_owned()));
    join(named, &["eth1"], stage)?;
    stage.show(Scene::Explanation(REMEDY))?;
    join(Membership::new(group), &["eth0", "eth1"], stage)
}

/// Joins as the tutorial's revised receiver does.
fn leave_it_to_the_kernel(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let group = first_group()?;
    let mut network = TwoNetworks::new()?;
    let socket = network.flatbush.host.run(|| join_anywhere(group))??;
    stage.report("flatbush", &Event::JoinedAnywhere { group: group.into() })?;
    network.check_reports(&["eth0"], stage)?;
    network.send(stage)?;
    let observed = receive_plainly(&socket, group)?;
    Ok(stage.check("flatbush", &observed, &Event::ReceivedNothing { group: group.into() })?)
}

/// Joins with the library, and checks that it joins on these interfaces and receives the datagram on eth1.
fn join(membership: Membership, interfaces: &[&str], stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let mut network = TwoNetworks::new()?;
    let listener = network.flatbush.listen(membership, interfaces, &network.midwood, stage)?;
    network.check_reports(interfaces, stage)?;
    network.send(stage)?;
    listener.check_received(TEXT, "eth1", stage)
}

/// The tutorial's socket: bound to the group, joined on INADDR_ANY.
fn join_anywhere(group: GroupAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from(group))?;
    if let IpAddr::V4(address) = group.group.addr() {
        socket.join_multicast_v4(&address, &Ipv4Addr::UNSPECIFIED)?;
    }
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

fn receive_plainly(socket: &UdpSocket, group: GroupAddr) -> io::Result<Event> {
    let mut buffer = [0; 2048];
    match socket.recv_from(&mut buffer) {
        Ok((length, source)) => Ok(Event::Received {
            group: group.into(),
            interface: "an unknown interface".to_owned(),
            source: source.ip(),
            ttl: None,
            text: String::from_utf8_lossy(&buffer[..length]).into_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Ok(Event::ReceivedNothing { group: group.into() })
        }
        Err(error) => Err(error),
    }
}

/// flatbush between two switches, and midwood on the second; captures on both interfaces of flatbush.
struct TwoNetworks {
    flatbush: Station,
    midwood: Station,
    reports: Vec<Wire>,
    datagrams: Vec<Wire>,
    /// The last field, because dropping it removes all hosts.
    _lab: Lab,
}

impl TwoNetworks {
    fn new() -> Result<Self, DemoError> {
        let lab = Lab::new()?;
        let (outside, inside) = (lab.switch("outside")?, lab.switch("inside")?);
        let links = [(&outside, "10.0.2.15/24"), (&inside, "192.168.56.104/24")];
        let flatbush = Station::new(&lab, "flatbush", &links)?;
        flatbush.host.add_route_via("0.0.0.0/0", "10.0.2.2")?;
        let midwood = Station::new(&lab, "midwood", &[(&inside, "192.168.56.103/24")])?;
        let reports = flatbush.capture(Filter::Control)?;
        let datagrams = flatbush.capture(Filter::UdpPort(PORT))?;
        Ok(Self { flatbush, midwood, reports, datagrams, _lab: lab })
    }

    /// Checks on which interfaces flatbush reports its membership.
    fn check_reports(&mut self, expected_on: &[&str], stage: &mut Stage<'_>) -> Result<(), DemoError> {
        let IpAddr::V4(group) = first_group()?.group.addr() else { return Ok(()) };
        for wire in &mut self.reports {
            let is_expected = expected_on.contains(&wire.interface.as_str());
            let observed = wire.join_report(group, if is_expected { TIMEOUT } else { SILENCE })?;
            let report = || format!("IGMPv3 report: join {group} (exclude none)");
            let expected = match is_expected {
                true => Event::captured(&wire.interface, report(), Vec::new()),
                false => wire.no_report(group),
            };
            stage.check("flatbush", &observed, &expected)?;
        }
        Ok(())
    }

    /// Sends from midwood, and checks that the datagram reaches eth1 of flatbush.
    fn send(&mut self, stage: &mut Stage<'_>) -> Result<(), DemoError> {
        let group = first_group()?;
        self.midwood.send(TEXT, group, stage)?;
        let expected = Event::captured("eth1", self.midwood.datagram_to(group), Vec::new());
        for wire in self.datagrams.iter_mut().filter(|wire| wire.interface == "eth1") {
            stage.check("flatbush", &wire.datagram(TIMEOUT)?, &expected)?;
        }
        Ok(())
    }
}

/// The UDP port of both groups.
const PORT: u16 = 50001;
/// What midwood sends.
const TEXT: &str = "Hello, World!";
/// What midwood sends to the second group.
const SECOND_TEXT: &str = "Hello, bushwick!";

/// The frame that the tutorial's bushwick captured, with padding to Ethernet's minimum of 60 bytes.
const FRAME: &[u8] = &[
    0x01, 0x00, 0x5e, 0x01, 0x01, 0x05, 0x08, 0x00, 0x27, 0xa1, 0x33, 0xb4, 0x08, 0x00, 0x45, 0x00, //
    0x00, 0x29, 0x0d, 0xc7, 0x40, 0x00, 0x01, 0x11, 0x91, 0xe7, 0xc0, 0xa8, 0x38, 0x67, 0xe0, 0x01, //
    0x01, 0x05, 0xcd, 0x66, 0xc3, 0x51, 0x00, 0x15, 0x53, 0xc9, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x2c, //
    0x20, 0x57, 0x6f, 0x72, 0x6c, 0x64, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00,
];

/// The fields of a frame with a UDP datagram in IPv4.
const FIELDS: &[(Range<usize>, &str)] = &[
    (0..6, "Ethernet destination"),
    (6..12, OTHER_CARD),
    (12..14, "Ethernet type"),
    (14..18, "IP length"),
    (18..20, OTHER_IDENTIFICATION),
    (20..22, "fragment field"),
    (22..24, "TTL and protocol"),
    (24..26, OTHER_HEADER_CHECKSUM),
    (26..34, "IP addresses"),
    (34..40, "UDP ports and length"),
    (40..42, "UDP checksum"),
    (42..55, "text"),
    (55..60, NO_PADDING),
];

const OTHER_CARD: &str = "Ethernet source";
const OTHER_IDENTIFICATION: &str = "IP identification";
const OTHER_HEADER_CHECKSUM: &str = "IP checksum";
const NO_PADDING: &str = "padding";

/// The fields that must differ: another network card, another packet count, and virtual links that do not pad.
const DIFFERENCES: &[&str] = &[OTHER_CARD, OTHER_IDENTIFICATION, OTHER_HEADER_CHECKSUM, NO_PADDING];

/// The group that eastny and flatbush join.
fn first_group() -> Result<GroupAddr, ParseError> {
    "224.1.1.5:50001".parse()
}

/// The group that bushwick joins.
fn second_group() -> Result<GroupAddr, ParseError> {
    "234.3.2.1:50001".parse()
}

/// Returns the fields in which a frame differs from the tutorial's.
fn differences(frame: &[u8]) -> Vec<&'static str> {
    let differs = |range: &Range<usize>| frame.get(range.clone()) != FRAME.get(range.clone());
    FIELDS.iter().filter(|(range, _)| differs(range)).map(|(_, name)| *name).collect()
}

/// The source port of midwood, the same as in the tutorial's captured packet.
const SOURCE_PORT: u16 = 52582;

/// A host, and its interfaces `eth0`, `eth1` and so on.
#[derive(Debug)]
struct Station {
    host: Host,
    ports: Vec<HostInterface>,
}

/// Four hosts on one switch.
#[derive(Debug)]
struct Network {
    eastny: Station,
    midwood: Station,
    flatbush: Station,
    bushwick: Station,
    switch: Switch,
    /// The last field, because dropping it removes all hosts.
    _lab: Lab,
}

impl Network {
    fn new(options: SwitchOptions) -> Result<Self, LabError> {
        let lab = Lab::new()?;
        let switch = lab.switch_with("switch", options)?;
        let station = |name, address| Station::new(&lab, name, &[(&switch, address)]);
        Ok(Self {
            eastny: station("eastny", "192.168.56.101/24")?,
            midwood: station("midwood", "192.168.56.103/24")?,
            flatbush: station("flatbush", "192.168.56.104/24")?,
            bushwick: station("bushwick", "192.168.56.105/24")?,
            switch,
            _lab: lab,
        })
    }

    /// Joins on the three receiving hosts.
    fn listen(&self, stage: &mut Stage<'_>) -> Result<[Listener; 3], DemoError> {
        let (first, second) = (first_group()?, second_group()?);
        let mut listen = |station: &Station, group| {
            station.listen(Membership::new(group), &["eth0"], &self.midwood, stage)
        };
        Ok([listen(&self.eastny, first)?, listen(&self.flatbush, first)?, listen(&self.bushwick, second)?])
    }
}

impl Station {
    /// Creates a host with one interface per switch. It computes its checksums itself, so that a capture shows what a
    /// wire would carry.
    fn new(lab: &Lab, name: &str, links: &[(&Switch, &str)]) -> Result<Self, LabError> {
        let host = lab.host(name)?;
        let mut ports = Vec::new();
        for (number, (switch, address)) in links.iter().enumerate() {
            let interface = format!("eth{number}");
            ports.push(host.connect(&interface, switch, &[address])?);
            host.offload(&interface, Offload::none())?;
        }
        Ok(Self { host, ports })
    }

    fn address(&self) -> IpAddr {
        let address = self.ports.iter().find_map(HostInterface::ipv4);
        address.unwrap_or(Ipv4Addr::UNSPECIFIED).into()
    }

    /// Joins on this host, checks on which interfaces, and expects datagrams from `sender`.
    fn listen(
        &self,
        membership: Membership,
        expected_on: &[&str],
        sender: &Self,
        stage: &mut Stage<'_>,
    ) -> Result<Listener, DemoError> {
        let expected = (membership.address, expected_on);
        let receiver = self.host.run(|| Receiver::join_one(membership))??;
        let interfaces = self.ports.iter().map(|port| (port.index, port.name.clone())).collect();
        let origin = Origin { address: sender.address(), port: SOURCE_PORT, ttl: Some(1) };
        Listener::new(self.host.name(), receiver, expected, interfaces, origin, stage)
    }

    /// Captures on each interface of this host.
    fn capture(&self, filter: Filter) -> Result<Vec<Wire>, DemoError> {
        self.ports.iter().map(|port| Wire::tap(&self.host, port, filter)).collect()
    }

    /// Sends on this host's first interface like the tutorial's sender: from the same port, with "don't fragment" set.
    fn send(&self, text: &str, to: GroupAddr, stage: &mut Stage<'_>) -> Result<(), DemoError> {
        let interface = InterfaceSelector::Name("eth0".into());
        let sender = Sender::builder().interface(interface).source_port(SOURCE_PORT).dont_fragment(true);
        self.host.run(|| sender.build()?.send_to(text.as_bytes(), to))??;
        let sent = Event::Sent { group: to.into(), interface: "eth0".into(), text: text.to_owned() };
        Ok(stage.report(self.host.name(), &sent)?)
    }

    /// Returns the summary of a datagram from this host.
    fn datagram_to(&self, to: GroupAddr) -> String {
        format!("UDP {}:{SOURCE_PORT} > {to}", self.address())
    }
}

/// A capture on an interface of a host.
#[derive(Debug)]
struct Wire {
    capture: Capture,
    interface: String,
}

impl Wire {
    fn tap(host: &Host, port: &HostInterface, filter: Filter) -> Result<Self, DemoError> {
        let options = CaptureOptions::on_name(&port.name).filter(filter);
        let capture = host.run(|| Capture::open(options))??;
        Ok(Self { capture, interface: port.name.clone() })
    }

    /// The next frame with all of its bytes.
    fn frame(&mut self, timeout: Duration) -> Result<Event, DemoError> {
        self.find(DATAGRAM, timeout, |frame| Some((frame.packet().to_string(), frame.bytes.to_vec())))
    }

    /// The next datagram as a summary.
    fn datagram(&mut self, timeout: Duration) -> Result<Event, DemoError> {
        self.find(DATAGRAM, timeout, |frame| Some((datagram(&frame.packet())?, Vec::new())))
    }

    /// The next IGMP report that joins this group.
    fn join_report(&mut self, group: Ipv4Addr, timeout: Duration) -> Result<Event, DemoError> {
        let what = report_for(group);
        self.find(&what, timeout, |frame| Some((join_report(&frame.packet(), group)?, Vec::new())))
    }

    /// The absence of a datagram.
    fn no_datagram(&self) -> Event {
        self.nothing(DATAGRAM)
    }

    /// The absence of a report that joins this group.
    fn no_report(&self, group: Ipv4Addr) -> Event {
        self.nothing(&report_for(group))
    }

    fn nothing(&self, what: &str) -> Event {
        Event::CapturedNothing { interface: self.interface.clone(), packet: what.to_owned() }
    }

    /// The next frame for which `describe` returns a summary and the bytes to show. `what` names it in the event of its
    /// absence.
    fn find(
        &mut self,
        what: &str,
        timeout: Duration,
        describe: impl Fn(&Frame<'_>) -> Option<(String, Vec<u8>)>,
    ) -> Result<Event, DemoError> {
        let until = Instant::now() + timeout;
        loop {
            let left = left(until);
            match self.capture.next(Some(left))?.map(|frame| describe(&frame)) {
                Some(Some((summary, bytes))) => return Ok(Event::captured(&self.interface, summary, bytes)),
                None if left.is_zero() => return Ok(self.nothing(what)),
                _ => {}
            }
        }
    }
}

/// The name of a datagram in the event of its absence.
const DATAGRAM: &str = "datagram";

/// Returns the name of a report in the event of its absence.
fn report_for(group: Ipv4Addr) -> String {
    format!("report for {group}")
}

fn datagram(packet: &Packet<'_>) -> Option<String> {
    let (ip, udp) = (packet.ip_layer()?, packet.udp()?);
    let from = SocketAddr::new(ip.source, udp.source_port);
    Some(format!("UDP {from} > {}", SocketAddr::new(ip.destination, udp.destination_port)))
}

/// Returns the message if it joins this group for all sources.
fn join_report(packet: &Packet<'_>, joined: Ipv4Addr) -> Option<String> {
    let Some(Transport::Igmp(Gmp { message, .. })) = packet.transport else { return None };
    let joins = |record: Record<'_, _>| record.kind == RecordKind::ChangeToExclude && record.group == joined;
    let is_join = match message {
        IgmpMessage::V3Report(records) => records.iter().any(joins),
        IgmpMessage::Report { group } | IgmpMessage::V1Report { group } => group == joined,
        _ => false,
    };
    is_join.then(|| message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_cover_the_frame() {
        let mut end = 0;
        for (range, name) in FIELDS {
            assert_eq!(range.start, end, "{name}");
            end = range.end;
        }
        assert_eq!(end, FRAME.len());
    }

    #[test]
    fn a_frame_differs_where_it_was_changed() {
        assert_eq!(differences(FRAME), [""; 0]);
        let mut frame = FRAME.to_vec();
        frame[41] ^= 1;
        assert_eq!(differences(&frame), ["UDP checksum"]);
        assert_eq!(differences(&FRAME[..55]), ["padding"]);
    }
}
