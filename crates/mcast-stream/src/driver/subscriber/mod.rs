//! Receiving a stream on the caller's own thread: what is asked for and told happens in its calls.

mod begin;
mod builder;
mod others;
mod path;
#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mcast::{Batch, Cursor, ErrorKind, Family, Membership, Waker};

use super::clock::Clock;
use super::error::StreamError;
use super::interface;
use super::publisher::any_address;
use crate::outbox::Target;
use crate::receiver::{Item, PathStatistics, ReceiverConfig, ReceiverStatistics, Step};
use crate::seal::Keys;
use crate::sys;
use crate::wire::{Header, StreamId};
use begin::Strangers;
pub use builder::SubscriberBuilder;
use others::OtherStreams;
use path::Paths;

/// Buffers of a batch, and bytes of each: whatever the kernel merges.
const BUFFERS: usize = 32;
const BYTES: usize = 65_536;
/// Single repairs that are taken before the group's datagrams again.
const SINGLES_AT_ONCE: usize = 64;
/// Batches that hold nothing new before the caller is asked whether it goes on: the group may be flooded by anybody.
const BATCHES_AT_ONCE: usize = 8;
/// The time of day is looked at so often.
const CHECK_CLOCK: u64 = 1_000_000_000;
/// No wait is longer, so that a clock that was set back cannot hold anything up.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Receives a stream of messages, in order, each once, and is told of everything that could not be had.
///
/// It asks for repairs and tells the publisher where it stands within its calls: who does not
/// call for longer than the publisher waits (2 s unless told otherwise) is no longer waited for. Who is busy with a
/// message for longer calls [`attend`](Self::attend) meanwhile.
///
/// ```no_run
/// use mcast_stream::{Subscriber, receiver::Item};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut subscriber = Subscriber::join_one("239.1.2.3%eth0:7000".parse()?)?;
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
    /// The datagram that is being handed out, and the one behind it.
    at: Cursor,
    next: Cursor,
    lent: Lent,
    single: Vec<u8>,
    single_length: usize,
    /// How many came since the group had its turn.
    singles: usize,
    core: Option<crate::Receiver>,
    /// The stream that was chosen.
    stream: Option<StreamId>,
    /// The one that is followed next, where none was chosen.
    successor: Option<StreamId>,
    others: OtherStreams,
    /// The followed stream is being given up for this one.
    retires_for: Option<StreamId>,
    config: ReceiverConfig,
    stays: bool,
    strangers: Strangers,
    /// Its groups and interfaces, as they were named.
    #[cfg(feature = "metrics")]
    places: (String, String),
    paths: Paths,
    now: u64,
    check_clock_at: u64,
    /// The publisher has sent something to this subscriber alone.
    is_answered: bool,
    /// A waker has ended a wait.
    woken: bool,
    /// The caller is busy: nothing is handed out.
    attends: bool,
    /// The caller stops: nothing more is received.
    is_abandoned: bool,
}

/// What a look came to.
#[derive(Debug)]
pub(crate) enum Look {
    /// This is next.
    Step(Step),
    /// The stream has ended, or a waker ended the wait.
    Over,
    /// Nothing for now: look again after so long at the latest.
    Nothing(Duration),
}

/// Where the datagram lies that was handled last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lent {
    Nothing,
    Batch,
    Single,
}

impl Subscriber {
    /// A subscriber on this membership, with default settings.
    ///
    /// # Errors
    /// As [`SubscriberBuilder::build`].
    pub fn join_one(membership: Membership) -> Result<Self, StreamError> {
        Self::builder().path(membership).build()
    }

    /// Settings for a subscriber.
    pub fn builder() -> SubscriberBuilder {
        SubscriberBuilder::new()
    }

