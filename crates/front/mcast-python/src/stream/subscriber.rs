//! Subscribing to a stream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use mcast::Waker;
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{Item, SubscriberEvent};
use mcast_stream::wire::{Incarnation, StreamId};
use mcast_stream::{AnnouncedStream, StreamError, SubscriberBuilder, fetch_snapshot_while};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::StartAt;
use super::audience::SubscriberStatistics;
use super::discovery::FoundStream;
use super::event::{Message, item_to_python};
use super::keys::{Secrets, SignedBy};
use super::snapshot::{Snapshot, SocketAddress, SocketAddresses};
use super::{audience, raise_stream};
use crate::error::{closed_error, timeout_error, value_error};
use crate::membership::Selectors;
use crate::membership::{Hosts, Membership};
use crate::receiver::{Timeout, expand, listen_broadcasts};
use crate::sys;
use crate::values::{Bytes, MessageNumber, Port};

/// How often a wait checks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// Receives the messages of a stream in order, each once, and reports every loss:
/// `for item in pymcast.Subscriber("239.255.1.3:7000")`.
///
/// Items are Message and StreamEvent objects. Each membership, at most four, is a path of the stream; the first copy of
/// a datagram counts. Instead of memberships, the result of find_stream may be given. Use it in a `with` statement, or
/// close it. It requests repairs during its calls: the publisher evicts a subscriber that makes no call for two
/// seconds.
///
/// interface: where to join memberships that name no interface. Default: as for Receiver.
/// listen: addresses of this host at which it is received on a network without multicast: text ("0.0.0.0:7000"), a
///     pair of address and port, or several. Together they are one path.
/// listen_broadcast: a port at which it is received from IPv4 broadcasts.
/// start: "now", "oldest" (the oldest message available), the number of a message, a datetime with a time zone, or
///     "snapshot" (after a snapshot: an event requests one; call fetch_snapshot and resume). With "oldest", a number or
///     a datetime, messages that the publisher no longer retains come from a history server, such as
///     `mcast bridge --serve-history`, and then the live stream follows without a gap; what the history does not have
///     is lost.
/// policy: "reliable", "deadline" (waits at most `deadline` seconds for a repair), "best-effort" (requests no
///     repairs), or "latest" (only the latest message of each key).
/// on_loss: with the policy "reliable", what to do after an unrecoverable loss: "continue" with the next message,
///     "snapshot" (request another one), or "stop" (as if the stream had ended). Default: "snapshot" with
///     start="snapshot", else "continue".
/// name: the name of the stream. Default: the first stream received.
/// keys: a Keys or the path of its file; datagrams that are not sealed with them are rejected.
/// signed_by: a public key of the publisher ("ed25519:..."), or the path of a file of public keys, as `mcast keys show`
///     prints them: only what one of them has signed is delivered and reported. Histories and snapshots are not signed, and
///     not used: start="oldest" begins with what the publisher retains. Default: signatures are not verified.
/// receive_buffer: the size of the socket buffer to request, in bytes. Default: 4 MiB.
/// subscriber_name: the name that publishers know it by, for `Publisher(ack=...)`: ASCII letters, digits, "-", "_" and
///     ".". It is a claim; only keys restrict it to members of the group. Default: none.
/// stay: wait for the publisher's next incarnation after the stream has ended.
/// heal: request messages that the publisher can no longer repair from a history server before they are lost.
/// history_servers: the addresses and ports of history servers, instead of those that are announced: any host can
///     announce a history of an unsealed stream.
/// repair_for_others: retain up to this many bytes of the stream, and repair it for other subscribers, which then need
///     fewer repairs from the publisher. Not with the policy "best-effort". Default: no.
/// spin: how many seconds a wait polls in a loop before it sleeps: messages arrive sooner, for a processor. Default: 0.
///
/// Raises the same exceptions as Receiver. Threads may share it; each item is delivered to one of them.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Subscriber {
    open: Mutex<Option<OpenSubscriber>>,
    closed: AtomicBool,
    /// The final statistics, once it is closed.
    counted: Mutex<Option<SubscriberStatistics>>,
    waker: Waker,
    memberships: Vec<mcast::Membership>,
    /// The announcement, if it was made from one.
    found: Option<AnnouncedStream>,
}

