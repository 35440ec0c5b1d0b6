//! The sockets of a leg: its groups, its broadcasts, its announcements, and the members on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mcast::interface::Interface;
use mcast::{InterfaceIndex, Membership, Wire};
use mcast_capture::{Capture, CaptureOptions, Filter, InterfaceQuerier};
use mcast_group::{Family, Group, GroupAddr, InterfaceSelector, SourceFilter};
use mcast_packet::gmp::querier::{ClockTime, QuerierSettings};
use mcast_packet::{MacAddress, Transport};
use mcast_sys::SendRequest;
use mcast_sys::joined::{TableEntry, table};
use mcast_sys::socket::Socket;

use super::gather::Gathering;
use super::joins::{LegJoins, rules_from};
use super::namespace::LegNamespace;
use super::path::unspecified;
use super::{Driver, DriverError};
use crate::http::HttpDemand;
use crate::neighbors::NeighborNotices;
use crate::{
    ANNOUNCEMENT_GROUPS, ANNOUNCEMENT_PORT, Leg, LegId, Namespace, Relay, Rule, RuleTarget, Selection, Subnet,
};

/// A leg of the rules.
#[derive(Debug)]
pub(super) struct DriverLeg {
    pub(super) leg: Leg,
    /// The position of its namespace.
    pub(super) namespace: usize,
    /// `None` while it is down.
    pub(super) open: Option<OpenLeg>,
    /// The groups that the state machine wants to receive.
    pub(super) wanted: BTreeMap<Group, SourceFilter>,
    /// What has been reported about it.
    pub(super) reported: BTreeSet<String>,
    pub(super) losses: Losses,
}

/// Datagrams that the system dropped.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Those of the present receiver.
    of_receiver: u64,
    /// Those that have not been reported.
    unreported: u64,
    reported_at: Option<ClockTime>,
}

/// Time between two reports of losses.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

impl Losses {
    /// Takes the total of the present receiver; returns by how much it has grown.
    pub(super) fn update(&mut self, total: u64) -> u64 {
        let before = std::mem::replace(&mut self.of_receiver, total);
        // It starts again with another receiver.
        let new = total.checked_sub(before).unwrap_or(total);
        self.unreported += new;
        new
    }

    /// Returns the number of losses to report now.
    pub(super) fn report(&mut self, now: ClockTime) -> Option<u64> {
        let is_due = self.reported_at.is_none_or(|reported| now >= reported + REPORT_INTERVAL);
        (self.unreported > 0 && is_due).then(|| {
            self.reported_at = Some(now);
            std::mem::take(&mut self.unreported)
        })
    }
}

/// The sockets of a leg that is up.
#[derive(Debug)]
pub(super) struct OpenLeg {
    pub(super) interface: Interface,
    pub(super) joins: LegJoins,
    pub(super) gathering: Gathering,
    pub(super) broadcasts: Vec<Socket>,
    announcers: Vec<(Family, Socket)>,
    pub(super) notices: NeighborNotices,
    pub(super) members: Option<MemberListener>,
}

impl DriverLeg {
    pub(super) fn new(leg: Leg, namespace: usize) -> Self {
        let (open, wanted, reported) = (None, BTreeMap::new(), BTreeSet::new());
        Self { leg, namespace, open, wanted, reported, losses: Losses::default() }
    }

    /// Returns its interface among these, if it is one of them.
    pub(super) fn find<'a>(&self, interfaces: &'a [Interface]) -> Option<&'a Interface> {
        interfaces.iter().find(|interface| match &self.leg.interface {
            InterfaceSelector::Name(name) => interface.name == *name,
            InterfaceSelector::Index(index) => interface.index == *index,
            InterfaceSelector::Address(address) => {
                interface.addresses.iter().any(|known| known.address == *address)
            }
            InterfaceSelector::Default | InterfaceSelector::All => false,
        })
    }

    /// Returns what must be received on the leg, while it is up.
    pub(super) fn wanted_memberships(
        &self,
        id: LegId,
        relay: &Relay,
        http: &HttpDemand,
    ) -> BTreeMap<GroupAddr, Membership> {
        let Some(open) = &self.open else { return BTreeMap::new() };
        let groups = self.wanted.iter().flat_map(|(group, sources)| {
            let ports = ports_of(relay, id, *group).into_iter();
            ports.map(move |port| (GroupAddr::new(*group, port), sources.clone()))
        });
        let requested = http.on(id).map(|(address, sources)| (address, sources.clone()));
        memberships(groups.chain(requested), &open.interface)
    }
}

