//! `cargo run --example bridge_to_redis -- --help`

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use mcast::Membership;
use mcast_bridge::{BridgeConfig, BridgeNotice, EngineAccess, StreamBridge, engine_at};
use mcast_stream::Subscriber;
use mcast_stream::subscriber::{Start, SubscriberEvent};
use mcast_stream::wire::StreamId;

/// Copies the messages of a stream into Redis, each once and in order, until the stream ends.
#[derive(Parser)]
struct Arguments {
    /// GROUP[%INTERFACE]:PORT of the stream, such as 239.255.7.8:7000.
    from: Membership,
    /// redis://HOST[:PORT]?key=KEY.
    target: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { from, target } = Arguments::parse();
    let subscriber = Subscriber::builder().join(from).start(Start::Oldest).build()?;
    let engine = engine_at(&target, EngineAccess::default(), None)?;
    let id = std::process::id().into();
    let mut bridge = StreamBridge::start(subscriber, engine, BridgeConfig::new(StreamId(0), id))?;
    loop {
        match bridge.next(Duration::from_secs(1))? {
            Some(BridgeNotice::Stream(SubscriberEvent::Ended { messages })) => {
                let is_stored = bridge.flush(Duration::from_secs(10))?;
                println!("{messages} messages, {}", if is_stored { "all stored" } else { "not all stored" });
                return if is_stored { Ok(()) } else { Err("Redis does not take the rest".into()) };
            }
            Some(notice) => eprintln!("{notice:?}"),
            None => {}
        }
    }
}
