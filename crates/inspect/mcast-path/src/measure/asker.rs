//! The asking end of every measurement: an [`Inquiry`] with its sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mcast::{ErrorKind, Family, Outgoing, Sender};
use mcast_measure::wire::UnixNanos;
use mcast_measure::{ClockTime, Inquiry, Question, Recipient};

use super::{BUFFER, unspecified};

/// Receive attempts between two checks of the clock while spinning, and at the socket of a peer.
const ATTEMPTS: u32 = 16;
/// The longest wait before checking whether to continue, and whether a peer has answered.
const MAX_WAIT: Duration = Duration::from_millis(20);
/// The hop limit of datagrams to hosts, the default of most systems.
const HOST_HOP_LIMIT: u8 = 64;

/// The asking end of a measurement: sends the messages of an [`Inquiry`] and passes it what arrives. A
/// [`Listener`](crate::Listener) answers.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast::{Outgoing, Sender};
/// use mcast_path::Asker;
/// use mcast_measure::wire::SessionId;
/// use mcast_measure::{PingSchedule, Pings, ProbeCase};
///
/// let second = Duration::from_secs(1);
/// let schedule =
///     PingSchedule { every: second, wait: second, count: Some(3), timeout: None, expected: None };
/// let mut pings = Pings::new(SessionId::random(), ProbeCase { size: 64, hop_limit: 1 }, schedule);
/// let (sender, targets) = (Sender::builder().build()?, [Outgoing::new(&[]).to("239.255.2.3:5000".parse()?)]);
/// let mut asker = Asker::new(&sender, &targets);
/// asker.run(&mut pings, || true, |pings, reply| {
///     println!("{}: {:?}", pings.session().responders()[reply.responder].address, reply.round_trip);
/// })?;
/// println!("{} hosts answered", pings.session().responders().len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Asker<'a> {
    sender: &'a Sender,
    targets: &'a [Outgoing<'static>],
    families: Vec<Family>,
    is_spinning: bool,
    start: Instant,
    buffer: Vec<u8>,
    /// The socket of each peer, if one could be opened.
    peers: Vec<Option<UdpSocket>>,
}

