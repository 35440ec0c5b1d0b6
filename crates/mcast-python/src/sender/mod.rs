//! Sending, as Python has it.

mod answer;
mod settings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast::{Family, Rate};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::datagram::socket_address;
use crate::error::{OrRaise, closed, refused, timed_out};
use crate::interface::{Selector, Selectors};
use crate::membership::{Address, Place, Target};
use crate::outgoing::{Item, Manner};
use crate::payload::Payload;
use crate::receiver::Timeout;
pub(crate) use answer::{Answer, SendStatistics};
use settings::Settings;

/// How long to wait for answers before looking for Ctrl-C.
const SLICE: Duration = Duration::from_millis(50);

/// Sends datagrams to groups.
///
/// Each destination is text ("239.1.2.3:7000", "[ff15::1%eth0]:7000") or a pair of group and port;
/// without any, each datagram names its own. It is open once it is made; use it in a `with`
/// statement, or close it.
///
/// interface: to leave by, where a destination names none: a name, index, address or Interface, or
///     several, and then a datagram goes out by each. Default: by the route to the group.
/// hop_limit: how many networks a datagram may cross (IPv4: TTL). 1 stays in the local network, 0
///     on this host.
/// loopback: whether receivers on this host get what is sent. (Windows: the receiver's choice.)
/// traffic_class: DSCP in the upper six bits, ECN in the lower two.
/// source_port, source_address: to send from. Default: what the system chooses.
/// send_buffer: bytes to ask the system for.
/// dont_fragment: refuse datagrams larger than the MTU instead of sending fragments.
/// segmentation: let send_batch hand over runs of equal datagrams as one (Linux).
/// rate, bit_rate: send no faster than so many datagrams, or bits of payload, a second, evenly.
/// follow: look up an interface that vanished, or isn't there yet, again when sending.
///
/// Raises pymcast.Error, or one of its kinds, whose `remedy` says what to do: NoRouteError,
/// NoSuchInterfaceError and so on; pymcast.ParseError for text that cannot be understood.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Sender {
    settings: Settings,
    open: Mutex<Option<Arc<mcast::Sender>>>,
}

