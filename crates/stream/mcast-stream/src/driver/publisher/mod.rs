//! Publishing a stream. The caller's thread sends; the publisher's own threads receive feedback and run timers.

#[cfg(feature = "acknowledgements")]
mod acknowledgements;
mod builder;
mod closing;
mod shared;
#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mcast::{Destination, Family, InterfaceIndex};
use mcast_sys::{trace_event, trace_span};

pub use builder::PublisherBuilder;
pub use closing::Closing;
pub(super) use closing::OnDrop;
pub use shared::PublisherProgress;

use super::clock::{self, Clock};
use super::discovery::Announcement;
use super::error::{StreamError, StreamStep};
use super::health::{HostStatus, PathChange};
#[cfg(feature = "log")]
use super::history::HistoryServer;
#[cfg(feature = "history")]
use super::snapshot::{Snapshot, SnapshotServer};
use super::transmit::{Endpoint, EndpointSocket, PublisherSockets};
use super::unicast::UnicastSockets;
use crate::ClockTime;
use crate::publisher::{
    Audience, OutgoingMessage, PublisherEvent, PublisherRate, PublisherStatistics, Refusal,
    SubscriberProgress,
};
use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::Signer;
use crate::wire::{Incarnation, MessageNumber, StreamId, SubscriberId};
use shared::{Core, Progress, Shared};

/// Publishes a stream of messages reliably, with pacing and flow control.
///
/// It is `Send + Sync`: threads may share it, and the messages of each thread stay in order.
///
/// Dropping it sends what was accepted and repairs it, as described at
/// [`drop_timeout`](PublisherBuilder::drop_timeout); the stream does not end. [`close`](Self::close) ends the stream
/// and reports what did not arrive.
///
/// ```no_run
/// use mcast_stream::Publisher;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::to("239.255.2.3%eth0:7000".parse()?)?;
/// publisher.publish(b"hello")?;
/// let closing = publisher.close(std::time::Duration::from_secs(5));
/// assert!(closing.behind.is_empty(), "a subscriber does not have everything");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    /// The first of its groups and hosts.
    first: Endpoint,
    /// Its groups and interfaces, as they were named.
    labels: (String, String),
    threads: Vec<JoinHandle<()>>,
    on_drop: OnDrop,
    /// How far the clock is behind the last start that the state file recorded.
    clock_behind: Option<Duration>,
}

impl Publisher {
    /// Publishes to this group, with default settings.
    ///
    /// # Errors
    /// As [`PublisherBuilder::build`].
    pub fn to(destination: Destination) -> Result<Self, StreamError> {
        Self::builder().to(destination).build()
    }

    /// Returns a builder with the settings of a publisher.
    pub fn builder() -> PublisherBuilder {
        PublisherBuilder::new()
    }

    fn new(builder: PublisherBuilder) -> Result<Self, StreamError> {
        Ok(Self::prepared(builder, |_, _| Ok(()))?.0)
    }

