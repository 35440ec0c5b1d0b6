//! Receiving a stream on the caller's thread: NAKs and statuses are sent within its calls.

mod builder;
mod receive;
mod select;
#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::net::UdpSocket;
use std::time::Duration;

use mcast::{Batch, Cursor, InterfaceSelector, Membership, Waker};
use mcast_sys::trace::Span;
use mcast_sys::trace_span;

#[cfg(not(any(feature = "acknowledgements", feature = "history")))]
use super::account::WithoutAccount;
use super::clock::Clock;
use super::error::{StreamError, StreamStep};
use super::history::HistorySubscription;
use super::unicast::{control_socket, wait_for_either};
use super::{build_following, present_index};
use crate::ClockTime;
use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::PinnedKeys;
use crate::subscriber::{Item, PathStatistics, Position, Step, SubscriberConfig, SubscriberStatistics};
#[cfg(feature = "history")]
use crate::wire::Origin;
use crate::wire::{Acknowledgement, MessageNumber, StreamId};
pub use builder::SubscriberBuilder;
pub use select::StallCause;
use select::{OtherStreams, Paths, StreamSelector};

/// The number of buffers in a batch, and the size of each, which holds any coalesced buffer (GRO).
const BUFFERS: usize = 32;
const BYTES: usize = 65_536;
/// A smaller socket buffer still admits this many bytes in flight, because distant senders need them.
const MIN_SOCKET_BUFFER: usize = 1 << 20;
/// The longest wait, so that a clock that was set back cannot cause a longer one.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Receives a stream of messages, in order and each once, and reports every loss.
///
/// It sends NAKs and statuses to the publisher within its calls. A subscriber that makes no call for longer than the
/// publisher's eviction time (2 s by default) is evicted. While busy with a message for longer, call
/// [`keep_alive`](Self::keep_alive).
///
/// ```no_run
/// use mcast_stream::{Subscriber, subscriber::Item};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut subscriber = Subscriber::join_one("239.255.2.3%eth0:7000".parse()?)?;
/// while let Some(item) = subscriber.next()? {
///     match item {
///         Item::Message(message) => println!("{}: {} bytes", message.number, message.bytes.len()),
///         Item::Event(event) => eprintln!("{event:?}"),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Subscriber {
    clock: Clock,
    receiver: mcast::Receiver,
    control: UdpSocket,
    batch: Batch,
    /// The datagram that is being delivered.
    current: Cursor,
    /// The datagram after it.
    next: Cursor,
    current_datagram: CurrentDatagram,
    unicast: Vec<u8>,
    unicast_length: usize,
    /// Unicast datagrams that were handled since the last datagram of the group.
    unicast_handled: usize,
    machine: Option<crate::SubscriberMachine>,
    /// What the application has processed of a history before there was a machine.
    processed_before: Option<Position>,
    /// The stream that was chosen.
    stream: Option<StreamId>,
    /// The stream to follow next, if none was chosen.
    successor: Option<StreamId>,
    others: OtherStreams,
    /// The stream for which the followed one is being given up.
    retires_for: Option<StreamId>,
    config: SubscriberConfig,
    follows_restarts: bool,
    selector: StreamSelector,
    /// Its groups and interfaces, as they were named.
    labels: (String, String),
    paths: Paths,
    now: ClockTime,
    check_clock_at: ClockTime,
    /// Whether the publisher has sent a unicast datagram to this subscriber.
    is_answered: bool,
    /// Whether a waker has ended a wait.
    woken: bool,
    /// Whether the caller is busy, so that nothing is delivered.
    is_caller_busy: bool,
    /// Whether the caller stops, so that nothing more is received.
    is_abandoned: bool,
    /// Whether it leaves because of an error.
    has_failed: bool,
    /// How long a wait polls in a loop.
    pub(crate) spin: Duration,
    /// The history, if one is used.
    history: Option<Box<HistorySubscription>>,
    /// Whether messages of the history are delivered, or the live stream waits for them.
    is_joining: bool,
    /// Steps that were delivered from the history since the live stream was last received.
    since_live: usize,
    span: Span,
}

