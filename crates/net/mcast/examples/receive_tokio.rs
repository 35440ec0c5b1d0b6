//! Receives on tokio for ten seconds: `cargo run --features tokio --example receive_tokio -- 239.1.2.3%eth0:7000`.

use std::env;
use std::error::Error;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let text = env::args().nth(1).ok_or("missing argument: [SOURCE@]GROUP[%INTERFACE]:PORT")?;
    let receiver = mcast::tokio::Receiver::new(mcast::Receiver::join_one(text.parse()?)?)?;
    let receive = async {
        let mut buffer = [0; 65_536];
        loop {
            let datagram = receiver.recv(&mut buffer).await?;
            println!("{} bytes for {} from {}", datagram.length, datagram.destination, datagram.source.ip());
        }
    };
    match tokio::time::timeout(Duration::from_secs(10), receive).await {
        Ok(result) => result,
        Err(_) => Ok(()),
    }
}
