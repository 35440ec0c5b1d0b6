//! The example `exchange_feed`: MoldUDP64 to two groups, over lossy links.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../examples/exchange_feed.rs"]
mod example;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mcast::{Destination, Membership};
use mcast_lab::{Impairment, Lab};

const ORDERS: u64 = 2_000;
/// How long the test waits for the receivers.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The link loses one datagram in four, so one in sixteen loses both copies and needs a re-request.
#[test]
fn an_exchange_feed_is_complete_by_two_groups_and_re_requests() {
    let lab = Lab::new().unwrap();
    let switch = lab.switch("lan").unwrap();
    let publisher = lab.host("publisher").unwrap();
    publisher.connect("eth0", &switch, &["10.0.0.1/24"]).unwrap();
    let subscribers = [2, 3].map(|number| {
        let host = lab.host(&format!("sub{number}")).unwrap();
        let impairment = Impairment { loss: 0.25, seed: number, ..Impairment::default() };
        let address = format!("10.0.0.{number}/24");
        let (_, link) = lab.connect_badly(&host, "eth0", &switch, &[&address], impairment).unwrap();
        (host, link)
    });
    let feeds: [Membership; 2] =
        ["239.7.7.7%eth0:7000", "239.7.7.8%eth0:7000"].map(|feed| feed.parse().unwrap());
    let to = feeds.clone().map(|feed| Destination { address: feed.address, interface: feed.interface });
    let server = "10.0.0.1:7001".parse().unwrap();
    let left = AtomicUsize::new(2);
    let receive = |feeds| {
        let received = example::receive(feeds, server).unwrap();
        left.fetch_sub(1, Ordering::AcqRel);
        received
    };
    let stays = |over| over < TIMEOUT && left.load(Ordering::Acquire) > 0;
    let publish = || example::publish(to.clone(), server, ORDERS, stays).unwrap();
    thread::scope(|scope| {
        let receiving = [0, 1].map(|host| {
            let (host, feeds, receive) = (&subscribers[host].0, feeds.clone(), &receive);
            scope.spawn(move || host.run(move || receive(feeds)).unwrap())
        });
        let publishing = scope.spawn(|| publisher.run(publish).unwrap());
        for receiving in receiving {
            let (orders, lost) = receiving.join().unwrap();
            let expected: Vec<String> = (1..=ORDERS).map(|number| format!("order {number}")).collect();
            assert!(orders == expected && lost == 0, "{} orders, {lost} lost", orders.len());
        }
        publishing.join().unwrap();
    });
}