/// The result of polling a subscriber.
#[derive(Debug)]
pub(crate) enum Poll {
    /// The next message or event.
    Step(Step),
    /// The stream has ended, or a loss has stopped the subscriber.
    Ended,
    /// A waker ended the wait.
    Woken,
    /// There is nothing now: poll again after this time at the latest.
    Pending(Duration),
}

/// Where the datagram that was handled last is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CurrentDatagram {
    Nothing,
    Batch,
    Unicast,
}

impl CurrentDatagram {
    /// Returns its bytes, from fields of the subscriber, of which others may be borrowed meanwhile.
    #[inline]
    fn bytes<'a>(self, batch: &'a Batch, at: Cursor, unicast: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Nothing => &[],
            Self::Batch => batch.payload_at(at),
            Self::Unicast => unicast,
        }
    }
}

impl Subscriber {
    /// Subscribes on this membership, with default settings.
    ///
    /// # Errors
    /// As [`SubscriberBuilder::build`].
    pub fn join_one(membership: Membership) -> Result<Self, StreamError> {
        Self::builder().join(membership).build()
    }

    /// Returns a builder with the settings of a subscriber.
    pub fn builder() -> SubscriberBuilder {
        SubscriberBuilder::new()
    }

    fn new(mut builder: SubscriberBuilder) -> Result<Self, StreamError> {
        builder.check()?;
        builder.history.prepare(&mut builder.config);
        let family = builder.families().next().ok_or(StreamError::NoDestination)?;
        if builder.families().any(|other| other != family) {
            return Err(StreamError::MixedFamilies);
        }
        let receiver = builder.receiver();
        let listens = builder.listens();
        let SubscriberBuilder {
            memberships,
            stream,
            receive_buffer,
            spin,
            mut config,
            follows_restarts,
            history,
            ..
        } = builder;
        let count = memberships.len() + usize::from(listens);
        if count > 4 {
            return Err(StreamError::TooManyPaths(count));
        }
        let with_interface =
            |membership: &Membership| Ok((membership.clone(), present_index(membership.interface.as_ref())?));
        let paths: Vec<_> = memberships.iter().map(with_interface).collect::<mcast::Result<_>>()?;
        let paths = Paths::new(paths, listens);
        config.paths = paths.count();
        let labels = (
            super::label(memberships.iter().map(|each| each.address)),
            super::label(memberships.iter().filter_map(|each| each.interface.as_ref())),
        );
        let span = trace_span!("subscriber", on = super::label(memberships.iter().map(|each| each.address)));
        let receiver = span.in_scope(|| build_following(receiver, memberships.clone()))?;
        let socket_buffer = receiver.receive_buffer() / usize::from(paths.count().max(1));
        config.socket_buffer = config.socket_buffer.min(socket_buffer.max(MIN_SOCKET_BUFFER));
        let control = control_socket(family, receive_buffer).map_err(StreamStep::OpenUnicast.failed())?;
        let clock = Clock::new();
        config.unix_offset = clock.unix_offset();
        let now = clock.now();
        let interface = common_interface(&memberships);
        let history = history.subscribe(interface, config.longest_message, now);
        config.has_history = history.is_some();
        Ok(Self {
            now,
            is_joining: history.as_ref().is_some_and(|history| !history.machine.is_live()),
            history,
            since_live: 0,
            clock,
            receiver,
            control,
            batch: Batch::new(BUFFERS, BYTES),
            current: Cursor::default(),
            next: Cursor::default(),
            current_datagram: CurrentDatagram::Nothing,
            unicast: vec![0; BYTES],
            unicast_length: 0,
            unicast_handled: 0,
            machine: None,
            processed_before: None,
            stream,
            successor: None,
            others: OtherStreams::default(),
            retires_for: None,
            config,
            follows_restarts,
            selector: StreamSelector::default(),
            labels,
            paths,
            check_clock_at: ClockTime(0),
            is_answered: false,
            woken: false,
            is_caller_busy: false,
            is_abandoned: false,
            has_failed: false,
            spin,
            span,
        })
    }

