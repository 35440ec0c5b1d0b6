//! The monitor, on the frames of a capture file; the frames of joined groups, in a lab.
#![cfg(feature = "live")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use mcast_capture::{CaptureFile, CaptureWriter, Direction, Frame, PacketFilter, WriteFormat};
use mcast_group::{Group, InterfaceIndex};
use mcast_packet::{Checksums, LinkType, MacAddress, UdpFrame};
use mcast_watch::live::{Monitor, MonitorOptions, MonitorReport};

/// Monitors a file with a datagram to each of these groups.
fn report_on(groups: &[&str], filter: PacketFilter) -> MonitorReport {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups.pcapng");
    let mut writer = CaptureWriter::create_new(&path, WriteFormat::PcapNg).unwrap();
    for group in groups {
        let datagram = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: "10.0.0.7".parse().unwrap(),
            source_port: 4000,
            group: group.parse().unwrap(),
            destination_port: 5000,
            hop_limit: 4,
            payload: b"hello",
        };
        let mut buffer = [0; 128];
        let length = datagram.emit(&mut buffer).unwrap();
        let frame = Frame {
            bytes: &buffer[..length],
            original_length: length,
            link_type: LinkType::Ethernet,
            interface: InterfaceIndex::new(1).unwrap(),
            interface_name: Some("eth7\n"),
            direction: Direction::Unknown,
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            checksums: Checksums::Computed,
            resegmented: false,
        };
        writer.write(&frame).unwrap();
    }
    drop(writer);
    let options = MonitorOptions { filter, ..MonitorOptions::default() };
    let monitor = Monitor::start(CaptureFile::open(&path).unwrap().into(), options).unwrap();
    assert!(monitor.wait_for_end(Duration::from_secs(10)) && monitor.failure().is_none());
    assert!(CaptureWriter::create_new(&path, WriteFormat::PcapNg).is_err(), "the file exists");
    monitor.report(SystemTime::now())
}

#[test]
fn streams_of_a_file_are_reported_with_escaped_names() {
    let report = report_on(&["239.1.2.3", "239.1.2.3", "239.9.9.9"], PacketFilter::default());
    assert!(report.is_file && report.is_over);
    let counts: Vec<_> = report.watch.streams.iter().map(|row| row.datagrams).collect();
    assert_eq!(counts, [2, 1]);
    assert_eq!(report.interface(report.watch.streams[0].key.interface), "eth7\\n");
}

#[test]
fn only_selected_streams_are_reported() {
    let group: Group = "239.9.9.9".parse().unwrap();
    let only = |name: &str| {
        let filter = PacketFilter::default().groups([group.into()]).interfaces(vec![name.parse().unwrap()]);
        report_on(&["239.1.2.3", "239.9.9.9"], filter).watch.streams.len()
    };
    assert_eq!((only("1"), only("2")), (1, 0));
}

#[cfg(target_os = "linux")]
mod in_a_lab {
    use std::net::UdpSocket;

    use mcast_lab::Lab;
    use mcast_watch::Discovery;
    use mcast_watch::live::{
        DiscoveryOptions, GroupFrameKind, GroupFrames, GroupFramesOptions, LiveError, NextGroupFrame,
        SocketFrames, TrafficMonitor, WireFrames,
    };

    use super::*;

    /// Sends to a group that is joined and to another port of it, and checks that only the former is returned.
    fn assert_only_joined_datagrams_are_returned<F: GroupFrames + Send + 'static>(
        open: fn(&GroupFramesOptions) -> Result<F, LiveError>,
    ) {
        let lab = Lab::new().unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
        let memberships = vec!["239.1.2.3%eth0:5000".parse().unwrap()];
        let options = GroupFramesOptions { memberships, ..GroupFramesOptions::default() };
        let mut frames = b.run(move || open(&options).unwrap()).unwrap();
        let mut traffic = TrafficMonitor::new(&frames.memberships());
        assert_eq!(traffic.missing(), [("239.1.2.3".parse().unwrap(), "eth0")]);
        let sender = a.run(|| UdpSocket::bind("10.0.0.1:4000").unwrap()).unwrap();
        for (payload, port) in [("other", 5001), ("joined", 5000)] {
            sender.send_to(payload.as_bytes(), ("239.1.2.3", port)).unwrap();
        }
        b.run(move || check(&mut frames, &mut traffic)).unwrap();
    }

    fn check(frames: &mut impl GroupFrames, traffic: &mut TrafficMonitor) {
        let (frame, kind) = loop {
            match frames.next(Duration::from_secs(30)).unwrap() {
                NextGroupFrame::Frame(frame, kind) => break (frame, kind),
                next => assert!(matches!(next, NextGroupFrame::Other), "nothing has arrived"),
            }
        };
        let packet = frame.packet();
        assert_eq!((packet.udp().unwrap().payload, frame.interface_name), (&b"joined"[..], Some("eth0")));
        assert!(matches!(kind, GroupFrameKind::Datagram(arrival) if arrival.destination.port() == 5000));
        traffic.observe(&frame, &packet);
        assert!(traffic.is_complete());
    }

    #[test]
    fn frames_from_the_wire_are_those_of_joined_groups() {
        assert_only_joined_datagrams_are_returned(WireFrames::open);
    }

    #[test]
    fn frames_from_sockets_are_those_of_joined_groups() {
        assert_only_joined_datagrams_are_returned(SocketFrames::open);
    }

    /// Returns how many UDP sockets are on the port of mDNS, and how many packet sockets there are.
    fn open_sockets() -> (usize, usize) {
        let table = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
        let on_port = |name: &str| table(name).lines().filter(|line| line.contains(":14E9 ")).count();
        (on_port("udp") + on_port("udp6"), table("packet").lines().count() - 1)
    }

    #[test]
    fn closing_a_discovery_closes_its_sockets() {
        let lab = Lab::new().unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
        let looked = a.run(|| {
            let discovery = Discovery::open(&DiscoveryOptions { ask: true, ..Default::default() }).unwrap();
            let open = open_sockets();
            discovery.close();
            (open, open_sockets())
        });
        let (open, closed) = looked.unwrap();
        assert!(open.0 > 0 && open.1 > 0, "{open:?}");
        assert_eq!(closed, (0, 0));
    }
}
