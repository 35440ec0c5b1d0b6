//! Publishing a stream: the caller's thread sends, threads of its own listen and keep time.

mod builder;
mod shared;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mcast::Destination;

pub use builder::PublisherBuilder;
pub(super) use builder::any_address;

use super::clock::{self, Clock};
use super::discovery::{self, Announcement};
use super::error::StreamError;
use super::health::PathChange;
use super::singles::Singles;
use super::snapshot::{Snapshot, SnapshotServer};
use super::transmit::Ways;
use crate::seal::Keys;
use crate::sender::{Audience, Refusal, SenderConfig, SenderEvent, SenderStatistics, Standing};
use crate::wire::{Incarnation, ReceiverId, StreamId};
use shared::{Core, Shared};

/// How often the end is told once more, and how far apart: at a loss of one in five, a subscriber in some
/// hundred thousand does not hear of it.
/// How long a publisher that closes waits for applications that have not read everything that has come.
pub(crate) const READING: Duration = Duration::from_secs(1);
pub(crate) const LAST_WORDS: u32 = 8;
pub(crate) const BETWEEN_LAST_WORDS: Duration = Duration::from_millis(2);

/// What waits is sent once it is worth a call.
const SEND_AT: u64 = 256;

/// Publishes a stream of messages: dependable, paced, and with a reason whenever it waits.
///
/// It is `Send + Sync`: threads may share it; what each publishes stays in its order.
///
/// Dropping it sends what was accepted and repairs it, as described at
/// [`drop_timeout`](PublisherBuilder::drop_timeout); the stream does not end. [`close`](Self::close) ends the stream and
/// reports what did not arrive.
///
/// ```no_run
/// use mcast_stream::Publisher;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::to("239.1.2.3%eth0:7000".parse()?)?;
/// publisher.publish(b"hello")?;
/// let closing = publisher.close(std::time::Duration::from_secs(5));
/// assert!(closing.behind.is_empty(), "somebody does not have everything");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    /// Its groups and interfaces, as they were named.
    #[cfg(feature = "metrics")]
    places: (String, String),
    threads: Vec<JoinHandle<()>>,
    on_drop: OnDrop,
    /// How far the clock is behind the last start, as the state file has it.
    clock_behind: Option<Duration>,
}

/// What dropping a publisher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDrop {
    /// Sends what was accepted and waits for it on the thread that drops.
    Drain,
    /// The same on a thread of the runtime, so that no executor is blocked.
    #[cfg(feature = "tokio")]
    DrainInBackground,
}

/// How a publisher ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closing {
    /// Receivers that have everything.
    pub complete: usize,
    /// Receivers that are there and have not confirmed everything, with how many datagrams they miss.
    pub behind: Vec<(ReceiverId, u64)>,
    /// How many receivers stand where, of all that there ever were: delivery to all is certain only if
    /// [`Audience::complete`] counts all of them.
    pub audience: Audience,
    /// Where each receiver stands. Of receivers that have gone, only the last few thousand are listed.
    pub standings: Vec<(ReceiverId, SocketAddr, Standing)>,
    /// Datagrams that were accepted and never sent: the rate, a receiver or the system did not allow it in time.
    pub unsent: u64,
    /// What was sent in all.
    pub statistics: SenderStatistics,
}

impl Closing {
    pub(crate) fn of(sender: &crate::Sender) -> Self {
        Self {
            complete: sender.receivers().1,
            behind: sender.behind().collect(),
            audience: sender.audience(),
            standings: sender.standings().collect(),
            unsent: sender.unsent(),
            statistics: sender.statistics(),
        }
    }
}

impl Publisher {
    /// A publisher to this group, with default settings.
    ///
    /// # Errors
    /// As [`PublisherBuilder::build`].
    pub fn to(destination: Destination) -> Result<Self, StreamError> {
        Self::builder().to(destination).build()
    }

