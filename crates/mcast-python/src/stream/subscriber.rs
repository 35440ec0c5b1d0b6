//! Subscribing, as Python has it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use mcast::Waker;
use mcast_stream::receiver::{Event, Item};
use mcast_stream::seal::Keys;
use mcast_stream::wire::{Incarnation, StreamId};
use mcast_stream::{Found, fetch_snapshot_while};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::discovery::FoundStream;
use super::error::raise_stream;
use super::event::handed_out;
use super::keys::Secrets;
use super::settings;
use super::snapshot::{Place, Snapshot};
use super::statistics::SubscriberStatistics;
use crate::error::{closed, refused, timed_out};
use crate::interface::Selectors;
use crate::membership::Membership;
use crate::number::{Bytes, MessageNumber};
use crate::receiver::{Timeout, spread};
use crate::sys;

/// How long to wait before looking for signals.
const SLICE: Duration = Duration::from_millis(50);

/// Receives a stream of messages, in order, each once, and is told of everything that could not be had:
/// `for item in pymcast.Subscriber("239.1.2.3:7000")`.
///
/// Items are Message and StreamEvent objects. Each membership is a path by which the stream comes, at most
/// four; what comes first counts. Instead of memberships, what find_stream found. Use it in a `with` statement, or close it. It asks for repairs within its
/// calls: who does not call for two seconds is no longer waited for by the publisher.
///
/// interface: where memberships that name none are joined. Default: as Receiver.
/// start: "now", "oldest" (the oldest that can still be had), or "snapshot" (behind a snapshot, which is
///     asked for by an event, and answered by fetch_snapshot and resume).
/// policy: "reliable", "deadline" (waits for a repair no longer than `deadline` seconds), "best-effort" (asks
///     for nothing), or "latest" (of each key only the latest message).
/// on_loss: of the policy "reliable", what comes after a loss that nothing repairs: "continue" (the messages
///     behind it), "snapshot" (one is asked for again), or "stop" (nothing: it is as if the stream had
///     ended). Default: "snapshot" for who starts so, else "continue".
/// name: only the stream of this name. Default: the first that is heard.
/// keys: a Keys or the path of its file; what is not sealed with them is refused.
/// receive_buffer: bytes to ask the system for. Default: 4 MiB.
/// stay: whether it stays when the stream has ended, for its publisher's next life.
///
/// Raises what Receiver does. Threads may share it; each item goes to one of them.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Subscriber {
    open: Mutex<Option<Listening>>,
    ends: AtomicBool,
    /// What it had counted when it was closed.
    counted: Mutex<Option<SubscriberStatistics>>,
    waker: Waker,
    memberships: Vec<mcast::Membership>,
    /// As it was announced, if it was found so.
    found: Option<Found>,
}

#[derive(Debug)]
struct Listening {
    subscriber: mcast_stream::Subscriber,
    keys: Keys,
    incarnation: Option<Incarnation>,
    /// The first message that a snapshot need not have.
    wanted: Option<u64>,
    /// What happened while a snapshot was fetched.
    pending: VecDeque<Py<PyAny>>,
}

/// What a look came to.
enum Look {
    Item(Py<PyAny>),
    Nothing,
    Over,
}

