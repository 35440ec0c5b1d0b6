//! The legs of rules that are relays of AMT, and the addresses at which gateways request what rules send.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use mcast::Arrival;
use mcast_group::SourceFilter;
use mcast_pace::ClockTime;

use super::{AmtListener, AmtReceiver, GatewaySocket};
use crate::amt::{AmtRelayName, GatewayCounts};
use crate::driver::gather::Gathered;
use crate::driver::leg::DriverLeg;
use crate::driver::receive::Readable;
use crate::driver::{AmtStatistics, Driver, DriverError, DriverEvent};
use crate::{CopyPayload, Leg, LegId, RelayOutput, Rule};

/// Addresses at which gateways are served.
pub(in crate::driver) struct AddedListeners {
    /// Those of which the sockets have been opened.
    pub(in crate::driver) added: Vec<SocketAddr>,
    /// Those that the rules do not name.
    pub(in crate::driver) unused: Vec<SocketAddr>,
}

impl Driver {
    /// Opens the sockets of a relay of AMT that is a leg.
    pub(in crate::driver) fn add_gateway(&mut self, leg: Leg, name: AmtRelayName) -> Result<(), DriverError> {
        use std::os::fd::AsFd;

        let failed = DriverError::system("open sockets for AMT");
        let id = LegId(self.legs.len() as u8);
        let rules = self.relay.rules().map(|(rule, _)| rule);
        let source = rules
            .filter(|rule| rule.legs().any(|known| *known == leg))
            .find_map(|rule| rule.traffic.sources.sources().next());
        let gateway =
            GatewaySocket::open(name, source, Arc::clone(self.registry.poller())).map_err(&failed)?;
        for socket in gateway.sockets() {
            self.registry.add(socket.as_fd(), Readable::AmtGateway(id)).map_err(&failed)?;
        }
        self.gateways.insert(id, gateway);
        self.legs.push(DriverLeg::new(leg, 0));
        // It can be used before its relay is found: that is looked for once something must be received.
        self.relay.handle_leg_up(self.now(), id, &[]);
        self.take_outputs()
    }

    /// Opens the sockets for gateways that these rules name.
    pub(in crate::driver) fn open_listeners(
        &mut self,
        rules: &[Rule],
    ) -> Result<AddedListeners, DriverError> {
        use std::os::fd::AsFd;

        let named: BTreeSet<SocketAddr> = rules.iter().flat_map(Rule::amt_addresses).collect();
        let mut opened = Vec::new();
        for address in named.iter().filter(|address| !self.listeners.contains_key(address)) {
            opened.push((*address, AmtListener::open(*address)?));
        }
        let added: Vec<SocketAddr> = opened.iter().map(|(address, _)| *address).collect();
        for (address, listener) in opened {
            let registered = self.registry.add(listener.socket.as_fd(), Readable::AmtListener(address));
            registered.map_err(DriverError::system("wait for gateways of AMT"))?;
            self.listeners.insert(address, listener);
        }
        let unused = self.listeners.keys().copied().filter(|address| !named.contains(address)).collect();
        Ok(AddedListeners { added, unused })
    }

    /// Closes the sockets at these addresses.
    pub(in crate::driver) fn close_listeners(&mut self, addresses: &[SocketAddr]) {
        for address in addresses {
            self.registry.forget(Readable::AmtListener(*address));
            self.listeners.remove(address);
        }
    }

    /// Receives what a relay of AMT has sent.
    pub(in crate::driver) fn receive_from_amt(&mut self, leg: LegId) -> Result<(), DriverError> {
        let now = self.now();
        let Some(gateway) = self.gateways.get_mut(&leg) else { return Ok(()) };
        let Some(mut batches) = self.batches.take() else { return Ok(()) };
        let batch = batches.current();
        gateway.receive(now, &mut self.buffer, |datagram, _| {
            let mut arrival = Arrival::new(datagram.group, AmtReceiver::INTERFACE, datagram.source);
            arrival.hop_limit = Some(datagram.hop_limit);
            batch.push(datagram.payload, arrival) && batch.len() < batch.capacity()
        });
        let done = self.pass_batch(leg, batch);
        self.http.pass(false);
        let received = Gathered::of(batch);
        batches.finish(self.relay.pairs().next().is_some(), &received);
        self.batches = Some(batches);
        self.serve_gateway(leg);
        done
    }