    /// Waits for the next message or event and returns it; `None` when the stream has ended, or a loss has stopped it.
    ///
    /// # Errors
    /// [`StreamError::Woken`] when a [`Waker`] ended the wait; otherwise if a socket fails.
    #[expect(
        clippy::should_implement_trait,
        reason = "a message borrows from the subscriber, which an iterator cannot express"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, StreamError> {
        self.next_until(None)
    }

    /// Waits for the next message or event like [`next`](Self::next), for at most `timeout`; `None` also when the time
    /// is over.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    #[inline]
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Item<'_>>, StreamError> {
        self.next_until(Some(timeout))
    }

    /// Keeps the subscription alive for `timeout` while the caller is busy with a message, for instance on another
    /// thread. It buffers datagrams within the window, requests repairs, and reports its progress and its room to the
    /// publisher, but delivers nothing. Returns early if a [`Waker`] wakes it or the subscriber [is
    /// over](Self::is_over).
    ///
    /// # Errors
    /// If a socket fails.
    pub fn keep_alive(&mut self, timeout: Duration) -> Result<(), StreamError> {
        self.begin_busy();
        let outcome = self.advance(Some(timeout));
        self.end_busy();
        match outcome {
            Err(StreamError::Woken) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Delivers nothing from now on.
    pub(in crate::driver) fn begin_busy(&mut self) {
        self.start_buffering();
        self.is_caller_busy = true;
    }

    /// Delivers again.
    pub(in crate::driver) const fn end_busy(&mut self) {
        self.is_caller_busy = false;
    }

    /// Whether the stream was closed, and everything was delivered or reported as lost.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let has_ended = self.machine.as_ref().is_some_and(crate::SubscriberMachine::has_ended);
        match &self.history {
            None => has_ended,
            Some(history) => history.machine.has_ended() || has_ended && history.machine.is_idle(),
        }
    }

    /// Whether a loss has stopped it, with [`OnLoss::Stop`](crate::subscriber::OnLoss::Stop).
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.machine.as_ref().is_some_and(crate::SubscriberMachine::has_stopped)
            || self.history.as_ref().is_some_and(|history| history.machine.has_stopped())
    }

    /// Whether nothing more will be received: a loss [has stopped it](Self::has_stopped); it was
    /// [abandoned](Self::abandon); or the stream has ended, its publisher knows that everything was delivered, and this
    /// subscriber does not [follow restarts](SubscriberBuilder::follow_restarts).
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_end_confirmed = self.machine.as_ref().is_some_and(crate::SubscriberMachine::is_end_confirmed);
        let is_end_confirmed = match &self.history {
            None => is_end_confirmed,
            Some(history) => history.machine.has_ended() || is_end_confirmed && history.machine.is_idle(),
        };
        self.is_abandoned || self.has_stopped() || is_end_confirmed && !self.follows_restarts
    }

    /// Returns why no history server could be used, after
    /// [`SubscriberEvent::HistoryFailed`](crate::subscriber::SubscriberEvent::HistoryFailed).
    #[must_use]
    pub fn history_problem(&self) -> Option<&str> {
        self.history.as_ref()?.problem()
    }

    /// Returns the longest time to wait before the next call if nothing arrives, because it must send something then.
    /// This is for callers that wait for the [descriptors](Self::descriptors) themselves.
    #[must_use]
    pub fn max_wait(&self) -> Duration {
        let due = self
            .machine
            .as_ref()
            .map_or(MAX_WAIT, |machine| self.clock.until(machine.poll_timeout().unwrap_or(ClockTime::NEVER)));
        let history = self.history.as_ref().filter(|_| self.is_joining);
        let history = history.map_or(MAX_WAIT, |history| history.wait(|deadline| self.clock.until(deadline)));
        due.min(MAX_WAIT).min(history)
    }

    /// Waits until the next call may have something to do, for at most `timeout`. Afterwards call
    /// `next_timeout(Duration::ZERO)`.
    ///
    /// # Errors
    /// If a socket fails.
    pub fn wait(&self, timeout: Duration) -> Result<(), StreamError> {
        wait_for_either(&self.receiver, &self.control, timeout.min(self.max_wait()))
            .map_err(StreamStep::Wait.failed())
    }

    /// Returns the descriptors that become readable when a call has something to do before it is [due](Self::max_wait).
    #[cfg(unix)]
    #[must_use]
    pub fn descriptors(&self) -> [std::os::fd::BorrowedFd<'_>; 2] {
        use std::os::fd::AsFd;
        [self.receiver.as_fd(), self.control.as_fd()]
    }

    /// Continues after a snapshot that covers all messages before this number.
    pub fn resume(&mut self, message: MessageNumber) {
        if let Some(machine) = &mut self.machine {
            machine.resume(message);
        }
    }

    /// Notes that the application has processed the message at this [position](crate::subscriber::Message::position), and
    /// all that were returned before it. A publisher that [waits](crate::PublisherBuilder::acknowledge) for messages to be
    /// processed learns of it with one of the next calls. Messages that have another incarnation than the present one
    /// count for nothing. Messages of a history may be acknowledged before a publisher is heard, which learns of it later.
    ///
    /// With [`Policy::Latest`](crate::subscriber::Policy::Latest), which returns messages out of order, only the message
    /// that was returned last has an effect.
    pub fn ack(&mut self, position: Position) {
        let now = self.clock.now();
        match &mut self.machine {
            Some(machine) => machine.acknowledge(now, position),
            None => self.processed_before = Some(position),
        }
    }

    /// Acknowledges nothing before this position any more: the application has discarded messages that it was given.
    pub fn withdraw_before(&mut self, position: Position) {
        if let Some(machine) = &mut self.machine {
            machine.withdraw_before(position);
        }
    }

    /// Whether the publisher requests acknowledgements.
    #[must_use]
    pub fn acks_requested(&self) -> bool {
        self.machine.as_ref().is_some_and(crate::SubscriberMachine::acks_requested)
    }

    /// Returns what is acknowledged of the present incarnation.
    #[must_use]
    pub fn acknowledgement(&self) -> Option<Acknowledgement> {
        self.machine.as_ref().map(crate::SubscriberMachine::acknowledgement)
    }

    /// Replaces the secrets of sealed streams.
    pub fn set_keys(&mut self, keys: Keys) {
        self.config.keys = keys.clone();
        if let Some(machine) = &mut self.machine {
            machine.set_keys(keys);
        }
    }

    /// Replaces the public keys of the publisher, if the subscriber was built with any.
    #[cfg(feature = "signatures")]
    pub fn set_signed_by(&mut self, keys: PinnedKeys) {
        if self.config.signed_by.is_empty() || keys.is_empty() {
            return;
        }
        self.config.signed_by = keys.clone();
        if let Some(machine) = &mut self.machine {
            machine.set_signed_by(keys);
        }
    }

    /// Whether it delivers only what is signed.
    #[must_use]
    pub const fn is_verifying(&self) -> bool {
        self.config.verifies()
    }

    /// Returns the counters. Before a stream is found, they only count datagrams that the keys refused, or
    /// that no trusted key has signed.
    #[must_use]
    pub fn statistics(&self) -> SubscriberStatistics {
        let mut statistics =
            self.machine.as_ref().map(crate::SubscriberMachine::statistics).unwrap_or_default();
        statistics.refused += self.selector.refused;
        statistics.not_verified += self.selector.not_verified;
        if let Some(history) = &self.history {
            history.machine.statistics().add_to(&mut statistics);
        }
        statistics
    }

    /// Returns the counters of each path.
    #[must_use]
    pub fn paths(&self) -> &[PathStatistics] {
        self.machine.as_ref().map_or(&[], crate::SubscriberMachine::paths)
    }

    /// Returns the underlying receiver of datagrams, with its memberships and drop counters.
    #[must_use]
    pub const fn receiver(&self) -> &mcast::Receiver {
        &self.receiver
    }

    /// Returns the stream that is received, once it is found.
    #[must_use]
    pub fn stream(&self) -> Option<StreamId> {
        self.machine.as_ref().map(crate::SubscriberMachine::stream)
    }

    /// Returns where the messages of the followed publisher come from, if it reads them from an engine.
    #[must_use]
    #[cfg(feature = "history")]
    pub fn origin(&self) -> Option<Origin> {
        self.machine.as_ref()?.origin()
    }

    /// Returns its groups and interfaces, as metric labels.
    pub(crate) fn labels(&self) -> (String, String) {
        self.labels.clone()
    }

    /// Whether the publisher has ever sent a unicast datagram to this subscriber. It replies to the first datagram of
    /// each subscriber, so the usual reason for `false` is a firewall between them, in either direction.
    #[must_use]
    pub(super) const fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Returns a waker, which ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.receiver.waker()
    }

    fn next_until(&mut self, timeout: Option<Duration>) -> Result<Option<Item<'_>>, StreamError> {
        match self.advance(timeout)? {
            Some(step) => Ok(self.item(&step)),
            None => Ok(None),
        }
    }

    #[inline]
    pub(crate) fn item(&self, step: &Step) -> Option<Item<'_>> {
        match (&self.machine, step.event()) {
            (_, Some(event)) => {
                crate::trace::subscriber_event(&self.span, &event);
                Some(Item::Event(event))
            }
            _ if step.is_of_history() => self.history.as_ref()?.machine.item(),
            (machine, None) => Some(machine.as_ref()?.item(step, self.current_bytes())),
        }
    }

    fn current_bytes(&self) -> &[u8] {
        self.current_datagram.bytes(&self.batch, self.current, &self.unicast[..self.unicast_length])
    }

    /// Stops receiving, for a caller that is about to stop. The next calls return the messages that have arrived, with
    /// an [`SubscriberEvent::Lost`](crate::subscriber::SubscriberEvent::Lost) for each gap between them.
    pub fn abandon(&mut self) {
        self.is_abandoned = true;
        if let Some(machine) = &mut self.machine {
            machine.abandon();
        }
        if let Some(history) = &mut self.history {
            history.machine.abandon();
        }
    }

    /// Reports to the publisher, when it is dropped, that this subscriber ends because of an error: what it was given may not
    /// have been processed. The publisher then does not count it as one that has everything.
    pub const fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Returns the size of the longest datagram that the publisher sends in bytes, once it is known.
    #[must_use]
    pub(super) fn longest_datagram(&self) -> Option<u16> {
        self.machine.as_ref().map(crate::SubscriberMachine::longest_datagram).filter(|bytes| *bytes > 0)
    }

    /// Whether datagrams are missing that are known to have been sent and are not yet reported as lost.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.machine.as_ref().is_some_and(crate::SubscriberMachine::has_gaps)
    }

    /// Returns the unicast socket.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) const fn control(&self) -> &UdpSocket {
        &self.control
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.now = self.clock.now();
        if let Some(machine) = &mut self.machine {
            if let Some(history) = &self.history {
                machine.join_history(self.now, history.machine.account());
            }
            match self.has_failed {
                true => machine.fail(self.now),
                false => machine.leave(self.now),
            }
        }
        self.send_control();
    }
}

/// Returns the interface of all memberships, if they name the same one.
fn common_interface(memberships: &[Membership]) -> Option<InterfaceSelector> {
    let first = memberships.first()?.interface.clone()?;
    memberships.iter().all(|each| each.interface.as_ref() == Some(&first)).then_some(first)
}
