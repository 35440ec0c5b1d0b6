//! Files are read as they were written.

use std::time::SystemTime;

use mcast_capture::{
    CaptureFile, CaptureStatistics, CaptureWriter, Direction, FileErrorKind, FileFormat, Frame, LinkNumber,
    WriteFormat,
};
use mcast_packet::{ChecksumStatus, Checksums, LinkType, Packet};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::tempdir;

use crate::support::{OwnedFrame, at, datagram, index, read, write};

const DIRECTIONS: [Direction; 6] = [
    Direction::ToUs,
    Direction::Broadcast,
    Direction::Multicast,
    Direction::ToOthers,
    Direction::Outgoing,
    Direction::Unknown,
];

#[test]
fn pcapng_keeps_interfaces_directions_nanoseconds_and_original_lengths() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("all.pcapng");
    let mut frames: Vec<_> = DIRECTIONS
        .iter()
        .zip(0..)
        .map(|(direction, number)| OwnedFrame {
            direction: *direction,
            ..OwnedFrame::new(datagram(&[7; 33]), number)
        })
        .collect();
    frames[1].original_length = 9000;
    frames[2].interface = 2;
    frames[2].link_type = LinkType::Ip;
    frames[3].time = SystemTime::UNIX_EPOCH;

    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    writer.describe(index(1), "eth0", LinkType::Ethernet).unwrap();
    writer.describe(index(2), "tun\u{e4}", LinkType::Ip).unwrap();
    for frame in &frames {
        writer.write(&frame.frame()).unwrap();
    }
    let statistics = CaptureStatistics { frames: 5, dropped: 17, unreadable: 0 };
    writer.write_statistics(index(1), &statistics).unwrap();
    writer.sync().unwrap();
    drop(writer);

    assert_eq!(read(&path), frames);
    let mut file = CaptureFile::open(&path).unwrap();
    while file.next().unwrap().is_some() {}
    assert_eq!(file.format(), FileFormat::PcapNg);
    assert_eq!(file.statistics().frames, 6);
    let [first, second] = file.interfaces() else { panic!() };
    assert_eq!((first.name.as_deref(), first.dropped), (Some("eth0"), Some(17)));
    assert_eq!((second.name.as_deref(), second.dropped), (Some("tun\u{e4}"), None));
    assert_eq!(second.link, LinkNumber(101));
    assert_eq!(file.interface(index(2)), Some(second));
    assert_eq!(file.interface(index(3)), None);
}

#[test]
fn pcap_keeps_nanoseconds_and_has_one_link_type() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("all.pcap");
    let frames: Vec<_> = (0..3)
        .map(|number| OwnedFrame { direction: Direction::Unknown, ..OwnedFrame::new(datagram(b"x"), number) })
        .collect();
    write(&path, WriteFormat::Pcap, &frames);
    assert_eq!(read(&path), frames);
    assert_eq!(CaptureFile::open(&path).unwrap().format(), FileFormat::PcapNanoseconds);

    let mut writer = CaptureWriter::create(&path, WriteFormat::Pcap).unwrap();
    writer.write(&frames[0].frame()).unwrap();
    let other = OwnedFrame { link_type: LinkType::Ip, ..frames[1].clone() };
    let error = writer.write(&other.frame()).unwrap_err();
    assert_eq!((error.kind(), writer.frames()), (FileErrorKind::LinkTypeMismatch, 1));
    assert_eq!(error.remedy(), Some("write pcapng, which has a link type per interface"));
    writer.write(&frames[2].frame()).unwrap();
    drop(writer);
    assert_eq!(read(&path).len(), 2);
}

#[test]
fn undescribed_interface_is_named_by_its_number() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("one.pcapng");
    write(&path, WriteFormat::PcapNg, &[OwnedFrame { interface: 7, ..OwnedFrame::new(datagram(b"x"), 0) }]);
    let mut file = CaptureFile::open(&path).unwrap();
    assert_eq!(file.next().unwrap().unwrap().interface, index(1));
    assert_eq!(file.interfaces()[0].name.as_deref(), Some("interface 7"));
}

