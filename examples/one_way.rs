//! `cargo run --example one_way -- --help`

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use mcast::{Destination, Membership};
use mcast_stream::publisher::Fec;
use mcast_stream::subscriber::{Item, Policy, SubscriberEvent};
use mcast_stream::wire::FlowControl;
use mcast_stream::{Publisher, Subscriber};

/// Messages over a link without a way back, such as a satellite or a diode: parity repairs what is lost.
#[derive(Parser)]
enum Arguments {
    /// Publishes at a fixed rate, with four datagrams of parity for each twenty.
    Publish {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.12%eth0:7000.
        to: Destination,
        /// The number of messages.
        #[arg(long, default_value_t = 2_000)]
        count: u32,
        /// Bytes per second.
        #[arg(long, default_value_t = 1_250_000)]
        rate: u64,
    },
    /// Receives them, and waits at most half a second for a repair.
    Subscribe {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.12:7000.
        from: Membership,
    },
}

/// What a program does with a message.
fn handle(_message: &[u8]) {}

fn publish(to: Destination, count: u32, rate: u64) -> Result<(), Box<dyn Error>> {
    let builder = Publisher::builder().to(to).flow(FlowControl::OneWay).rate(rate);
    let publisher = builder.fec(Fec::Fixed { data: 20, parity: 4 }).build()?;
    for number in 0..count {
        publisher.publish(format!("measurement {number:>1000}").as_bytes())?;
    }
    // Nobody reports anything: this waits until everything is sent.
    let closing = publisher.close(Duration::from_secs(60));
    println!("{} messages were not sent", closing.unsent_messages);
    Ok(())
}

fn subscribe(from: Membership) -> Result<(), Box<dyn Error>> {
    let policy = Policy::Deadline(Duration::from_millis(500));
    let mut subscriber = Subscriber::builder().join(from).policy(policy).build()?;
    while let Some(item) = subscriber.next()? {
        match item {
            Item::Message(message) => handle(message.bytes),
            Item::Event(SubscriberEvent::Lost { first, end, .. }) => {
                println!("lost: {first} to before {end}");
            }
            Item::Event(event) => eprintln!("{event:?}"),
        }
    }
    let statistics = subscriber.statistics();
    println!(
        "received {} messages; parity recovered {} datagrams",
        statistics.messages, statistics.recovered
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments::Publish { to, count, rate } => publish(to, count, rate),
        Arguments::Subscribe { from } => subscribe(from),
    }
}