#[pymethods]
impl Subscriber {
    #[new]
    #[pyo3(signature = (
        *memberships, interface=None, start="now", policy="reliable", deadline=None, on_loss=None, name=None,
        keys=None, receive_buffer=None, stay=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        memberships: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        start: &str,
        policy: &str,
        deadline: Option<f64>,
        on_loss: Option<&str>,
        name: Option<&str>,
        keys: Option<Secrets>,
        receive_buffer: Option<Bytes>,
        stay: bool,
    ) -> PyResult<Self> {
        let (memberships, found) = places(memberships)?;
        let memberships = spread(memberships, &interface.map_or_else(Vec::new, |interfaces| interfaces.0));
        let start = settings::start(start)?;
        let keys = keys.map_or_else(Keys::none, |keys| keys.0);
        let mut builder = mcast_stream::Subscriber::builder()
            .start(start)
            .policy(settings::policy(policy, deadline, on_loss, start)?)
            .keys(keys.clone())
            .stay(stay);
        for membership in &memberships {
            builder = builder.path(membership.clone());
        }
        if let Some(stream) = name.map(StreamId::named).or_else(|| found.as_ref().map(|found| found.stream)) {
            builder = builder.stream(stream);
        }
        if let Some(bytes) = receive_buffer {
            builder = builder.receive_buffer(bytes.0);
        }
        let subscriber = py.detach(|| builder.build()).map_err(|error| raise_stream(py, &error))?;
        let waker = subscriber.waker();
        let pending = VecDeque::new();
        let listening = Listening { subscriber, keys, incarnation: None, wanted: None, pending };
        let open = Mutex::new(Some(listening));
        Ok(Self { open, ends: AtomicBool::new(false), counted: Mutex::default(), waker, memberships, found })
    }

    /// Waits for the next item, a Message or a StreamEvent; None when the stream has ended. Raises
    /// TimeoutError when there was none in `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        let timeout = Timeout::new(timeout)?;
        let mut deadline = None;
        loop {
            match self.look(py)? {
                Look::Item(item) => return Ok(Some(item)),
                Look::Over => return Ok(None),
                Look::Nothing => {}
            }
            let deadline: Option<Instant> = *deadline.get_or_insert_with(|| timeout.deadline());
            let left = deadline
                .map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
            if left.is_zero() {
                return Err(timed_out());
            }
            self.wait(py, left)?;
        }
    }

    /// The next item if one is there, else None.
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.look(py)? {
            Look::Item(item) => Ok(Some(item)),
            Look::Over | Look::Nothing => Ok(None),
        }
    }

    /// Whether nothing more will come: the stream has ended and all of it was handed out, or a loss has stopped it.
    #[getter]
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |listening| listening.pending.is_empty() && listening.subscriber.is_over())
    }

    /// Fetches a snapshot from where the publisher serves them, an address and port: one that has all messages
    /// before the one that the event "snapshot-wanted" told, or more. Go on behind it with resume. Who was made
    /// of what find_stream found may leave the address away: it is the announced one, and for `timeout` seconds
    /// another is tried with each announcement. The stream is followed meanwhile. Raises pymcast.Error when it
    /// cannot be had or is larger than `max_size` bytes (anybody can announce snapshots of a stream in clear), pymcast.ClosedError when the subscriber is closed meanwhile, and ValueError before one is wanted.
    #[pyo3(signature = (address=None, timeout=10.0, max_size=67_108_864))]
    fn fetch_snapshot(
        &self,
        py: Python<'_>,
        address: Option<Place>,
        timeout: f64,
        max_size: u64,
    ) -> PyResult<Snapshot> {
        self.fetch(py, address, timeout, max_size, None)
    }

    /// For pymcast.aio: the same, for as long as `abandoned` does not say True.
    fn _fetch_snapshot(
        &self,
        py: Python<'_>,
        address: Option<Place>,
        timeout: f64,
        max_size: u64,
        abandoned: Bound<'_, PyAny>,
    ) -> PyResult<Snapshot> {
        self.fetch(py, address, timeout, max_size, Some(abandoned.unbind()))
    }

    /// Goes on behind a snapshot that has all messages before this number.
    fn resume(&self, py: Python<'_>, message: MessageNumber) -> PyResult<()> {
        self.with(py, |listening| {
            listening.wanted = None;
            listening.subscriber.resume(message.0);
        })
    }

    /// Opens with these from now on.
    fn set_keys(&self, py: Python<'_>, keys: Secrets) -> PyResult<()> {
        self.with(py, |listening| {
            listening.keys = keys.0.clone();
            listening.subscriber.set_keys(keys.0);
        })
    }

    /// What was received so far; of nothing before the stream is heard; also once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<SubscriberStatistics> {
        let counted = self.with(py, |listening| listening.subscriber.statistics().into());
        counted.or_else(|error| {
            let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            counted.ok_or(error)
        })
    }

    /// The identity of the stream, once it is heard.
    #[getter]
    fn stream(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.with(py, |listening| listening.subscriber.stream().map(|stream| stream.0))
    }

    /// For pymcast.aio: items that are there, no more than these, whether the stream has ended, and after how
    /// many seconds to look again at the latest.
    fn _take(&self, py: Python<'_>, most: usize) -> PyResult<(Vec<Py<PyAny>>, bool, f64)> {
        let mut items = Vec::new();
        let mut over = false;
        while items.len() < most && !over {
            match self.look(py) {
                Ok(Look::Item(item)) => items.push(item),
                Ok(Look::Nothing) => break,
                Ok(Look::Over) => over = true,
                Err(error) if items.is_empty() => return Err(error),
                // What was taken is handed out first; the next call meets what still fails.
                Err(_) => break,
            }
        }
        let due = self.with(py, |listening| listening.subscriber.due()).unwrap_or_default();
        Ok((items, over, due.as_secs_f64()))
    }

    /// For pymcast.aio: what becomes readable when there is something to do.
    fn _descriptors(&self, py: Python<'_>) -> PyResult<Vec<i64>> {
        self.with(py, |listening| sys::descriptors(&listening.subscriber))?
    }

    /// For pymcast.aio: waits until there may be something to do, for a while.
    fn _wait(&self, py: Python<'_>) -> PyResult<()> {
        self.wait(py, SLICE)
    }

    /// Leaves the stream. Calls that wait end with pymcast.ClosedError, loops just end. Closing twice does
    /// nothing.
    fn close(&self, py: Python<'_>) {
        if self.ends.swap(true, Ordering::AcqRel) {
            return;
        }
        // Who waits looks after a slice, if it cannot be woken.
        let _ = self.waker.wake();
        py.detach(|| {
            let was_open = self.lock().take();
            let counted = was_open.map(|listening| listening.subscriber.statistics().into());
            *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        });
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.ends.load(Ordering::Acquire)
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

    /// The next item; the loop ends when the stream does, or the subscriber is closed.
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

/// What to join: memberships, or what was found.
fn places(given: &Bound<'_, PyTuple>) -> PyResult<(Vec<Membership>, Option<Found>)> {
    if given.is_empty() {
        return Err(PyTypeError::new_err("name a group and port to subscribe to"));
    }
    if let Ok(found) = given.get_item(0)?.cast::<FoundStream>() {
        if given.len() > 1 {
            return Err(refused("what was found says by itself what to join: leave the rest away"));
        }
        let found = found.get();
        return Ok((found.joined().into_iter().map(Membership).collect(), Some(found.found.clone())));
    }
    Ok((given.iter().map(|each| each.extract()).collect::<PyResult<_>>()?, None))
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if !self.closed() {
            crate::unclosed::warn(&self.__repr__());
        }
    }
}

