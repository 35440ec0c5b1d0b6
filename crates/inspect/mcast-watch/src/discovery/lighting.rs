//! sACN (ANSI E1.31-2018) and Art-Net 4: universes with their sources, and nodes.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use mcast_packet::payload::{ArtNet, ArtPollReply, Sacn, SacnContent};

use super::entry::{Discovered, DiscoveredKind, DiscoveryProtocol, DiscoverySource, UntrustedText};
use super::registry::Registry;
use super::support::{Asking, announced_by, read};
use super::{DiscoveryDatagram, Observer};
use crate::clock::Time;

/// Reads sACN. An entry is a universe of one source.
#[derive(Debug)]
pub(super) struct SacnObserver;

impl SacnObserver {
    /// Without data for this time, a universe has lost its source (E1.31 section 6.7.1).
    const DATA_LOSS: Duration = Duration::from_millis(2_500);
    /// A source lists its universes every 10 s (E1.31 section 4.3); one list may be lost.
    const LISTED: Duration = Duration::from_secs(25);
    /// Data that state nothing new are recorded this often. A source sends 44 packets per second for each universe.
    const REFRESH: Duration = Duration::from_millis(500);
}

impl Observer for SacnObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(packet) = read(datagram, Sacn::PORT, registry, Sacn::parse) else { return };
        match packet.content {
            SacnContent::Synchronization(_) => {}
            SacnContent::Data { universe, is_terminated: true, .. } => {
                let key = universe_of(now, datagram, &packet, universe).key;
                registry.goodbye(&key, DiscoverySource::Ip(datagram.source));
            }
            SacnContent::Data { universe, priority, synchronization, is_preview, .. } => {
                let mut announced = universe_of(now, datagram, &packet, universe);
                announced.expires = Some(now.after(Self::DATA_LOSS));
                announced.add("priority", priority);
                announced
                    .add_some("synchronization universe", (synchronization != 0).then_some(synchronization));
                announced.add_some("preview", is_preview.then_some("yes"));
                let is_recorded = |known: &Discovered| {
                    now.since(known.last_seen) < Self::REFRESH
                        && known.name == announced.name
                        && known.fields == announced.fields
                };
                if !registry.get(&announced.key).is_some_and(is_recorded) {
                    registry.announce(now, announced);
                }
            }
            SacnContent::Discovery { universes, .. } => {
                for universe in universes {
                    let mut announced = universe_of(now, datagram, &packet, u16::from_be_bytes(*universe));
                    announced.expires = Some(now.after(Self::LISTED));
                    // A list states less than data do.
                    if let Some(known) = registry.get(&announced.key) {
                        announced.fields.clone_from(&known.fields);
                    }
                    registry.announce(now, announced);
                }
            }
        }
    }
}

fn universe_of(now: Time, datagram: &DiscoveryDatagram<'_>, packet: &Sacn<'_>, universe: u16) -> Discovered {
    let source: String = packet.source.iter().map(|byte| format!("{byte:02x}")).collect();
    let id = format!("{source}/{universe}");
    let mut announced = announced_by(now, datagram, DiscoveryProtocol::Sacn, DiscoveredKind::Universe, id);
    announced.name = match packet.name {
        b"" => datagram.source.ip().to_string().into(),
        name => UntrustedText::new(name),
    };
    announced.service = format!("universe {universe}").into();
    announced.add("cid", source);
    announced
}

const BROADCAST: [SocketAddr; 1] = [SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::BROADCAST, ArtNet::PORT))];

/// A question to all nodes, of protocol version 14, which asks them to report changes, too.
const ART_POLL: [u8; 14] = *b"Art-Net\0\x00\x20\x00\x0e\x02\x00";

/// Reads Art-Net. An entry is a node, or four ports of one that has more.
#[derive(Debug, Default)]
pub(super) struct ArtNetObserver {
    /// When a controller last asked all nodes.
    polled: Option<Time>,
}

impl ArtNetObserver {
    /// Controllers ask every 3 s or more often, and each node answers: with three answers missing, a node is gone.
    const POLLED: Duration = Duration::from_secs(10);

    fn announce(
        &self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        node: &ArtPollReply<'_>,
        registry: &mut Registry,
    ) {
        // The first description has index 0 or 1.
        let index = node.bind_index.max(1);
        let id = match node.mac.0 {
            [0, 0, 0, 0, 0, 0] => format!("{}/{index}", node.address),
            _ => format!("{}/{index}", node.mac),
        };
        let mut announced =
            announced_by(now, datagram, DiscoveryProtocol::ArtNet, DiscoveredKind::Device, id);
        if !node.address.is_unspecified() {
            announced.addresses = vec![node.address.into()];
        }
        announced.port = Some(if node.port == 0 { ArtNet::PORT } else { node.port });
        let name = if node.long_name.is_empty() { node.short_name } else { node.long_name };
        announced.name = match name {
            b"" => node.address.to_string().into(),
            name => UntrustedText::new(name),
        };
        let was_polled = self.polled.is_some_and(|polled| now.since(polled) < Self::POLLED);
        announced.expires =
            if was_polled { Some(now.after(Self::POLLED)) } else { registry.answer_holds_until(now) };
        let (outputs, inputs) = (list(node.outputs()), list(node.inputs()));
        let ports = [("outputs", &outputs), ("inputs", &inputs)];
        let ports = ports.iter().filter(|(_, universes)| !universes.is_empty());
        announced.service =
            ports.clone().map(|(name, list)| format!("{name} {list}")).collect::<Vec<_>>().join("; ").into();
        for (name, universes) in ports {
            announced.add(name, universes);
        }
        announced.add_text("short name", node.short_name);
        // The report counts answers, so it changes with each.
        announced.add("firmware", format_args!("{:#06x}", node.firmware));
        announced.add("oem", format_args!("{:#06x}", node.oem));
        announced.add("mac", node.mac);
        announced.add("bind index", node.bind_index);
        registry.announce(now, announced);
    }
}

impl Observer for ArtNetObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        match read(datagram, ArtNet::PORT, registry, ArtNet::parse) {
            Some(ArtNet::Poll) if !datagram.outgoing => self.polled = Some(now),
            Some(ArtNet::PollReply(node)) => self.announce(now, datagram, &node, registry),
            _ => {}
        }
    }
}

pub(super) const fn asking() -> Asking {
    Asking::new(DiscoveryProtocol::ArtNet, &BROADCAST, 1, |_, _, _, _| ART_POLL.to_vec())
}

/// Lists universes without repetitions.
fn list(universes: impl Iterator<Item = u16>) -> String {
    let universes: BTreeSet<u16> = universes.collect();
    universes.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