    /// Settings for a publisher.
    pub fn builder() -> PublisherBuilder {
        PublisherBuilder::new()
    }

    fn new(mut builder: PublisherBuilder) -> Result<Self, StreamError> {
        let first = builder.destinations.first().cloned().ok_or(StreamError::NoDestination)?;
        if builder.destinations.len() > 4 {
            return Err(StreamError::TooManyPaths(builder.destinations.len()));
        }
        let family = first.address.group.family();
        if builder.destinations.iter().any(|other| other.address.group.family() != family) {
            return Err(StreamError::MixedFamilies);
        }
        if let Some(name) = builder.name.as_ref().filter(|name| !(1..=255).contains(&name.len())) {
            return Err(StreamError::Name(name.len()));
        }
        builder.check_interfaces()?;
        let by_the_clock = builder.config.incarnation;
        let last_incarnation = builder.begin_incarnation()?;
        builder.outlive_others();
        let clock = Clock::new();
        let paths = builder.destinations.iter().map(|destination| builder.open(destination));
        let paths: Vec<_> = paths.collect::<mcast::Result<_>>()?;
        let discovery = match builder.name {
            Some(_) => Some(builder.open(&discovery::destination(&first))?),
            None => None,
        };
        let datagram = builder.longest_datagram();
        #[cfg(feature = "metrics")]
        let places = (
            super::label(builder.destinations.iter().map(|each| each.address)),
            super::label(builder.destinations.iter().filter_map(|each| each.interface.as_ref())),
        );
        let announcement = builder.name.map(|name| Announcement::new(name, &builder.destinations));
        let (unix_offset, seed) = (clock.unix_offset(), clock::seed());
        let copies = u8::try_from(paths.len()).unwrap_or(u8::MAX);
        let config = SenderConfig { datagram, paths: copies, unix_offset, seed, ..builder.config };
        let control = UdpSocket::bind(any_address(family)).map_err(StreamError::Control)?;
        let sender = crate::Sender::new(config, clock.now())?;
        let shared = Arc::new(Shared {
            clock,
            ways: Ways { paths, family, discovery, singles: Singles::new(control) },
            announcement: Mutex::new(announcement),
            core: Mutex::new(Core::new(sender, builder.destinations.len())),
            progress: Condvar::new(),
            sooner: Condvar::new(),
            drop_timeout: builder.drop_timeout,
            is_settled: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let mut publisher = Self {
            shared,
            #[cfg(feature = "metrics")]
            places,
            threads: Vec::new(),
            on_drop: OnDrop::Drain,
            clock_behind: last_incarnation.and_then(|last| clock::behind(by_the_clock, last)),
        };
        publisher.shared.send(&mut publisher.shared.core());
        for path in 0..publisher.shared.ways.paths.len() {
            publisher.spawn("mcast-stream-listen", move |shared| shared.listen(path))?;
        }
        publisher.spawn("mcast-stream-time", Shared::keep_time)?;
        Ok(publisher)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<(), StreamError> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared));
        self.threads.push(thread.map_err(StreamError::Thread)?);
        Ok(())
    }

    /// Publishes a message and returns its number. It is sent at once, or as soon as the configured rate allows. While
    /// there is no room, this waits, and for as long as a receiver that the publisher waits for makes no room.
    ///
    /// # Errors
    /// [`StreamError::Refused`] when it can never be accepted.
    pub fn publish(&self, message: &[u8]) -> Result<u64, StreamError> {
        let number = self.queue(message)?;
        self.flush();
        Ok(number)
    }

