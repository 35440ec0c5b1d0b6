//! Sending datagrams, the replies to them, and the statistics of a sender.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mcast::{Destination, Family, HostAddr, InterfaceSelector, Rate, SenderBuilder};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::datagram::{
    InterfaceNames, Item, Payload, SendOptions, nanoseconds, seconds, socket_address, source_address,
};
use crate::error::{OrRaise, already_open_error, closed_error, timeout_error, value_error};
use crate::membership::{Address, Hosts, Selector, Selectors, Target};
use crate::receiver::Timeout;
use crate::statistics::{Attributes, statistics_class};
use crate::values::{Bytes, HopLimit, Port, TrafficClass, refuse_keywords};

/// How often a wait for replies checks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// Sends datagrams to groups, and on networks without multicast to hosts.
///
/// Each destination is text ("239.255.1.3:7000", "[ff15::1%eth0]:7000") or a pair of group and port;
/// without any, each datagram names its own. The constructor opens it; use it in a `with` statement, or
/// close it.
///
/// interface: the egress interface for destinations that name none: a name, index, address or Interface, or
///     several, and then each datagram is sent on each. Default: the route to the group.
/// hosts: hosts that are destinations, too: text ("10.0.0.5:7000", "[fe80::5%eth0]:7000"), a pair of address and
///     port, or several.
/// broadcast: allow hosts that are IPv4 broadcast addresses, such as "255.255.255.255%eth0:7000".
/// hop_limit: the hop limit (IPv4: TTL). 1 keeps datagrams in the local network, 0 on this host. Default: 1, and
///     for hosts the system's.
/// loopback: whether receivers on this host also receive the datagrams. On Windows the receiver decides.
/// traffic_class: DSCP in the upper six bits, ECN in the lower two.
/// source_port, source_address: the port and address to send from. Default: chosen by the system.
/// send_buffer: the size of the socket buffer to request, in bytes.
/// dont_fragment: reject datagrams larger than the MTU instead of fragmenting them.
/// segmentation: let send_batch pass consecutive datagrams of equal size to the kernel in one buffer (GSO, Linux).
/// rate, bit_rate: limit to N datagrams, or N bits of payload, per second, evenly spaced.
/// follow: when sending, look up again an interface that disappeared or does not exist yet.
///
/// Raises a subclass of pymcast.Error, such as NoRouteError or NoSuchInterfaceError, whose `remedy` says what to do;
/// pymcast.ParseError for text that cannot be parsed.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Sender {
    settings: Settings,
    open: Mutex<Option<Arc<mcast::Sender>>>,
    /// The final statistics, once it is closed.
    counted: Mutex<Option<SendStatistics>>,
}