    fn new(builder: SubscriberBuilder) -> Result<Self, StreamError> {
        let SubscriberBuilder { memberships, stream, mut config, receive_buffer, stays } = builder;
        let first = memberships.first().ok_or(StreamError::NoDestination)?;
        if memberships.len() > 4 {
            return Err(StreamError::TooManyPaths(memberships.len()));
        }
        let family: Family = first.address.group.family();
        if memberships.iter().any(|other| other.address.group.family() != family) {
            return Err(StreamError::MixedFamilies);
        }
        let with_interface = |membership: &Membership| {
            Ok((membership.clone(), interface::there_now(membership.interface.as_ref())?))
        };
        let paths: Vec<_> = memberships.iter().map(with_interface).collect::<mcast::Result<_>>()?;
        let paths = Paths::new(paths);
        config.paths = paths.count();
        #[cfg(feature = "metrics")]
        let places = (
            super::label(memberships.iter().map(|each| each.address)),
            super::label(memberships.iter().filter_map(|each| each.interface.as_ref())),
        );
        let receiver = mcast::Receiver::builder()
            .join_all(memberships)
            .follow(paths.name_interfaces())
            .receive_buffer(receive_buffer)
            .build()?;
        let control = UdpSocket::bind(any_address(family)).map_err(StreamError::Control)?;
        control.set_nonblocking(true).map_err(StreamError::Control)?;
        let clock = Clock::new();
        config.unix_offset = clock.unix_offset();
        Ok(Self {
            now: clock.now(),
            clock,
            receiver,
            control,
            batch: Batch::new(BUFFERS, BYTES),
            at: Cursor::default(),
            next: Cursor::default(),
            lent: Lent::Nothing,
            single: vec![0; BYTES],
            single_length: 0,
            singles: 0,
            core: None,
            stream,
            successor: None,
            others: OtherStreams::default(),
            retires_for: None,
            config,
            stays,
            strangers: Strangers::default(),
            #[cfg(feature = "metrics")]
            places,
            paths,
            check_clock_at: 0,
            is_answered: false,
            woken: false,
            attends: false,
            is_abandoned: false,
        })
    }

    /// The next message or event; waits for it. `None` when the stream has ended, a loss has stopped it, or
    /// a [`Waker`] ended the wait.
    ///
    /// # Errors
    /// What the system says.
    #[expect(
        clippy::should_implement_trait,
        reason = "a message borrows from the subscriber, which no iterator can say"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, StreamError> {
        self.next_until(None)
    }

