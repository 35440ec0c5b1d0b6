//! Sends the probes of a test and receives the replies.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mcast::{ErrorKind, Outgoing, Reply, Sender};
use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_measure::wire::{MessageType, SessionHeader, SessionId, SessionMessage, examination_request};
use mcast_packet::{Network, Transport};

use super::{ListenerExamination, PathTest};
use crate::Id;
use crate::measure::UNDER_WAY;

/// The time between two probes. Listeners reply at twice this rate.
const PACE: Duration = Duration::from_millis(10);
/// How long to wait for the last replies.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two requests to listeners to examine themselves.
const REQUEST_PACE: Duration = Duration::from_millis(20);
/// One of this number of requests goes by unicast as well. More would hide in the counters of the listener that those to
/// the group are lost.
const REQUESTS_PER_UNICAST: usize = 10;
/// How long listeners take to examine themselves.
const EXAMINATION: Duration = Duration::from_millis(3_500);
/// More than the longest reply.
const BUFFER: usize = 65_536;

/// The maximum number of hosts that are probed by unicast.
const MAX_PEERS: usize = 64;

/// What a test needs while it runs.
struct Driver<'a, F> {
    test: &'a mut PathTest,
    sender: &'a Sender,
    targets: &'a [Outgoing<'static>],
    keep_going: F,
    start: Instant,
    buffer: Vec<u8>,
    /// A socket for each unicast path, if one could be opened.
    sockets: Vec<Option<UdpSocket>>,
}

impl PathTest {
    /// Sends `count` probes of each case to every target, whose payload is ignored, and one of each size to each peer
    /// and listener by unicast, and records the replies. If something is lost, asks the listeners to examine
    /// themselves. Ends early if `keep_going`, which is called at least every 20 ms, returns `false`.
    ///
    /// # Errors
    /// If the system cannot send to a target, or cannot receive. A probe that is too large for the system counts as not
    /// sent.
    pub fn run(
        &mut self,
        sender: &Sender,
        targets: &[Outgoing<'static>],
        count: u16,
        keep_going: impl Fn() -> bool,
    ) -> mcast::Result<()> {
        let (start, buffer) = (Instant::now(), vec![0; BUFFER]);
        let port = sender.local_address(self.address.group.family())?.port();
        let mut tap = ReplyTap::open(self.interface.as_deref(), port, self.session.id());
        let mut driver =
            Driver { test: self, sender, targets, keep_going, start, buffer, sockets: Vec::new() };
        driver.probe(count)?;
        if let Some(tap) = &mut tap {
            tap.drain();
        }
        if driver.test.needs_examinations() {
            driver.request_examinations()?;
        }
        self.replies_on_wire = tap.map(ReplyTap::into_counts);
        Ok(())
    }

    /// Returns whether listeners should examine themselves.
    fn needs_examinations(&self) -> bool {
        let is_loss = |id| {
            matches!(
                id,
                Id::NothingArrives
                    | Id::LostInThisMachine
                    | Id::PathLoss
                    | Id::RepliesLost
                    | Id::MtuTooSmall
                    | Id::FragmentsLost
                    | Id::UnicastOnly
                    | Id::HostUnreachable
            )
        };
        self.findings(false).iter().any(|finding| is_loss(finding.id))
    }
}

impl<F: Fn() -> bool> Driver<'_, F> {
    fn probe(&mut self, count: u16) -> mcast::Result<()> {
        for _ in 0..count {
            for case in 0..self.test.session.cases().len() {
                if !(self.keep_going)() {
                    return Ok(());
                }
                self.send(case)?;
                self.send_by_unicast(case);
                self.listen(PACE, |_| false)?;
            }
        }
        // Once everything is answered, there is nothing to wait for.
        let is_complete = |test: &PathTest| {
            test.session.all_answered() && test.unicast.iter().all(|path| path.session.all_answered())
        };
        self.listen(TIMEOUT, is_complete)
    }

