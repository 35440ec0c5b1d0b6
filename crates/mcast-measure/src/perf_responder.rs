//! Which messages of senders a receiver of `mcast perf` answers.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::wire::{Header, Kind, PING_LENGTH, SessionId};
use crate::{Limiter, Quota};

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
    pong: Vec<u8>,
}

impl PerfResponder {
    /// Creates a responder, whose tokens differ from those of all others.
    #[must_use]
    pub fn new() -> Self {
        Self { limiter: Limiter::new(EACH, ALL), tokens: RandomState::new(), pong: Vec::new() }
    }

    /// Returns whether the rate limit allows a report to this source.
    pub fn may_report(&mut self, source: IpAddr, now: Duration) -> bool {
        self.limiter.allows(source, now)
    }

    /// Returns the reply to a call: the token that pings must carry; `None` over the rate limit.
    pub fn token(&mut self, source: SocketAddr, header: Header, now: Duration) -> Option<Vec<u8>> {
        self.limiter.allows(source.ip(), now).then(|| {
            let mut message = header.with_kind(Kind::Token).encode().to_vec();
            message.extend(self.token_for(source, header.session).to_be_bytes());
            message
        })
    }

    /// Returns the reply to a ping, which is the ping itself, if it carries the right token.
    pub fn pong(&mut self, source: SocketAddr, header: Header, token: u64, ping: &[u8]) -> Option<&[u8]> {
        if ping.len() < PING_LENGTH || token != self.token_for(source, header.session) {
            return None;
        }
        self.pong.clear();
        self.pong.extend_from_slice(ping);
        header.with_kind(Kind::Pong).write(&mut self.pong);
        Some(&self.pong)
    }

    /// Returns the number of requests over the rate limit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.limiter.refused()
    }

    fn token_for(&self, source: SocketAddr, session: SessionId) -> u64 {
        self.tokens.hash_one((source, session))
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
    use crate::wire::{Message, UnixNanos};

    const HEADER: Header =
        Header { kind: Kind::Ping, stream: 0, session: SessionId(1), sequence: 2, time: UnixNanos(3) };

    fn source(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn ping(token: u64, length: usize) -> Vec<u8> {
        let mut ping = HEADER.encode().to_vec();
        ping.extend(token.to_be_bytes());
        ping.resize(length, 0);
        ping
    }

    #[test]
    fn only_the_holder_of_its_token_gets_pongs() {
        let mut responder = PerfResponder::new();
        let reply = responder.token(source(1), HEADER, Duration::ZERO).unwrap();
        let Ok((_, Message::Token(token))) = Message::decode(&reply) else { panic!("{reply:?}") };
        let ping = ping(token, 100);
        let pong = responder.pong(source(1), HEADER, token, &ping).unwrap();
        assert_eq!(pong.len(), ping.len());
        assert_eq!(Message::decode(pong), Ok((HEADER.with_kind(Kind::Pong), Message::Pong)));
        assert_eq!(responder.pong(source(2), HEADER, token, &ping), None, "another port");
        assert_eq!(responder.pong(source(1), HEADER, token ^ 1, &ping), None);
        assert_eq!(responder.pong(source(1), HEADER, token, &ping[..PING_LENGTH - 1]), None);
    }

    #[test]
    fn reports_and_tokens_share_a_rate_limit() {
        let mut responder = PerfResponder::new();
        let tokens = (0..6).filter(|_| responder.token(source(1), HEADER, Duration::ZERO).is_some()).count();
        let reports = (0..6).filter(|_| responder.may_report(source(1).ip(), Duration::ZERO)).count();
        assert_eq!((tokens, reports, responder.refused()), (6, 4, 2));
    }
}
