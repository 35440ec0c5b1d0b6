//! Groups with traffic, and groups with members.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::Group;
use mcast_packet::Transport;
use mcast_packet::gmp::{Address, GmpMessage};

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource,
};
use super::registry::Registry;
use super::{DiscoveryDatagram, DiscoveryPacket, Observer, OwnMemberships};
use crate::clock::Time;
use crate::lru::Lru;
use crate::members::{Interest, Lifetimes};
use crate::origin::PacketOrigin;

/// Watches groups.
#[derive(Debug)]
pub(super) struct GroupObserver {
    groups: Lru<(DiscoveryPlace, IpAddr), GroupState>,
    lifetimes: Lifetimes,
    /// When the lifetimes of all groups are shortened, because a querier has stated shorter ones.
    due: Option<Time>,
}

/// What is known of one group.
#[derive(Debug)]
struct GroupState {
    /// The senders with the port that they send to, and when the latest datagram was recorded.
    senders: BTreeMap<(IpAddr, u16), Time>,
    /// The hosts with the time of their latest report, and what they want.
    members: BTreeMap<IpAddr, (Time, Interest)>,
    first_seen: Time,
    announced: Option<Time>,
}

impl GroupObserver {
    const MAX_GROUPS: usize = 2_000;
    /// Of more, these are listed.
    const MAX_SENDERS: usize = 16;
    const MAX_MEMBERS: usize = 16;
    /// The sources that are retained of a member, which leaves when it blocks all of them.
    const MAX_SOURCES: usize = 8;
    /// A group is announced to the registry no more often, whatever its rate.
    const REPEAT: Duration = Duration::from_secs(1);
    /// A sender without datagrams for this time has ended.
    const SENDER: Duration = Duration::from_secs(10);

    pub(super) fn new() -> Self {
        Self { groups: Lru::new(Self::MAX_GROUPS), lifetimes: Lifetimes::new(), due: None }
    }

    fn group(&mut self, now: Time, place: DiscoveryPlace, group: IpAddr) -> &mut GroupState {
        let new = || GroupState {
            senders: BTreeMap::new(),
            members: BTreeMap::new(),
            first_seen: now,
            announced: None,
        };
        self.groups.touch((place, group), new).0
    }

    fn record_members<A: Address>(
        &mut self,
        now: Time,
        packet: &DiscoveryPacket<'_>,
        host: IpAddr,
        message: &GmpMessage<'_, A>,
        registry: &mut Registry,
    ) {
        let place = packet.place;
        let origin = PacketOrigin {
            time: now,
            interface: place.interface,
            vlan: place.vlan,
            source: host,
            outgoing: packet.outgoing,
        };
        let lapse = |lifetimes: &Lifetimes| lifetimes.lapse(place, host, now);
        let before = lapse(&self.lifetimes);
        self.lifetimes.observe(origin, message);
        if lapse(&self.lifetimes) < before {
            // Once for all that arrive by then, because any host can send queries.
            self.due.get_or_insert_with(|| now.after(Self::REPEAT));
        }
        Interest::changes(message, |group, change| {
            let group = group.into();
            let known = self.groups.get(&(place, group));
            let before = known.and_then(|state| state.members.get(&host)).map(|(_, interest)| interest);
            let (was_member, interest) = (before.is_some(), change(before));
            let is_member = !interest.is_none();
            if Group::new(group).is_err() || (!is_member && known.is_none()) {
                return;
            }
            let state = self.group(now, place, group);
            if is_member && (was_member || state.members.len() < Self::MAX_MEMBERS) {
                state.members.insert(host, (now, interest.limited(Self::MAX_SOURCES)));
            } else {
                state.members.remove(&host);
            }
            if was_member != is_member {
                state.announced = None;
            }
            self.announce(now, place, group, host, registry);
        });
    }

