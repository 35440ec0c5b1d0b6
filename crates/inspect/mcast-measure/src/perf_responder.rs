//! Which messages of senders a receiver of `mcast perf` answers.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::wire::{MessageType, SessionMessage};
use mcast_pace::{Limiter, Quota};

/// A sender repeats its closing message about ten times; several senders may do so at once.
const EACH: Quota = Quota { per_second: 20, burst: 10 };
const ALL: Quota = Quota { per_second: 200, burst: 50 };

/// Decides about replies to senders, which are never more or longer than the requests. Reports and tokens are
/// limited in rate. A pong is sent only to a sender that knows its token and so has proved its address: forged
/// source addresses cannot direct pongs to other hosts.
#[derive(Debug)]
pub struct PerfResponder {
    limiter: Limiter,
    tokens: RandomState,
    reply: Vec<u8>,
}

impl PerfResponder {
    /// Creates a responder, whose tokens differ from those of all others.
    #[must_use]
    pub fn new() -> Self {
        Self { limiter: Limiter::new(EACH, ALL), tokens: RandomState::new(), reply: Vec::new() }
    }

    /// Returns whether the rate limit allows a report to this source.
    pub fn may_report(&mut self, source: IpAddr, now: Duration) -> bool {
        self.limiter.allows(source, now)
    }

    /// Returns the reply to a call, unless it is over the rate limit, or to a ping with the right token; `None`
    /// for other messages. The reply to a call is that token, the reply to a ping is the ping itself.
    pub fn reply_to(&mut self, message: &[u8], source: SocketAddr, now: Duration) -> Option<&[u8]> {
        let (header, decoded) = SessionMessage::decode(message)?;
        let token = self.tokens.hash_one((source, header.session));
        self.reply.clear();
        match decoded {
            SessionMessage::Call if self.limiter.allows(source.ip(), now) => {
                self.reply.extend(header.with_kind(MessageType::Token).encode());
                self.reply.extend(token.to_be_bytes());
            }
            SessionMessage::Ping(own) if own == token => {
                self.reply.extend_from_slice(message);
                header.with_kind(MessageType::Pong).write(&mut self.reply);
            }
            _ => return None,
        }
        Some(&self.reply)
    }

    /// Returns the number of requests over the rate limit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.limiter.refused()
    }
}

impl Default for PerfResponder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{PING_LENGTH, SessionHeader, SessionId, UnixNanos};

    const HEADER: SessionHeader = SessionHeader {
        sequence: 2,
        time: UnixNanos(3),
        ..SessionHeader::new(MessageType::Ping, SessionId(1))
    };

    fn source(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn message(kind: MessageType, token: u64, length: usize) -> Vec<u8> {
        let mut message = HEADER.with_kind(kind).encode().to_vec();
        message.extend(token.to_be_bytes());
        message.resize(length, 0);
        message
    }

    #[test]
    fn only_the_holder_of_its_token_gets_pongs() {
        let mut responder = PerfResponder::new();
        let mut reply = |message: &[u8], port| {
            responder.reply_to(message, source(port), Duration::ZERO).map(<[u8]>::to_vec)
        };
        let offer = reply(&message(MessageType::Call, 0, PING_LENGTH), 1).unwrap();
        assert_eq!(offer.len(), PING_LENGTH);
        let Some((_, SessionMessage::Token(token))) = SessionMessage::decode(&offer) else {
            panic!("{offer:?}")
        };
        let ping = message(MessageType::Ping, token, 100);
        let pong = reply(&ping, 1).unwrap();
        assert_eq!(pong.len(), ping.len());
        assert_eq!(
            SessionMessage::decode(&pong),
            Some((HEADER.with_kind(MessageType::Pong), SessionMessage::Pong))
        );
        assert_eq!(reply(&ping, 2), None, "another port");
        assert_eq!(reply(&message(MessageType::Ping, token ^ 1, 100), 1), None);
        assert_eq!(reply(&ping[..PING_LENGTH - 1], 1), None);
        assert_eq!(reply(&message(MessageType::Call, 0, PING_LENGTH)[..PING_LENGTH - 1], 1), None);
    }

    #[test]
    fn reports_and_tokens_share_a_rate_limit() {
        let mut responder = PerfResponder::new();
        let call = message(MessageType::Call, 0, PING_LENGTH);
        let tokens =
            (0..6).filter(|_| responder.reply_to(&call, source(1), Duration::ZERO).is_some()).count();
        let reports = (0..6).filter(|_| responder.may_report(source(1).ip(), Duration::ZERO)).count();
        assert_eq!((tokens, reports, responder.refused()), (6, 4, 2));
    }
}
