//! A file as a [`FrameSource`], the trait that live captures implement too.

use std::time::Duration;

use mcast_capture::{CaptureFile, CaptureStatistics, CaptureWriter, FrameSource, SourceError, WriteFormat};
use mcast_packet::LinkType;
use tempfile::tempdir;

use crate::support::{OwnedFrame, datagram, index, write};

/// Reads any source, and returns the payloads and the names of their interfaces.
fn payloads(source: &mut dyn FrameSource) -> Result<Vec<(String, String)>, SourceError> {
    let mut payloads = Vec::new();
    while !source.is_at_end() {
        let Some(frame) = source.next_frame(Some(Duration::ZERO))? else { continue };
        let payload = String::from_utf8_lossy(frame.packet().udp().unwrap().payload).into_owned();
        payloads.push((payload, frame.interface_name.unwrap_or_default().to_owned()));
    }
    Ok(payloads)
}

#[test]
fn file_source_is_read_to_its_end_and_reports_loss() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("all.pcapng");
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    writer.describe(index(1), "eth7", LinkType::Ethernet).unwrap();
    for (number, payload) in [b"one", b"two"].into_iter().enumerate() {
        writer.write(&OwnedFrame::new(datagram(payload), number as u32).frame()).unwrap();
    }
    let statistics = CaptureStatistics { frames: 2, dropped: 5, unreadable: 0 };
    writer.write_statistics(index(1), &statistics).unwrap();
    drop(writer);

    let mut file = CaptureFile::open(&path).unwrap();
    let expected = ["one", "two"].map(|payload| (payload.to_owned(), "eth7".to_owned()));
    assert_eq!(payloads(&mut file).unwrap(), expected);
    assert_eq!(file.lost().unwrap(), Some(5));
}

#[test]
fn file_source_without_counts_reports_no_loss() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("plain.pcap");
    write(&path, WriteFormat::Pcap, &[OwnedFrame::new(datagram(b"one"), 0)]);
    let mut file = CaptureFile::open(&path).unwrap();
    assert_eq!(payloads(&mut file).unwrap().len(), 1);
    assert_eq!(file.lost().unwrap(), None);
}

#[test]
fn truncated_file_source_fails_once_and_is_then_at_its_end() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    write(
        &path,
        WriteFormat::Pcap,
        &[OwnedFrame::new(datagram(b"one"), 0), OwnedFrame::new(datagram(b"two"), 1)],
    );
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let mut file = CaptureFile::open(&path).unwrap();
    let error = payloads(&mut file).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the file ends within the record"), "{text}");
    assert!(text.contains("all frames before have been read"), "{text}");
    assert!(file.is_at_end());
}
