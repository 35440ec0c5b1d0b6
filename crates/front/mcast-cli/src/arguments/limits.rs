//! Limits on time and count, and the check of what was received.

use std::time::{Duration, Instant};

use mcast::Drops;
use mcast_measure::lost_percent;

use super::{parse_count, parse_duration, parse_percent};
use crate::output::{count, excess_loss, too_few};

/// Limits on time and count, and the conditions of success.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "When to stop")]
pub(crate) struct Limits {
    /// Stop after N datagrams
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub(crate) count: Option<u64>,

    /// Stop after TIME; exit status 1 if nothing arrived, or fewer than --count or --expect require
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Stop when nothing has arrived for TIME; exit status as with --timeout
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) idle: Option<Duration>,

    /// Exit status 1 if fewer than N datagrams arrived; with 0, none need to arrive
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<u64>,

    /// Exit status 1 if this host dropped more than PERCENT of the datagrams, such as 0.1%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) max_loss: Option<f64>,
}

/// Tracks the time and the count.
#[derive(Debug)]
pub(crate) struct Goal<'a> {
    limits: &'a Limits,
    deadline: Option<Instant>,
    silent_since: Instant,
}

impl<'a> Goal<'a> {
    pub(crate) fn new(limits: &'a Limits, start: Instant) -> Self {
        let deadline = limits.timeout.and_then(|timeout| start.checked_add(timeout));
        Self { limits, deadline, silent_since: start }
    }

    /// Records an arrival, from which `--idle` counts.
    pub(crate) fn record_arrival(&mut self) {
        if self.limits.idle.is_some() {
            self.silent_since = Instant::now();
        }
    }

    /// Returns whether this count reaches the limit.
    pub(crate) fn is_reached(&self, datagrams: u64) -> bool {
        self.limits.count.is_some_and(|count| datagrams >= count)
    }

    /// Returns whether `--timeout` has passed. The command then stops even if more datagrams are waiting.
    pub(crate) fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns how long to wait for the next datagram; `None` means without limit. Zero does not mean that nothing
    /// arrived: a caller that was busy for longer must still check for waiting datagrams.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let idle = self.limits.idle.and_then(|idle| self.silent_since.checked_add(idle));
        let end = [self.deadline, idle].into_iter().flatten().min()?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// Returns whether the silence has exceeded `--idle` by a margin.
    pub(crate) fn is_overdue(&self, by: Duration) -> bool {
        let idle = self.limits.idle.and_then(|idle| self.silent_since.checked_add(idle)?.checked_add(by));
        idle.is_some_and(|end| Instant::now() >= end)
    }

    /// Returns the deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns which conditions of success are not met; nothing if all are.
    pub(crate) fn misses(&self, datagrams: u64, dropped: Drops) -> Vec<String> {
        let mut misses = Vec::new();
        let required = self.required();
        if datagrams < required {
            misses.push(too_few(&count(datagrams), required));
        }
        // The share of all datagrams that reached the sockets of this command.
        let dropped = dropped.count().unwrap_or(0);
        let lost = lost_percent(dropped, dropped.saturating_add(datagrams));
        misses.extend(excess_loss(lost, self.limits.max_loss));
        misses
    }

    /// Returns the number of datagrams required for success. With a time limit, the default is one.
    fn required(&self) -> u64 {
        let has_end = self.limits.timeout.is_some() || self.limits.idle.is_some();
        self.limits.expect.or(self.limits.count).unwrap_or_else(|| u64::from(has_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Limits = Limits { count: None, timeout: None, idle: None, expect: None, max_loss: None };

    fn misses(limits: &Limits, datagrams: u64, dropped: u64) -> usize {
        Goal::new(limits, Instant::now()).misses(datagrams, Drops::Exactly(dropped)).len()
    }

    #[test]
    fn no_datagrams_are_a_success_only_without_limits() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(misses(&NONE, 0, 0), 0);
        assert_eq!(misses(&Limits { timeout: second, ..NONE }, 0, 0), 1);
        assert_eq!(misses(&Limits { idle: second, ..NONE }, 0, 0), 1);
        assert_eq!(misses(&Limits { timeout: second, ..NONE }, 1, 0), 0);
        assert_eq!(misses(&Limits { timeout: second, expect: Some(0), ..NONE }, 0, 0), 0);
        assert_eq!(misses(&Limits { count: Some(5), timeout: second, ..NONE }, 4, 0), 1);
        assert_eq!(misses(&Limits { count: Some(5), expect: Some(3), timeout: second, ..NONE }, 4, 0), 0);
    }

    #[test]
    fn loss_is_a_percentage_of_received_and_dropped_datagrams() {
        let one_percent = Limits { max_loss: Some(1.0), ..NONE };
        assert_eq!(misses(&one_percent, 99, 1), 0);
        assert_eq!(misses(&one_percent, 98, 2), 1);
        assert_eq!(misses(&one_percent, 0, 0), 0);
    }

    #[test]
    fn silence_and_deadline_both_end_a_wait() {
        let limits =
            Limits { timeout: Some(Duration::from_secs(60)), idle: Some(Duration::from_secs(1)), ..NONE };
        let goal = Goal::new(&limits, Instant::now());
        assert!(goal.time_left().unwrap() <= Duration::from_secs(1));
        let no_idle = Limits { idle: None, ..limits };
        assert!(Goal::new(&no_idle, Instant::now()).time_left().unwrap() > Duration::from_secs(50));
        assert_eq!(Goal::new(&NONE, Instant::now()).time_left(), None);
    }
}
