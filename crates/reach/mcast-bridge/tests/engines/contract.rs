//! The same for each engine.

use mcast_bridge::{LastRecord, PendingGap, Response, StoredKind, UnixMillis, stored_kind};
use mcast_stream::wire::MessageNumber;

use super::*;

/// Defines these tests for each engine.
macro_rules! contract {
    ($($test:ident)*) => {
        mod kafka {
            $(#[test] fn $test() { super::test(super::$test::<crate::kafka::Kafka>); })*
        }
        mod valkey {
            $(#[test] fn $test() { super::test(super::$test::<crate::redis::Valkey>); })*
        }
        mod redis {
            $(#[test] fn $test() { super::test(super::$test::<crate::redis::Redis>); })*
        }
        mod redis_by_tls {
            $(#[test] fn $test() { super::test(super::$test::<crate::tls::SafeRedis>); })*
        }
        mod nats_by_tls {
            $(#[test] fn $test() { super::test(super::$test::<crate::tls::SafeNats>); })*
        }
        mod nats {
            $(#[test] fn $test() { super::test(super::$test::<crate::nats::Nats>); })*
        }
        mod nats_with_copies {
            /// One cluster for all; the last one ends it.
            #[test]
            fn all() {
                crate::nats_copies::with_cluster(|| {
                    crate::nats_copies::own_tests();
                    $(
                        eprintln!("{}", stringify!($test));
                        super::test(super::$test::<crate::nats_copies::ThreeCopies>);
                    )*
                });
            }
        }
        mod rabbitmq {
            /// One server for all, because it takes long to start.
            #[test]
            fn all() {
                crate::rabbitmq::with_node(|| {
                    crate::rabbitmq::own_tests();
                    $(
                        eprintln!("{}", stringify!($test));
                        super::test(super::$test::<crate::rabbitmq::Rabbitmq>);
                    )*
                });
            }
        }
    };
}

/// Runs a test with an engine, if it is installed.
fn test<T: Engine>(test: fn(T)) {
    if let Some(engine) = T::start() {
        test(engine);
    }
}

contract! {
    a_batch_is_appended_only_behind_the_expected_record
    a_batch_that_was_appended_in_part_is_continued
    two_batches_under_way_are_executed_in_order
    a_batch_behind_a_refused_one_is_refused
    records_are_read_back_as_they_were_appended
    datagrams_of_plain_groups_are_read_back_with_their_arrival
    many_records_are_read_in_parts
    large_records_are_read_a_few_at_a_time
    a_source_finds_its_place_in_a_stream_that_was_stored_again
    where_messages_came_from_is_read_back
    another_stream_there_is_an_error_of_a_source
    bridges_see_what_the_others_wait_for
    a_deleted_stream_is_noticed
    what_is_too_large_is_refused_alone
    removed_records_are_not_appended_again
    what_no_bridge_wrote_is_an_error_that_does_not_pass
    a_server_that_is_gone_is_an_error_that_passes
}

fn a_batch_is_appended_only_behind_the_expected_record<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    assert_eq!(call(&mut *sink, &presence(1, None)), Response::LastRecord { tail: None, others: Vec::new() });
    assert_eq!(append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]), Response::Appended);
    let known = tail(position(1, 1), false);
    assert_eq!(
        call(&mut *sink, &presence(1, None)),
        Response::LastRecord { tail: known, others: Vec::new() }
    );
    for expected in [None, Some(position(1, 0)), Some(position(2, 0))] {
        let records = vec![message(3, 0, b"x"), message(3, 1, b"y"), message(3, 2, b"z")];
        assert_eq!(append(&mut *sink, expected, records), Response::Refused { tail: known });
    }
    assert_eq!(append(&mut *sink, Some(position(1, 1)), vec![message(1, 2, b"c")]), Response::Appended);
    assert_eq!(engine.length(), 3);
}

fn a_batch_that_was_appended_in_part_is_continued<T: Engine>(engine: T) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    let all: Vec<_> = (0..9).map(|number| message(1, number, b"x")).collect();
    call(&mut *one, &presence(1, None));
    assert_eq!(append(&mut *one, None, all[..4].to_vec()), Response::Appended);
    // As by another bridge with the same messages in other batches.
    let refused = match append(&mut *other, Some(position(1, 1)), all[2..6].to_vec()) {
        Response::Appended => None,
        Response::Refused { tail } => tail,
        response => panic!("{response:?}"),
    };
    let stored = refused.map_or(6, |tail| tail.position.number.0 + 1) as usize;
    let before = Some(all[stored - 1].position);
    assert_eq!(append(&mut *other, before, all[stored..].to_vec()), Response::Appended);
    assert_eq!(engine.source().read(position(1, 0), 100).unwrap(), all);
}

fn two_batches_under_way_are_executed_in_order<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    sink.send(&batch(None, vec![message(1, 0, b"x")])).unwrap();
    sink.send(&batch(Some(position(1, 0)), vec![message(1, 1, b"x")])).unwrap();
    assert_eq!((sink.receive().unwrap(), sink.receive().unwrap()), (Response::Appended, Response::Appended));
    sink.send(&batch(Some(position(1, 1)), vec![message(1, 2, b"x")])).unwrap();
    sink.send(&presence(1, None)).unwrap();
    assert_eq!(sink.receive().unwrap(), Response::Appended);
    let last = Response::LastRecord { tail: tail(position(1, 2), false), others: Vec::new() };
    assert_eq!(sink.receive().unwrap(), last);
}

fn a_batch_behind_a_refused_one_is_refused<T: Engine>(engine: T) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    append(&mut *one, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]);
    // The other bridge knows only the first record, and has a gap behind it.
    let gap = Content::Gap { first: MessageNumber(1), cause: GapCause::JoinedLate };
    let gap = StreamRecord { content: gap, ..message(1, 5, b"") };
    other.send(&batch(Some(position(1, 0)), vec![gap])).unwrap();
    other.send(&batch(Some(position(1, 5)), vec![message(1, 6, b"x"), message(1, 7, b"x")])).unwrap();
    let refused = Response::Refused { tail: tail(position(1, 1), false) };
    assert_eq!((other.receive().unwrap(), other.receive().unwrap()), (refused.clone(), refused));
    assert_eq!(engine.length(), 2);
}

