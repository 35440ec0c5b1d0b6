//! Scheduler: what is sent next, and when.
//!
//! Input: requests of subscribers, and what was sent. Output, in this order: control datagrams that are written; repairs that
//! their allowances and the rate admit, with confirmations of those that are coming; the heartbeat that is due; parity for what
//! was sent, which new data waits for; and new data, as far as the audience has room and the pacer admits it. The manifests of
//! a publisher that signs are data: the intake puts them into the ring.
//!
//! Promises: repairs to one subscriber do not delay those to another; a repair is the original datagram but for its flags; one
//! that several subscribers need is sent once, to the group; beside new data, repairs keep to their share of it, but for a floor;
//! while repairs to the group wait, confirmations list them, so that others do not request them; and a request from an address
//! that is not proven causes no more bytes than it has.

use core::time::Duration;

use super::config::PublisherConfig;
use super::directory::RepairerDirectory;
use super::heartbeats::HeartbeatSchedule;
use super::members::Members;
use super::pacing::Pacer;
use super::parity::ParitySchedule;
use super::repair_scheduler::{ConfirmationSchedule, RepairScheduler};
use super::ring::{Repair, Ring};
use crate::ClockTime;
use crate::outbox::Outbox;
use crate::times::publisher::MAX_PAUSE;

/// The queues and schedules of what is sent beside new data.
pub(super) struct Scheduler {
    /// Control datagrams that are written.
    pub(super) outbox: Outbox,
    pub(super) repairs: RepairScheduler,
    pub(super) confirmations: ConfirmationSchedule,
    pub(super) heartbeats: HeartbeatSchedule,
    pub(super) directory: RepairerDirectory,
    pub(super) parity: ParitySchedule,
    /// When data was last sent, and when that began again after a pause.
    data_sent_at: ClockTime,
    pub(super) data_resumed_at: ClockTime,
}

impl Scheduler {
    pub(super) fn new(config: &PublisherConfig, now: ClockTime) -> Self {
        Self {
            outbox: Outbox::new(config.parity_datagram()),
            repairs: RepairScheduler::new(config, now),
            confirmations: ConfirmationSchedule::new(now),
            heartbeats: HeartbeatSchedule::new(now, config.idle_interval),
            directory: RepairerDirectory::new(config.seed, now),
            parity: ParitySchedule::new(config),
            data_sent_at: now,
            data_resumed_at: now,
        }
    }

    /// Returns the next repair that the rate and the allowances admit.
    pub(super) fn next_repair(
        &mut self,
        now: ClockTime,
        members: &mut Members,
        ring: &Ring,
        pacer: &mut Pacer,
    ) -> Option<Repair> {
        self.repairs.next(now, members, ring, &self.parity, pacer)
    }

    /// Returns whether repairs to the group wait that must be confirmed now, after this many bytes of repairs: others must not
    /// request them meanwhile.
    pub(super) fn must_confirm(
        &mut self,
        now: ClockTime,
        members: &Members,
        ring: &Ring,
        repair_bytes: u64,
    ) -> bool {
        let waits = self.repairs.next_time() != ClockTime::NEVER && members.len() > 1;
        if !waits || !self.confirmations.is_due_while_waiting(now, repair_bytes) {
            return false;
        }
        if self.repairs.coming(members, ring).is_empty() {
            self.confirmations.postpone(now);
            return false;
        }
        true
    }

    /// Notes that this many bytes of new data were sent.
    #[inline]
    pub(super) fn record_data(
        &mut self,
        now: ClockTime,
        bytes: u64,
        round_trip: Duration,
        spacing: Duration,
    ) {
        if now.since(self.data_sent_at) > MAX_PAUSE {
            self.data_resumed_at = now;
        }
        self.data_sent_at = now;
        self.repairs.record_data(bytes);
        self.heartbeats.record_data(now, round_trip, spacing);
    }

    /// Returns when a heartbeat, a confirmation or a repair is due.
    pub(super) fn deadline(&self) -> ClockTime {
        self.heartbeats.at().min(self.confirmations.deadline()).min(self.repairs.next_time())
    }
}
