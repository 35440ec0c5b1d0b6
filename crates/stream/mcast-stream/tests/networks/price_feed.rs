//! The example `price_feed`, over bad links.

#[path = "../../../../../examples/price_feed.rs"]
mod example;

use std::thread;

use mcast::{Destination, Family};
use mcast_lab::Impairment;
use mcast_stream::find_stream;
use mcast_stream::seal::Keys;

use crate::net::{Net, TIMEOUT};

/// The last price that is published.
const LAST: u32 = 180;

#[test]
fn a_late_joiner_of_the_price_feed_gets_the_same_prices() {
    let net = Net::new(Family::V4, 2, Impairment { loss: 0.05, ..Impairment::default() });
    let membership = net.membership();
    let to = Destination { address: membership.address, interface: membership.interface };
    thread::scope(|scope| {
        let publish = || example::publish(to, [10, 0, 0, 1].into(), LAST);
        let publishing = scope.spawn(|| net.publisher.run(publish).unwrap());
        let subscribing = [(0, 0), (1, 2)].map(|(host, announcements)| {
            let follow = move || {
                // One second each.
                for _ in 0..announcements {
                    find_stream("prices", Family::V4, None, &Keys::none(), TIMEOUT).unwrap();
                }
                example::subscribe().unwrap()
            };
            let host = &net.subscribers[host].0;
            scope.spawn(move || host.run(follow).unwrap())
        });
        for subscribing in subscribing {
            let prices: Vec<_> = subscribing.join().unwrap().into_iter().collect();
            assert_eq!(prices, [("apples".to_owned(), LAST), ("pears".to_owned(), LAST - 1)]);
        }
        publishing.join().unwrap().unwrap();
    });
}
