//! Manifests: datagrams in the sequence of the data, which hold the signed digests of those before them. They keep their place
//! whether this subscriber verifies or not.

use core::net::SocketAddr;

use super::SubscriberMachine;
use super::event::BodyLocation;
use super::naks::Arrival;
use crate::ClockTime;
use crate::wire::{DatagramView, Flags, Manifest, Sequence};

impl SubscriberMachine {
    /// Handles a manifest: it has a sequence of the data, and verifies the datagrams before it.
    pub(super) fn on_manifest(
        &mut self,
        now: ClockTime,
        arrival: Arrival,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) {
        if !self.is_followed(now, from, datagram, view) {
            return;
        }
        let sequence = Sequence(view.header.sequence);
        let is_repair = view.header.flags.has(Flags::REPAIR);
        match sequence.offset_from(self.followed.base) {
            Some(ahead) if ahead >= self.followed.window.length() => {
                self.statistics.beyond += 1;
                return;
            }
            Some(_) if !self.followed.window.has(sequence) => {}
            _ => {
                self.record_repair(arrival, is_repair);
                self.statistics.copies += 1;
                self.record_arrival_path(now, arrival, false);
                return;
            }
        }
        if self.open_manifest(now, arrival, Some(from), datagram, view) {
            self.record_repair(arrival, is_repair);
            self.record_arrival_path(now, arrival, true);
        }
    }

    /// Decrypts and verifies a manifest, and applies its digests; returns whether it is genuine. One that was recovered came
    /// from nobody.
    pub(super) fn open_manifest(
        &mut self,
        now: ClockTime,
        arrival: Arrival,
        from: Option<SocketAddr>,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) -> bool {
        let Some((location, range)) = self.open(view, datagram) else { return false };
        let decrypted = core::mem::take(&mut self.decrypted);
        let body = match location {
            BodyLocation::Decrypted => decrypted.get(range),
            _ => datagram.get(range),
        };
        let body = body.unwrap_or_default();
        let is_authentic = !self.is_verifying() || self.is_authentic(now, from, view, body);
        let manifest = Manifest::read(body);
        self.statistics.malformed += u64::from(is_authentic && manifest.is_err());
        let manifest = manifest.ok().filter(|_| is_authentic);
        if let Some(manifest) = manifest {
            self.take_manifest(now, arrival, datagram, view, manifest);
        }
        let is_genuine = manifest.is_some();
        self.decrypted = decrypted;
        is_genuine
    }

    fn take_manifest(
        &mut self,
        now: ClockTime,
        arrival: Arrival,
        datagram: &[u8],
        view: &DatagramView<'_>,
        manifest: Manifest<'_>,
    ) {
        let sequence = Sequence(view.header.sequence);
        self.replace_staged(now, sequence);
        // One that was recovered was lost: it must not count as late, which would delay all requests.
        let is_repair = view.header.flags.has(Flags::REPAIR);
        self.record_arrival(now, sequence, datagram.len(), arrival.repaired_by(is_repair));
        self.keep_copy(sequence, datagram);
        self.followed.window.mark_manifest(sequence);
        self.verify_covered(now, sequence, manifest);
        self.schedule_status_after_progress();
    }
}
