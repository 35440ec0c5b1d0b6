//! Act three: the tutorial's exercise. On which interface does a host with two interfaces join?

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use mcast::{GroupAddr, InterfaceSelector, Membership};
use mcast_capture::Filter;
use mcast_lab::Lab;

use super::network::Station;
use super::tutorial::{PORT, TEXT, first_group};
use super::wire::Wire;
use crate::listener::{SILENCE, TIMEOUT};
use crate::stage::{Scene, Stage};
use crate::{DemoError, Event};

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
    no program had joined. With that interface named:";

const REMEDY: &str = "To receive on every interface, join on each of them, which is what mcast does by \
    default:";

pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    stage.show(Scene::Act { name: "two interfaces", title: "3  A host with two interfaces" })?;
    stage.show(Scene::Picture(PICTURE))?;
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
