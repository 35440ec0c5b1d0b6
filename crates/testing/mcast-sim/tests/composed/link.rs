//! The network: what arrives when, and what a socket that is full does.

use std::collections::VecDeque;
use std::net::SocketAddr;

use mcast_sim::Dice;
use mcast_stream_proto::wire::{Header, Kind};

use crate::feed::Destination;
use crate::plan::{ReaderFault, ReaderPlan, SECOND, Span, Traffic};

/// The room of a socket's send buffer that has asked for more, on a Linux system that nobody has configured, and what a
/// short datagram takes of it there. In bytes.
const SEND_BUFFER: usize = 2 * 212_992;
const OVERHEAD: usize = 704;
/// How long a datagram waits for the link-layer address of a host that does not exist.
const RESOLUTION: u64 = 3 * SECOND;

pub(crate) const fn is_in(span: Span, now: u64) -> bool {
    span.0 <= now && now < span.1
}

/// Returns what a datagram is, by its header.
pub(crate) fn traffic_of(bytes: &[u8]) -> Option<Traffic> {
    let (header, _) = Header::read(bytes).ok()?;
    Some(match header.kind {
        Kind::Data | Kind::Manifest | Kind::Parity => Traffic::Data,
        Kind::Nak => Traffic::Naks,
        Kind::Status | Kind::Probe => Traffic::Statuses,
        Kind::History | Kind::Announce => Traffic::Announcements,
        _ => Traffic::Heartbeats,
    })
}

/// Both directions of a subscriber's link.
#[derive(Debug)]
pub(crate) struct Link {
    plan: ReaderPlan,
    dice: Dice,
    /// When a narrow link has carried what is in its queue.
    idle_at: u64,
    /// The bytes that were sent to the subscriber.
    pub(crate) offered: u64,
}

/// When Linux first sends a segment again that is not acknowledged. Each repetition doubles it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RetransmissionTimeout {
    /// Of a connection that must be opened.
    Opening,
    /// Of a connection whose round trip is short.
    Open,
}

impl RetransmissionTimeout {
    const fn nanoseconds(self) -> u64 {
        match self {
            Self::Opening => SECOND,
            Self::Open => SECOND / 5,
        }
    }
}

/// The longest time between two repetitions.
const LONGEST_RETRANSMISSION: u64 = 120 * SECOND;

/// The queue of a narrow link, in bytes.
const QUEUE: u64 = 64 << 10;

impl Link {
    pub(crate) fn new(plan: ReaderPlan, seed: u64) -> Self {
        Self { plan, dice: Dice::new(seed), idle_at: 0, offered: 0 }
    }

    /// Whether traffic of this kind passes at present.
    pub(crate) fn passes(&self, now: u64, traffic: Traffic) -> bool {
        !self.plan.faults.iter().any(|fault| match fault {
            ReaderFault::Cut(span) => is_in(*span, now),
            ReaderFault::Without(kind, span) => *kind == traffic && is_in(*span, now),
            _ => false,
        })
    }

    /// Whether nothing arrives of this path.
    pub(crate) fn is_path_down(&self, now: u64, path: u8) -> bool {
        let is_down = |fault: &ReaderFault| matches!(fault, ReaderFault::PathDown(of, span) if *of == path && is_in(*span, now));
        self.plan.faults.iter().any(is_down)
    }

    /// Returns when the copies of a datagram to the subscriber arrive.
    pub(crate) fn deliver(&mut self, now: u64, traffic: Traffic, length: usize) -> Vec<u64> {
        self.offered += length as u64;
        let Some(rate) = self.plan.narrow else { return self.send(now, traffic, false) };
        let takes = |bytes: u64| bytes * SECOND / rate;
        if self.idle_at > now + takes(QUEUE) {
            return Vec::new();
        }
        self.idle_at = self.idle_at.max(now) + takes(length as u64);
        let queued = self.idle_at - now;
        self.send(now, traffic, false).into_iter().map(|at| at + queued).collect()
    }

    /// Returns when the copies of a datagram arrive.
    pub(crate) fn send(&mut self, now: u64, traffic: Traffic, is_up: bool) -> Vec<u64> {
        let mut loss = if is_up { self.plan.loss_up } else { self.plan.loss };
        if traffic == Traffic::Announcements {
            loss = loss.max(self.plan.loss_of_announcements);
        }
        if !self.passes(now, traffic) || self.dice.chance(loss) {
            return Vec::new();
        }
        let copies = if self.dice.chance(self.plan.duplicates) { 2 } else { 1 };
        (0..copies).map(|_| now + self.plan.delay + self.dice.below(self.plan.jitter + 1)).collect()
    }

    /// Returns when a segment of a TCP connection arrives that is sent at this time. While nothing passes, it is sent again
    /// after this timeout, twice that, and so on: a connection that is stalled stays so until then, however soon the link
    /// works again.
    pub(crate) fn send_by_tcp(&mut self, now: u64, length: usize, first: RetransmissionTimeout) -> u64 {
        let (mut sent_at, mut timeout) = (now, first.nanoseconds());
        while !self.passes(sent_at, Traffic::Tcp) {
            sent_at += timeout;
            timeout = (2 * timeout).min(LONGEST_RETRANSMISSION);
        }
        let queued = match self.plan.narrow {
            Some(rate) => {
                self.idle_at = self.idle_at.max(sent_at) + length as u64 * SECOND / rate;
                self.idle_at - sent_at
            }
            None => 0,
        };
        sent_at + queued + self.plan.delay
    }
}

/// The send buffer of a socket. Datagrams to hosts that do not exist stay in it until their address is given up.
#[derive(Debug)]
pub(crate) struct SendBuffer {
    size: usize,
    stuck: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl SendBuffer {
    /// Returns those of this many sockets, which are used as one.
    pub(crate) const fn of(sockets: usize) -> Self {
        Self { size: sockets * SEND_BUFFER, stuck: VecDeque::new(), bytes: 0 }
    }

    /// Sends a datagram; returns whether there was room for it.
    pub(crate) fn send(
        &mut self,
        now: u64,
        to: SocketAddr,
        bytes: Vec<u8>,
        sent: &mut Vec<(Destination, Vec<u8>)>,
    ) -> bool {
        while self.stuck.front().is_some_and(|(until, _)| *until <= now) {
            self.bytes -= self.stuck.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        let length = bytes.len() + OVERHEAD;
        if self.bytes + length > self.size {
            return false;
        }
        if crate::world::exists(to) {
            sent.push((Destination::One(to), bytes));
        } else {
            self.stuck.push_back((now + RESOLUTION, length));
            self.bytes += length;
        }
        true
    }

    /// Whether at most half of it is in use.
    pub(crate) const fn is_half_free(&self) -> bool {
        self.bytes <= self.size / 2
    }
}
