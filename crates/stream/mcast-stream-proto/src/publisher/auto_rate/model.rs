//! What the statuses of one subscriber show of the path to it, and the rate that follows from that.

use core::time::Duration;

use super::flow;
use super::flow::{Flow, FlowReport, Greatest, Least, SolitudeTest, Verdict};
use crate::ClockTime;
use crate::span::{self, nanos, share};
use crate::wire::Sequence;

/// The least duration of a sample, and the datagrams that it takes unless it lasts for `LONG_SAMPLE`.
const SAMPLE_TIME: Duration = Duration::from_millis(20);
const SAMPLE_DATAGRAMS: u64 = 16;
const LONG_SAMPLE: Duration = Duration::from_millis(500);
/// The round-trip time without queues is the least of one to two of these.
const BASE_PERIOD: Duration = Duration::from_secs(30);
/// The bounds of the queueing delay to aim at, which is half of the round-trip time without queues.
const SHORTEST_TARGET: Duration = Duration::from_millis(5);
const LONGEST_TARGET: Duration = Duration::from_millis(20);
/// A shorter queue may be a few datagrams, which a lone stream cannot avoid.
const SHORTEST_QUEUE: Duration = Duration::from_micros(2_500);
/// The shortest target where a longer queue overflows, and the time in which the target doubles after that.
const LEAST_TARGET: Duration = Duration::from_millis(1);
const TARGET_GROWTH: Duration = Duration::from_secs(5);
/// The lowest rate, in bytes per second.
pub(super) const SLOWEST: u64 = 16_384;
/// The highest rate that a sample may show, in bytes per second.
const FASTEST: u64 = 1 << 40;
/// The greatest part of a rate by which it grows or shrinks at once near the target.
const GREATEST_GAIN: f64 = 0.25;
const GREATEST_CUT: f64 = 0.5;
/// The datagrams that growth may add to the queue until it shows.
const GROWTH_DATAGRAMS: f64 = 2.0;
/// The time from the verdict that others fill the queue to the next test.
const FIRST_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long the window of the flow beside others is remembered.
const MEMORY: Duration = Duration::from_secs(5);
/// For how many delays after the search for the rate it is remembered that the stream has no window yet.
const START_MEMORY: u32 = 8;
/// The greatest loss for which the rate makes up.
const GREATEST_BACKGROUND: f64 = 0.6;
/// Loss beyond that, from which on what arrives is a limit.
const SEVERE: f64 = 0.1;
/// A trial's result counts as fresh for this long.
const FRESH: Duration = Duration::from_secs(2);
/// The greatest plausible ratio of all bytes sent to those of new data and its parity.
const GREATEST_OVERHEAD: f64 = 1.5;
/// For how long a window may be full before the path counts as unknown: repairs alone may arrive for as long.
const STALLED: Duration = Duration::from_secs(1);
/// The least number of datagrams of a trial.
const TRIAL_DATAGRAMS: u64 = 32;

/// The counters of the publisher when a status arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Bytes that the rate counts: data, repairs and control datagrams.
    pub(super) bytes: u64,
    /// Those of new data and its parity.
    pub(super) data_bytes: u64,
    /// Bytes of them that this subscriber does not count as received: repairs for others.
    pub(super) elsewhere: u64,
    /// How often the rate delayed data.
    pub(super) held_back: u64,
    /// The average length of a datagram of data or parity.
    pub(super) average: u64,
    /// The present rate, and whether a trial holds it down; then from which datagram on.
    pub(super) rate: u64,
    pub(super) trial: Option<Sequence>,
}

/// The counters in a status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    pub(super) received: u64,
    pub(super) highest: Sequence,
    pub(super) missed: u32,
    /// The publisher's clock in the last heartbeat, plus the time since that arrived.
    pub(super) until: Option<ClockTime>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: ClockTime,
    sent: Sent,
    reported: Reported,
}

