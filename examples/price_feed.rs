//! A price feed: a publisher with exact snapshots, and subscribers that may join late.
//!
//! `price_feed publish 239.255.6.31%eth0:7000 10.0.0.1` on one host, `price_feed subscribe` on others.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use mcast::{Destination, Membership};
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{Item, OnLoss, Policy, Start, SubscriberEvent};
use mcast_stream::wire::StreamId;
use mcast_stream::{Publisher, Snapshot, StreamError, find_stream};

/// The price of each fruit.
pub(crate) type Prices = BTreeMap<String, u32>;

const USAGE: &str = "price_feed publish GROUP[%INTERFACE]:PORT ADDRESS, or price_feed subscribe";
const NAME: &str = "prices";
/// How long to wait for an announcement, a snapshot, and the last subscriber.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The prices and their publisher. One lock covers both, so that a snapshot knows which messages it covers.
struct Feed {
    prices: Mutex<Prices>,
    publisher: Publisher,
}

impl Feed {
    fn set_price(&self, fruit: &str, price: u32) -> Result<(), StreamError> {
        let mut prices = self.prices.lock().unwrap_or_else(PoisonError::into_inner);
        prices.insert(fruit.to_owned(), price);
        self.publisher.publish(format!("{fruit} {price}").as_bytes())?;
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let prices = self.prices.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = prices.iter().map(|(fruit, price)| format!("{fruit} {price}\n")).collect();
        Snapshot { message: self.publisher.next_message(), bytes: lines.concat().into_bytes() }
    }
}

/// Publishes prices from 101 to `last`, twenty per second, and serves snapshots at this address.
pub(crate) fn publish(to: Destination, at: IpAddr, last: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
    let publisher = Publisher::builder().to(to).stream(StreamId::named(NAME)).announce(NAME).build()?;
    let feed = Arc::new(Feed { prices: Mutex::default(), publisher });
    let weak = Arc::downgrade(&feed);
    let _server = feed.publisher.serve_snapshots((at, 0).into(), move || Some(weak.upgrade()?.snapshot()))?;
    for price in 101..=last {
        feed.set_price(if price % 2 == 0 { "apples" } else { "pears" }, price)?;
        sleep(Duration::from_millis(50));
    }
    let closing = feed.publisher.close(TIMEOUT);
    eprintln!("{} have everything, {} don't", closing.complete, closing.behind.len());
    Ok(())
}

/// Follows the prices to the end of the stream; returns the last price of each fruit.
pub(crate) fn subscribe() -> Result<Prices, Box<dyn Error + Send + Sync>> {
    let keys = Keys::none();
    let found = find_stream(NAME, None, None, &keys, TIMEOUT)?;
    let settings = found.subscriber()?.start(Start::Snapshot).policy(Policy::Reliable(OnLoss::Snapshot));
    let mut subscriber = settings.build()?;
    let (mut prices, mut current) = (Prices::new(), found.incarnation);
    while let Some(item) = subscriber.next()? {
        match item {
            Item::Message(message) => prices.extend(read(message.bytes)),
            // At the start, and after each loss that cannot be repaired.
            Item::Event(SubscriberEvent::SnapshotWanted { message }) => {
                let snapshot = found.fetch_snapshot(current, message, &keys, TIMEOUT)?;
                prices = read(&snapshot.bytes).collect();
                subscriber.resume(snapshot.message);
            }
            // After a restart of the publisher, its snapshots are of its new incarnation.
            Item::Event(SubscriberEvent::Joined { incarnation, .. }) => current = incarnation,
            Item::Event(event) => eprintln!("{event:?}"),
        }
    }
    Ok(prices)
}

/// Parses lines with a fruit and its price.
fn read(bytes: &[u8]) -> impl Iterator<Item = (String, u32)> {
    let lines = str::from_utf8(bytes).unwrap_or_default().lines();
    lines.filter_map(|line| {
        let (fruit, price) = line.split_once(' ')?;
        Some((fruit.to_owned(), price.parse().ok()?))
    })
}

#[allow(dead_code, reason = "a test uses the rest")]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["publish", to, at] => {
            let Membership { address, interface, .. } = to.parse()?;
            publish(Destination { address, interface }, at.parse()?, 300)
        }
        ["subscribe"] => {
            println!("{:?}", subscribe()?);
            Ok(())
        }
        ["--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}
