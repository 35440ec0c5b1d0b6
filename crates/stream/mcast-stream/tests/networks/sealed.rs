//! Sealed streams can be read by the group only.

use std::thread;
use std::time::Duration;

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream::subscriber::{Item, SubscriberEvent};
use mcast_stream::wire::{Incarnation, KeyEpoch, MessageNumber};
use mcast_stream::{Snapshot, fetch_snapshot};

use crate::net::{Net, TIMEOUT, message, receive_stream};

fn keys(epoch: u16, byte: u8, algorithm: Algorithm) -> Keys {
    Keys::one(KeyEpoch(epoch), GroupSecret::new(&[byte; 32], algorithm))
}

#[test]
fn the_group_receives_everything_and_others_nothing() {
    for algorithm in [Algorithm::Aes128Gcm, Algorithm::ChaCha20Poly1305] {
        let net = Net::new(Family::V4, 3, Impairment { loss: 0.05, ..Impairment::default() });
        let mut member = net.subscriber(0, |settings| settings.keys(keys(1, 7, algorithm)));
        let mut other = net.subscriber(1, |settings| settings.keys(keys(1, 8, algorithm)));
        let publisher = net.publisher(|settings| settings.keys(keys(1, 7, algorithm)));
        thread::scope(|scope| {
            let receiving = scope.spawn(|| receive_stream(&mut member, message));
            assert!(publisher.wait_for(1, TIMEOUT));
            (0..500).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
            let closing = publisher.close(TIMEOUT);
            assert_eq!((closing.complete, closing.behind.len()), (1, 0));
            assert_eq!(receiving.join().unwrap().messages, 500);
        });
        while let Some(item) = other.next_timeout(Duration::from_millis(10)).unwrap() {
            let is_refusal =
                matches!(item, Item::Event(SubscriberEvent::KeyMissing(_) | SubscriberEvent::KeyWrong(_)));
            assert!(is_refusal, "{item:?}");
        }
        assert_eq!(other.statistics().messages, 0);
        assert!(other.statistics().refused > 0);
    }
}

#[test]
fn a_key_changes_without_a_gap() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let mut both = keys(1, 7, Algorithm::Aes128Gcm);
    both.add(KeyEpoch(2), GroupSecret::new(&[9; 32], Algorithm::Aes128Gcm));
    let mut subscriber = net.subscriber(0, |settings| settings.keys(both.clone()));
    let publisher = net.publisher(|settings| settings.keys(keys(1, 7, Algorithm::Aes128Gcm)));
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut subscriber, message));
        assert!(publisher.wait_for(1, TIMEOUT));
        (0..200).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        publisher.set_keys(both.clone());
        (200..400).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        assert!(publisher.close(TIMEOUT).behind.is_empty());
        assert_eq!(receiving.join().unwrap().messages, 400);
    });
}

/// Subscribers get a new secret first. Until the publisher has it, too, its snapshots are sealed with the old one.
#[test]
fn snapshots_are_available_during_a_key_change() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let old = keys(1, 7, Algorithm::Aes128Gcm);
    let mut both = old.clone();
    both.add(KeyEpoch(2), GroupSecret::new(&[9; 32], Algorithm::Aes128Gcm));
    let publisher = net.publisher(|settings| settings.keys(old).incarnation(Incarnation(5)));
    let capture = || Snapshot { message: MessageNumber(0), bytes: vec![1] };
    let at = "10.0.0.1:0".parse().unwrap();
    let server = net.publisher.run(|| publisher.serve_snapshots(at, capture).unwrap()).unwrap();
    let fetch = |keys: &Keys| {
        let fetch =
            || fetch_snapshot(server.address(), publisher.stream(), Incarnation(5), keys, MessageNumber(0));
        net.subscribers[0].0.run(fetch).unwrap()
    };
    assert_eq!(fetch(&both).unwrap().bytes, [1]);
    let new = self::keys(2, 9, Algorithm::Aes128Gcm);
    assert!(fetch(&new).is_err());
    publisher.set_keys(new.clone());
    assert_eq!(fetch(&new).unwrap().bytes, [1]);
    assert!(fetch(&Keys::none()).is_err());
}
