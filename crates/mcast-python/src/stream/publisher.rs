//! Publishing, as Python has it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast_stream::sender::Refusal;
use mcast_stream::wire::StreamId;
use mcast_stream::{SnapshotServer, StreamError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::audience::{Closing, PublisherEvent};
use super::error::raise_stream;
use super::keys::Secrets;
use super::settings;
use super::snapshot::{self, Place};
use super::statistics::PublisherStatistics;
use crate::error::{closed, no_room, refused};
use crate::fork::Maker;
use crate::interface::Selectors;
use crate::membership::Target;
use crate::number::{ByteRate, Bytes, HopLimit, MessageKey, Receivers};
use crate::payload::Payload;
use crate::receiver::Timeout;

/// While it waits for room, it looks again so often.
const AGAIN: Duration = Duration::from_millis(10);
/// While it waits for receivers, it looks for signals so often.
const SLICE: Duration = Duration::from_millis(50);
/// How long the end of a `with` statement waits for receivers.
const FAREWELL: Duration = Duration::from_secs(5);

/// Publishes a stream of messages that all arrive: what is lost is sent again, and who is slow is waited for.
///
/// Each destination is text ("239.1.2.3%eth0:7000") or a pair of group and port; a stream to several, at most
/// four, is the same on each. Use it in a `with` statement, or close it.
///
/// interface: by which a destination that names none is sent to: a name, index, address or Interface, or
///     several, which make a path each. Default: the route to the group.
/// name: what it is announced as; the stream's identity is made of it, so that subscribers go on with a
///     publisher that starts again.
/// rate: bytes a second. Default: as fast as it goes.
/// history: bytes that are kept for repairs. Default: 8 MiB.
/// flow: "slowest" waits for the slowest receiver, "none" for nobody.
/// eviction: a receiver that keeps others waiting must get on within so many seconds. Default: 2.
/// longest_message: bytes. Default: 16 MiB.
/// keys: a Keys or the path of its file: the stream is sealed. Default: it is not.
/// hop_limit: how many networks a datagram may cross.
/// loopback: whether receivers on this host hear it.
///
/// Raises pymcast.Error, or one of its kinds, and ValueError for settings that cannot be.
///
/// Threads may share it. Threads of its own answer receivers, whatever Python does meanwhile. A process that
/// was forked has none of these: it must not use it, and raises pymcast.ClosedError where it tries to.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Publisher {
    open: Mutex<Option<Arc<mcast_stream::Publisher>>>,
    snapshots: Mutex<Vec<SnapshotServer>>,
    stream: u64,
    maker: Maker,
    /// What it had counted when it was closed.
    counted: Mutex<Option<PublisherStatistics>>,
}

