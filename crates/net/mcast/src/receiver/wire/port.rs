//! The rings of an interface, and the thread that notices others who would miss frames.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use mcast_group::{GroupAddr, InterfaceIndex, SourceFilter};
use mcast_sys::KernelClock;
use mcast_sys::poller::Poller;
use mcast_sys::timing::clock_time;
use mcast_sys::watch::InterfaceWatch;
use mcast_sys::wire::{FrameRing, WireFrame, WireProgram};

use super::frame::WireDatagram;
use super::{Joined, OwnAddresses, Shared};
use crate::batch::Batch;
use crate::datagram::Arrival;
use crate::receiver::table::AddressHasher;

/// An interface from which frames are taken.
#[derive(Debug)]
pub(crate) struct WirePort {
    pub(super) interface: InterfaceIndex,
    pub(super) program: Arc<WireProgram>,
    rings: Vec<Mutex<Ring>>,
    admitted: HashMap<GroupAddr, SourceFilter, BuildHasherDefault<AddressHasher>>,
    /// The IPv4 addresses of this host. The kernel discards what arrives from them.
    own: OwnAddresses,
    /// Whether time and loss are reported with each datagram.
    details: bool,
    /// The ring to read first, so that none waits for the others.
    next: AtomicUsize,
}

#[derive(Debug)]
struct Ring {
    frames: FrameRing,
    /// The drops reported so far.
    reported: u64,
    /// The numbers of frames before which more were dropped, each with the drops up to it. A full ring drops the
    /// frames that follow, so drops belong before the next frame to arrive when they are noticed.
    gaps: VecDeque<(u32, u64)>,
}

/// The most gaps of a ring that are kept apart; later ones are joined to the last.
const MOST_GAPS: usize = 64;

/// The number of datagrams that one reading of a port delivered and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RingCount {
    pub(crate) received: u64,
    pub(crate) truncated: u64,
    pub(crate) refused: u64,
    pub(crate) damaged: u64,
}

/// The difference between the clocks of frames and of datagrams, which is the same for all frames that are read at once.
#[derive(Clone, Copy)]
struct Clock(Option<SystemTime>);

impl WirePort {
    pub(super) fn new(
        interface: InterfaceIndex,
        program: Arc<WireProgram>,
        rings: Vec<FrameRing>,
        own: OwnAddresses,
        details: bool,
    ) -> Self {
        let ring =
            |frames| Mutex::new(Ring { frames, reported: 0, gaps: VecDeque::with_capacity(MOST_GAPS) });
        Self {
            interface,
            program,
            rings: rings.into_iter().map(ring).collect(),
            admitted: HashMap::default(),
            own,
            details,
            next: AtomicUsize::new(0),
        }
    }