/// How the rate follows from the model.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// The rate doubles until the queue grows, or no more arrives.
    Startup { best: u64, stagnant: u8, since: ClockTime },
    /// What arrives, a little more or less, so that the queue is as long as aimed at. A test runs while it is longer.
    Alone { test: Option<SolitudeTest>, resume: Option<Flow>, since: ClockTime },
    /// Others fill the queue: as much as one TCP flow.
    Beside { flow: Flow, test_at: ClockTime },
}

/// The model of the path to one subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathModel {
    mark: Option<Mark>,
    /// The least and the greatest round-trip time since the mark.
    trips: Option<(Duration, Duration)>,
    base: Least,
    /// The longest queues of the last time.
    top: Greatest<Duration>,
    /// What arrived, in bytes per second: the most, and the average of the last samples.
    delivered: Greatest<u64>,
    average: u64,
    /// The average length of a datagram.
    datagram: u64,
    mode: Mode,
    timeout: Duration,
    rate: Option<u64>,
    queue: Duration,
    round_trip: Duration,
    last_trip: Duration,
    /// The queue at which datagrams were lost limits the target.
    longest_target: Duration,
    /// What arrived when datagrams were lost limits the rate; it grows by this part of itself.
    ceiling: Option<(u64, f64)>,
    /// Datagrams and losses in the present trial, in trials, and in all.
    present_trial: Losses,
    trial: Losses,
    recent: Losses,
    tried: Option<ClockTime>,
    wants_trial: bool,
    /// Since when new data has not moved the end of what the subscriber knows of.
    stalled_since: Option<ClockTime>,
    /// The bytes sent for each byte of new data and its parity.
    overhead: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    sent: u64,
    lost: u64,
}

impl Losses {
    fn add(&mut self, sent: u64, lost: u64) {
        self.sent += sent;
        self.lost += lost;
        if self.sent > 2_048 {
            self.age();
        }
    }

    const fn age(&mut self) {
        (self.sent, self.lost) = (self.sent / 2, self.lost / 2);
    }

    fn share(&self) -> f64 {
        self.lost as f64 / self.sent.max(1) as f64
    }
}

/// The effect of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The rate was computed.
    Updated,
}

impl PathModel {
    pub(crate) fn new() -> Self {
        Self {
            mark: None,
            trips: None,
            base: Least::default(),
            top: Greatest::default(),
            delivered: Greatest::default(),
            average: 0,
            datagram: 0,
            mode: Mode::Startup { best: 0, stagnant: 0, since: ClockTime(0) },
            timeout: FIRST_TIMEOUT,
            rate: None,
            queue: Duration::ZERO,
            round_trip: Duration::ZERO,
            last_trip: Duration::ZERO,
            longest_target: LONGEST_TARGET,
            ceiling: None,
            present_trial: Losses::default(),
            trial: Losses::default(),
            recent: Losses::default(),
            tried: None,
            wants_trial: false,
            stalled_since: None,
            overhead: 1.0,
        }
    }

    /// Returns the rate in bytes per second, once there is a sample.
    pub(crate) const fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Whether the window of the subscriber has been full for long: what arrives beyond it says nothing about the path.
    pub(super) fn is_stalled(&self, now: ClockTime) -> bool {
        self.stalled_since.is_some_and(|since| now.since(since) >= STALLED)
    }

    /// Returns the queueing delay of the last sample.
    pub(crate) const fn queue(&self) -> Duration {
        self.queue
    }

    /// Whether losses or the queue should be compared with those at a lower rate.
    pub(super) const fn wants_trial(&self) -> bool {
        self.wants_trial || matches!(self.mode, Mode::Alone { test: Some(_), .. })
    }

    /// Whether the rate follows the queue, which should be emptied now and then.
    pub(super) const fn is_alone(&self) -> bool {
        matches!(self.mode, Mode::Alone { .. })
    }

    /// Whether enough datagrams of a trial arrived or were lost.
    pub(super) const fn has_tried(&self) -> bool {
        self.present_trial.sent >= 2 * TRIAL_DATAGRAMS
    }

    /// Returns whether a trial has shown enough.
    pub(super) fn is_drained(&self) -> bool {
        self.has_tried() && self.queue <= (self.target() / 4).max(Duration::from_micros(500))
    }

