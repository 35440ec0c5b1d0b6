//! Act three: the tutorial's exercise. On which interface does a host with two interfaces join?

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use mcast::{GroupAddr, InterfaceIndex, InterfaceSelector, Membership, Receiver};
use mcast_capture::Filter;
use mcast_lab::{Host, HostInterface, Lab};

use super::super::event::Event;
use super::super::narrator::Narrator;
use super::super::receiving::{PATIENCE, SILENCE, joined};
use super::flooding::send;
use super::network::{Station, connect, receive};
use super::tutorial::{PORT, TEXT, first_group};
use super::wire::{Wire, report_for};

const PICTURE: &str = "
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
    nobody had joined. With that interface named:";

const REMEDY: &str = "To receive on every interface, join on each of them, which is what mcast does by \
    default:";

/// flatbush between two switches, and midwood on the second.
struct TwoNetworks {
    flatbush: Host,
    eth0: HostInterface,
    eth1: HostInterface,
    midwood: Station,
    /// The last field, because dropping it removes all hosts.
    _lab: Lab,
}

/// Captures on both interfaces of flatbush.
struct Wires {
    reports: [Wire; 2],
    datagrams: Wire,
}

pub(super) fn play(narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.act("two interfaces", "3  A host with two interfaces")?;
    narrator.draw(PICTURE)?;
    narrator.explain(QUESTION)?;
    leave_it_to_the_kernel(narrator)?;
    narrator.explain(ANSWER)?;
    let group = first_group()?;
    let named = Membership::new(group).on(InterfaceSelector::Name("eth1".to_owned()));
    join(named, &["eth1"], narrator)?;
    narrator.explain(REMEDY)?;
    join(Membership::new(group), &["eth0", "eth1"], narrator)
}

/// Joins as the tutorial's revised receiver does.
fn leave_it_to_the_kernel(narrator: &mut Narrator) -> anyhow::Result<()> {
    let group = first_group()?;
    let network = TwoNetworks::new()?;
    let mut wires = network.tap()?;
    let socket = network.flatbush.run(|| join_anywhere(group))??;
    narrator.report("flatbush", &Event::JoinedAnywhere { group: group.into() })?;
    network.check_reports(&mut wires, &["eth0"], narrator)?;
    network.send(&mut wires, narrator)?;
    let observed = receive_plainly(&socket, group)?;
    narrator.check("flatbush", &observed, &Event::ReceivedNothing { group: group.into() })?;
    Ok(())
}

/// Joins with the library, and checks that it joins on these interfaces and receives the datagram on eth1.
fn join(membership: Membership, interfaces: &[&str], narrator: &mut Narrator) -> anyhow::Result<()> {
    let group = membership.address;
    let network = TwoNetworks::new()?;
    let mut wires = network.tap()?;
    let receiver = network.flatbush.run(|| Receiver::join_one(membership))??;
    let names = interfaces.iter().map(ToString::to_string).collect();
    let expected = Event::Joined { group: group.into(), interfaces: names };
    narrator.check("flatbush", &joined(&receiver, group), &expected)?;
    network.check_reports(&mut wires, interfaces, narrator)?;
    network.send(&mut wires, narrator)?;
    let observed = receive(&receiver, group, PATIENCE, |index| network.name_of(index))?;
    let expected = Event::Received {
        group: group.into(),
        interface: network.eth1.name.clone(),
        source: network.midwood.address(),
        ttl: Some(1),
        text: TEXT.to_owned(),
    };
    narrator.check("flatbush", &observed, &expected)?;
    Ok(())
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

impl TwoNetworks {
    fn new() -> anyhow::Result<Self> {
        let lab = Lab::new()?;
        let (outside, inside) = (lab.switch("outside")?, lab.switch("inside")?);
        let flatbush = lab.host("flatbush")?;
        let eth0 = connect(&flatbush, "eth0", &outside, "10.0.2.15/24")?;
        let eth1 = connect(&flatbush, "eth1", &inside, "192.168.56.104/24")?;
        flatbush.add_route_via("0.0.0.0/0", "10.0.2.2")?;
        let midwood = Station::new(&lab, "midwood", "eth0", &inside, "192.168.56.103/24")?;
        Ok(Self { flatbush, eth0, eth1, midwood, _lab: lab })
    }

    fn tap(&self) -> anyhow::Result<Wires> {
        let tap = |port, filter| Wire::tap(&self.flatbush, port, filter);
        let reports = [tap(&self.eth0, Filter::Control)?, tap(&self.eth1, Filter::Control)?];
        Ok(Wires { reports, datagrams: tap(&self.eth1, Filter::UdpPort(PORT))? })
    }

    /// Checks on which interfaces flatbush reports its membership.
    fn check_reports(
        &self,
        wires: &mut Wires,
        expected_on: &[&str],
        narrator: &mut Narrator,
    ) -> anyhow::Result<()> {
        let IpAddr::V4(group) = first_group()?.group.addr() else { return Ok(()) };
        for (wire, port) in wires.reports.iter_mut().zip([&self.eth0, &self.eth1]) {
            let is_expected = expected_on.contains(&port.name.as_str());
            let observed = wire.join_report(group, if is_expected { PATIENCE } else { SILENCE })?;
            let expected = if is_expected { report(port, group) } else { no_report(port, group) };
            narrator.check("flatbush", &observed, &expected)?;
        }
        Ok(())
    }

    /// Sends from midwood, and checks that the datagram reaches flatbush.
    fn send(&self, wires: &mut Wires, narrator: &mut Narrator) -> anyhow::Result<()> {
        let group = first_group()?;
        send(&self.midwood, TEXT, group, narrator)?;
        let observed = wires.datagrams.datagram(PATIENCE)?;
        narrator.check("flatbush", &observed, &self.midwood.expected_on(&self.eth1, group))?;
        Ok(())
    }

    fn name_of(&self, index: InterfaceIndex) -> String {
        let port = [&self.eth0, &self.eth1].into_iter().find(|port| port.index == index.number());
        port.map_or_else(|| format!("interface {index}"), |port| port.name.clone())
    }
}

fn report(port: &HostInterface, group: Ipv4Addr) -> Event {
    let summary = format!("IGMPv3 report: join {group} (exclude none)");
    Event::Captured { interface: port.name.clone(), summary, bytes: Vec::new() }
}

fn no_report(port: &HostInterface, group: Ipv4Addr) -> Event {
    Event::CapturedNothing { interface: port.name.clone(), what: report_for(group) }
}
