//! Receives from a group and prints each datagram: `cargo run --example receive -- 239.1.2.3%eth0:7000`.

use std::env;
use std::error::Error;

use mcast::{Membership, Receiver};

fn main() -> Result<(), Box<dyn Error>> {
    let text = env::args().nth(1).ok_or("missing argument: [SOURCE@]GROUP[%INTERFACE]:PORT")?;
    let receiver = Receiver::join_one(text.parse::<Membership>()?)?;
    for status in receiver.memberships() {
        eprintln!("{status}");
    }
    let mut reader = receiver.reader();
    while let Some(datagram) = reader.next()? {
        println!("{} bytes for {} from {}", datagram.length, datagram.destination, datagram.source.ip());
    }
    Ok(())
}
