//! Devices and streams of Ethernet audio and video (AVTP), which use no IP.

use std::time::Duration;

use mcast_packet::{Avtp, Network, ether_type};

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource,
};
use super::registry::Registry;
use super::{DiscoveryPacket, Observer};
use crate::clock::Time;
use crate::lru::Lru;

/// Reads what devices announce and send.
#[derive(Debug)]
pub(super) struct AvtpObserver {
    /// When streams were last announced to the registry: they have thousands of frames per second.
    streams: Lru<(DiscoveryPlace, u64), Time>,
}

impl AvtpObserver {
    /// A stream without frames for this time has ended.
    const STREAM: Duration = Duration::from_secs(10);
    const REPEAT: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self { streams: Lru::new(1_024) }
    }
}

impl Observer for AvtpObserver {
    fn handle_packet(&mut self, now: Time, packet: &DiscoveryPacket<'_>, registry: &mut Registry) {
        let Some(Network::Other { ether_type: ether_type::AVTP, payload }) = packet.packet.network else {
            return;
        };
        let Some((to, from)) = packet.packet.hardware_addresses() else { return };
        let source = DiscoverySource::Mac(from);
        match Avtp::parse(payload) {
            Some(Avtp::Device(device)) => {
                let key = key(packet.place, "device", device.device);
                let mut announced = Discovered::new(key, DiscoveredKind::Device, source, now);
                announced.name = format!("{:016x}", device.device).into();
                announced.expires = Some(now.after(Duration::from_secs(u64::from(device.lifetime).max(2))));
                announced.add("model", format_args!("{:016x}", device.model));
                announced.add("talker streams", device.talker_streams);
                announced.add("listener streams", device.listener_streams);
                announced.add_some("controller", device.is_controller.then_some("yes"));
                announced.add("grandmaster", format_args!("{:016x}", device.grandmaster));
                registry.announce(now, announced);
            }
            Some(Avtp::Departing { device }) => {
                registry.goodbye(&key(packet.place, "device", device), source);
            }
            Some(Avtp::Stream { stream, format }) => {
                let place = (packet.place, stream);
                let (latest, _) = self.streams.touch(place, Time::default);
                if now.since(*latest) < Self::REPEAT {
                    return;
                }
                if std::mem::replace(latest, now) != Time::default() {
                    self.streams.prove(&place);
                }
                let mut announced =
                    Discovered::new(key(packet.place, "stream", stream), DiscoveredKind::Stream, source, now);
                announced.name = format!("{stream:016x}").into();
                announced.service = format.to_string().into();
                announced.expires = Some(now.after(Self::STREAM));
                announced.add("format", format);
                announced.add("destination", to);
                registry.announce(now, announced);
            }
            Some(_) => {}
            None => registry.counts.malformed += 1,
        }
    }
}

fn key(place: DiscoveryPlace, kind: &str, number: u64) -> DiscoveryKey {
    DiscoveryKey { protocol: DiscoveryProtocol::Avtp, place, id: format!("{kind} {number:016x}").into() }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    const GROUP: [u8; 6] = [0x91, 0xe0, 0xf0, 1, 0, 0];

    fn device(message: u8) -> Vec<u8> {
        let mut bytes = vec![0; 68];
        bytes[..4].copy_from_slice(&[0xfa, message, 10 << 3, 56]);
        bytes[4..12].copy_from_slice(&[0, 0x1b, 0x92, 0xff, 0xfe, 1, 2, 3]);
        bytes[25] = 8;
        bytes
    }

    #[test]
    fn device_is_listed_for_the_time_that_it_states_or_until_it_leaves() {
        let mut bench = Bench::new();
        bench.frame(GROUP, ether_type::AVTP, &device(0));
        let entry = bench.only(DiscoveryProtocol::Avtp);
        assert_eq!(
            (entry.name.to_string(), entry.value("talker streams")),
            ("001b92fffe010203".into(), "8".into())
        );
        bench.wait(20.1);
        assert_eq!(bench.names(DiscoveryProtocol::Avtp).len(), 0);
        bench.frame(GROUP, ether_type::AVTP, &device(0));
        bench.frame(GROUP, ether_type::AVTP, &device(1));
        assert_eq!(bench.names(DiscoveryProtocol::Avtp).len(), 0);
    }

    #[test]
    fn stream_is_announced_once_per_second() {
        let mut bench = Bench::new();
        for _ in 0..100 {
            bench.frame(GROUP, ether_type::AVTP, &[2, 0x81, 0, 0, 0, 0x1b, 0x92, 1, 2, 3, 0, 9]);
            bench.wait(0.05);
        }
        let entry = bench.only(DiscoveryProtocol::Avtp);
        assert_eq!((entry.value("format"), entry.announcements), ("AAF audio".into(), 5));
        bench.wait(11.0);
        assert_eq!(bench.names(DiscoveryProtocol::Avtp).len(), 0);
    }
}