#[pymethods]
impl Sender {
    #[new]
    #[pyo3(signature = (
        *destinations, interface=None, hosts=None, broadcast=false, hop_limit=None, loopback=true, traffic_class=None,
        source_port=Port(0),
        source_address=None, send_buffer=None, dont_fragment=false, segmentation=true, rate=None,
        bit_rate=None, follow=false, **unknown
    ), text_signature = "(*destinations, interface=None, hosts=None, broadcast=False, hop_limit=None, \
        loopback=True, traffic_class=None, source_port=0, source_address=None, send_buffer=None, dont_fragment=False, segmentation=True, \
        rate=None, bit_rate=None, follow=False)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    #[expect(clippy::fn_params_excessive_bools, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        destinations: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        hosts: Option<Hosts>,
        broadcast: bool,
        hop_limit: Option<HopLimit>,
        loopback: bool,
        traffic_class: Option<TrafficClass>,
        source_port: Port,
        source_address: Option<Address>,
        send_buffer: Option<Bytes>,
        dont_fragment: bool,
        segmentation: bool,
        rate: Option<f64>,
        bit_rate: Option<f64>,
        follow: bool,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        refuse_keywords("Sender", unknown)?;
        let targets = destinations.iter().map(|each| Ok(each.extract::<Target>()?.0));
        let settings = Settings {
            destinations: targets.collect::<PyResult<_>>()?,
            interfaces: interface.map_or_else(Vec::new, |interfaces| interfaces.0),
            hosts: hosts.map_or_else(Vec::new, |hosts| hosts.0),
            broadcast,
            hop_limit: hop_limit.map(|hops| hops.0),
            loopback,
            traffic_class: traffic_class.map(|class| class.0),
            source_port: source_port.0,
            source_address: source_address.map(|address| address.0),
            send_buffer: send_buffer.map(|bytes| bytes.0),
            dont_fragment,
            segmentation,
            pace: pace(rate, bit_rate)?,
            follow,
        };
        let sender = Self { settings, open: Mutex::new(None), counted: Mutex::default() };
        sender.open(py)?;
        Ok(sender)
    }

    /// Reopens it with the same settings. Raises pymcast.AlreadyOpenError if it is open.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        if !self.closed() {
            return Err(already_open_error(py, "sender"));
        }
        let opened = py.detach(|| self.settings.open()).or_raise(py)?;
        let mut open = self.lock();
        if open.is_some() {
            return Err(already_open_error(py, "sender"));
        }
        *open = Some(Arc::new(opened));
        Ok(())
    }

    /// Closes the sockets. Calls that wait for the rate limit raise pymcast.ClosedError. Closing twice has no effect.
    fn close(&self) {
        let was_open = self.lock().take();
        if let Some(sender) = was_open {
            *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.statistics().into());
        }
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Sends a datagram to every destination of the sender, or to the group and port `to`. The other keywords
    /// override the sender's settings.
    ///
    /// Raises pymcast.Error when the system cannot send it: TooLargeError, NoRouteError,
    /// QueueFullError and so on. Ctrl-C interrupts the wait for the rate limit; then it was not sent.
    #[pyo3(signature = (payload, *, to=None, interface=None, hop_limit=None, traffic_class=None, source_address=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn send(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
        source_address: Option<Address>,
    ) -> PyResult<()> {
        let sender = self.opened(py)?;
        let options = SendOptions::new(py, to, interface, hop_limit, traffic_class, source_address)?;
        let outgoing = options.outgoing(payload.bytes());
        let mut pace_wait = PaceWait::new(self, None);
        let outgoing = std::slice::from_ref(&outgoing);
        py.detach(|| sender.send_batch_while(outgoing, || pace_wait.may_continue())).or_raise(py)?;
        pace_wait.result()
    }

    /// For pymcast.aio: sends the copies of a datagram, one for each destination and interface, starting at copy
    /// number `first`. If sending would block, waits until `abandoned()` is true, or, without `wait`, returns the
    /// number of the copy. Returns None when all copies are sent. The rate limit applies only with `wait`.
    #[pyo3(signature = (payload, first, wait, abandoned=None, *, to=None, interface=None, hop_limit=None, traffic_class=None, source_address=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn _send_copies(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        first: usize,
        wait: bool,
        abandoned: Option<Py<PyAny>>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
        source_address: Option<Address>,
    ) -> PyResult<Option<usize>> {
        let sender = self.opened(py)?;
        let options = SendOptions::new(py, to, interface, hop_limit, traffic_class, source_address)?;
        let outgoing = options.outgoing(payload.bytes());
        let copies = sender.expand(&outgoing).or_raise(py)?;
        if copies.is_empty() {
            // Without a destination, this returns the error that says so.
            return sender.send_one(&outgoing).or_raise(py).map(|()| None);
        }
        for (number, copy) in copies.iter().enumerate().skip(first) {
            if wait {
                let mut pace_wait = PaceWait::new(self, abandoned.as_ref());
                let copy = std::slice::from_ref(copy);
                py.detach(|| sender.send_batch_while(copy, || pace_wait.may_continue())).or_raise(py)?;
                pace_wait.result()?;
            } else if !sender.try_send_one(copy).or_raise(py)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Sends datagrams in order with as few system calls as possible, and returns how many were sent. Each is
    /// bytes, or an Outgoing with settings of its own.
    ///
    /// Returns fewer if the system rejected one after the first; sending the rest again raises the reason. Raises
    /// pymcast.Error if the first cannot be sent. If Ctrl-C interrupts the wait for the rate limit, the exception
    /// has an attribute `sent`: how many were sent before.
    fn send_batch(&self, py: Python<'_>, datagrams: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.send_batch_while(py, datagrams, None)
    }

    /// For pymcast.aio: as `send_batch`, until `abandoned()` is true.
    fn _send_batch_while(
        &self,
        py: Python<'_>,
        datagrams: &Bound<'_, PyAny>,
        abandoned: Py<PyAny>,
    ) -> PyResult<usize> {
        self.send_batch_while(py, datagrams, Some(&abandoned))
    }

    /// For pymcast.Writer: sends the datagrams in the list `pending` and removes those that were sent, or the first if
    /// it cannot be sent. Doing both in one call ensures that no exception can occur in between.
    fn _send_pending(&self, py: Python<'_>, pending: &Bound<'_, PyList>) -> PyResult<()> {
        let items: Vec<Item<'_>> = pending.iter().map(|each| each.extract()).collect::<PyResult<_>>()?;
        let (sent, pace_wait) = self.send_items(py, &items, None)?;
        let done = sent.as_ref().map_or(1, |sent| *sent);
        pending.del_slice(0, done)?;
        sent.or_raise(py)?;
        pace_wait.result()
    }

    /// Returns a writer, which batches the datagrams of a loop of sends: `with sender.writer() as writer`. It
    /// buffers up to `capacity` datagrams.
    #[pyo3(signature = (capacity=64))]
    fn writer(slf: Bound<'_, Self>, capacity: isize) -> PyResult<Bound<'_, PyAny>> {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        CLASS.import(slf.py(), "pymcast._writer", "Writer")?.call1((slf.clone(), capacity))
    }

    /// Waits for a unicast reply, as Receiver.reply sends them.
    ///
    /// `family` is 4 or 6; by default that of the first destination. Raises TimeoutError if none arrives within
    /// `timeout` seconds.
    #[pyo3(signature = (timeout=None, *, family=None))]
    fn recv_answer(&self, py: Python<'_>, timeout: Option<f64>, family: Option<u8>) -> PyResult<Answer> {
        let sender = self.opened(py)?;
        let family = self.family(family)?;
        let deadline = Timeout::new(timeout)?.deadline();
        let mut buffer = vec![0; 65_536];
        loop {
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = left.min(SLICE);
            if let Some(answer) = py.detach(|| sender.recv_answer(family, &mut buffer, slice)).or_raise(py)? {
                return Ok(Answer::new(py, &answer));
            }
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(timeout_error());
            }
            if self.closed() {
                return Err(closed_error(py, "sender"));
            }
        }
    }

    /// Returns the address that datagrams of a family (4 or 6, by default that of the first destination) are sent
    /// from, as socket.getsockname does: unspecified if the system chooses one for each datagram.
    #[pyo3(signature = (*, family=None))]
    fn local_address<'py>(&self, py: Python<'py>, family: Option<u8>) -> PyResult<Bound<'py, PyAny>> {
        let sender = self.opened(py)?;
        let family = self.family(family)?;
        socket_address(py, sender.local_address(family).or_raise(py)?)
    }

    /// Whether it has a rate limit.
    #[getter]
    fn paced(&self) -> bool {
        self.settings.pace.is_some()
    }

    /// Its statistics; also available once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<SendStatistics> {
        let open = self.lock().clone();
        match open {
            Some(sender) => Ok(sender.statistics().into()),
            None => {
                let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                counted.ok_or_else(|| closed_error(py, "sender"))
            }
        }
    }

    /// Reopens it if it is closed.
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().closed() {
            slf.get().open(slf.py())?;
        }
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        let destinations: Vec<String> = self.settings.destinations.iter().map(ToString::to_string).collect();
        let closed = if self.closed() { ", closed" } else { "" };
        format!("<Sender to {}{closed}>", destinations.join(", "))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.closed() {
            crate::lifetime::warn(&self.__repr__());
        }
    }
}

