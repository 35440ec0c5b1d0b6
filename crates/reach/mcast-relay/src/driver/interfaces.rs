//! Interfaces and namespaces that come, change and go, and the hardware addresses of boxes that also relay.

use std::net::IpAddr;
use std::time::Duration;

use mcast::interface::{Interface, Warning};
use mcast_pace::ClockTime;
use mcast_packet::MacAddress;

use super::joins::ReceivedBy;
use super::leg::{DriverLeg, MemberListener, OpenLeg, waits_for_members};
use super::namespace::LegNamespace;
use super::receive::Readable;
use super::{Driver, DriverError, DriverEvent, describe};
use crate::{Leg, LegId, Namespace, RelayEvent};

/// The time between checks whether namespaces have come, changed or gone.
const NAMESPACE_INTERVAL: Duration = Duration::from_secs(1);
/// The same while the engine of containers is being asked.
const ANSWER_INTERVAL: Duration = Duration::from_millis(50);
const CONTAINER_GONE: &str = "its container has stopped or started again";
/// Why a leg is closed that is opened again at once. One that was not open is not reported.
const REPLACED: &str = "the interface was replaced";
/// What is reported of a leg that forwards like any other, because the flag does not say what the link does.
const NOT_MULTICAST: &str = "the interface lacks the flag MULTICAST, so groups may not get through";
const WITHOUT_MULTICAST: &str = "WireGuard sends a group only to the peer whose AllowedIPs contain it: name the hosts behind \
                                 it instead (`to udp://HOST:PORT`), or run a relay at both ends, with a tunnel between \
                                 them (`to tunnel:NAME`)";

impl Driver {
    /// Opens the namespace of the relay itself, which unicast targets use even if no leg is in it.
    pub(super) fn add_own_namespace(&mut self) -> Result<(), DriverError> {
        let any = mcast_group::InterfaceSelector::Default;
        let own = LegNamespace::own(Leg { namespace: Namespace::Own, interface: any })?;
        self.namespaces.push(own);
        self.watch(0)
    }

    /// Adds the legs that the state machine has and the driver has not.
    pub(super) fn add_legs(&mut self) -> Result<(), DriverError> {
        let added: Vec<Leg> = self.relay.legs().skip(self.legs.len()).map(|(_, leg)| leg.clone()).collect();
        for leg in added {
            if let Some(name) = leg.amt_relay().cloned() {
                self.add_gateway(leg, name)?;
                continue;
            }
            let known = self.namespaces.iter().position(|known| *known.name() == leg.namespace);
            let namespace = known.unwrap_or_else(|| {
                self.namespaces.push(LegNamespace::new(leg.clone()));
                self.namespaces.len() - 1
            });
            self.legs.push(DriverLeg::new(leg, namespace));
        }
        let is_open = |position: &usize| self.namespaces[*position].watch().is_some();
        let open: Vec<usize> = (0..self.namespaces.len()).filter(is_open).collect();
        open.into_iter().try_for_each(|position| self.refresh(position))
    }

    /// Opens namespaces that have come or been replaced, and closes the legs of those that have gone.
    pub(super) fn check_namespaces(&mut self) -> Result<(), DriverError> {
        for position in 0..self.namespaces.len() {
            if !self.namespaces[position].is_outdated() {
                continue;
            }
            self.registry.forget(Readable::Interfaces(position));
            let was_open = self.namespaces[position].watch().is_some();
            self.namespaces[position].close();
            let opened = self.namespaces[position].open(&mut self.containers, self.is_starting);
            match opened {
                Ok(false) if was_open => self.close_legs_in(position, CONTAINER_GONE)?,
                Ok(false) => {}
                Err(error) if self.is_starting && error.is_permission() => return Err(error),
                Err(error) => self.close_legs_in(position, &describe(&error))?,
                Ok(true) => {
                    self.close_legs_in(position, REPLACED)?;
                    self.watch(position)?;
                    self.refresh(position)?;
                }
            }
        }
        let interval = if self.containers.is_asking() { ANSWER_INTERVAL } else { NAMESPACE_INTERVAL };
        self.next_namespace_check = self.now() + interval;
        Ok(())
    }

    /// Handles a notice about interfaces of a namespace.
    pub(super) fn interfaces_changed(&mut self, namespace: usize) -> Result<(), DriverError> {
        if let Some(watch) = self.namespaces[namespace].watch() {
            watch.wait(Some(Duration::ZERO)).map_err(DriverError::system("watch interfaces"))?;
        }
        self.refresh(namespace)
    }

    /// Adapts to the rules after they have been replaced.
    pub(super) fn follow_rules(&mut self) -> Result<(), DriverError> {
        self.name_tunnels();
        for position in 0..self.legs.len() {
            let id = LegId(position as u8);
            self.listen_to_broadcasts(id)?;
            self.listen_to_members(id)?;
            self.changed.insert(id);
        }
        self.http.rules_changed();
        self.take_outputs()
    }

