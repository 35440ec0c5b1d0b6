//! A file as a source of frames, behind the trait that live captures have, too.

use std::time::Duration;

use mcast_capture::{CaptureFile, CaptureWriter, FrameSource, SourceError, Statistics, WriteFormat};
use mcast_packet::LinkType;
use tempfile::tempdir;

use crate::support::{Owned, datagram, index, write};

/// What takes any source: the payloads, and the names of the interfaces that they came by.
fn payloads(source: &mut dyn FrameSource) -> Result<Vec<(String, String)>, SourceError> {
    let mut payloads = Vec::new();
    while !source.is_at_end() {
        let Some(frame) = source.next_frame(Some(Duration::ZERO))? else { continue };
        let payload = String::from_utf8_lossy(frame.packet().udp().unwrap().payload).into_owned();
        let interface = frame.interface;
        payloads.push((payload, source.interface_name(interface).unwrap_or_default().to_owned()));
    }
    Ok(payloads)
}

#[test]
fn a_file_is_read_to_its_end_as_any_source_and_says_what_was_lost() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("all.pcapng");
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    writer.describe(index(1), "eth7", LinkType::Ethernet).unwrap();
    for (number, payload) in [b"one", b"two"].into_iter().enumerate() {
        writer.write(&Owned::new(datagram(payload), number as u32).frame()).unwrap();
    }
    let statistics = Statistics { frames: 2, dropped: 5, unreadable: 0 };
    writer.write_statistics(index(1), &statistics).unwrap();
    drop(writer);

    let mut file = CaptureFile::open(&path).unwrap();
    let expected = ["one", "two"].map(|payload| (payload.to_owned(), "eth7".to_owned()));
    assert_eq!(payloads(&mut file).unwrap(), expected);
    assert_eq!(file.lost().unwrap(), Some(5));
}

#[test]
fn where_nobody_counted_nothing_is_said_of_loss() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("plain.pcap");
    write(&path, WriteFormat::Pcap, &[Owned::new(datagram(b"one"), 0)]);
    let mut file = CaptureFile::open(&path).unwrap();
    assert_eq!(payloads(&mut file).unwrap().len(), 1);
    assert_eq!(file.lost().unwrap(), None);
}

#[test]
fn a_file_that_is_cut_off_says_so_once_and_is_then_at_its_end() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    write(&path, WriteFormat::Pcap, &[Owned::new(datagram(b"one"), 0), Owned::new(datagram(b"two"), 1)]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let mut file = CaptureFile::open(&path).unwrap();
    let error = payloads(&mut file).unwrap_err();
    assert!(error.to_string().contains("it ends within the record"), "{error}");
    assert!(error.remedy().is_some());
    assert!(file.is_at_end());
}
