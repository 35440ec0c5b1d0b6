//! Ping-pong with mcast: one datagram to the group and back to the group, repeatedly or at a rate.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use mcast::{Receiver, Wire};
use serde_json::{Value, json};

use super::mcast_batches::{builder, sender};
use super::sampler;
use super::sys::monotonic_nanoseconds;
use super::work::Work;

/// After this time, a reply counts as lost.
const TIMEOUT: Duration = Duration::from_millis(100);

/// Sends datagrams, waits for the replies, and prints the round-trip times.
pub(super) fn ping(work: &Work, wire: Wire) -> Result<()> {
    let (sender, receiver) = (sender(work)?, receiver(work, wire)?);
    let (payload, mut buffer) = (vec![0; work.size], vec![0; 65_536]);
    let (mut times, mut one_way) = (Vec::with_capacity(1 << 20), Vec::with_capacity(1 << 20));
    let mut lost = 0_u64;
    sampler::ready();
    let mut pace = Pace::new(work.rate);
    let opens = monotonic_nanoseconds() + nanoseconds(work.warm_up);
    let closes = opens + nanoseconds(work.seconds);
    loop {
        let sent = pace.wait();
        if sent >= closes {
            break;
        }
        sender.send(&payload)?;
        match receiver.recv_timeout(&mut buffer, TIMEOUT)? {
            Some(reply) if sent >= opens => {
                times.push(monotonic_nanoseconds().saturating_sub(sent));
                let stamp = reply.payload().first_chunk().filter(|_| work.rate > 0);
                one_way.extend(stamp.map(|stamp| u64::from_ne_bytes(*stamp).saturating_sub(sent)));
            }
            Some(_) => {}
            None => lost += 1,
        }
    }
    println!("{}", summary(&mut times, &mut one_way, lost));
    Ok(())
}

/// Sends back every datagram received.
pub(super) fn pong(work: &Work, wire: Wire) -> Result<Infallible> {
    let (sender, receiver) = (sender(work)?, receiver(work, wire)?);
    let (mut buffer, mut reply) = (vec![0; 65_536], vec![0; work.size]);
    sampler::ready();
    loop {
        if let Some(datagram) = receiver.recv_timeout(&mut buffer, TIMEOUT)? {
            match reply.first_chunk_mut() {
                // At a rate, a reply begins with the time at which the datagram was received.
                Some(stamp) if work.rate > 0 => {
                    *stamp = monotonic_nanoseconds().to_ne_bytes();
                    sender.send(&reply)?;
                }
                _ => sender.send(datagram.payload())?,
            };
        }
    }
}

/// Creates a receiver, which spins if that is requested.
fn receiver(work: &Work, wire: Wire) -> Result<Receiver> {
    let builder = builder(work)?.wire(wire);
    Ok(if work.spin { builder.spin(TIMEOUT) } else { builder }.build()?)
}

/// When datagrams are due.
struct Pace {
    /// Nanoseconds between them; 0 for no rate.
    period: u64,
    due: Option<u64>,
}

impl Pace {
    fn new(rate: u32) -> Self {
        Self { period: 1_000_000_000_u64.checked_div(rate.into()).unwrap_or(0), due: None }
    }

    /// Waits until the next datagram is due, and returns when that was: a late one counts from then.
    fn wait(&mut self) -> u64 {
        let mut now = monotonic_nanoseconds();
        if self.period == 0 {
            return now;
        }
        let due = self.due.map_or(now, |due| due + self.period);
        while now < due {
            std::hint::spin_loop();
            now = monotonic_nanoseconds();
        }
        self.due = Some(due);
        due
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Returns the percentiles of times in nanoseconds; those one way are there only at a rate.
fn summary(times: &mut [u64], one_way: &mut [u64], lost: u64) -> Value {
    let mut summary = json!({
        "count": times.len(),
        "lost": lost,
        "p50": percentile(times, 0.5),
        "p90": percentile(times, 0.9),
        "p99": percentile(times, 0.99),
        "p999": percentile(times, 0.999),
        "p9999": percentile(times, 0.9999),
    });
    if !one_way.is_empty() {
        summary["one_way"] = json!({ "p50": percentile(one_way, 0.5), "p9999": percentile(one_way, 0.9999) });
    }
    summary
}

/// Returns a percentile in microseconds.
fn percentile(times: &mut [u64], part: f64) -> f64 {
    if times.is_empty() {
        return 0.0;
    }
    let place = ((times.len() - 1) as f64 * part) as usize;
    let (_, time, _) = times.select_nth_unstable(place);
    *time as f64 / 1e3
}
