//! The reports of a sender's receivers.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::wire::ReceiverReport;

/// Maximum number of receivers tracked.
const MAX_RECEIVERS: usize = 1_024;

/// A receiver and its latest report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportingReceiver {
    /// The address that it reports from.
    pub address: IpAddr,
    /// Its latest report.
    pub report: ReceiverReport,
}

/// The latest report of each receiver, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct ReceiverReports {
    receivers: Vec<ReportingReceiver>,
    rejected: u64,
}

impl ReceiverReports {
    /// Creates an empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a report, which replaces an earlier one of the same receiver; one that arrives out of order is
    /// discarded. Returns whether the receiver is new.
    pub fn record(&mut self, address: IpAddr, report: ReceiverReport) -> bool {
        let same = |receiver: &ReportingReceiver| {
            receiver.address == address && receiver.report.receiver == report.receiver
        };
        if let Some(index) = self.receivers.iter().position(same) {
            let latest = &mut self.receivers[index].report;
            if report.number >= latest.number {
                *latest = report;
            }
            return false;
        }
        let has_room = self.receivers.len() < MAX_RECEIVERS;
        if has_room {
            self.receivers.push(ReportingReceiver { address, report });
        } else {
            self.rejected += 1;
        }
        has_room
    }

    /// Returns the receivers, sorted by address.
    #[must_use]
    pub fn sorted(&self) -> Vec<&ReportingReceiver> {
        let mut receivers: Vec<_> = self.receivers.iter().collect();
        receivers.sort_by_key(|receiver| (receiver.address, receiver.report.receiver));
        receivers
    }

    /// Returns the receiver with the highest loss.
    #[must_use]
    pub fn worst(&self) -> Option<&ReportingReceiver> {
        self.receivers
            .iter()
            .max_by(|one, other| lost_share(&one.report).total_cmp(&lost_share(&other.report)))
    }

    /// Returns the loss of the worst receiver, from 0 to 1; `None` without a report.
    #[must_use]
    pub fn worst_loss(&self) -> Option<f64> {
        self.worst().map(|receiver| lost_share(&receiver.report))
    }

    /// Returns the number of receivers that have reported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receivers.len()
    }

    /// Returns whether no receiver has reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Returns the number of reports from more receivers than are tracked.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }
}

fn lost_share(report: &ReceiverReport) -> f64 {
    if report.sent == 0 { 0.0 } else { report.lost as f64 / report.sent as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(receiver: u64, number: u32, lost: u64) -> ReceiverReport {
        ReceiverReport { receiver, number, lost, sent: 100, ..ReceiverReport::default() }
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn latest_report_of_each_receiver_counts() {
        let mut reports = ReceiverReports::new();
        assert!(reports.record(address(2), report(7, 1, 50)));
        assert!(!reports.record(address(2), report(7, 3, 4)));
        assert!(!reports.record(address(2), report(7, 2, 60)));
        assert!(reports.record(address(2), report(8, 1, 3)));
        assert!(reports.record(address(1), report(7, 1, 5)));
        let lost: Vec<_> = reports.sorted().iter().map(|receiver| receiver.report.lost).collect();
        assert_eq!(lost, [5, 4, 3]);
        assert_eq!(reports.worst().unwrap().address, address(1));
        assert_eq!(reports.worst_loss(), Some(0.05));
    }

    #[test]
    fn memory_is_bounded_under_forged_receivers() {
        let mut reports = ReceiverReports::new();
        (0..2_000).for_each(|receiver| {
            let _ = reports.record(address(1), report(receiver, 1, 0));
        });
        assert_eq!((reports.len(), reports.rejected()), (MAX_RECEIVERS, 2_000 - MAX_RECEIVERS as u64));
    }
}