    /// Sends a probe of this case to each target.
    fn send(&mut self, case: usize) -> mcast::Result<()> {
        let (now, session) = (self.start.elapsed(), &self.test.session);
        let (Some(tried), Some(message)) = (session.cases().get(case).copied(), session.probe(case, now))
        else {
            return Ok(());
        };
        if self.send_to_targets(&message, tried.hop_limit)? {
            self.test.session.record_probe(case, now);
        }
        Ok(())
    }

    /// Sends a message to each target; returns whether it was sent to any.
    fn send_to_targets(&self, message: &[u8], hop_limit: u8) -> mcast::Result<bool> {
        let mut is_sent = false;
        for target in self.targets {
            match self.sender.send_one(&target.with_payload(message).hop_limit(hop_limit)) {
                Ok(()) => is_sent = true,
                // As if the probe were dropped on the way, which is what this tests.
                Err(error) if error.kind() == ErrorKind::QueueFull => is_sent = true,
                Err(error) if error.kind() == ErrorKind::TooLarge => {}
                Err(error) => return Err(error),
            }
        }
        Ok(is_sent)
    }

    /// Sends a probe of this case to each peer.
    fn send_by_unicast(&mut self, case: usize) {
        let now = self.start.elapsed();
        self.open_sockets();
        for (path, socket) in self.test.unicast.iter_mut().zip(&self.sockets) {
            let (Some(socket), Some(message)) = (socket, path.session.probe(case, now)) else { continue };
            // The first error may belong to an earlier probe.
            let sent = socket.send(&message).or_else(|_| socket.send(&message));
            match sent {
                Ok(_) => path.session.record_probe(case, now),
                Err(error) => path.note(&error),
            }
        }
    }

    fn open_sockets(&mut self) {
        for path in self.test.unicast.iter_mut().skip(self.sockets.len()) {
            let socket = connected(path.address);
            if let Err(error) = &socket {
                path.note(error);
            }
            self.sockets.push(socket.ok());
        }
    }

    /// Receives replies for `time`, or until the test `is_complete`.
    fn listen(&mut self, time: Duration, is_complete: fn(&PathTest) -> bool) -> mcast::Result<()> {
        let end = self.start.elapsed() + time;
        let family = self.test.address.group.family();
        let mut buffer = std::mem::take(&mut self.buffer);
        while (self.keep_going)() && !is_complete(self.test) {
            let left = end.saturating_sub(self.start.elapsed());
            // Replies by unicast arrive at other sockets.
            let slice = left.min(PACE);
            match self.sender.recv_answer_while(family, &mut buffer, slice, &self.keep_going)? {
                Some(reply) => self.record(&reply),
                None if left <= PACE => break,
                None => {}
            }
            self.drain_unicast(&mut buffer);
        }
        self.drain_unicast(&mut buffer);
        self.buffer = buffer;
        Ok(())
    }

    fn record(&mut self, reply: &Reply<'_>) {
        let address = reply.source.ip();
        if self.test.record_examination(reply.payload, address) {
            return;
        }
        let now = self.start.elapsed();
        let accepted = self.test.session.record(reply.payload, address, false, now);
        let new = accepted.filter(|accepted| accepted.is_new && accepted.reply.unicast_port != 0);
        if let Some(accepted) = new.filter(|_| self.test.unicast.len() < MAX_PEERS) {
            let mut peer = reply.source;
            peer.set_port(accepted.reply.unicast_port);
            self.test.add_peer(peer);
        }
    }

    fn drain_unicast(&mut self, buffer: &mut [u8]) {
        let now = self.start.elapsed();
        for (index, socket) in self.sockets.iter().enumerate() {
            let Some(socket) = socket else { continue };
            loop {
                match socket.recv(buffer) {
                    Ok(length) => {
                        let Some(path) = self.test.unicast.get_mut(index) else { break };
                        let (message, address) = (&buffer[..length], path.address.ip());
                        path.session.record(message, address, true, now);
                        self.test.record_examination(message, address);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        if let Some(path) = self.test.unicast.get_mut(index) {
                            path.note(&error);
                        }
                        break;
                    }
                }
            }
        }
    }