impl Sender {
    fn send_batch_while(
        &self,
        py: Python<'_>,
        datagrams: &Bound<'_, PyAny>,
        abandoned: Option<&Py<PyAny>>,
    ) -> PyResult<usize> {
        let items: Vec<Item<'_>> =
            datagrams.try_iter()?.map(|each| each?.extract()).collect::<PyResult<_>>()?;
        let (sent, pace_wait) = self.send_items(py, &items, abandoned)?;
        let sent = sent.or_raise(py)?;
        pace_wait.result().inspect_err(|error| _ = error.value(py).setattr("sent", sent))?;
        Ok(sent)
    }

    /// Sends the items. Returns how many were sent, and whether the wait for the rate limit was interrupted.
    fn send_items<'a>(
        &'a self,
        py: Python<'_>,
        items: &[Item<'_>],
        abandoned: Option<&'a Py<PyAny>>,
    ) -> PyResult<(mcast::Result<usize>, PaceWait<'a>)> {
        let sender = self.opened(py)?;
        let outgoing: Vec<mcast::Outgoing<'_>> = items.iter().map(Item::outgoing).collect();
        let mut pace_wait = PaceWait::new(self, abandoned);
        let sent = py.detach(|| sender.send_batch_while(&outgoing, || pace_wait.may_continue()));
        Ok((sent, pace_wait))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<mcast::Sender>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, py: Python<'_>) -> PyResult<Arc<mcast::Sender>> {
        self.lock().clone().ok_or_else(|| closed_error(py, "sender"))
    }

