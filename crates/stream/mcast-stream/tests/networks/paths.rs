//! The same stream over two networks.

use std::thread;
use std::time::{Duration, Instant};

use mcast::{Destination, Membership};
use mcast_lab::{BadLink, Host, Impairment, Lab, Switch};
use mcast_stream::publisher::PublisherEvent;
use mcast_stream::subscriber::SubscriberEvent;
use mcast_stream::{Publisher, PublisherBuilder, Subscriber, SubscriberBuilder};

use crate::net::{TIMEOUT, message, receive_stream};

const PATHS: [&str; 2] = ["239.7.7.1%eth0:7000", "239.7.7.2%eth1:7000"];

/// A publisher and a subscriber, each with a leg in both networks.
struct TwoNets {
    _lab: Lab,
    switches: [Switch; 2],
    publisher: Host,
    subscriber: Host,
    links: [BadLink; 2],
}

impl TwoNets {
    fn new(impairments: [Impairment; 2]) -> Self {
        let lab = Lab::new().unwrap();
        let switches = [lab.switch("red").unwrap(), lab.switch("blue").unwrap()];
        let (publisher, subscriber) = (lab.host("publisher").unwrap(), lab.host("subscriber").unwrap());
        let links = [0, 1].map(|path| {
            let (name, own) = (format!("eth{path}"), format!("10.{path}.0.1/24"));
            publisher.connect(&name, &switches[path], &[&own]).unwrap();
            let own = format!("10.{path}.0.2/24");
            lab.connect_badly(&subscriber, &name, &switches[path], &[&own], impairments[path]).unwrap().1
        });
        Self { _lab: lab, switches, publisher, subscriber, links }
    }

    fn publisher(&self) -> Publisher {
        self.publisher_to(PATHS)
    }

    fn publisher_to(&self, paths: [&str; 2]) -> Publisher {
        let paths = paths.map(|path| path.parse::<Destination>().unwrap());
        let build = || paths.into_iter().fold(Publisher::builder(), PublisherBuilder::to).build();
        self.publisher.run(|| build().unwrap()).unwrap()
    }

    fn subscriber(&self) -> Subscriber {
        self.subscriber_to(PATHS)
    }

    fn subscriber_to(&self, paths: [&str; 2]) -> Subscriber {
        let paths = paths.map(|path| path.parse::<Membership>().unwrap());
        let build = || paths.into_iter().fold(Subscriber::builder(), SubscriberBuilder::join).build();
        self.subscriber.run(|| build().unwrap()).unwrap()
    }
}

/// Datagrams that are in flight when the link is cut arrive by the other path, so that no repair is needed.
#[test]
fn one_of_two_paths_may_be_cut() {
    let nets = TwoNets::new([Impairment::default(); 2]);
    let mut subscriber = nets.subscriber();
    let publisher = nets.publisher();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| (receive_stream(&mut subscriber, message), subscriber.statistics()));
        assert!(publisher.wait_for(1, TIMEOUT));
        for number in 0..600 {
            match number {
                200 => nets.links[1].cut().unwrap(),
                400 => nets.links[1].restore().unwrap(),
                _ => {}
            }
            assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
        }
        let closing = publisher.close(TIMEOUT);
        assert!(closing.behind.is_empty(), "{closing:?}");
        let (received, statistics) = receiving.join().unwrap();
        assert_eq!((received.first, received.messages), (Some(0), 600), "{:?}", received.events);
        assert_eq!(statistics.given_up, 0, "{statistics:?}");
    });
}

