//! Compares the kernel's transmit times of datagrams with the scheduled times.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use mcast_group::InterfaceIndex;

use crate::{Capture, Error, ErrorKind, Result};

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