impl Subscriber {
    fn lock(&self) -> MutexGuard<'_, Option<Listening>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that does not wait. Whoever waits holds the lock without Python's, so that nobody may
    /// wait for it with Python's.
    fn with<T>(&self, py: Python<'_>, work: impl FnOnce(&mut Listening) -> T) -> PyResult<T> {
        loop {
            if self.closed() {
                return Err(closed(py, "subscriber"));
            }
            let mut open = match self.open.try_lock() {
                Ok(open) => open,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    py.detach(|| drop(self.lock()));
                    continue;
                }
            };
            return open.as_mut().map(work).ok_or_else(|| closed(py, "subscriber"));
        }
    }

    fn look(&self, py: Python<'_>) -> PyResult<Look> {
        self.with(py, |listening| listening.look(py))?
    }

    /// Fetches a snapshot with an ear for signals, for who closes it, and for the stream.
    fn fetch(
        &self,
        py: Python<'_>,
        address: Option<Place>,
        timeout: f64,
        max_size: u64,
        abandoned: Option<Py<PyAny>>,
    ) -> PyResult<Snapshot> {
        let patience = settings::time(timeout)?;
        let wanted = self.with(py, |listening| {
            let stream = listening.subscriber.stream()?;
            Some((stream, listening.incarnation?, listening.wanted?, listening.keys.clone()))
        })?;
        let Some((stream, incarnation, message, keys)) = wanted else {
            return Err(refused("no snapshot is wanted: the event snapshot-wanted tells when"));
        };
        let mut raised = None;
        let mut go_on = || {
            let attended = Python::try_attach(|py| self.attend(py, abandoned.as_ref()));
            let goes_on = matches!(attended, Some(Ok(())));
            raised = attended.and_then(Result::err);
            goes_on
        };
        let fetch = || match (address, &self.found) {
            (Some(Place(address)), _) => {
                Ok(fetch_snapshot_while(address, stream, incarnation, &keys, message, max_size, &mut go_on))
            }
            (None, Some(found)) => {
                Ok(found.fetch_snapshot_while(incarnation, message, &keys, max_size, patience, &mut go_on))
            }
            (None, None) => Err(refused("say where from: only a stream that was found announces that")),
        };
        let fetched = py.detach(fetch)?;
        match raised {
            Some(error) => Err(error),
            None => Ok(Snapshot::of(py, &fetched.map_err(|error| raise_stream(py, &error))?)),
        }
    }

    /// Looks after all else while a snapshot is fetched.
    fn attend(&self, py: Python<'_>, abandoned: Option<&Py<PyAny>>) -> PyResult<()> {
        py.check_signals()?;
        if let Some(abandoned) = abandoned
            && abandoned.call0(py)?.is_truthy(py)?
        {
            return Err(closed(py, "subscriber"));
        }
        self.with(py, |listening| listening.follow(py))?
    }

    fn wait(&self, py: Python<'_>, time: Duration) -> PyResult<()> {
        let waited = py.detach(|| self.lock().as_ref().map(|listening| listening.subscriber.wait(time)));
        py.check_signals()?;
        waited.ok_or_else(|| closed(py, "subscriber"))?.map_err(|error| raise_stream(py, &error))
    }
}

