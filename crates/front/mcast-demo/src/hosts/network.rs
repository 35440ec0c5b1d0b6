//! The hosts of the demonstration.

use std::net::{IpAddr, Ipv4Addr};

use mcast::{GroupAddr, InterfaceSelector, Membership, Receiver, Sender};
use mcast_capture::Filter;
use mcast_lab::{Host, HostInterface, Lab, LabError, Offload, Switch, SwitchOptions};

use super::tutorial::{first_group, second_group};
use super::wire::Wire;
use crate::listener::{Listener, Origin};
use crate::stage::Stage;
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
