//! One run: a publisher, its subscribers, and what each of them got.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::contestants::{Messages, Messenger, Side};
use crate::run::{Cpu, Running, start, start_attended};
use crate::segment::Segment;
use crate::tools::{AeronLeftovers, Tools};

/// How long a program may take beyond its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of fewer frames than these, too few are drawn to say whether the links lose what they should.
const ENOUGH: u64 = 2_000;

/// What a subscriber says.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub(super) struct Heard {
    received: u64,
    in_order: bool,
    complete: bool,
    seconds: f64,
    pub(super) latency_us: Delays,
}

/// From publishing to the subscriber, in microseconds.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub(super) struct Delays {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// What a publisher says.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
struct Published {
    sent: u64,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transfer {
    pub(super) heard: Vec<Heard>,
    /// Percent that the links lost on purpose, on the way to the receivers; `None` where they were left alone.
    pub(super) lost: Option<f64>,
    /// Receivers that did not get every message in time.
    pub(super) without: usize,
}

impl Transfer {
    /// Messages a second that every receiver got: those of the slowest.
    pub(super) fn goodput(&self) -> f64 {
        let rates = self.heard.iter().map(|heard| heard.received as f64 / heard.seconds.max(1e-3));
        rates.fold(f64::INFINITY, f64::min)
    }

    /// The worst of the receivers in this.
    pub(super) fn worst(&self, which: impl Fn(&Delays) -> f64) -> f64 {
        self.heard.iter().map(|heard| which(&heard.latency_us)).fold(0.0, f64::max)
    }
}

/// Publishes over links that lose so many percent; without a number, over links that nothing is done to.
///
/// # Errors
/// When a program cannot be started, or ends early; when messages came out of order, twice or made up, or
/// links lost something else than they were told to.
pub(super) fn run(
    segment: &Segment,
    tools: &Tools,
    who: &Messenger,
    messages: &Messages,
    percent: Option<f64>,
) -> Result<Transfer> {
    if let Some(percent) = percent {
        segment.lose(percent)?;
    }
    // Dropped behind the programs.
    let _leftovers = AeronLeftovers;
    let mut hearing = Vec::new();
    for (number, host) in segment.receivers.iter().enumerate() {
        let side = Side::Subscribe(Segment::address(number).into());
        hearing.push(start(host, Cpu::Receiver, &who.program(tools, side, messages))?);
    }
    hearing.iter_mut().try_for_each(Running::wait_ready)?;
    let program = who.program(tools, Side::Publish, messages);
    let mut talking = start_attended(&segment.sender, Cpu::Sender, &program)?;
    let patience = Duration::from_secs_f64(messages.seconds + messages.timeout) + PATIENCE;
    let heard = hearing.iter_mut().map(|each| each.result(patience)).collect::<Result<Vec<Heard>>>();
    // Where a subscriber failed, the publisher is not waited for.
    let published: Published = match talking.result(if heard.is_ok() { PATIENCE } else { Duration::ZERO }) {
        Ok(published) => published,
        Err(error) => return Err(heard.err().map_or(error, |first| first.context("a subscriber failed"))),
    };
    talking.leave()?;
    let lost = percent.map(|percent| check_loss(segment, percent)).transpose()?;
    judge(heard?, published, lost)
}

/// How many percent were lost; that these are about as many as should be.
fn check_loss(segment: &Segment, percent: f64) -> Result<f64> {
    let drawn = segment.drawn()?;
    let off = (drawn.percent() - percent).abs();
    let fair = drawn.seen < ENOUGH || off <= percent / 2.0;
    ensure!(fair, "the links lost {:.2} %, not {percent} %", drawn.percent());
    Ok(drawn.percent())
}

fn judge(heard: Vec<Heard>, published: Published, lost: Option<f64>) -> Result<Transfer> {
    for (number, Heard { received, in_order, complete, .. }) in heard.iter().enumerate() {
        ensure!(*received > 0, "receiver {number} got nothing");
        ensure!(in_order, "receiver {number} got messages that were not the next ones");
        ensure!(
            !complete || *received == published.sent,
            "receiver {number} got {received} of {} messages, the last one among them",
            published.sent
        );
    }
    let without = heard.iter().filter(|heard| !heard.complete).count();
    Ok(Transfer { heard, lost, without })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARD: Heard = Heard {
        received: 100,
        in_order: true,
        complete: true,
        seconds: 2.0,
        latency_us: Delays { p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 },
    };
    const PUBLISHED: Published = Published { sent: 100 };

    #[test]
    fn the_slowest_receiver_tells_what_all_got() {
        let slow = Heard { received: 40, complete: false, ..HEARD };

        let transfer = judge(vec![HEARD, slow], PUBLISHED, Some(1.0)).unwrap();

        assert_eq!((transfer.goodput(), transfer.without), (20.0, 1));
        assert_eq!(transfer.worst(|delays| delays.p99), 2.0);
    }

    #[test]
    fn what_is_not_exactly_what_was_published_is_no_result() {
        for (wrong, why) in [
            (Heard { in_order: false, ..HEARD }, "not the next ones"),
            (Heard { received: 0, complete: false, ..HEARD }, "got nothing"),
            (Heard { received: 99, ..HEARD }, "got 99 of 100"),
        ] {
            let refused = judge(vec![HEARD, wrong], PUBLISHED, None).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
