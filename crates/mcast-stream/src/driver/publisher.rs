//! Publishing a stream: the caller's thread sends, two threads of its own listen and keep time.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mcast::{Destination, Family, SenderBuilder};

use super::clock::{self, Clock};
use super::discovery::{self, Announcement};
use super::error::StreamError;
use super::snapshot::{Snapshot, SnapshotServer};
use super::transmit::Ways;
use crate::seal::Keys;
use crate::sender::{Refusal, SenderConfig, SenderEvent, SenderStatistics};
use crate::wire::{FlowControl, HEADER_LENGTH, Incarnation, ReceiverId, StreamId};

/// How long a thread that listens may take to see that it is to end.
const LISTEN: Duration = Duration::from_millis(100);
/// What listens takes so many at once, before it sends.
const ANSWERS_AT_ONCE: usize = 64;

/// Settings of a [`Publisher`].
#[derive(Debug)]
#[must_use]
pub struct PublisherBuilder {
    destinations: Vec<Destination>,
    config: SenderConfig,
    datagram: Option<usize>,
    hop_limit: u8,
    loopback: bool,
    name: Option<String>,
}

impl PublisherBuilder {
    /// Sends to this group, too: a stream on several is the same on each, and who hears two
    /// takes what comes first. At most four.
    pub fn to(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// The stream's identity. Default: random.
    pub const fn stream(mut self, stream: StreamId) -> Self {
        self.config.stream = stream;
        self
    }

    /// The life of this publisher: greater than any that the stream had. Default: from the time of day, in
    /// quarters of a second.
    pub const fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.config.incarnation = incarnation;
        self
    }

    /// Bytes a second. Default: as fast as it goes.
    pub const fn rate(mut self, bytes_per_second: u64) -> Self {
        self.config.rate = Some(bytes_per_second);
        self
    }

    /// Bytes that are kept for repairs. Default: 8 MiB, which a processor's cache holds.
    pub const fn history(mut self, bytes: usize) -> Self {
        self.config.history = bytes;
        self
    }

    /// For whom it waits. Default: for the slowest receiver, for as long as that gets on.
    pub const fn flow(mut self, flow: FlowControl) -> Self {
        self.config.flow = flow;
        self
    }

    /// A receiver that keeps the others waiting must get on within this time. Default: 2 s.
    pub fn eviction(mut self, time: Duration) -> Self {
        self.config.eviction = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// The longest message, in bytes. Default: 16 MiB.
    pub const fn longest_message(mut self, bytes: usize) -> Self {
        self.config.longest_message = bytes;
        self
    }

    /// The longest datagram, in bytes of UDP payload. Default: what the interface takes, if it
    /// is known, else 1,232.
    pub const fn datagram(mut self, bytes: usize) -> Self {
        self.datagram = Some(bytes);
        self
    }

    /// The secrets that seal. Default: none.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.config.keys = keys;
        self
    }

    /// How many networks a datagram may cross. Default: 1.
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// Whether receivers on this host hear it. Default: yes.
    pub const fn loopback(mut self, on: bool) -> Self {
        self.loopback = on;
        self
    }

    /// Tells this name every second to those who look for streams ([`discover`](crate::discover)).
    /// Of a sealed stream only those who have its key see it.
    pub fn announce(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// All other settings.
    pub fn configure(mut self, change: impl FnOnce(&mut SenderConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Opens the sockets and starts the threads.
    ///
    /// # Errors
    /// When a socket cannot be opened, or the settings cannot be.
    pub fn build(self) -> Result<Publisher, StreamError> {
        Publisher::new(self)
    }
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    clock: Clock,
    ways: Ways,
    core: Mutex<Core>,
    announcement: Mutex<Option<Announcement>>,
    /// Told when there may be more room, or less to wait for.
    progress: Condvar,
    /// Told when the next deadline comes sooner than the one that is slept until.
    sooner: Condvar,
    ends: AtomicBool,
}

#[derive(Debug)]
struct Core {
    sender: crate::Sender,
    /// Until when the timing thread sleeps.
    sleeps_until: u64,
    failure: Option<mcast::Error>,
}

/// Publishes a stream of messages: dependable, paced, and with a reason whenever it waits.
///
/// It is `Send + Sync`: threads may share it; what each publishes stays in its order.
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
    threads: Vec<JoinHandle<()>>,
}

/// How a publisher ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closing {
    /// Receivers that have everything.
    pub complete: usize,
    /// Those that don't, with how many datagrams they miss.
    pub behind: Vec<(ReceiverId, u64)>,
    /// What was sent in all.
    pub statistics: SenderStatistics,
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
        let stream = StreamId(clock::seed());
        let config = SenderConfig::new(stream, Incarnation(clock::incarnation()));
        PublisherBuilder {
            destinations: Vec::new(),
            config,
            datagram: None,
            hop_limit: 1,
            loopback: true,
            name: None,
        }
    }