impl OpenLeg {
    /// Opens the sockets of a leg, in its namespace.
    pub(super) fn open(
        id: LegId,
        interface: &Interface,
        relay: &Relay,
        wire: Wire,
        namespace: &LegNamespace,
    ) -> Result<Self, DriverError> {
        namespace.run(|| -> Result<Self, DriverError> {
            let failed = DriverError::system("open sockets for announcements");
            let announcers = [Family::V4, Family::V6].map(|family| Ok((family, open_announcer(family)?)));
            // A kernel may lack IPv6.
            let (announcers, mut errors) = split(announcers);
            if announcers.is_empty() {
                return Err(failed(errors.pop().unwrap_or_else(|| io::ErrorKind::Unsupported.into())));
            }
            Ok(Self {
                interface: interface.clone(),
                joins: LegJoins::open(wire)?,
                gathering: Gathering::default(),
                broadcasts: open_broadcasts(id, interface, relay)?,
                announcers,
                notices: NeighborNotices::default(),
                members: None,
            })
        })?
    }

    /// Adapts to rules or addresses that have changed.
    pub(super) fn reopen_broadcasts(
        &mut self,
        id: LegId,
        relay: &Relay,
        namespace: &LegNamespace,
    ) -> Result<(), DriverError> {
        // Without those from before: what cannot be opened is not received.
        self.broadcasts.clear();
        self.broadcasts = namespace.run(|| open_broadcasts(id, &self.interface, relay))??;
        Ok(())
    }

    /// Returns its addresses that can be used.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        usable_addresses(&self.interface)
    }

    /// Notes the addresses and the hardware address that the interface has by now, for the hosts on its link.
    pub(super) fn note_addresses(&mut self, now: ClockTime) {
        let mac = self.interface.hardware_address.map(|address| MacAddress(address.0));
        self.notices.handle_interface(now, mac, usable_addresses(&self.interface));
    }

    /// Returns the subnets of its addresses.
    pub(super) fn subnets(&self) -> Vec<Subnet> {
        let addresses = self.interface.usable_addresses();
        addresses.map(|own| Subnet { address: own.address, prefix: own.prefix }).collect()
    }

    /// Sends an announcement to both groups.
    pub(super) fn announce(&self, bytes: &[u8]) {
        for (group, family) in ANNOUNCEMENT_GROUPS.into_iter().zip([Family::V4, Family::V6]) {
            // An announcement that is lost is followed by others.
            let _ = self.send_once(family, SocketAddr::new(group, ANNOUNCEMENT_PORT), bytes);
        }
    }

    /// Makes the system resolve the hardware address of a host on the link, by sending something to it.
    pub(super) fn resolve(&self, address: IpAddr) {
        /// The port of the discard protocol (RFC 863).
        const DISCARD: u16 = 9;
        let scope = self.interface.index.number();
        let to = match address {
            IpAddr::V4(_) => SocketAddr::new(address, DISCARD),
            IpAddr::V6(address) => std::net::SocketAddrV6::new(address, DISCARD, 0, scope).into(),
        };
        // If this fails, the hardware address stays unknown.
        let _ = self.send_once(Family::of(address), to, &[]);
    }

    fn send_once(&self, family: Family, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let has_family = self.addresses().iter().any(|address| Family::of(*address) == family);
        let announcer = self.announcers.iter().find(|(known, _)| *known == family).filter(|_| has_family);
        let Some((_, socket)) = announcer else { return Ok(()) };
        socket.send(&SendRequest {
            payload,
            to,
            interface: Some(self.interface.index),
            source: None,
            hop_limit: Some(1),
            traffic_class: None,
            launch: None,
        })
    }
}

fn usable_addresses(interface: &Interface) -> Vec<IpAddr> {
    interface.usable_addresses().map(|address| address.address).collect()
}

/// Returns the memberships of a leg: the wanted groups, which may occur twice, and the groups of announcements.
fn memberships(
    wanted: impl Iterator<Item = (GroupAddr, SourceFilter)>,
    interface: &Interface,
) -> BTreeMap<GroupAddr, Membership> {
    // Without an address of IPv6, the family is disabled or not ready. IPv4 can be received without one.
    let has_ipv6 = usable_addresses(interface).iter().any(IpAddr::is_ipv6);
    let announcements = ANNOUNCEMENT_GROUPS.into_iter().filter_map(|group| Group::new(group).ok());
    let announcements =
        announcements.map(|group| (GroupAddr::new(group, ANNOUNCEMENT_PORT), SourceFilter::ANY));
    let mut groups = BTreeMap::new();
    for (address, sources) in announcements.chain(wanted) {
        let known = groups.entry(address).or_insert(SourceFilter::NONE);
        *known = known.union(&sources);
    }
    groups
        .into_iter()
        .filter(|(address, _)| has_ipv6 || address.group.family() == Family::V4)
        .map(|(address, sources)| {
            let on = InterfaceSelector::Index(interface.index);
            (address, Membership::new(address).from_sources(sources).on(on))
        })
        .collect()
}

