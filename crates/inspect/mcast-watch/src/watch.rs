//! The table itself: packets and times in, a report out.

use std::time::Duration;

use mcast_group::{Group, InterfaceIndex};
use mcast_packet::gmp::{Address, GmpMessage};
use mcast_packet::sequence::SequenceField;
use mcast_packet::{Ip, Packet, Transport, Tunnel, Udp};

use crate::announcements::{Announcements, StreamAnnouncement};
use crate::clock::{Clock, Time};
use crate::ledger::SequenceInfo;
use crate::lru::Lru;
use crate::members::{Log, Members};
use crate::origin::PacketOrigin;
use crate::queriers::{ObservedQuery, Routers};
use crate::stream::{Datagram, Row, Stream, StreamKey, WatchReport, WatchTotals};
use crate::tunnels::Tunnels;

/// Configuration of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// Length of the intervals over which rates are computed; zero is treated as one nanosecond. Default: 1
    /// s.
    pub interval: Duration,
    /// Maximum number of streams, and of members; each takes about 2 KiB. Default: 4096.
    pub capacity: usize,
    /// The position of a sequence number in all payloads, if known; formats are then not detected.
    pub sequence: Option<SequenceField>,
    /// Time without datagrams after which a stream is removed. Default: 10 minutes.
    pub keep: Duration,
    /// Time after its latest announcement for which a stream is listed as announced. Publishers normally
    /// repeat their announcements every second. Default: 10 s.
    pub keep_announced: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            capacity: 4096,
            sequence: None,
            keep: Duration::from_secs(600),
            keep_announced: Duration::from_secs(10),
        }
    }
}

/// A packet to add to the table.
#[derive(Clone, Copy, Debug)]
pub struct ObservedPacket<'a> {
    /// When it was captured.
    pub time: Time,
    /// The interface on which it was captured.
    pub interface: InterfaceIndex,
    /// Whether this machine sent it.
    pub outgoing: bool,
    /// Length of its frame in bytes.
    pub length: usize,
    /// Its decoded layers. Of a fragmented datagram, those of the whole datagram: a fragment is not counted.
    pub packet: &'a Packet<'a>,
    /// Whether all of it is there.
    pub state: PacketState,
    /// The tunnel that it was in.
    pub tunnel: Option<Tunnel>,
    /// Sequence information, if the caller knows a protocol that the table does not.
    pub sequence_info: Option<SequenceInfo>,
}

/// Whether all of a packet is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketState {
    /// It came as it is.
    #[default]
    Whole,
    /// It was put together from fragments.
    Reassembled,
    /// Some of its fragments are missing, and with the first one its ports.
    Incomplete,
}

/// The table of multicast traffic in a network.
#[derive(Debug)]
pub struct Watch {
    options: WatchOptions,
    clock: Clock,
    streams: Lru<StreamKey, Stream>,
    tunnels: Tunnels,
    members: Members,
    routers: Routers,
    announcements: Announcements,
    log: Log,
    totals: WatchTotals,
}

impl Watch {
    /// Maximum number of routers of each kind.
    const ROUTERS: usize = 256;

    /// Creates an empty table. Its first interval starts with [`Self::begin`] or the first packet.
    #[must_use]
    pub fn new(options: WatchOptions) -> Self {
        Self {
            options,
            clock: Clock::new(options.interval),
            streams: Lru::new(options.capacity),
            tunnels: Tunnels::default(),
            members: Members::new(options.capacity),
            routers: Routers::new(Self::ROUTERS),
            announcements: Announcements::default(),
            log: Log::default(),
            totals: WatchTotals::default(),
        }
    }

    /// Starts the first interval, unless it has started already.
    pub fn begin(&mut self, now: Time) {
        self.clock.advance(now);
    }

    /// Removes everything and starts again.
    pub fn clear(&mut self, now: Time) {
        self.clock = Clock::new(self.options.interval);
        self.clock.advance(now);
        self.streams.clear();
        self.tunnels.clear();
        self.members.clear();
        self.routers.clear();
        self.announcements.clear();
        self.log.clear();
        self.totals = WatchTotals::default();
    }

    /// Adds a packet, and returns the stream that it belongs to, if any. Packets that are not addressed to a
    /// group are ignored, unless they are IGMP, MLD or PIM messages.
    pub fn observe(&mut self, observed: &ObservedPacket<'_>) -> Option<StreamKey> {
        let now = self.clock.advance(observed.time);
        let packet = observed.packet;
        let ip = packet.ip_layer()?;
        let mut vlans = packet.vlans();
        let origin = PacketOrigin {
            time: now,
            interface: observed.interface,
            vlan: vlans.next().map(|vlan| vlan.id),
            source: ip.source,
            outgoing: observed.outgoing,
        };
        match &packet.transport {
            Some(Transport::Igmp(control)) => self.observe_control(origin, &control.message),
            Some(Transport::Mld(control)) => self.observe_control(origin, &control.message),
            Some(Transport::Pim(pim)) => {
                self.totals.control += 1;
                self.log.push(now, observed.interface, ip.source, pim.message);
                self.routers.pim(origin, &pim.message);
            }
            transport => {
                let group = Group::new(ip.destination).ok()?;
                let is_incomplete = observed.state == PacketState::Incomplete;
                self.totals.incomplete += u64::from(is_incomplete);
                match transport {
                    Some(Transport::Udp(udp)) if ip.fragment.is_none() => {
                        let key = StreamKey {
                            group,
                            port: udp.destination_port,
                            source: ip.source,
                            source_port: udp.source_port,
                            interface: origin.interface,
                            vlan: origin.vlan,
                            inner_vlan: vlans.next().map(|vlan| vlan.id),
                            tunnel: observed.tunnel.and_then(|tunnel| self.tunnels.number(tunnel)),
                        };
                        if is_incomplete {
                            self.observe_incomplete(key, origin, observed, ip, udp);
                            return None;
                        }
                        return Some(self.observe_datagram(key, origin, observed, ip, udp));
                    }
                    _ if is_incomplete => {}
                    Some(_) => self.totals.other += 1,
                    None => self.totals.malformed += 1,
                }
            }
        }
        None
    }