impl Listening {
    /// What is there, without waiting.
    fn look(&mut self, py: Python<'_>) -> PyResult<Look> {
        if let Some(item) = self.pending.pop_front() {
            return Ok(Look::Item(item));
        }
        match self.take(py)? {
            Some((item, _)) => Ok(Look::Item(item)),
            None if self.subscriber.is_over() => Ok(Look::Over),
            None => Ok(Look::Nothing),
        }
    }

    /// Takes what comes while a snapshot is wanted, and answers the publisher: messages wait for the snapshot,
    /// events for the next call.
    fn follow(&mut self, py: Python<'_>) -> PyResult<()> {
        while self.wanted.is_some()
            && let Some((item, is_message)) = self.take(py)?
        {
            self.pending.push_back(item);
            if is_message {
                break;
            }
        }
        Ok(())
    }

    /// The next item of the stream that is there, and whether it is a message.
    fn take(&mut self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>, bool)>> {
        let item = self.subscriber.next_timeout(Duration::ZERO).map_err(|error| raise_stream(py, &error))?;
        let Some(item) = item else { return Ok(None) };
        match item {
            Item::Event(Event::Joined { incarnation, .. } | Event::Restarted { to: incarnation, .. }) => {
                self.incarnation = Some(incarnation);
            }
            Item::Event(Event::SnapshotWanted { message }) => self.wanted = Some(message),
            _ => {}
        }
        Ok(Some((handed_out(py, &item)?, matches!(item, Item::Message(_)))))
    }
}
