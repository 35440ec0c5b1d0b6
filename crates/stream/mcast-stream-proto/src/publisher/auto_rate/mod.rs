//! What the links of the subscribers carry. With a fixed rate or none, the publisher slows down for a link that loses much of
//! what is sent, if that helps ([`congestion`]). With an automatic rate, it follows the slowest path all the time ([`paths`]).
//!
//! Input: each status, and a check from time to time. Output: the rate of the pacer, and that of repairs; a limit on data in
//! flight while nothing is known of the links; and the subscribers for which the publisher does not slow down. Nothing is sent
//! from here, and a publisher without this module sends at the rate that it was given, and repairs at its floor.

mod congestion;
mod credit;
mod flight;
mod flow;
mod link;
mod losses;
mod model;
mod paths;
mod repairs;
mod sent_log;

use super::feedback::{Reception, StatusReport};
use super::members::{Members, Role};
use super::pacing::{BURST, Pacer};
use super::{Congestion, PublisherConfig, Publishing};
use crate::ClockTime;
use crate::wire::SubscriberId;
use core::time::Duration;
use flight::Flight;
use mcast_pace::TokenBucket;
use paths::AutoControl;

pub(super) use credit::{RepairCredit, SentRepairs};
pub(super) use link::Link;

/// The burst of a slowed publisher is this fraction of its rate per second.
const BURST_TIME: u64 = 100;
/// The same for an automatic rate.
const AUTO_BURST_TIME: u64 = 500;

/// What all links carry together, in bytes per second.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    /// The capacity of the slowest link, and that of the fastest if all are limited.
    rate: Option<u64>,
    rate_of_all: Option<u64>,
    /// The same for repairs.
    repair_rate: Option<u64>,
    repair_rate_of_all: Option<u64>,
}

/// The rates that the links of the subscribers carry.
#[derive(Debug)]
pub(super) struct LinkRates {
    /// Whether the rate adapts to losses.
    adapts: bool,
    /// The automatic rate, if it is configured.
    auto: Option<AutoControl>,
    flight: Option<Flight>,
    limits: Limits,
    /// The rate in the last [`PublisherEvent::Slowed`](super::PublisherEvent::Slowed), until the publisher has recovered.
    slowed_to: Option<u64>,
}

impl LinkRates {
    pub(super) fn new(config: &PublisherConfig, now: ClockTime) -> Self {
        let auto = AutoControl::of(config, now);
        Self {
            adapts: config.congestion == Congestion::Adapt && auto.is_none(),
            auto,
            flight: None,
            limits: Limits::default(),
            slowed_to: None,
        }
    }

    /// Takes a status.
    pub(super) fn observe(&mut self, now: ClockTime, report: StatusReport<'_>, at: &mut Publishing<'_>) {
        let StatusReport { id, status, reception, is_first } = report;
        if at.members.get(id).is_some_and(|member| member.role == Role::Awaited) {
            if is_first && self.adapts && at.context.config.has_flow_control() {
                self.begin_flights(now, at.ring, at.members);
            }
            self.extend_flight(now, at.ring, at.members);
            if self.adapts {
                self.observe_loss(now, id, reception, at);
            }
        }
        self.observe_path(now, id, status, reception != Reception::Interrupted, at);
        self.observe_repairs(now, id, status, reception, at);
    }

    /// Adapts the rates, also where no status arrives.
    pub(super) fn check(&mut self, now: ClockTime, at: &mut Publishing<'_>) {
        self.extend_flight(now, at.ring, at.members);
        self.relax(now, at);
        self.keep_pace(now, at);
    }

    /// Returns the subscriber whose path limits an automatic rate, and the queueing delay on it.
    pub(super) fn limiting(&self) -> (Option<SubscriberId>, Duration) {
        self.auto.map_or((None, Duration::ZERO), |auto| auto.limiting())
    }

    /// Returns the limits, which are computed again only after a change.
    fn limits(&mut self, members: &mut Members) -> Limits {
        if core::mem::take(&mut members.rates_are_stale) {
            let awaited =
                || members.iter().map(|(_, member)| member).filter(|member| member.role == Role::Awaited);
            let (rate, rate_of_all) = limits(awaited().map(|member| member.link.control.rate()));
            let (repair_rate, repair_rate_of_all) =
                limits(awaited().map(|member| member.repairs.credit.control.rate()));
            self.limits = Limits { rate, rate_of_all, repair_rate, repair_rate_of_all };
        }
        self.limits
    }
}

/// Returns the least of the rates, and the greatest if all of them are limited.
fn limits(rates: impl Iterator<Item = Option<u64>>) -> (Option<u64>, Option<u64>) {
    let all = rates.map(|rate| rate.unwrap_or(u64::MAX));
    let (least, greatest) =
        all.fold((u64::MAX, 0), |(least, greatest), rate| (least.min(rate), greatest.max(rate)));
    // 0 stands for no subscribers, and the greatest number for one without a limit.
    let known = |rate| Some(rate).filter(|rate| (1..u64::MAX).contains(rate));
    (known(least), known(greatest))
}

impl Publishing<'_> {
    /// Returns the average length of a datagram of data or parity.
    fn average_length(&self) -> u64 {
        self.bytes_ahead() / (self.context.statistics.datagrams + self.context.statistics.parity).max(1)
    }

    /// Returns the bytes of new data, and of the parity that was sent for it without a request.
    fn bytes_ahead(&self) -> u64 {
        self.context.statistics.datagram_bytes + self.context.statistics.parity_bytes
    }
}

impl Pacer {
    /// Sets the automatic rate, whose bursts are short.
    fn set_rate(&mut self, now: ClockTime, rate: u64) {
        if self.rate != Some(rate) {
            self.set(now, Some(rate), self.burst(rate / AUTO_BURST_TIME));
        }
    }

    /// Limits the rate to what the links of the subscribers were found to carry, or no longer. Returns whether it was
    /// limited before and is not now.
    fn limit(&mut self, now: ClockTime, found: Option<u64>) -> bool {
        let rate = [found, self.configured].into_iter().flatten().min();
        if rate == self.rate {
            return false;
        }
        let is_limited = rate != self.configured;
        let short = rate.filter(|_| is_limited).map(|rate| self.burst(rate / BURST_TIME));
        self.set(now, rate, short.unwrap_or_else(|| BURST.max(self.longest)));
        !is_limited
    }

    /// Returns a burst of this many bytes, or one for two of the longest datagrams.
    fn burst(&self, bytes: u64) -> u64 {
        bytes.clamp(2 * self.longest, BURST.max(2 * self.longest))
    }

    fn set(&mut self, now: ClockTime, rate: Option<u64>, burst: u64) {
        self.rate = rate;
        self.bucket = rate.map(|rate| {
            let mut bucket = self.bucket.unwrap_or_else(|| TokenBucket::new(rate, burst, now.0));
            bucket.refill(now.0);
            bucket.set_rate(rate);
            bucket.set_capacity(burst);
            bucket
        });
    }
}
