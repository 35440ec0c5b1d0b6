//! Publishers that restart, and subscribers that join late.

use std::thread;

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::Until;
use mcast_stream::subscriber::{Item, Start, SubscriberEvent};
use mcast_stream::wire::{Incarnation, StreamId};

use crate::net::{Net, TIMEOUT, message, receive_stream};

#[test]
fn a_restarted_publisher_is_followed_from_its_first_message() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings);
    let start =
        |number| net.publisher(move |settings| settings.stream(StreamId(7)).incarnation(Incarnation(number)));
    let first = start(1);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut subscriber, message));
        assert!(first.wait_for(1, TIMEOUT));
        (0..200).for_each(|number| assert_eq!(first.publish(&message(number)).unwrap().0, number));
        assert!(first.wait(Until::Received, TIMEOUT).unwrap());
        drop(first);
        let second = start(2);
        (0..200).for_each(|number| assert_eq!(second.publish(&message(number)).unwrap().0, number));
        assert!(second.wait_for(1, TIMEOUT));
        assert!(second.close(TIMEOUT).behind.is_empty());
        let received = receiving.join().unwrap();
        assert_eq!(received.messages, 400, "{:?}", received.events);
        let restarted = SubscriberEvent::Restarted { from: Incarnation(1), to: Incarnation(2) };
        assert!(received.events.contains(&restarted), "{:?}", received.events);
    });
}

#[test]
fn a_late_joiner_receives_everything_retained() {
    let net = Net::new(Family::V4, 2, Impairment { loss: 0.02, ..Impairment::default() });
    let publisher = net.publisher(|settings| settings);
    (0..300).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
    net.until_passed(&publisher);
    let mut oldest = net.subscriber(0, |settings| settings.start(Start::Oldest));
    let mut now = net.subscriber(1, |settings| settings.start(Start::Now));
    thread::scope(|scope| {
        let oldest = scope.spawn(|| receive_stream(&mut oldest, message));
        let now = scope.spawn(|| receive_stream(&mut now, message));
        assert!(publisher.wait_for(2, TIMEOUT));
        (300..400).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        assert!(publisher.close(TIMEOUT).behind.is_empty());
        let (oldest, now) = (oldest.join().unwrap(), now.join().unwrap());
        assert_eq!((oldest.first, oldest.messages), (Some(0), 400));
        assert_eq!((now.first, now.messages), (Some(300), 100));
    });
}

#[test]
fn messages_continue_after_a_snapshot_without_a_gap() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let publisher = net.publisher(|settings| settings);
    (0..300).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
    net.until_passed(&publisher);
    let mut subscriber = net.subscriber(0, |settings| settings.start(Start::Snapshot));
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let needed = loop {
                match subscriber.next_timeout(TIMEOUT).unwrap() {
                    Some(Item::Event(SubscriberEvent::SnapshotWanted { message })) => {
                        break message;
                    }
                    Some(Item::Event(_)) => {}
                    other => panic!("{other:?} instead of SnapshotWanted"),
                }
            };
            // The snapshot covers 50 messages more, as if it were captured a little later.
            subscriber.resume(needed + 50);
            (needed, receive_stream(&mut subscriber, message))
        });
        assert!(publisher.wait_for(1, TIMEOUT));
        (300..500).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        assert!(publisher.close(TIMEOUT).behind.is_empty());
        let (needed, received) = receiving.join().unwrap();
        assert_eq!((needed.0, received.first, received.messages), (300, Some(350), 150));
    });
}
