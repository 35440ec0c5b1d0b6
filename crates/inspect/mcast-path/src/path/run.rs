//! Sends the probes of a test and receives the replies.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use mcast::{Outgoing, Sender};
use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_measure::wire::{
    MessageType, SessionHeader, SessionId, SessionMessage, UnixNanos, examination_request,
};
use mcast_measure::{ClockTime, Inquiry, Question, Recipient};
use mcast_packet::{Network, Transport};

use super::{ListenerExamination, PathTest};
use crate::measure::{Asker, UNDER_WAY};
use mcast_doctor::Id;

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
/// The maximum number of hosts that are probed by unicast.
const MAX_PEERS: usize = 64;

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
        let port = sender.local_address(self.address.group.family())?.port();
        let mut tap = ReplyTap::open(self.interface.as_deref(), port, self.session.id());
        let mut inquiry = PathInquiry::new(self, count);
        Asker::new(sender, targets).run(&mut inquiry, keep_going, |_, event| match event {})?;
        if let Some(tap) = &mut tap {
            tap.drain();
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

/// The probes of a test, and the requests for examinations that follow if something is lost.
struct PathInquiry<'t> {
    test: &'t mut PathTest,
    stage: Stage,
    /// When the next step is due.
    next: ClockTime,
    /// The peers that have no message of this step yet.
    peers: Range<usize>,
    message: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Each step sends a probe of this case; this number of steps is left.
    Probing {
        case: usize,
        left: usize,
    },
    /// Waits for the last replies.
    Answering,
    /// Each step sends a request for an examination, which has this number, until this time.
    Requesting {
        number: usize,
        end: ClockTime,
    },
    Over,
}

impl<'t> PathInquiry<'t> {
    fn new(test: &'t mut PathTest, count: u16) -> Self {
        let cases = test.session.cases().len();
        // The first step is that of case 0.
        let stage =
            Stage::Probing { case: cases.saturating_sub(1), left: usize::from(count).saturating_mul(cases) };
        Self { test, stage, next: ClockTime(0), peers: 0..0, message: Vec::new() }
    }

    /// Returns the peer that gets the next message of this step.
    fn next_peer(&mut self, now: ClockTime) -> Option<Recipient> {
        for number in self.peers.by_ref() {
            let Some(path) = self.test.unicast.get(number) else { continue };
            if let Stage::Probing { case, .. } = self.stage {
                let Some(probe) = path.session.probe(now, case) else { continue };
                self.message = probe;
            }
            return Some(Recipient::Peer(number, path.address));
        }
        None
    }

    /// Begins the step that is due; returns who gets its first message.
    fn begin_step(&mut self, now: ClockTime) -> Option<Recipient> {
        match &mut self.stage {
            Stage::Probing { case, left } if *left > 0 => {
                *left -= 1;
                *case = (*case + 1) % self.test.session.cases().len();
                (self.next, self.peers) = (now + PACE, 0..self.test.unicast.len());
                self.message = self.test.session.probe(now, *case)?;
                Some(Recipient::TargetsWithin(self.test.session.cases().get(*case)?.hop_limit))
            }
            Stage::Probing { .. } => {
                (self.stage, self.next) = (Stage::Answering, now + TIMEOUT);
                None
            }
            Stage::Answering if self.test.needs_examinations() => {
                self.stage = Stage::Requesting { number: 0, end: now + EXAMINATION };
                self.begin_step(now)
            }
            Stage::Requesting { number, end } if now < *end && !self.test.has_all_examinations() => {
                let by_unicast = number.is_multiple_of(REQUESTS_PER_UNICAST);
                *number += 1;
                let peers = if by_unicast { self.test.unicast.len() } else { 0 };
                (self.next, self.peers) = ((now + REQUEST_PACE).min(*end), 0..peers);
                let header = SessionHeader::new(MessageType::Examine, self.test.session.id());
                self.message = examination_request(header);
                Some(Recipient::TargetsWithin(self.test.highest))
            }
            Stage::Answering | Stage::Requesting { .. } | Stage::Over => {
                self.stage = Stage::Over;
                None
            }
        }
    }

    /// Returns whether everything is answered, so that there is nothing to wait for.
    fn is_answered(&self) -> bool {
        self.test.session.all_answered() && self.test.unicast.iter().all(|path| path.session.all_answered())
    }
}

impl Inquiry for PathInquiry<'_> {
    type Event = Infallible;

    fn poll_transmit(&mut self, now: ClockTime, _time: UnixNanos) -> Option<Question<'_>> {
        let is_due = now >= self.next || (matches!(self.stage, Stage::Answering) && self.is_answered());
        let to = match self.next_peer(now) {
            None if is_due => self.begin_step(now),
            peer => peer,
        }?;
        Some(Question { to, message: &self.message })
    }

    fn poll_timeout(&self) -> Option<ClockTime> {
        (!matches!(self.stage, Stage::Over)).then_some(self.next)
    }

    fn handle_datagram(&mut self, now: ClockTime, message: &[u8], source: SocketAddr, peer: Option<usize>) {
        let address = source.ip();
        if let Some(path) = peer.and_then(|number| self.test.unicast.get_mut(number)) {
            path.session.handle_datagram(now, message, address);
        }
        if self.test.record_examination(message, address) || peer.is_some() {
            return;
        }
        let accepted = self.test.session.handle_datagram(now, message, address);
        let new = accepted.filter(|accepted| accepted.is_new && accepted.reply.unicast_port != 0);
        if let Some(accepted) = new.filter(|_| self.test.unicast.len() < MAX_PEERS) {
            // With the scope of the source.
            let mut to = source;
            to.set_port(accepted.reply.unicast_port);
            self.test.add_peer(to);
        }
    }

    fn handle_sent(&mut self, now: ClockTime, to: Recipient) {
        let Stage::Probing { case, .. } = self.stage else { return };
        match to {
            Recipient::Peer(number, _) => {
                let path = self.test.unicast.get_mut(number);
                path.into_iter().for_each(|path| path.session.handle_sent(now, case));
            }
            _ => self.test.session.handle_sent(now, case),
        }
    }

    fn handle_peer_error(&mut self, peer: usize, error: &io::Error) {
        self.test.unicast.get_mut(peer).into_iter().for_each(|path| path.handle_error(error));
    }

    fn close(&mut self, _now: ClockTime) {
        (self.stage, self.peers) = (Stage::Over, 0..0);
    }
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
                let all = mcast::interface::list().ok()?.into_iter();
                all.filter(mcast::interface::Interface::is_joined_by_default).map(|each| each.name).collect()
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
