//! `cargo run --example receive_tokio -- --help`

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use mcast::Membership;

/// Receives on tokio, beside other work.
#[derive(Parser)]
struct Arguments {
    /// [SOURCE@]GROUP[%INTERFACE]:PORT, such as 239.255.7.7:7000.
    group: Membership,
    /// For how many seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { group, seconds } = Arguments::parse();
    let receiver = mcast::tokio::Receiver::new(mcast::Receiver::join_one(group)?)?;
    let end = tokio::time::sleep(Duration::from_secs(seconds));
    tokio::pin!(end);
    let mut buffer = [0; 65_536];
    loop {
        tokio::select! {
            datagram = receiver.recv(&mut buffer) => {
                let datagram = datagram?;
                println!("{} bytes from {}", datagram.length, datagram.source.ip());
            }
            () = &mut end => return Ok(()),
        }
    }
}