fn records_are_read_back_as_they_were_appended<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    let all = records();
    assert_eq!(append(&mut *sink, None, all.clone()), Response::Appended);
    let mut source = engine.source();
    assert_eq!(source.last().unwrap().as_ref(), all.last());
    assert_eq!(source.read(position(0, 0), 100).unwrap(), all);
    assert_eq!(source.read(position(1, 5), 1).unwrap(), all[2..3], "the gap that contains it");
    assert_eq!(source.read(position(3, 0), 1).unwrap(), []);
    for (time, index) in [(0, 0), (1_001, 1), (1_011, 2), (1_091, 3), (1_101, 4)] {
        assert_eq!(source.find_time(UnixMillis(time)).unwrap().as_ref(), Some(&all[index]), "{time}");
    }
    assert_eq!(source.find_time(UnixMillis(2_011)).unwrap(), None);
    let response = call(&mut *sink, &presence(1, None));
    assert_eq!(response, Response::LastRecord { tail: tail(position(2, 1), true), others: Vec::new() });
}

fn datagrams_of_plain_groups_are_read_back_with_their_arrival<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    assert_eq!(stored_kind(&mut *engine.source()).unwrap(), None);
    let gap = Content::Gap { first: MessageNumber(0), cause: GapCause::ReceiveBufferFull };
    let all = vec![
        StreamRecord { content: gap, ..message(1, 3, b"") },
        datagram(1, 4, true),
        datagram(1, 5, false),
    ];
    assert_eq!(append(&mut *sink, None, all[..1].to_vec()), Response::Appended);
    assert_eq!(stored_kind(&mut *engine.source()).unwrap(), None);
    assert_eq!(append(&mut *sink, Some(position(1, 3)), all[1..].to_vec()), Response::Appended);
    assert_eq!(engine.source().read(position(0, 0), 9).unwrap(), all);
    assert_eq!(stored_kind(&mut *engine.source()).unwrap(), Some(StoredKind::Datagrams));
    let response = call(&mut *sink, &presence(1, None));
    assert_eq!(response, Response::LastRecord { tail: tail(position(1, 5), false), others: Vec::new() });
    engine.delete_stream();
    append(&mut *engine.sink(), None, vec![message(1, 0, b"x")]);
    assert_eq!(stored_kind(&mut *engine.source()).unwrap(), Some(StoredKind::Stream));
}

