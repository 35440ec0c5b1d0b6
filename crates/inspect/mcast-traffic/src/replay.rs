//! Sends recorded datagrams when they are due.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mcast::{Destination, Error, InterfaceSelector, LaunchClock, Outgoing, Rate, Sender, SenderBuilder};
use mcast_capture::{
    DatagramBatch, FileError, RecordedDatagram, Replay, ReplayEvent, ReplayRound, ReplaySchedule,
    SkippedFrames, TransmitTimes,
};
use mcast_measure::Histogram;

use crate::{
    Dispatch, DispatchCounts, Pace, SendTarget, StopSignal, TrafficError, resolve_targets, vanished_interface,
};

/// The maximum number of datagrams sent in one call.
const TOGETHER: usize = 64;
/// The time until the first datagram is due.
const LEAD: Duration = Duration::from_millis(20);
/// How long before its launch time a datagram is passed to the kernel.
const AHEAD: Duration = Duration::from_millis(2);
/// The longest wait for the thread that reads.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How to send the datagrams of a file again.
#[derive(Clone, Debug)]
pub struct ReplayPlan {
    /// Where to send destinations without an interface of their own; none means by the route.
    pub interfaces: Vec<InterfaceSelector>,
    /// The hop limit; `None` is the default, 1.
    pub hops: Option<ReplayHops>,
    /// When to send.
    pub timing: ReplayTiming,
    /// The number of datagrams of the file to send; `None` for all.
    pub count: Option<u64>,
    /// When to stop, from the start.
    pub timeout: Option<Duration>,
    /// The clock of launch times; `None` sends without launch times. See [`launch_clock`].
    pub launch_clock: Option<LaunchClock>,
}

/// The hop limit of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayHops {
    /// The same for all.
    Fixed(u8),
    /// As recorded.
    Recorded,
}

/// When datagrams are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReplayTiming {
    /// At their recorded times.
    Recorded {
        /// The factor of the recorded speed.
        speed: f64,
        /// The longest pause; longer ones are shortened.
        max_gap: Option<Duration>,
    },
    /// At a rate; `None` is as fast as possible.
    Paced(Option<Rate>),
}

/// Something that a program may want to report while a file is sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayNotice<'a> {
    /// Datagrams to this destination follow, which are sent to these targets.
    Destination(&'a Destination, &'a [SendTarget]),
    /// The system refuses datagrams: the first error of its kind, and the interface that has vanished, if that is why.
    Refused(&'a Error, Option<&'a str>),
    /// The file is damaged or cut off; everything before that was sent.
    Damaged(&'a FileError),
}

/// The results of a replay.
#[derive(Clone, Debug, Default)]
pub struct ReplayReport {
    /// Datagrams sent, counted per interface, and those refused.
    pub counts: DispatchCounts,
    /// How often the file was read.
    pub rounds: u64,
    /// Frames that were not sent, by reason.
    pub skipped: SkippedFrames,
    /// Datagrams with a wrong checksum in the file; they were sent.
    pub bad_checksums: u64,
    /// How often the clock was set back during the recording.
    pub clock_jumps: u64,
    /// Whether the file is invalid, and not just cut off.
    pub is_damaged: bool,
    /// How late datagrams were passed to the kernel, in nanoseconds; empty with a rate or launch times.
    pub late: Histogram,
    /// How far the kernel's transmit times are from the scheduled ones.
    pub transmit_errors: TransmitErrors,
    /// The time from the start to the end.
    pub elapsed: Duration,
}

/// How far the kernel's transmit times are from the scheduled ones.
#[derive(Clone, Debug, Default)]
pub enum TransmitErrors {
    /// They were not measured.
    #[default]
    NotMeasured,
    /// Not every datagram was captured when it was sent.
    Unknown,
    /// In nanoseconds.
    Known(Histogram),
}

