//! The hosts of the demonstration, and captures on their interfaces.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mcast::{GroupAddr, InterfaceSelector, Membership, Receiver, Sender};
use mcast_capture::{Capture, CaptureOptions, Filter, Frame};
use mcast_lab::{Host, HostInterface, Lab, LabError, Offload, Switch, SwitchOptions};
use mcast_packet::gmp::{IgmpMessage, Record, RecordKind};
use mcast_packet::{Gmp, Packet, Transport};

use super::{first_group, second_group};
use crate::event::Stage;
use crate::listener::{Listener, Origin, left};
use crate::{DemoError, Event};

/// The source port of midwood, the same as in the tutorial's captured packet.
pub(super) const SOURCE_PORT: u16 = 52582;

/// A host, and its interfaces `eth0`, `eth1` and so on.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) host: Host,
    pub(super) ports: Vec<HostInterface>,
}

/// Four hosts on one switch.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) eastny: Station,
    pub(super) midwood: Station,
    pub(super) flatbush: Station,
    pub(super) bushwick: Station,
    pub(super) switch: Switch,
    /// The last field, because dropping it removes all hosts.
    _lab: Lab,
}

impl Network {
    pub(super) fn new(options: SwitchOptions) -> Result<Self, LabError> {
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
    pub(super) fn listen(&self, stage: &mut Stage<'_>) -> Result<[Listener; 3], DemoError> {
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
    pub(super) fn new(lab: &Lab, name: &str, links: &[(&Switch, &str)]) -> Result<Self, LabError> {
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
    pub(super) fn listen(
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
    pub(super) fn capture(&self, filter: Filter) -> Result<Vec<Wire>, DemoError> {
        self.ports.iter().map(|port| Wire::tap(&self.host, port, filter)).collect()
    }

    /// Sends on this host's first interface like the tutorial's sender: from the same port, with "don't fragment" set.
    pub(super) fn send(&self, text: &str, to: GroupAddr, stage: &mut Stage<'_>) -> Result<(), DemoError> {
        let interface = InterfaceSelector::Name("eth0".into());
        let sender = Sender::builder().interface(interface).source_port(SOURCE_PORT).dont_fragment(true);
        self.host.run(|| sender.build()?.send_to(text.as_bytes(), to))??;
        let sent = Event::Sent { group: to.into(), interface: "eth0".into(), text: text.to_owned() };
        Ok(stage.report(self.host.name(), &sent)?)
    }

    /// Returns the summary of a datagram from this host.
    pub(super) fn datagram_to(&self, to: GroupAddr) -> String {
        format!("UDP {}:{SOURCE_PORT} > {to}", self.address())
    }
}

/// A capture on an interface of a host.
#[derive(Debug)]
pub(super) struct Wire {
    capture: Capture,
    pub(super) interface: String,
}

impl Wire {
    pub(super) fn tap(host: &Host, port: &HostInterface, filter: Filter) -> Result<Self, DemoError> {
        let options = CaptureOptions::on_name(&port.name).filter(filter);
        let capture = host.run(|| Capture::open(options))??;
        Ok(Self { capture, interface: port.name.clone() })
    }

    /// The next frame with all of its bytes.
    pub(super) fn frame(&mut self, timeout: Duration) -> Result<Event, DemoError> {
        self.find(DATAGRAM, timeout, |frame| Some((frame.packet().to_string(), frame.bytes.to_vec())))
    }

    /// The next datagram as a summary.
    pub(super) fn datagram(&mut self, timeout: Duration) -> Result<Event, DemoError> {
        self.find(DATAGRAM, timeout, |frame| Some((datagram(&frame.packet())?, Vec::new())))
    }

    /// The next IGMP report that joins this group.
    pub(super) fn join_report(&mut self, group: Ipv4Addr, timeout: Duration) -> Result<Event, DemoError> {
        let what = report_for(group);
        self.find(&what, timeout, |frame| Some((join_report(&frame.packet(), group)?, Vec::new())))
    }

    /// The absence of a datagram.
    pub(super) fn no_datagram(&self) -> Event {
        self.nothing(DATAGRAM)
    }

    /// The absence of a report that joins this group.
    pub(super) fn no_report(&self, group: Ipv4Addr) -> Event {
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