    fn family(&self, number: Option<u8>) -> PyResult<Family> {
        match (number, self.settings.destinations.first()) {
            (Some(4), _) => Ok(Family::V4),
            (Some(6), _) => Ok(Family::V6),
            (None, Some(first)) => Ok(first.address.group.family()),
            (None, None) => Err(value_error("the sender has no destination: give a family, 4 or 6")),
            (Some(other), _) => {
                Err(value_error(format_args!("{other} is not an address family: use 4 or 6")))
            }
        }
    }
}

/// Checks whether a sender that waits for its rate limit should continue.
struct PaceWait<'a> {
    sender: &'a Sender,
    /// Returns true once the caller is no longer interested.
    abandoned: Option<&'a Py<PyAny>>,
    /// Why the wait was interrupted.
    interrupted: Option<PyErr>,
}

impl<'a> PaceWait<'a> {
    fn new(sender: &'a Sender, abandoned: Option<&'a Py<PyAny>>) -> Self {
        Self { sender, abandoned, interrupted: None }
    }

    /// Returns whether to keep waiting: no signal is pending, and the sender is open and not abandoned.
    fn may_continue(&mut self) -> bool {
        let checked = Python::attach(|py| {
            py.check_signals()?;
            let abandoned = self.abandoned.map(|abandoned| abandoned.call0(py)?.is_truthy(py)).transpose()?;
            match self.sender.closed() || abandoned == Some(true) {
                true => Err(closed_error(py, "sender")),
                false => Ok(()),
            }
        });
        self.interrupted = checked.err();
        self.interrupted.is_none()
    }

    /// Returns the exception that interrupted the wait, if one did.
    fn result(self) -> PyResult<()> {
        self.interrupted.map_or(Ok(()), Err)
    }
}

fn pace(rate: Option<f64>, bit_rate: Option<f64>) -> PyResult<Option<Rate>> {
    let pace = match (rate, bit_rate) {
        (Some(_), Some(_)) => return Err(value_error("give rate or bit_rate, not both")),
        (Some(rate), None) => Rate::Datagrams(rate),
        (None, Some(rate)) => Rate::Bits(rate),
        (None, None) => return Ok(None),
    };
    let (Rate::Datagrams(number) | Rate::Bits(number)) = pace;
    match number > 0.0 {
        true => Ok(Some(pace)),
        false => Err(value_error("a rate must be greater than zero")),
    }
}

