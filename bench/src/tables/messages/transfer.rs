//! One run of a publisher and its subscribers.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::contestants::{Messages, Messenger, Side};
use crate::run::{Cpu, Running, start, start_with_input};
use crate::segment::Segment;
use crate::tools::{AeronLeftovers, Tools};

/// Time limit in addition to the duration.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Minimum number of frames for checking the loss of the links.
const MIN_FRAMES: u64 = 2_000;

/// The report of a subscriber.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub(super) struct SubscriberReport {
    received: u64,
    in_order: bool,
    complete: bool,
    seconds: f64,
    pub(super) latency_us: Delays,
}

/// Time from publishing to delivery, in microseconds.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub(super) struct Delays {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// The report of a publisher.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
struct PublisherReport {
    sent: u64,
    /// From publishing to the last acknowledgement.
    latency_us: Option<Delays>,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transfer {
    pub(super) reports: Vec<SubscriberReport>,
    /// Time from publishing to the last acknowledgement, if messages were acknowledged.
    pub(super) acknowledged: Option<Delays>,
    /// Percentage of frames to the subscribers that the links dropped; `None` without configured loss.
    pub(super) lost: Option<f64>,
    /// Subscribers that did not receive every message in time.
    pub(super) without: usize,
}

impl Transfer {
    /// Returns the messages per second of the slowest subscriber.
    pub(super) fn goodput(&self) -> f64 {
        let rates = self.reports.iter().map(|report| report.received as f64 / report.seconds.max(1e-3));
        rates.fold(f64::INFINITY, f64::min)
    }

    /// Returns the highest value among the subscribers.
    pub(super) fn worst(&self, which: impl Fn(&Delays) -> f64) -> f64 {
        self.reports.iter().map(|report| which(&report.latency_us)).fold(0.0, f64::max)
    }
}

/// Publishes over links that drop `percent` of the frames; with `None`, over unmodified links.
///
/// # Errors
/// If a program cannot be started or exits early, if messages arrived out of order or twice or were never sent, or if
/// the links dropped a different share.
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
    // Dropped after the programs.
    let _leftovers = AeronLeftovers;
    let mut subscribers = Vec::new();
    for (number, host) in segment.receivers.iter().enumerate() {
        let side = Side::Subscribe(Segment::address(number).into());
        subscribers.push(start(host, Cpu::Receiver, &who.program(tools, side, messages))?);
    }
    subscribers.iter_mut().try_for_each(Running::wait_ready)?;
    let program = who.program(tools, Side::Publish, messages);
    let mut publisher = start_with_input(&segment.sender, Cpu::Sender, &program)?;
    let time_limit = Duration::from_secs_f64(messages.seconds + messages.timeout) + TIMEOUT;
    let reports =
        subscribers.iter_mut().map(|each| each.result(time_limit)).collect::<Result<Vec<SubscriberReport>>>();
    // If a subscriber failed, do not wait for the publisher.
    let published: PublisherReport =
        match publisher.result(if reports.is_ok() { TIMEOUT } else { Duration::ZERO }) {
            Ok(published) => published,
            Err(error) => {
                return Err(reports.err().map_or(error, |first| first.context("a subscriber failed")));
            }
        };
    publisher.stop()?;
    let lost = percent.map(|percent| check_loss(segment, percent)).transpose()?;
    judge(reports?, published, lost)
}

/// Returns the percentage of dropped frames, after checking that it is close to the configured one.
fn check_loss(segment: &Segment, percent: f64) -> Result<f64> {
    let drawn = segment.drop_counters()?;
    let off = (drawn.percent() - percent).abs();
    let fair = drawn.seen < MIN_FRAMES || off <= percent / 2.0;
    ensure!(fair, "the links dropped {:.2} %, not {percent} %", drawn.percent());
    Ok(drawn.percent())
}

fn judge(reports: Vec<SubscriberReport>, published: PublisherReport, lost: Option<f64>) -> Result<Transfer> {
    for (number, SubscriberReport { received, in_order, complete, .. }) in reports.iter().enumerate() {
        ensure!(*received > 0, "receiver {number} got nothing");
        ensure!(in_order, "receiver {number} got messages that were not the next ones");
        ensure!(
            !complete || *received == published.sent,
            "receiver {number} got {received} of {} messages, the last one among them",
            published.sent
        );
    }
    let without = reports.iter().filter(|report| !report.complete).count();
    Ok(Transfer { reports, acknowledged: published.latency_us, lost, without })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: SubscriberReport = SubscriberReport {
        received: 100,
        in_order: true,
        complete: true,
        seconds: 2.0,
        latency_us: Delays { p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 },
    };
    const PUBLISHED: PublisherReport = PublisherReport { sent: 100, latency_us: None };

    #[test]
    fn goodput_is_that_of_the_slowest_subscriber() {
        let slow = SubscriberReport { received: 40, complete: false, ..REPORT };

        let transfer = judge(vec![REPORT, slow], PUBLISHED, Some(1.0)).unwrap();

        assert_eq!((transfer.goodput(), transfer.without), (20.0, 1));
        assert_eq!(transfer.worst(|delays| delays.p99), 2.0);
    }

    #[test]
    fn a_run_with_wrong_messages_is_an_error() {
        for (wrong, why) in [
            (SubscriberReport { in_order: false, ..REPORT }, "not the next ones"),
            (SubscriberReport { received: 0, complete: false, ..REPORT }, "got nothing"),
            (SubscriberReport { received: 99, ..REPORT }, "got 99 of 100"),
        ] {
            let error = judge(vec![REPORT, wrong], PUBLISHED, None).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
