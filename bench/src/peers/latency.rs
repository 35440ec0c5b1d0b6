//! Ping-pong by mcast: one datagram to the group and back to the group, as often as it goes.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Result;
use mcast::{Receiver, Sender};
use serde_json::json;

use super::mcast_batches::{receiver, sender};
use super::sampler;
use super::work::Work;

/// After so long, an answer is lost.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends, waits for what comes back, and tells the times.
pub(super) fn ping(work: &Work) -> Result<()> {
    let (sender, receiver) = (sender(work)?, receiver(work)?);
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
        match receive_one(&receiver, &mut buffer, work.spin)? {
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
    let (sender, receiver): (Sender, Receiver) = (sender(work)?, receiver(work)?);
    let mut buffer = vec![0; 65_536];
    sampler::ready();
    loop {
        if let Some(length) = receive_one(&receiver, &mut buffer, work.spin)? {
            sender.send(&buffer[..length])?;
        }
    }
}

/// The length of the next datagram; `None` when patience ends.
fn receive_one(receiver: &Receiver, buffer: &mut [u8], spin: bool) -> Result<Option<usize>> {
    if !spin {
        return Ok(receiver.recv_timeout(buffer, PATIENCE)?.map(|datagram| datagram.length));
    }
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(datagram) = receiver.try_recv(buffer)? {
            return Ok(Some(datagram.length));
        }
        if Instant::now() > until {
            return Ok(None);
        }
    }
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
