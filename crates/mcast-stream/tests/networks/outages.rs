//! Interfaces that go and come back, with another index.

use std::thread;

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::Subscriber;

use crate::net::{Heard, Net, PATIENCE, hear, message};

/// Publishes some, lets something happen, publishes the rest; all of it must be heard.
fn everything_comes_although(family: Family, happens: impl Fn(&Net)) {
    let net = Net::new(family, 2, Impairment::default());
    let mut subscribers = [net.subscriber(0, |settings| settings), net.subscriber(1, |settings| settings)];
    let publisher = net.publisher(|settings| settings);
    thread::scope(|scope| {
        // On their hosts: what follows interfaces looks for them where it runs.
        let hear = |subscriber: &mut Subscriber, number: usize| {
            net.subscribers[number].0.run(|| hear(subscriber, message)).unwrap()
        };
        let hearing: Vec<_> = subscribers
            .iter_mut()
            .enumerate()
            .map(|(number, subscriber)| scope.spawn(move || hear(subscriber, number)))
            .collect();
        assert!(publisher.wait_for(2, PATIENCE));
        (0..200).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
        happens(&net);
        (200..400).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
        let closing = publisher.close(PATIENCE);
        assert_eq!((closing.complete, &closing.behind[..]), (2, &[][..]), "{closing:?}");
        for one in hearing {
            let heard: Heard = one.join().unwrap();
            assert_eq!((heard.first, heard.messages), (Some(0), 400), "{:?}", heard.events);
        }
    });
}

fn a_subscribers_interface_is_gone_and_back(family: Family, address: &str) {
    everything_comes_although(family, |net| {
        net.subscribers[0].0.reconnect("eth0", &net.switch, &[address]).unwrap();
    });
}

fn a_publishers_interface_is_gone_and_back(family: Family, address: &str) {
    everything_comes_although(family, |net| {
        net.publisher.reconnect("eth0", &net.switch, &[address]).unwrap();
    });
}

#[test]
fn a_subscribers_interface_for_ipv4() {
    a_subscribers_interface_is_gone_and_back(Family::V4, "10.0.0.2/24");
}

#[test]
fn a_subscribers_interface_for_ipv6() {
    a_subscribers_interface_is_gone_and_back(Family::V6, "fd00::2/64");
}

#[test]
fn a_publishers_interface_for_ipv4() {
    a_publishers_interface_is_gone_and_back(Family::V4, "10.0.0.1/24");
}

#[test]
fn a_publishers_interface_for_ipv6() {
    a_publishers_interface_is_gone_and_back(Family::V6, "fd00::1/64");
}

/// The plug is pulled, and both ends notice.
#[test]
fn a_link_loses_its_carrier_while_messages_come() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings);
    thread::scope(|scope| {
        let hearing = scope.spawn(|| hear(&mut subscriber, message));
        assert!(publisher.wait_for(1, PATIENCE));
        for number in 0..300 {
            match number {
                100 => net.subscribers[0].1.cut().unwrap(),
                200 => net.subscribers[0].1.restore().unwrap(),
                _ => {}
            }
            assert_eq!(publisher.publish(&message(number)).unwrap(), number);
        }
        assert!(publisher.close(PATIENCE).behind.is_empty());
        let heard = hearing.join().unwrap();
        assert_eq!((heard.first, heard.messages), (Some(0), 300), "{:?}", heard.events);
    });
}
