//! Subscribers that choose no stream.

use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::Subscriber;
use mcast_stream::subscriber::{Item, SubscriberEvent};
use mcast_stream::wire::{Header, Incarnation, Kind, StreamId};

use crate::net::{Net, TIMEOUT};

/// Receives until `holds` returns `true` for the events and messages so far.
fn receive_until(
    subscriber: &mut Subscriber,
    holds: impl Fn(&[SubscriberEvent], &[Vec<u8>]) -> bool,
) -> (Vec<SubscriberEvent>, Vec<Vec<u8>>) {
    let deadline = Instant::now() + TIMEOUT;
    let (mut events, mut messages) = (Vec::new(), Vec::new());
    while !holds(&events, &messages) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited in vain: {events:?} {messages:?}");
        match subscriber.next_timeout(left.min(Duration::from_millis(20))).unwrap() {
            Some(Item::Message(message)) => messages.push(message.bytes.to_vec()),
            Some(Item::Event(event)) => events.push(event),
            None => {}
        }
    }
    (events, messages)
}

#[test]
fn stray_datagrams_do_not_select_a_stream() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let mut subscriber = net.subscriber(0, |settings| settings);
    let stray = |kind| Header::new(kind, StreamId(7), Incarnation(1), 1).bytes();
    net.publisher
        .run(|| {
            let sender = mcast::Sender::to("239.7.7.7%eth0:7000".parse().unwrap()).unwrap();
            for kind in [Kind::Data, Kind::Heartbeat, Kind::Reset] {
                sender.send(&stray(kind)).unwrap();
            }
        })
        .unwrap();
    // The stray datagrams arrive before the publisher starts.
    let deadline = Instant::now() + TIMEOUT;
    while subscriber.receiver().statistics().received < 3 {
        assert!(Instant::now() < deadline);
        assert!(subscriber.next_timeout(Duration::from_millis(20)).unwrap().is_none());
    }
    assert_eq!(subscriber.stream(), None);
    let publisher = net.publisher(|settings| settings);
    receive_until(&mut subscriber, |events, _| !events.is_empty());
    publisher.publish(b"hello").unwrap();
    let (_, messages) = receive_until(&mut subscriber, |_, messages| !messages.is_empty());
    assert_eq!((messages, subscriber.stream()), (vec![b"hello".to_vec()], Some(publisher.stream())));
}

#[test]
fn another_stream_is_reported_and_followed_once_the_first_is_silent() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let mut subscriber = net.subscriber(0, |settings| settings.publisher_silence(Duration::from_secs(1)));
    let first = net.publisher(|settings| settings.drop_timeout(Duration::ZERO));
    let joined = |events: &[SubscriberEvent]| {
        events.iter().any(|event| matches!(event, SubscriberEvent::Joined { .. }))
    };
    receive_until(&mut subscriber, |events, _| joined(events));
    let second = net.publisher(|settings| settings);
    let (from, to) = (first.stream(), second.stream());
    let is_other = |event: &SubscriberEvent| matches!(event, SubscriberEvent::OtherStream { stream, .. } if *stream == to);
    receive_until(&mut subscriber, |events, _| events.iter().any(is_other));
    first.publish(b"of the first").unwrap();
    second.publish(b"not delivered").unwrap();
    let (_, messages) = receive_until(&mut subscriber, |_, messages| !messages.is_empty());
    assert_eq!(messages, [b"of the first"]);

    drop(first);
    let (events, messages) = receive_until(&mut subscriber, |events, _| joined(events));
    assert!(events.contains(&SubscriberEvent::StreamChanged { from, to }), "{events:?}");
    assert!(messages.is_empty(), "{messages:?}");
    assert_eq!(subscriber.stream(), Some(to));
    second.publish(b"of the second").unwrap();
    let (_, messages) = receive_until(&mut subscriber, |_, messages| !messages.is_empty());
    assert_eq!(messages, [b"of the second"]);
}