/// A unicast datagram received on a sender's port, in reply to what it sent.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Answer {
    /// The payload.
    #[pyo3(get)]
    payload: Py<PyBytes>,
    source: SocketAddr,
    /// The index of the receiving interface; None where the system does not report it.
    #[pyo3(get)]
    interface_index: Option<u32>,
    /// The remaining hop limit; None where the system does not report it.
    #[pyo3(get)]
    hop_limit: Option<u8>,
    time: Option<SystemTime>,
    /// Whether the payload was cut off because it was longer than the buffer.
    #[pyo3(get)]
    truncated: bool,
}

impl Answer {
    fn new(py: Python<'_>, answer: &mcast::Reply<'_>) -> Self {
        Self {
            payload: PyBytes::new(py, answer.payload).unbind(),
            source: answer.source,
            interface_index: answer.interface.map(mcast::InterfaceIndex::number),
            hop_limit: answer.hop_limit,
            time: answer.time,
            truncated: answer.truncated,
        }
    }
}

#[pymethods]
impl Answer {
    /// The source address: an ipaddress.IPv4Address or IPv6Address, with its scope if it is link-local. It is not
    /// authenticated: a sender can forge it.
    #[getter]
    fn source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        source_address(py, self.source, || {
            let index = self.interface_index.and_then(mcast::InterfaceIndex::new);
            index.map_or_else(String::new, |index| InterfaceNames::default().of(index))
        })
    }

    /// The source UDP port.
    #[getter]
    fn source_port(&self) -> u16 {
        self.source.port()
    }

    /// The source in the format of the socket module.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        socket_address(py, self.source)
    }

    /// When the kernel received it, in nanoseconds since 1970; None where it does not report that.
    #[getter]
    fn time_ns(&self) -> Option<u128> {
        self.time.map(nanoseconds)
    }

    /// The same in seconds, as time.time().
    #[getter]
    fn time(&self) -> Option<f64> {
        self.time.map(seconds)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Answer of {} bytes from {}>", self.payload.as_bytes(py).len(), self.source)
    }
}

statistics_class! {
    /// Statistics of a sender.
    SendStatistics of mcast::SendStatistics, shows "datagrams" "calls" "trains" "unreachable"
}

impl From<mcast::SendStatistics> for SendStatistics {
    fn from(sent: mcast::SendStatistics) -> Self {
        Self(Attributes::of(sent.figures()))
    }
}

/// The settings of a sender, kept so that it can be reopened.
#[derive(Debug)]
struct Settings {
    destinations: Vec<Destination>,
    hosts: Vec<HostAddr>,
    broadcast: bool,
    interfaces: Vec<InterfaceSelector>,
    hop_limit: Option<u8>,
    loopback: bool,
    traffic_class: Option<u8>,
    source_port: u16,
    source_address: Option<IpAddr>,
    send_buffer: Option<usize>,
    dont_fragment: bool,
    segmentation: bool,
    pace: Option<Rate>,
    follow: bool,
}

impl Settings {
    fn open(&self) -> mcast::Result<mcast::Sender> {
        let mut builder = mcast::Sender::builder()
            .broadcast(self.broadcast)
            .loopback(self.loopback)
            .source_port(self.source_port)
            .dont_fragment(self.dont_fragment)
            .segmentation(self.segmentation)
            .follow(self.follow);
        builder = self.destinations.iter().cloned().fold(builder, SenderBuilder::to);
        builder = self.hop_limit.into_iter().fold(builder, SenderBuilder::hop_limit);
        builder = self.hosts.iter().cloned().fold(builder, SenderBuilder::to_host);
        builder = self.interfaces.iter().cloned().fold(builder, SenderBuilder::interface);
        builder = self.traffic_class.into_iter().fold(builder, SenderBuilder::traffic_class);
        builder = self.source_address.into_iter().fold(builder, SenderBuilder::source_address);
        builder = self.send_buffer.into_iter().fold(builder, SenderBuilder::send_buffer);
        self.pace.into_iter().fold(builder, SenderBuilder::pace).build()
    }
}
