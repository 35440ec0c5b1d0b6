//! Interfaces that disappear and return with another index.

use std::thread;

use mcast::{Family, Membership};
use mcast_lab::Impairment;
use mcast_stream::Subscriber;

use crate::net::{Net, Received, TIMEOUT, message, receive_stream};

/// Publishes half of the messages, disturbs the network, and publishes the rest. Everything must be received.
fn everything_arrives_although(family: Family, disturb: impl Fn(&Net)) {
    let net = Net::new(family, 2, Impairment::default());
    let membership = net.membership();
    everything_arrives_at(&net, &membership, disturb);
}

/// The same with this membership.
fn everything_arrives_at(net: &Net, membership: &Membership, disturb: impl Fn(&Net)) {
    let mut subscribers =
        [0, 1].map(|number| net.subscriber_to(number, membership.clone(), |settings| settings));
    let publisher = net.publisher(|settings| settings);
    thread::scope(|scope| {
        // On their hosts, because sockets look interfaces up in the network namespace of the calling thread.
        let receive_stream = |subscriber: &mut Subscriber, number: usize| {
            net.subscribers[number].0.run(|| receive_stream(subscriber, message)).unwrap()
        };
        let receiving: Vec<_> = subscribers
            .iter_mut()
            .enumerate()
            .map(|(number, subscriber)| scope.spawn(move || receive_stream(subscriber, number)))
            .collect();
        assert!(publisher.wait_for(2, TIMEOUT));
        (0..200).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        disturb(net);
        (200..400).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
        let closing = publisher.close(TIMEOUT);
        assert_eq!((closing.complete, &closing.behind[..]), (2, &[][..]), "{closing:?}");
        for one in receiving {
            let received: Received = one.join().unwrap();
            assert_eq!((received.first, received.messages), (Some(0), 400), "{:?}", received.events);
        }
    });
}

fn a_subscribers_interface_is_gone_and_back(family: Family, address: &str) {
    everything_arrives_although(family, |net| {
        net.subscribers[0].0.reconnect("eth0", &net.switch, &[address]).unwrap();
    });
}

fn a_publishers_interface_is_gone_and_back(family: Family, address: &str) {
    everything_arrives_although(family, |net| {
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

#[test]
fn an_interface_that_a_subscriber_does_not_name() {
    for (family, address) in [(Family::V4, "10.0.0.2/24"), (Family::V6, "fd00::2/64")] {
        let net = Net::new(family, 2, Impairment::default());
        let everywhere = Membership { interface: None, ..net.membership() };
        everything_arrives_at(&net, &everywhere, |net| {
            net.subscribers[0].0.reconnect("eth0", &net.switch, &[address]).unwrap();
        });
    }
}

/// As when a cable is unplugged: both ends see it.
#[test]
fn messages_are_repaired_after_a_link_lost_its_carrier() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut subscriber, message));
        assert!(publisher.wait_for(1, TIMEOUT));
        for number in 0..300 {
            match number {
                100 => net.subscribers[0].1.cut().unwrap(),
                200 => net.subscribers[0].1.restore().unwrap(),
                _ => {}
            }
            assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
        }
        assert!(publisher.close(TIMEOUT).behind.is_empty());
        let received = receiving.join().unwrap();
        assert_eq!((received.first, received.messages), (Some(0), 300), "{:?}", received.events);
    });
}
