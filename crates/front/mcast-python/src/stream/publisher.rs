//! Publishing a stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast_stream::publisher::{AckState, AutoRate, Refusal};
use mcast_stream::wire::StreamId;
use mcast_stream::{PublisherBuilder, SnapshotServer, StreamError, Until};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::StreamRate;
use super::audience::PublisherStatistics;
use super::audience::{AckBy, Closing, PublisherEvent, Watermark};
use super::keys::{Secrets, SigningFile};
use super::raise_stream;
use super::snapshot::{self, SocketAddress};
use crate::datagram::Payload;
use crate::error::{closed_error, no_room_error, value_error};
use crate::lifetime::OwnerProcess;
use crate::lifetime::{self, warn_of_loss, warn_unraisable};
use crate::membership::Selectors;
use crate::membership::{Hosts, Target};
use crate::receiver::Timeout;
use crate::values::{ByteRate, Bytes, HopLimit, MessageKey, MessageNumber, Subscribers};

/// How often a wait for space in the retransmission buffer tries again.
const ROOM_CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// How often a wait for subscribers checks for signals.
const SLICE: Duration = Duration::from_millis(50);
/// How long the end of a `with` statement waits for subscribers.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes a reliable stream of messages: lost datagrams are retransmitted, and slow subscribers are waited for.
///
/// Each destination is text ("239.255.1.3%eth0:7000") or a pair of group and port. With several, at most
/// four, the stream is sent to each (redundant paths). Use it in a `with` statement, or close it.
///
/// interface: the egress interface for destinations that name none: a name, index, address or Interface, or
///     several, one for each path. Default: the route to the group.
/// name: the name under which it is announced. The stream id is derived from it, so that subscribers continue
///     with a publisher that restarts.
/// rate: the rate limit in bytes per second; the copies to all hosts count; or "auto": what the path to the slowest
///     subscriber carries, fair to other traffic. Default: none.
/// evict_below: with rate="auto", evict a subscriber whose path carries fewer bytes per second, if those of others carry
///     more. Default: slow down for it.
/// history: the size of the retransmission buffer in bytes. Default: 8 MiB.
/// flow: "slowest" waits for the slowest subscriber, "none" does not wait, and "one-way" needs no feedback: nothing is
///     repaired, and subscribers send nothing.
/// fec: forward error correction: "off", "crowd" (parity only while many subscribers lose different datagrams), "auto" (as
///     much parity as the losses of the subscribers require), or a pair such as (20, 4): 4 symbols after each block of 20
///     datagrams. Default: "crowd".
/// fec_delay: with fec, how many seconds a block waits to be full before its parity is sent: with a longer time, a slow
///     stream needs less parity, and what is lost is recovered later. Default: 0.01.
/// eviction: a subscriber that holds up the others and makes no progress for this many seconds is evicted.
///     Default: 2.
/// longest_message: the maximum length of a message in bytes. Default: 16 MiB.
/// keys: a Keys or the path of its file, to seal the stream. Default: it is not sealed.
/// signing_key: the path of a file such as `mcast keys make --signing FILE` creates: the stream is signed with the last key
///     in it, so that no other member of the group can forge its messages. Default: it is not signed.
/// max_delay: how many seconds a message may wait for others to share its datagram, when messages are published faster
///     than datagrams can be sent. With 0, each is sent at once. Default: 0.00005.
/// spin: how many seconds the threads that wait for feedback poll in a loop before they sleep: repairs are sent sooner, for
///     a processor per destination. Default: 0.
/// ack: which subscribers must acknowledge each message: a number, "all" that are present, or their names (see
///     Subscriber). Default: none. See wait_acked.
/// ack_when: "received" (the application was given it) or "processed" (the application called Subscriber.ack).
/// ack_lost: if a message cannot be acknowledged, because subscribers are absent, evicted or have lost it: "block"
///     (publish nothing more until it can) or "report" (give it up, with an event).
/// hosts: hosts that it is sent to on a network without multicast, at most 64: text ("10.0.0.5:7000"), a pair of
///     address and port, or several. Subscribers there listen.
/// broadcast: allow hosts that are IPv4 broadcast addresses.
/// hop_limit: the hop limit of its datagrams (IPv4: TTL). Default: 1, and for hosts the system's.
/// loopback: whether subscribers on this host receive it.
///
/// Raises a subclass of pymcast.Error, and ValueError for invalid settings.
///
/// Threads may share it. It serves subscribers in threads of its own, whatever Python is doing. A forked process does
/// not have these threads: using it there raises pymcast.ClosedError.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Publisher {
    open: Mutex<Option<Arc<mcast_stream::Publisher>>>,
    snapshots: Mutex<Vec<SnapshotServer>>,
    stream: u64,
    is_signed: bool,
    owner: OwnerProcess,
    /// The final statistics, once it is closed.
    counted: Mutex<Option<PublisherStatistics>>,
}