/// The state of a subscriber while it is open.
#[derive(Debug)]
struct OpenSubscriber {
    subscriber: mcast_stream::Subscriber,
    keys: Keys,
    incarnation: Option<Incarnation>,
    /// Set while a snapshot is wanted: it must include all messages before this one.
    snapshot_wanted: Option<mcast_stream::wire::MessageNumber>,
    /// Items received while a snapshot was fetched.
    pending: VecDeque<Py<PyAny>>,
}

/// The result of polling for an item.
enum Poll {
    Item(Py<PyAny>),
    Pending,
    Ended,
}

#[pymethods]
impl Subscriber {
    #[new]
    #[pyo3(signature = (
        *memberships, interface=None, listen=None, listen_broadcast=None, start=StartAt::Now, policy="reliable", deadline=None, on_loss=None, name=None,
        keys=None, receive_buffer=None, stay=false, subscriber_name=None, heal=false, history_servers=None,
        signed_by=None, repair_for_others=None, spin=None
    ), text_signature = "(*memberships, interface=None, listen=None, listen_broadcast=None, start='now', \
        policy='reliable', deadline=None, on_loss=None, name=None, keys=None, receive_buffer=None, stay=False, \
        subscriber_name=None, heal=False, history_servers=None, signed_by=None, repair_for_others=None, \
        spin=None)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        memberships: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        listen: Option<Hosts>,
        listen_broadcast: Option<Port>,
        start: StartAt,
        policy: &str,
        deadline: Option<f64>,
        on_loss: Option<&str>,
        name: Option<&str>,
        keys: Option<Secrets>,
        receive_buffer: Option<Bytes>,
        stay: bool,
        subscriber_name: Option<&str>,
        heal: bool,
        history_servers: Option<SocketAddresses>,
        signed_by: Option<SignedBy>,
        repair_for_others: Option<Bytes>,
        spin: Option<f64>,
    ) -> PyResult<Self> {
        if memberships.is_empty() && listen.is_none() && listen_broadcast.is_none() {
            return Err(PyTypeError::new_err(
                "give a group and port to subscribe to, or an address with `listen`",
            ));
        }
        let (memberships, found) = paths(memberships)?;
        let interfaces = interface.map_or_else(Vec::new, |interfaces| interfaces.0);
        let memberships = expand(memberships, &interfaces);
        let mut hosts = listen.map_or_else(Vec::new, |hosts| hosts.0);
        hosts.extend(found.iter().flat_map(|found| found.hosts.clone()));
        let keys = keys.map_or_else(Keys::none, |keys| keys.0);
        let policy = super::policy(policy, deadline, on_loss, start.of_stream())?;
        let builder =
            mcast_stream::Subscriber::builder().policy(policy).keys(keys.clone()).follow_restarts(stay);
        let mut builder = start.apply(builder, policy, signed_by.is_some());
        if let Some(SignedBy(keys)) = signed_by {
            builder = builder.signed_by(keys);
        }
        if heal {
            builder = builder.heal(true);
        }
        let servers = history_servers.map_or_else(Vec::new, |servers| servers.0);
        builder = servers.into_iter().fold(builder, SubscriberBuilder::history_server);
        for membership in &memberships {
            builder = builder.join(membership.clone());
        }
        hosts.extend(listen_broadcasts(listen_broadcast.map(|port| port.0), &interfaces));
        builder = hosts.into_iter().fold(builder, SubscriberBuilder::listen);
        if let Some(stream) = name.map(StreamId::named).or_else(|| found.as_ref().map(|found| found.stream)) {
            builder = builder.stream(stream);
        }
        if let Some(name) = subscriber_name {
            builder = builder.name(audience::subscriber_name(name)?);
        }
        if let Some(bytes) = receive_buffer {
            builder = builder.receive_buffer(bytes.0);
        }
        if let Some(bytes) = repair_for_others {
            builder = builder.repair_for_others(bytes.0);
        }
        if let Some(seconds) = spin {
            builder = builder.spin(super::time(seconds)?);
        }
        let subscriber = py.detach(|| builder.build()).map_err(|error| raise_stream(py, &error))?;
        let waker = subscriber.waker();
        let pending = VecDeque::new();
        let open = OpenSubscriber { subscriber, keys, incarnation: None, snapshot_wanted: None, pending };
        let open = Mutex::new(Some(open));
        Ok(Self {
            open,
            closed: AtomicBool::new(false),
            counted: Mutex::default(),
            waker,
            memberships,
            found,
        })
    }

    /// Waits for the next item, a Message or a StreamEvent; returns None if the stream has ended. Raises TimeoutError
    /// if there is none within `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        let timeout = Timeout::new(timeout)?;
        let mut deadline = None;
        loop {
            match self.poll(py)? {
                Poll::Item(item) => return Ok(Some(item)),
                Poll::Ended => return Ok(None),
                Poll::Pending => {}
            }
            let deadline: Option<Instant> = *deadline.get_or_insert_with(|| timeout.deadline());
            let left = deadline
                .map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
            if left.is_zero() {
                return Err(timeout_error());
            }
            self.wait(py, left)?;
        }
    }

    /// Returns the next item if one is available, else None.
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.poll(py)? {
            Poll::Item(item) => Ok(Some(item)),
            Poll::Ended | Poll::Pending => Ok(None),
        }
    }

    /// Whether there will be no more items: the stream has ended and all of it was delivered, or a loss stopped it.
    #[getter]
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |open| open.pending.is_empty() && open.subscriber.is_over())
    }

    /// Fetches a snapshot from the publisher's snapshot server at an address and port. It includes at least all
    /// messages before the one named by the event "snapshot-wanted". Call resume afterwards. A subscriber made from
    /// the result of find_stream may omit the address: it uses the announced one, and tries again with each
    /// announcement for `timeout` seconds. Meanwhile it keeps receiving the stream. Raises pymcast.Error if it cannot
    /// be fetched or is larger than `max_size` bytes (any host can announce snapshots of an unsealed stream),
    /// pymcast.ClosedError if the subscriber is closed meanwhile, and ValueError if none is wanted.
    #[pyo3(signature = (address=None, timeout=10.0, max_size=67_108_864))]
    fn fetch_snapshot(
        &self,
        py: Python<'_>,
        address: Option<SocketAddress>,
        timeout: f64,
        max_size: u64,
    ) -> PyResult<Snapshot> {
        self.fetch(py, address, timeout, max_size, None)
    }

    /// For pymcast.aio: as `fetch_snapshot`, until `abandoned()` is true.
    fn _fetch_snapshot(
        &self,
        py: Python<'_>,
        address: Option<SocketAddress>,
        timeout: f64,
        max_size: u64,
        abandoned: Bound<'_, PyAny>,
    ) -> PyResult<Snapshot> {
        self.fetch(py, address, timeout, max_size, Some(abandoned.unbind()))
    }

    /// Notes that this message is processed, and all that were returned before it. A publisher with
    /// ack_when="processed" learns of it with one of the next calls. Messages of an earlier incarnation have no effect.
    /// With policy="latest", only the message that was returned last has one.
    fn ack(&self, py: Python<'_>, message: &Message) -> PyResult<()> {
        let position = message.position();
        self.with(py, |open| open.subscriber.ack(position))
    }

    /// Continues after a snapshot that includes all messages before this number.
    fn resume(&self, py: Python<'_>, message: MessageNumber) -> PyResult<()> {
        self.with(py, |open| {
            open.snapshot_wanted = None;
            open.subscriber.resume(mcast_stream::wire::MessageNumber(message.0));
        })
    }

    /// Opens datagrams with these keys from now on.
    fn set_keys(&self, py: Python<'_>, keys: Secrets) -> PyResult<()> {
        self.with(py, |open| {
            open.keys = keys.0.clone();
            open.subscriber.set_keys(keys.0);
        })
    }

    /// Trusts these public keys of the publisher from now on, as the argument signed_by. Raises ValueError if the
    /// subscriber was made without it.
    fn set_signed_by(&self, py: Python<'_>, signed_by: SignedBy) -> PyResult<()> {
        let is_verifying = self.with(py, |open| {
            open.subscriber.set_signed_by(signed_by.0);
            open.subscriber.is_verifying()
        })?;
        match is_verifying {
            true => Ok(()),
            false => Err(value_error("signatures are not verified: give the subscriber signed_by")),
        }
    }

    /// Its statistics, all zero until the stream is received; also available once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<SubscriberStatistics> {
        let counted = self.with(py, |open| open.subscriber.statistics().into());
        counted.or_else(|error| {
            let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            counted.ok_or(error)
        })
    }

    /// The stream id; None until the stream is received.
    #[getter]
    fn stream(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.with(py, |open| open.subscriber.stream().map(|stream| stream.0))
    }

    /// For pymcast.aio: returns at most `most` available items, whether the stream has ended, and after how many
    /// seconds to call again at the latest.
    fn _take(&self, py: Python<'_>, most: usize) -> PyResult<(Vec<Py<PyAny>>, bool, f64)> {
        let mut items = Vec::new();
        let mut ended = false;
        while items.len() < most && !ended {
            match self.poll(py) {
                Ok(Poll::Item(item)) => items.push(item),
                Ok(Poll::Pending) => break,
                Ok(Poll::Ended) => ended = true,
                Err(error) if items.is_empty() => return Err(error),
                // Deliver the items first; the next call returns the error if it persists.
                Err(_) => break,
            }
        }
        let due = self.with(py, |open| open.subscriber.max_wait()).unwrap_or_default();
        Ok((items, ended, due.as_secs_f64()))
    }

    /// For pymcast.aio: the descriptors that become readable when there is something to do.
    fn _descriptors(&self, py: Python<'_>) -> PyResult<Vec<i64>> {
        self.with(py, |open| sys::subscriber_descriptors(&open.subscriber))?
    }

    /// For pymcast.aio: waits briefly until there may be something to do.
    fn _wait(&self, py: Python<'_>) -> PyResult<()> {
        self.wait(py, SLICE)
    }

    /// Leaves the stream. Waiting calls raise pymcast.ClosedError; loops end. Closing twice has no effect.
    fn close(&self, py: Python<'_>) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // If waking fails, a waiting call notices after a slice.
        let _ = self.waker.wake();
        py.detach(|| {
            let was_open = self.lock().take();
            let counted = was_open.map(|open| open.subscriber.statistics().into());
            *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        });
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Returns the next item; iteration ends when the stream does, or when the subscriber is closed.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.next(py, None) {
            Err(error)
                if self.closed() && !error.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py) =>
            {
                Ok(None)
            }
            result => result,
        }
    }

    fn __repr__(&self) -> String {
        let memberships: Vec<String> = self.memberships.iter().map(ToString::to_string).collect();
        let closed = if self.closed() { ", closed" } else { "" };
        format!("<Subscriber of {}{closed}>", memberships.join(", "))
    }
}

