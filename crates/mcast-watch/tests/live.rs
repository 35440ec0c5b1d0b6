//! The monitor, on the frames of a capture file.
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