impl ReplayPlan {
    /// Returns a builder of a sender for this plan.
    pub fn sender(&self) -> SenderBuilder {
        let builder = Sender::builder().hop_limit(match self.hops {
            Some(ReplayHops::Fixed(hops)) => hops,
            _ => 1,
        });
        match self.launch_clock {
            Some(clock) => builder.launch_clock(clock),
            None => builder,
        }
    }
}

/// Sends what a [`Replay`] reads.
///
/// ```no_run
/// use mcast_capture::{CaptureFile, Replay};
/// use mcast_traffic::{ReplayPlan, ReplaySender, ReplayTiming, StopSignal};
///
/// let plan = ReplayPlan {
///     interfaces: vec!["eth0".parse()?],
///     hops: None,
///     timing: ReplayTiming::Recorded { speed: 1.0, max_gap: None },
///     count: None,
///     timeout: None,
///     launch_clock: None,
/// };
/// let sender = plan.sender().build()?;
/// let replay = Replay::of(CaptureFile::open("stream.pcapng")?);
/// let replay_sender = ReplaySender::new(&plan, &sender, None, StopSignal::default());
/// let report = replay_sender.run(replay, &mut |notice| eprintln!("{notice:?}"))?;
/// println!("sent {} datagrams", report.counts.sent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReplaySender<'a> {
    plan: &'a ReplayPlan,
    sender: &'a Sender,
    dispatch: Dispatch<'a>,
    stop: StopSignal,
    deadline: Option<Instant>,
    transmit_times: Option<TransmitTimes>,
    /// The targets of each destination in the file.
    targets: Vec<Vec<SendTarget>>,
    /// Datagrams of the file that were selected.
    taken: u64,
    report: ReplayReport,
}

/// When datagrams are due: at the recorded times, counted from a start, or at a rate.
enum Times {
    Recorded(Instant, ReplaySchedule),
    Paced(Pace),
}

