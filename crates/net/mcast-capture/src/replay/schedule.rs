//! When each datagram is due, and how the kernel's transmit times compare with that.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use mcast_group::InterfaceIndex;

use crate::{Capture, Error, ErrorKind, Result};

/// The smallest backward step of recorded times that means that the clock was set back. Smaller ones are
/// reordering between interfaces.
const SET_BACK: Duration = Duration::from_secs(1);
/// The latest due time, because the times in a file may exceed the range of the clock.
const LATEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Computes when recorded datagrams are due, without a clock of its own.
///
/// Gaps are kept, divided by the speed. Reordering by less than a second is kept, too; a clock that was set
/// back during the recording is bridged without a gap.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// let mut schedule = mcast_capture::ReplaySchedule::new(2.0, None);
/// let recorded = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// assert_eq!(schedule.due(recorded), Duration::ZERO);
/// assert_eq!(schedule.due(recorded + Duration::from_secs(10)), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ReplaySchedule {
    speed: f64,
    max_gap: Option<Duration>,
    /// The latest recorded time of this round, and its due time from the start.
    last: Option<(SystemTime, Duration)>,
    /// The earliest begin of the next round, from the start.
    begin: Duration,
    /// The number of datagrams in this round so far.
    datagrams: u32,
    clock_jumps: u64,
}

impl ReplaySchedule {
    /// Creates a schedule at `speed` times the recorded speed, in which no gap is longer than `max_gap`.
    #[must_use]
    pub const fn new(speed: f64, max_gap: Option<Duration>) -> Self {
        Self { speed, max_gap, last: None, begin: Duration::ZERO, datagrams: 0, clock_jumps: 0 }
    }

    /// Returns when a datagram with this recorded time is due, after the first one: at most a hundred years.
    pub fn due(&mut self, recorded: SystemTime) -> Duration {
        let due = match self.last {
            None => self.begin,
            Some((last, due)) => match recorded.duration_since(last) {
                Ok(gap) => due.saturating_add(self.shortened(gap)).min(LATEST),
                Err(back) if back.duration() < SET_BACK => {
                    due.saturating_sub(self.shortened(back.duration())).max(self.begin)
                }
                Err(_) => {
                    self.clock_jumps += 1;
                    self.last = Some((recorded, due));
                    due
                }
            },
        };
        if self.last.is_none_or(|(last, _)| recorded >= last) {
            self.last = Some((recorded, due));
        }
        self.datagrams = self.datagrams.saturating_add(1);
        due
    }

    /// Starts another round. Its first datagram follows the last one after the mean gap.
    pub fn next_round(&mut self) {
        let Some((_, end)) = self.last.take() else { return };
        let length = end.saturating_sub(self.begin);
        let gaps = self.datagrams.saturating_sub(1);
        let mean = length.checked_div(gaps).unwrap_or_default();
        self.begin = end.saturating_add(mean).min(LATEST);
        self.datagrams = 0;
    }

    /// Returns how often the clock was set back during the recording.
    #[must_use]
    pub const fn clock_jumps(&self) -> u64 {
        self.clock_jumps
    }

    fn shortened(&self, gap: Duration) -> Duration {
        let gap = match self.speed {
            1.0 => gap,
            speed => Duration::try_from_secs_f64(gap.as_secs_f64() / speed).unwrap_or(LATEST),
        };
        self.max_gap.map_or(gap, |most| gap.min(most))
    }
}

/// The maximum number of measured datagrams per interface (64 MB).
const MAX_DATAGRAMS: usize = 8_000_000;
/// How long to wait until the last datagram is captured.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Captures the datagrams that this machine sends from some ports, on a thread of its own, and compares when the kernel
/// sent each with when it was due.
///
/// ```no_run
/// use std::time::Instant;
///
/// use mcast_capture::{Capture, CaptureOptions, TransmitTimes};
///
/// let mut times = TransmitTimes::record(Capture::open(CaptureOptions::on_name("eth0"))?)?;
/// times.add_port(4000);
/// // For each datagram sent from port 4000:
/// times.add_due(mcast_group::InterfaceIndex::new(2).ok_or("no index")?, Instant::now());
/// println!("{:?}", times.errors()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TransmitTimes {
    recorder: JoinHandle<Result<u64>>,
    shared: Arc<Shared>,
    due: BTreeMap<InterfaceIndex, Vec<u64>>,
    /// The times of both clocks at the same moment.
    anchor: (Instant, SystemTime),
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    /// The ports that datagrams are sent from.
    ports: Mutex<Vec<u16>>,
    sent: Mutex<BTreeMap<InterfaceIndex, Vec<u64>>>,
}