#[pymethods]
impl Sender {
    #[new]
    #[pyo3(signature = (
        *destinations, interface=None, hop_limit=1, loopback=true, traffic_class=None, source_port=0,
        source_address=None, send_buffer=None, dont_fragment=false, segmentation=true, rate=None,
        bit_rate=None, follow=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    #[expect(clippy::fn_params_excessive_bools, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        destinations: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        hop_limit: u8,
        loopback: bool,
        traffic_class: Option<u8>,
        source_port: u16,
        source_address: Option<Address>,
        send_buffer: Option<usize>,
        dont_fragment: bool,
        segmentation: bool,
        rate: Option<f64>,
        bit_rate: Option<f64>,
        follow: bool,
    ) -> PyResult<Self> {
        let targets = destinations.iter().map(|each| Ok(each.extract::<Target>()?.0));
        let settings = Settings {
            destinations: targets.collect::<PyResult<_>>()?,
            interfaces: interface.map_or_else(Vec::new, |interfaces| interfaces.0),
            hop_limit,
            loopback,
            traffic_class,
            source_port,
            source_address: source_address.map(|address| address.0),
            send_buffer,
            dont_fragment,
            segmentation,
            pace: pace(rate, bit_rate)?,
            follow,
        };
        let sender = Self { settings, open: Mutex::new(None) };
        sender.open(py)?;
        Ok(sender)
    }

    /// Opens it again as it was made. Raises ValueError if it is open.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        let opened = py.detach(|| self.settings.open()).or_raise(py)?;
        let mut open = self.lock();
        if open.is_some() {
            return Err(refused("the sender is open"));
        }
        *open = Some(Arc::new(opened));
        Ok(())
    }

    /// Closes the sockets. Closing twice does nothing.
    fn close(&self) {
        let was_open = self.lock().take();
        drop(was_open);
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Sends a datagram: any bytes, to every destination of the sender, or to the group and port
    /// `to`. The other keywords say what differs from the sender's settings.
    ///
    /// Raises pymcast.Error when the system cannot send it: TooLargeError, NoRouteError,
    /// QueueFullError and so on.
    #[pyo3(signature = (payload, *, to=None, interface=None, hop_limit=None, traffic_class=None))]
    fn send(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        to: Option<Place>,
        interface: Option<Selector>,
        hop_limit: Option<u8>,
        traffic_class: Option<u8>,
    ) -> PyResult<()> {
        let sender = self.opened(py)?;
        let manner = Manner::new(py, to, interface, hop_limit, traffic_class)?;
        let outgoing = manner.of(payload.bytes());
        py.detach(|| sender.send_one(&outgoing)).or_raise(py)
    }

    /// For pymcast.aio: sends to a datagram's places, from the place of number `done` on, and where
    /// one would have to be waited for, waits or returns its number. None when it went to all. What
    /// does not wait keeps no pace.
    #[pyo3(signature = (payload, done, wait, *, to=None, interface=None, hop_limit=None, traffic_class=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn _send_places(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        done: usize,
        wait: bool,
        to: Option<Place>,
        interface: Option<Selector>,
        hop_limit: Option<u8>,
        traffic_class: Option<u8>,
    ) -> PyResult<Option<usize>> {
        let sender = self.opened(py)?;
        let manner = Manner::new(py, to, interface, hop_limit, traffic_class)?;
        let outgoing = manner.of(payload.bytes());
        let places = sender.places(&outgoing).or_raise(py)?;
        if places.is_empty() {
            // It has nowhere to go, and says so.
            return sender.send_one(&outgoing).or_raise(py).map(|()| None);
        }
        for (number, place) in places.iter().enumerate().skip(done) {
            if wait {
                py.detach(|| sender.send_one(place)).or_raise(py)?;
            } else if !sender.try_send_one(place).or_raise(py)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Sends datagrams in order with as few system calls as there can be, and says how many went.
    /// Each is bytes, or an Outgoing with settings of its own.
    ///
    /// Fewer than all went when the system refused one after the first: sending the rest again
    /// tells why. Raises pymcast.Error when the first cannot be sent.
    fn send_batch(&self, py: Python<'_>, datagrams: &Bound<'_, PyAny>) -> PyResult<usize> {
        let sender = self.opened(py)?;
        let items: Vec<Item<'_>> =
            datagrams.try_iter()?.map(|each| each?.extract()).collect::<PyResult<_>>()?;
        let outgoing: Vec<mcast::Outgoing<'_>> = items.iter().map(Item::outgoing).collect();
        py.detach(|| sender.send_batch(&outgoing)).or_raise(py)
    }

    /// A writer: a plain loop of sends that costs no more than batches, `with sender.writer() as
    /// writer`. Up to `capacity` datagrams wait inside it to be sent together.
    #[pyo3(signature = (capacity=64))]
    fn writer(slf: Bound<'_, Self>, capacity: isize) -> PyResult<Bound<'_, PyAny>> {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        CLASS.import(slf.py(), "pymcast._writer", "Writer")?.call1((slf.clone(), capacity))
    }

    /// Waits for a unicast answer to what was sent, as Receiver.reply sends them.
    ///
    /// `family` is 4 or 6; by default that of the first destination. Raises TimeoutError when none
    /// came in `timeout` seconds.
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
                return Err(timed_out());
            }
            if self.closed() {
                return Err(closed(py, "sender"));
            }
        }
    }

    /// The address that datagrams of a family (4 or 6, by default that of the first destination)
    /// are sent from, as socket.getsockname: unspecified where the system chooses for each.
    #[pyo3(signature = (*, family=None))]
    fn local_address<'py>(&self, py: Python<'py>, family: Option<u8>) -> PyResult<Bound<'py, PyAny>> {
        let sender = self.opened(py)?;
        let family = self.family(family)?;
        socket_address(py, sender.local_address(family).or_raise(py)?)
    }

    /// Whether it was told to send no faster than at some rate.
    #[getter]
    fn paced(&self) -> bool {
        self.settings.pace.is_some()
    }

    /// What was sent so far, and in how many calls.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<SendStatistics> {
        Ok(self.opened(py)?.statistics().into())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
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

impl Sender {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<mcast::Sender>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, py: Python<'_>) -> PyResult<Arc<mcast::Sender>> {
        self.lock().clone().ok_or_else(|| closed(py, "sender"))
    }

    fn family(&self, number: Option<u8>) -> PyResult<Family> {
        match (number, self.settings.destinations.first()) {
            (Some(4), _) => Ok(Family::V4),
            (Some(6), _) => Ok(Family::V6),
            (None, Some(first)) => Ok(first.address.group.family()),
            (None, None) => Err(refused("the sender has no destination: name the family, 4 or 6")),
            (Some(other), _) => Err(refused(format_args!("{other} is no address family: write 4 or 6"))),
        }
    }
}

fn pace(rate: Option<f64>, bit_rate: Option<f64>) -> PyResult<Option<Rate>> {
    let pace = match (rate, bit_rate) {
        (Some(_), Some(_)) => return Err(refused("a sender keeps a rate or a bit rate, not both")),
        (Some(rate), None) => Rate::Datagrams(rate),
        (None, Some(rate)) => Rate::Bits(rate),
        (None, None) => return Ok(None),
    };
    let (Rate::Datagrams(number) | Rate::Bits(number)) = pace;
    match number > 0.0 {
        true => Ok(Some(pace)),
        false => Err(refused("a rate is more than zero")),
    }
}
