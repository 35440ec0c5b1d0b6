//! Ping-pong with mcast: one datagram to the group and back to the group, repeatedly.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Result;
use mcast::Receiver;
use serde_json::json;

use super::mcast_batches::{builder, sender};
use super::sampler;
use super::work::Work;

/// After this time, a reply counts as lost.
const TIMEOUT: Duration = Duration::from_millis(100);

/// Sends datagrams, waits for the replies, and prints the round-trip times.
pub(super) fn ping(work: &Work) -> Result<()> {
    let (sender, receiver) = (sender(work)?, spinning(work)?);
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
        match receiver.recv_timeout(&mut buffer, TIMEOUT)? {
            Some(_) if sent >= opens => times.push(sent.elapsed()),
            Some(_) => {}
            None => lost += 1,
        }
    }
    println!("{}", summary(&mut times, lost));
    Ok(())
}

/// Sends back every datagram received.
pub(super) fn pong(work: &Work) -> Result<Infallible> {
    let (sender, receiver) = (sender(work)?, spinning(work)?);
    let mut buffer = vec![0; 65_536];
    sampler::ready();
    loop {
        if let Some(datagram) = receiver.recv_timeout(&mut buffer, TIMEOUT)? {
            sender.send(datagram.payload())?;
        }
    }
}

/// Creates a receiver, which spins if that is requested.
fn spinning(work: &Work) -> Result<Receiver> {
    let builder = builder(work)?;
    Ok(if work.spin { builder.spin(TIMEOUT) } else { builder }.build()?)
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