    fn watch(&mut self, position: usize) -> Result<(), DriverError> {
        use std::os::fd::AsFd;

        let Some(watch) = self.namespaces[position].watch() else { return Ok(()) };
        let added = self.registry.add(watch.as_fd(), Readable::Interfaces(position));
        added.map_err(DriverError::system("watch interfaces"))
    }

    /// Opens, updates and closes the legs in a namespace.
    fn refresh(&mut self, namespace: usize) -> Result<(), DriverError> {
        let interfaces = self.namespaces[namespace].interfaces()?;
        for position in 0..self.legs.len() {
            let (leg, id) = (&self.legs[position], LegId(position as u8));
            if leg.namespace != namespace || leg.leg.amt_relay().is_some() {
                continue;
            }
            let found = leg.find(&interfaces);
            let open = leg.open.as_ref().map(|open| open.interface.clone());
            match (found.filter(|interface| interface.running), open) {
                (None, _) => self.close_leg(id, why_not(found))?,
                (Some(found), Some(open)) if found.index == open.index => {
                    if found.addresses != open.addresses {
                        self.update_leg(id, found)?;
                    } else if found.hardware_address != open.hardware_address {
                        self.note_addresses(id, found);
                    }
                }
                (Some(found), _) => {
                    self.close_leg(id, REPLACED)?;
                    self.open_leg(id, found)?;
                }
            }
        }
        Ok(())
    }

    fn open_leg(&mut self, id: LegId, interface: &Interface) -> Result<(), DriverError> {
        use std::os::fd::AsFd;

        let position = usize::from(id.0);
        if self.is_starting {
            self.check_wire(id, interface)?;
        }
        let namespace = &self.namespaces[self.legs[position].namespace];
        let open = match OpenLeg::open(id, interface, &self.relay, self.wire, namespace) {
            Ok(open) => open,
            Err(error) => return self.tolerate(position, error),
        };
        let failed = DriverError::system("wait for datagrams");
        for by in [ReceivedBy::Sockets, ReceivedBy::Wire] {
            if let Some(receiver) = open.joins.receiver(by) {
                self.registry.add(receiver.as_fd(), Readable::Groups(id, by)).map_err(&failed)?;
            }
        }
        self.legs[position].open = Some(open);
        self.legs[position].reported.clear();
        self.listen_to_broadcasts(id)?;
        self.listen_to_members(id)?;
        self.report_up(id)?;
        if interface.warnings().contains(&Warning::NotMulticast) {
            let (problem, remedy) = (NOT_MULTICAST.to_owned(), Some(WITHOUT_MULTICAST.to_owned()));
            self.events.push_back(DriverEvent::Problem { leg: id, problem, remedy });
        }
        Ok(())
    }

    fn update_leg(&mut self, id: LegId, interface: &Interface) -> Result<(), DriverError> {
        let Some(open) = &mut self.legs[usize::from(id.0)].open else { return Ok(()) };
        open.interface = interface.clone();
        self.listen_to_broadcasts(id)?;
        self.listen_to_members(id)?;
        self.report_up(id)
    }

    /// Takes another hardware address, which hosts on the link of the leg have to learn.
    fn note_addresses(&mut self, id: LegId, interface: &Interface) {
        let now = self.now();
        let Some(open) = &mut self.legs[usize::from(id.0)].open else { return };
        open.interface = interface.clone();
        open.note_addresses(now);
    }

    fn report_up(&mut self, id: LegId) -> Result<(), DriverError> {
        let now = self.now();
        let mut open = self.legs[usize::from(id.0)].open.as_mut();
        open.iter_mut().for_each(|open| open.note_addresses(now));
        let addresses = open.as_deref().map(OpenLeg::addresses).unwrap_or_default();
        let subnets = open.as_deref().map(OpenLeg::subnets).unwrap_or_default();
        self.relay.set_subnets(id, &subnets);
        self.relay.handle_leg_up(now, id, &addresses);
        self.events.push_back(DriverEvent::LegUp { leg: id, addresses });
        self.http.rules_changed();
        // An address may have made a family usable.
        self.changed.insert(id);
        self.take_outputs()
    }

    fn close_legs_in(&mut self, namespace: usize, reason: &str) -> Result<(), DriverError> {
        let legs = self.legs.iter().zip(0..).filter(|(leg, _)| leg.namespace == namespace);
        let legs: Vec<LegId> = legs.map(|(_, number)| LegId(number)).collect();
        legs.into_iter().try_for_each(|id| self.close_leg(id, reason))
    }

