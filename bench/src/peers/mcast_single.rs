//! mcast, one datagram per call.

use std::convert::Infallible;

use anyhow::Result;

use super::mcast_batches::{builder, sender};
use super::sampler::{self, Tally};
use super::work::Work;

/// Whether to report hop limit, traffic class, time and loss with each datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Details {
    On,
    Off,
}

pub(super) fn receive(work: &Work, details: Details) -> Result<Infallible> {
    let receiver = builder(work)?.details(details == Details::On).build()?;
    let mut buffer = vec![0; 65_536];
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        tally.consume(receiver.recv(&mut buffer)?.payload());
        tally.publish();
    }
}

pub(super) fn send(work: &Work) -> Result<Infallible> {
    let sender = sender(work)?;
    let payload = vec![0; work.size];
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        sender.send(&payload)?;
        tally.sent(1, work.size);
        tally.publish();
    }
}
