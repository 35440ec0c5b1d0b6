//! `cargo run --example messages -- --help`

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use mcast::{Destination, Membership};
use mcast_stream::subscriber::Item;
use mcast_stream::{Publisher, Subscriber};

/// Publishes messages that all arrive, and subscribes to them.
#[derive(Parser)]
enum Arguments {
    /// Publishes messages, and waits until each subscriber has them all.
    Publish {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.8%eth0:7000.
        to: Destination,
        /// The number of messages.
        #[arg(long, default_value_t = 200_000)]
        count: u32,
    },
    /// Receives them in order, each once.
    Subscribe {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.8:7000.
        from: Membership,
    },
}

/// What a program does with a message.
fn handle(_message: &[u8]) {}

fn publish(to: Destination, count: u32) -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::to(to)?;
    // Those who subscribe later start with the next message.
    if !publisher.wait_for(1, Duration::from_secs(10)) {
        return Err("nobody subscribes".into());
    }
    for number in 0..count {
        publisher.publish(format!("message number {number}").as_bytes())?;
    }
    let closing = publisher.close(Duration::from_secs(10));
    println!("{} subscribers have everything, {} have not", closing.complete, closing.behind.len());
    if closing.is_complete() { Ok(()) } else { Err("not everybody has everything".into()) }
}

fn subscribe(from: Membership) -> Result<(), Box<dyn Error>> {
    let mut subscriber = Subscriber::join_one(from)?;
    // Ends with the stream.
    while let Some(item) = subscriber.next()? {
        match item {
            Item::Message(message) => handle(message.bytes),
            Item::Event(event) => eprintln!("{event:?}"),
        }
    }
    let statistics = subscriber.statistics();
    println!("received {} messages, lost {}", statistics.messages, statistics.lost_messages);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments::Publish { to, count } => publish(to, count),
        Arguments::Subscribe { from } => subscribe(from),
    }
}
