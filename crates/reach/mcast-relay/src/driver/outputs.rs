//! What the state machine requests, done.

use std::borrow::Cow;

use mcast_group::Family;

use super::path::{CopyRun, OutgoingCopy, PathSocket, PendingCopies, ReceivedPayload};
use super::receive::Readable;
use super::tunnels::TunnelCopy;
use super::{Driver, DriverError};
use crate::{CopyPayload, LegId, PathId, PathPort, PathSide, RelayOutput};

impl Driver {
    /// Does everything that the state machine requests, after a call that was not about a datagram.
    pub(super) fn take_outputs(&mut self) -> Result<(), DriverError> {
        let mut copies = PendingCopies::default();
        self.take_outputs_for(ReceivedPayload::default(), &mut copies)?;
        self.finish(copies)
    }

    /// Does what the state machine requests, after it was passed a datagram with this payload. Call [`Self::finish`]
    /// after the last one.
    pub(super) fn take_outputs_for<'a>(
        &mut self,
        received: ReceivedPayload<'a>,
        copies: &mut PendingCopies<'a>,
    ) -> Result<(), DriverError> {
        while let Some(output) = self.relay.poll_output() {
            match output {
                // A check joins and reports as usual, but sends nothing that others would receive.
                RelayOutput::Send { .. } | RelayOutput::OpenPath { .. } | RelayOutput::Encapsulate { .. }
                    if self.is_checking => {}
                encapsulated @ RelayOutput::Encapsulate { .. } => {
                    self.encapsulate(encapsulated, received.bytes);
                }
                RelayOutput::Send { path, source, trail, repair, destination, hop_limit, payload } => {
                    let (payload, segment) = match payload {
                        CopyPayload::AsReceived => (Cow::Borrowed(received.bytes), received.segment),
                        CopyPayload::Other(bytes) => {
                            let length = bytes.len();
                            (Cow::Owned(bytes.into()), length)
                        }
                    };
                    if let Some(leg) = self.tunnels.leg_of(path) {
                        let hop_limit = hop_limit.unwrap_or(0);
                        let copy =
                            TunnelCopy { path, source, destination, hop_limit, trail, payload, segment };
                        self.send_into_tunnel(leg, copy, repair);
                        continue;
                    }
                    copies.0.push((path, CopyRun { destination, hop_limit, payload, segment }));
                }
                RelayOutput::OpenPath { path, side, family, port } => {
                    self.open_path(path, side, family, port)?;
                }
                RelayOutput::ClosePath(path) => {
                    // Copies that were decided before still leave by it.
                    self.send(std::mem::take(copies));
                    self.tunnels.close_path(path);
                    self.paths.remove(&path);
                    self.registry.forget(Readable::Path(path));
                }
                RelayOutput::Join { leg, group, sources } => {
                    let Some(wanting) = self.legs.get_mut(usize::from(leg.0)) else { continue };
                    match sources.is_none() {
                        true => wanting.wanted.remove(&group),
                        false => wanting.wanted.insert(group, sources),
                    };
                    // Joined later, together with the others of the leg: a socket joins many groups at once.
                    self.changed.insert(leg);
                }
                RelayOutput::Announce { leg, bytes } => {
                    let open = self.legs.get(usize::from(leg.0)).and_then(|leg| leg.open.as_ref());
                    open.into_iter().for_each(|open| open.announce(&bytes));
                }
                RelayOutput::Event(event) => self.report(event),
            }
        }
        Ok(())
    }

    /// Sends the copies, and joins and leaves groups.
    pub(super) fn finish(&mut self, copies: PendingCopies<'_>) -> Result<(), DriverError> {
        self.send(copies);
        let result = self.join_changed();
        self.flush_tunnels();
        result
    }

    fn join_changed(&mut self) -> Result<(), DriverError> {
        while let Some(leg) = self.changed.pop_first() {
            let position = usize::from(leg.0);
            let Some(changed) = self.legs.get_mut(position) else { continue };
            if changed.leg.tunnel().is_some() {
                self.want_from_tunnel(leg);
                continue;
            }
            if changed.leg.amt_relay().is_some() {
                self.join_by_amt(leg);
                continue;
            }
            if let Err(error) = self.sync_joins(leg) {
                self.tolerate(position, error)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, copies: PendingCopies<'_>) {
        let mut runs = copies.0;
        // Stable: the datagrams of one sender to one group stay in order.
        runs.sort_by_key(|(path, run)| (*path, run.destination, run.hop_limit));
        let mut together = Vec::with_capacity(runs.len());
        for of_path in runs.chunk_by(|(one, _), (other, _)| one == other) {
            together.extend(of_path.iter().flat_map(|(_, run)| run.copies()));
            self.send_on(of_path[0].0, &together);
            together.clear();
        }
    }

    fn send_on(&mut self, path: PathId, copies: &[OutgoingCopy<'_>]) {
        // A path that could not be opened has been reported.
        let Some(path) = self.paths.get(&path) else {
            self.counts.unsent += copies.len() as u64;
            return;
        };
        let (outcome, side) = (path.send(copies), path.side);
        self.counts.unsent += outcome.unsent;
        if let (true, PathSide::Route(target)) = (outcome.is_unreachable, side) {
            self.relay.handle_target_failure(self.now(), target);
        }
    }

    fn open_path(
        &mut self,
        path: PathId,
        side: PathSide,
        family: Family,
        port: PathPort,
    ) -> Result<(), DriverError> {
        use std::os::fd::AsFd;

        let (namespace, interface) = match side {
            PathSide::Route(_) | PathSide::AmtGateways(_) => (0, None),
            PathSide::Leg(leg) if self.is_tunnel(leg) => {
                self.tunnels.open_path(path, leg);
                return Ok(());
            }
            PathSide::Leg(LegId(number)) => {
                let leg = &self.legs[usize::from(number)];
                (leg.namespace, leg.open.as_ref().map(|open| open.interface.index))
            }
        };
        let ports = self.ports;
        let open = || PathSocket::open(side, family, port, ports, interface);
        let failed = match self.namespaces[namespace].run(open) {
            Ok(Ok(socket)) => {
                // One that only sends is never readable.
                let added = self.registry.add(socket.socket.as_fd(), Readable::Path(path));
                added.map_err(DriverError::system("wait for replies"))?;
                self.paths.insert(path, socket);
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => std::io::ErrorKind::NotFound.into(),
        };
        let in_use = failed.kind() == std::io::ErrorKind::AddrInUse;
        self.relay.handle_path_failure(self.now(), path, in_use);
        match side {
            PathSide::Leg(leg) => {
                let error = DriverError::System { operation: "open a socket for copies", source: failed };
                self.tolerate(usize::from(leg.0), error)
            }
            PathSide::Route(_) | PathSide::AmtGateways(_) => Ok(()),
        }
    }
}