    /// Returns a publisher, and what `prepare` returned, which is called when the sockets are open, before anything is sent.
    pub(in crate::driver) fn prepared<T>(
        mut builder: PublisherBuilder,
        prepare: impl FnOnce(&mut crate::PublisherMachine, ClockTime) -> Result<T, StreamError>,
    ) -> Result<(Self, T), StreamError> {
        builder.check()?;
        let endpoints = builder.endpoints()?;
        let first = endpoints.first().cloned().ok_or(StreamError::NoDestination)?;
        let family = first.family();
        if let Some(name) = builder.name.as_ref().filter(|name| !(1..=255).contains(&name.len())) {
            return Err(StreamError::Name(name.len()));
        }
        PublisherBuilder::check_interfaces(&endpoints)?;
        let from_clock = builder.config.incarnation;
        let last_incarnation = builder.begin_incarnation()?;
        builder.wait_for_unique_incarnation();
        let clock = Clock::new();
        let open = |endpoint: &Endpoint| Ok(EndpointSocket::new(builder.open(endpoint)?, endpoint));
        let sockets: Vec<_> = endpoints.iter().map(open).collect::<mcast::Result<_>>()?;
        let discovery = match builder.name {
            Some(_) => Some(builder.open_discovery(&endpoints)?),
            None => None,
        };
        let datagram = builder.longest_datagram(&endpoints);
        let labels = (
            super::label(endpoints.iter().map(|each| each.address)),
            super::label(endpoints.iter().filter_map(|each| each.interface.as_ref())),
        );
        let (unix_offset, seed) = (clock.unix_offset(), clock::seed());
        let rate = match builder.config.rate {
            PublisherRate::Fixed(rate) => PublisherRate::Fixed((rate / builder.copies()).max(1)),
            other => other,
        };
        let paths = u8::try_from(endpoints.len()).unwrap_or(u8::MAX);
        let announcement = builder.name.map(|name| Announcement::new(name, &endpoints));
        let config = builder.config.with(|config| {
            config.datagram = datagram;
            config.paths = paths;
            config.rate = rate;
            config.unix_offset = unix_offset;
            config.seed = seed;
        });
        let unicast = UnicastSockets::open(family).map_err(StreamStep::OpenUnicast.failed())?;
        let span = trace_span!("publisher", stream = config.stream, to = first.address);
        trace_event!(span, INFO, "publishes", paths = paths, incarnation = config.incarnation);
        let mut machine = crate::PublisherMachine::new(config, clock.now())?;
        let prepared = prepare(&mut machine, clock.now())?;
        let shared = Arc::new(Shared {
            clock,
            sockets: PublisherSockets::new(sockets, family, discovery, unicast),
            announcement: Mutex::new(announcement),
            core: Mutex::new(Core::new(machine, &endpoints, span.clone())),
            progress: Progress::default(),
            span,
            timer: Condvar::new(),
            spin: builder.spin,
            drop_timeout: builder.drop_timeout,
            is_drained: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
        });
        let mut publisher = Self {
            shared,
            first,
            labels,
            threads: Vec::new(),
            on_drop: OnDrop::Drain,
            clock_behind: last_incarnation.and_then(|last| clock::behind(from_clock, last)),
        };
        publisher.shared.send(&mut publisher.shared.core());
        for endpoint in 0..endpoints.len() {
            publisher.spawn("mcast-stream-listen", move |shared| shared.listen(endpoint))?;
        }
        publisher.spawn("mcast-stream-time", Shared::run_timer)?;
        Ok((publisher, prepared))
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<(), StreamError> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared));
        self.threads.push(thread.map_err(StreamStep::StartThread.failed())?);
        Ok(())
    }

    /// Publishes a message and returns its number. It is sent at once, or as soon as the configured rate allows. Messages that
    /// are published faster than datagrams can be sent share datagrams and system calls; none waits longer than
    /// [`max_delay`](PublisherBuilder::max_delay) for that. While flow control leaves no room in the retransmission buffer,
    /// this blocks.
    ///
    /// # Errors
    /// [`StreamError::Refused`] if the message can never be accepted.
    pub fn publish<'m>(&self, message: impl Into<OutgoingMessage<'m>>) -> Result<MessageNumber, StreamError> {
        self.accept(message.into(), None)
    }

    /// Publishes a message like [`publish`](Self::publish), but waits for room for at most `timeout`. A refused message
    /// is not published.
    ///
    /// # Errors
    /// [`StreamError::Refused`] if there was no room in time, with the reason, for instance the subscriber that the
    /// publisher waits for ([`Refusal::is_temporary`]); or if the message can never be accepted.
    pub fn publish_timeout<'m>(
        &self,
        message: impl Into<OutgoingMessage<'m>>,
        timeout: Duration,
    ) -> Result<MessageNumber, StreamError> {
        self.accept(message.into(), Some(timeout))
    }

    /// Publishes a message like [`publish`](Self::publish), without waiting for room. It waits for other calls on this
    /// publisher: one that sends holds up all others while the queue of the system is full.
    ///
    /// # Errors
    /// [`StreamError::Refused`], with the reason, when there is no room.
    pub fn try_publish<'m>(
        &self,
        message: impl Into<OutgoingMessage<'m>>,
    ) -> Result<MessageNumber, StreamError> {
        let mut number = Err(Refusal::Unsent);
        self.try_publish_each([message.into()], |published| {
            number = Ok(published);
            true
        })?;
        Ok(number?)
    }

    /// Runs `work` without waiting, not even for the lock, which a sending thread may hold while the system's queue is
    /// full. The publisher's own thread does what is due then. `None`: the lock was taken, and nothing was done.
    #[cfg(feature = "tokio")]
    pub(crate) fn post<T>(
        &self,
        work: impl FnOnce(&mut crate::PublisherMachine, ClockTime) -> T,
    ) -> Option<T> {
        let mut core = self.shared.try_core()?;
        let done = work(&mut core.machine, self.shared.clock.now());
        self.shared.wake_timer(&mut core);
        Some(done)
    }

    /// Returns a future that is ready at the first progress after this call.
    #[cfg(feature = "tokio")]
    pub(crate) fn next_progress(&self) -> impl Future<Output = ()> + '_ {
        self.shared.progress.next()
    }

    /// Publishes messages like [`try_publish`](Self::try_publish), with one lock, and calls `published` with the number of each.
    /// It stops before the first one that is refused, and after one for which `published` returns `false`.
    pub(in crate::driver) fn try_publish_each<'m>(
        &self,
        messages: impl IntoIterator<Item = OutgoingMessage<'m>>,
        mut published: impl FnMut(MessageNumber) -> bool,
    ) -> Result<(), Refusal> {
        let mut core = self.shared.core();
        let mut now = core.time_of_message(&self.shared.clock);
        let at_once = core.sends_at_once(now);
        let (mut result, mut has_published) = (Ok(()), false);
        for message in messages {
            let number = loop {
                match core.machine.publish(now, message) {
                    Err(refusal) if refusal.is_temporary() && self.shared.send(&mut core) > 0 => {
                        now = core.time_of_message(&self.shared.clock);
                    }
                    result => break result,
                }
            };
            result = number.map(|_| ());
            has_published |= number.is_ok();
            if !number.is_ok_and(&mut published) {
                break;
            }
            self.shared.send_many(&mut core);
        }
        if has_published {
            self.shared.send_in_time(&mut core, now, at_once);
        }
        result
    }

    /// Returns how far the publisher is, for [`wait_for_room`](Self::wait_for_room).
    #[must_use]
    pub fn progress(&self) -> PublisherProgress {
        self.shared.progress.now()
    }

    /// Waits until something has happened since `since` that may have made room, for at most `timeout`: feedback of a
    /// subscriber, sending, or an eviction. Take `since` before the attempt that was refused: nothing that happens after it is
    /// missed.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use mcast_stream::{Publisher, StreamError};
    /// # fn publish(publisher: &Publisher) -> Result<(), StreamError> {
    /// loop {
    ///     let progress = publisher.progress();
    ///     match publisher.try_publish(b"hello") {
    ///         Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
    ///             publisher.wait_for_room(progress, Duration::from_secs(1));
    ///         }
    ///         result => return result.map(drop),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn wait_for_room(&self, since: PublisherProgress, timeout: Duration) {
        drop(self.shared.progress.wait_since(self.shared.core(), since, timeout));
    }

    /// Publishes and sends many messages with one lock; returns the number of the last.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). The messages before the one that fails are published.
    pub fn publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        let mut core = self.shared.core();
        let mut now = self.shared.clock.now();
        let mut last = None;
        for message in messages {
            let message = message.into();
            last = Some(loop {
                match core.machine.publish(now, message) {
                    Ok(number) => break number,
                    Err(refusal) => {
                        core = self.make_room(core, refusal)?;
                        now = self.shared.clock.now();
                    }
                }
            });
            if self.shared.send_many(&mut core) {
                now = self.shared.clock.now();
            }
        }
        self.flush_now(&mut core);
        Ok(last)
    }

    /// Publishes many messages like [`try_publish`](Self::try_publish), with one lock; returns the number of the last.
    ///
    /// # Errors
    /// As [`try_publish`](Self::try_publish). The messages before the one that fails are published: fewer than given, by what
    /// [`next_message`](Self::next_message) returns.
    pub fn try_publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        let mut last = None;
        self.try_publish_each(messages.into_iter().map(Into::into), |published| {
            last = Some(published);
            true
        })?;
        Ok(last)
    }

    /// Omits the messages before this number, because they are missing where the publisher reads them from. Subscribers
    /// report them as lost.
    ///
    /// # Errors
    /// [`StreamError::Refused`] after the end, for more than [`MAX_SKIP`](crate::PublisherMachine::MAX_SKIP) messages, and
    /// while messages before are not acknowledged as [required](PublisherBuilder::acknowledge).
    pub fn skip_to(&self, number: MessageNumber) -> Result<(), StreamError> {
        let mut core = self.shared.core();
        core.machine.skip_to(self.shared.clock.now(), number)?;
        self.shared.send(&mut core);
        Ok(())
    }

    /// Sends the messages that wait for others to share their datagrams.
    pub fn flush(&self) {
        self.flush_now(&mut self.shared.core());
    }

    /// Returns the number before which all subscribers that the publisher waits for have everything, if it is known, and the
    /// one before which messages are acknowledged as required, or given up, if that is required.
    #[cfg(feature = "log")]
    pub(in crate::driver) fn confirmed(&self) -> (Option<MessageNumber>, Option<MessageNumber>) {
        let mut core = self.shared.core();
        let settled = core.machine.ack_progress().map(|progress| progress.settled);
        (core.machine.confirmed(), settled)
    }

    /// Returns which messages must still be in the log.
    #[cfg(feature = "log")]
    pub(in crate::driver) fn log_needs(&self) -> crate::publisher::LogNeeds {
        self.shared.core().machine.log_needs()
    }

    /// Returns the next event, the oldest first.
    pub fn event(&self) -> Option<PublisherEvent> {
        self.shared.core().machine.poll_event()
    }

    /// Returns why a path went down or its queue was full, the oldest failure first, each once. Datagrams that were not
    /// sent are repaired. This takes from the same queue as [`path_change`](Self::path_change).
    pub fn failure(&self) -> Option<mcast::Error> {
        let mut core = self.shared.core();
        loop {
            match core.health.change()? {
                PathChange::Down { error, .. } | PathChange::QueueFull { error, .. } => return Some(error),
                PathChange::HostUnreachable { error: Some(error), .. } => return Some(error),
                PathChange::Up { .. }
                | PathChange::HostUnreachable { .. }
                | PathChange::HostReachable { .. } => {}
            }
        }
    }

    /// Returns the next change of a path, for instance that it went down, the oldest first, each once.
    pub fn path_change(&self) -> Option<PathChange> {
        self.shared.core().health.change()
    }

    /// Returns the state of each [host](PublisherBuilder::to_host) that the stream is sent to.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostStatus> {
        self.shared.core().health.hosts().collect()
    }

    /// Whether the last attempt to send on some path succeeded.
    #[must_use]
    pub fn is_any_path_up(&self) -> bool {
        self.shared.core().health.is_any_up()
    }

    /// Returns the numbers of subscribers by standing, of all that ever joined.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.shared.core().machine.audience()
    }

    /// Returns the standing and the address of each subscriber. Of subscribers that have left, only the last few
    /// thousand are listed.
    #[must_use]
    pub fn subscriber_progress(&self) -> Vec<(SubscriberId, SocketAddr, SubscriberProgress)> {
        self.shared.core().machine.subscriber_progress().collect()
    }

    /// Returns the address of a subscriber that is present or, like [`subscriber_progress`](Self::subscriber_progress), has left recently.
    #[must_use]
    pub fn address_of(&self, subscriber: SubscriberId) -> Option<SocketAddr> {
        let core = self.shared.core();
        let present = core.machine.known().map(|(id, address, ..)| (id, address));
        let mut all = present.chain(core.machine.subscriber_progress().map(|(id, address, _)| (id, address)));
        all.find_map(|(id, address)| (id == subscriber).then_some(address))
    }

    /// Returns the publisher's counters.
    #[must_use]
    pub fn statistics(&self) -> PublisherStatistics {
        self.shared.core().machine.statistics()
    }

    /// Returns the stream's identity.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.shared.core().machine.config().stream
    }

    /// Returns its incarnation, which distinguishes it from earlier publishers of the stream.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared.core().machine.config().incarnation
    }

    /// Returns how far this machine's clock is behind the last start of the stream in the
    /// [state file](PublisherBuilder::state_file); `None` if it is not behind.
    #[must_use]
    pub const fn clock_behind(&self) -> Option<Duration> {
        self.clock_behind
    }

    /// Returns the number of the next message. A snapshot of all messages so far has this number.
    #[must_use]
    pub fn next_message(&self) -> MessageNumber {
        self.shared.core().machine.next_message()
    }

    /// Returns the length of the longest message that can be published, in bytes.
    #[must_use]
    pub fn longest_message(&self) -> usize {
        self.shared.core().machine.longest_message()
    }

    /// Returns the interface on which the stream is sent, of the first path if there are several; `None` if it is sent
    /// to hosts.
    pub(super) fn first_interface(&self) -> Result<Option<InterfaceIndex>, StreamError> {
        if !self.first.is_group() {
            return Ok(None);
        }
        Ok(self.first.interface()?.map(|interface| interface.index))
    }

    /// Returns an address of the interface on which the stream is sent, of the first path if there are several.
    /// Snapshots that are served there are not reachable from other networks.
    ///
    /// # Errors
    /// If the interface cannot be found, or has no address but link-local ones, which are only valid together with an
    /// interface that differs between hosts.
    pub fn interface_address(&self) -> Result<IpAddr, StreamError> {
        let (family, interface) = (self.first.family(), self.first.interface()?);
        let is_link_local =
            |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        let addresses = interface.iter().flat_map(|interface| &interface.addresses).map(|each| each.address);
        let mut usable =
            addresses.filter(|address| Family::of(*address) == family && !is_link_local(*address));
        usable.next().ok_or(StreamError::NoAddress(family))
    }

    /// Serves snapshots at this address over TCP, sealed like the stream, and announces the address with the stream's
    /// name until the server is dropped. `capture` is called for each request: it returns the state after all messages
    /// before a number, and that number, or `None` if it cannot.
    ///
    /// At an unspecified address, such as `0.0.0.0:0`, it listens on all addresses, and announces that of
    /// [the stream's interface](Self::interface_address).
    ///
    /// # Errors
    /// If the address cannot be listened on, or an unspecified one has nothing that can be announced.
    #[cfg(feature = "history")]
    pub fn serve_snapshots<S: Into<Option<Snapshot>>>(
        &self,
        at: SocketAddr,
        capture: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<SnapshotServer, StreamError> {
        let (stream, incarnation) = {
            let core = self.shared.core();
            (core.machine.config().stream, core.machine.config().incarnation)
        };
        let shared = Arc::clone(&self.shared);
        let keys = Box::new(move || shared.core().machine.config().keys.clone());
        let server = SnapshotServer::start(at, stream, incarnation, keys, move || capture().into())?;
        if self.shared.announcement().is_none() {
            return Ok(server);
        }
        let at = self.reachable(server.address())?;
        self.shared.announcement().iter_mut().for_each(|announcement| announcement.snapshot = Some(at));
        let shared = Arc::downgrade(&self.shared);
        Ok(server.announced(move || {
            let Some(shared) = shared.upgrade() else { return };
            // Another server may be announced by now.
            let withdraw = |announcement: &mut Announcement| announcement.snapshot.take_if(|now| *now == at);
            shared.announcement().as_mut().and_then(withdraw);
        }))
    }

    /// Returns an address at which others reach a server that listens at this one.
    #[cfg(feature = "history")]
    fn reachable(&self, at: SocketAddr) -> Result<SocketAddr, StreamError> {
        if at.ip().is_unspecified() {
            return Ok(SocketAddr::new(self.interface_address()?, at.port()));
        }
        Ok(at)
    }

    /// Returns its groups and interfaces, as metric labels.
    pub(crate) fn labels(&self) -> (String, String) {
        self.labels.clone()
    }

    /// Has subscribers find this server by the heartbeats as well, until it is dropped.
    #[cfg(feature = "log")]
    pub(in crate::driver) fn show_history(&self, server: HistoryServer) -> HistoryServer {
        let address = server.address();
        // With 0, they wait for its announcement.
        let port = if address.ip().is_unspecified() { address.port() } else { 0 };
        self.shared.core().machine.serve_history(Some(crate::wire::ServedHistory::new(port)));
        let shared = Arc::downgrade(&self.shared);
        server.shown(move || {
            if let Some(shared) = shared.upgrade() {
                shared.core().machine.serve_history(None);
            }
        })
    }

    /// Seals with the greatest epoch of these from now on.
    pub fn set_keys(&self, keys: Keys) {
        let now = self.shared.clock.now();
        self.shared.core().machine.set_keys(now, keys);
    }

    /// Signs with this key from now on, if the publisher was built with a [key](PublisherBuilder::signing_key). The stream
    /// continues: give subscribers the new public key first.
    #[cfg(feature = "signatures")]
    pub fn set_signing_key(&self, key: Arc<dyn Signer>) {
        let now = self.shared.clock.now();
        self.shared.core().machine.set_signer(now, key);
    }

    /// Publishes a message as soon as there is room, and waits for that for at most `timeout`.
    fn accept(
        &self,
        message: OutgoingMessage<'_>,
        timeout: Option<Duration>,
    ) -> Result<MessageNumber, StreamError> {
        let mut core = self.shared.core();
        let mut deadline = None;
        loop {
            let now = core.time_of_message(&self.shared.clock);
            let at_once = core.sends_at_once(now);
            let refusal = match core.machine.publish(now, message) {
                Ok(number) => {
                    self.shared.send_in_time(&mut core, now, at_once);
                    return Ok(number);
                }
                Err(refusal) => refusal,
            };
            if let Some(timeout) = timeout {
                let deadline = deadline.get_or_insert_with(|| Instant::now().checked_add(timeout));
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Err(refusal.into());
                }
            }
            core = self.make_room(core, refusal)?;
        }
    }

    /// Sends, and if that makes no room, waits for feedback.
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
        // Whatever else may make room, the publisher's own thread sees in this time.
        Ok(self.shared.progress.wait(core, Duration::from_millis(10)))
    }

    fn flush_now(&self, core: &mut Core) {
        core.machine.flush(self.shared.clock.now());
        self.shared.send(core);
    }
}