/// Returns the ports on which the rules name a group that arrives on a leg.
fn ports_of(relay: &Relay, id: LegId, group: Group) -> BTreeSet<u16> {
    let ranges = rules_from(relay, id).flat_map(|rule| rule.traffic.ranges());
    ranges.filter(|range| range.groups.contains(group)).flat_map(|range| range.ports.clone()).collect()
}

/// Returns whether a rule sends on this leg what hosts there have joined.
pub(super) fn waits_for_members(relay: &Relay, leg: &Leg) -> bool {
    let target = RuleTarget::Leg(leg.clone());
    let waits = |rule: &Rule| {
        let is_target = rule.pairs().iter().any(|(_, to)| *to == target);
        is_target && !rule.is_always() && matches!(rule.traffic.selection, Selection::Groups(_))
    };
    relay.rules().any(|(rule, _)| waits(rule))
}

fn open_announcer(family: Family) -> io::Result<Socket> {
    let socket = Socket::open(family)?;
    socket.bind(SocketAddr::new(unspecified(family), 0))?;
    // What arrives there is not read.
    socket.only_own_memberships(true)?;
    Ok(socket)
}

/// Opens a socket for each port and broadcast address. Bound to these, they take no unicast from other programs.
fn open_broadcasts(id: LegId, interface: &Interface, relay: &Relay) -> Result<Vec<Socket>, DriverError> {
    let ports: BTreeSet<u16> = rules_from(relay, id)
        .filter_map(|rule| match rule.traffic.selection {
            Selection::Broadcast(port) => Some(port),
            Selection::Groups(_) | Selection::Playlist => None,
        })
        .collect();
    let mut addresses = BTreeSet::from([Ipv4Addr::BROADCAST]);
    addresses.extend(interface.broadcast_addresses());
    let mut sockets = Vec::new();
    let open = |address, port| {
        let socket = Socket::open(Family::V4)?;
        socket.share_port()?;
        socket.receive_details()?;
        socket.bind(SocketAddr::new(address, port)).map(|()| socket)
    };
    for port in ports {
        let what = || format!("broadcasts to port {port}");
        for address in &addresses {
            let opened = open((*address).into(), port);
            sockets.push(opened.map_err(|source| DriverError::Bind { what: what(), source })?);
        }
    }
    Ok(sockets)
}

/// Returns whether an interface index is that of a leg.
pub(super) fn is_on(open: &OpenLeg, interface: Option<InterfaceIndex>) -> bool {
    interface == Some(open.interface.index)
}

fn split<T, const N: usize>(results: [io::Result<T>; N]) -> (Vec<T>, Vec<io::Error>) {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    (values, errors)
}

/// Hosts report their memberships within this time after the start, as long as the relay waits for other relays.
const STARTUP_RESPONSE: Duration = Duration::from_secs(1);
/// The time between looks at the memberships of programs in a namespace.
const LOCAL_INTERVAL: Duration = Duration::from_millis(500);

/// Frames that are taken before others are served.
const AT_ONCE: usize = 64;

/// Receives the reports on a leg, and sends queries unless another querier does.
#[derive(Debug)]
pub(super) struct MemberListener {
    pub(super) capture: Capture,
    interface: InterfaceIndex,
    queriers: Vec<InterfaceQuerier>,
    sends_queries: bool,
    /// Whether frames may remain that have arrived.
    pub(super) has_more: bool,
}

impl MemberListener {
    pub(super) fn open(
        interface: InterfaceIndex,
        namespace: &LegNamespace,
        sends_queries: bool,
    ) -> Result<Self, DriverError> {
        // Reports are sent to groups of routers, which this host need not have joined.
        let options = CaptureOptions::on(interface).filter(Filter::Control).all_multicast(true);
        let capture = namespace.run(|| Capture::open(options))??;
        Ok(Self { capture, interface, queriers: Vec::new(), sends_queries, has_more: false })
    }

