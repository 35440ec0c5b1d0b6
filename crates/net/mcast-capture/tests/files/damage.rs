//! Truncated and damaged files: complete frames are read, and errors are reported.

use mcast_capture::{CaptureFile, FileErrorKind, WriteFormat};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::tempdir;

use crate::support::{OwnedFrame, datagram, read_bytes, write};

fn written(format: WriteFormat) -> (Vec<OwnedFrame>, Vec<u8>) {
    let frames: Vec<_> = (0..5).map(|number| OwnedFrame::new(datagram(&[1; 41]), number)).collect();
    let folder = tempdir().unwrap();
    let path = folder.path().join("whole");
    write(&path, format, &frames);
    (frames, std::fs::read(&path).unwrap())
}

#[test]
fn truncated_file_yields_all_complete_frames_and_an_error() {
    for format in [WriteFormat::PcapNg, WriteFormat::Pcap] {
        let (frames, bytes) = written(format);
        let (mut most, mut whole_files) = (0, 0);
        for length in 0..bytes.len() {
            let reader = std::io::Cursor::new(bytes[..length].to_vec());
            let Ok(file) = CaptureFile::from_reader(reader, "memory") else {
                assert!(length < 24, "{length} bytes contain a file header");
                continue;
            };
            let (found, error) = crate::support::read_all(file);
            assert!(found.len() >= most, "{length} bytes give fewer frames than fewer bytes");
            most = found.len();
            assert!(found.iter().zip(&frames).all(|(found, frame)| found.bytes == frame.bytes));
            match error.map(|error| error.kind()) {
                None => whole_files += 1,
                Some(FileErrorKind::Truncated { offset }) => assert!(offset < length as u64),
                other => panic!("{other:?} at {length}"),
            }
        }
        assert_eq!(most, 4);
        // A file is complete after its header, after the interface, and after each frame.
        assert_eq!(whole_files, if format == WriteFormat::PcapNg { 6 } else { 5 });
    }
}

#[test]
fn impossible_length_is_reported_with_its_position() {
    let (_, mut bytes) = written(WriteFormat::Pcap);
    bytes[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let (frames, error) = read_bytes(bytes);
    assert!(frames.is_empty());
    let error = error.unwrap();
    assert!(matches!(error.kind(), FileErrorKind::Malformed { offset: 24, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "cannot read all of memory: the record at byte 24 has an impossible length"
    );
}

proptest! {
    #[test]
    fn damaged_files_do_not_panic(
        pcapng: bool,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let format = if pcapng { WriteFormat::PcapNg } else { WriteFormat::Pcap };
        let (_, mut bytes) = written(format);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(file) = CaptureFile::from_reader(std::io::Cursor::new(bytes), "memory") {
            let _ = crate::support::read_all(file);
        }
    }

    #[test]
    fn arbitrary_blocks_do_not_panic(blocks in vec((0u32..8, vec(any::<u8>(), 0..40)), 0..10), big: bool) {
        let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut bytes = Vec::new();
        let mut block = |kind: u32, body: &[u8]| {
            let length = body.len().next_multiple_of(4) + 12;
            bytes.extend(word(kind));
            bytes.extend(word(length as u32));
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(word(length as u32));
        };
        let section = [&word(0x1a2b_3c4d)[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        block(0x0a0d_0d0a, &section);
        block(1, &[&[1, 0, 0, 0], &word(0)[..]].concat());
        for (kind, body) in &blocks {
            block(*kind, body);
        }
        let _ = read_bytes(bytes);
    }
}
