//! Sends a text to a group once per second: `cargo run --example send -- 239.1.2.3%eth0:7000
//! hello`.

use std::env;
use std::error::Error;

use mcast::{Destination, Rate, Sender};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let to: Destination = arguments.next().ok_or("missing argument: GROUP[%INTERFACE]:PORT")?.parse()?;
    let text = arguments.next().unwrap_or_else(|| "hello".into());
    let sender = Sender::builder().to(to).pace(Rate::Datagrams(1.0)).build()?;
    loop {
        sender.send(text.as_bytes())?;
    }
}