    /// [`publish`](Self::publish) that waits for room for at most `timeout`. A message that is refused is not published.
    ///
    /// # Errors
    /// [`StreamError::Refused`]: when there was no room in time, with the reason, for instance the receiver that the
    /// publisher waits for ([`Refusal::is_temporary`]); or when the message can never be accepted.
    pub fn publish_timeout(&self, message: &[u8], timeout: Duration) -> Result<u64, StreamError> {
        let deadline = Instant::now().checked_add(timeout);
        let number = self.queue_until(deadline, |sender, now| sender.publish(now, message))?;
        self.flush();
        Ok(number)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// [`StreamError::Refused`], with the reason, when there is no room.
    pub fn try_publish(&self, message: &[u8]) -> Result<u64, StreamError> {
        let mut core = self.shared.core();
        let number = core.sender.publish(self.shared.clock.now(), message)?;
        self.flush_now(&mut core);
        Ok(number)
    }

    /// Does something without waiting, be it for the lock: who sends may hold it for as long as the system's queue is
    /// full. The publisher's own thread sends what is to be sent. `None`: the lock is taken, so that nothing was done.
    #[cfg(feature = "tokio")]
    pub(crate) fn post<T>(&self, work: impl FnOnce(&mut crate::Sender, u64) -> T) -> Option<T> {
        let mut core = self.shared.try_core()?;
        let now = self.shared.clock.now();
        let done = work(&mut core.sender, now);
        core.sender.flush(now);
        self.shared.leave_to_time(&core);
        Some(done)
    }

    /// Publishes a message that may wait for others to share its datagram, until
    /// [`flush`](Self::flush), or for a millisecond: the way to publish many small ones fast.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn queue(&self, message: &[u8]) -> Result<u64, StreamError> {
        self.queue_by(|sender, now| sender.publish(now, message))
    }

    /// [`queue`](Self::queue) without waiting.
    ///
    /// # Errors
    /// [`StreamError::Refused`], with the reason, when there is no room.
    pub fn try_queue(&self, message: &[u8]) -> Result<u64, StreamError> {
        self.try_queue_by(|sender, now| sender.publish(now, message))
    }

    /// [`queue_keyed`](Self::queue_keyed) without waiting.
    ///
    /// # Errors
    /// [`StreamError::Refused`], with the reason, when there is no room.
    pub fn try_queue_keyed(&self, key: u64, message: &[u8]) -> Result<u64, StreamError> {
        self.try_queue_by(|sender, now| sender.publish_keyed(now, key, message))
    }

    fn try_queue_by(
        &self,
        mut publish: impl FnMut(&mut crate::Sender, u64) -> Result<u64, Refusal>,
    ) -> Result<u64, StreamError> {
        let mut core = self.shared.core();
        loop {
            let now = self.shared.clock.now();
            match publish(&mut core.sender, now) {
                Err(refusal) if !refusal.is_temporary() || self.shared.send(&mut core) == 0 => {
                    return Err(refusal.into());
                }
                Err(_) => {}
                Ok(number) => {
                    self.send_soon(&mut core, now);
                    return Ok(number);
                }
            }
        }
    }

    /// Waits until receivers have told something, which may have made room; no longer than this.
    pub fn wait_for_room(&self, timeout: Duration) {
        drop(self.shared.progress.wait_timeout(self.shared.core(), timeout));
    }

