//! Synthetic packets and times.

use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::{GmpMessage, IgmpMessage, MldMessage};
use mcast_packet::pim::PimMessage;
use mcast_packet::{ControlFrame, MacAddress, Packet, PimFrame, UdpFrame, gmp};
use mcast_watch::{ObservedPacket, Row, StreamKey, Time, Watch, WatchOptions, WatchReport};

pub(crate) const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

/// A table under test, with methods that feed it packets.
pub(crate) struct Table {
    pub(crate) watch: Watch,
}

/// A datagram to observe; by default from 10.0.0.7 to 239.1.2.3:5000.
#[derive(Clone, Copy)]
pub(crate) struct Datagram<'a> {
    pub(crate) group: &'a str,
    pub(crate) port: u16,
    pub(crate) source: &'a str,
    pub(crate) source_port: u16,
    pub(crate) hop_limit: u8,
    pub(crate) interface: u32,
    pub(crate) payload: &'a [u8],
}

pub(crate) const DEFAULT_DATAGRAM: Datagram<'static> = Datagram {
    group: "239.1.2.3",
    port: 5000,
    source: "10.0.0.7",
    source_port: 4000,
    hop_limit: 1,
    interface: 2,
    payload: b"hello",
};

impl Datagram<'_> {
    /// Returns its bytes, starting with the Ethernet header.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let frame = UdpFrame {
            mac: MAC,
            source: self.source.parse().unwrap(),
            source_port: self.source_port,
            group: self.group.parse().unwrap(),
            destination_port: self.port,
            hop_limit: self.hop_limit,
            payload: self.payload,
        };
        let mut buffer = vec![0; 100 + self.payload.len()];
        let length = frame.emit(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }
}

/// Returns the time that many milliseconds after the table was started.
pub(crate) fn at(milliseconds: u64) -> Time {
    Time::from_secs(1_700_000_000).after(Duration::from_millis(milliseconds))
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::with(WatchOptions::default())
    }

    pub(crate) fn with(options: WatchOptions) -> Self {
        let mut watch = Watch::new(options);
        watch.begin(at(0));
        Self { watch }
    }

    pub(crate) fn observe(&mut self, milliseconds: u64, datagram: Datagram<'_>) {
        self.observe_at(at(milliseconds), datagram);
    }

    pub(crate) fn observe_at(&mut self, time: Time, datagram: Datagram<'_>) {
        self.observe_frame(time, datagram.interface, &datagram.frame());
    }

    pub(crate) fn observe_frame(&mut self, time: Time, interface: u32, bytes: &[u8]) -> Option<StreamKey> {
        let packet = Packet::ethernet(bytes);
        let interface = InterfaceIndex::new(interface).unwrap();
        let length = bytes.len();
        self.watch.observe(&ObservedPacket {
            time,
            interface,
            outgoing: false,
            length,
            packet: &packet,
            state: mcast_watch::PacketState::Whole,
            tunnel: None,
            sequence_info: None,
        })
    }

    pub(crate) fn observe_igmp(&mut self, milliseconds: u64, source: &str, message: IgmpMessage<'_>) {
        self.observe_control(milliseconds, source.parse::<std::net::Ipv4Addr>().unwrap(), message);
    }

    pub(crate) fn observe_mld(&mut self, milliseconds: u64, source: &str, message: MldMessage<'_>) {
        self.observe_control(milliseconds, source.parse::<std::net::Ipv6Addr>().unwrap(), message);
    }

    pub(crate) fn observe_pim(&mut self, milliseconds: u64, source: &str, message: PimMessage<'_>) {
        let mut buffer = [0; 1500];
        let frame = PimFrame::to_neighbors(MAC, source.parse().unwrap(), message);
        let length = frame.emit(&mut buffer).unwrap();
        self.observe_frame(at(milliseconds), 2, &buffer[..length]);
    }

    fn observe_control<A: gmp::Address>(&mut self, milliseconds: u64, source: A, message: GmpMessage<'_, A>) {
        let mut buffer = [0; 1500];
        let length = ControlFrame { mac: MAC, source, message }.emit(&mut buffer).unwrap();
        self.observe_frame(at(milliseconds), 2, &buffer[..length]);
    }

    pub(crate) fn report(&mut self, milliseconds: u64) -> WatchReport {
        self.watch.report(at(milliseconds))
    }

    pub(crate) fn row(&mut self, milliseconds: u64) -> Row {
        let mut streams = self.report(milliseconds).streams;
        assert_eq!(streams.len(), 1, "{streams:?}");
        streams.remove(0)
    }
}