#[pymethods]
impl Publisher {
    #[new]
    #[pyo3(signature = (
        *destinations, interface=None, name=None, rate=None, history=None, flow="slowest", eviction=None,
        longest_message=None, keys=None, hop_limit=HopLimit(1), loopback=true
    ), text_signature = "(*destinations, interface=None, name=None, rate=None, history=None, flow='slowest', \
        eviction=None, longest_message=None, keys=None, hop_limit=1, loopback=True)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        destinations: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        name: Option<String>,
        rate: Option<ByteRate>,
        history: Option<Bytes>,
        flow: &str,
        eviction: Option<f64>,
        longest_message: Option<Bytes>,
        keys: Option<Secrets>,
        hop_limit: HopLimit,
        loopback: bool,
    ) -> PyResult<Self> {
        let interfaces = interface.map_or_else(Vec::new, |interfaces| interfaces.0);
        let mut builder = mcast_stream::Publisher::builder()
            .flow(settings::flow(flow)?)
            .hop_limit(hop_limit.0)
            .loopback(loopback);
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
        if let Some(rate) = rate {
            builder = builder.rate(rate.0);
        }
        if let Some(bytes) = history {
            builder = builder.history(bytes.0);
        }
        if let Some(seconds) = eviction {
            builder = builder.eviction(settings::time(seconds)?);
        }
        if let Some(bytes) = longest_message {
            builder = builder.longest_message(bytes.0);
        }
        if let Some(Secrets(keys)) = keys {
            builder = builder.keys(keys);
        }
        let publisher = py.detach(|| builder.build()).map_err(|error| raise_stream(py, &error))?;
        let stream = publisher.stream().0;
        Ok(Self {
            open: Mutex::new(Some(Arc::new(publisher))),
            snapshots: Mutex::default(),
            stream,
            maker: Maker::here(),
            counted: Mutex::default(),
        })
    }

    /// Publishes a message, sends it at once, and tells its number. Waits while there is no room: for a slow
    /// receiver, or for its turn at the rate. `key`, an integer, names what the message is about, for
    /// subscribers that only want the latest of each. Raises TimeoutError when there was no room in
    /// `timeout` seconds, and then it is not published.
    #[pyo3(signature = (payload, *, key=None, timeout=None))]
    fn publish(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        key: Option<MessageKey>,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let number = self.queue(py, payload, key, timeout)?;
        self.flush(py)?;
        Ok(number)
    }

    /// The same without waiting; None when there is no room.
    #[pyo3(signature = (payload, *, key=None))]
    fn try_publish(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        key: Option<MessageKey>,
    ) -> PyResult<Option<u64>> {
        let publisher = self.opened(py)?;
        let bytes = payload.bytes();
        let tried = py.detach(|| {
            let tried = attempt(&publisher, bytes, key);
            publisher.flush();
            tried
        });
        tried.map_err(|error| raise_stream(py, &error))
    }

    /// For pymcast.aio: queues a message without waiting; None when there is no room.
    #[pyo3(signature = (payload, *, key=None))]
    fn _try_queue(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        key: Option<MessageKey>,
    ) -> PyResult<Option<u64>> {
        let publisher = self.opened(py)?;
        let bytes = payload.bytes();
        py.detach(|| attempt(&publisher, bytes, key)).map_err(|error| raise_stream(py, &error))
    }

    /// Publishes a message that may wait for others to share its datagram, until `flush`, or for a
    /// millisecond: the way to publish many small ones fast. Otherwise as `publish`.
    #[pyo3(signature = (payload, *, key=None, timeout=None))]
    fn queue(
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
            let tried = py.detach(|| attempt(&publisher, bytes, key));
            if let Some(number) = tried.map_err(|error| raise_stream(py, &error))? {
                return Ok(number);
            }
            let left = left(*deadline.get_or_insert_with(|| timeout.deadline()), AGAIN);
            if left.is_zero() {
                return Err(no_room());
            }
            py.detach(|| publisher.wait_for_room(left));
            py.check_signals()?;
        }
    }

    /// Sends what was queued.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let publisher = self.opened(py)?;
        py.detach(|| publisher.flush());
        Ok(())
    }

    /// What happened since the last call, the oldest first: who joined, left, was evicted, and so on.
    fn events(&self, py: Python<'_>) -> PyResult<Vec<PublisherEvent>> {
        let publisher = self.opened(py)?;
        Ok(py.detach(|| std::iter::from_fn(|| publisher.event()).map(PublisherEvent::from).collect()))
    }

    /// What was sent so far; also once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<PublisherStatistics> {
        match self.opened(py) {
            Ok(publisher) => Ok(py.detach(|| publisher.statistics()).into()),
            Err(error) if self.maker.is_elsewhere() => Err(error),
            Err(error) => {
                let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                counted.ok_or(error)
            }
        }
    }

    /// The stream's identity.
    #[getter]
    fn stream(&self) -> u64 {
        self.stream
    }

    /// The number of the next message: what a Snapshot has, that has all messages so far.
    #[getter]
    fn next_message(&self, py: Python<'_>) -> PyResult<u64> {
        let publisher = self.opened(py)?;
        Ok(py.detach(|| publisher.next_message()))
    }

    /// Waits until so many receivers have joined; False when the time is over.
    #[pyo3(signature = (receivers, timeout=None))]
    fn wait_for(&self, py: Python<'_>, receivers: Receivers, timeout: Option<f64>) -> PyResult<bool> {
        self.wait(py, Timeout::new(timeout)?, |publisher, slice| publisher.wait_for(receivers.0, slice))
    }

    /// Waits until all that listen have everything that was published; False when the time is over.
    #[pyo3(signature = (timeout=None))]
    fn wait_complete(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.wait(py, Timeout::new(timeout)?, mcast_stream::Publisher::wait_complete)
    }

    /// Seals with the greatest epoch of these from now on.
    fn set_keys(&self, py: Python<'_>, keys: Secrets) -> PyResult<()> {
        let publisher = self.opened(py)?;
        py.detach(|| publisher.set_keys(keys.0));
        Ok(())
    }

    /// Serves snapshots over TCP at an address and port (0: any), sealed as the stream is, until it is
    /// closed; returns where. `capture` is called by another thread whenever one is asked for, and returns a
    /// Snapshot: the state after all messages before a number. What it raises goes to sys.unraisablehook, and
    /// whoever asked is turned away.
    fn serve_snapshots(
        &self,
        py: Python<'_>,
        address: Place,
        capture: Bound<'_, PyAny>,
    ) -> PyResult<(String, u16)> {
        if !capture.is_callable() {
            return Err(refused("snapshots are made by a function that returns a pymcast.Snapshot"));
        }
        let publisher = self.opened(py)?;
        let capture = capture.unbind();
        let serve = || publisher.serve_snapshots(address.0, move || snapshot::capture(&capture));
        let server = py.detach(serve).map_err(|error| raise_stream(py, &error))?;
        let address = snapshot::pair(server.address());
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        Ok(address)
    }

    /// Ends the stream, and waits for no longer than `timeout` seconds until all that listen have everything.
    /// Tells who has not; None when it was closed before.
    #[pyo3(signature = (timeout=5.0))]
    fn close(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Closing>> {
        let timeout = settings::time(timeout)?;
        self.end(py, timeout)
    }

    /// Whether it is closed; in a process that was forked, it is.
    #[getter]
    fn closed(&self) -> bool {
        self.maker.is_elsewhere() || self.lock().is_none()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.end(py, FAREWELL).map(drop)
    }

    fn __repr__(&self) -> String {
        let closed = if self.closed() { ", closed" } else { "" };
        format!("<Publisher of stream {:016x}{closed}>", self.stream)
    }
}

