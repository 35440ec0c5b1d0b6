//! `cargo run --example sealed_and_signed -- --help`

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use mcast::{Destination, Membership};
use mcast_stream::subscriber::Item;
use mcast_stream::{KeyFile, Publisher, Subscriber};

/// Messages that only holders of a key can read, and only one publisher can have written.
#[derive(Parser)]
enum Arguments {
    /// Makes the keys: `group.key` for everybody, `sign.key` for the publisher, `sign.pub` for subscribers.
    Keys {
        /// An empty directory.
        directory: PathBuf,
    },
    /// Publishes sealed and signed messages.
    Publish {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.11%eth0:7000.
        to: Destination,
        /// The directory of the keys.
        keys: PathBuf,
    },
    /// Receives them, and nothing that is forged.
    Subscribe {
        /// GROUP[%INTERFACE]:PORT, such as 239.255.7.11:7000.
        from: Membership,
        /// The directory of the keys.
        keys: PathBuf,
    },
}

fn make_keys(directory: &Path) -> Result<(), Box<dyn Error>> {
    KeyFile::new(directory.join("group.key")).create()?;
    let public = KeyFile::new(directory.join("sign.key")).create_signing()?;
    fs::write(directory.join("sign.pub"), format!("{public}\n"))?;
    Ok(())
}

fn publish(to: Destination, keys: &Path) -> Result<(), Box<dyn Error>> {
    let secrets = KeyFile::new(keys.join("group.key")).read()?;
    let signing_key = KeyFile::new(keys.join("sign.key")).read_signing()?;
    let publisher = Publisher::builder().to(to).keys(secrets).signing_key(signing_key).build()?;
    if !publisher.wait_for(1, Duration::from_secs(10)) {
        return Err("nobody subscribes who has the keys".into());
    }
    for text in ["buy 100", "sell 50"] {
        publisher.publish(text.as_bytes())?;
    }
    let closing = publisher.close(Duration::from_secs(10));
    if closing.is_complete() { Ok(()) } else { Err("not everybody has everything".into()) }
}

fn subscribe(from: Membership, keys: &Path) -> Result<(), Box<dyn Error>> {
    let secrets = KeyFile::new(keys.join("group.key")).read()?;
    let pinned = KeyFile::new(keys.join("sign.pub")).read_public()?;
    let mut subscriber = Subscriber::builder().join(from).keys(secrets).signed_by(pinned).build()?;
    while let Some(item) = subscriber.next()? {
        match item {
            Item::Message(message) => println!("{}", String::from_utf8_lossy(message.bytes)),
            Item::Event(event) => eprintln!("{event:?}"),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments::Keys { directory } => make_keys(&directory),
        Arguments::Publish { to, keys } => publish(to, &keys),
        Arguments::Subscribe { from, keys } => subscribe(from, &keys),
    }
}
