//! Datagrams that are read to be sent again.

use std::path::Path;

use mcast_capture::{CaptureFile, CaptureWriter, Replay, ReplayEvent, ReplayRound, WriteFormat};
use tempfile::tempdir;

use crate::support::{OwnedFrame, datagram, datagram_to};

fn write(path: &Path, frames: &[Vec<u8>]) {
    let mut writer = CaptureWriter::create(path, WriteFormat::PcapNg).unwrap();
    for (number, bytes) in (0..).zip(frames) {
        writer.write(&OwnedFrame::new(bytes.clone(), number).frame()).unwrap();
    }
    writer.flush().unwrap();
}

/// Reads all rounds; returns the destination and the payload of each datagram, and the rounds.
fn read(replay: Replay) -> (Vec<(String, Vec<u8>)>, Vec<ReplayRound>) {
    let (mut destinations, mut datagrams, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    for event in replay.start().unwrap() {
        match event {
            ReplayEvent::Batch(batch) => {
                destinations.extend_from_slice(batch.new_destinations());
                let read = batch.datagrams().iter();
                datagrams.extend(
                    read.map(|each| (destinations[each.to].to_string(), batch.payload(each).to_vec())),
                );
            }
            ReplayEvent::RoundEnded(round) => rounds.push(round),
            ReplayEvent::Failed(error) => panic!("{error}"),
        }
    }
    (datagrams, rounds)
}

#[test]
fn datagrams_are_selected_and_mapped_in_each_round() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    write(&path, &[datagram(b"one"), datagram_to([239, 1, 2, 4], 5001, b"two"), datagram(b"three")]);
    let replay = Replay::of(CaptureFile::open(&path).unwrap())
        .only(vec!["239.1.2.3:5000".parse().unwrap()])
        .map(vec!["239.1.2.3=239.9.9.9".parse().unwrap()])
        .rounds(2);
    let (datagrams, rounds) = read(replay);
    let to = |payload: &[u8]| ("239.9.9.9:5000".to_owned(), payload.to_vec());
    assert_eq!(datagrams, [to(b"one"), to(b"three"), to(b"one"), to(b"three")]);
    assert_eq!(rounds.iter().map(|round| round.skipped.not_selected).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn frames_that_cannot_be_sent_are_counted() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("others.pcapng");
    let mut wrong_checksum = datagram(b"sent with a correct checksum");
    *wrong_checksum.last_mut().unwrap() ^= 1;
    let cut_off = datagram(b"cut off")[..30].to_vec();
    write(&path, &[wrong_checksum, vec![0; 60], cut_off]);
    let (datagrams, rounds) = read(Replay::of(CaptureFile::open(&path).unwrap()));
    assert_eq!((datagrams.len(), rounds[0].bad_checksums), (1, 1));
    assert_eq!((rounds[0].skipped.not_udp, rounds[0].skipped.malformed), (1, 1), "{rounds:?}");
    assert!(!rounds[0].is_damaged());
}

#[test]
fn a_file_with_nothing_to_send_is_read_once() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("nothing.pcapng");
    write(&path, &[vec![0; 60]]);
    let (datagrams, rounds) = read(Replay::of(CaptureFile::open(&path).unwrap()).rounds(u64::MAX));
    assert_eq!((datagrams.len(), rounds.len()), (0, 1));
}