fn many_records_are_read_in_parts<T: Engine>(engine: T) {
    let mut source = engine.source();
    assert_eq!((source.last().unwrap(), source.read(position(0, 0), 9).unwrap()), (None, Vec::new()));
    let all: Vec<_> = (0..2_500).map(|number| message(1, number, &[b'x'; 100])).collect();
    let mut sink = engine.sink();
    let mut expected = None;
    for part in all.chunks(1_000) {
        assert_eq!(append(&mut *sink, expected, part.to_vec()), Response::Appended);
        expected = part.last().map(|record| record.position);
    }
    let mut read: Vec<StreamRecord> = Vec::new();
    loop {
        let part = source.read(position(1, read.len() as u64), 700).unwrap();
        if part.is_empty() {
            break;
        }
        read.extend(part);
    }
    assert!(read == all, "{} records of {}", read.len(), all.len());
    append(&mut *sink, expected, vec![message(1, 2_500, b"later")]);
    assert_eq!(source.read(position(1, 2_500), 700).unwrap(), [message(1, 2_500, b"later")]);
}

fn large_records_are_read_a_few_at_a_time<T: Engine>(engine: T) {
    let all: Vec<_> = (0..12).map(|number| message(1, number, &vec![b'x'; 500_000])).collect();
    let mut sink = engine.sink();
    let mut expected = None;
    for part in all.chunks(2) {
        assert_eq!(append(&mut *sink, expected, part.to_vec()), Response::Appended);
        expected = part.last().map(|record| record.position);
    }
    let (mut source, mut read) = (engine.source(), Vec::new());
    while read.len() < all.len() {
        let part = source.read(position(1, read.len() as u64), 4_096).unwrap();
        assert!((1..=4).contains(&part.len()), "{} records of 500,000 bytes", part.len());
        read.extend(part);
    }
    assert!(read == all);
}

fn a_source_finds_its_place_in_a_stream_that_was_stored_again<T: Engine>(engine: T) {
    let all: Vec<_> = (0..20).map(|number| message(1, number, b"x")).collect();
    let (mut sink, mut source) = (engine.sink(), engine.source());
    assert_eq!(append(&mut *sink, None, all[..10].to_vec()), Response::Appended);
    assert_eq!(source.read(position(1, 0), 100).unwrap(), all[..10]);
    engine.delete_stream();
    // What is no longer buffered is one record.
    let gap = Content::Gap { first: MessageNumber(0), cause: GapCause::EngineLost };
    let gap = StreamRecord { content: gap, ..message(1, 4, b"") };
    call(&mut *sink, &presence(1, None));
    let again = [&[gap], &all[5..]].concat();
    assert_eq!(append(&mut *sink, None, again), Response::Appended);
    let read = match source.read(position(1, 10), 100) {
        // A bridge connects again after such an error.
        Err(error) if error.is_transient() => engine.source().read(position(1, 10), 100),
        read => read,
    };
    assert_eq!(read.unwrap(), all[10..]);
}

fn where_messages_came_from_is_read_back<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    let engines = VisitedEngines::of([EngineKey(1), EngineKey(u64::MAX)]).unwrap();
    assert_eq!(engine.source().stored().unwrap(), None);
    let records = vec![message(1, 0, b"x")];
    let batch = RecordBatch { stream: STREAM, expected: None, engines, records };
    assert_eq!(call(&mut *sink, &Request::Append(batch)), Response::Appended);
    let stored = engine.source().stored().unwrap().unwrap();
    assert_eq!((stored.stream, stored.earlier), (STREAM, engines));
    assert_eq!(engine.sink().engine_key(), Some(stored.key), "another connection sees the same key");
}

fn another_stream_there_is_an_error_of_a_source<T: Engine>(engine: T) {
    let (mut sink, mut source) = (engine.sink(), engine.source());
    append(&mut *sink, None, vec![message(1, 0, b"x")]);
    assert!(source.stored().unwrap().is_some());
    let (expected, engines) = (Some(position(1, 0)), VisitedEngines::default());
    let batch = RecordBatch { stream: StreamId(1), expected, engines, records: vec![message(2, 0, b"y")] };
    assert_eq!(call(&mut *sink, &Request::Append(batch)), Response::Appended);
    let errors = [source.last().unwrap_err(), source.read(position(1, 0), 9).unwrap_err()];
    assert!(
        errors.iter().all(|error| !error.is_transient() && error.what.contains("belongs to stream")),
        "{errors:?}"
    );
}