    fn new(builder: PublisherBuilder) -> Result<Self, StreamError> {
        let PublisherBuilder { destinations, mut config, datagram, hop_limit, loopback, name } = builder;
        let first = destinations.first().ok_or(StreamError::NoDestination)?;
        if destinations.len() > 4 {
            return Err(StreamError::TooManyPaths(destinations.len()));
        }
        let family = first.address.group.family();
        config.datagram = datagram.unwrap_or_else(|| path_datagram(&destinations));
        let clock = Clock::new();
        (config.unix_offset, config.seed) = (clock.unix_offset(), clock::seed());
        let open = |destination: &Destination| settings(hop_limit, loopback).to(destination.clone()).build();
        let paths: Vec<_> = destinations.iter().map(open).collect::<mcast::Result<_>>()?;
        let discovery = match name {
            Some(_) => Some(open(&discovery::destination(first))?),
            None => None,
        };
        let announcement = name.map(|name| Announcement::new(name, &destinations));
        let control = UdpSocket::bind(any_address(family)).map_err(StreamError::Control)?;
        let sender = crate::Sender::new(config, clock.now())?;
        let shared = Arc::new(Shared {
            clock,
            ways: Ways { paths, family, discovery, control },
            announcement: Mutex::new(announcement),
            core: Mutex::new(Core { sender, sleeps_until: 0, failure: None }),
            progress: Condvar::new(),
            sooner: Condvar::new(),
            ends: AtomicBool::new(false),
        });
        let mut publisher = Self { shared, threads: Vec::new() };
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

    /// Publishes a message and sends it at once; waits while there is no room. Tells its number.
    ///
    /// # Errors
    /// [`StreamError::Refused`] when it can never be taken.
    pub fn publish(&self, message: &[u8]) -> Result<u64, StreamError> {
        let number = self.queue(message)?;
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

    /// Publishes a message that may wait for others to share its datagram, until
    /// [`flush`](Self::flush), or for a millisecond: the way to publish many small ones fast.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn queue(&self, message: &[u8]) -> Result<u64, StreamError> {
        self.queue_by(message.len(), |sender, now| sender.publish(now, message))
    }

    /// The same for a message about what the key names: to those who only want the latest of each.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn queue_keyed(&self, key: u64, message: &[u8]) -> Result<u64, StreamError> {
        self.queue_by(message.len(), |sender, now| sender.publish_keyed(now, key, message))
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

    /// Why the system last refused to send, if it did. What it refused is repaired.
    pub fn failure(&self) -> Option<mcast::Error> {
        self.shared.core().failure.take()
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

    /// The number of the next message: what a snapshot has, that has all messages so far.
    #[must_use]
    pub fn next_message(&self) -> u64 {
        self.shared.core().sender.next_message()
    }

    /// Serves snapshots at this address over TCP, sealed as the stream is, and tells the address
    /// with the stream's name. `capture` makes one, whenever one is asked for: the state after all messages before a number,
    /// and that number.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub fn serve_snapshots(
        &self,
        at: SocketAddr,
        capture: impl Fn() -> Snapshot + Send + Sync + 'static,
    ) -> Result<SnapshotServer, StreamError> {
        let (stream, incarnation, keys) = {
            let core = self.shared.core();
            let config = core.sender.config();
            (config.stream, config.incarnation, config.keys.clone())
        };
        let server = SnapshotServer::start(at, stream, incarnation, keys, capture)?;
        let mut announcement = self.shared.announcement.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(announcement) = &mut *announcement {
            announcement.snapshot = Some(server.address());
        }
        Ok(server)
    }

    /// Waits until so many receivers have joined; `false` when the time is over.
    #[must_use]
    pub fn wait_for(&self, receivers: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |sender| sender.receivers().0 >= receivers)
    }

    /// Waits until all that listen have everything that was published; `false` when the time is over.
    #[must_use]
    pub fn wait_complete(&self, timeout: Duration) -> bool {
        self.flush();
        self.wait_until(timeout, |sender| sender.is_sent() && sender.behind().next().is_none())
    }

    /// Seals with the greatest epoch of these from now on.
    pub fn set_keys(&self, keys: Keys) {
        let now = self.shared.clock.now();
        self.shared.core().sender.set_keys(now, keys);
    }

    /// Ends the stream, and waits for no longer than this until all that listen have everything.
    /// Tells who has not.
    #[must_use]
    pub fn close(self, timeout: Duration) -> Closing {
        {
            let mut core = self.shared.core();
            core.sender.close(self.shared.clock.now());
            self.shared.send(&mut core);
        }
        self.wait_until(timeout, |sender| sender.is_sent() && sender.behind().next().is_none());
        let core = self.shared.core();
        Closing {
            complete: core.sender.receivers().1,
            behind: core.sender.behind().collect(),
            statistics: core.sender.statistics(),
        }
    }

