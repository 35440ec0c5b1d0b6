//! The same stream by two networks.

use std::thread;
use std::time::{Duration, Instant};

use mcast::{Destination, Membership};
use mcast_lab::{BadLink, Host, Impairment, Lab, Switch};
use mcast_stream::receiver::Event;
use mcast_stream::{Publisher, PublisherBuilder, Subscriber, SubscriberBuilder};

use crate::net::{PATIENCE, hear, message};

const WAYS: [&str; 2] = ["239.7.7.1%eth0:7000", "239.7.7.2%eth1:7000"];

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
        let links = [0, 1].map(|way| {
            let (name, own) = (format!("eth{way}"), format!("10.{way}.0.1/24"));
            publisher.connect(&name, &switches[way], &[&own]).unwrap();
            let own = format!("10.{way}.0.2/24");
            lab.connect_badly(&subscriber, &name, &switches[way], &[&own], impairments[way]).unwrap().1
        });
        Self { _lab: lab, switches, publisher, subscriber, links }
    }

    fn publisher(&self) -> Publisher {
        self.publisher_to(WAYS)
    }

    fn publisher_to(&self, ways: [&str; 2]) -> Publisher {
        let ways = ways.map(|way| way.parse::<Destination>().unwrap());
        let build = || ways.into_iter().fold(Publisher::builder(), PublisherBuilder::to).build();
        self.publisher.run(|| build().unwrap()).unwrap()
    }

    fn subscriber(&self) -> Subscriber {
        self.subscriber_to(WAYS)
    }

    fn subscriber_to(&self, ways: [&str; 2]) -> Subscriber {
        let ways = ways.map(|way| way.parse::<Membership>().unwrap());
        let build = || ways.into_iter().fold(Subscriber::builder(), SubscriberBuilder::path).build();
        self.subscriber.run(|| build().unwrap()).unwrap()
    }
}

/// What is on the way when the plug is pulled comes by the other path, so that nobody need ask.
#[test]
fn of_two_paths_one_may_be_cut() {
    let nets = TwoNets::new([Impairment::default(); 2]);
    let mut subscriber = nets.subscriber();
    let publisher = nets.publisher();
    thread::scope(|scope| {
        let hearing = scope.spawn(|| (hear(&mut subscriber, message), subscriber.statistics()));
        assert!(publisher.wait_for(1, PATIENCE));
        for number in 0..600 {
            match number {
                200 => nets.links[1].cut().unwrap(),
                400 => nets.links[1].restore().unwrap(),
                _ => {}
            }
            assert_eq!(publisher.publish(&message(number)).unwrap(), number);
        }
        let closing = publisher.close(PATIENCE);
        assert!(closing.behind.is_empty(), "{closing:?}");
        let (heard, statistics) = hearing.join().unwrap();
        assert_eq!((heard.first, heard.messages), (Some(0), 600), "{:?}", heard.events);
        assert_eq!(statistics.given_up, 0, "{statistics:?}");
    });
}

/// Each loses much; together they lose little, and that is repaired.
#[test]
fn two_bad_paths_make_a_better_one() {
    let bad = |seed| Impairment { loss: 0.2, seed, ..Impairment::default() };
    let nets = TwoNets::new([bad(1), bad(2)]);
    let mut subscriber = nets.subscriber();
    let publisher = nets.publisher();
    thread::scope(|scope| {
        let hearing = scope.spawn(|| {
            let heard = hear(&mut subscriber, message);
            (heard, subscriber.paths().to_vec())
        });
        assert!(publisher.wait_for(1, PATIENCE));
        (0..1_000).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
        assert!(publisher.close(PATIENCE).behind.is_empty());
        let (heard, paths) = hearing.join().unwrap();
        assert_eq!((heard.first, heard.messages), (Some(0), 1_000), "{:?}", heard.events);
        assert!(paths.len() == 2 && paths.iter().all(|path| path.first > 50), "{paths:?}");
    });
}

#[test]
fn a_path_that_falls_silent_is_told() {
    let nets = TwoNets::new([Impairment::default(); 2]);
    let mut subscriber = nets.subscriber();
    let publisher = nets.publisher();
    let (tells, told) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut last = None;
            while let Some(item) = subscriber.next_timeout(PATIENCE).unwrap() {
                if let mcast_stream::receiver::Item::Event(
                    event @ (Event::PathSilent(_) | Event::PathBack(_)),
                ) = item
                {
                    last = Some(event);
                    tells.send(event).unwrap();
                }
            }
            last
        });
        assert!(publisher.wait_for(1, PATIENCE));
        nets.links[1].cut().unwrap();
        // Heartbeats alone keep the other path alive.
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Event::PathSilent(1));
        nets.links[1].restore().unwrap();
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Event::PathBack(1));
        let closing = publisher.close(PATIENCE);
        assert!(closing.behind.is_empty(), "{closing:?}");
    });
}

/// An interface that is made again has another index, and is the same path.
#[test]
fn of_one_group_on_two_interfaces_each_stays_a_path_when_its_interface_is_made_again() {
    const ONE_GROUP: [&str; 2] = ["239.7.7.7%eth0:7000", "239.7.7.7%eth1:7000"];

    let nets = TwoNets::new([Impairment::default(); 2]);
    let mut subscriber = nets.subscriber_to(ONE_GROUP);
    let publisher = nets.publisher_to(ONE_GROUP);
    let received = |subscriber: &Subscriber| match subscriber.paths() {
        [first, second] => (first.received, second.received),
        paths => panic!("{paths:?}"),
    };
    let mut publish_until = |what: &str, is_so: &dyn Fn(u64, u64) -> bool| {
        let deadline = Instant::now() + PATIENCE;
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
    publish_until("both paths are heard", &|first, second| first > 10 && second > 10);
    nets.subscriber.delete_interface("eth1").unwrap();
    publish_until("the first alone is heard", &|first, _| first > 10);
    nets.subscriber.connect("eth1", &nets.switches[1], &["10.1.0.2/24"]).unwrap();
    publish_until("the second is heard again", &|_, second| second > 10);
}
