//! The history server at its maximum: strangers ask it as well, more of them than it answers at a time, or than it has
//! connections for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::side_channel::{
    Admission, AdmissionControl, AdmissionLimits, ClientId, ConnectDecision,
};

use crate::connection::ClientOf;
use crate::link::RetransmissionTimeout;
use crate::plan::{CrowdPlan, MILLISECOND, SECOND, Traffic};
use crate::reader::Report;
use crate::world::{Event, World};

/// The limits of a server that a few clients fill: an eighth of the connections, and a quarter of the turns.
const LIMITS: AdmissionLimits =
    AdmissionLimits { connections: 16, connections_per_address: 4, turns: 4, turns_per_address: 2 };
/// How long a stranger reads, and the time between two parts of its answer.
const READS: u64 = 400 * MILLISECOND;
const PART: u64 = 50 * MILLISECOND;
const ROUND_TRIP: u64 = 2 * MILLISECOND;
/// When a stranger comes back that was not admitted.
const AGAIN: u64 = 100 * MILLISECOND;

/// The longest time for which a client is sent away, with the random time that it adds, and the time to find the server.
const LONGEST_WAIT: u64 = 12 * SECOND;

/// Returns the time within which every client is answered: that of all who read the log once, beside the turns that one network
/// can hold, and the longest time for which a client is sent away.
pub(crate) const fn service_bound(crowd: CrowdPlan) -> u64 {
    let turns = (LIMITS.turns - LIMITS.turns_per_address) as u64;
    crowd.strangers as u64 / 2 * READS / turns + LONGEST_WAIT
}

/// The clients of the history server.
pub(crate) struct Clients {
    control: AdmissionControl,
    /// The life of the publisher's process.
    server: u32,
    readers: Vec<(ClientOf, ClientId)>,
    strangers: Vec<Stranger>,
}

#[derive(Clone, Copy)]
struct Stranger {
    address: IpAddr,
    /// It asks, and reads nothing, and comes back at once whenever its connection is closed. Others read the log once.
    is_hostile: bool,
    client: Option<ClientId>,
    /// Since when it is answered.
    since: Option<u64>,
}

impl Clients {
    pub(crate) fn new(crowd: Option<CrowdPlan>) -> Self {
        let strangers = crowd.map_or(0, |crowd| crowd.strangers);
        let stranger = |index: usize| {
            // Every second one has any address of one network that it likes.
            let is_hostile = index.is_multiple_of(2);
            let address = match is_hostile {
                true => Ipv6Addr::from_bits(0x2001_0db8 << 96 | index as u128).into(),
                false => Ipv4Addr::from_bits(0x0a05_0000 | index as u32).into(),
            };
            Stranger { address, is_hostile, client: None, since: None }
        };
        Self {
            control: control(crowd),
            server: 0,
            readers: Vec::new(),
            strangers: (0..strangers).map(stranger).collect(),
        }
    }
}

fn control(crowd: Option<CrowdPlan>) -> AdmissionControl {
    AdmissionControl::new(if crowd.is_some() { LIMITS } else { AdmissionLimits::HISTORY })
}

