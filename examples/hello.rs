//! Sends a datagram to a group and receives it: `cargo run --example hello`.

use std::time::Duration;

use mcast::{Receiver, Sender};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let receiver = Receiver::join_one("239.255.7.7:7000".parse()?)?;
    Sender::to("239.255.7.7:7000".parse()?)?.send(b"hello")?;

    let mut reader = receiver.reader();
    while let Some(datagram) = reader.next_timeout(Duration::from_secs(1))? {
        println!("{} bytes for {} from {}", datagram.length, datagram.destination, datagram.source.ip());
    }
    Ok(())
}
