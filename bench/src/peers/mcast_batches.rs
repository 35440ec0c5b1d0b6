//! mcast with batches, and with a reader, which receives in batches internally.

use std::convert::Infallible;

use anyhow::Result;
use mcast::{Batch, Outgoing, Receiver, ReceiverBuilder, Sender, Wire};

use super::sampler::{self, Tally};
use super::work::Work;

/// Kernel buffers per call, as in the C reference.
const BUFFERS: usize = 64;
/// Segmented buffers per call, as in the C reference.
const TRAINS: usize = 8;
/// Maximum number of segments in a buffer, and of bytes.
const MAX_SEGMENTS: usize = 128;
const MAX_BYTES: usize = 65_507;
/// Datagrams per call without segmentation.
const SINGLES: usize = 64;

/// Creates a receiver of all groups.
pub(super) fn receiver(work: &Work) -> Result<Receiver> {
    Ok(builder(work)?.build()?)
}

/// Returns the settings of a receiver.
pub(super) fn builder(work: &Work) -> Result<ReceiverBuilder> {
    let builder = Receiver::builder().join_all(work.memberships()?).gro(!work.no_trains);
    Ok(if work.buffer > 0 { builder.receive_buffer(work.buffer) } else { builder })
}

/// Creates a sender to the first group.
pub(super) fn sender(work: &Work) -> Result<Sender> {
    let builder = Sender::builder().to(work.destination()?);
    Ok(builder.loopback(false).segmentation(!work.no_trains).build()?)
}

/// Receives in batches.
pub(super) fn receive(work: &Work) -> Result<Infallible> {
    receive_by(work, &receiver(work)?)
}

/// Receives in batches, past the socket.
pub(super) fn receive_from_wire(work: &Work) -> Result<Infallible> {
    receive_by(work, &builder(work)?.wire(Wire::Require).build()?)
}

fn receive_by(work: &Work, receiver: &Receiver) -> Result<Infallible> {
    let mut batch = Batch::new(BUFFERS, 65_536);
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        receiver.recv_batch(&mut batch, None)?;
        for datagram in batch.iter() {
            tally.consume(datagram.payload());
        }
        tally.publish();
    }
}

/// Receives with a reader.
pub(super) fn read(work: &Work) -> Result<Infallible> {
    let receiver = receiver(work)?;
    let mut reader = receiver.reader();
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        if let Some(datagram) = reader.next()? {
            tally.consume(datagram.payload());
            tally.publish();
        }
    }
}

/// Sends in batches.
pub(super) fn send(work: &Work) -> Result<Infallible> {
    let sender = sender(work)?;
    let count = match work.no_trains {
        true => SINGLES,
        false => TRAINS * MAX_SEGMENTS.min(MAX_BYTES / work.size.max(1)).max(1),
    };
    let payloads = vec![0; count * work.size];
    let outgoing: Vec<_> = payloads.chunks(work.size.max(1)).map(Outgoing::new).collect();
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        tally.sent(sender.send_batch(&outgoing)?, work.size);
        tally.publish();
    }
}
