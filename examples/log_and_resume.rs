//! `cargo run --example log_and_resume -- --help`

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use mcast::{Destination, Membership};
use mcast_stream::history::{HistoryStart, Position};
use mcast_stream::log::LogOptions;
use mcast_stream::subscriber::Item;
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use mcast_stream::{Publish, Publisher, Subscriber, Until};

/// Keeps messages in a log, from which a subscriber continues where it was stopped.
#[derive(Parser)]
enum Arguments {
    /// Publishes messages through a log, and serves it until the standard input ends.
    Publish {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.9%eth0:7000.
        to: Destination,
        /// The directory of the log, which is created.
        log: PathBuf,
        /// The number of messages.
        #[arg(long, default_value_t = 1_000)]
        count: u32,
    },
    /// Receives messages from the log and then live, and notes after each how far it is.
    Subscribe {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.9:7000.
        from: Membership,
        /// The file with the position.
        position: PathBuf,
        /// End after this number of messages.
        #[arg(long, default_value_t = 500)]
        count: u32,
    },
}

fn publish(to: Destination, log: PathBuf, count: u32) -> Result<(), Box<dyn Error>> {
    let builder = Publisher::builder().to(to).stream(StreamId::named("events")).announce("events");
    let publisher = builder.log(&log, LogOptions::default()).build()?;
    let _history = publisher.serve_history((publisher.publisher().interface_address()?, 0).into())?;
    for number in 0..count {
        publisher.publish(format!("event {number}").as_bytes())?;
    }
    publisher.wait(Until::Stored, Duration::MAX)?;
    println!("{count} messages are in the log");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    publisher.close(Duration::from_secs(10))?;
    Ok(())
}

fn subscribe(from: Membership, file: PathBuf, count: u32) -> Result<(), Box<dyn Error>> {
    let start = match fs::read_to_string(&file) {
        Ok(text) => HistoryStart::At(read_position(&text).ok_or("the file holds no position")?),
        Err(_) => HistoryStart::Oldest,
    };
    let mut subscriber = Subscriber::builder().join(from).history_from(start).build()?;
    let mut received = 0;
    while received < count {
        match subscriber.next()? {
            Some(Item::Message(message)) => {
                println!("{}", String::from_utf8_lossy(message.bytes));
                let next = message.position().following();
                // Whole or not at all, also if the machine stops here.
                mcast_stream::replace_file(&file, &format!("{} {}\n", next.incarnation.0, next.number.0))?;
                received += 1;
            }
            Some(Item::Event(event)) => eprintln!("{event:?}"),
            None => break,
        }
    }
    Ok(())
}

fn read_position(text: &str) -> Option<Position> {
    let (incarnation, number) = text.trim().split_once(' ')?;
    Some(Position::new(Incarnation(incarnation.parse().ok()?), MessageNumber(number.parse().ok()?)))
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments::Publish { to, log, count } => publish(to, log, count),
        Arguments::Subscribe { from, position, count } => subscribe(from, position, count),
    }
}
