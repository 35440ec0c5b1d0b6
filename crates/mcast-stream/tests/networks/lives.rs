//! Publishers that start again, subscribers that come late.

use std::thread;

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::receiver::{Event, Item, Start};
use mcast_stream::wire::{Incarnation, StreamId};

use crate::net::{Net, PATIENCE, hear, message};

#[test]
fn a_publisher_that_starts_again_is_followed_from_its_first_message() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings);
    let life =
        |number| net.publisher(move |settings| settings.stream(StreamId(7)).incarnation(Incarnation(number)));
    let first = life(1);
    thread::scope(|scope| {
        let hearing = scope.spawn(|| hear(&mut subscriber, message));
        assert!(first.wait_for(1, PATIENCE));
        (0..200).for_each(|number| assert_eq!(first.publish(&message(number)).unwrap(), number));
        assert!(first.wait_complete(PATIENCE));
        drop(first);
        let second = life(2);
        (0..200).for_each(|number| assert_eq!(second.publish(&message(number)).unwrap(), number));
        assert!(second.wait_for(1, PATIENCE));
        assert!(second.close(PATIENCE).behind.is_empty());
        let heard = hearing.join().unwrap();
        assert_eq!(heard.messages, 400, "{:?}", heard.events);
        let restarted = Event::Restarted { from: Incarnation(1), to: Incarnation(2) };
        assert!(heard.events.contains(&restarted), "{:?}", heard.events);
    });
}

#[test]
fn who_comes_late_can_have_what_is_kept() {
    let net = Net::new(Family::V4, 2, Impairment { loss: 0.02, ..Impairment::default() });
    let publisher = net.publisher(|settings| settings);
    (0..300).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
    net.until_passed(&publisher);
    let mut oldest = net.subscriber(0, |settings| settings.start(Start::Oldest));
    let mut now = net.subscriber(1, |settings| settings.start(Start::Now));
    thread::scope(|scope| {
        let oldest = scope.spawn(|| hear(&mut oldest, message));
        let now = scope.spawn(|| hear(&mut now, message));
        assert!(publisher.wait_for(2, PATIENCE));
        (300..400).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
        assert!(publisher.close(PATIENCE).behind.is_empty());
        let (oldest, now) = (oldest.join().unwrap(), now.join().unwrap());
        assert_eq!((oldest.first, oldest.messages), (Some(0), 400));
        assert_eq!((now.first, now.messages), (Some(300), 100));
    });
}

#[test]
fn a_snapshot_and_what_follows_make_the_whole() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let publisher = net.publisher(|settings| settings);
    (0..300).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
    net.until_passed(&publisher);
    let mut subscriber = net.subscriber(0, |settings| settings.start(Start::Snapshot));
    thread::scope(|scope| {
        let hearing = scope.spawn(move || {
            let wanted = loop {
                match subscriber.next_timeout(PATIENCE).unwrap() {
                    Some(Item::Event(Event::SnapshotWanted { message })) => break message,
                    Some(Item::Event(_)) => {}
                    other => panic!("{other:?} instead of a wish for a snapshot"),
                }
            };
            // As a snapshot would have it that was taken a little later.
            subscriber.resume(wanted + 50);
            (wanted, hear(&mut subscriber, message))
        });
        assert!(publisher.wait_for(1, PATIENCE));
        (300..500).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
        assert!(publisher.close(PATIENCE).behind.is_empty());
        let (wanted, heard) = hearing.join().unwrap();
        assert_eq!((wanted, heard.first, heard.messages), (300, Some(350), 150));
    });
}
