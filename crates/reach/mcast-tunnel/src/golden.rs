//! The examples of `docs/tunnel.md`, byte by byte. They never change within a version of the protocol.

use std::collections::BTreeSet;

use bytes::Bytes;
use mcast_group::SourceFilter;

use crate::control::Message;
use crate::frame::{Frame, RecordPiece, RepairMark};
use crate::record::{RelayPath, TunnelDatagram, TunnelWant};

const SPECIFICATION: &str = include_str!("../../../../docs/tunnel.md");

/// Returns the bytes of an example, which has a row in a table.
fn example(name: &str) -> Vec<u8> {
    let row = SPECIFICATION.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
    let digits: String = row.split('`').nth(1).unwrap().split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

const RELAY: u64 = 0x0102_0304_0506_0708;

#[test]
fn messages_of_control_have_the_bytes_of_the_specification() {
    let source = BTreeSet::from([[10, 0, 0, 1].into()]);
    let want =
        TunnelWant { destination: ([239, 1, 2, 3], 5_000).into(), sources: SourceFilter::Include(source) };
    let messages = [
        ("hello", Message::Hello { relay: RELAY, name: "paris".into() }),
        ("welcome", Message::Welcome { relay: RELAY }),
        ("wants", Message::Wants(vec![want])),
    ];
    for (name, message) in messages {
        assert_eq!(message.emit(), example(name), "{name}");
    }
}

#[test]
fn frames_have_the_bytes_of_the_specification() {
    let datagram = TunnelDatagram {
        trail: RelayPath::new(RELAY, 9, &[RELAY]).unwrap(),
        path: 3,
        to_path: None,
        hop_limit: 4,
        source: ([10, 0, 0, 1], 40_000).into(),
        destination: ([239, 1, 2, 3], 5_000).into(),
        payload: Bytes::from_static(b"on"),
    };
    let mut record = Vec::new();
    datagram.write_head(0, &mut record);
    record.extend(&datagram.payload);
    assert_eq!(record, example("record"));
    let mark = RepairMark { sequence: 5, bound_ms: 500 };
    let piece = |bytes| RecordPiece { record: 7, index: 0, count: 2, bytes };
    let frames = [
        ("piece", Frame::Piece(None, piece(b"ab"))),
        ("repairable piece", Frame::Piece(Some(mark), piece(b"ab"))),
        ("NAK", Frame::Nak(vec![(5, 1), (9, 3)])),
        ("tail", Frame::Tail(mark)),
        ("part", Frame::Part(piece(b"ab"))),
    ];
    for (name, frame) in frames {
        let bytes = example(name);
        assert_eq!(frame.emit(), bytes, "{name}");
        assert_eq!(Frame::read(&bytes), Some(frame), "{name}");
    }
}
