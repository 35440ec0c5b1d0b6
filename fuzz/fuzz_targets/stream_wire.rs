//! Any bytes as a datagram of a stream, as the body of each kind of datagram, and as a frame of a history server.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_stream_proto::history::{
    AnswerFrame, HistoryAnnouncement, HistoryRequest, Position, RecordReader, SnapshotParts,
};
use mcast_stream_proto::wire::{
    Announce, DatagramView, Heartbeat, MessageNumber, Messages, Nak, Ncf, Origin, Parity, Probe, Reset,
    Status, VisitedEngines,
};

fuzz_target!(|bytes: &[u8]| {
    read_body(bytes);
    // The magic number is given, so that the fuzzer spends its time on what follows.
    let datagram = [b"MC\x10", bytes].concat();
    let Ok(view) = DatagramView::parse(&datagram) else { return };
    assert_eq!(view.head.len() + view.body.len(), datagram.len());
    assert!(view.extensions.count() <= 55);
    if let Some(origin) = Origin::of(&view) {
        assert!(origin.engines.iter().count() <= VisitedEngines::MAX);
    }
    read_body(view.body);
});

fn read_body(body: &[u8]) {
    let _ = (
        Heartbeat::read(body),
        Status::read(body),
        Probe::read(body),
        Reset::read(body),
        Announce::read(body),
        HistoryAnnouncement::read(body),
        HistoryRequest::read(body),
    );
    read_frame(&[&[1], body].concat());
    read_frame(&[&[4], body].concat());
    read_frame(body);
    if let Ok((messages, count)) = Messages::read(body) {
        assert_eq!(messages.count(), count as usize);
    }
    if let Ok(nak) = Nak::read(body) {
        assert!(nak.missing.count() <= 140 * 17);
    }
    if let Ok(parity) = Parity::read(body) {
        assert!(parity.end() > parity.base && parity.symbol.len() < body.len());
    }
    if let Ok(mut confirmation) = Ncf::read(body) {
        assert!(confirmation.coming.all(|(_, count)| count > 0));
    }
}

fn read_frame(frame: &[u8]) {
    if let Ok(AnswerFrame::Snapshot { position, size, bytes }) = AnswerFrame::read(frame) {
        let mut parts = SnapshotParts::new(Position { number: MessageNumber(0), ..position }, 1 << 20);
        if parts.handle_part(position, size, bytes).is_ok()
            && let Ok((message, snapshot)) = parts.finish()
        {
            assert_eq!((message, &snapshot[..]), (position.number, bytes));
        }
    }
    let Ok(mut reader) = RecordReader::new(frame) else { return };
    let (mut count, mut last) = (0, None);
    while let Ok(Some(record)) = reader.next(frame) {
        assert!(last.is_none_or(|last| last == record.first));
        (count, last) = (count + 1, Some(record.end()));
    }
    assert!(count <= frame.len());
}