/// Returns the memberships to join, given as such or as an announcement.
fn paths(arguments: &Bound<'_, PyTuple>) -> PyResult<(Vec<Membership>, Option<AnnouncedStream>)> {
    if let Some(first) = arguments.iter().next()
        && let Ok(found) = first.cast::<FoundStream>()
    {
        if arguments.len() > 1 {
            return Err(value_error("a FoundStream already has its memberships: omit the other arguments"));
        }
        let found = found.get();
        return Ok((found.to_join().into_iter().map(Membership).collect(), Some(found.found.clone())));
    }
    Ok((arguments.iter().map(|each| each.extract()).collect::<PyResult<_>>()?, None))
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if !self.closed() {
            crate::lifetime::warn(&self.__repr__());
        }
    }
}

impl Subscriber {
    fn lock(&self) -> MutexGuard<'_, Option<OpenSubscriber>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work`, which must not wait. A waiting thread holds the lock without the GIL, so no thread may wait for
    /// the lock while it holds the GIL.
    fn with<T>(&self, py: Python<'_>, work: impl FnOnce(&mut OpenSubscriber) -> T) -> PyResult<T> {
        loop {
            if self.closed() {
                return Err(closed_error(py, "subscriber"));
            }
            let mut open = match self.open.try_lock() {
                Ok(open) => open,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    py.detach(|| drop(self.lock()));
                    continue;
                }
            };
            return open.as_mut().map(work).ok_or_else(|| closed_error(py, "subscriber"));
        }
    }

    fn poll(&self, py: Python<'_>) -> PyResult<Poll> {
        self.with(py, |open| open.poll(py))?
    }

    /// Fetches a snapshot while checking for signals, for being closed, and for items of the stream.
    fn fetch(
        &self,
        py: Python<'_>,
        address: Option<SocketAddress>,
        timeout: f64,
        max_size: u64,
        abandoned: Option<Py<PyAny>>,
    ) -> PyResult<Snapshot> {
        let timeout = super::time(timeout)?;
        let wanted = self.with(py, |open| {
            let stream = open.subscriber.stream()?;
            Some((stream, open.incarnation?, open.snapshot_wanted?, open.keys.clone()))
        })?;
        let Some((stream, incarnation, message, keys)) = wanted else {
            return Err(value_error("no snapshot is wanted: wait for the event snapshot-wanted"));
        };
        let mut raised = None;
        let mut keep_going = || {
            let result = Python::try_attach(|py| self.keep_alive(py, abandoned.as_ref()));
            let succeeded = matches!(result, Some(Ok(())));
            raised = result.and_then(Result::err);
            succeeded
        };
        let fetch = || match (address, &self.found) {
            (Some(SocketAddress(address)), _) => Ok(fetch_snapshot_while(
                address,
                stream,
                incarnation,
                &keys,
                message,
                max_size,
                &mut keep_going,
            )),
            (None, Some(found)) => Ok(found.fetch_snapshot_while(
                incarnation,
                message,
                &keys,
                max_size,
                timeout,
                &mut keep_going,
            )),
            (None, None) => Err(value_error(
                "give an address: only a subscriber made from a FoundStream knows the announced one",
            )),
        };
        let fetched = py.detach(fetch)?;
        match raised {
            Some(error) => Err(error),
            None => Ok(Snapshot::of(py, &fetched.map_err(|error| raise_stream(py, &error))?)),
        }
    }

    /// Checks for signals and receives items while a snapshot is fetched.
    fn keep_alive(&self, py: Python<'_>, abandoned: Option<&Py<PyAny>>) -> PyResult<()> {
        py.check_signals()?;
        if let Some(abandoned) = abandoned
            && abandoned.call0(py)?.is_truthy(py)?
        {
            return Err(closed_error(py, "subscriber"));
        }
        self.with(py, |open| open.follow(py))?
    }

    fn wait(&self, py: Python<'_>, time: Duration) -> PyResult<()> {
        let waited = py.detach(|| self.lock().as_ref().map(|open| open.subscriber.wait(time)));
        py.check_signals()?;
        waited.ok_or_else(|| closed_error(py, "subscriber"))?.map_err(|error| raise_stream(py, &error))
    }
}

