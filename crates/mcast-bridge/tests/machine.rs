//! Whatever a subscriber delivers and an engine responds, a bridge does not panic, its requests are bounded, and each
//! batch continues the record that it expects.

use mcast_bridge::{
    BridgeConfig, BridgeEvent, BridgeMachine, Content, Hole, Position, Request, Response, Tail,
};
use mcast_stream::subscriber::{Cause, Message, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use mcast_stream::{ClockTime, Nanos};
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

fn tails() -> impl Strategy<Value = Option<Tail>> {
    let tail = (positions(), any::<bool>());
    prop::option::of(tail.prop_map(|(position, closes)| Tail { position, stream: Some(STREAM), closes }))
}

fn responses() -> impl Strategy<Value = Response> {
    let hole = (positions(), numbers()).prop_map(|(start, end)| Hole { start, end });
    let others = prop::collection::vec(prop::option::of(hole), 0..3);
    prop_oneof![
        4 => Just(Response::Appended),
        1 => tails().prop_map(|tail| Response::Refused { tail }),
        2 => (tails(), others).prop_map(|(tail, others)| Response::Tail { tail, others }),
    ]
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
        bridge.event(ClockTime(0), 0, &SubscriberEvent::Joined {
            incarnation: Incarnation(1),
            publisher: ([10, 0, 0, 1], 7).into(),
            message: MessageNumber(0),
        });
        let mut now = ClockTime(0);
        for operation in operations {
            match operation {
                Operation::Message(number) => {
                    let message = Message { number: MessageNumber(number), key: None, bytes: &[1, 2, 3] };
                    bridge.message(now, 0, &message);
                }
                Operation::Event(event) => bridge.event(now, 0, &event),
                Operation::Respond(response) => bridge.response(now, response).unwrap(),
                Operation::Connect => bridge.connected(),
                Operation::Disconnect => bridge.disconnected(),
                Operation::Wait(milliseconds) => now = now + Nanos::from_millis(milliseconds),
            }
            let mut polls = 0;
            while let Some(request) = bridge.poll(now) {
                check(&request);
                polls += 1;
                prop_assert!(polls <= 2, "without a response");
            }
            prop_assert!(bridge.deadline() > now);
            prop_assert!(bridge.statistics().in_flight <= 2);
            while bridge.poll_event().is_some() {}
        }
    }
}

#[test]
fn a_tail_of_another_stream_is_refused() {
    let mut bridge = BridgeMachine::new(BridgeConfig::new(STREAM, 1));
    bridge.connected();
    bridge.poll(ClockTime(0)).unwrap();
    let position = Position { incarnation: Incarnation(1), number: MessageNumber(1) };
    let tail = Some(Tail { position, stream: Some(StreamId(8)), closes: false });
    let refused = bridge.response(ClockTime(0), Response::Tail { tail, others: Vec::new() }).unwrap_err();
    assert_eq!(refused.found, StreamId(8));
}

#[test]
fn an_incarnation_that_is_older_than_what_is_stored_is_reported_once() {
    let mut bridge = BridgeMachine::new(BridgeConfig::new(STREAM, 1));
    bridge.connected();
    bridge.poll(ClockTime(0)).unwrap();
    let position = Position { incarnation: Incarnation(7), number: MessageNumber(0) };
    let tail = Some(Tail { position, stream: Some(STREAM), closes: false });
    bridge.response(ClockTime(0), Response::Tail { tail, others: Vec::new() }).unwrap();
    let (to, from) = (Incarnation(3), Incarnation(2));
    bridge.event(ClockTime(0), 0, &SubscriberEvent::Restarted { from, to });
    for number in [0, 1] {
        bridge.message(ClockTime(0), 0, &Message { number: MessageNumber(number), key: None, bytes: &[] });
    }
    let stored = Incarnation(7);
    assert_eq!(bridge.poll_event(), Some(BridgeEvent::Superseded { incarnation: to, stored }));
    assert_eq!((bridge.poll_event(), bridge.statistics().superseded), (None, 2));
}
