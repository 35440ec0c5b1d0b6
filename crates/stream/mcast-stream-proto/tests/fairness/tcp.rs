//! Models of TCP senders with unlimited data: CUBIC (RFC 9438) and BBR, version 1. Lost segments are not sent again, since
//! only the share of the link matters here.

use std::collections::VecDeque;

use crate::{MILLISECOND, SECOND};

/// A segment on the wire, with all headers.
pub(crate) const SEGMENT: u64 = 1_514;
/// The initial window (RFC 6928).
const INITIAL_WINDOW: f64 = 10.0;
/// Constants of CUBIC.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Constants of BBR.
const STARTUP_GAIN: f64 = 2.89;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const PROBE_ROUND_TRIP: u64 = 200 * MILLISECOND;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Algorithm {
    Cubic,
    Bbr,
}

/// A segment in flight.
#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    sent_at: u64,
    /// What was delivered when it was sent, and when that was.
    delivered: (u64, u64),
}

pub(crate) struct Tcp {
    in_flight: VecDeque<Segment>,
    next: u64,
    delivered: u64,
    delivered_at: u64,
    /// Losses of segments before this one belong to the last loss event.
    recovery_end: u64,
    round_trip: f64,
    last_ack: u64,
    pub(crate) sends_at: u64,
    control: Control,
}

enum Control {
    Cubic(Cubic),
    Bbr(Bbr),
}

struct Cubic {
    window: f64,
    threshold: f64,
    greatest: f64,
    epoch: Option<u64>,
    friendly: f64,
}

struct Bbr {
    samples: VecDeque<(u64, f64)>,
    round: u64,
    round_end: u64,
    bandwidth: f64,
    least: f64,
    least_at: u64,
    probes_until: Option<u64>,
    full: (f64, u32),
    phase: Phase,
    cycle: usize,
    cycle_at: u64,
}

#[derive(PartialEq)]
enum Phase {
    Startup,
    Drain,
    Steady,
}

impl Tcp {
    pub(crate) fn new(algorithm: Algorithm, now: u64, seed: u64) -> Self {
        let control = match algorithm {
            Algorithm::Cubic => Control::Cubic(Cubic {
                window: INITIAL_WINDOW,
                threshold: f64::MAX,
                greatest: 0.0,
                epoch: None,
                friendly: 0.0,
            }),
            Algorithm::Bbr => Control::Bbr(Bbr {
                samples: VecDeque::new(),
                round: 0,
                round_end: 0,
                bandwidth: 0.0,
                least: f64::MAX,
                least_at: now,
                probes_until: None,
                full: (0.0, 0),
                phase: Phase::Startup,
                cycle: 2 + (seed % 6) as usize,
                cycle_at: now,
            }),
        };
        Self {
            in_flight: VecDeque::new(),
            next: 0,
            delivered: 0,
            delivered_at: now,
            recovery_end: 0,
            round_trip: 0.0,
            last_ack: now,
            sends_at: now,
            control,
        }
    }

    /// Sends a segment, if the window and the pace allow it; returns its number.
    pub(crate) fn send(&mut self, now: u64) -> Option<u64> {
        if now > self.last_ack + SECOND && !self.in_flight.is_empty() {
            // A timeout.
            self.in_flight.clear();
            self.last_ack = now;
            if let Control::Cubic(cubic) = &mut self.control {
                (cubic.threshold, cubic.window, cubic.epoch) = (cubic.window / 2.0, 1.0, None);
            }
        }
        if now < self.sends_at || self.in_flight.len() as f64 >= self.window(now) {
            return None;
        }
        if self.in_flight.is_empty() {
            self.delivered_at = now;
            self.last_ack = now;
        }
        let number = self.next;
        self.next += 1;
        let delivered = (self.delivered, self.delivered_at);
        self.in_flight.push_back(Segment { number, sent_at: now, delivered });
        self.sends_at = match &self.control {
            Control::Bbr(bbr) if bbr.bandwidth > 0.0 => {
                now + (SECOND as f64 / (bbr.gain() * bbr.bandwidth)) as u64
            }
            _ => now,
        };
        Some(number)
    }

    /// When to call [`send`](Self::send) again.
    pub(crate) fn deadline(&self, now: u64) -> u64 {
        let has_room = (self.in_flight.len() as f64) < self.window(now);
        if has_room { self.sends_at.max(now + 1) } else { self.last_ack + SECOND + 1 }
    }

    fn window(&self, now: u64) -> f64 {
        match &self.control {
            Control::Cubic(cubic) => cubic.window,
            Control::Bbr(bbr) => bbr.window(now),
        }
    }