#[pymethods]
impl Publisher {
    #[new]
    #[pyo3(signature = (
        *destinations, interface=None, name=None, rate=None, history=None, flow="slowest", eviction=None,
        longest_message=None, keys=None, hosts=None, broadcast=false, hop_limit=None, loopback=true, ack=None,
        ack_when="received", ack_lost="block", evict_below=None, fec=None, fec_delay=None,
        signing_key=None, max_delay=None, spin=None
    ), text_signature = "(*destinations, interface=None, name=None, rate=None, history=None, flow='slowest', \
        eviction=None, longest_message=None, keys=None, hosts=None, broadcast=False, hop_limit=None, \
        loopback=True, ack=None, ack_when='received', ack_lost='block', evict_below=None, \
        fec=None, fec_delay=None, signing_key=None, max_delay=None, spin=None)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        destinations: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        name: Option<String>,
        rate: Option<Bound<'_, PyAny>>,
        history: Option<Bytes>,
        flow: &str,
        eviction: Option<f64>,
        longest_message: Option<Bytes>,
        keys: Option<Secrets>,
        hosts: Option<Hosts>,
        broadcast: bool,
        hop_limit: Option<HopLimit>,
        loopback: bool,
        ack: Option<AckBy>,
        ack_when: &str,
        ack_lost: &str,
        evict_below: Option<ByteRate>,
        fec: Option<super::Correction>,
        fec_delay: Option<f64>,
        signing_key: Option<SigningFile>,
        max_delay: Option<f64>,
        spin: Option<f64>,
    ) -> PyResult<Self> {
        let interfaces = interface.map_or_else(Vec::new, |interfaces| interfaces.0);
        let mut builder = mcast_stream::Publisher::builder()
            .flow(super::flow(flow)?)
            .broadcast(broadcast)
            .loopback(loopback);
        builder = hop_limit.map(|hops| hops.0).into_iter().fold(builder, PublisherBuilder::hop_limit);
        builder =
            hosts.map_or_else(Vec::new, |hosts| hosts.0).into_iter().fold(builder, PublisherBuilder::to_host);
        for each in destinations {
            let destination = each.extract::<Target>()?.0;
            if destination.interface.is_some() || interfaces.is_empty() {
                builder = builder.to(destination);
                continue;
            }
            for interface in &interfaces {
                let interface = Some(interface.clone());
                builder = builder.to(mcast::Destination { address: destination.address, interface });
            }
        }
        if let Some(name) = name {
            builder = builder.stream(StreamId::named(&name)).announce(name);
        }
        if let Some(ack) = ack {
            builder = builder.acknowledge(ack.quorum(ack_when, ack_lost)?);
        }
        if let Some(fec) = fec {
            builder = builder.fec(fec.fec()?);
        }
        if let Some(seconds) = fec_delay {
            builder = builder.fec_delay(super::time(seconds)?);
        }
        let evict_below = evict_below.map(|rate| rate.0);
        builder = match rate.map(|rate| super::rate(&rate)).transpose()? {
            Some(StreamRate::Auto) => builder.auto_rate(AutoRate { evict_below }),
            _ if evict_below.is_some() => return Err(value_error("evict_below needs rate=\"auto\"")),
            Some(StreamRate::Fixed(rate)) => builder.rate(rate),
            None => builder,
        };
        if let Some(bytes) = history {
            builder = builder.retransmission_buffer(bytes.0);
        }
        if let Some(seconds) = eviction {
            builder = builder.eviction(super::time(seconds)?);
        }
        if let Some(bytes) = longest_message {
            builder = builder.longest_message(bytes.0);
        }
        if let Some(Secrets(keys)) = keys {
            builder = builder.keys(keys);
        }
        let is_signed = signing_key.is_some();
        if let Some(SigningFile(key)) = signing_key {
            builder = builder.signing_key(key);
        }
        if let Some(seconds) = max_delay {
            builder = builder.max_delay(super::time(seconds)?);
        }
        if let Some(seconds) = spin {
            builder = builder.spin(super::time(seconds)?);
        }
        let publisher = py.detach(|| builder.build()).map_err(|error| raise_stream(py, &error))?;
        let stream = publisher.stream().0;
        Ok(Self {
            open: Mutex::new(Some(Arc::new(publisher))),
            snapshots: Mutex::default(),
            stream,
            is_signed,
            owner: OwnerProcess::current(),
            counted: Mutex::default(),
        })
    }

    /// Publishes a message and returns its number. It is sent immediately; messages that are published faster than datagrams
    /// can be sent share datagrams, for at most 50 µs. Waits while the retransmission buffer is full because of a slow
    /// subscriber or the rate limit. `key`, an integer, is the key of the message, for subscribers that want only the
    /// latest message of each key. Raises TimeoutError if it cannot be published within `timeout` seconds.
    #[pyo3(signature = (payload, *, key=None, timeout=None))]
    fn publish(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        key: Option<MessageKey>,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let (timeout, bytes) = (Timeout::new(timeout)?, payload.bytes());
        let mut deadline = None;
        loop {
            let publisher = self.opened(py)?;
            let progress = publisher.progress();
            let published = py.detach(|| try_publish(&publisher, bytes, key));
            if let Some(number) = published.map_err(|error| raise_stream(py, &error))? {
                return Ok(number);
            }
            let left = time_left(*deadline.get_or_insert_with(|| timeout.deadline()), ROOM_CHECK_INTERVAL);
            if left.is_zero() {
                return Err(no_room_error());
            }
            py.detach(|| publisher.wait_for_room(progress, left));
            py.check_signals()?;
        }
    }

    /// As `publish`, but without waiting; returns None if the retransmission buffer is full.
    #[pyo3(signature = (payload, *, key=None))]
    fn try_publish(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        key: Option<MessageKey>,
    ) -> PyResult<Option<u64>> {
        let publisher = self.opened(py)?;
        let bytes = payload.bytes();
        py.detach(|| try_publish(&publisher, bytes, key)).map_err(|error| raise_stream(py, &error))
    }

    /// Sends the messages that wait for others to share their datagrams.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let publisher = self.opened(py)?;
        py.detach(|| publisher.flush());
        Ok(())
    }

    /// Returns the events since the last call, the oldest first: subscribers that joined, left, were evicted, and so
    /// on.
    fn events(&self, py: Python<'_>) -> PyResult<Vec<PublisherEvent>> {
        let publisher = self.opened(py)?;
        Ok(py.detach(|| std::iter::from_fn(|| publisher.event()).map(PublisherEvent::from).collect()))
    }

    /// Waits until the message with this number is acknowledged as `ack` requires; returns False after `timeout`
    /// seconds, and if it was given up (ack_lost="report"). Raises ValueError if `ack` was not given.
    #[pyo3(signature = (message, timeout=None))]
    fn wait_acked(&self, py: Python<'_>, message: MessageNumber, timeout: Option<f64>) -> PyResult<bool> {
        let message = mcast_stream::wire::MessageNumber(message.0);
        let state = Mutex::new(Ok(AckState::Pending));
        self.wait(py, Timeout::new(timeout)?, |publisher, left| {
            let now = acked(publisher, message, left);
            let is_over = !matches!(now, Ok(AckState::Pending));
            *state.lock().unwrap_or_else(PoisonError::into_inner) = now;
            is_over
        })?;
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(state.map_err(|error| raise_stream(py, &error))? == AckState::Acknowledged)
    }

    /// For pymcast.aio: whether the message with this number is acknowledged as `ack` requires, or given up.
    fn _is_settled(&self, py: Python<'_>, message: MessageNumber) -> PyResult<bool> {
        let publisher = self.opened(py)?;
        let message = mcast_stream::wire::MessageNumber(message.0);
        let state = py.detach(|| acked(&publisher, message, Duration::ZERO));
        Ok(state.map_err(|error| raise_stream(py, &error))? != AckState::Pending)
    }

    /// Returns what each subscriber has acknowledged, if `ack` was given. Of subscribers that have left, only the last
    /// few thousand are listed.
    fn watermarks(&self, py: Python<'_>) -> PyResult<Vec<Watermark>> {
        let publisher = self.opened(py)?;
        Ok(py.detach(|| publisher.watermarks()).iter().map(Watermark::from).collect())
    }

    /// Its statistics; also available once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<PublisherStatistics> {
        match self.opened(py) {
            Ok(publisher) => Ok(py.detach(|| publisher.statistics()).into()),
            Err(error) if self.owner.is_another_process() => Err(error),
            Err(error) => {
                let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                counted.ok_or(error)
            }
        }
    }

    /// The stream id.
    #[getter]
    fn stream(&self) -> u64 {
        self.stream
    }

    /// The number of the next message. A Snapshot that includes all messages so far has this number.
    #[getter]
    fn next_message(&self, py: Python<'_>) -> PyResult<u64> {
        let publisher = self.opened(py)?;
        Ok(py.detach(|| publisher.next_message()).0)
    }

    /// Waits until this many subscribers have joined; returns False after `timeout` seconds.
    #[pyo3(signature = (subscribers, timeout=None))]
    fn wait_for(&self, py: Python<'_>, subscribers: Subscribers, timeout: Option<f64>) -> PyResult<bool> {
        self.wait(py, Timeout::new(timeout)?, |publisher, slice| publisher.wait_for(subscribers.0, slice))
    }

    /// Waits until all subscribers have received everything that was published; returns False after `timeout`
    /// seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait_complete(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.wait(py, Timeout::new(timeout)?, has_all)
    }

    /// Seals with the greatest epoch of these keys from now on.
    fn set_keys(&self, py: Python<'_>, keys: Secrets) -> PyResult<()> {
        let publisher = self.opened(py)?;
        py.detach(|| publisher.set_keys(keys.0));
        Ok(())
    }

    /// Signs with the last key in this file from now on; give its public key to all subscribers first. Raises ValueError if
    /// the publisher was made without a signing_key.
    fn set_signing_key(&self, py: Python<'_>, signing_key: SigningFile) -> PyResult<()> {
        if !self.is_signed {
            return Err(value_error("the stream is not signed: give the publisher a signing_key"));
        }
        let publisher = self.opened(py)?;
        py.detach(|| publisher.set_signing_key(signing_key.0));
        Ok(())
    }

    /// Serves snapshots over TCP at an address and port (0 for any port) until it is closed, sealed like the stream;
    /// returns the address and port. `capture` is called in another thread for each request, and returns a Snapshot.
    /// Its exceptions are passed to sys.unraisablehook, and the request is rejected.
    fn serve_snapshots(
        &self,
        py: Python<'_>,
        address: SocketAddress,
        capture: Bound<'_, PyAny>,
    ) -> PyResult<(String, u16)> {
        if !capture.is_callable() {
            return Err(value_error("capture must be a function that returns a pymcast.Snapshot"));
        }
        let publisher = self.opened(py)?;
        let capture = capture.unbind();
        let serve = || publisher.serve_snapshots(address.0, move || snapshot::capture(&capture));
        let server = py.detach(serve).map_err(|error| raise_stream(py, &error))?;
        let address = snapshot::pair(server.address());
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        Ok(address)
    }

    /// Ends the stream, and waits up to `timeout` seconds until all subscribers have received everything. Returns the
    /// result, or None if it was already closed.
    #[pyo3(signature = (timeout=5.0))]
    fn close(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Closing>> {
        let timeout = super::time(timeout)?;
        self.end(py, timeout)
    }

    /// Whether it is closed; always true in a forked process.
    #[getter]
    fn closed(&self) -> bool {
        self.owner.is_another_process() || self.lock().is_none()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        match self.end(py, EXIT_TIMEOUT)?.and_then(|closing| closing.loss()) {
            Some(loss) => warn_of_loss(py, &format!("{}: {loss}", self.__repr__())),
            None => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        let closed = if self.closed() { ", closed" } else { "" };
        format!("<Publisher of stream {:016x}{closed}>", self.stream)
    }
}

/// How long a publisher that is dropped without being closed may take to send what is queued.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

impl Drop for Publisher {
    fn drop(&mut self) {
        if !self.closed() {
            lifetime::warn(&self.__repr__());
        }
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(publisher) = open.as_ref().filter(|_| !self.owner.is_another_process()) {
            // A program that exits, because of Ctrl-C for instance, is not delayed further by a slow rate.
            if let Some(loss) = Closing::from(publisher.close(DROP_TIMEOUT)).loss() {
                let text = format!("<Publisher of stream {:016x}>: {loss}", self.stream);
                warn_unraisable(|py| warn_of_loss(py, &text));
            }
        }
        self.owner.release(open);
        self.owner.release(self.snapshots.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Publisher {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<mcast_stream::Publisher>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, py: Python<'_>) -> PyResult<Arc<mcast_stream::Publisher>> {
        // Check this first: a lock that was held during the fork is never released in the child.
        if self.owner.is_another_process() {
            return Err(self.owner.error(py, "publisher"));
        }
        self.lock().clone().ok_or_else(|| closed_error(py, "publisher"))
    }

    fn wait(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        done: impl Fn(&mcast_stream::Publisher, Duration) -> bool + Sync,
    ) -> PyResult<bool> {
        let deadline = timeout.deadline();
        loop {
            let publisher = self.opened(py)?;
            let left = time_left(deadline, SLICE);
            if py.detach(|| done(&publisher, left)) {
                return Ok(true);
            }
            py.check_signals()?;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Waits for the subscribers, ends the stream, and waits until they know that it ended. A signal interrupts either
    /// wait; before the end of the stream, it leaves the publisher open.
    fn end(&self, py: Python<'_>, timeout: Duration) -> PyResult<Option<Closing>> {
        let deadline = Instant::now().checked_add(timeout);
        self.wait_until(py, deadline)?;
        if let Ok(publisher) = self.opened(py) {
            py.detach(|| publisher.end());
        }
        self.wait_until(py, deadline)?;
        if self.owner.is_another_process() {
            return Ok(None);
        }
        let Some(publisher) = self.lock().take() else { return Ok(None) };
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(publisher.statistics().into());
        let servers = std::mem::take(&mut *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner));
        let closing = py.detach(move || {
            drop(servers);
            publisher.close(Duration::ZERO)
        });
        Ok(Some(closing.into()))
    }

    /// Waits until all subscribers have received everything, until the deadline, or until it is closed.
    fn wait_until(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<()> {
        while let Ok(publisher) = self.opened(py) {
            let left = time_left(deadline, SLICE);
            if py.detach(|| has_all(&publisher, left)) || left.is_zero() {
                break;
            }
            py.check_signals()?;
        }
        Ok(())
    }
}

/// Waits until all subscribers have received everything, for at most `timeout`; returns whether they have.
fn has_all(publisher: &mcast_stream::Publisher, timeout: Duration) -> bool {
    publisher.wait(Until::Received, timeout).is_ok_and(|is_so| is_so)
}

/// Waits until a message is acknowledged, or given up, for at most `timeout`; returns whether it is.
fn acked(
    publisher: &mcast_stream::Publisher,
    message: mcast_stream::wire::MessageNumber,
    timeout: Duration,
) -> Result<AckState, StreamError> {
    publisher.wait(Until::MessageAcknowledged(message), timeout)?;
    publisher.ack_state(message).ok_or(StreamError::AcksNotRequired)
}

/// Publishes a message and returns its number; returns `None` if the retransmission buffer is full.
fn try_publish(
    publisher: &mcast_stream::Publisher,
    bytes: &[u8],
    key: Option<MessageKey>,
) -> Result<Option<u64>, StreamError> {
    let key = key.map(|MessageKey(key)| mcast_stream::wire::MessageKey(key));
    match publisher.try_publish((key, bytes)) {
        Err(StreamError::Refused(refusal)) if Refusal::is_temporary(refusal) => Ok(None),
        result => Ok(Some(result?.0)),
    }
}

/// Returns the time until the deadline, but at most `slice`.
fn time_left(deadline: Option<Instant>, slice: Duration) -> Duration {
    deadline.map_or(slice, |deadline| deadline.saturating_duration_since(Instant::now()).min(slice))
}
