//! Sends reports, tokens and pongs to senders.

use std::net::IpAddr;
use std::time::Duration;

use mcast::{Arrival, Receiver};
use mcast_measure::PerfResponder;
use mcast_measure::wire::{Header, ReceiverReport};

/// Answers senders, as far as its [`PerfResponder`] allows.
#[derive(Debug)]
pub(super) struct Answerer<'a> {
    receiver: &'a Receiver,
    responder: PerfResponder,
    unsent: u64,
}

impl<'a> Answerer<'a> {
    pub(super) fn new(receiver: &'a Receiver) -> Self {
        Self { receiver, responder: PerfResponder::new(), unsent: 0 }
    }

    /// Returns whether the rate limit allows a report to this source.
    pub(super) fn may_report(&mut self, source: IpAddr, now: Duration) -> bool {
        self.responder.may_report(source, now)
    }

    pub(super) fn report(&mut self, to: &Arrival, header: Header, report: &ReceiverReport) {
        let sent = self.receiver.reply(to, &report.encode(header));
        self.count(&sent);
    }

    /// Answers a call with the token that pings must carry.
    pub(super) fn token(&mut self, to: &Arrival, header: Header, now: Duration) {
        if let Some(message) = self.responder.token(to.source, header, now) {
            let sent = self.receiver.reply(to, &message);
            self.count(&sent);
        }
    }

    /// Answers a ping, if it carries the right token.
    pub(super) fn pong(&mut self, to: &Arrival, header: Header, token: u64, ping: &[u8]) {
        if let Some(pong) = self.responder.pong(to.source, header, token, ping) {
            let sent = self.receiver.reply(to, pong);
            self.count(&sent);
        }
    }

    fn count(&mut self, sent: &mcast::Result<()>) {
        // A sender that the answer does not reach asks again.
        self.unsent += u64::from(sent.is_err());
    }

    /// Returns the number of requests over the rate limit, and of answers that the system refused to send.
    pub(super) const fn withheld(&self) -> (u64, u64) {
        (self.responder.refused(), self.unsent)
    }
}
