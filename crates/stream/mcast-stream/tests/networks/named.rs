//! Discovery of streams by name, and snapshots.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;

use mcast::{Family, InterfaceSelector};
use mcast_lab::Impairment;
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{Item, Start};
use mcast_stream::wire::{MessageNumber, SubscriberId};
use mcast_stream::{Publisher, Snapshot, SnapshotFetcher, StreamError, StreamStep, Subscriber, find_stream};

use crate::net::{Net, TIMEOUT, digest, message, receive_stream};

fn eth0() -> Option<InterfaceSelector> {
    Some(InterfaceSelector::Name("eth0".into()))
}

fn a_late_joiner_finds_the_stream_and_gets_the_whole_state(family: Family, keys: &Keys) {
    let net = Net::new(family, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let publisher = Arc::new(net.publisher(|settings| settings.announce("prices").keys(keys.clone())));
    (0..300).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
    let server = {
        let weak = Arc::downgrade(&publisher);
        let capture = move || {
            let message = weak.upgrade().map_or(MessageNumber(0), |publisher| publisher.next_message());
            Snapshot { message, bytes: digest(message.0) }
        };
        let serve = || {
            let address = publisher.interface_address().unwrap();
            publisher.serve_snapshots(SocketAddr::new(address, 0), capture).unwrap()
        };
        net.publisher.run(serve).unwrap()
    };
    let expected = if family == Family::V4 { "10.0.0.1" } else { "fd00::1" };
    assert_eq!(server.address().ip().to_string(), expected, "not a link-local address");
    let host = &net.subscribers[0].0;
    // It is found without knowing the address family.
    let find = || find_stream("prices", None, eth0(), keys, TIMEOUT).unwrap();
    let found = loop {
        let found = host.run(find).unwrap();
        if found.snapshot.is_some() {
            break found;
        }
    };
    assert_eq!((found.snapshot, found.stream), (Some(server.address()), publisher.stream()));
    assert_eq!(found.sealed, !keys.is_empty());
    let subscribe = || {
        let builder = Subscriber::builder().join(found.paths[0].clone()).stream(found.stream);
        builder.keys(keys.clone()).start(Start::Snapshot).build().unwrap()
    };
    let mut subscriber = host.run(subscribe).unwrap();
    let (has_fetched, fetched) = mpsc::channel();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut fetcher = SnapshotFetcher::new(found.clone(), keys.clone());
            let fetch = || loop {
                if let Some(fetched) = fetcher.fetched() {
                    return fetched.unwrap();
                }
                match subscriber.next_timeout(TIMEOUT) {
                    Ok(Some(Item::Event(event))) => fetcher.handle(&event, &subscriber).unwrap(),
                    Ok(_) | Err(StreamError::Woken) => {}
                    Err(error) => panic!("{error}"),
                }
            };
            let snapshot = host.run(fetch).unwrap();
            has_fetched.send(()).unwrap();
            assert_eq!(snapshot.bytes, digest(snapshot.message.0));
            subscriber.resume(snapshot.message);
            (snapshot.message, receive_stream(&mut subscriber, message))
        });
        (300..500).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        assert!(publisher.wait_for(1, TIMEOUT));
        let (subscriber, address, _) = publisher.subscriber_progress()[0];
        assert_eq!(publisher.address_of(subscriber), Some(address));
        assert_eq!(publisher.address_of(SubscriberId(!subscriber.0)), None);
        // Without the publisher, its snapshots are empty.
        fetched.recv_timeout(TIMEOUT).unwrap();
        let publisher = Arc::into_inner(publisher).unwrap();
        assert!(publisher.close(TIMEOUT).behind.is_empty());
        let (reached, received) = receiving.join().unwrap();
        assert_eq!(reached.0 + received.messages, 500, "{:?}", received.events);
    });
}

