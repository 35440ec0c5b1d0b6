//! Sending, as Python has it.

mod answer;
mod settings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast::{Family, Rate};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyTuple};

use crate::datagram::socket_address;
use crate::error::{OrRaise, already_open, closed, refused, timed_out};
use crate::interface::{Selector, Selectors};
use crate::membership::{Address, Target};
use crate::number::{Bytes, HopLimit, Port, TrafficClass};
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
    /// What it had counted when it was closed.
    counted: Mutex<Option<SendStatistics>>,
}

#[pymethods]
impl Sender {
    #[new]
    #[pyo3(signature = (
        *destinations, interface=None, hop_limit=HopLimit(1), loopback=true, traffic_class=None,
        source_port=Port(0),
        source_address=None, send_buffer=None, dont_fragment=false, segmentation=true, rate=None,
        bit_rate=None, follow=false
    ), text_signature = "(*destinations, interface=None, hop_limit=1, loopback=True, traffic_class=None, \
        source_port=0, source_address=None, send_buffer=None, dont_fragment=False, segmentation=True, \
        rate=None, bit_rate=None, follow=False)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    #[expect(clippy::fn_params_excessive_bools, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        destinations: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        hop_limit: HopLimit,
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
    ) -> PyResult<Self> {
        let targets = destinations.iter().map(|each| Ok(each.extract::<Target>()?.0));
        let settings = Settings {
            destinations: targets.collect::<PyResult<_>>()?,
            interfaces: interface.map_or_else(Vec::new, |interfaces| interfaces.0),
            hop_limit: hop_limit.0,
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

    /// Opens it again as it was made. Raises pymcast.AlreadyOpenError if it is open.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        if !self.closed() {
            return Err(already_open(py, "sender"));
        }
        let opened = py.detach(|| self.settings.open()).or_raise(py)?;
        let mut open = self.lock();
        if open.is_some() {
            return Err(already_open(py, "sender"));
        }
        *open = Some(Arc::new(opened));
        Ok(())
    }

    /// Closes the sockets. What waits for its turn at the rate ends with pymcast.ClosedError. Closing twice does
    /// nothing.
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

    /// Sends a datagram: any bytes, to every destination of the sender, or to the group and port
    /// `to`. The other keywords say what differs from the sender's settings.
    ///
    /// Raises pymcast.Error when the system cannot send it: TooLargeError, NoRouteError,
    /// QueueFullError and so on. Ctrl-C ends the wait for its turn at a rate; then it was not sent.
    #[pyo3(signature = (payload, *, to=None, interface=None, hop_limit=None, traffic_class=None))]
    fn send(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
    ) -> PyResult<()> {
        let sender = self.opened(py)?;
        let manner = Manner::new(py, to, interface, hop_limit, traffic_class)?;
        let outgoing = manner.of(payload.bytes());
        let mut pause = Pause::new(self, None);
        py.detach(|| sender.send_one_while(&outgoing, || pause.goes_on())).or_raise(py)?;
        pause.end()
    }

    /// For pymcast.aio: sends to a datagram's places, from the place of number `done` on, and where
    /// one would have to be waited for, waits or returns its number. None when it went to all. What
    /// does not wait keeps no pace. What waits ends when `abandoned()` is true.
    #[pyo3(signature = (payload, done, wait, abandoned=None, *, to=None, interface=None, hop_limit=None, traffic_class=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn _send_places(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        done: usize,
        wait: bool,
        abandoned: Option<Py<PyAny>>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
    ) -> PyResult<Option<usize>> {
        let sender = self.opened(py)?;
        let manner = Manner::new(py, to, interface, hop_limit, traffic_class)?;
        let outgoing = manner.of(payload.bytes());
        let places = sender.expand(&outgoing).or_raise(py)?;
        if places.is_empty() {
            // It has nowhere to go, and says so.
            return sender.send_one(&outgoing).or_raise(py).map(|()| None);
        }
        for (number, place) in places.iter().enumerate().skip(done) {
            if wait {
                let mut pause = Pause::new(self, abandoned.as_ref());
                py.detach(|| sender.send_one_while(place, || pause.goes_on())).or_raise(py)?;
                pause.end()?;
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
    /// tells why. Raises pymcast.Error when the first cannot be sent. The exception of a Ctrl-C that ends
    /// the wait for a rate has the attribute `sent`: how many went before.
    fn send_batch(&self, py: Python<'_>, datagrams: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.send_batch_while(py, datagrams, None)
    }

    /// For pymcast.aio: the same, for as long as `abandoned()` is not true.
    fn _send_batch_while(
        &self,
        py: Python<'_>,
        datagrams: &Bound<'_, PyAny>,
        abandoned: Py<PyAny>,
    ) -> PyResult<usize> {
        self.send_batch_while(py, datagrams, Some(&abandoned))
    }

    /// For pymcast.Writer: sends what is at the head of the list `pending`, and takes from it what went, or the
    /// first if it cannot be sent; both at once, so that no exception comes between.
    fn _send_pending(&self, py: Python<'_>, pending: &Bound<'_, PyList>) -> PyResult<()> {
        let items: Vec<Item<'_>> = pending.iter().map(|each| each.extract()).collect::<PyResult<_>>()?;
        let (sent, pause) = self.send_items(py, &items, None)?;
        let gone = sent.as_ref().map_or(1, |sent| *sent);
        pending.del_slice(0, gone)?;
        sent.or_raise(py)?;
        pause.end()
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

    /// What was sent so far, and in how many calls; also once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<SendStatistics> {
        let open = self.lock().clone();
        match open {
            Some(sender) => Ok(sender.statistics().into()),
            None => {
                let counted = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.ok_or_else(|| closed(py, "sender"))
            }
        }
    }

    /// Opens it again if it is closed.
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
            crate::unclosed::warn(&self.__repr__());
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
        let (sent, pause) = self.send_items(py, &items, abandoned)?;
        let sent = sent.or_raise(py)?;
        pause.end().inspect_err(|error| _ = error.value(py).setattr("sent", sent))?;
        Ok(sent)
    }

    /// Sends these; returns how many went, and what ended the wait for a rate.
    fn send_items<'a>(
        &'a self,
        py: Python<'_>,
        items: &[Item<'_>],
        abandoned: Option<&'a Py<PyAny>>,
    ) -> PyResult<(mcast::Result<usize>, Pause<'a>)> {
        let sender = self.opened(py)?;
        let outgoing: Vec<mcast::Outgoing<'_>> = items.iter().map(Item::outgoing).collect();
        let mut pause = Pause::new(self, abandoned);
        let sent = py.detach(|| sender.send_batch_while(&outgoing, || pause.goes_on()));
        Ok((sent, pause))
    }

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

/// Looks, while a sender keeps its pace, whether it is to go on.
struct Pause<'a> {
    sender: &'a Sender,
    /// Whether nobody wants it any more.
    abandoned: Option<&'a Py<PyAny>>,
    /// What ended it.
    ended: Option<PyErr>,
}

impl<'a> Pause<'a> {
    fn new(sender: &'a Sender, abandoned: Option<&'a Py<PyAny>>) -> Self {
        Self { sender, abandoned, ended: None }
    }

    /// Whether it goes on: no signal has come, and the sender is open.
    fn goes_on(&mut self) -> bool {
        let looked = Python::attach(|py| {
            py.check_signals()?;
            let abandoned = self.abandoned.map(|abandoned| abandoned.call0(py)?.is_truthy(py)).transpose()?;
            match self.sender.closed() || abandoned == Some(true) {
                true => Err(closed(py, "sender")),
                false => Ok(()),
            }
        });
        self.ended = looked.err();
        self.ended.is_none()
    }

    fn end(self) -> PyResult<()> {
        self.ended.map_or(Ok(()), Err)
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
