//! The table: packets and times in, a report out.

use std::time::Duration;

use mcast_group::{Group, InterfaceIndex};
use mcast_packet::gmp::{Address, Message};
use mcast_packet::sequence::SequenceField;
use mcast_packet::{Ip, Packet, Transport, Udp};

use crate::clock::Clock;
use crate::ledger::Numbered;
use crate::log::Log;
use crate::lru::Lru;
use crate::members::{Heard, Members};
use crate::report::{Report, Row, Totals};
use crate::routers::Routers;
use crate::stream::{Datagram, Stream, StreamKey};
use crate::time::Time;

/// How a table is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Over how long rates are told; zero is taken for the shortest span there is. Default: a second.
    pub interval: Duration,
    /// How many streams are kept, and how many members; each takes about 2 KiB. Default: 4096.
    pub capacity: usize,
    /// Where payloads have a sequence number, if that is known; what they look like is then not asked.
    pub sequence: Option<SequenceField>,
    /// After how long a silence a stream is forgotten. Default: ten minutes.
    pub keep: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            capacity: 4096,
            sequence: None,
            keep: Duration::from_secs(600),
        }
    }
}

/// A packet that was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When.
    pub time: Time,
    /// On which interface.
    pub interface: InterfaceIndex,
    /// Whether this machine sent it.
    pub outgoing: bool,
    /// How long its frame was.
    pub length: usize,
    /// Its layers.
    pub packet: &'a Packet<'a>,
    /// What its payload says of its place in a stream, where the caller knows the protocol and the table does not.
    pub numbered: Option<Numbered>,
}

/// The table of what goes on in a network.
#[derive(Debug)]
pub struct Watch {
    options: Options,
    clock: Clock,
    streams: Lru<StreamKey, Stream>,
    members: Members,
    routers: Routers,
    log: Log,
    totals: Totals,
}

impl Watch {
    /// How many routers of each kind are kept.
    const ROUTERS: usize = 256;

    /// An empty table, whose first interval begins with [`Self::begin`] or the first packet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            clock: Clock::new(options.interval),
            streams: Lru::new(options.capacity),
            members: Members::new(options.capacity),
            routers: Routers::new(Self::ROUTERS),
            log: Log::default(),
            totals: Totals::default(),
        }
    }

    /// Starts the first interval, if nothing has started it yet.
    pub fn begin(&mut self, now: Time) {
        self.clock.tell(now);
    }

    /// Forgets everything and starts anew.
    pub fn clear(&mut self, now: Time) {
        self.clock = Clock::new(self.options.interval);
        self.clock.tell(now);
        self.streams.clear();
        self.members.clear();
        self.routers.clear();
        self.log.clear();
        self.totals = Totals::default();
    }

    /// Takes note of a packet, and says which stream it belongs to, if to any. Packets to anybody but a
    /// group are passed over, unless they are messages of IGMP, MLD or PIM.
    pub fn observe(&mut self, seen: &Seen<'_>) -> Option<StreamKey> {
        let now = self.clock.tell(seen.time);
        let packet = seen.packet;
        let ip = packet.ip_layer()?;
        let heard = Heard {
            time: now,
            interface: seen.interface,
            vlan: packet.vlans().next().map(|vlan| vlan.id),
            source: ip.source,
            outgoing: seen.outgoing,
        };
        match &packet.transport {
            Some(Transport::Igmp(control)) => self.observe_control(heard, &control.message),
            Some(Transport::Mld(control)) => self.observe_control(heard, &control.message),
            Some(Transport::Pim(pim)) => {
                self.totals.control += 1;
                self.log.push(now, seen.interface, ip.source, pim.message);
                self.routers.pim(heard, &pim.message);
            }
            transport => {
                let group = Group::new(ip.destination).ok()?;
                match transport {
                    Some(Transport::Udp(udp)) => {
                        return Some(self.observe_datagram(heard, seen, ip, udp, group));
                    }
                    Some(_) => self.totals.other += 1,
                    None => self.totals.malformed += 1,
                }
            }
        }
        None
    }

    /// The table at this moment.
    #[must_use]
    pub fn report(&mut self, now: Time) -> Report {
        let now = self.clock.tell(now).max(self.clock.latest());
        self.streams.retain(|_, stream| stream.quiet(now) < self.options.keep);
        self.members.forget_the_silent(now);
        self.routers.forget_the_silent(now);
        let mut streams: Vec<Row> =
            self.streams.iter().map(|(key, stream)| stream.row(*key, &self.clock, now)).collect();
        streams.sort_unstable_by_key(|row| row.key);
        Report {
            time: now,
            watched: now.since(self.clock.start()),
            streams,
            members: self.members.report(now),
            queriers: self.routers.queriers(now),
            pim_neighbors: self.routers.neighbors(now),
            routers: self.routers.advertisements(now),
            log: self.log.entries().cloned().collect(),
            totals: Totals { members_left_out: self.members.left_out(), ..self.totals },
        }
    }

    /// Whether a datagram to a group has ever come.
    #[must_use]
    pub fn has_seen_datagrams(&self) -> bool {
        self.totals.datagrams > 0
    }

    /// The latest time that the table knows of.
    #[must_use]
    pub fn latest(&self) -> Time {
        self.clock.latest()
    }

    fn observe_control<A: Address>(&mut self, heard: Heard, message: &Message<'_, A>) {
        self.totals.control += 1;
        self.log.push(heard.time, heard.interface, heard.source, message);
        match message {
            Message::Query(query) => self.routers.query(heard, query),
            Message::RouterDiscovery(discovery) => self.routers.discovery(heard, discovery),
            report => self.members.observe(heard, report),
        }
    }

    fn observe_datagram(
        &mut self,
        heard: Heard,
        seen: &Seen<'_>,
        ip: &Ip<'_>,
        udp: &Udp<'_>,
        group: Group,
    ) -> StreamKey {
        let Heard { time: now, interface, vlan, source, outgoing } = heard;
        let (port, source_port) = (udp.destination_port, udp.source_port);
        let key = StreamKey { group, port, source, source_port, interface, vlan };
        let numbered = seen.numbered.as_ref();
        let datagram = Datagram { ip, udp, group, length: seen.length, outgoing, numbered };
        let interval = self.clock.interval_of(now);
        let (stream, evicted) = self.streams.touch(key, || Stream::new(now, interval, &datagram));
        stream.observe(now, interval, &datagram, self.options.sequence);
        self.totals.datagrams += 1;
        self.totals.bytes += udp.payload.len() as u64;
        self.totals.streams_left_out += u64::from(evicted);
        if stream.has_lasted(interval) {
            self.streams.prove(&key);
        }
        key
    }
}
