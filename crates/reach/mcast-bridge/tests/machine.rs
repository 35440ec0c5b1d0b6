//! Whatever a subscriber delivers and an engine responds, a bridge does not panic, its requests are bounded, and each
//! batch continues the record that it expects.

use std::time::Duration;

use mcast_bridge::{
    BridgeConfig, BridgeEvent, BridgeMachine, BridgeRefusal, Content, DatagramMetadata, EngineRetention,
    GapCause, LastRecord, PendingGap, Position, RecordRefusal, RefusedTail, Request, Response, StreamRecord,
    UnixMillis, UnstorableRecord,
};
use mcast_stream::ClockTime;
use mcast_stream::subscriber::{Cause, Message, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use proptest::prelude::*;

const STREAM: StreamId = StreamId(7);

#[derive(Clone, Debug)]
enum Operation {
    Message(u64),
    Event(SubscriberEvent),
    Respond(Response),
    Connect,
    Disconnect,
    Wait(u64),
}

fn numbers() -> impl Strategy<Value = MessageNumber> {
    prop_oneof![8 => 0_u64..12, 1 => u64::MAX - 2..=u64::MAX].prop_map(MessageNumber)
}

fn positions() -> impl Strategy<Value = Position> {
    (0_u32..3, numbers())
        .prop_map(|(incarnation, number)| Position { incarnation: Incarnation(incarnation), number })
}

fn tails() -> impl Strategy<Value = Option<LastRecord>> {
    let tail = (positions(), any::<bool>());
    prop::option::of(tail.prop_map(|(position, closes)| LastRecord {
        position,
        stream: Some(STREAM),
        closes,
    }))
}

fn responses() -> impl Strategy<Value = Response> {
    let hole = (positions(), numbers()).prop_map(|(start, end)| PendingGap { start, end });
    let others = prop::collection::vec(prop::option::of(hole), 0..3);
    prop_oneof![
        4 => Just(Response::Appended),
        1 => tails().prop_map(|tail| Response::Refused { tail }),
        2 => (tails(), others).prop_map(|(tail, others)| Response::LastRecord { tail, others }),
        1 => positions().prop_map(|position| Response::Unstorable(unstorable(position))),
        2 => prop::option::of(0_u64..3).prop_map(|evictions| {
            Response::Retention(EngineRetention { evictions, ..EngineRetention::default() })
        }),
    ]
}

fn unstorable(position: Position) -> UnstorableRecord {
    let why = RecordRefusal::TooLarge;
    UnstorableRecord { position, why, size: Some(9), most: Some(8), remedy: "raise it" }
}

fn events() -> impl Strategy<Value = SubscriberEvent> {
    let incarnations = (0_u32..3).prop_map(Incarnation);
    prop_oneof![
        incarnations.prop_map(|to| SubscriberEvent::Restarted { from: Incarnation(0), to }),
        (numbers(), numbers()).prop_map(|(first, end)| SubscriberEvent::Lost {
            first,
            end,
            cause: Cause::Deadline
        }),
        numbers().prop_map(|first| SubscriberEvent::LostUnknown { first }),
        numbers().prop_map(|messages| SubscriberEvent::Ended { messages: messages.0 }),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        6 => (0_u64..12).prop_map(Operation::Message),
        3 => events().prop_map(Operation::Event),
        6 => responses().prop_map(Operation::Respond),
        1 => Just(Operation::Connect),
        1 => Just(Operation::Disconnect),
        3 => (0_u64..3_000).prop_map(Operation::Wait),
    ];
    prop::collection::vec(operation, 0..80)
}

/// Checks that the records of a batch continue each other.
fn check(request: &Request) {
    let Request::Append(batch) = request else { return };
    let mut before = batch.expected;
    assert!(!batch.records.is_empty());
    for record in &batch.records {
        let Position { incarnation, number } = record.position;
        let expected = match before {
            Some(before) if before.incarnation == incarnation => before.number + 1,
            _ => MessageNumber(0),
        };
        assert!(before < Some(record.position), "{batch:?}");
        assert_eq!(record.first(), expected, "{batch:?}");
        if let Content::Gap { first, .. } = record.content {
            assert!(first <= number);
        }
        before = Some(record.position);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn each_batch_continues_the_record_that_it_expects(operations in operations()) {
        let mut bridge = BridgeMachine::new(BridgeConfig { buffer: 2_000, ..BridgeConfig::new(STREAM, 1) });
        bridge.handle_event(ClockTime(0), UnixMillis(0), &SubscriberEvent::Joined {
            incarnation: Incarnation(1),
            publisher: ([10, 0, 0, 1], 7).into(),
            message: MessageNumber(0),
        });
        let mut now = ClockTime(0);
        for operation in operations {
            match operation {
                Operation::Message(number) => {
                    let message = Message { incarnation: Incarnation(1), number: MessageNumber(number), key: None, bytes: &[1, 2, 3] };
                    bridge.handle_message(now, UnixMillis(0), &message);
                }
                Operation::Event(event) => bridge.handle_event(now, UnixMillis(0), &event),
                Operation::Respond(response) => match bridge.handle_response(now, response) {
                    // Neither a gap nor an end can be replaced by a gap.
                    Ok(()) | Err(BridgeRefusal::Unstorable(_)) => {}
                    Err(refusal) => panic!("{refusal}"),
                },
                Operation::Connect => bridge.handle_connected(),
                Operation::Disconnect => bridge.handle_disconnected(),
                Operation::Wait(milliseconds) => now = now + Duration::from_millis(milliseconds),
            }
            let mut polls = 0;
            while let Some(request) = bridge.poll_request(now) {
                check(&request);
                polls += 1;
                prop_assert!(polls <= 2, "without a response");
            }
            prop_assert!(bridge.poll_timeout().unwrap_or(ClockTime::NEVER) > now);
            prop_assert!(bridge.statistics().in_flight <= 2);
            while bridge.poll_event().is_some() {}
        }
    }
}

#[test]
fn a_tail_of_another_stream_is_refused() {
    let mut bridge = BridgeMachine::new(BridgeConfig::new(STREAM, 1));
    bridge.handle_connected();
    bridge.poll_request(ClockTime(0)).unwrap();
    let position = Position { incarnation: Incarnation(1), number: MessageNumber(1) };
    let tail = Some(LastRecord { position, stream: Some(StreamId(8)), closes: false });
    let refused =
        bridge.handle_response(ClockTime(0), Response::LastRecord { tail, others: Vec::new() }).unwrap_err();
    assert_eq!(refused, BridgeRefusal::OtherStream(RefusedTail { expected: STREAM, found: StreamId(8) }));
}

#[test]
fn an_incarnation_that_is_older_than_what_is_stored_is_reported_once() {
    let mut bridge = BridgeMachine::new(BridgeConfig::new(STREAM, 1));
    bridge.handle_connected();
    bridge.poll_request(ClockTime(0)).unwrap();
    let position = Position { incarnation: Incarnation(7), number: MessageNumber(0) };
    let tail = Some(LastRecord { position, stream: Some(STREAM), closes: false });
    bridge.handle_response(ClockTime(0), Response::LastRecord { tail, others: Vec::new() }).unwrap();
    let (to, from) = (Incarnation(3), Incarnation(2));
    bridge.handle_event(ClockTime(0), UnixMillis(0), &SubscriberEvent::Restarted { from, to });
    for number in [0, 1] {
        bridge.handle_message(
            ClockTime(0),
            UnixMillis(0),
            &Message { incarnation: Incarnation(3), number: MessageNumber(number), key: None, bytes: &[] },
        );
    }
    let stored = Incarnation(7);
    assert_eq!(bridge.poll_event(), Some(BridgeEvent::Superseded { incarnation: to, stored }));
    assert_eq!((bridge.poll_event(), bridge.statistics().superseded), (None, 2));
}

fn message(bridge: &mut BridgeMachine, incarnation: Incarnation, number: u64) {
    let number = MessageNumber(number);
    bridge.handle_message(
        ClockTime(0),
        UnixMillis(0),
        &Message { incarnation, number, key: None, bytes: &[] },
    );
}

fn joined(bridge: &mut BridgeMachine, time: u64, incarnation: Incarnation) {
    let event = SubscriberEvent::Joined {
        incarnation,
        publisher: ([10, 0, 0, 1], 7).into(),
        message: MessageNumber(0),
    };
    bridge.handle_event(ClockTime(0), UnixMillis(time), &event);
}

#[test]
fn messages_that_came_before_the_tail_was_known_are_not_counted_as_stored_by_others() {
    let mut bridge = BridgeMachine::new(BridgeConfig::new(STREAM, 1));
    joined(&mut bridge, 0, Incarnation(3));
    (0..5).for_each(|number| message(&mut bridge, Incarnation(3), number));
    bridge.handle_connected();
    bridge.poll_request(ClockTime(0)).unwrap();
    bridge
        .handle_response(ClockTime(0), Response::LastRecord { tail: stored(7, 0), others: Vec::new() })
        .unwrap();
    let statistics = bridge.statistics();
    assert_eq!((statistics.already_stored, statistics.not_stored), (0, 5));
    assert!(matches!(bridge.poll_event(), Some(BridgeEvent::Superseded { .. })));
    // Another bridge was faster: this one follows.
    let (from, to) = (Incarnation(3), Incarnation(7));
    bridge.handle_event(ClockTime(0), UnixMillis(0), &SubscriberEvent::Restarted { from, to });
    assert_eq!(bridge.statistics().not_stored, 0);
}

/// A clock that is ahead once, or a forged heartbeat, must not keep out everything that follows.
#[test]
fn an_incarnation_far_ahead_of_the_clock_is_not_stored() {
    let (present, ahead) = (Incarnation(100_000), Incarnation(100_000 + 5 * 3_600));
    let time = 1_704_067_200_000 + 250 * 100_000;
    let mut bridge = BridgeMachine::new(BridgeConfig::new(STREAM, 1));
    bridge.handle_connected();
    bridge.poll_request(ClockTime(0)).unwrap();
    bridge.handle_response(ClockTime(0), Response::LastRecord { tail: None, others: Vec::new() }).unwrap();
    joined(&mut bridge, time, ahead);
    message(&mut bridge, ahead, 0);
    assert_eq!(bridge.poll_event(), Some(BridgeEvent::Ahead { incarnation: ahead, present }));
    assert!(bridge.is_refusing() && bridge.is_idle(), "it is neither stored nor waits to be");
    joined(&mut bridge, time, present);
    message(&mut bridge, present, 0);
    assert!(!bridge.is_refusing() && !bridge.is_idle());
}

#[test]
fn an_incarnation_far_ahead_of_the_clock_is_stored_on_request() {
    let mut bridge = BridgeMachine::new(BridgeConfig { accepts_ahead: true, ..BridgeConfig::new(STREAM, 1) });
    joined(&mut bridge, 0, Incarnation(1_000_000));
    message(&mut bridge, Incarnation(1_000_000), 0);
    assert!(!bridge.is_refusing() && !bridge.is_idle());
}

/// A bridge of plain groups which starts at incarnation 7 and is connected.
fn group_bridge() -> BridgeMachine {
    let group = Some(Incarnation(7));
    let mut bridge =
        BridgeMachine::new(BridgeConfig { group, hole_wait: Duration::ZERO, ..BridgeConfig::new(STREAM, 1) });
    bridge.handle_connected();
    assert!(matches!(bridge.poll_request(ClockTime(0)), Some(Request::LastRecord(_))));
    bridge
}

fn stored(incarnation: u32, number: u64) -> Option<LastRecord> {
    let position = Position { incarnation: Incarnation(incarnation), number: MessageNumber(number) };
    Some(LastRecord { position, stream: Some(STREAM), closes: false })
}

fn datagram(bridge: &mut BridgeMachine, now: ClockTime) {
    let address = ([239, 1, 2, 3], 5000).into();
    let metadata = DatagramMetadata {
        source: ([10, 0, 0, 1], 7).into(),
        group: address,
        interface: "eth0".into(),
        kernel_time: None,
        hop_limit: Some(1),
        dscp: None,
    };
    bridge.handle_datagram(now, UnixMillis(0), metadata, b"x");
}

/// Returns the records of the next batch.
fn batch(bridge: &mut BridgeMachine, now: ClockTime) -> Vec<StreamRecord> {
    loop {
        match bridge.poll_request(now) {
            Some(Request::Append(batch)) => return batch.records,
            Some(Request::LastRecord(_) | Request::Retention) => {}
            None => return Vec::new(),
        }
    }
}

fn positions_of(records: &[StreamRecord]) -> Vec<(u32, u64, u64)> {
    let position =
        |record: &StreamRecord| (record.position.incarnation.0, record.first().0, record.position.number.0);
    records.iter().map(position).collect()
}

const LATER: ClockTime = ClockTime(100_000_000);

#[test]
fn datagrams_are_numbered_and_dropped_ones_are_gaps() {
    let mut bridge = group_bridge();
    assert!(!bridge.has_begun());
    bridge.handle_response(ClockTime(0), Response::LastRecord { tail: None, others: Vec::new() }).unwrap();
    assert!(bridge.has_begun());
    datagram(&mut bridge, ClockTime(0));
    bridge.handle_drops(ClockTime(0), UnixMillis(0), 0);
    bridge.handle_drops(ClockTime(0), UnixMillis(0), 3);
    datagram(&mut bridge, ClockTime(0));
    let records = batch(&mut bridge, LATER);
    assert_eq!(positions_of(&records), [(7, 0, 0), (7, 1, 3), (7, 4, 4)]);
    let gap = Content::Gap { first: MessageNumber(1), cause: GapCause::ReceiveBufferFull };
    assert_eq!(records[1].content, gap);
    bridge.handle_response(LATER, Response::Appended).unwrap();
    assert_eq!((bridge.statistics().gaps, bridge.statistics().missing), (1, 3));
    let events: Vec<_> = std::iter::from_fn(|| bridge.poll_event()).collect();
    assert!(matches!(events[..], [BridgeEvent::Gap { .. }]), "no other bridge is waited for: {events:?}");
}

#[test]
fn a_bridge_of_groups_begins_behind_what_is_stored_and_records_that_something_may_be_missing() {
    for (last, expected) in [(5, 7), (7, 8), (9, 10)] {
        let mut bridge = group_bridge();
        bridge
            .handle_response(
                ClockTime(0),
                Response::LastRecord { tail: stored(last, 41), others: Vec::new() },
            )
            .unwrap();
        datagram(&mut bridge, ClockTime(0));
        let records = batch(&mut bridge, LATER);
        assert_eq!(positions_of(&records), [(last, 42, 42), (expected, 0, 0)]);
        assert_eq!(records[0].content, Content::OpenGap { cause: GapCause::JoinedLate });
    }
}

#[test]
fn a_bridge_of_groups_waits_until_another_one_is_gone() {
    let mut bridge = group_bridge();
    let tail = stored(5, 41);
    bridge.handle_response(ClockTime(0), Response::LastRecord { tail, others: vec![None] }).unwrap();
    datagram(&mut bridge, ClockTime(0));
    assert_eq!(batch(&mut bridge, LATER), []);
    assert_eq!(bridge.poll_event(), Some(BridgeEvent::OtherBridge));
    let second = ClockTime(1_000_000_000);
    assert_eq!(bridge.poll_timeout().unwrap_or(ClockTime::NEVER), second);
    assert!(matches!(bridge.poll_request(second), Some(Request::LastRecord(_))));
    bridge.handle_response(second, Response::LastRecord { tail, others: Vec::new() }).unwrap();
    assert_eq!(
        positions_of(&batch(&mut bridge, second)),
        [(5, 42, 42), (7, 0, 0)],
        "nothing was lost meanwhile"
    );
}

#[test]
fn a_bridge_of_groups_is_refused_while_another_one_stays() {
    let mut bridge = group_bridge();
    let mut now = ClockTime(0);
    let refused = loop {
        if let Err(refused) =
            bridge.handle_response(now, Response::LastRecord { tail: None, others: vec![None] })
        {
            break refused;
        }
        datagram(&mut bridge, now);
        assert_eq!(bridge.poll_request(now), None);
        now = bridge.poll_timeout().unwrap_or(ClockTime::NEVER);
        assert!(now < ClockTime(20_000_000_000));
        assert!(matches!(bridge.poll_request(now), Some(Request::LastRecord(_))));
    };
    assert_eq!(refused, BridgeRefusal::OtherBridge);
    assert!(now > ClockTime(5_000_000_000), "one that was killed is noted for 5 s: {now:?}");
}

#[test]
fn a_bridge_of_groups_stops_when_another_one_has_taken_over() {
    let mut bridge = group_bridge();
    bridge.handle_response(ClockTime(0), Response::LastRecord { tail: None, others: Vec::new() }).unwrap();
    datagram(&mut bridge, ClockTime(0));
    assert_eq!(positions_of(&batch(&mut bridge, LATER)), [(7, 0, 0)]);
    let refused = bridge.handle_response(LATER, Response::Refused { tail: stored(8, 3) }).unwrap_err();
    assert_eq!(refused, BridgeRefusal::TakenOver(Incarnation(8)));
    // While it is the one that stores, others that come do not stop it.
    let mut bridge = group_bridge();
    bridge.handle_response(ClockTime(0), Response::LastRecord { tail: None, others: Vec::new() }).unwrap();
    // Longer than it waits for others before it stores.
    for second in [1, 9] {
        let now = ClockTime(second * 1_000_000_000);
        assert!(matches!(bridge.poll_request(now), Some(Request::LastRecord(_))));
        bridge.handle_response(now, Response::LastRecord { tail: None, others: vec![None] }).unwrap();
    }
    datagram(&mut bridge, ClockTime(9_000_000_000));
    assert_eq!(positions_of(&batch(&mut bridge, ClockTime(9_100_000_000))), [(7, 0, 0)]);
}

/// A bridge with three messages that are under way to an engine, which is empty.
fn bridge_with_three(stops_at_unstorable: bool) -> BridgeMachine {
    let mut bridge = BridgeMachine::new(BridgeConfig { stops_at_unstorable, ..BridgeConfig::new(STREAM, 1) });
    bridge.handle_connected();
    joined(&mut bridge, 0, Incarnation(1));
    (0..3).for_each(|number| message(&mut bridge, Incarnation(1), number));
    assert!(bridge.poll_request(ClockTime(0)).is_some());
    let empty = Response::LastRecord { tail: None, others: Vec::new() };
    assert!(bridge.handle_response(ClockTime(0), empty).is_ok());
    assert_eq!(positions_of(&batch(&mut bridge, LATER)), [(1, 0, 0), (1, 1, 1), (1, 2, 2)]);
    bridge
}

fn second_message() -> UnstorableRecord {
    unstorable(Position { incarnation: Incarnation(1), number: MessageNumber(1) })
}

#[test]
fn what_an_engine_can_never_take_is_a_gap_in_the_next_batch() {
    let mut bridge = bridge_with_three(false);
    bridge.handle_response(LATER, Response::Unstorable(second_message())).unwrap();
    let records = batch(&mut bridge, LATER);
    assert_eq!(positions_of(&records), [(1, 0, 0), (1, 1, 1), (1, 2, 2)]);
    assert_eq!(records[1].content, Content::Gap { first: MessageNumber(1), cause: GapCause::TooLarge });
    assert_eq!(bridge.poll_event(), Some(BridgeEvent::Unstorable(second_message())));
    bridge.handle_response(LATER, Response::Appended).unwrap();
    assert!(matches!(bridge.poll_event(), Some(BridgeEvent::Gap { cause: GapCause::TooLarge, .. })));
    assert!(bridge.is_idle() && bridge.statistics().unstorable == 1);
}

#[test]
fn a_bridge_that_stops_before_what_cannot_be_stored_stores_what_precedes_it() {
    let mut bridge = bridge_with_three(true);
    bridge.handle_response(LATER, Response::Unstorable(second_message())).unwrap();
    assert_eq!(positions_of(&batch(&mut bridge, LATER)), [(1, 0, 0)]);
    let refused = bridge.handle_response(LATER, Response::Appended).unwrap_err();
    assert_eq!(refused, BridgeRefusal::Unstorable(second_message()));
}

#[test]
fn what_was_evicted_twice_is_a_gap() {
    let mut bridge = bridge_with_three(false);
    let retention = |evictions| EngineRetention { evictions: Some(evictions), ..EngineRetention::default() };
    bridge.handle_retention(LATER, retention(0));
    bridge.handle_response(LATER, Response::Appended).unwrap();
    let mut now = LATER;
    for evictions in 1..=2 {
        // As a bridge sees it that looks at the last record each second.
        now = now + Duration::from_secs(1);
        assert!(matches!(bridge.poll_request(now), Some(Request::LastRecord(_))));
        bridge.handle_response(now, Response::LastRecord { tail: None, others: Vec::new() }).unwrap();
        assert_eq!(bridge.poll_request(now), Some(Request::Retention));
        assert_eq!(bridge.poll_request(now), None, "nothing is appended before it is known why");
        bridge.handle_response(now, Response::Retention(retention(evictions))).unwrap();
        if evictions == 1 {
            assert_eq!(batch(&mut bridge, now).len(), 3, "it is appended again at once");
            bridge.handle_response(now, Response::Appended).unwrap();
        }
    }
    assert_eq!(positions_of(&batch(&mut bridge, now)), [(1, 0, 2)]);
    assert_eq!((bridge.statistics().evictions, bridge.statistics().given_up), (2, 3));
}
