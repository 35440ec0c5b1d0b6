//! What statuses show of repairs: which arrived, and at which rates repairs are sent.

use core::time::Duration;

use super::LinkRates;
use super::congestion::RateChange;
use super::credit::RepairReport;
use crate::ClockTime;
use crate::publisher::Publishing;
use crate::publisher::feedback::Reception;
use crate::publisher::members::Member;
use crate::publisher::repair_flow::RepairFlow;
use crate::wire::{Status, SubscriberId};

impl LinkRates {
    /// Notes which repairs arrived, and adapts their rate.
    pub(super) fn observe_repairs(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        status: &Status,
        reception: Reception,
        at: &mut Publishing<'_>,
    ) {
        let average = at.average_length();
        let is_on_trial = |member: &Member| member.repairs.credit.is_on_trial(now);
        let other_on_trial = at.members.iter().any(|(other, member)| other != id && is_on_trial(member));
        let subscribers = at.members.len() as u64;
        let Some(member) = at.members.get_mut(id) else { return };
        let until = match status.clock {
            0 => now - member.answer_time(),
            // As long after that heartbeat was sent as this status after it arrived.
            clock => (ClockTime(clock) + Duration::from_micros(status.held.into())).min(now),
        };
        let is_steady = reception != Reception::Interrupted;
        let report = RepairReport {
            arrived: status.repairs,
            received: status.received,
            until,
            is_steady,
            subscribers,
            average,
            round_trip: member.round_trip,
            other_on_trial,
            group_denied: at.repairs.group.pace.denied,
        };
        let RepairFlow { credit, pace, .. } = &mut member.repairs;
        let before = credit.control.rate();
        at.repairs.wake();
        let change = credit.record_report(now, report, &at.repairs.group.sent, pace);
        if credit.control.rate() != before {
            at.members.rates_are_stale = true;
        }
        if let Some(RateChange::Cleared { loss, until, immunity, certain }) = change {
            let others = at.members.iter_mut();
            others
                .for_each(|(_, member)| member.repairs.credit.control.learn(loss, until, immunity, certain));
        }
        self.pace_group_repairs(at);
    }

    /// Limits repairs to the group to the rate that the links of awaited subscribers carry.
    pub(super) fn pace_group_repairs(&mut self, at: &mut Publishing<'_>) {
        let rate = match at.context.config.has_flow_control() {
            true => self.limits(at.members).repair_rate,
            false => self.limits(at.members).repair_rate_of_all,
        };
        at.repairs.group.pace.limit(rate);
    }
}
