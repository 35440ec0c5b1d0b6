//! Ping-pong by mcast: one datagram to the group and back to the group, as often as it goes.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Result;
use mcast::Receiver;
use serde_json::json;

use super::mcast_batches::{builder, sender};
use super::sampler;
use super::work::Work;

/// After so long, an answer is lost.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends, waits for what comes back, and tells the times.
pub(super) fn ping(work: &Work) -> Result<()> {
    let (sender, receiver) = (sender(work)?, awake(work)?);
    let (payload, mut buffer) = (vec![0; work.size], vec![0; 65_536]);
    let mut times = Vec::with_capacity(1 << 20);
    let mut lost = 0_u64;
    sampler::ready();
    let opens = Instant::now() + Duration::from_secs_f64(work.warm_up);
    let closes = opens + Duration::from_secs_f64(work.seconds);
    loop {
        let sent = Instant::now();
        if sent >= closes {
            break;
        }
        sender.send(&payload)?;
        match receiver.recv_timeout(&mut buffer, PATIENCE)? {
            Some(_) if sent >= opens => times.push(sent.elapsed()),
            Some(_) => {}
            None => lost += 1,
        }
    }
    println!("{}", summary(&mut times, lost));
    Ok(())
}

/// Sends back what comes, for ever.
pub(super) fn pong(work: &Work) -> Result<Infallible> {
    let (sender, receiver) = (sender(work)?, awake(work)?);
    let mut buffer = vec![0; 65_536];
    sampler::ready();
    loop {
        if let Some(datagram) = receiver.recv_timeout(&mut buffer, PATIENCE)? {
            sender.send(datagram.payload())?;
        }
    }
}

/// A receiver that stays awake while it waits, if it is to spin.
fn awake(work: &Work) -> Result<Receiver> {
    let builder = builder(work)?;
    Ok(if work.spin { builder.spin(PATIENCE) } else { builder }.build()?)
}

fn summary(times: &mut [Duration], lost: u64) -> serde_json::Value {
    times.sort_unstable();
    let at = |part: f64| match times.len() {
        0 => 0.0,
        count => times[((count - 1) as f64 * part) as usize].as_secs_f64() * 1e6,
    };
    json!({
        "count": times.len(),
        "lost": lost,
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p999": at(0.999),
    })
}
