//! What SSDP, WS-Discovery, SAP, CoAP, KNXnet/IP, sACN and Art-Net announce: situations of public reports, and hostile networks.

#![allow(clippy::unwrap_used, clippy::panic)]

mod description;
mod hostile;
mod messages;
mod reports;
mod ssdp_reports;

use std::net::SocketAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_watch::Time;
use mcast_watch::discovery::{
    Discovered, DiscoveryDatagram, DiscoveryEvent, DiscoveryPlace, DiscoveryProtocol, DiscoveryQuestion,
    DiscoveryTable,
};

/// A table that is fed with datagrams, one at a time.
struct Network {
    table: DiscoveryTable,
    now: Time,
    interface: u32,
    /// The questions that were sent.
    asked: Vec<DiscoveryQuestion>,
}

impl Network {
    fn new() -> Self {
        let now = Time::from_secs(1_000);
        Self { table: DiscoveryTable::new(), now, interface: 2, asked: Vec::new() }
    }

    fn place(&self) -> DiscoveryPlace {
        DiscoveryPlace { interface: InterfaceIndex::new(self.interface).unwrap(), vlan: None }
    }

    /// Receives a datagram.
    fn receive(&mut self, source: &str, destination: &str, payload: impl AsRef<[u8]>) {
        let datagram = DiscoveryDatagram {
            place: self.place(),
            source: address(source),
            destination: address(destination),
            hop_limit: None,
            outgoing: false,
            payload: payload.as_ref(),
        };
        self.table.handle_datagram(self.now, &datagram);
    }

    /// Lets time pass, with all that becomes due meanwhile.
    fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(due) = self.table.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.table.handle_timeout(self.now);
            self.asked.extend(std::iter::from_fn(|| self.table.poll_transmit(self.now)));
        }
        self.now = end;
        self.table.handle_timeout(end);
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Returns the entries of the protocols that are tested here; groups with traffic are entries, too.
    fn entries(&self) -> Vec<Discovered> {
        self.table.entries().into_iter().filter(|entry| is_tested(entry.key.protocol)).cloned().collect()
    }

    /// Returns the only entry.
    fn entry(&self) -> Discovered {
        let mut entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }

    /// Returns the names of the entries, in their order.
    fn names(&self) -> Vec<String> {
        self.entries().iter().map(|entry| entry.name.to_string()).collect()
    }

    /// Returns changes since the last call, such as `+NAME`, `~NAME` and `-NAME Goodbye`.
    fn events(&mut self) -> Vec<String> {
        let table = &mut self.table;
        let text = |event| {
            let (entry, text) = match event {
                DiscoveryEvent::Appeared(entry) => (entry.clone(), format!("+{}", entry.name)),
                DiscoveryEvent::Changed { now, .. } => (now.clone(), format!("~{}", now.name)),
                DiscoveryEvent::Departed { entry, reason } => {
                    (entry.clone(), format!("-{} {reason:?}", entry.name))
                }
                other => return Some(format!("{other:?}")),
            };
            is_tested(entry.key.protocol).then_some(text)
        };
        std::iter::from_fn(|| table.poll_event()).filter_map(text).collect()
    }
}

fn is_tested(protocol: DiscoveryProtocol) -> bool {
    use DiscoveryProtocol::{ArtNet, Coap, Knx, Sacn, Sap, Ssdp, WsDiscovery};
    [ArtNet, Coap, Knx, Sacn, Sap, Ssdp, WsDiscovery].contains(&protocol)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns the values of the fields with this name.
fn values(entry: &Discovered, name: &str) -> Vec<String> {
    let named = entry.fields.iter().filter(|field| field.name.as_bytes() == name.as_bytes());
    named.map(|field| field.value.to_string()).collect()
}

/// Returns where an entry can be reached: its addresses, separated by spaces, and its port.
fn reach(entry: &Discovered) -> String {
    let addresses: Vec<String> = entry.addresses.iter().map(ToString::to_string).collect();
    let port = entry.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
    format!("{} port {port}", addresses.join(" "))
}

/// Returns how long an entry holds, in seconds.
fn lifetime(network: &Network, entry: &Discovered) -> Option<u64> {
    entry.expires.map(|expires| expires.since(network.now).as_secs())
}