    /// Handles the acknowledgement of a segment.
    pub(crate) fn acknowledge(&mut self, now: u64, number: u64) {
        self.last_ack = now;
        // They are in order of their numbers.
        let Ok(position) = self.in_flight.binary_search_by_key(&number, |segment| segment.number) else {
            return;
        };
        let Some(segment) = self.in_flight.remove(position) else { return };
        self.delivered += 1;
        self.delivered_at = now;
        let sample = (now - segment.sent_at) as f64;
        self.round_trip =
            if self.round_trip == 0.0 { sample } else { 0.875 * self.round_trip + 0.125 * sample };
        let mut lost = None;
        while let Some(segment) = self.in_flight.front().filter(|segment| segment.number + 3 <= number) {
            lost = Some(segment.number);
            self.in_flight.pop_front();
        }
        let is_event = lost.is_some_and(|lost| lost >= self.recovery_end);
        if is_event {
            self.recovery_end = self.next;
        }
        let is_recovering = number < self.recovery_end;
        match &mut self.control {
            Control::Cubic(cubic) if is_event => cubic.reduce(),
            Control::Cubic(cubic) if !is_recovering => cubic.grow(now, self.round_trip),
            Control::Cubic(_) => {}
            Control::Bbr(bbr) => {
                let elapsed = now.saturating_sub(segment.delivered.1).max(1);
                let rate = (self.delivered - segment.delivered.0) as f64 * SECOND as f64 / elapsed as f64;
                let in_flight = self.in_flight.len() as f64;
                bbr.observe(now, (number, self.next), sample, rate, in_flight);
            }
        }
    }
}

impl Cubic {
    fn reduce(&mut self) {
        // Fast convergence.
        self.greatest =
            if self.window < self.greatest { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
    }

    fn grow(&mut self, now: u64, round_trip: f64) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.friendly = self.window;
            now
        });
        let time = (now - epoch) as f64 / SECOND as f64;
        let peak = ((self.greatest.max(self.window) - self.threshold.min(self.greatest)).max(0.0) / C).cbrt();
        let target = C * (time + round_trip / SECOND as f64 - peak).powi(3) + self.greatest;
        self.friendly += 3.0 * (1.0 - BETA) / (1.0 + BETA) / self.window;
        let target = target.max(self.friendly).min(1.5 * self.window);
        if target > self.window {
            self.window += (target - self.window) / self.window;
        }
    }
}

impl Bbr {
    fn gain(&self) -> f64 {
        match self.phase {
            Phase::Startup => STARTUP_GAIN,
            Phase::Drain => 1.0 / STARTUP_GAIN,
            Phase::Steady => CYCLE[self.cycle],
        }
    }

    fn product(&self) -> f64 {
        self.bandwidth * self.least.min(SECOND as f64) / SECOND as f64
    }

    fn window(&self, now: u64) -> f64 {
        match self.probes_until {
            Some(until) if now < until => 4.0,
            _ if self.bandwidth == 0.0 => INITIAL_WINDOW,
            _ if self.phase == Phase::Startup => (STARTUP_GAIN * self.product()).max(INITIAL_WINDOW),
            _ => (2.0 * self.product()).max(4.0),
        }
    }

    fn observe(&mut self, now: u64, (number, next): (u64, u64), sample: f64, rate: f64, in_flight: f64) {
        let is_new_round = number >= self.round_end;
        if is_new_round {
            (self.round, self.round_end) = (self.round + 1, next);
        }
        let round = self.round;
        // In order of their rates, so that the first is the greatest.
        while self.samples.front().is_some_and(|(at, _)| at + 10 <= round) {
            self.samples.pop_front();
        }
        while self.samples.back().is_some_and(|(_, value)| *value <= rate) {
            self.samples.pop_back();
        }
        self.samples.push_back((round, rate));
        self.bandwidth = self.samples.front().map_or(rate, |(_, rate)| *rate);
        if sample <= self.least {
            (self.least, self.least_at) = (sample, now);
        }
        match self.probes_until {
            Some(until) if now >= until => {
                (self.probes_until, self.least_at) = (None, now);
            }
            Some(_) => {}
            None if now > self.least_at + 10 * SECOND => {
                (self.probes_until, self.least) = (Some(now + PROBE_ROUND_TRIP), sample);
            }
            None => {}
        }
        match self.phase {
            Phase::Startup if is_new_round => {
                if self.bandwidth > 1.25 * self.full.0 {
                    self.full = (self.bandwidth, 0);
                } else {
                    self.full.1 += 1;
                    if self.full.1 >= 3 {
                        self.phase = Phase::Drain;
                    }
                }
            }
            Phase::Drain if in_flight <= self.product() => (self.phase, self.cycle_at) = (Phase::Steady, now),
            Phase::Steady => {
                let is_over = now as f64 > self.cycle_at as f64 + self.least;
                let is_drained = CYCLE[self.cycle] < 1.0 && in_flight <= self.product();
                if is_over || is_drained {
                    (self.cycle, self.cycle_at) = ((self.cycle + 1) % CYCLE.len(), now);
                }
            }
            _ => {}
        }
    }
}
