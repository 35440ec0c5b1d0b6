//! `cargo run --example send -- --help`

use std::error::Error;

use clap::Parser;
use mcast::{Destination, Rate, Sender};

/// Sends a text to a group, a few times per second.
#[derive(Parser)]
struct Arguments {
    /// GROUP[%INTERFACE]:PORT, such as 239.255.7.7%eth0:7000.
    to: Destination,
    /// What to send.
    #[arg(default_value = "hello")]
    text: String,
    /// The number of datagrams.
    #[arg(long, default_value_t = 5)]
    count: u32,
    /// Datagrams per second.
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    /// Networks that they may cross, the first one included: the TTL or hop limit.
    #[arg(long, default_value_t = 1)]
    hop_limit: u8,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let builder = Sender::builder().to(arguments.to).hop_limit(arguments.hop_limit);
    let sender = builder.pace(Rate::Datagrams(arguments.rate)).build()?;
    for _ in 0..arguments.count {
        // Waits as long as the rate demands.
        sender.send(arguments.text.as_bytes())?;
    }
    println!("sent {} datagrams", sender.statistics().datagrams);
    Ok(())
}
