//! `--measure`: compares the kernel's transmit times with the scheduled times.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mcast::{InterfaceIndex, InterfaceSelector};
use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_measure::Histogram;

/// The maximum number of measured datagrams per interface (64 MB).
const MAX_DATAGRAMS: usize = 8_000_000;
/// How long to wait until the last datagram is captured.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Captures the datagrams sent.
#[derive(Debug)]
pub(super) struct Measure {
    watcher: Option<JoinHandle<anyhow::Result<u64>>>,
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

/// The differences between the kernel's times and the scheduled ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimingAccuracy {
    pub(super) datagrams: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Measure {
    /// Opens a capture on these interfaces.
    pub(super) fn open(interfaces: &[InterfaceSelector]) -> anyhow::Result<Capture> {
        let names = interfaces.iter().map(|selector| Ok(mcast::find(selector)?.name));
        let options = CaptureOptions::on_names(names.collect::<mcast::Result<Vec<_>>>()?);
        Ok(Capture::open(options.filter(Filter::Multicast).buffer_size(32 << 20))?)
    }

    /// Starts to record transmit times.
    pub(super) fn begin(capture: Capture) -> anyhow::Result<Self> {
        let shared = Arc::<Shared>::default();
        let watched = Arc::clone(&shared);
        let watcher = std::thread::Builder::new().name("measure".into());
        let watcher = watcher.spawn(move || watched.watch(capture)).context("cannot start a thread")?;
        let anchor = (Instant::now(), SystemTime::now());
        Ok(Self { watcher: Some(watcher), shared, due: BTreeMap::new(), anchor })
    }

    /// Adds a source port of datagrams.
    pub(super) fn add_port(&self, port: u16) {
        let mut ports = self.shared.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if !ports.contains(&port) {
            ports.push(port);
        }
    }

    /// Records when a datagram on this interface is due.
    pub(super) fn add_due(&mut self, interface: InterfaceIndex, due: Instant) {
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

    /// Compares the times, after everything was sent. Returns `None` if some datagrams were not captured, because then
    /// captured and scheduled times cannot be matched.
    pub(super) fn end(mut self) -> anyhow::Result<Option<TimingAccuracy>> {
        let deadline = Instant::now() + TIMEOUT;
        while !self.shared.has_seen(&self.due) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.ends.store(true, Ordering::Relaxed);
        let dropped = match self.watcher.take().map(JoinHandle::join) {
            Some(Ok(dropped)) => dropped?,
            _ => anyhow::bail!("the measuring thread has failed"),
        };
        let left = self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut errors = Histogram::new();
        for (interface, due) in &self.due {
            let Some(left) = left.get(interface).filter(|left| left.len() == due.len() && dropped == 0)
            else {
                return Ok(None);
            };
            due.iter().zip(left).for_each(|(due, left)| errors.record(due.abs_diff(*left)));
        }
        Ok(errors.percentiles().map(|percentiles| TimingAccuracy {
            datagrams: errors.count(),
            p50: percentiles.p50,
            p99: percentiles.p99,
            max: percentiles.max,
        }))
    }
}

impl Shared {
    /// Records the transmit times until it is stopped; returns the number of lost frames.
    fn watch(&self, mut capture: Capture) -> anyhow::Result<u64> {
        while !self.ends.load(Ordering::Relaxed) {
            let Some(frame) = capture.next(Some(Duration::from_millis(20)))? else { continue };
            let packet = frame.packet();
            let Some(udp) = packet.udp().filter(|_| frame.direction.is_outgoing()) else { continue };
            let is_ours = {
                let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
                ports.contains(&udp.source_port)
            };
            // Later fragments have no UDP header; the first one has the time of the datagram.
            if is_ours {
                let mut left = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
                let times = left.entry(frame.interface).or_default();
                if times.len() < MAX_DATAGRAMS {
                    times.push(nanoseconds(frame.time));
                }
            }
        }
        Ok(capture.statistics()?.dropped)
    }

    fn has_seen(&self, due: &BTreeMap<InterfaceIndex, Vec<u64>>) -> bool {
        let left = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        due.iter().all(|(interface, due)| left.get(interface).is_some_and(|left| left.len() >= due.len()))
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