#[test]
fn copied_frame_keeps_the_name_of_its_interface() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("copy.pcapng");
    let frame = OwnedFrame::new(datagram(b"x"), 0);
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    writer.write(&Frame { interface_name: Some("eth7"), ..frame.frame() }).unwrap();
    drop(writer);
    let mut file = CaptureFile::open(&path).unwrap();
    assert_eq!(file.next().unwrap().unwrap().interface_name, Some("eth7"));
}

#[test]
fn checksum_left_to_the_device_is_filled_in() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("one.pcapng");
    let whole = datagram(b"payload");
    let mut pending = OwnedFrame::new(whole.clone(), 0);
    pending.bytes[40..42].copy_from_slice(&[0x12, 0x34]);
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    writer.write(&Frame { checksums: Checksums::LeftToDevice, ..pending.frame() }).unwrap();
    writer.write(&pending.frame()).unwrap();
    drop(writer);
    let frames = read(&path);
    assert_eq!(frames[0].bytes, whole);
    let bad = Packet::ethernet(&frames[1].bytes).udp().unwrap().checksum;
    assert!(matches!(bad, ChecksumStatus::Invalid { found: 0x1234, .. }), "an invalid checksum is kept");
}

#[test]
fn many_frames_are_written_without_a_flush() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("many.pcapng");
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    let frame = OwnedFrame::new(datagram(&[0; 1400]), 0);
    for _ in 0..200 {
        writer.write(&frame.frame()).unwrap();
    }
    assert!(writer.length() > 100_000, "{} bytes", writer.length());
    assert!(writer.pending() < 190);
}

#[test]
fn unreadable_and_foreign_files_are_reported() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("text");
    let error = CaptureFile::open(&path).unwrap_err();
    assert_eq!((error.kind(), error.path()), (FileErrorKind::System, path.as_path()));
    for content in [&b""[..], b"x", b"Hello, World! This is not a capture file."] {
        std::fs::write(&path, content).unwrap();
        let error = CaptureFile::open(&path).unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::NotACapture);
        assert!(error.to_string().ends_with("text: not a pcap or pcapng file"), "{error}");
    }
    let error = CaptureWriter::create(folder.path(), WriteFormat::PcapNg).unwrap_err();
    assert_eq!(error.kind(), FileErrorKind::System);
}

fn frames() -> impl Strategy<Value = Vec<OwnedFrame>> {
    let frame = (
        vec(any::<u8>(), 0..200),
        0usize..3000,
        1u32..4,
        prop::sample::select(&DIRECTIONS[..]),
        0u64..4_000_000_000,
        0u32..1_000_000_000,
    )
        .prop_map(|(bytes, cut_off, interface, direction, seconds, nanoseconds)| OwnedFrame {
            original_length: bytes.len() + cut_off,
            bytes,
            link_type: LinkType::Ethernet,
            interface,
            direction,
            time: at(seconds, nanoseconds),
        });
    vec(frame, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_frames_round_trip_in_both_formats(frames in frames()) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("any");
        let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
        for number in 1..4 {
            writer.describe(index(number), "any", LinkType::Ethernet).unwrap();
        }
        for frame in &frames {
            writer.write(&frame.frame()).unwrap();
        }
        drop(writer);
        prop_assert_eq!(&read(&path), &frames);

        let mut writer = CaptureWriter::create(&path, WriteFormat::Pcap).unwrap();
        writer.describe(index(1), "any", LinkType::Ethernet).unwrap();
        for frame in &frames {
            writer.write(&frame.frame()).unwrap();
        }
        drop(writer);
        let expected: Vec<_> = frames
            .into_iter()
            .map(|frame| OwnedFrame { direction: Direction::Unknown, interface: 1, ..frame })
            .collect();
        prop_assert_eq!(read(&path), expected);
    }
}
