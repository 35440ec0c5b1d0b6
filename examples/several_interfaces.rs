//! `cargo run --example several_interfaces -- --help`

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use clap::Parser;
use mcast::{GroupAddr, InterfaceIndex, Receiver};

/// Receives a group on several interfaces, and counts what arrives on each.
#[derive(Parser)]
struct Arguments {
    /// GROUP:PORT, such as 239.255.7.7:7000.
    group: GroupAddr,
    /// The names of the interfaces.
    #[arg(required = true)]
    interfaces: Vec<String>,
    /// For how many seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { group, interfaces, seconds } = Arguments::parse();
    let mut builder = Receiver::builder();
    for interface in &interfaces {
        builder = builder.join(format!("{}%{interface}:{}", group.group, group.port).parse()?);
    }
    let receiver = builder.build()?;
    let mut reader = receiver.reader();
    let mut counts: BTreeMap<InterfaceIndex, u64> = BTreeMap::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Some(datagram) = reader.next_timeout(end.saturating_duration_since(Instant::now()))? {
        *counts.entry(datagram.interface).or_default() += 1;
    }
    for interface in mcast::interface::list()? {
        if interfaces.contains(&interface.name) {
            let count = counts.get(&interface.index).unwrap_or(&0);
            println!("{}: {count} datagrams", interface.name);
        }
    }
    Ok(())
}