    /// Begins to count the losses of a trial.
    pub(super) fn begin_trial(&mut self) {
        self.present_trial = Losses::default();
    }

    /// Ends a trial. If it is timed out and the queue is not empty, others fill it, and what was lost is not random.
    pub(super) fn end_trial(&mut self, now: ClockTime, is_timed_out: bool) {
        self.wants_trial = false;
        let Losses { sent, lost } = self.present_trial;
        if is_timed_out && self.queue > SHORTEST_QUEUE.max(self.target() / 4) {
            if let Mode::Alone { resume, .. } = self.mode {
                let resume = resume.unwrap_or_else(|| self.starting_flow(now));
                let flow = self.flow(now, self.average, Some(resume));
                self.mode = self.compete(now, flow);
            }
        } else if sent >= TRIAL_DATAGRAMS {
            self.tried = Some(now);
            self.trial.age();
            self.trial.age();
            self.trial.add(sent, lost);
        }
    }

    /// Restarts sampling, because what was received since the last status says nothing about the path.
    pub(super) const fn interrupt(&mut self) {
        (self.mark, self.trips) = (None, None);
    }

    /// Returns the time until a change of the rate shows in a sample.
    pub(super) fn delay(&self, elapsed: Duration) -> Duration {
        self.round_trip.max(self.last_trip) + elapsed.max(SAMPLE_TIME)
    }

    /// Notes a round-trip time.
    pub(super) fn record_round_trip(&mut self, now: ClockTime, sample: Duration) {
        self.base.note(now, sample, BASE_PERIOD);
        self.trips = Some(match self.trips {
            None => (sample, sample),
            Some((least, greatest)) => (least.min(sample), greatest.max(sample)),
        });
    }

    /// Takes the counters of a status.
    pub(super) fn observe(&mut self, now: ClockTime, sent: Sent, reported: Reported) -> Effect {
        let Some(mark) = self.mark else {
            self.mark = Some(Mark { at: now, sent, reported });
            return Effect::None;
        };
        let until = |reported: &Reported| reported.until.unwrap_or_default();
        // Statuses that wait somewhere arrive together: then the time that passed at the subscriber counts.
        let elapsed = now.since(mark.at).max(until(&reported).since(until(&mark.reported)));
        let received = reported.received.saturating_sub(mark.reported.received);
        let is_enough = received >= SAMPLE_DATAGRAMS || elapsed >= LONG_SAMPLE;
        if elapsed < SAMPLE_TIME || !is_enough {
            return Effect::None;
        }
        // Without a round trip, the queue is unknown: the sample continues.
        let Some((least, greatest)) = self.trips.take() else { return Effect::None };
        self.mark = Some(Mark { at: now, sent, reported });
        // Of what arrives beyond a full window, parity does not count.
        let is_full = received > 0 && reported.highest == mark.reported.highest;
        if is_full && sent.data_bytes > mark.sent.data_bytes {
            self.stalled_since.get_or_insert(mark.at);
            return Effect::Updated;
        }
        self.stalled_since = None;
        let base = self.base.get().unwrap_or(least);
        // The least round trip of the sample: others were delayed by more than the queue, at an end for instance.
        self.queue = least.saturating_sub(base);
        self.last_trip = least;
        self.round_trip = match self.round_trip {
            Duration::ZERO => least,
            smoothed => smoothed - smoothed / 4 + least / 4,
        };
        self.datagram = sent.average;
        let elsewhere = sent.elsewhere.saturating_sub(mark.sent.elsewhere);
        let datagrams = reported.highest.ahead_of(mark.reported.highest);
        let missed = newly_missed(mark.reported.missed, reported.missed);
        let lost = u64::from(missed).min(datagrams);
        // Copies, repairs for others and control datagrams pass the path, too, and are not reported.
        let bytes = sent.bytes.saturating_sub(mark.sent.bytes);
        let overhead = bytes as f64 / sent.data_bytes.saturating_sub(mark.sent.data_bytes).max(1) as f64;
        self.overhead += (overhead.min(GREATEST_OVERHEAD) - self.overhead) / 8.0;
        let arrived = received.saturating_mul(sent.average).saturating_add(elsewhere);
        let rate = self.rate.unwrap_or(u64::MAX);
        // Where the rate of another path is lower, that one holds data back, and this one may carry more.
        let is_limiting = rate == u64::MAX || rate <= sent.rate.saturating_add(sent.rate / 16);
        let sample = Sample {
            elapsed,
            arrived: per_second(arrived, elapsed),
            sent: per_second(bytes, elapsed),
            datagrams,
            lost,
            queue_at_loss: greatest.saturating_sub(base),
            is_full: is_limiting && sent.held_back != mark.sent.held_back && sent.trial.is_none(),
            is_trial: sent.trial.is_some_and(|from| mark.reported.highest >= from),
            in_trial: sent.trial.is_some(),
        };
        self.update(now, &sample);
        Effect::Updated
    }