/// Its feedback takes the other path before the publisher gives it up: whichever path that is, one of the cuts hits it.
#[test]
fn a_subscriber_whose_path_is_cut_is_not_evicted() {
    for cut in 0..PATHS.len() {
        let nets = TwoNets::new([Impairment::default(); 2]);
        let build = || {
            let paths = PATHS.map(|path| path.parse::<Membership>().unwrap());
            let settings = paths.into_iter().fold(Subscriber::builder(), SubscriberBuilder::join);
            settings.receive_buffer(1 << 20).build().unwrap()
        };
        let mut subscriber = nets.subscriber.run(build).unwrap();
        let paths = PATHS.map(|path| path.parse::<Destination>().unwrap());
        let settings = || paths.into_iter().fold(Publisher::builder(), PublisherBuilder::to).rate(2_000_000);
        let publisher = nets.publisher.run(|| settings().build().unwrap()).unwrap();
        thread::scope(|scope| {
            let receiving = scope.spawn(|| receive_stream(&mut subscriber, |_| vec![7; 1_400]));
            assert!(publisher.wait_for(1, TIMEOUT));
            nets.links[cut].cut().unwrap();
            // At this rate, 1 MiB is in flight after half a second; then the publisher waits for the subscriber.
            let until = Instant::now() + Duration::from_secs(5);
            let (mut published, mut evicted) = (0, 0);
            while Instant::now() < until {
                publisher.publish(&[7; 1_400]).unwrap();
                published += 1;
                let events = std::iter::from_fn(|| publisher.event());
                evicted +=
                    events.filter(|event| matches!(event, PublisherEvent::SubscriberEvicted(..))).count();
            }
            nets.links[cut].restore().unwrap();
            assert!(publisher.close(TIMEOUT).behind.is_empty());
            assert_eq!(receiving.join().unwrap().messages, published);
            assert_eq!(evicted, 0, "path {cut}: evicted after {published} messages");
        });
    }
}

/// Each path loses much; together they lose little, which is repaired.
#[test]
fn two_bad_paths_complement_each_other() {
    let bad = |seed| Impairment { loss: 0.2, seed, ..Impairment::default() };
    let nets = TwoNets::new([bad(1), bad(2)]);
    let mut subscriber = nets.subscriber();
    let publisher = nets.publisher();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let received = receive_stream(&mut subscriber, message);
            (received, subscriber.paths().to_vec())
        });
        assert!(publisher.wait_for(1, TIMEOUT));
        (0..1_000).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        assert!(publisher.close(TIMEOUT).behind.is_empty());
        let (received, paths) = receiving.join().unwrap();
        assert_eq!((received.first, received.messages), (Some(0), 1_000), "{:?}", received.events);
        assert!(paths.len() == 2 && paths.iter().all(|path| path.first > 50), "{paths:?}");
    });
}

#[test]
fn a_silent_path_is_reported() {
    let nets = TwoNets::new([Impairment::default(); 2]);
    let mut subscriber = nets.subscriber();
    let publisher = nets.publisher();
    let (sender, events) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut last = None;
            while let Some(item) = subscriber.next_timeout(TIMEOUT).unwrap() {
                if let mcast_stream::subscriber::Item::Event(
                    event @ (SubscriberEvent::PathSilent(_) | SubscriberEvent::PathBack(_)),
                ) = item
                {
                    last = Some(event);
                    sender.send(event).unwrap();
                }
            }
            last
        });
        assert!(publisher.wait_for(1, TIMEOUT));
        nets.links[1].cut().unwrap();
        // Heartbeats alone keep the other path alive.
        assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), SubscriberEvent::PathSilent(1));
        nets.links[1].restore().unwrap();
        assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), SubscriberEvent::PathBack(1));
        let closing = publisher.close(TIMEOUT);
        assert!(closing.behind.is_empty(), "{closing:?}");
    });
}

/// An interface that is created again has another index, but is the same path.
#[test]
fn a_path_survives_that_its_interface_is_created_again() {
    const ONE_GROUP: [&str; 2] = ["239.7.7.7%eth0:7000", "239.7.7.7%eth1:7000"];

    let nets = TwoNets::new([Impairment::default(); 2]);
    let mut subscriber = nets.subscriber_to(ONE_GROUP);
    let publisher = nets.publisher_to(ONE_GROUP);
    let received = |subscriber: &Subscriber| match subscriber.paths() {
        [first, second] => (first.received, second.received),
        paths => panic!("{paths:?}"),
    };
    let mut publish_until = |what: &str, is_so: &dyn Fn(u64, u64) -> bool| {
        let deadline = Instant::now() + TIMEOUT;
        let mut before = None;
        loop {
            publisher.publish(b"x").unwrap();
            while subscriber.next_timeout(Duration::from_millis(5)).unwrap().is_some() {}
            let (first, second) = received(&subscriber);
            let (first_then, second_then) = *before.get_or_insert((first, second));
            if is_so(first - first_then, second - second_then) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {:?}", subscriber.paths());
        }
    };
    publish_until("both paths are received", &|first, second| first > 10 && second > 10);
    nets.subscriber.delete_interface("eth1").unwrap();
    publish_until("the first alone is received", &|first, _| first > 10);
    nets.subscriber.connect("eth1", &nets.switches[1], &["10.1.0.2/24"]).unwrap();
    publish_until("the second is received again", &|_, second| second > 10);
}
