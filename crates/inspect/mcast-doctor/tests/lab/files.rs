//! Examination of capture files.

use mcast_capture::{CaptureFile, CaptureWriter, WriteFormat};
use mcast_doctor::{Id, Report, Verdict, explain_capture};

use crate::net::{Net, assert_healthy, rtp};

crate::table::cases! {
    member_without_datagrams: MembersGetNothing, "a capture of a member and of another group", member_without_datagrams;
}

/// Examines a capture of these frames.
fn explain(frames: &[Vec<u8>]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let (raw, path) = (folder.path().join("raw.pcap"), folder.path().join("capture.pcapng"));
    std::fs::write(&raw, pcap(frames)).unwrap();
    let mut file = CaptureFile::open(&raw).unwrap();
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    while let Some(frame) = file.next().unwrap() {
        writer.write(&frame).unwrap();
    }
    writer.flush().unwrap();
    explain_capture(&path).unwrap()
}

/// Returns a pcap file with a frame every 10 ms.
pub(crate) fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (number, frame) in (0_u32..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [1_700_000_000 + number / 100, number % 100 * 10_000, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

/// Examines a pcap file with frames of this link type, changed by a function.
fn explain_link(
    number: u32,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
    of_file: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Report {
    let frames: Vec<_> = rtp_frames(300, |_| {}).into_iter().map(change).collect();
    let mut bytes = pcap(&frames);
    bytes[20..24].copy_from_slice(&number.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    std::fs::write(&path, of_file(bytes)).unwrap();
    explain_capture(&path).unwrap()
}

pub(crate) fn gzipped(bytes: Vec<u8>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &bytes).unwrap();
    encoder.finish().unwrap()
}

fn same(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[test]
fn frames_that_cannot_be_decoded_leave_the_verdict_unknown() {
    const BLUETOOTH: u32 = 187;
    const WIRELESS: u32 = 105;
    const RADIOTAP: u32 = 127;
    const PPP: u32 = 9;
    for number in [BLUETOOTH, WIRELESS, RADIOTAP, PPP] {
        let report = explain_link(number, same, same);
        assert_eq!(report.verdict(), Verdict::Unknown, "{number}: {report:#?}");
        assert!(report.summary().contains("what 300 frames contain"), "{number}: {}", report.summary());
    }
}

#[test]
fn wireless_and_point_to_point_captures_and_compressed_ones_are_examined() {
    let arrives = |report: &Report| {
        assert_healthy(report);
        let seen =
            |text: &str| report.observations.iter().any(|observation| observation.message.contains(text));
        assert!(seen("300 datagrams"), "{report:#?}");
    };
    arrives(&explain_link(
        127,
        |frame| {
            let radiotap = [0, 0, 8, 0, 0, 0, 0, 0];
            let header =
                [&[0x08, 2, 0, 0][..], &frame[..6], &[2, 0, 0, 0, 0, 9], &frame[6..12], &[0, 0]].concat();
            [&radiotap[..], &header, &[0xaa, 0xaa, 3, 0, 0, 0], &frame[12..]].concat()
        },
        same,
    ));
    arrives(&explain_link(9, |frame| [&[0xff, 3, 0, 0x21][..], &frame[14..]].concat(), same));
    arrives(&explain_link(1, same, gzipped));
    let cut = explain_link(1, same, |bytes| {
        let mut bytes = gzipped(bytes);
        bytes.truncate(bytes.len() / 2);
        bytes
    });
    assert_eq!(cut.verdict(), Verdict::Unknown, "{cut:#?}");
}

#[test]
fn capture_of_more_flows_than_are_recorded_leaves_the_verdict_unknown() {
    let net = Net::new();
    let source = |number: u32| std::net::Ipv4Addr::from(0x0a09_0000 + number).to_string();
    let explain_sources = |count| {
        let frames = (0..count).map(|number| net.frame(&source(number), "239.1.2.3:5000", number));
        explain(&frames.collect::<Vec<_>>())
    };
    let many = explain_sources(1_200);
    assert_eq!(many.verdict(), Verdict::Healthy, "{many:#?}");
    let report = explain_sources(4_200);
    assert_eq!(report.verdict(), Verdict::Unknown, "{report:#?}");
    assert!(report.summary().contains("what 200 frames contain"), "{}", report.summary());
}

fn frames(source: &str) -> Vec<Vec<u8>> {
    let net = Net::new();
    (0..20).map(|number| net.frame(source, "239.1.2.3:5000", number)).collect()
}

fn ids(report: &Report) -> Vec<Id> {
    report.findings.iter().map(|finding| finding.id).collect()
}

#[test]
fn capture_of_a_healthy_stream_has_no_findings() {
    let report = explain(&frames("10.9.0.1"));
    assert_healthy(&report);
    // An interface without a name is called as `mcast sniff` and `mcast top` call it.
    assert!(report.observations.iter().all(|observation| observation.layer == "wire #1"), "{report:#?}");
    assert!(
        report.observations.iter().any(|observation| observation.message.contains("20 datagrams")),
        "{report:#?}"
    );
}

#[test]
fn capture_shows_missing_sources_bad_checksums_and_duplicates() {
    assert_eq!(ids(&explain(&frames("0.0.0.0"))), [Id::SourceZero]);
    let mut bad = frames("10.9.0.1");
    bad.iter_mut().for_each(|frame| frame[14 + 20 + 7] ^= 1);
    assert_eq!(ids(&explain(&bad)), [Id::BadChecksum]);
    let twice: Vec<_> = frames("10.9.0.1").into_iter().flat_map(|frame| [frame.clone(), frame]).collect();
    assert_eq!(ids(&explain(&twice)), [Id::DuplicatePath]);
}

/// Returns a stream of RTP, each frame changed by a function.
fn rtp_frames(count: u16, change: impl Fn(&mut Vec<u8>)) -> Vec<Vec<u8>> {
    let net = Net::new();
    let frame = |number| {
        let mut buffer = [0; 256];
        let frame = mcast_packet::UdpFrame {
            mac: mcast_packet::MacAddress(net.ports[0].hardware_address),
            source: "10.9.0.1".parse().unwrap(),
            source_port: 6000,
            group: "239.61.7.7".parse().unwrap(),
            destination_port: 5000,
            hop_limit: 4,
            payload: &rtp(number, 7),
        };
        let length = frame.emit(&mut buffer).unwrap();
        let mut frame = buffer[..length].to_vec();
        change(&mut frame);
        frame
    };
    (0..count).map(frame).collect()
}

#[test]
fn capture_shows_loss_of_rtp() {
    assert_healthy(&explain(&rtp_frames(300, |_| {})));
    let frames = rtp_frames(300, |_| {}).into_iter().enumerate();
    let lossy: Vec<_> = frames.filter(|(number, _)| number % 20 != 7).map(|(_, frame)| frame).collect();
    assert_eq!(ids(&explain(&lossy)), [Id::LostBeforeThisMachine]);
}

/// Routers that share the load also alternate, but nothing comes by both with the same number.
#[test]
fn capture_shows_two_hosts_with_one_address() {
    const PAYLOAD: usize = 14 + 20 + 8 + 12;
    let in_turn = |is_changed: bool| {
        let other = |frame: &Vec<u8>| {
            let mut other = frame.clone();
            other[11] ^= 1;
            // Two words change places, which keeps the checksum.
            if is_changed {
                other.swap(PAYLOAD, PAYLOAD + 2);
            }
            other
        };
        let frames = rtp_frames(300, |_| {}).into_iter().enumerate();
        match is_changed {
            true => explain(&frames.flat_map(|(_, frame)| [other(&frame), frame]).collect::<Vec<_>>()),
            false => {
                let frames =
                    frames.map(|(number, frame)| if number % 2 == 0 { other(&frame) } else { frame });
                explain(&frames.collect::<Vec<_>>())
            }
        }
    };
    let report = in_turn(true);
    assert_eq!((ids(&report), report.verdict()), (vec![Id::ConflictingStreams], Verdict::Warnings));
    assert_healthy(&in_turn(false));
}

#[test]
fn capture_shows_wrong_ethernet_addresses_and_tags() {
    let to = |mac: [u8; 6]| ids(&explain(&rtp_frames(20, |frame| frame[..6].copy_from_slice(&mac))));
    assert_eq!(to([2, 0, 0, 0, 9, 9]), [Id::FramesToAnotherHost]);
    assert_eq!(to([1, 0, 0x5e, 9, 9, 9]), [Id::FramesToAnotherHost]);
    assert_eq!(to([0xff; 6]), []);
    let tagged = explain(&rtp_frames(20, |frame| {
        frame.splice(12..12, [0x81, 0, 0, 42]);
    }));
    assert_eq!((ids(&tagged), tagged.verdict()), (vec![Id::VlanTagged], Verdict::Healthy));
}

#[test]
fn capture_shows_sources_that_no_host_has() {
    assert_eq!(ids(&explain(&frames("127.0.0.1"))), [Id::InvalidSource]);
    assert_eq!(ids(&explain(&frames("239.9.9.9"))), [Id::InvalidSource]);
}

/// A capture with a report for 239.61.7.7 and these frames.
fn explain_member(others: impl FnOnce(&Net) -> Vec<Vec<u8>>) -> Report {
    let net = Net::new();
    let report = mcast_packet::gmp::IgmpMessage::Report { group: [239, 61, 7, 7].into() };
    let mac = mcast_packet::MacAddress(net.ports[1].hardware_address);
    let mut buffer = [0; 128];
    let frame = mcast_packet::ControlFrame { mac, source: [10, 9, 0, 2].into(), message: report };
    let length = frame.emit(&mut buffer).unwrap();
    explain(&[vec![buffer[..length].to_vec()], others(&net)].concat())
}

/// A capture of a member and of another group.
pub(crate) fn member_without_datagrams() -> Report {
    explain_member(|net| (0..300).map(|number| net.frame("10.9.0.1", "239.1.2.3:5000", number)).collect())
}

#[test]
fn capture_of_a_member_and_its_datagrams_has_no_findings() {
    assert_healthy(&explain_member(|_| rtp_frames(300, |_| {})));
}

/// With checksum offload, the frame carries the sum of the pseudo-header alone, neither complemented nor over the
/// payload, until the device or the peer of a virtual link completes it.
#[test]
fn offloaded_checksums_are_not_a_fault() {
    let mut offloaded = frames("10.9.0.1");
    for frame in &mut offloaded {
        let length = u16::from_be_bytes([frame[14 + 20 + 4], frame[14 + 20 + 5]]);
        let words = frame[14 + 12..14 + 20].chunks(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        let sum = words.chain([17, length]).map(u32::from).sum::<u32>();
        let folded = (sum & 0xffff) + (sum >> 16);
        frame[14 + 20 + 6..14 + 20 + 8].copy_from_slice(&u16::try_from(folded).unwrap().to_be_bytes());
    }
    assert_healthy(&explain(&offloaded));
}

#[test]
fn file_that_is_not_a_capture_is_an_error() {
    let error = explain_capture("/dev/null").unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn truncated_capture_is_examined_up_to_the_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    let mut bytes = pcap(&frames("0.0.0.0"));
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&path, bytes).unwrap();
    let report = explain_capture(&path).unwrap();
    assert_eq!(ids(&report), [Id::SourceZero]);
    assert!(
        report.observations.iter().any(|observation| observation.message.contains("19 datagrams")),
        "{report:#?}"
    );
    assert!(
        report.open_questions.iter().any(|unknown| unknown.reason.contains("ends within")),
        "{report:#?}"
    );
}