    fn update(&mut self, now: ClockTime, sample: &Sample) {
        let delay = self.delay(sample.elapsed);
        self.top.note(sample.queue_at_loss, sample.elapsed, Duration::from_secs(10));
        let cause = self.record_losses(now, sample);
        let period = (4 * delay).max(Duration::from_millis(200));
        let is_long = self.queue > self.target() + self.target() / 4;
        if sample.is_full {
            self.delivered.note(sample.arrived, sample.elapsed, period);
        } else if is_long && !sample.in_trial && sample.arrived < self.delivered.get() {
            // More was sent than this path carries, although the rate is that of another one.
            self.delivered.restart(sample.arrived);
        } else {
            // No more was sent: what the path carries is at least this.
            self.delivered.hold(sample.arrived);
        }
        self.average = match self.average {
            0 => sample.arrived,
            average => average - average / 4 + sample.arrived / 4,
        };
        if cause != LossCause::Chance {
            self.record_congestion(sample);
        } else if sample.is_full {
            let growth = share(self.longest_target, nanos(sample.elapsed), nanos(TARGET_GROWTH));
            self.longest_target = (self.longest_target + growth).min(LONGEST_TARGET);
            let delivered = self.delivered.get();
            self.ceiling =
                self.ceiling.filter(|(ceiling, _)| *ceiling / 4 < delivered).map(|(ceiling, step)| {
                    ((ceiling as f64 * (1.0 + step)) as u64, (2.0 * step).min(GREATEST_GAIN))
                });
        }
        self.change_mode(now, sample, cause, delay);
        self.rate = Some(self.derive_rate(delay).max(SLOWEST));
    }

    /// Counts losses; returns their cause.
    fn record_losses(&mut self, now: ClockTime, sample: &Sample) -> LossCause {
        // A stream that is alone keeps the queue shorter than it can become.
        let is_longer = 2 * sample.queue_at_loss >= 3 * self.target();
        // Others that filled it a moment ago are probably still there.
        let were_others = matches!(self.mode, Mode::Alone { resume: Some(flow), .. } if !flow.is_starting());
        match self.record_excess(now, sample) {
            false => LossCause::Chance,
            true if is_longer && (were_others || self.is_beyond_chance(sample)) => LossCause::Others,
            true => LossCause::Rate,
        }
    }

    /// Counts losses; returns whether they are more than those that do not depend on the rate.
    fn record_excess(&mut self, now: ClockTime, sample: &Sample) -> bool {
        self.recent.add(sample.datagrams, sample.lost);
        if sample.is_trial {
            self.present_trial.add(sample.datagrams, sample.lost);
        }
        if !exceeds(sample, self.background()) {
            return false;
        }
        // Where a queue overflows, it is long.
        let is_queue_long =
            sample.queue_at_loss >= SHORTEST_TARGET / 2 && 2 * sample.queue_at_loss >= self.top.get();
        let is_fresh = self.tried.is_some_and(|tried| now.since(tried) < FRESH);
        // Without a long queue, only a lower rate can show whether the rate is the cause.
        self.wants_trial |= !is_queue_long && !is_fresh;
        is_queue_long || is_fresh
    }