    /// Asks the listeners to examine themselves. The requests go to the group and by unicast, and are what the listeners
    /// examine.
    fn request_examinations(&mut self) -> mcast::Result<()> {
        let end = self.start.elapsed() + EXAMINATION;
        let header = SessionHeader::new(MessageType::Examine, self.test.session.id());
        let (message, highest) = (examination_request(header), self.test.highest);
        for number in 0_usize.. {
            if !(self.keep_going)() || self.start.elapsed() >= end || self.test.has_all_examinations() {
                break;
            }
            self.send_to_targets(&message, highest)?;
            let by_unicast = number.is_multiple_of(REQUESTS_PER_UNICAST);
            for socket in self.sockets.iter().flatten().filter(|_| by_unicast) {
                // A host that cannot be reached does not answer, which is what counts.
                let _ = socket.send(&message);
            }
            self.listen(REQUEST_PACE, |_| false)?;
        }
        Ok(())
    }
}

impl PathTest {
    /// Records a message if it is an examination of this session; returns whether it is one.
    fn record_examination(&mut self, message: &[u8], address: IpAddr) -> bool {
        let Some((header, SessionMessage::Examination(result))) = SessionMessage::decode(message) else {
            return false;
        };
        if header.session != self.session.id() {
            return true;
        }
        let known = self.examinations.iter().position(|each| each.result.responder == result.responder);
        match known {
            // The counts stay those of the first reply.
            Some(index) => self.examinations[index].result.text = result.text,
            None if self.examinations.len() < MAX_PEERS => {
                self.examinations.push(ListenerExamination { address, result: *result });
            }
            None => {}
        }
        true
    }

    /// Returns whether all known listeners have examined themselves, and there is one.
    fn has_all_examinations(&self) -> bool {
        let by_unicast = self.unicast.iter().filter_map(super::UnicastPath::responder);
        let mut listeners = self.session.responders().iter().chain(by_unicast).map(|responder| responder.id);
        let is_done = |id| self.examination_of(id).is_some_and(|result| result.text != UNDER_WAY);
        let all_done = self.examinations.iter().all(|each| each.result.text != UNDER_WAY);
        !self.examinations.is_empty() && all_done && listeners.all(is_done)
    }
}

/// Opens a socket that exchanges datagrams with one host only, so that the system reports its ICMP errors.
fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The maximum number of listeners whose replies are counted.
const MAX_LISTENERS: usize = 256;

/// A capture of the replies to one session.
struct ReplyTap {
    capture: Capture,
    session: SessionId,
    replies: BTreeMap<IpAddr, u64>,
}

impl ReplyTap {
    /// Captures what arrives for this port on an interface, or on all that are used by default. Returns `None` without
    /// the right to capture.
    fn open(interface: Option<&str>, port: u16, session: SessionId) -> Option<Self> {
        let names = match interface {
            Some(name) => vec![name.to_owned()],
            None => {
                let all = mcast::interfaces().ok()?.into_iter();
                all.filter(mcast::Interface::is_joined_by_default).map(|each| each.name).collect()
            }
        };
        let options = CaptureOptions::on_names(names).filter(Filter::UdpPort(port)).outgoing(false);
        Some(Self { capture: Capture::open(options).ok()?, session, replies: BTreeMap::new() })
    }

    /// Counts all replies captured so far.
    fn drain(&mut self) {
        while let Ok(Some(frame)) = self.capture.next(Some(Duration::ZERO)) {
            let packet = frame.packet();
            let (Some(Network::Ip(ip)), Some(Transport::Udp(udp))) = (packet.network, packet.transport)
            else {
                continue;
            };
            let is_reply = matches!(SessionMessage::decode(udp.payload),
                Some((header, SessionMessage::Reply(_))) if header.session == self.session);
            if is_reply && (self.replies.len() < MAX_LISTENERS || self.replies.contains_key(&ip.source)) {
                *self.replies.entry(ip.source).or_default() += 1;
            }
        }
    }

    fn into_counts(self) -> Vec<(IpAddr, u64)> {
        self.replies.into_iter().collect()
    }
}
