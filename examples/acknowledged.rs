//! `cargo run --example acknowledged -- --help`

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use mcast::{Destination, Membership};
use mcast_stream::publisher::{AckLevel, Acknowledgers, Quorum};
use mcast_stream::subscriber::Item;
use mcast_stream::{Publisher, Subscriber, Until};

/// Publishes orders of which each waits until two subscribers have processed it.
#[derive(Parser)]
enum Arguments {
    /// Publishes orders, one after the other.
    Publish {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.10%eth0:7000.
        to: Destination,
        /// The number of orders.
        #[arg(long, default_value_t = 10)]
        count: u32,
    },
    /// Processes orders, and acknowledges each.
    Subscribe {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.10:7000.
        from: Membership,
        /// A name of its own, by which it is counted once, also after a restart.
        name: String,
    },
}

fn publish(to: Destination, count: u32) -> Result<(), Box<dyn Error>> {
    let quorum = Quorum { level: AckLevel::Processed, ..Quorum::new(Acknowledgers::Count(2)) };
    let publisher = Publisher::builder().to(to).acknowledge(quorum).build()?;
    if !publisher.wait_for(2, Duration::from_secs(10)) {
        return Err("fewer than two subscribers".into());
    }
    for number in 0..count {
        let order = publisher.publish(format!("order {number}").as_bytes())?;
        if !publisher.wait(Until::MessageAcknowledged(order), Duration::from_secs(5))? {
            return Err(format!("order {number}: not processed by two in time").into());
        }
        println!("order {number}: processed by two");
    }
    let closing = publisher.close(Duration::from_secs(5));
    if closing.is_complete() { Ok(()) } else { Err("not everybody has everything".into()) }
}

fn subscribe(from: Membership, name: &str) -> Result<(), Box<dyn Error>> {
    let mut subscriber = Subscriber::builder().join(from).name(name.parse()?).build()?;
    while let Some(item) = subscriber.next()? {
        match item {
            Item::Message(message) => {
                println!("{}", String::from_utf8_lossy(message.bytes));
                let position = message.position();
                subscriber.ack(position);
            }
            Item::Event(event) => eprintln!("{event:?}"),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments::Publish { to, count } => publish(to, count),
        Arguments::Subscribe { from, name } => subscribe(from, &name),
    }
}