    /// Whether more are lost than by chance, even if trials of few datagrams have lost none by chance.
    fn is_beyond_chance(&self, sample: &Sample) -> bool {
        let random = (self.trial.lost + 2) as f64 / self.trial.sent.max(1) as f64;
        exceeds(sample, random.min(self.recent.share()))
    }

    /// Returns the share of datagrams that are lost whatever the rate.
    fn background(&self) -> f64 {
        // If less is lost than in the last trials, these are out of date.
        self.trial.share().min(self.recent.share()).min(GREATEST_BACKGROUND)
    }

    fn record_congestion(&mut self, sample: &Sample) {
        // Half of the queue that overflowed, but not less than three quarters of the present target.
        let shorter = (sample.queue_at_loss / 2).max(3 * (self.target() / 4)).max(LEAST_TARGET);
        self.longest_target = shorter.min(self.longest_target);
        let expected = self.background() * sample.datagrams as f64;
        if sample.lost as f64 - expected > SEVERE * sample.datagrams as f64 {
            // It grows by a part of itself, also if nothing arrived.
            self.ceiling = Some((self.compensated(sample.arrived).max(SLOWEST), 1.0 / 128.0));
        }
    }

    /// Returns what must be sent so that this much arrives.
    fn compensated(&self, arrived: u64) -> u64 {
        (arrived as f64 / (1.0 - self.background())) as u64
    }

    /// Returns the queueing delay to aim at.
    fn target(&self) -> Duration {
        let base = self.base.get().unwrap_or_default();
        (base / 2).clamp(SHORTEST_TARGET, LONGEST_TARGET).min(self.longest_target)
    }

    fn change_mode(&mut self, now: ClockTime, sample: &Sample, cause: LossCause, delay: Duration) {
        let target = self.target();
        let is_long = self.queue > target + target / 4;
        let delivered = self.delivered.get();
        self.mode = match self.mode {
            Mode::Startup { best, stagnant, since } => {
                let is_round = sample.is_full && now.since(since) >= delay;
                let grows = delivered > best + best / 4;
                match (is_long, is_round, grows) {
                    (true, ..) => {
                        // If others fill the queue, they did before the rate was found.
                        Mode::Alone { test: None, resume: Some(self.starting_flow(now)), since: now }
                    }
                    (_, true, true) => Mode::Startup { best: delivered, stagnant: 0, since: now },
                    // As in BBR: three rounds without a quarter more have filled the path.
                    (_, true, false) if stagnant >= 2 => Mode::Alone { test: None, resume: None, since: now },
                    (_, true, false) => Mode::Startup { best, stagnant: stagnant + 1, since: now },
                    _ => self.mode,
                }
            }
            Mode::Alone { resume, since, .. }
                if cause == LossCause::Others && now.since(since) >= 2 * delay =>
            {
                let mut flow = self.flow(now, self.average, resume);
                // A smaller window, of before a test, did not cause the loss.
                if flow.window() >= self.window(self.average) {
                    flow.reduce(now, self.queue, self.average);
                }
                self.compete(now, flow)
            }
            Mode::Alone { resume, since, .. } if !is_long => {
                // A rate that was found without others is one to begin with.
                let memory = |flow: &Flow| if flow.is_starting() { START_MEMORY * delay } else { MEMORY };
                let resume = resume.filter(|flow| now.since(since) < memory(flow));
                if now.since(since) > MEMORY {
                    self.timeout = FIRST_TIMEOUT;
                }
                Mode::Alone { test: None, resume, since }
            }
            Mode::Alone { test: None, resume, since } => {
                let test = SolitudeTest::new(now, self.average, self.queue);
                Mode::Alone { test: Some(test), resume, since }
            }
            Mode::Alone { test: Some(mut test), resume, since } => {
                match test.observe(now, self.queue, sample.sent, sample.elapsed, delay) {
                    Verdict::Open => Mode::Alone { test: Some(test), resume, since },
                    // The path itself may have become slower.
                    Verdict::Shared => {
                        let rate = test.rate.min(sample.arrived + sample.arrived / 2);
                        let flow = self.flow(now, rate, resume);
                        self.compete(now, flow)
                    }
                }
            }
            Mode::Beside { flow, test_at, .. } if now >= test_at => {
                // The test begins with what arrives now: the greatest rate beside others is out of date.
                self.delivered.restart(self.delivered.get().min(sample.arrived.max(SLOWEST)));
                Mode::Alone { test: None, resume: Some(flow), since: now }
            }
            Mode::Beside { mut flow, test_at } => {
                flow.observe(&FlowReport {
                    now,
                    queue: self.queue,
                    round_trip: self.round_trip,
                    base: self.base.get().unwrap_or_default(),
                    delay,
                    is_full: sample.is_full,
                    loss: (cause != LossCause::Chance)
                        .then(|| sample.lost as f64 / sample.datagrams.max(1) as f64),
                    arrived: sample.arrived,
                    average: self.average,
                });
                Mode::Beside { flow, test_at }
            }
        };
    }