    /// The same for a message about what the key names: to those who only want the latest of each.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn queue_keyed(&self, key: u64, message: &[u8]) -> Result<u64, StreamError> {
        self.queue_by(|sender, now| sender.publish_keyed(now, key, message))
    }

    /// Publishes many messages with one lock; sends them. Tells the number of the last.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); those before the one that fails are published.
    pub fn publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m [u8]>,
    ) -> Result<Option<u64>, StreamError> {
        let mut core = self.shared.core();
        let mut now = self.shared.clock.now();
        let mut last = None;
        for message in messages {
            last = Some(loop {
                match core.sender.publish(now, message) {
                    Ok(number) => break number,
                    Err(refusal) => {
                        core = self.make_room(core, refusal)?;
                        now = self.shared.clock.now();
                    }
                }
            });
            if core.sender.unsent() >= SEND_AT {
                self.shared.send(&mut core);
                now = self.shared.clock.now();
            }
        }
        self.flush_now(&mut core);
        Ok(last)
    }

    /// Sends what was queued.
    pub fn flush(&self) {
        self.flush_now(&mut self.shared.core());
    }

    /// What happened, the oldest first.
    pub fn event(&self) -> Option<SenderEvent> {
        self.shared.core().sender.poll_event()
    }

    /// Why a path went down, or its queue was full, the oldest first; each change is reported once. What was refused
    /// is repaired. This takes from the same queue as [`path_change`](Self::path_change).
    pub fn failure(&self) -> Option<mcast::Error> {
        let mut core = self.shared.core();
        loop {
            match core.health.change()? {
                PathChange::Down { error, .. } | PathChange::QueueFull { error, .. } => return Some(error),
                PathChange::Up { .. } => {}
            }
        }
    }

    /// What changed about the paths: one went down, or works again. The oldest change first, each once.
    pub fn path_change(&self) -> Option<PathChange> {
        self.shared.core().health.change()
    }

    /// Whether some path could send when it was last tried.
    #[must_use]
    pub fn is_any_path_up(&self) -> bool {
        self.shared.core().health.is_any_up()
    }

    /// How many receivers stand where, of all that there ever were.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.shared.core().sender.audience()
    }

    /// Where each receiver stands, and its address. Of receivers that have gone, only the last few thousand are
    /// listed.
    #[must_use]
    pub fn standings(&self) -> Vec<(ReceiverId, SocketAddr, Standing)> {
        self.shared.core().sender.standings().collect()
    }

    /// What was sent so far.
    #[must_use]
    pub fn statistics(&self) -> SenderStatistics {
        self.shared.core().sender.statistics()
    }

    /// The stream's identity.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.shared.core().sender.config().stream
    }

    /// Its incarnation: how subscribers tell it from the publishers that the stream had before.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared.core().sender.config().incarnation
    }

    /// How far this machine's clock is behind the last start of the stream, if it is: the
    /// [state file](PublisherBuilder::state_file) has a later one.
    #[must_use]
    pub const fn clock_behind(&self) -> Option<Duration> {
        self.clock_behind
    }

    /// The number of the next message: what a snapshot has, that has all messages so far.
    #[must_use]
    pub fn next_message(&self) -> u64 {
        self.shared.core().sender.next_message()
    }

    /// Serves snapshots at this address over TCP, sealed as the stream is, and tells the address
    /// with the stream's name. `capture` makes one, whenever one is asked for: the state after all messages before a number,
    /// and that number; or `None` when it cannot.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub fn serve_snapshots<S: Into<Option<Snapshot>>>(
        &self,
        at: SocketAddr,
        capture: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<SnapshotServer, StreamError> {
        let (stream, incarnation) = {
            let core = self.shared.core();
            (core.sender.config().stream, core.sender.config().incarnation)
        };
        let shared = Arc::clone(&self.shared);
        let keys = Box::new(move || shared.core().sender.config().keys.clone());
        let server = SnapshotServer::start(at, stream, incarnation, keys, move || capture().into())?;
        let mut announcement = self.shared.announcement.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(announcement) = &mut *announcement {
            announcement.snapshot = Some(server.address());
        }
        Ok(server)
    }

    /// Its groups and interfaces.
    #[cfg(feature = "metrics")]
    pub(crate) fn places(&self) -> (String, String) {
        self.places.clone()
    }

    /// Waits until so many receivers have joined; `false` when the time is over.
    #[must_use]
    pub fn wait_for(&self, receivers: usize, timeout: Duration) -> bool {
        self.shared.wait_until(timeout, |sender| sender.receivers().0 >= receivers)
    }

    /// Waits until all that listen have everything that was published; `false` when the time is over.
    #[must_use]
    pub fn wait_complete(&self, timeout: Duration) -> bool {
        self.flush();
        self.shared.wait_until(timeout, is_complete)
    }

    /// Waits until the applications of all subscribers have read everything. Of a stream that has not
    /// [ended](Self::end) that is not known, and everything having been received counts. `false` when the time is over.
    #[must_use]
    pub fn wait_read(&self, timeout: Duration) -> bool {
        self.shared.wait_until(timeout, |sender| is_complete(sender) && is_read(sender))
    }

    /// Seals with the greatest epoch of these from now on.
    pub fn set_keys(&self, keys: Keys) {
        let now = self.shared.clock.now();
        self.shared.core().sender.set_keys(now, keys);
    }

    /// Ends the stream, without waiting for anybody: nothing more can be published. What was is still repaired until the
    /// publisher is dropped; [`wait_complete`](Self::wait_complete) and [`close`](Self::close) wait for that.
    pub fn end(&self) {
        let mut core = self.shared.core();
        core.sender.close(self.shared.clock.now());
        self.shared.send(&mut core);
    }

    /// Ends the stream, waits up to `timeout` until all receivers have received everything, and reports where each
    /// stands. Applications that have not read all of it by then are given up to one more second of that time: who is
    /// still reading afterwards is reported as [`Standing::Unread`]. Whoever shares the publisher can publish nothing
    /// more.
    #[must_use]
    pub fn close(&self, timeout: Duration) -> Closing {
        let deadline = Instant::now().checked_add(timeout);
        self.end();
        if self.shared.wait_until(timeout, is_complete) {
            let left =
                deadline.map_or(READING, |deadline| deadline.saturating_duration_since(Instant::now()));
            self.shared.wait_until(left.min(READING), is_read);
        }
        self.repeat_the_end();
        self.settle();
        Closing::of(&self.shared.core().sender)
    }

    /// The caller knows how the stream ended: dropping the publisher waits for nobody any more.
    pub(crate) fn settle(&self) {
        self.shared.is_settled.store(true, Ordering::Release);
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.on_drop = on_drop;
    }

    /// Tells the end some more times: who asks for no repairs has only this to know it by.
    fn repeat_the_end(&self) {
        for _ in 0..LAST_WORDS {
            std::thread::sleep(BETWEEN_LAST_WORDS);
            self.end();
        }
    }

    fn queue_by(
        &self,
        publish: impl FnMut(&mut crate::Sender, u64) -> Result<u64, Refusal>,
    ) -> Result<u64, StreamError> {
        self.queue_until(None, publish)
    }

    fn queue_until(
        &self,
        deadline: Option<Instant>,
        mut publish: impl FnMut(&mut crate::Sender, u64) -> Result<u64, Refusal>,
    ) -> Result<u64, StreamError> {
        let mut core = self.shared.core();
        loop {
            let now = self.shared.clock.now();
            match publish(&mut core.sender, now) {
                Ok(number) => {
                    self.send_soon(&mut core, now);
                    return Ok(number);
                }
                Err(refusal) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Err(refusal.into());
                }
                Err(refusal) => core = self.make_room(core, refusal)?,
            }
        }
    }

    /// Sends what waits if it is worth a call; else the thread that keeps time does, once it has waited long enough.
    fn send_soon(&self, core: &mut Core, now: u64) {
        if core.sender.unsent() >= SEND_AT {
            self.shared.send(core);
        } else if core.sleeps_until > now.saturating_add(core.sender.config().linger) {
            self.shared.sooner.notify_one();
        }
    }

    /// Sends, and if that is not enough, waits until something changes.
    fn make_room<'s>(
        &'s self,
        mut core: MutexGuard<'s, Core>,
        refusal: Refusal,
    ) -> Result<MutexGuard<'s, Core>, StreamError> {
        if !refusal.is_temporary() {
            return Err(refusal.into());
        }
        if self.shared.send(&mut core) > 0 {
            return Ok(core);
        }
        let wait = Duration::from_millis(10);
        Ok(self
            .shared
            .progress
            .wait_timeout(core, wait)
            .map_or_else(|error| error.into_inner().0, |(core, _)| core))
    }

    fn flush_now(&self, core: &mut Core) {
        core.sender.flush(self.shared.clock.now());
        self.shared.send(core);
    }
}