fn bridges_see_what_the_others_wait_for<T: Engine>(engine: T) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    let hole = PendingGap { start: position(1, 7), end: MessageNumber::MAX };
    call(&mut *one, &presence(1, Some(hole)));
    let response = call(&mut *other, &presence(2, None));
    assert_eq!(response, Response::LastRecord { tail: None, others: vec![Some(hole)] });
    let response = call(&mut *one, &presence(1, None));
    assert_eq!(response, Response::LastRecord { tail: None, others: vec![None] });
    engine.age_notes();
    assert_eq!(call(&mut *one, &presence(1, None)), Response::LastRecord { tail: None, others: Vec::new() });
}

fn a_deleted_stream_is_noticed<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]);
    engine.delete_stream();
    let refused = append(&mut *sink, Some(position(1, 1)), vec![message(1, 2, b"c")]);
    assert_eq!(refused, Response::Refused { tail: None });
    assert_eq!(append(&mut *sink, None, vec![message(1, 0, b"a")]), Response::Appended);
    engine.delete_stream();
    assert_eq!(call(&mut *sink, &presence(1, None)), Response::LastRecord { tail: None, others: Vec::new() });
    assert_eq!(append(&mut *sink, None, vec![message(1, 0, b"a")]), Response::Appended);
}

fn what_is_too_large_is_refused_alone<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    call(&mut *sink, &presence(1, None));
    // It cannot be compressed.
    let mut state = 1_u64;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1_500_000)
    .collect();
    let all = [message(1, 0, b"a"), message(1, 1, b"b"), message(1, 2, &large), message(1, 3, b"d")];
    // The engine may store what is before it first.
    let mut stored = 0;
    let until = Instant::now() + Duration::from_secs(30);
    let refused = loop {
        assert!(Instant::now() < until, "neither stored nor refused");
        let expected = all[..stored].last().map(|record| record.position);
        match call(&mut *sink, &batch(expected, all[stored..].to_vec())) {
            Response::Unstorable(refused) => break refused,
            Response::Refused { tail } => stored = tail.map_or(0, |tail| tail.position.number.0 as usize + 1),
            response => panic!("{response:?}"),
        }
    };
    assert_eq!((refused.position, refused.why), (position(1, 2), RecordRefusal::TooLarge));
    assert!(refused.size >= Some(large.len()) && !refused.remedy.is_empty(), "{refused:?}");
    // As a bridge continues.
    let gap = Content::Gap { first: MessageNumber(2), cause: refused.why.cause() };
    let all =
        [all[0].clone(), all[1].clone(), StreamRecord { content: gap, ..message(1, 2, b"") }, all[3].clone()];
    let expected = all[..stored].last().map(|record| record.position);
    assert_eq!(append(&mut *sink, expected, all[stored..].to_vec()), Response::Appended);
    assert_eq!(engine.source().read(position(1, 0), 9).unwrap(), all);
}

fn removed_records_are_not_appended_again<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]);
    let tail = engine.delete_records(&mut sink);
    let refused = append(&mut *sink, Some(position(1, 0)), vec![message(1, 1, b"b")]);
    assert_eq!(refused, Response::Refused { tail });
    let last = tail.unwrap().position;
    let next = message(1, last.number.0 + 1, b"c");
    assert_eq!(append(&mut *sink, Some(last), vec![next.clone()]), Response::Appended);
    let left = engine.source().read(position(0, 0), 1_000).unwrap();
    assert!(left[0].position > position(1, 1) && left.last() == Some(&next), "{left:?}");
    assert_eq!(engine.length(), left.len() as u64);
    // As a bridge that has just started sees it.
    let last = Some(LastRecord { position: next.position, stream: Some(STREAM), closes: false });
    let seen = call(&mut *engine.sink(), &presence(1, None));
    assert!(matches!(&seen, Response::LastRecord { tail, .. } if *tail == last), "{seen:?}");
}

fn what_no_bridge_wrote_is_an_error_that_does_not_pass<T: Engine>(engine: T) {
    let mut sink = engine.sink();
    engine.add_foreign();
    let error = sink.send(&presence(1, None)).and_then(|()| sink.receive()).unwrap_err();
    assert!(!error.is_transient() && error.what.contains("no bridge wrote"), "{error:?}");
}

fn a_server_that_is_gone_is_an_error_that_passes<T: Engine>(mut engine: T) {
    let mut sink = engine.sink();
    engine.kill();
    let lost = sink.send(&presence(1, None)).and_then(|()| sink.receive().map(|_| ()));
    assert!(lost.unwrap_err().is_transient());
    let error = engine.connect().err().unwrap();
    assert!(error.is_transient() && error.what.contains("cannot be reached"), "{error:?}");
}
