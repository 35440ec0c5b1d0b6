//! Which groups the hosts on a leg have joined: their reports, and the queries that they answer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mcast::{Interface, InterfaceIndex};
use mcast_capture::{Capture, CaptureOptions, Filter, InterfaceQuerier};
use mcast_group::{Family, Group};
use mcast_packet::Transport;
use mcast_packet::gmp::querier::{ClockTime, QuerierSettings};
use mcast_sys::joined::{TableEntry, table};

use super::leg::{OpenLeg, usable_addresses};
use super::namespace::LegNamespace;
use super::{Driver, DriverError};
use crate::{LegId, Namespace, Relay};

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
        now: Duration,
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
            let open = || InterfaceQuerier::open(self.interface, *own, settings, ClockTime::START + now);
            self.queriers.push(namespace.run(open)??);
        }
        Ok(())
    }

    /// Passes what has arrived to the relay. A flood of reports must not delay the rest, so some may remain.
    pub(super) fn receive(
        &mut self,
        now: Duration,
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
        now: Duration,
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
            queriers.iter_mut().for_each(|querier| querier.handle(&frame, ClockTime::START + now));
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
    pub(super) fn send_due(&mut self, now: Duration) -> Result<(), DriverError> {
        for querier in &mut self.queriers {
            while let Some(event) = querier.next_event(ClockTime::START + now) {
                event?;
            }
        }
        Ok(())
    }

    /// Returns when to call [`Self::send_due`], and [`Self::receive`] if it has more.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let queries = self.queriers.iter().filter_map(|querier| querier.state().deadline);
        let queries = queries.map(|deadline| deadline.since(ClockTime::START).into());
        queries.chain(self.has_more.then_some(Duration::ZERO)).min()
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
    on_leg.filter(|entry| entry.users > open.users_of(entry.group)).map(|entry| entry.group).collect()
}