    /// Answers gateways of AMT.
    pub(in crate::driver) fn receive_from_gateways(&mut self, address: SocketAddr) {
        let now = self.now();
        let Some(listener) = self.listeners.get_mut(&address) else { return };
        if listener.receive(now, &mut self.buffer) {
            self.changed_listeners.insert(address);
        }
    }

    /// Joins at a relay of AMT what the rules and HTTP clients want, and leaves the rest.
    pub(in crate::driver) fn join_by_amt(&mut self, leg: LegId) {
        let now = self.now();
        let (Some(gateway), false) = (self.gateways.get_mut(&leg), self.is_checking) else { return };
        let mut wanted = self.legs[usize::from(leg.0)].wanted.clone();
        for (address, sources) in self.http.demand().on(leg) {
            let known = wanted.entry(address.group).or_insert(SourceFilter::NONE);
            *known = known.union(sources);
        }
        gateway.set_memberships(now, wanted);
        self.serve_gateway(leg);
    }

    /// Sends a datagram to gateways.
    pub(in crate::driver) fn encapsulate(&mut self, output: RelayOutput, received: &[u8]) {
        let RelayOutput::Encapsulate { listener: address, source, destination, hop_limit, payload } = output
        else {
            return;
        };
        let Some(listener) = self.listeners.get_mut(&address) else { return };
        let payload = match &payload {
            CopyPayload::AsReceived => received,
            CopyPayload::Other(bytes) => bytes,
        };
        if listener.send(source, destination, hop_limit, payload) {
            self.changed_listeners.insert(address);
        }
    }

    /// Does what is due for AMT.
    pub(in crate::driver) fn do_due_for_amt(&mut self) -> Result<(), DriverError> {
        let now = self.now();
        let legs: Vec<LegId> = self.gateways.keys().copied().collect();
        legs.into_iter().for_each(|leg| self.serve_gateway(leg));
        for (address, listener) in &mut self.listeners {
            if listener.do_due(now) {
                self.changed_listeners.insert(*address);
            }
        }
        while let Some(address) = self.changed_listeners.pop_first() {
            let Some(listener) = self.listeners.get(&address) else { continue };
            self.relay.set_amt_members(now, address, listener.wanted());
            self.take_outputs()?;
        }
        Ok(())
    }

    /// Returns when to call [`Self::do_due_for_amt`].
    pub(in crate::driver) fn amt_deadline(&self) -> Option<ClockTime> {
        let gateways = self.gateways.values().filter_map(GatewaySocket::deadline);
        gateways.chain(self.listeners.values().filter_map(AmtListener::deadline)).min()
    }

    /// Ends the tunnels.
    pub(in crate::driver) fn stop_amt(&mut self) {
        let now = self.now();
        self.gateways.values_mut().for_each(|gateway| gateway.stop(now));
    }

    /// Returns the counters of AMT.
    #[must_use]
    pub fn amt(&self) -> AmtStatistics {
        let mut all = AmtStatistics::default();
        for gateway in self.gateways.values() {
            let GatewayCounts { invalid_messages, from_others, fragments, invalid_data, not_joined } =
                gateway.counts();
            all.refuse("invalid-message", invalid_messages);
            all.refuse("from-others", from_others);
            all.refuse("fragment", fragments);
            all.refuse("invalid-data", invalid_data);
            all.refuse("not-joined", not_joined);
        }
        self.listeners.values().for_each(|listener| listener.add_to(&mut all));
        all
    }

    fn serve_gateway(&mut self, leg: LegId) {
        let now = self.now();
        let Some(gateway) = self.gateways.get_mut(&leg) else { return };
        let events = gateway.do_due(now);
        self.events.extend(events.into_iter().map(|event| DriverEvent::Amt { leg, event }));
    }
}