    /// Starts the queriers of families that have an address for queries by now.
    pub(super) fn start_queriers(
        &mut self,
        now: ClockTime,
        interface: &Interface,
        namespace: &LegNamespace,
    ) -> Result<(), DriverError> {
        let addresses = usable_addresses(interface);
        self.queriers.retain(|querier| addresses.contains(&querier.state().address));
        if !self.sends_queries {
            return Ok(());
        }
        for family in [Family::V4, Family::V6] {
            let is_running =
                self.queriers.iter().any(|querier| Family::of(querier.state().address) == family);
            let can_query = |address: &&IpAddr| match address {
                IpAddr::V4(_) => family == Family::V4,
                IpAddr::V6(address) => family == Family::V6 && address.is_unicast_link_local(),
            };
            let Some(own) = addresses.iter().find(can_query).filter(|_| !is_running) else { continue };
            let settings = QuerierSettings::default()
                .with_startup_response_interval(STARTUP_RESPONSE)
                .unwrap_or_default();
            let open = || InterfaceQuerier::open(self.interface, *own, settings, now);
            self.queriers.push(namespace.run(open)??);
        }
        Ok(())
    }

    /// Passes what has arrived to the relay. A flood of reports must not delay the rest, so some may remain.
    pub(super) fn receive(
        &mut self,
        now: ClockTime,
        leg: LegId,
        relay: &mut Relay,
    ) -> Result<(), DriverError> {
        let has_changed = &mut false;
        let result = self.note(now, leg, relay, has_changed);
        if *has_changed {
            relay.follow_memberships(now);
        }
        result
    }

    fn note(
        &mut self,
        now: ClockTime,
        leg: LegId,
        relay: &mut Relay,
        has_changed: &mut bool,
    ) -> Result<(), DriverError> {
        let Self { capture, queriers, has_more, .. } = self;
        *has_more = false;
        for _ in 0..AT_ONCE {
            let Some(frame) = capture.next(Some(Duration::ZERO))? else { return Ok(()) };
            // The relay's own machine is not downstream of it.
            if frame.direction.is_outgoing() {
                continue;
            }
            queriers.iter_mut().for_each(|querier| querier.handle(&frame, now));
            let packet = frame.packet();
            let (Some(ip), Some(transport)) = (packet.ip_layer(), packet.transport) else { continue };
            match transport {
                Transport::Igmp(control) if !control.checksum.is_invalid() => {
                    *has_changed |= relay.record_membership(now, leg, ip.source, &control.message);
                }
                // RFC 3810 section 5.2.
                Transport::Mld(control) if !control.checksum.is_invalid() && ip.hop_limit == 1 => {
                    *has_changed |= relay.record_membership(now, leg, ip.source, &control.message);
                }
                _ => {}
            }
        }
        // Frames may wait in the capture without its descriptor being readable.
        *has_more = true;
        Ok(())
    }

    /// Sends the queries that are due.
    pub(super) fn send_due(&mut self, now: ClockTime) -> Result<(), DriverError> {
        for querier in &mut self.queriers {
            while let Some(event) = querier.next_event(now) {
                event?;
            }
        }
        Ok(())
    }

    /// Returns when to call [`Self::send_due`], and [`Self::receive`] if it has more.
    pub(super) fn deadline(&self) -> Option<ClockTime> {
        let queries = self.queriers.iter().filter_map(|querier| querier.state().deadline);
        queries.chain(self.has_more.then_some(ClockTime::START)).min()
    }
}

impl Driver {
    /// Passes the groups that programs in other namespaces have joined. The kernel does not show their reports as
    /// received. Programs in the namespace of the relay itself can join upstream.
    pub(super) fn check_local_members(&mut self) -> Result<(), DriverError> {
        let now = self.now();
        self.next_member_check = now + LOCAL_INTERVAL;
        for position in 0..self.legs.len() {
            let leg = &self.legs[position];
            let namespace = &self.namespaces[leg.namespace];
            let Some(open) = leg.open.as_ref().filter(|open| open.members.is_some()) else { continue };
            if *namespace.name() == Namespace::Own {
                continue;
            }
            let table = namespace.run(table)?.map_err(DriverError::system("list the memberships"))?;
            self.relay.set_local_members(now, LegId(position as u8), &joined_by_others(&table, open));
        }
        self.take_outputs()
    }
}

/// Returns the groups on a leg that have more users than the relay.
fn joined_by_others(table: &[TableEntry], open: &OpenLeg) -> BTreeSet<Group> {
    let on_leg = table.iter().filter(|entry| entry.interface == open.interface.index);
    on_leg.filter(|entry| entry.users > open.joins.users_of(entry.group)).map(|entry| entry.group).collect()
}