    fn close_leg(&mut self, id: LegId, reason: &str) -> Result<(), DriverError> {
        let leg = &mut self.legs[usize::from(id.0)];
        let was_open = leg.open.take().is_some();
        if !was_open && reason == REPLACED {
            return Ok(());
        }
        if was_open {
            leg.reported.clear();
            let groups = [ReceivedBy::Sockets, ReceivedBy::Wire].map(|by| Readable::Groups(id, by));
            for readable in groups.into_iter().chain([Readable::Broadcast(id), Readable::Members(id)]) {
                self.registry.forget(readable);
            }
            self.relay.handle_leg_down(self.now(), id);
            self.http.rules_changed();
            self.take_outputs()?;
        }
        let reason = reason.to_owned();
        if self.legs[usize::from(id.0)].reported.insert(reason.clone()) {
            self.events.push_back(DriverEvent::LegDown { leg: id, reason });
        }
        Ok(())
    }

    fn listen_to_broadcasts(&mut self, id: LegId) -> Result<(), DriverError> {
        use std::os::fd::AsFd;

        let leg = &mut self.legs[usize::from(id.0)];
        let Some(open) = &mut leg.open else { return Ok(()) };
        self.registry.forget(Readable::Broadcast(id));
        let reopened = open.reopen_broadcasts(id, &self.relay, &self.namespaces[leg.namespace]);
        for socket in &open.broadcasts {
            let added = self.registry.add(socket.as_fd(), Readable::Broadcast(id));
            added.map_err(DriverError::system("wait for datagrams"))?;
        }
        reopened.or_else(|error| self.tolerate(usize::from(id.0), error))
    }

    fn listen_to_members(&mut self, id: LegId) -> Result<(), DriverError> {
        match self.start_listener(id) {
            Err(error) => self.tolerate(usize::from(id.0), error),
            Ok(()) => Ok(()),
        }
    }

    /// Starts to receive reports on a leg if a rule waits for them, or stops if none does any more.
    fn start_listener(&mut self, id: LegId) -> Result<(), DriverError> {
        use std::os::fd::AsFd;

        let now = self.now();
        let leg = &mut self.legs[usize::from(id.0)];
        let Some(open) = &mut leg.open else { return Ok(()) };
        if !waits_for_members(&self.relay, &leg.leg) {
            self.registry.forget(Readable::Members(id));
            open.members = None;
            return Ok(());
        }
        let namespace = &self.namespaces[leg.namespace];
        let members = match &mut open.members {
            Some(members) => members,
            None => {
                let listener = MemberListener::open(open.interface.index, namespace, self.sends_queries)?;
                let added = self.registry.add(listener.capture.as_fd(), Readable::Members(id));
                added.map_err(DriverError::system("wait for reports"))?;
                open.members.insert(listener)
            }
        };
        members.start_queriers(now, &open.interface, namespace)
    }
}

const fn why_not(found: Option<&Interface>) -> &'static str {
    match found {
        None => "there is no such interface",
        Some(interface) if interface.up => "it has no carrier",
        Some(_) => "it is down",
    }
}

/// The time that the system has to resolve an address.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The time between looks at the table meanwhile.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A loop that is reported once the hardware address of its culprit is known, or cannot be found.
#[derive(Debug)]
pub(super) struct PendingLoop {
    event: RelayEvent,
    until: ClockTime,
}

impl Driver {
    /// Reports an event of the state machine; one about a loop with the hardware address.
    pub(super) fn report(&mut self, event: RelayEvent) {
        let RelayEvent::LoopFound { leg, source, mac: None, .. } = event else {
            self.events.push_back(DriverEvent::Relay(event));
            return;
        };
        if self.hardware_address(leg, source).is_none()
            && let Some(open) = self.legs.get(usize::from(leg.0)).and_then(|leg| leg.open.as_ref())
        {
            open.resolve(source);
        }
        self.loops.push(PendingLoop { event, until: self.now() + TIMEOUT });
    }

    /// Reports the loops whose culprits have been resolved, or not in time.
    pub(super) fn report_loops(&mut self, now: ClockTime) {
        for PendingLoop { mut event, until } in std::mem::take(&mut self.loops) {
            let RelayEvent::LoopFound { leg, source, ref mut mac, .. } = event else { continue };
            *mac = self.hardware_address(leg, source);
            match mac.is_some() || now >= until {
                true => self.events.push_back(DriverEvent::Relay(event)),
                false => self.loops.push(PendingLoop { event, until }),
            }
        }
    }

    fn hardware_address(&self, leg: LegId, address: IpAddr) -> Option<MacAddress> {
        let leg = self.legs.get(usize::from(leg.0))?;
        let interface = leg.open.as_ref()?.interface.index;
        let watch = self.namespaces[leg.namespace].watch()?;
        let found = watch.neighbour(interface, address).ok().flatten()?;
        Some(MacAddress(found.0))
    }
}