impl OpenSubscriber {
    /// Returns an item if one is available.
    fn poll(&mut self, py: Python<'_>) -> PyResult<Poll> {
        if let Some(item) = self.pending.pop_front() {
            return Ok(Poll::Item(item));
        }
        match self.take(py)? {
            Some((item, _)) => Ok(Poll::Item(item)),
            None if self.subscriber.is_over() => Ok(Poll::Ended),
            None => Ok(Poll::Pending),
        }
    }

    /// Keeps the subscriber alive while a snapshot is wanted. Events are buffered for the next call, and so is a
    /// message, after which it stops, because messages have to wait for the snapshot.
    fn follow(&mut self, py: Python<'_>) -> PyResult<()> {
        while self.snapshot_wanted.is_some()
            && let Some((item, is_message)) = self.take(py)?
        {
            self.pending.push_back(item);
            if is_message {
                break;
            }
        }
        Ok(())
    }

    /// Returns the next available item of the stream, and whether it is a message.
    fn take(&mut self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>, bool)>> {
        let item = match self.subscriber.next_timeout(Duration::ZERO) {
            Err(StreamError::Woken) => None,
            item => item.map_err(|error| raise_stream(py, &error))?,
        };
        let Some(item) = item else { return Ok(None) };
        match item {
            Item::Event(
                SubscriberEvent::Joined { incarnation, .. }
                | SubscriberEvent::Restarted { to: incarnation, .. },
            ) => {
                self.incarnation = Some(incarnation);
            }
            Item::Event(SubscriberEvent::SnapshotWanted { message }) => self.snapshot_wanted = Some(message),
            _ => {}
        }
        Ok(Some((item_to_python(py, &item)?, matches!(item, Item::Message(_)))))
    }
}