    /// Returns a flow with the window that it had before the test, or has at this rate.
    fn flow(&self, now: ClockTime, rate: u64, resume: Option<Flow>) -> Flow {
        match resume {
            None => Flow::new(now, self.window(rate)),
            // It has not found a window. The queue has grown since it began, so what arrives is a larger one.
            Some(flow) if flow.is_starting() => {
                Flow::starting(now, flow.window().max(self.window(self.average)))
            }
            Some(mut flow) => {
                flow.pause(now);
                flow
            }
        }
    }

    /// Returns a flow that begins with slow start, from the window of what arrives.
    fn starting_flow(&self, now: ClockTime) -> Flow {
        Flow::starting(now, self.window(self.average))
    }

    /// Returns the window of a flow with this rate, in segments.
    fn window(&self, rate: u64) -> f64 {
        flow::window_at(rate, self.round_trip)
    }

    /// Behaves like a TCP flow from now on.
    fn compete(&mut self, now: ClockTime, flow: Flow) -> Mode {
        let test_at = now + self.timeout;
        // A test yields to the others, so that tests become rare while these stay.
        self.timeout = (2 * self.timeout).min(LONGEST_TIMEOUT);
        Mode::Beside { flow, test_at }
    }

    fn derive_rate(&self, delay: Duration) -> u64 {
        let capacity = self.compensated(self.delivered.get()) as f64;
        match self.mode {
            Mode::Startup { .. } => (2.0 * capacity) as u64,
            Mode::Alone { .. } => {
                let target = self.target().as_secs_f64();
                let missing = (target - self.queue.as_secs_f64()) / target;
                // At a low rate samples take long, and a queue cannot be shorter than a few datagrams: growth that adds less to
                // an empty one would take minutes.
                let datagrams = GROWTH_DATAGRAMS * self.datagram as f64 / capacity.max(1.0);
                let growth = if missing > 0.75 { datagrams } else { 0.0 };
                let gain = GREATEST_GAIN.min(target.max(growth) / (2.0 * delay.as_secs_f64()));
                // What passes the path and is not reported is added only as far as the queue is too short.
                let unreported = (self.overhead - 1.0) * missing.clamp(0.0, 1.0);
                let change = (gain * missing).clamp(-GREATEST_CUT, gain);
                let rate = (capacity * (1.0 + unreported) * (1.0 + change)) as u64;
                self.ceiling.map_or(rate, |(ceiling, _)| rate.min(ceiling))
            }
            Mode::Beside { flow, .. } => flow::rate_of(flow.window(), self.round_trip),
        }
    }
}

/// Why datagrams of a sample were lost, if any were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LossCause {
    /// By chance: no more than are lost whatever the rate.
    Chance,
    /// Because the rate is too high.
    Rate,
    /// Because a queue overflowed that is longer than a lone stream makes it: others fill it.
    Others,
}