type OnNotice<'f> = &'f mut dyn FnMut(ReplayNotice<'_>);

impl<'a> ReplaySender<'a> {
    /// Creates a replay with this sender. If `transmit_times` are recorded on the plan's interfaces, they are compared
    /// with the scheduled times. The signal ends the replay early.
    #[must_use]
    pub fn new(
        plan: &'a ReplayPlan,
        sender: &'a Sender,
        transmit_times: Option<TransmitTimes>,
        stop: impl Into<StopSignal>,
    ) -> Self {
        Self {
            plan,
            sender,
            dispatch: Dispatch::new(sender),
            stop: stop.into(),
            deadline: None,
            transmit_times,
            targets: Vec::new(),
            taken: 0,
            report: ReplayReport::default(),
        }
    }

    /// Sends everything that the plan selects.
    ///
    /// # Errors
    /// [`TrafficError`]; as for [`Dispatch::send`] if the system refuses datagrams.
    pub fn run(
        mut self,
        replay: Replay,
        on_notice: &mut dyn FnMut(ReplayNotice<'_>),
    ) -> Result<ReplayReport, TrafficError> {
        let events = replay.start().map_err(TrafficError::Thread)?;
        let begin = Instant::now();
        self.deadline = self.plan.timeout.and_then(|timeout| begin.checked_add(timeout));
        let mut times = match self.plan.timing {
            ReplayTiming::Recorded { speed, max_gap } => {
                Times::Recorded(begin + LEAD, ReplaySchedule::new(speed, max_gap))
            }
            ReplayTiming::Paced(rate) => Times::Paced(Pace::new(rate, 1, self.deadline, self.stop.clone())),
        };
        self.send_all(&events, &mut times, on_notice)?;
        self.report.elapsed = begin.elapsed();
        self.report.counts = self.dispatch.counts();
        if let Times::Recorded(_, schedule) = &times {
            self.report.clock_jumps = schedule.clock_jumps();
        }
        if let Some(times) = self.transmit_times {
            self.report.transmit_errors = match times.errors()? {
                None => TransmitErrors::Unknown,
                Some(errors) => {
                    let mut histogram = Histogram::new();
                    errors.iter().for_each(|error| histogram.record(nanoseconds(*error)));
                    TransmitErrors::Known(histogram)
                }
            };
        }
        Ok(self.report)
    }

    fn send_all(
        &mut self,
        events: &Receiver<ReplayEvent>,
        times: &mut Times,
        on_notice: OnNotice<'_>,
    ) -> Result<(), TrafficError> {
        while !self.stop.is_set() {
            // The signal is checked between waits: the reading thread may block on a pipe forever.
            let event = match events.recv_timeout(POLL_INTERVAL) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) if !self.is_over(Instant::now()) => continue,
                Err(_) => break,
            };
            match event {
                ReplayEvent::Batch(batch) => {
                    self.resolve(&batch, on_notice)?;
                    let is_ended = match times {
                        Times::Recorded(start, schedule) => {
                            self.send_in_time(&batch, *start, schedule, on_notice)?
                        }
                        Times::Paced(pace) => self.send_at_rate(&batch, pace, on_notice)?,
                    };
                    if is_ended || self.left() == 0 {
                        break;
                    }
                }
                ReplayEvent::RoundEnded(round) => self.end_round(&round, times, on_notice),
                ReplayEvent::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Resolves the interfaces of the batch's new destinations.
    fn resolve(&mut self, batch: &DatagramBatch, on_notice: OnNotice<'_>) -> Result<(), TrafficError> {
        for destination in batch.new_destinations() {
            let found = resolve_targets(std::slice::from_ref(destination), &self.plan.interfaces)?;
            on_notice(ReplayNotice::Destination(destination, &found));
            if let Some(times) = &self.transmit_times {
                times.add_port(self.sender.local_address(destination.address.group.family())?.port());
            }
            self.targets.push(found);
        }
        Ok(())
    }

    fn end_round(&mut self, round: &ReplayRound, times: &mut Times, on_notice: OnNotice<'_>) {
        self.report.rounds += 1;
        self.report.is_damaged |= round.is_damaged();
        self.report.skipped += round.skipped;
        self.report.bad_checksums += round.bad_checksums;
        if let Some(failure) = round.failure.as_ref().filter(|_| self.report.rounds == 1) {
            on_notice(ReplayNotice::Damaged(failure));
        }
        if let Times::Recorded(_, schedule) = times {
            schedule.next_round();
        }
    }

    /// Sends a batch at the recorded times; returns whether the deadline or the signal ended it.
    fn send_in_time(
        &mut self,
        batch: &DatagramBatch,
        start: Instant,
        schedule: &mut ReplaySchedule,
        on_notice: OnNotice<'_>,
    ) -> Result<bool, TrafficError> {
        let datagrams = batch.datagrams();
        let mut due: Vec<Instant> = datagrams.iter().map(|each| start + schedule.due(each.time)).collect();
        due.truncate(self.left());
        let ahead = if self.plan.launch_clock.is_some() { AHEAD } else { Duration::ZERO };
        let mut next = 0;
        while let Some(first) = due.get(next) {
            if !self.wait_until(*first - ahead) {
                return Ok(true);
            }
            let now = Instant::now();
            let ready =
                due[next..].iter().take(TOGETHER).take_while(|due| **due - ahead <= now).count().max(1);
            let range = next..next + ready;
            self.send_ready(batch, &datagrams[range.clone()], &due[range], now, on_notice)?;
            next += ready;
        }
        Ok(false)
    }

    /// Sends a batch at a rate; returns whether the deadline or the signal ended it.
    fn send_at_rate(
        &mut self,
        batch: &DatagramBatch,
        pace: &mut Pace,
        on_notice: OnNotice<'_>,
    ) -> Result<bool, TrafficError> {
        for chunk in batch.datagrams()[..batch.datagrams().len().min(self.left())].chunks(TOGETHER) {
            let outgoing: Vec<_> = chunk.iter().map(|each| Outgoing::new(batch.payload(each))).collect();
            let mut rest = 0;
            while rest < chunk.len() {
                let Some(ready) = pace.wait(&outgoing[rest..]) else { return Ok(true) };
                self.send_ready(batch, &chunk[rest..rest + ready], &[], Instant::now(), on_notice)?;
                rest += ready;
            }
        }
        Ok(false)
    }

    /// Returns how many datagrams may still be sent.
    fn left(&self) -> usize {
        let left = self.plan.count.map(|count| count.saturating_sub(self.taken));
        left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Waits until `due`, the deadline or the signal; returns whether `due` was reached.
    fn wait_until(&self, due: Instant) -> bool {
        loop {
            let now = Instant::now();
            if self.stop.is_set() || self.is_over(now) {
                return false;
            }
            let left = due.saturating_duration_since(now);
            if left.is_zero() {
                return true;
            }
            let end = self.deadline.map_or(due, |deadline| due.min(deadline));
            self.stop.pause(end.saturating_duration_since(now));
        }
    }

    /// Sends datagrams that are due to their targets. `due` is empty if datagrams are sent at a rate.
    fn send_ready(
        &mut self,
        batch: &DatagramBatch,
        datagrams: &[RecordedDatagram],
        due: &[Instant],
        now: Instant,
        on_notice: OnNotice<'_>,
    ) -> Result<(), TrafficError> {
        self.taken += datagrams.len() as u64;
        let clock = self.plan.launch_clock.map(LaunchClock::now).transpose()?;
        let mut outgoing = Vec::with_capacity(datagrams.len());
        for (position, datagram) in datagrams.iter().enumerate() {
            let due = due.get(position).copied();
            for target in self.targets.get(datagram.to).into_iter().flatten() {
                let mut one = target.outgoing(batch.payload(datagram)).traffic_class(datagram.dscp << 2);
                if self.plan.hops == Some(ReplayHops::Recorded) {
                    one = one.hop_limit(datagram.hop_limit);
                }
                if let Some((clock, due)) = clock.zip(due) {
                    one = one.launch_at(clock + due.saturating_duration_since(now));
                }
                outgoing.push(one);
                if let (Some(times), Some(due), Some(by)) =
                    (&mut self.transmit_times, due, target.interface())
                {
                    times.add_due(by, due);
                }
            }
            if let Some(due) = due.filter(|_| clock.is_none()) {
                self.report.late.record(nanoseconds(now.saturating_duration_since(due)));
            }
        }
        let targets = &self.targets;
        self.dispatch.send(&outgoing, |error| {
            on_notice(ReplayNotice::Refused(error, vanished_interface(error, targets.iter().flatten())));
        })?;
        Ok(())
    }
}

/// Returns the clock of launch times that the queue disciplines of all these interfaces use; `None` without interfaces.
///
/// # Errors
/// [`TrafficError::Discipline`] if they use none or several, [`TrafficError::ReadDiscipline`] if they cannot be read,
/// and if there is no such interface.
pub fn launch_clock(interfaces: &[InterfaceSelector]) -> Result<Option<LaunchClock>, TrafficError> {
    let mut clock = None;
    for selector in interfaces {
        let interface = mcast::interface::find(selector)?;
        let disciplines = mcast_sys::bridge::queue_disciplines(interface.index)
            .map_err(|source| TrafficError::ReadDiscipline { interface: interface.name.clone(), source })?;
        let mut clocks = disciplines.iter().map(|discipline| match discipline.as_str() {
            "fq" => Some(LaunchClock::Monotonic),
            "etf" => Some(LaunchClock::Tai),
            _ => None,
        });
        let first = clocks.next().flatten();
        if first.is_none()
            || clocks.any(|each| each != first)
            || clock.is_some_and(|clock| Some(clock) != first)
        {
            let found = if disciplines.is_empty() { "none".into() } else { disciplines.join(", ") };
            return Err(TrafficError::Discipline { interface: interface.name, disciplines: found });
        }
        clock = first;
    }
    Ok(clock)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