/// What was accepted has so long to go out when a publisher is dropped and not closed.
const LAST_MOMENT: Duration = Duration::from_secs(1);

impl Drop for Publisher {
    fn drop(&mut self) {
        if !self.closed() {
            crate::unclosed::warn(&self.__repr__());
        }
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(publisher) = open.as_ref().filter(|_| !self.maker.is_elsewhere()) {
            // A program that ends, by Ctrl-C perhaps, is not held up for as long as a slow rate takes.
            let _ = publisher.close(LAST_MOMENT);
        }
        self.maker.end(open);
        self.maker.end(self.snapshots.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Publisher {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<mcast_stream::Publisher>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, py: Python<'_>) -> PyResult<Arc<mcast_stream::Publisher>> {
        // First: a lock that was held when the process was forked is held for ever.
        if self.maker.is_elsewhere() {
            return Err(self.maker.refuse(py, "publisher"));
        }
        self.lock().clone().ok_or_else(|| closed(py, "publisher"))
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
            let left = left(deadline, SLICE);
            if py.detach(|| done(&publisher, left)) {
                return Ok(true);
            }
            py.check_signals()?;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Waits with an ear for signals, which leave it open; then ends it, and waits likewise until that is known.
    fn end(&self, py: Python<'_>, timeout: Duration) -> PyResult<Option<Closing>> {
        let deadline = Instant::now().checked_add(timeout);
        self.wait_until(py, deadline)?;
        if let Ok(publisher) = self.opened(py) {
            py.detach(|| publisher.end());
        }
        self.wait_until(py, deadline)?;
        if self.maker.is_elsewhere() {
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

    /// Waits until all that listen have everything, the time is over, or it is closed.
    fn wait_until(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<()> {
        while let Ok(publisher) = self.opened(py) {
            let left = left(deadline, SLICE);
            if py.detach(|| publisher.wait_complete(left)) || left.is_zero() {
                break;
            }
            py.check_signals()?;
        }
        Ok(())
    }
}

/// A try: the number, or none while there is no room.
fn attempt(
    publisher: &mcast_stream::Publisher,
    bytes: &[u8],
    key: Option<MessageKey>,
) -> Result<Option<u64>, StreamError> {
    let tried = match key {
        Some(MessageKey(key)) => publisher.try_queue_keyed(key, bytes),
        None => publisher.try_queue(bytes),
    };
    match tried {
        Err(StreamError::Refused(refusal)) if Refusal::is_temporary(refusal) => Ok(None),
        tried => tried.map(Some),
    }
}

/// What is left until then, but no more than a slice.
fn left(deadline: Option<Instant>, slice: Duration) -> Duration {
    deadline.map_or(slice, |deadline| deadline.saturating_duration_since(Instant::now()).min(slice))
}
