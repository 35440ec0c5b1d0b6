//! Publishes a message and receives it, in one program: `cargo run --example prices`.

use std::error::Error;
use std::thread;
use std::time::Duration;

use mcast_stream::subscriber::Item;
use mcast_stream::{Publisher, Subscriber};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn subscribe() -> Result<()> {
    let mut subscriber = Subscriber::join_one("239.255.1.3:7000".parse()?)?;
    while let Some(item) = subscriber.next()? {
        match item {
            Item::Message(message) => println!("{}", String::from_utf8_lossy(message.bytes)),
            Item::Event(event) => eprintln!("{event:?}"),
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let subscribing = thread::spawn(subscribe);
    let publisher = Publisher::to("239.255.1.3:7000".parse()?)?;
    if publisher.wait_for(1, Duration::from_secs(5)) {
        publisher.publish(b"pears 101")?;
    }
    let closing = publisher.close(Duration::from_secs(5));
    println!("{} subscriber has everything", closing.complete);
    subscribing.join().map_err(|_| "the subscriber panicked")?
}