    /// The same, for no longer than this; `None` also when the time is over.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Item<'_>>, StreamError> {
        self.next_until(Some(timeout))
    }

    /// For a caller that is busy with what it was handed, on another thread, say: goes on for so long, hands out
    /// nothing, and keeps what comes as far as the window reaches. So the publisher knows meanwhile that this subscriber is
    /// there, what it has and for how much more it has room. Ends sooner when a [`Waker`] rings or
    /// nothing more [will come](Self::is_over).
    ///
    /// # Errors
    /// What the system says.
    pub fn attend(&mut self, timeout: Duration) -> Result<(), StreamError> {
        self.set_aside();
        self.attends = true;
        let attended = self.advance(Some(timeout));
        self.attends = false;
        attended.map(|_| ())
    }

    /// Whether the stream was closed, and all of it was handed out.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.core.as_ref().is_some_and(crate::Receiver::has_ended)
    }

    /// Whether a loss has stopped it, as [`OnLoss::Stop`](crate::receiver::OnLoss::Stop) wants.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.core.as_ref().is_some_and(crate::Receiver::has_stopped)
    }

    /// Whether nothing more will come: a loss [has stopped it](Self::has_stopped); it was [abandoned](Self::abandon); or the stream has ended, its
    /// publisher knows that all of it was handed out, and this subscriber does not stay.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_settled = self.core.as_ref().is_some_and(crate::Receiver::is_settled);
        self.is_abandoned || self.has_stopped() || is_settled && !self.stays
    }

    /// How long one may wait before the next call, if nothing comes: it has something to ask for or to tell
    /// then. For those who wait for [descriptors](Self::descriptors) themselves.
    #[must_use]
    pub fn due(&self) -> Duration {
        let due = self.core.as_ref().map_or(LONGEST_WAIT, |core| self.clock.until(core.next_deadline()));
        due.min(LONGEST_WAIT)
    }

    /// Waits until the next call may find something to do, and no longer than this. A call without a wait
    /// (`next_timeout(Duration::ZERO)`) does it.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self, timeout: Duration) -> Result<(), StreamError> {
        sys::wait(&self.receiver, &self.control, timeout.min(self.due())).map_err(StreamError::Control)
    }

    /// What becomes readable when a call would find something to do before it is [due](Self::due).
    #[cfg(unix)]
    #[must_use]
    pub fn descriptors(&self) -> [std::os::fd::BorrowedFd<'_>; 2] {
        use std::os::fd::AsFd;
        [self.receiver.as_fd(), self.control.as_fd()]
    }

    /// Goes on behind a snapshot that has all messages before this number.
    pub fn resume(&mut self, message: u64) {
        if let Some(core) = &mut self.core {
            core.resume(message);
        }
    }

    /// Opens with these secrets from now on.
    pub fn set_keys(&mut self, keys: Keys) {
        self.config.keys = keys.clone();
        if let Some(core) = &mut self.core {
            core.set_keys(keys);
        }
    }

    /// What was received so far; before the stream is heard, only what keys refused.
    #[must_use]
    pub fn statistics(&self) -> ReceiverStatistics {
        let mut statistics = self.core.as_ref().map(crate::Receiver::statistics).unwrap_or_default();
        statistics.refused += self.strangers.refused;
        statistics
    }

    /// What came on each path.
    #[must_use]
    pub fn paths(&self) -> &[PathStatistics] {
        self.core.as_ref().map_or(&[], crate::Receiver::paths)
    }

    /// The receiver of datagrams beneath: its memberships and what the system dropped.
    #[must_use]
    pub const fn receiver(&self) -> &mcast::Receiver {
        &self.receiver
    }

    /// The stream that is received, once it is heard.
    #[must_use]
    pub fn stream(&self) -> Option<StreamId> {
        self.core.as_ref().map(crate::Receiver::stream)
    }

    /// Its groups and interfaces.
    #[cfg(feature = "metrics")]
    pub(crate) fn places(&self) -> (String, String) {
        self.places.clone()
    }

    /// Whether the publisher has ever sent something to this subscriber alone. It answers the first thing that a
    /// subscriber sends, so that a firewall between them, in either direction, is the usual reason if it has not.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// What ends a wait from another thread.
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
        match (&self.core, step.event()) {
            (_, Some(event)) => Some(Item::Event(event)),
            (core, None) => Some(core.as_ref()?.item(step, self.lent_bytes())),
        }
    }

    fn lent_bytes(&self) -> &[u8] {
        match self.lent {
            Lent::Nothing => &[],
            Lent::Batch => {
                let mut at = self.at;
                self.batch.next_at(&mut at).map_or(&[], |datagram| datagram.payload())
            }
            Lent::Single => &self.single[..self.single_length],
        }
    }

    /// The next step, from what is there, or comes in time.
    fn advance(&mut self, timeout: Option<Duration>) -> Result<Option<Step>, StreamError> {
        let mut deadline = None;
        loop {
            let due = match self.look()? {
                Look::Step(step) => return Ok(Some(step)),
                Look::Over => return Ok(None),
                Look::Nothing(due) => due,
            };
            let until = *deadline
                .get_or_insert_with(|| timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
            let left = until.map_or(LONGEST_WAIT, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            sys::wait(&self.receiver, &self.control, left.min(due)).map_err(StreamError::Control)?;
        }
    }

    /// The next step from what is there, and all that is to be done and said meanwhile.
    pub(crate) fn look(&mut self) -> Result<Look, StreamError> {
        let mut batches = 0;
        loop {
            if let Some(step) = self.step() {
                return Ok(Look::Step(step));
            }
            if self.handle_next() {
                continue;
            }
            self.now = self.clock.now();
            self.check_clock();
            self.answer();
            if let Some(step) = self.step() {
                return Ok(Look::Step(step));
            }
            if self.change_stream() {
                continue;
            }
            if self.is_over() {
                return Ok(Look::Over);
            }
            if self.handle_single()? {
                continue;
            }
            let more_singles = core::mem::take(&mut self.singles) == SINGLES_AT_ONCE;
            let more = self.refill()?;
            batches += usize::from(more);
            if more && batches < BATCHES_AT_ONCE {
                continue;
            }
            if core::mem::take(&mut self.woken) {
                return Ok(Look::Over);
            }
            if more || more_singles {
                return Ok(Look::Nothing(Duration::ZERO));
            }
            return Ok(Look::Nothing(self.due()));
        }
    }

    /// Takes over the time of day now and then: the system's clock may have been corrected.
    fn check_clock(&mut self) {
        if self.now < self.check_clock_at {
            return;
        }
        self.check_clock_at = self.now.saturating_add(CHECK_CLOCK);
        self.config.unix_offset = self.clock.unix_offset();
        if let Some(core) = &mut self.core {
            core.set_unix_offset(self.config.unix_offset);
        }
    }

    /// For a caller that stops: nothing more is received, the next calls return what is here, and what is missing comes
    /// between as [`Event::Lost`](crate::receiver::Event::Lost).
    pub fn abandon(&mut self) {
        self.is_abandoned = true;
        if let Some(core) = &mut self.core {
            core.abandon();
        }
    }

    /// Bytes of the longest datagram that the publisher sends, once it is known.
    #[must_use]
    pub fn longest_datagram(&self) -> Option<u16> {
        self.core.as_ref().map(crate::Receiver::longest_datagram).filter(|bytes| *bytes > 0)
    }

    /// Whether something is missing that was published, and not yet reported as lost.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.core.as_ref().is_some_and(crate::Receiver::has_gaps)
    }

    /// Follows another stream where none was chosen, and the followed one is silent or has ended.
    fn change_stream(&mut self) -> bool {
        let Some(core) = self.core.as_mut().filter(|_| self.stream.is_none() && !self.attends) else {
            return false;
        };
        let has_ended = core.has_ended();
        let successor = self.others.successor(self.now, self.config.sender_silence, has_ended);
        let successor = self.retires_for.or_else(|| successor.filter(|_| !has_ended || self.stays));
        let Some(to) = successor else { return false };
        if !has_ended && self.retires_for.is_none() {
            // What it is known to have published and what is here comes out first.
            self.retires_for = Some(to);
            core.abandon();
            return true;
        }
        let from = core.stream();
        self.retires_for = None;
        core.leave(self.now);
        self.answer();
        self.core = None;
        self.successor = Some(to);
        self.others.follow(from, to, self.now);
        true
    }

    /// The socket for what is between the publisher and this receiver alone.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) const fn control(&self) -> &UdpSocket {
        &self.control
    }

    /// Keeps what is left of the datagram that was lent, and what comes.
    fn set_aside(&mut self) {
        let Some(mut core) = self.core.take() else { return };
        core.set_aside(self.lent_bytes());
        self.core = Some(core);
    }

    #[inline]
    fn step(&mut self) -> Option<Step> {
        if self.attends {
            return None;
        }
        if let Some(event) = self.others.event() {
            return Some(Step::of_event(event));
        }
        let Some(core) = self.core.as_mut() else {
            return self.strangers.event().map(Step::of_event);
        };
        let lent = match self.lent {
            Lent::Nothing => &[][..],
            Lent::Batch => {
                let mut at = self.at;
                self.batch.next_at(&mut at).map_or(&[][..], |datagram| datagram.payload())
            }
            Lent::Single => &self.single[..self.single_length],
        };
        core.step(self.now, lent)
    }

    /// Handles the next datagram of the batch, if there is one.
    #[inline]
    fn handle_next(&mut self) -> bool {
        self.at = self.next;
        let Some(datagram) = self.batch.next_at(&mut self.next) else {
            self.lent = Lent::Nothing;
            return false;
        };
        self.lent = Lent::Batch;
        let arrival = datagram.arrival();
        let path = self.paths.of(arrival.group, arrival.interface, self.now, &self.receiver);
        let payload = datagram.payload();
        if self.core.is_none() {
            let wanted = self.stream.or(self.successor);
            self.core = self.strangers.begin(wanted, &self.config, payload, self.now);
            if let Some(core) = self.core.as_mut().filter(|_| self.attends) {
                core.set_aside(&[]);
            }
        }
        if let Some(core) = &mut self.core {
            if self.stream.is_none() {
                self.others.note(core.stream(), &self.config.keys, payload, arrival.source, self.now);
            }
            core.handle(self.now, path, arrival.source, payload);
        }
        true
    }

    /// Handles what came for this receiver alone.
    fn handle_single(&mut self) -> Result<bool, StreamError> {
        while self.singles < SINGLES_AT_ONCE {
            self.singles += 1;
            match self.control.recv_from(&mut self.single) {
                Ok((length, from)) => {
                    let Some(core) = &mut self.core else { continue };
                    self.is_answered = self.is_answered || is_of(core.stream(), &self.single[..length]);
                    (self.single_length, self.lent) = (length, Lent::Single);
                    core.handle(self.now, 0, from, &self.single[..length]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.singles = 0;
                    return Ok(false);
                }
                // What the network said about something that was sent.
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(StreamError::Control(error)),
            }
        }
        Ok(false)
    }

    /// Takes what is there for the group; says whether there was anything.
    fn refill(&mut self) -> Result<bool, StreamError> {
        (self.at, self.next, self.lent) = (Cursor::default(), Cursor::default(), Lent::Nothing);
        match self.receiver.try_recv_batch(&mut self.batch) {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == ErrorKind::Woken => {
                self.batch.clear();
                self.woken = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what the state machine has to say.
    fn answer(&mut self) {
        let Some(core) = &mut self.core else { return };
        while let Some(control) = core.poll(self.now) {
            if let Target::Address(address) = control.to {
                // What is lost here is said again.
                let _ = self.control.send_to(control.bytes(), address);
            }
            core.reuse(control);
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(core) = &mut self.core {
            core.leave(self.clock.now());
        }
        self.now = self.clock.now();
        self.answer();
    }
}

/// Whether a datagram comes from the publisher of this stream, as its header has it.
fn is_of(stream: StreamId, datagram: &[u8]) -> bool {
    Header::read(datagram)
        .is_ok_and(|(header, _)| header.stream == stream && !header.kind.is_from_receivers())
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable
    )
}
