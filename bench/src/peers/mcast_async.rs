//! mcast on tokio, on one thread.

use std::convert::Infallible;

use anyhow::Result;

use super::blocking::block_on;
use super::mcast_batches::{receiver, sender};
use super::sampler::{self, Tally};
use super::work::Work;

pub(super) fn receive(work: &Work) -> Result<Infallible> {
    let receiver = receiver(work)?;
    block_on(async {
        let receiver = mcast::tokio::Receiver::new(receiver)?;
        let mut buffer = vec![0; 65_536];
        let mut tally = Tally::default();
        sampler::start(work);
        loop {
            tally.consume(receiver.recv(&mut buffer).await?.payload());
            tally.publish();
        }
    })
}

pub(super) fn send(work: &Work) -> Result<Infallible> {
    let sender = sender(work)?;
    block_on(async {
        let sender = mcast::tokio::Sender::new(sender);
        let payload = vec![0; work.size];
        let mut tally = Tally::default();
        sampler::start(work);
        loop {
            sender.send(&payload).await?;
            tally.sent(1, work.size);
            tally.publish();
        }
    })
}