#[test]
fn a_name_that_cannot_be_announced_is_refused() {
    for length in [0, 256] {
        let to = "239.7.7.7%eth0:7000".parse().unwrap();
        let refused = Publisher::builder().to(to).announce("x".repeat(length)).build();
        assert!(matches!(refused, Err(StreamError::Name(reported)) if reported == length), "{refused:?}");
    }
}

#[test]
fn in_clear() {
    a_late_joiner_finds_the_stream_and_gets_the_whole_state(Family::V4, &Keys::none());
    a_late_joiner_finds_the_stream_and_gets_the_whole_state(Family::V6, &Keys::none());
}

/// What is announced can be reached, and nothing is announced that nobody serves.
#[test]
fn snapshots_are_announced_where_they_are_served_and_while_they_are() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let publisher = net.publisher(|settings| settings.announce("prices"));
    let capture = || Snapshot { message: MessageNumber(0), bytes: vec![1] };
    let serve = || publisher.serve_snapshots("0.0.0.0:0".parse().unwrap(), capture).unwrap();
    let announced = || {
        let find = || find_stream("prices", Family::V4, eth0(), &Keys::none(), TIMEOUT).unwrap();
        net.subscribers[0].0.run(find).unwrap()
    };
    let server = net.publisher.run(serve).unwrap();
    let found = announced();
    assert_eq!(found.snapshot, Some(SocketAddr::new([10, 0, 0, 1].into(), server.address().port())));
    let fetch = || found.fetch_snapshot(found.incarnation, MessageNumber(0), &Keys::none(), TIMEOUT);
    assert_eq!(net.subscribers[0].0.run(fetch).unwrap().unwrap().bytes, [1]);
    drop(server);
    // The announcement that is under way may still name it.
    assert!((0..3).any(|_| announced().snapshot.is_none()));
}

#[cfg(feature = "seal")]
#[test]
fn sealed() {
    use mcast_stream::seal::{Algorithm, GroupSecret};
    use mcast_stream::wire::KeyEpoch;

    let keys = Keys::one(KeyEpoch(1), GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm));
    a_late_joiner_finds_the_stream_and_gets_the_whole_state(Family::V4, &keys);
}

/// A host without the keys does not see a sealed stream, and gets no snapshot of it.
#[cfg(feature = "seal")]
#[test]
fn without_the_keys_a_sealed_stream_is_not_found_and_not_fetched() {
    use std::time::Duration;

    use mcast_stream::seal::{Algorithm, GroupSecret};
    use mcast_stream::wire::{Incarnation, KeyEpoch};
    use mcast_stream::{discover, fetch_snapshot};

    let net = Net::new(Family::V4, 1, Impairment::default());
    let key = |byte| Keys::one(KeyEpoch(1), GroupSecret::new(&[byte; 32], Algorithm::Aes128Gcm));
    let publisher =
        net.publisher(|settings| settings.announce("prices").keys(key(7)).incarnation(Incarnation(5)));
    let capture = || Snapshot { message: MessageNumber(0), bytes: vec![1] };
    let at = "10.0.0.1:0".parse().unwrap();
    let server = net.publisher.run(|| publisher.serve_snapshots(at, capture).unwrap()).unwrap();
    let host = &net.subscribers[0].0;
    for stranger in [Keys::none(), key(8)] {
        let find = || discover(Family::V4, eth0(), &stranger, Duration::from_millis(1_500)).unwrap();
        assert_eq!(host.run(find).unwrap(), []);
        let fetch = || {
            fetch_snapshot(server.address(), publisher.stream(), Incarnation(5), &stranger, MessageNumber(0))
        };
        let fetched = host.run(fetch).unwrap();
        assert!(
            matches!(fetched, Err(StreamError::Io { step: StreamStep::FetchSnapshot, .. })),
            "{fetched:?}"
        );
    }
    let fetch = || {
        fetch_snapshot(server.address(), publisher.stream(), Incarnation(5), &key(7), MessageNumber(0))
            .unwrap()
    };
    assert_eq!(host.run(fetch).unwrap().bytes, [1]);
}