    /// Announces a group with what is known of it, unless that was just done.
    fn announce(
        &mut self,
        now: Time,
        place: DiscoveryPlace,
        group: IpAddr,
        source: IpAddr,
        registry: &mut Registry,
    ) {
        let Some(state) = self.groups.get_mut(&(place, group)) else { return };
        if state.announced.is_some_and(|announced| now.since(announced) < Self::REPEAT) {
            return;
        }
        state.announced = Some(now);
        let lifetimes = &self.lifetimes;
        state.senders.retain(|_, latest| now.since(*latest) < Self::SENDER);
        state.members.retain(|_, (latest, _)| now < lifetimes.lapse(place, group, *latest));
        let key = discovery_key(place, group);
        let source = DiscoverySource::Ip(SocketAddr::new(source, 0));
        let Some(expires) = state.expires((place, group), &registry.own, lifetimes) else {
            // The last member has left; nobody else states that.
            registry.depart(&key, super::DepartureReason::Goodbye);
            // What this process has joined, others may join later.
            if state.members.is_empty() {
                self.groups.remove(&(place, group));
            }
            return;
        };
        let mut announced = Discovered::new(key, DiscoveredKind::Group, source, now);
        announced.addresses = vec![group];
        announced.port = state.senders.keys().next().map(|(_, port)| *port);
        announced.expires = Some(expires);
        for (sender, port) in state.senders.keys() {
            announced.add("sender", format_args!("{sender} to port {port}"));
        }
        for (member, _) in state.members((place, group), &registry.own) {
            announced.add("member", member);
        }
        let is_lasting = now.since(state.first_seen) >= Registry::LASTING;
        registry.announce(now, announced);
        if is_lasting {
            self.groups.prove(&(place, group));
        }
    }
}

impl GroupState {
    /// Returns the members that are not explained by what this process has joined, with the time of their latest report.
    fn members<'a>(
        &'a self,
        (place, group): (DiscoveryPlace, IpAddr),
        own: &'a OwnMemberships,
    ) -> impl Iterator<Item = (IpAddr, Time)> + 'a {
        let members = self.members.iter().map(|(host, (latest, _))| (*host, *latest));
        members.filter(move |(host, _)| !own.explain(place, group, *host))
    }

    /// Returns when its last sender and its last member have lapsed.
    fn expires(
        &self,
        key: (DiscoveryPlace, IpAddr),
        own: &OwnMemberships,
        lifetimes: &Lifetimes,
    ) -> Option<Time> {
        let members = self.members(key, own).map(|(_, latest)| lifetimes.lapse(key.0, key.1, latest));
        members.chain(self.senders.values().map(|latest| latest.after(GroupObserver::SENDER))).max()
    }
}

