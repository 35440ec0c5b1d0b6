//! `cargo run --example receive -- --help`

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use mcast::{Membership, Receiver};

/// Receives from a group and prints each datagram: where it came from, and what was lost before it.
#[derive(Parser)]
struct Arguments {
    /// [SOURCE@]GROUP[%INTERFACE]:PORT, such as 239.255.7.7:7000.
    group: Membership,
    /// End after this number of datagrams.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
    /// End if nothing arrives for this number of seconds.
    #[arg(long, default_value_t = 10)]
    wait: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let receiver = Receiver::join_one(arguments.group)?;
    for status in receiver.memberships() {
        eprintln!("{status}");
    }
    let (mut reader, wait) = (receiver.reader(), Duration::from_secs(arguments.wait));
    for _ in 0..arguments.count {
        let Some(datagram) = reader.next_timeout(wait)? else { break };
        let text = String::from_utf8_lossy(datagram.payload());
        println!("{text:?} for {} from {}", datagram.destination, datagram.source.ip());
    }
    eprintln!("lost {} datagrams", receiver.statistics().dropped);
    Ok(())
}