    /// Adds an announcement of a stream.
    pub fn announce(&mut self, announcement: StreamAnnouncement) {
        let time = self.clock.adjusted(announcement.time);
        self.announcements.observe(StreamAnnouncement { time, ..announcement });
    }

    /// Returns the state of the table at this moment, and removes what has expired.
    #[must_use]
    pub fn report(&mut self, now: Time) -> WatchReport {
        let now = self.clock.advance(now).max(self.clock.latest());
        self.report_at(now)
    }

    /// Returns the state of the table at the latest time that it has seen, as at the end of a file.
    #[must_use]
    pub fn report_latest(&mut self) -> WatchReport {
        self.report_at(self.clock.latest())
    }

    fn report_at(&mut self, now: Time) -> WatchReport {
        self.streams.retain(|_, stream| stream.quiet(now) < self.options.keep);
        self.members.remove_expired(now);
        self.routers.remove_expired(now);
        self.announcements.remove_expired(now, self.options.keep_announced);
        let row = |(key, stream): (&StreamKey, &Stream)| {
            stream.row(*key, key.tunnel.and_then(|number| self.tunnels.get(number)), &self.clock, now)
        };
        let mut streams: Vec<Row> = self.streams.iter().map(row).collect();
        streams.sort_unstable_by_key(|row| row.key);
        WatchReport {
            time: now,
            watched: now.since(self.clock.start()),
            streams,
            members: self.members.report(now),
            queriers: self.routers.queriers.report(now),
            pim_neighbors: self.routers.neighbors(now),
            routers: self.routers.advertisements(now),
            announced: self.announcements.report(),
            log: self.log.entries().cloned().collect(),
            totals: WatchTotals {
                members_evicted: self.members.evicted(),
                announcements_omitted: self.announcements.omitted(),
                ..self.totals
            },
        }
    }

    /// Returns whether any datagram to a group has been observed.
    #[must_use]
    pub fn has_seen_datagrams(&self) -> bool {
        self.totals.datagrams > 0
    }

    /// Returns the latest time that the table has seen.
    #[must_use]
    pub fn latest(&self) -> Time {
        self.clock.latest()
    }

    fn observe_control<A: Address>(&mut self, origin: PacketOrigin, message: &GmpMessage<'_, A>) {
        self.totals.control += 1;
        self.log.push(origin.time, origin.interface, origin.source, message);
        self.members.observe(origin, message);
        match message {
            GmpMessage::Query(query) => {
                self.routers.queriers.observe(origin, ObservedQuery::new(origin.source, query));
            }
            GmpMessage::RouterDiscovery(discovery) => self.routers.discovery(origin, discovery),
            _ => {}
        }
    }

    fn observe_datagram(
        &mut self,
        key: StreamKey,
        origin: PacketOrigin,
        observed: &ObservedPacket<'_>,
        ip: &Ip<'_>,
        udp: &Udp<'_>,
    ) -> StreamKey {
        let now = origin.time;
        let datagram = datagram(key, origin, observed, ip, udp);
        let interval = self.clock.interval_of(now);
        let (stream, evicted) = self.streams.touch(key, || Stream::new(now, interval, &datagram));
        stream.observe(now, interval, &datagram, self.options.sequence);
        self.totals.datagrams += 1;
        self.totals.bytes += udp.payload.len() as u64;
        self.totals.streams_evicted += u64::from(evicted);
        if stream.has_lasted(interval) {
            self.streams.prove(&key);
        }
        key
    }

    /// Records a datagram of which fragments are missing.
    fn observe_incomplete(
        &mut self,
        key: StreamKey,
        origin: PacketOrigin,
        observed: &ObservedPacket<'_>,
        ip: &Ip<'_>,
        udp: &Udp<'_>,
    ) {
        let (now, interval) = (origin.time, self.clock.interval_of(origin.time));
        let first = datagram(key, origin, observed, ip, udp);
        let (stream, evicted) = self.streams.touch(key, || Stream::new(now, interval, &first));
        stream.observe_incomplete(now);
        self.totals.streams_evicted += u64::from(evicted);
    }
}

fn datagram<'a>(
    key: StreamKey,
    origin: PacketOrigin,
    observed: &'a ObservedPacket<'_>,
    ip: &'a Ip<'a>,
    udp: &'a Udp<'a>,
) -> Datagram<'a> {
    Datagram {
        ip,
        udp,
        group: key.group,
        length: observed.length,
        is_reassembled: observed.state == PacketState::Reassembled,
        outgoing: origin.outgoing,
        sequence_info: observed.sequence_info.as_ref(),
    }
}