impl Observer for GroupObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let group = datagram.destination.ip();
        if !group.is_multicast()
            || (datagram.outgoing && registry.questions.contain(datagram.destination, datagram.payload))
        {
            return;
        }
        let source = datagram.source.ip();
        let state = self.group(now, datagram.place, group);
        let sender = (source, datagram.destination.port());
        if let Some(latest) = state.senders.get_mut(&sender) {
            *latest = now;
        } else if state.senders.len() < Self::MAX_SENDERS {
            state.senders.insert(sender, now);
            state.announced = None;
        }
        self.announce(now, datagram.place, group, source, registry);
    }

    fn handle_packet(&mut self, now: Time, packet: &DiscoveryPacket<'_>, registry: &mut Registry) {
        let Some(ip) = packet.packet.ip_layer() else { return };
        match &packet.packet.transport {
            Some(Transport::Igmp(control)) if !control.checksum.is_invalid() => {
                self.record_members(now, packet, ip.source, &control.message, registry);
            }
            Some(Transport::Mld(control)) if !control.checksum.is_invalid() && ip.hop_limit == 1 => {
                self.record_members(now, packet, ip.source, &control.message, registry);
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// Shortens lifetimes. Lists the groups of this process that others on this machine have joined since, and removes those that they
    /// have left: the system reports neither.
    fn handle_timeout(&mut self, now: Time, registry: &mut Registry) {
        if self.due.take_if(|due| *due <= now).is_some() {
            for (key, state) in self.groups.iter() {
                if let Some(expires) = state.expires(*key, &registry.own, &self.lifetimes) {
                    registry.end_by(&discovery_key(key.0, key.1), expires);
                }
            }
        }
        if !std::mem::take(&mut registry.is_own_new) {
            return;
        }
        let own = &registry.own;
        let reported = self.groups.iter().filter(|((_, group), _)| own.groups.contains(group));
        let reported: Vec<_> = reported
            .filter_map(|(key, state)| {
                let mut hosts = state.members.keys();
                Some((*key, *hosts.find(|host| own.addresses.contains(*host))?))
            })
            .collect();
        for ((place, group), host) in reported {
            if let Some(state) = self.groups.get_mut(&(place, group)) {
                state.announced = None;
            }
            self.announce(now, place, group, host, registry);
        }
    }
}

fn discovery_key(place: DiscoveryPlace, group: IpAddr) -> DiscoveryKey {
    DiscoveryKey { protocol: DiscoveryProtocol::Traffic, place, id: group.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, place};
    use super::*;
    use mcast_packet::{InternetChecksum, protocol};

    const TRAFFIC: DiscoveryProtocol = DiscoveryProtocol::Traffic;

    fn report(bench: &mut Bench, last: u8, kind: u8) {
        let mut bytes = vec![kind, 0, 0, 0, 239, 1, 2, 3];
        let sum = InternetChecksum::new().bytes(&bytes).finish();
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bench.packet(protocol::IGMP, [10, 0, 0, last], [239, 1, 2, 3], &bytes);
    }

    #[test]
    fn group_is_listed_with_its_senders_and_members() {
        let mut bench = Bench::new();
        report(&mut bench, 9, 0x16);
        for _ in 0..50 {
            bench.datagram("10.0.0.1:4000", "239.1.2.3:5000", b"data");
            bench.wait(0.1);
        }
        let group = bench.only(TRAFFIC);
        assert_eq!((group.name.to_string(), group.port), ("239.1.2.3".into(), Some(5000)));
        assert_eq!(
            (group.value("sender"), group.value("member")),
            ("10.0.0.1 to port 5000".into(), "10.0.0.9".into())
        );
        // Of fifty datagrams, one per second is recorded.
        assert!(group.announcements <= 7, "{}", group.announcements);
        report(&mut bench, 9, 0x17);
        assert_eq!(bench.only(TRAFFIC).values("member"), [""; 0]);
        bench.wait(10.1);
        assert_eq!(bench.names(TRAFFIC).len(), 0);
    }

    #[test]
    fn group_without_senders_ends_with_its_last_member() {
        let mut bench = Bench::new();
        report(&mut bench, 9, 0x16);
        report(&mut bench, 8, 0x16);
        assert_eq!(bench.only(TRAFFIC).values("member"), ["10.0.0.8", "10.0.0.9"]);
        report(&mut bench, 9, 0x17);
        report(&mut bench, 8, 0x17);
        assert_eq!(bench.names(TRAFFIC).len(), 0);
        // A leave of a group that is not known creates nothing.
        report(&mut bench, 8, 0x17);
        assert_eq!(bench.names(TRAFFIC).len(), 0);
    }

    /// Passes a report of version 3 by a host with a record of this kind, with as many sources.
    fn record(bench: &mut Bench, last: u8, kind: u8, sources: std::ops::Range<u8>) {
        let mut bytes = vec![0x22, 0, 0, 0, 0, 0, 0, 1, kind, 0, 0, sources.len() as u8, 232, 1, 2, 3];
        sources.for_each(|source| bytes.extend([10, 9, 9, source]));
        let sum = InternetChecksum::new().bytes(&bytes).finish();
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bench.packet(protocol::IGMP, [10, 0, 0, last], [224, 0, 0, 22], &bytes);
    }

    #[test]
    fn member_of_a_source_leaves_when_it_blocks_the_last_one() {
        const INCLUDE: u8 = 1;
        const ALLOW: u8 = 5;
        const BLOCK: u8 = 6;
        let mut bench = Bench::new();
        let members = |bench: &Bench| bench.of(TRAFFIC).flat_map(|group| group.values("member")).count();
        for (kind, sources, expected) in [
            (BLOCK, 0..1, 0),
            (ALLOW, 0..1, 1),
            (ALLOW, 1..2, 1),
            (BLOCK, 0..1, 1),
            (BLOCK, 1..2, 0),
            (INCLUDE, 0..3, 1),
            (INCLUDE, 0..0, 0),
            (ALLOW, 0..100, 1),
            (BLOCK, 0..100, 0),
        ] {
            record(&mut bench, 9, kind, sources.clone());
            assert_eq!(members(&bench), expected, "{kind} {sources:?}");
        }
        // More hosts than are listed.
        (1..60).for_each(|host| record(&mut bench, host, ALLOW, 0..1));
        assert_eq!(members(&bench), GroupObserver::MAX_MEMBERS);
        record(&mut bench, 1, BLOCK, 0..1);
        assert_eq!(members(&bench), GroupObserver::MAX_MEMBERS - 1);
        record(&mut bench, 59, INCLUDE, 0..1);
        assert_eq!(members(&bench), GroupObserver::MAX_MEMBERS);
    }

    /// Passes a general query of version 3 that states this interval in seconds.
    fn query(bench: &mut Bench, interval: u8) {
        let mut bytes = vec![0x11, 10, 0, 0, 0, 0, 0, 0, 2, interval, 0, 0];
        let sum = InternetChecksum::new().bytes(&bytes).finish();
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bench.packet(protocol::IGMP, [10, 0, 0, 1], [224, 0, 0, 1], &bytes);
    }

    #[test]
    fn member_reported_before_the_first_query_is_kept_as_long_as_the_querier_keeps_it() {
        let mut bench = Bench::new();
        report(&mut bench, 9, 0x12);
        bench.wait(100.0);
        assert_eq!(bench.only(TRAFFIC).values("member"), ["10.0.0.9"]);
        // Two intervals of 5 s, and 1 s to respond.
        query(&mut bench, 5);
        for _ in 0..9 {
            bench.wait(1.0);
            assert_eq!(bench.only(TRAFFIC).values("member"), ["10.0.0.9"]);
        }
        report(&mut bench, 9, 0x12);
        bench.wait(10.9);
        assert_eq!(bench.events(TRAFFIC), "A");
        bench.wait(0.2);
        assert_eq!(bench.events(TRAFFIC), "D");
        // Traffic does not prolong a membership.
        report(&mut bench, 9, 0x12);
        bench.wait(5.0);
        bench.datagram("10.0.0.1:4000", "239.1.2.3:5000", b"data");
        bench.wait(9.9);
        assert_eq!(bench.events(TRAFFIC), "AC");
        bench.wait(0.2);
        assert_eq!(bench.events(TRAFFIC), "D");
        // One that does not answer the query departs.
        query(&mut bench, 200);
        report(&mut bench, 9, 0x12);
        query(&mut bench, 5);
        bench.wait(1.1);
        bench.wait(10.0);
        assert_eq!(bench.events(TRAFFIC), "AD");
    }

    #[test]
    fn group_of_this_process_is_listed_when_another_program_of_the_machine_has_joined_it() {
        let mut bench = Bench::new();
        let group: IpAddr = "239.1.2.3".parse().unwrap();
        let mut own = OwnMemberships {
            groups: [group].into(),
            addresses: ["10.0.0.9".parse().unwrap()].into(),
            ..OwnMemberships::default()
        };
        bench.table.set_own_memberships(own.clone());
        report(&mut bench, 9, 0x16);
        assert_eq!(bench.events(TRAFFIC), "");
        // The system does not report that a second program joins, nor that it leaves.
        own.shared.insert((place().interface, group));
        bench.table.set_own_memberships(own.clone());
        bench.wait(1.0);
        assert_eq!(bench.only(TRAFFIC).values("member"), ["10.0.0.9"]);
        own.shared.clear();
        bench.table.set_own_memberships(own);
        bench.wait(1.0);
        assert_eq!(bench.events(TRAFFIC), "AD");
        // Another host is a member of its own.
        report(&mut bench, 8, 0x16);
        assert_eq!(bench.only(TRAFFIC).values("member"), ["10.0.0.8"]);
    }

    #[test]
    fn own_questions_are_not_traffic() {
        let mut bench = Bench::new();
        bench.table.ask(bench.now);
        let questions: Vec<_> = std::iter::from_fn(|| bench.table.poll_transmit(bench.now)).collect();
        let to_group = questions.iter().filter(|question| question.destination.ip().is_multicast());
        bench.outgoing = true;
        for question in to_group.clone() {
            let from = SocketAddr::new("10.0.0.9".parse().unwrap(), question.source_port().unwrap_or(40_000));
            bench.datagram(&from.to_string(), &question.destination.to_string(), &question.payload);
        }
        assert_eq!(bench.names(TRAFFIC), [""; 0]);
        assert!(to_group.count() > 5);
        // Another program of this machine asks something else, and another host the same.
        bench.datagram("10.0.0.9:5353", "224.0.0.251:5353", &[0; 12]);
        bench.outgoing = false;
        let same =
            questions.iter().find(|question| question.destination.ip().to_string() == "239.255.255.250");
        bench.datagram("10.0.0.8:40000", "239.255.255.250:1900", &same.unwrap().payload);
        assert_eq!(bench.names(TRAFFIC), ["224.0.0.251", "239.255.255.250"]);
    }

    #[test]
    fn flood_of_groups_and_senders_is_bounded_and_leaves_a_lasting_group() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            bench.datagram("10.0.0.1:4000", "239.1.2.3:5000", b"data");
            bench.wait(1.1);
        }
        for number in 0..10_000_u32 {
            let [_, a, b, c] = number.to_be_bytes();
            bench.datagram("10.0.0.66:4000", &format!("239.{a}.{b}.{c}:5000"), b"flood");
            bench.datagram(&format!("10.{a}.{b}.{c}:4000"), "239.200.0.1:5000", b"flood");
        }
        let names = bench.names(TRAFFIC);
        assert!(names.len() <= 2_000 && names.contains(&"239.1.2.3".into()), "{}", names.len());
        bench.wait(1.1);
        bench.datagram("10.0.0.66:4000", "239.200.0.1:5000", b"flood");
        let senders = bench.of(TRAFFIC).map(|group| group.fields.len()).max();
        assert_eq!(senders, Some(16));
    }
}