    fn queue_by(
        &self,
        length: usize,
        mut publish: impl FnMut(&mut crate::Sender, u64) -> Result<u64, Refusal>,
    ) -> Result<u64, StreamError> {
        let mut core = self.shared.core();
        loop {
            match publish(&mut core.sender, self.shared.clock.now()) {
                Ok(number) => {
                    if length > HEADER_LENGTH && core.sender.unsent() >= SEND_AT {
                        self.shared.send(&mut core);
                    }
                    return Ok(number);
                }
                Err(refusal) => core = self.make_room(core, refusal)?,
            }
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

    fn wait_until(&self, timeout: Duration, mut done: impl FnMut(&crate::Sender) -> bool) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut core = self.shared.core();
        loop {
            if done(&core.sender) {
                return true;
            }
            let left = deadline.map_or(LISTEN, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.progress.wait_timeout(core, left.min(LISTEN));
            core = waited.map_or_else(|error| error.into_inner().0, |(core, _)| core);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        drop(self.shared.core());
        self.shared.sooner.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What waits is sent once it is worth a call.
const SEND_AT: u64 = 256;

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all that is due; says how many datagrams of data went.
    fn send(&self, core: &mut Core) -> u64 {
        let before = core.sender.statistics().datagrams;
        if let Some(failure) = self.ways.send_all(&mut core.sender, self.clock.now()) {
            core.failure = Some(failure);
        }
        if core.sender.next_deadline() < core.sleeps_until {
            self.sooner.notify_one();
        }
        core.sender.statistics().datagrams - before
    }

    /// Takes what receivers send to one of the sockets.
    fn listen(&self, path: usize) {
        let mut buffer = vec![0; 65_536];
        let Some(socket) = self.ways.paths.get(path) else { return };
        while !self.ends.load(Ordering::Acquire) {
            let mut wait = LISTEN;
            let mut core = None;
            for _ in 0..ANSWERS_AT_ONCE {
                let Ok(Some(answer)) = socket.recv_answer(self.ways.family, &mut buffer, wait) else { break };
                let core = core.get_or_insert_with(|| self.core());
                core.sender.handle(self.clock.now(), answer.source, answer.payload);
                wait = Duration::ZERO;
            }
            if let Some(mut core) = core {
                self.send(&mut core);
                self.progress.notify_all();
            }
        }
    }

    /// Tells the stream's name when it is time; says when it is next.
    fn announce(&self, core: &mut Core) -> u64 {
        let mut announcement = self.announcement.lock().unwrap_or_else(PoisonError::into_inner);
        announcement
            .as_mut()
            .map_or(u64::MAX, |announcement| announcement.tell(&mut core.sender, self.clock.now()))
    }

    /// Does what is due when nobody else happens to.
    fn keep_time(&self) {
        let mut core = self.core();
        while !self.ends.load(Ordering::Acquire) {
            let announce_at = self.announce(&mut core);
            self.send(&mut core);
            let deadline = core.sender.next_deadline().min(announce_at);
            // Who is woken every few microseconds keeps others from their work.
            let sleep = self.clock.until(deadline).max(Duration::from_micros(50)).min(Duration::from_secs(1));
            core.sleeps_until = self.clock.now() + sleep.as_nanos() as u64;
            let woken = self.sooner.wait_timeout(core, sleep);
            core = woken.map_or_else(|error| error.into_inner().0, |(core, _)| core);
            core.sleeps_until = 0;
        }
    }
}

fn settings(hop_limit: u8, loopback: bool) -> SenderBuilder {
    mcast::Sender::builder().hop_limit(hop_limit).loopback(loopback).send_buffer(4 << 20)
}

pub(super) const fn any_address(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        Family::V6 => SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

/// The longest datagram that all the interfaces take whole, if they are known.
fn path_datagram(destinations: &[Destination]) -> usize {
    const IPV6_MINIMUM: usize = 1_232;
    let of_one = |destination: &Destination| {
        let family = destination.address.group.family();
        let interface = match &destination.interface {
            Some(selector) => mcast::find(selector).ok()?,
            None => mcast::default_interface_of(family).ok()??,
        };
        let headers = if family == Family::V4 { 28 } else { 48 };
        Some((interface.mtu as usize).clamp(IPV6_MINIMUM + headers, 9_000) - headers)
    };
    destinations.iter().map(|each| of_one(each).unwrap_or(IPV6_MINIMUM)).min().unwrap_or(IPV6_MINIMUM)
}
