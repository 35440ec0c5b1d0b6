//! mcrx-core: a multicast receiver library without blocking calls, so this waits itself.

use std::convert::Infallible;

use anyhow::Result;
use mcrx_core::{Context, SubscriptionConfig};

use super::blocking::wait_readable;
use super::sampler::{self, Tally};
use super::work::Work;

/// Datagrams received before the next wait.
const AT_ONCE: usize = 64;

pub(super) fn receive(work: &Work) -> Result<Infallible> {
    let mut context = Context::new();
    let config = SubscriptionConfig {
        interface: Some(work.address),
        ..SubscriptionConfig::asm_ip(work.group, work.port)
    };
    let id = context.add_subscription(config)?;
    context.join_subscription(id)?;
    if let Some(subscription) = context.get_subscription(id)
        && work.buffer > 0
    {
        subscription.socket().set_recv_buffer_size(work.buffer)?;
    }
    let mut packets = Vec::with_capacity(AT_ONCE);
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        packets.clear();
        if context.try_recv_batch_into(&mut packets, AT_ONCE)? == 0
            && let Some(subscription) = context.get_subscription(id)
        {
            wait_readable(subscription.socket())?;
        }
        packets.iter().for_each(|packet| tally.consume(&packet.payload));
        tally.publish();
    }
}