impl TransmitTimes {
    /// Starts to record transmit times.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn record(capture: Capture) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let recording = Arc::clone(&shared);
        let recorder = Builder::new().name("measure".into()).spawn(move || recording.record(capture))?;
        Ok(Self { recorder, shared, due: BTreeMap::new(), anchor: (Instant::now(), SystemTime::now()) })
    }

    /// Adds a source port of datagrams.
    pub fn add_port(&self, port: u16) {
        let mut ports = lock(&self.shared.ports);
        if !ports.contains(&port) {
            ports.push(port);
        }
    }

    /// Records when a datagram on this interface is due.
    pub fn add_due(&mut self, interface: InterfaceIndex, due: Instant) {
        let (instant, time) = self.anchor;
        let time = match due.checked_duration_since(instant) {
            Some(later) => time + later,
            None => time - instant.saturating_duration_since(due),
        };
        let times = self.due.entry(interface).or_default();
        if times.len() < MAX_DATAGRAMS {
            times.push(nanoseconds(time));
        }
    }

    /// Returns how far each transmit time is from when its datagram was due, after everything was sent. Returns `None`
    /// if some datagrams were not captured, because then the times cannot be matched.
    ///
    /// # Errors
    /// If capturing failed.
    pub fn errors(self) -> Result<Option<Vec<Duration>>> {
        let deadline = Instant::now() + TIMEOUT;
        while !self.shared.has_recorded(&self.due) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.ends.store(true, Ordering::Relaxed);
        let failed = || Error::new("measure transmit times", "all interfaces", ErrorKind::System);
        let dropped = self.recorder.join().map_err(|_| failed())??;
        let sent = lock(&self.shared.sent);
        let mut errors = Vec::new();
        for (interface, due) in &self.due {
            let Some(sent) = sent.get(interface).filter(|sent| sent.len() == due.len() && dropped == 0)
            else {
                return Ok(None);
            };
            errors.extend(due.iter().zip(sent).map(|(due, sent)| Duration::from_nanos(due.abs_diff(*sent))));
        }
        Ok(Some(errors))
    }
}

impl Shared {
    /// Records the transmit times until it is stopped; returns the number of lost frames.
    fn record(&self, mut capture: Capture) -> Result<u64> {
        while !self.ends.load(Ordering::Relaxed) {
            let Some(frame) = capture.next(Some(Duration::from_millis(20)))? else { continue };
            let packet = frame.packet();
            // Later fragments have no UDP header; the first one has the time of the datagram.
            let Some(udp) = packet.udp().filter(|_| frame.direction.is_outgoing()) else { continue };
            if lock(&self.ports).contains(&udp.source_port) {
                let mut sent = lock(&self.sent);
                let times = sent.entry(frame.interface).or_default();
                if times.len() < MAX_DATAGRAMS {
                    times.push(nanoseconds(frame.time));
                }
            }
        }
        Ok(capture.statistics()?.dropped)
    }

    fn has_recorded(&self, due: &BTreeMap<InterfaceIndex, Vec<u64>>) -> bool {
        let sent = lock(&self.sent);
        due.iter().all(|(interface, due)| sent.get(interface).is_some_and(|sent| sent.len() >= due.len()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_000_000 + milliseconds)
    }

    /// Returns due times in milliseconds from the start.
    fn due(schedule: &mut ReplaySchedule, recorded: &[u64]) -> Vec<u128> {
        recorded.iter().map(|time| schedule.due(at(*time)).as_millis()).collect()
    }

    fn schedule(speed: f64, max_gap: Option<u64>) -> ReplaySchedule {
        ReplaySchedule::new(speed, max_gap.map(Duration::from_millis))
    }

    #[test]
    fn gaps_follow_speed_and_maximum() {
        assert_eq!(due(&mut schedule(1.0, None), &[5, 7, 7, 107]), [0, 2, 2, 102]);
        assert_eq!(due(&mut schedule(2.0, None), &[5, 7, 7, 107]), [0, 1, 1, 51]);
        assert_eq!(due(&mut schedule(0.5, None), &[5, 7]), [0, 4]);
        assert_eq!(due(&mut schedule(1.0, Some(10)), &[5, 7, 3_007, 3_008]), [0, 2, 12, 13]);
    }

    #[test]
    fn rounds_follow_one_another_at_the_mean_gap() {
        let mut schedule = schedule(1.0, None);
        assert_eq!(due(&mut schedule, &[0, 5, 20]), [0, 5, 20]);
        schedule.next_round();
        assert_eq!(due(&mut schedule, &[0, 5, 20]), [30, 35, 50]);
    }

    #[test]
    fn due_times_stay_within_the_range_of_the_clock() {
        let far =
            UNIX_EPOCH.checked_add(Duration::from_secs(i64::MAX as u64)).unwrap_or_else(SystemTime::now);
        for speed in [1.0, 1e-6, 1e6] {
            let mut schedule = schedule(speed, None);
            for recorded in [UNIX_EPOCH, far, UNIX_EPOCH, far] {
                assert!(schedule.due(recorded) <= LATEST, "{speed}");
            }
            schedule.next_round();
            assert!(schedule.due(far) <= LATEST);
        }
    }

    #[test]
    fn reordering_is_kept_and_a_clock_that_was_set_back_is_bridged() {
        let mut schedule = schedule(1.0, None);
        assert_eq!(due(&mut schedule, &[5_000, 5_010, 5_007, 5_012]), [0, 10, 7, 12]);
        assert_eq!(schedule.clock_jumps(), 0);
        assert_eq!(due(&mut schedule, &[1_000, 1_003]), [12, 15]);
        assert_eq!(schedule.clock_jumps(), 1);
    }
}
