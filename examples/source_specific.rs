//! `cargo run --example source_specific -- --help`

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;
use mcast::{GroupAddr, Receiver};

/// Receives a group from one source only. Others that send to the same group are not heard.
///
/// Routers and switches with IGMPv3 or MLDv2 carry only what this source sends: nobody else can fill the link.
#[derive(Parser)]
struct Arguments {
    /// The address of the source.
    source: IpAddr,
    /// GROUP:PORT, such as 232.1.2.3:7000; 232.0.0.0/8 and ff3x::/32 are for this.
    group: GroupAddr,
    /// The number of datagrams.
    #[arg(long, default_value_t = 3)]
    count: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { source, group, count } = Arguments::parse();
    // The same as "10.0.0.1@232.1.2.3:7000".parse().
    let receiver = Receiver::join_one(format!("{source}@{group}").parse()?)?;
    let mut reader = receiver.reader();
    for _ in 0..count {
        let Some(datagram) = reader.next_timeout(Duration::from_secs(10))? else {
            return Err(format!("nothing arrives from {source} for {group}").into());
        };
        println!("{} bytes from {}", datagram.length, datagram.source.ip());
    }
    Ok(())
}
