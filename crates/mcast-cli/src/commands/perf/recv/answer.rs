//! Replies to senders: reports and pongs, never more or longer than the requests.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use mcast::{Arrival, Receiver};
use mcast_measure::wire::{Header, Kind, PING_LENGTH, ReceiverReport, SessionId};
use mcast_measure::{Limiter, Quota};

/// A sender repeats its closing message about ten times; several senders may do so at once.
const EACH: Quota = Quota { per_second: 20, burst: 10 };
const ALL: Quota = Quota { per_second: 200, burst: 50 };

/// Answers senders. Reports and tokens are limited in rate. A pong is sent only to a sender that knows its token and
/// so has proved its address: forged source addresses cannot direct pongs to other hosts.
#[derive(Debug)]
pub(super) struct Answerer<'a> {
    receiver: &'a Receiver,
    limiter: Limiter,
    tokens: RandomState,
    pong: Vec<u8>,
    unsent: u64,
}

impl<'a> Answerer<'a> {
    pub(super) fn new(receiver: &'a Receiver) -> Self {
        Self {
            receiver,
            limiter: Limiter::new(EACH, ALL),
            tokens: RandomState::new(),
            pong: Vec::new(),
            unsent: 0,
        }
    }

    /// Returns whether the rate limit allows a report to this source.
    pub(super) fn may_report(&mut self, source: IpAddr, now: Duration) -> bool {
        self.limiter.allows(source, now)
    }

    pub(super) fn report(&mut self, to: &Arrival, header: Header, report: &ReceiverReport) {
        self.send(to, &report.encode(header));
    }

    /// Answers a call with the token that pings must carry.
    pub(super) fn token(&mut self, to: &Arrival, header: Header, now: Duration) {
        if self.limiter.allows(to.source.ip(), now) {
            let mut message = header.with_kind(Kind::Token).encode().to_vec();
            message.extend(self.token_for(to, header.session).to_be_bytes());
            self.send(to, &message);
        }
    }

    /// Answers a ping by returning it, if it carries the right token; returns whether it does.
    pub(super) fn pong(&mut self, to: &Arrival, header: Header, token: u64, ping: &[u8]) -> bool {
        if ping.len() < PING_LENGTH || token != self.token_for(to, header.session) {
            return false;
        }
        let mut pong = std::mem::take(&mut self.pong);
        pong.clear();
        pong.extend_from_slice(ping);
        header.with_kind(Kind::Pong).write(&mut pong);
        self.send(to, &pong);
        self.pong = pong;
        true
    }

    fn token_for(&self, to: &Arrival, session: SessionId) -> u64 {
        self.tokens.hash_one((to.source, session))
    }

    fn send(&mut self, to: &Arrival, message: &[u8]) {
        // A sender that the answer does not reach asks again.
        self.unsent += u64::from(self.receiver.reply(to, message).is_err());
    }

    /// Returns the number of requests over the rate limit, and of answers that the system refused to send.
    pub(super) fn withheld(&self) -> (u64, u64) {
        (self.limiter.refused(), self.unsent)
    }
}
