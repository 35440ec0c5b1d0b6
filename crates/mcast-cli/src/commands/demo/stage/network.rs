//! The hosts of the demonstration.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mcast::{GroupAddr, InterfaceIndex, InterfaceSelector, Membership, Receiver, Sender};
use mcast_capture::Filter;
use mcast_lab::{Host, HostInterface, Lab, Offload, Switch, SwitchOptions};

use super::super::event::Event;
use super::wire::Wire;

/// The source port of midwood, the same as in the tutorial's captured packet.
pub(super) const SOURCE_PORT: u16 = 52582;

/// A host on one network, and its interface there.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) host: Host,
    pub(super) port: HostInterface,
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
    pub(super) fn new(options: SwitchOptions) -> anyhow::Result<Self> {
        let lab = Lab::new()?;
        let switch = lab.switch_with("switch", options)?;
        let station = |name, address| Station::new(&lab, name, "eth0", &switch, address);
        Ok(Self {
            eastny: station("eastny", "192.168.56.101/24")?,
            midwood: station("midwood", "192.168.56.103/24")?,
            flatbush: station("flatbush", "192.168.56.104/24")?,
            bushwick: station("bushwick", "192.168.56.105/24")?,
            switch,
            _lab: lab,
        })
    }
}

impl Station {
    pub(super) fn new(
        lab: &Lab,
        name: &str,
        interface: &str,
        switch: &Switch,
        address: &str,
    ) -> anyhow::Result<Self> {
        let host = lab.host(name)?;
        let port = connect(&host, interface, switch, address)?;
        Ok(Self { host, port })
    }

    pub(super) fn interface(&self) -> String {
        self.port.name.clone()
    }

    pub(super) fn address(&self) -> IpAddr {
        self.port.ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED).into()
    }

    /// Opens a receiver on this host.
    pub(super) fn receiver(&self, membership: Membership) -> anyhow::Result<Receiver> {
        Ok(self.host.run(|| Receiver::join_one(membership))??)
    }

    /// Captures the datagrams to and from this UDP port on this host's interface.
    pub(super) fn capture(&self, port: u16) -> anyhow::Result<Wire> {
        Wire::tap(&self.host, &self.port, Filter::UdpPort(port))
    }

    /// Sends on this host's interface like the tutorial's sender: from the same port, with "don't fragment" set.
    pub(super) fn send(&self, text: &str, to: GroupAddr) -> anyhow::Result<()> {
        let interface = InterfaceSelector::Name(self.interface());
        let sender = Sender::builder().interface(interface).source_port(SOURCE_PORT).dont_fragment(true);
        self.host.run(|| sender.build()?.send_to(text.as_bytes(), to))??;
        Ok(())
    }

    /// Returns the expected event of a capture that sees a datagram from this host.
    pub(super) fn expected_on(&self, port: &HostInterface, to: GroupAddr) -> Event {
        let summary = format!("UDP {}:{SOURCE_PORT} > {to}", self.address());
        Event::Captured { interface: port.name.clone(), summary, bytes: Vec::new() }
    }

    /// Waits up to `timeout` for a datagram at a receiver on this host.
    pub(super) fn receive(
        &self,
        receiver: &Receiver,
        group: GroupAddr,
        timeout: Duration,
    ) -> anyhow::Result<Event> {
        Ok(receive(receiver, group, timeout, |index| self.name_of(index))?)
    }

    /// Returns the name of the interface with this index on this host.
    fn name_of(&self, index: InterfaceIndex) -> String {
        if index.number() == self.port.index { self.interface() } else { format!("interface {index}") }
    }
}

/// Connects a host that computes its checksums itself, so that a capture shows what a wire would carry.
pub(super) fn connect(
    host: &Host,
    interface: &str,
    switch: &Switch,
    address: &str,
) -> anyhow::Result<HostInterface> {
    let port = host.connect(interface, switch, &[address])?;
    host.offload(interface, Offload::none())?;
    Ok(port)
}

/// Waits up to `timeout` for a datagram, and returns its arrival or its absence as an event.
pub(super) fn receive(
    receiver: &Receiver,
    group: GroupAddr,
    timeout: Duration,
    name: impl Fn(InterfaceIndex) -> String,
) -> mcast::Result<Event> {
    let mut buffer = [0; 2048];
    let datagram = receiver.recv_timeout(&mut buffer, timeout)?;
    Ok(match datagram {
        Some(datagram) => Event::received(datagram.arrival(), datagram.payload(), name(datagram.interface())),
        None => Event::ReceivedNothing { group: group.into() },
    })
}