impl<'a> Asker<'a> {
    /// Creates an asker for an inquiry that is sent to these targets, whose payload is ignored.
    #[must_use]
    pub fn new(sender: &'a Sender, targets: &'a [Outgoing<'static>]) -> Self {
        let (families, buffer) = (families_of(targets), vec![0; BUFFER]);
        Self {
            sender,
            targets,
            families,
            is_spinning: false,
            start: Instant::now(),
            buffer,
            peers: Vec::new(),
        }
    }

    /// Sets whether to poll for each answer instead of waiting: shorter delays, but a whole processor. Default: no.
    #[must_use]
    pub fn spin(mut self, on: bool) -> Self {
        self.is_spinning = on;
        self
    }

    /// Asks until the inquiry is over. Once `keep_going`, which is called at least every 20 ms, returns `false`, the
    /// inquiry is closed early. `on_event` is called with each of its events.
    ///
    /// # Errors
    /// If the system cannot send to a target, or cannot receive.
    pub fn run<I: Inquiry>(
        &mut self,
        inquiry: &mut I,
        keep_going: impl Fn() -> bool,
        mut on_event: impl FnMut(&I, I::Event),
    ) -> mcast::Result<()> {
        let mut is_closed = false;
        loop {
            if !is_closed && !keep_going() {
                inquiry.close(self.now());
                is_closed = true;
            }
            while self.send_next(inquiry)? {}
            let Some(next) = inquiry.poll_timeout() else { return Ok(()) };
            self.receive(inquiry, next)?;
            while let Some(event) = inquiry.poll_event() {
                on_event(inquiry, event);
            }
        }
    }

    /// Returns the time since the asker was created, from which its inquiries count.
    #[must_use]
    pub fn now(&self) -> ClockTime {
        ClockTime(0) + self.start.elapsed()
    }

    /// Sends the next message; returns `false` if none is due.
    fn send_next(&mut self, inquiry: &mut impl Inquiry) -> mcast::Result<bool> {
        // The time of the measurement is read last, immediately before sending.
        let time = UnixNanos::now();
        let now = self.now();
        let Some(Question { to, message }) = inquiry.poll_transmit(now, time) else {
            return Ok(false);
        };
        let is_sent = match to {
            Recipient::Targets => self.send(message).map(|()| true)?,
            Recipient::TargetsWithin(hop_limit) => self.send_within(message, hop_limit)?,
            Recipient::Stream(number) => {
                let target = self.targets.iter().cycle().nth(number % self.targets.len().max(1));
                target.map_or(Ok(()), |target| self.sender.send_one(&target.with_payload(message)))?;
                true
            }
            // A host that cannot be reached does not answer, which is what counts.
            Recipient::Host(to) => {
                let datagram = Outgoing::new(message).to_address(to).hop_limit(HOST_HOP_LIMIT);
                self.sender.send_one(&datagram).is_ok()
            }
            Recipient::Peer(number, address) => {
                let sent = self.send_to_peer(number, address, message);
                sent.inspect_err(|error| inquiry.handle_peer_error(number, error)).is_ok()
            }
        };
        if is_sent {
            inquiry.handle_sent(now, to);
        }
        Ok(true)
    }

    fn send(&self, message: &[u8]) -> mcast::Result<()> {
        self.targets.iter().try_for_each(|target| self.sender.send_one(&target.with_payload(message)))
    }

    /// Sends a message to each target with this hop limit; returns whether it was sent to any.
    fn send_within(&self, message: &[u8], hop_limit: u8) -> mcast::Result<bool> {
        let mut is_sent = false;
        for target in self.targets {
            match self.sender.send_one(&target.with_payload(message).hop_limit(hop_limit)) {
                Ok(()) => is_sent = true,
                // As if it were dropped on the way.
                Err(error) if error.kind() == ErrorKind::QueueFull => is_sent = true,
                Err(error) if error.kind() == ErrorKind::TooLarge => {}
                Err(error) => return Err(error),
            }
        }
        Ok(is_sent)
    }

    fn send_to_peer(&mut self, number: usize, address: SocketAddr, message: &[u8]) -> io::Result<()> {
        if self.peers.len() <= number {
            self.peers.resize_with(number + 1, || None);
        }
        let Some(peer) = self.peers.get_mut(number) else { return Ok(()) };
        let socket = match peer {
            Some(socket) => socket,
            None => peer.insert(connected(address)?),
        };
        // The first error may belong to an earlier message.
        socket.send(message).or_else(|_| socket.send(message)).map(drop)
    }

    /// Receives an answer if one arrives until this time, and what peers have sent.
    fn receive(&mut self, inquiry: &mut impl Inquiry, until: ClockTime) -> mcast::Result<()> {
        let left = until.since(self.now()).min(MAX_WAIT);
        let (attempts, wait) = match self.is_spinning {
            true => (ATTEMPTS, Duration::ZERO),
            false => (1, left / u32::try_from(self.families.len()).unwrap_or(1).max(1)),
        };
        if self.families.is_empty() {
            mcast_sys::pause(left);
        }
        'attempts: for _ in 0..attempts {
            for family in &self.families {
                if let Some(answer) = self.sender.recv_answer(*family, &mut self.buffer, wait)? {
                    let now = ClockTime(0) + self.start.elapsed();
                    inquiry.handle_datagram(now, answer.payload, answer.source, None);
                    break 'attempts;
                }
            }
        }
        self.receive_from_peers(inquiry);
        Ok(())
    }

    /// Receives what peers have sent.
    fn receive_from_peers(&mut self, inquiry: &mut impl Inquiry) {
        for (number, socket) in self.peers.iter().enumerate() {
            let Some(socket) = socket else { continue };
            for _ in 0..ATTEMPTS {
                match socket.recv_from(&mut self.buffer) {
                    Ok((length, source)) => {
                        let now = ClockTime(0) + self.start.elapsed();
                        inquiry.handle_datagram(now, &self.buffer[..length], source, Some(number));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        inquiry.handle_peer_error(number, &error);
                        break;
                    }
                }
            }
        }
    }
}

pub(super) fn families_of(targets: &[Outgoing<'static>]) -> Vec<Family> {
    let groups = targets.iter().filter_map(Outgoing::group);
    let mut families: Vec<Family> = groups.map(|address| address.group.family()).collect();
    families.sort();
    families.dedup();
    families
}

/// Opens a socket that exchanges datagrams with one host only, so that the system reports its ICMP errors.
fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(unspecified(Family::of(to.ip()), 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