/// Whether all that listen have everything that was published; of a stream that has ended, whether they know that.
pub(crate) fn is_complete(sender: &crate::Sender) -> bool {
    sender.is_sent() && sender.behind().next().is_none()
}

/// Whether the applications of all that listen have taken everything.
pub(crate) fn is_read(sender: &crate::Sender) -> bool {
    sender.audience().unread == 0
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let (shared, threads) = (Arc::clone(&self.shared), std::mem::take(&mut self.threads));
        let end = move || {
            shared.drain();
            shared.end_threads();
            for thread in threads {
                let _ = thread.join();
            }
        };
        match self.on_drop {
            OnDrop::Drain => end(),
            #[cfg(feature = "tokio")]
            OnDrop::DrainInBackground => match tokio::runtime::Handle::try_current() {
                // A runtime that ends waits for it.
                Ok(runtime) => drop(runtime.spawn_blocking(end)),
                Err(_) => end(),
            },
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use mcast_lab::Lab;

    use super::*;

    fn publisher() -> Publisher {
        Publisher::to("239.7.7.7%lo:7000".parse().unwrap()).unwrap()
    }

    /// Waits until this holds; tells for how long.
    fn wait_until(publisher: &Publisher, holds: impl Fn(SenderStatistics) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(publisher.statistics()) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", publisher.statistics());
            std::thread::sleep(Duration::from_micros(100));
        }
        began.elapsed()
    }

    /// How late each of these was sent, the soonest first.
    fn queue_when_nothing_happens() -> Vec<Duration> {
        let publisher = publisher();
        let late = (1..=5).map(|count| {
            // The sixth heartbeat of a pause is followed by the next after a third of a second.
            let heartbeats = publisher.statistics().heartbeats;
            wait_until(&publisher, |statistics| statistics.heartbeats >= heartbeats + 6);
            publisher.queue(b"hello").unwrap();
            wait_until(&publisher, |statistics| statistics.datagrams == count)
        });
        let mut late: Vec<Duration> = late.collect();
        late.sort();
        late
    }

    #[test]
    fn what_is_queued_in_a_pause_goes_soon() {
        let lab = Lab::new().unwrap();
        let late = lab.host("alone").unwrap().run(queue_when_nothing_happens).unwrap();
        // A millisecond, and not when the publisher next looks about itself, every tenth of a second; a machine that stands still
        // for a moment makes one late.
        assert!(late[2] < Duration::from_millis(30), "{late:?}");
    }

    #[cfg(feature = "tokio")]
    fn publish_while_the_lock_is_held(publisher: Publisher) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let publisher = crate::tokio::Publisher::new(publisher);
        let shared = Arc::clone(&publisher.shared);
        let held = shared.core();
        runtime.block_on(async {
            let mut publishing = std::pin::pin!(publisher.publish(b"hello"));
            let ticked = tokio::time::timeout(Duration::from_millis(20), &mut publishing).await;
            assert!(ticked.is_err(), "nothing can be published while the lock is held");
            assert!(!publisher.wait_complete(Duration::from_millis(20)).await);
            assert!(!publisher.wait_for(0, Duration::from_millis(20)).await);
            drop(held);
            assert_eq!(publishing.await.unwrap(), 0);
            assert!(publisher.wait_complete(Duration::from_secs(5)).await, "the publisher's thread sends it");
        });
        assert_eq!(publisher.statistics().datagrams, 1);
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn who_sends_for_long_keeps_no_executor() {
        let lab = Lab::new().unwrap();
        lab.host("alone").unwrap().run(|| publish_while_the_lock_is_held(publisher())).unwrap();
    }
}