impl World<'_> {
    /// Returns the server's record of a client; admits it if it has just connected. `Err`: when to ask again, if ever.
    pub(crate) fn admit(&mut self, to: ClientOf) -> Result<ClientId, Option<u64>> {
        self.forget_closed();
        if let Some((_, client)) = self.clients.readers.iter().find(|(known, _)| *known == to) {
            return Ok(*client);
        }
        match self.connect(crate::world::address(to.index).ip()) {
            ConnectDecision::Admitted(client, _) => {
                self.clients.readers.push((to, client));
                Ok(client)
            }
            ConnectDecision::Refused => {
                self.close(to);
                Err(None)
            }
            ConnectDecision::Full(wait) => Err(Some(self.now + wait.as_nanos() as u64)),
        }
    }

    /// Returns how long a client is to stay away, if others are served first. Then its connection is closed.
    pub(crate) fn ask(&mut self, client: ClientId) -> Option<std::time::Duration> {
        match self.clients.control.request(ClockTime(self.now), client) {
            Admission::Now => None,
            Admission::Retry(wait) => {
                self.clients.control.disconnected(client);
                self.clients.readers.retain(|(_, known)| *known != client);
                Some(wait)
            }
        }
    }

    /// Notes that the next frame is about to be sent; returns whether the client's turn is over. `None`: it was replaced.
    pub(crate) fn continue_turn(&mut self, to: ClientOf) -> Option<bool> {
        let (_, client) = *self.clients.readers.iter().find(|(known, _)| *known == to)?;
        let is_over = self.clients.control.is_over(ClockTime(self.now), client);
        if self.readers[to.index].link.passes(self.now, Traffic::Tcp) {
            self.clients.control.record_progress(ClockTime(self.now), client);
        }
        Some(is_over)
    }

    /// Notes the end of an answer.
    pub(crate) fn end_answer(&mut self, to: ClientOf, is_at_end: bool) {
        if let Some((_, client)) = self.clients.readers.iter().find(|(known, _)| *known == to) {
            self.clients.control.answered(ClockTime(self.now), *client, is_at_end);
        }
    }

    /// A stranger does the next thing.
    pub(crate) fn move_stranger(&mut self, index: usize) {
        let Some(crowd) = self.plan.feed.crowd else { return };
        let stranger = self.clients.strangers[index];
        if self.now >= crowd.span.1 {
            stranger.client.into_iter().for_each(|client| self.clients.control.disconnected(client));
            return;
        }
        let again = self.server_resumes_at().map_or(self.now + AGAIN, |until| until + 1);
        let is_away = self.feed.process.is_none() || again > self.now + AGAIN;
        let at = if is_away { Some(again) } else { self.step_stranger(index, stranger) };
        at.into_iter().for_each(|at| self.queue.push(at, Event::Stranger(index)));
    }

    /// Returns when the stranger acts again, if it does.
    fn step_stranger(&mut self, index: usize, mut stranger: Stranger) -> Option<u64> {
        self.forget_closed();
        // Its connection may have been closed since.
        stranger.client = self.clients.strangers[index].client;
        let now = ClockTime(self.now);
        let at = match (stranger.client, stranger.since) {
            (None, _) => match self.connect(stranger.address) {
                ConnectDecision::Admitted(client, _) => {
                    (stranger.client, stranger.since) = (Some(client), None);
                    self.now + ROUND_TRIP
                }
                ConnectDecision::Refused => self.now + AGAIN,
                ConnectDecision::Full(wait) => self.now + wait.as_nanos() as u64,
            },
            (Some(client), None) => match self.clients.control.request(now, client) {
                Admission::Now => {
                    stranger.since = Some(self.now);
                    self.now + PART
                }
                Admission::Retry(wait) => {
                    self.clients.control.disconnected(client);
                    stranger.client = None;
                    // A hostile one does not wait.
                    self.now + if stranger.is_hostile { ROUND_TRIP } else { wait.as_nanos() as u64 }
                }
            },
            (Some(_), Some(_)) if stranger.is_hostile => self.now + PART,
            (Some(client), Some(since)) if self.now < since + READS => {
                self.clients.control.record_progress(now, client);
                self.now + PART
            }
            (Some(client), Some(_)) => {
                self.clients.control.answered(now, client, true);
                self.clients.control.disconnected(client);
                self.clients.strangers[index].client = None;
                return None;
            }
        };
        self.clients.strangers[index] = stranger;
        Some(at)
    }

    /// Decides about a new connection, and closes that of the client that it replaces.
    fn connect(&mut self, address: IpAddr) -> ConnectDecision {
        let decision = self.clients.control.connect(ClockTime(self.now), address);
        if let ConnectDecision::Admitted(_, Some(replaced)) = decision {
            if let Some(at) = self.clients.readers.iter().position(|(_, client)| *client == replaced) {
                let (to, _) = self.clients.readers.swap_remove(at);
                self.close(to);
            }
            let is_replaced = |stranger: &&mut Stranger| stranger.client == Some(replaced);
            for stranger in self.clients.strangers.iter_mut().filter(is_replaced) {
                stranger.client = None;
            }
        }
        decision
    }

    /// The server closes the connection of a client.
    pub(crate) fn close(&mut self, to: ClientOf) {
        let at = self.readers[to.index].link.send_by_tcp(self.now, 0, RetransmissionTimeout::Open);
        self.queue.push(at, Event::Answer(to, Report::Closed));
    }

    /// Forgets clients that have closed their connections, as far as that has reached the server, and those of a former process.
    fn forget_closed(&mut self) {
        if self.clients.server != self.feed.lives() {
            let Clients { control, server, readers, strangers } = &mut self.clients;
            (*control, *server) = (self::control(self.plan.feed.crowd), self.feed.lives());
            readers.clear();
            strangers.iter_mut().for_each(|stranger| stranger.client = None);
        }
        for (to, client) in self.clients.readers.clone() {
            if self.connection(to).is_none() && self.readers[to.index].link.passes(self.now, Traffic::Tcp) {
                self.clients.control.disconnected(client);
                self.clients.readers.retain(|(_, known)| *known != client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{BEGIN, Begin, ComposedPlan, CrowdPlan, FeedPlan, ReaderPlan, SECOND};
    use crate::world::World;

    #[test]
    fn everybody_gets_the_log_from_a_server_at_its_maximum() {
        for strangers in [12, 48, 200] {
            let span = (BEGIN + SECOND, BEGIN + 90 * SECOND);
            let feed = FeedPlan { crowd: Some(CrowdPlan { strangers, span }), ..FeedPlan::GOOD };
            let reader = |index: u64| {
                let joins = BEGIN + SECOND + index * SECOND / 4;
                ReaderPlan { joins, begin: Begin::Oldest, ..ReaderPlan::GOOD }
            };
            let plan = ComposedPlan { seed: strangers as u64, feed, readers: (0..6).map(reader).collect() };
            let (world, violations) = World::simulate(&plan);
            assert!(violations.is_empty(), "{strangers}: {violations:#?}");
            for reader in &world.readers {
                assert!(
                    reader.answered_at.is_some() && reader.audit.is_whole(),
                    "{strangers}: {:?}",
                    reader.audit
                );
                assert_eq!(reader.audit.first, Some(0), "{strangers}");
            }
        }
    }
}