/// What passed between two statuses.
#[derive(Clone, Copy, Debug)]
struct Sample {
    elapsed: Duration,
    /// Bytes per second that arrived, and that were sent.
    arrived: u64,
    sent: u64,
    datagrams: u64,
    lost: u64,
    /// The longest queueing delay.
    queue_at_loss: Duration,
    /// The rate of this path held data back.
    is_full: bool,
    /// All of its datagrams were sent in a trial.
    is_trial: bool,
    /// A trial runs.
    in_trial: bool,
}

/// Whether more datagrams were lost than this share explains.
fn exceeds(sample: &Sample, share: f64) -> bool {
    let expected = share * sample.datagrams as f64;
    let more = sample.lost as f64 - expected;
    // By more than four standard deviations, and by more than is expected.
    more > 0.0 && more * more > 16.0 * expected + expected * expected
}

/// Returns a rate in bytes per second, or `FASTEST`: a subscriber may claim anything.
fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    span::per_second(bytes, elapsed).min(FASTEST)
}

/// Returns by how much a count of missing datagrams has grown, modulo 2^32. It is lower when datagrams have arrived that
/// had only been overtaken.
pub(super) const fn newly_missed(before: u32, now: u32) -> u32 {
    let growth = now.wrapping_sub(before);
    if growth > i32::MAX as u32 { 0 } else { growth }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: ClockTime = ClockTime(1_000_000_000);
    const DELAY: Duration = Duration::from_millis(100);
    const SAMPLE: Sample = Sample {
        elapsed: Duration::from_millis(20),
        arrived: 750_000,
        sent: 750_000,
        datagrams: 20,
        lost: 0,
        queue_at_loss: Duration::ZERO,
        is_full: true,
        is_trial: false,
        in_trial: false,
    };

    /// A path with 20 ms of round trip, 80 ms of queue, and 750,000 bytes per second of the stream: 50 segments.
    fn model(mode: Mode) -> PathModel {
        let mut model = PathModel::new();
        model.record_round_trip(START, Duration::from_millis(20));
        (model.average, model.round_trip) = (750_000, Duration::from_millis(100));
        (model.queue, model.mode) = (Duration::from_millis(80), mode);
        model
    }

    fn window(model: &PathModel) -> f64 {
        match model.mode {
            Mode::Beside { flow, .. } => flow.window(),
            mode => panic!("{mode:?}"),
        }
    }

    #[test]
    fn a_stream_without_a_window_begins_with_slow_start_from_what_arrives() {
        let resume = Some(Flow::starting(START, 7.0));
        let mut model = model(Mode::Alone { test: None, resume, since: START });
        // The queue is short for a moment, because the others have lost something.
        model.queue = Duration::ZERO;
        model.change_mode(START + DELAY, &SAMPLE, LossCause::Chance, DELAY);
        model.queue = Duration::from_millis(80);
        model.end_trial(START + 3 * DELAY, true);
        assert!((window(&model) - 50.0).abs() < 0.1, "{model:?}");
        assert!(matches!(model.mode, Mode::Beside { flow, .. } if flow.is_starting()), "{model:?}");
    }

    /// The stream had taken what was free to find out whether it is alone.
    #[test]
    fn a_loss_during_a_test_does_not_reduce_the_window_of_before() {
        let resume = Some(Flow::new(START, 30.0));
        let mut model = model(Mode::Alone { test: None, resume, since: START });
        model.change_mode(START + 3 * DELAY, &SAMPLE, LossCause::Others, DELAY);
        assert!((window(&model) - 30.0).abs() < 0.1, "{model:?}");
    }

    /// Others that have just lost something grow slowly. To take what they leave at once would be unfair.
    #[test]
    fn a_short_queue_does_not_show_that_the_others_have_gone() {
        let flow = Flow::new(START, 30.0);
        let mut model = model(Mode::Beside { flow, test_at: START + 20 * DELAY });
        model.queue = Duration::ZERO;
        for step in 1..20 {
            model.change_mode(START + step * DELAY, &SAMPLE, LossCause::Chance, DELAY);
            assert!(window(&model) >= 30.0, "{model:?}");
        }
        model.change_mode(START + 20 * DELAY, &SAMPLE, LossCause::Chance, DELAY);
        assert!(model.is_alone(), "{model:?}");
    }
}