    /// Admits the datagrams of what is joined on this interface, and of nothing else.
    pub(super) fn admit<'a>(&mut self, joined: impl Iterator<Item = Joined<'a>>) {
        let here = joined.filter(|(_, interface, _)| *interface == self.interface);
        self.admitted = here.map(|(address, _, filter)| (address, filter.clone())).collect();
    }

    /// Moves datagrams from all rings into the free part of a batch.
    pub(crate) fn fill(&self, batch: &mut Batch) -> RingCount {
        let mut taken = RingCount::default();
        let first = if self.rings.len() > 1 { self.next.fetch_add(1, Ordering::Relaxed) } else { 0 };
        for number in 0..self.rings.len() {
            self.fill_from((first + number) % self.rings.len(), batch, &mut taken);
        }
        taken
    }

    /// Moves datagrams from one ring into the free part of a batch.
    pub(crate) fn fill_from(&self, ring: usize, batch: &mut Batch, taken: &mut RingCount) {
        let Some(ring) = self.rings.get(ring) else { return };
        let ring = &mut *lock_ring(ring);
        if !ring.frames.is_readable() || batch.free().is_none() {
            return;
        }
        let clock = Clock::now(self.details);
        // Asking the system takes as long as reading several frames.
        if self.details && ring.frames.may_have_been_full() {
            ring.note_drops();
        }
        let Ring { frames, reported, gaps } = ring;
        let own = self.own.get();
        let leaves_checksums = self.program.leaves_checksums();
        let is_own =
            |source: IpAddr| matches!(source, IpAddr::V4(source) if own.binary_search(&source).is_ok());
        // Most datagrams are to the same group as the one before.
        let mut last: Option<(GroupAddr, &SourceFilter)> = None;
        frames.take(usize::MAX, |number, frame| {
            let Some(datagram) = WireDatagram::parse(frame.bytes, self.interface, leaves_checksums) else {
                taken.damaged += 1;
                return true;
            };
            let address = datagram.destination;
            let filter = match last {
                Some((group, filter)) if group == address => Some(filter),
                _ => self.admitted.get(&address),
            };
            last = filter.map(|filter| (address, filter));
            let source = datagram.source.ip();
            if !filter.is_some_and(|filter| filter.admits(source) && !is_own(source)) {
                taken.refused += 1;
                return true;
            }
            let mut lost = 0;
            // Gaps may be before frames that were refused.
            while let Some((before, total)) = gaps.front()
                && number.wrapping_sub(*before).cast_signed() >= 0
            {
                lost += total - *reported;
                *reported = *total;
                gaps.pop_front();
            }
            let arrival = self.arrival(&datagram, clock.time(&frame), lost);
            let truncated = datagram.payload.len() > batch.buffer_bytes();
            batch.push(datagram.payload, arrival);
            taken.received += 1;
            taken.truncated += u64::from(truncated);
            batch.free().is_some()
        });
    }

    /// Stops waiting for a ring whose interface is gone. If that is in another network namespace now, its program is there, too.
    pub(crate) fn check(&self, ring: usize, poller: &Poller) {
        if let Some(ring) = self.rings.get(ring).map(lock_ring)
            && !ring.frames.is_readable()
            && ring.frames.failure().is_some()
        {
            // Closing it removes it in any case.
            let _ = ring.frames.unregister(poller);
            // It fails if the program is gone with the interface.
            let _ = self.program.end();
        }
    }

    /// Returns whether the interface is gone.
    pub(super) fn has_failed(&self) -> bool {
        self.rings.iter().any(|ring| lock_ring(ring).frames.failure().is_some())
    }

    pub(super) fn unregister(&self, poller: &Poller) {
        for ring in &self.rings {
            // Closing it removes it in any case.
            let _ = lock_ring(ring).frames.unregister(poller);
        }
    }

    pub(super) fn drops(&self) -> Option<u64> {
        self.rings.iter().try_fold(0, |sum, ring| Some(sum + lock_ring(ring).frames.drops().ok()?))
    }

    #[inline]
    fn arrival(&self, datagram: &WireDatagram<'_>, time: Option<SystemTime>, lost: u64) -> Arrival {
        let arrival = Arrival::new(datagram.destination, self.interface, datagram.source);
        if !self.details {
            return arrival;
        }
        Arrival {
            hop_limit: Some(datagram.hop_limit),
            traffic_class: Some(datagram.traffic_class),
            time,
            lost: Some(lost),
            ..arrival
        }
    }
}

impl Ring {
    fn note_drops(&mut self) {
        // If the system does not say, the count of all remains, and the next reading adds it.
        let Ok(total) = self.frames.drops() else { return };
        let noted = self.gaps.back().map_or(self.reported, |(_, total)| *total);
        if total <= noted {
            return;
        }
        let next = self.frames.next_number();
        let is_full = self.gaps.len() == MOST_GAPS;
        match self.gaps.back_mut() {
            Some((before, last)) if is_full || *before == next => *last = total,
            _ => self.gaps.push_back((next, total)),
        }
    }
}

impl Clock {
    fn now(details: bool) -> Self {
        let since = details.then(|| clock_time(KernelClock::Monotonic).ok()).flatten();
        Self(since.and_then(|since| SystemTime::now().checked_sub(since)))
    }

    /// Returns when a frame was received; without a time of the driver, when it is read.
    #[inline]
    fn time(self, frame: &WireFrame<'_>) -> Option<SystemTime> {
        match frame.time {
            Some(time) => self.0?.checked_add(Duration::from_nanos(time)),
            None => self.0.map(|_| SystemTime::now()),
        }
    }
}

fn lock_ring(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often the sockets of the machine are listed: how long another program that begins to receive may miss datagrams.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Nothing is ever sent; dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching in the calling thread's network namespace.
    pub(crate) fn start(shared: Arc<Mutex<Shared>>, own: OwnAddresses) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let links = InterfaceWatch::open()?;
        let watch = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                // If it is unknown, something may have changed.
                let has_changed = !matches!(links.wait(Some(Duration::ZERO)), Ok(None));
                if has_changed {
                    own.read();
                }
                let mut shared = super::lock(&shared);
                shared.renew();
                // Also without a notice: interfaces elsewhere, and rules, cause none.
                shared.yield_to_links();
                shared.yield_to_others();
            }
        };
        let thread = Builder::new().name("mcast wire".into()).spawn(watch)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there is already reported.
            let _ = thread.join();
        }
    }
}
