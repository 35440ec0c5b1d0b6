//! What a sender's receivers told it.

use std::net::IpAddr;

use crate::wire::Report;

/// Receivers that are kept account of.
const MOST_RECEIVERS: usize = 1_024;

/// A receiver, and what it told last.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// The address that it reports from.
    pub address: IpAddr,
    /// Its last report.
    pub report: Report,
}

/// The last report of each receiver, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    receivers: Vec<Receiver>,
    turned_away: u64,
}

impl Reports {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A report came. It replaces an earlier one of the same receiver; one that was overtaken is
    /// forgotten. Says whether the receiver is a new one.
    pub fn record(&mut self, address: IpAddr, report: Report) -> bool {
        let same = |known: &Receiver| known.address == address && known.report.receiver == report.receiver;
        if let Some(place) = self.receivers.iter().position(same) {
            let known = &mut self.receivers[place].report;
            if report.number >= known.number {
                *known = report;
            }
            return false;
        }
        let has_room = self.receivers.len() < MOST_RECEIVERS;
        if has_room {
            self.receivers.push(Receiver { address, report });
        } else {
            self.turned_away += 1;
        }
        has_room
    }

    /// The receivers, by address.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Receiver> {
        let mut receivers: Vec<_> = self.receivers.iter().collect();
        receivers.sort_by_key(|receiver| (receiver.address, receiver.report.receiver));
        receivers
    }

    /// The receiver that lost most.
    #[must_use]
    pub fn worst(&self) -> Option<&Receiver> {
        self.receivers
            .iter()
            .max_by(|one, other| lost_share(&one.report).total_cmp(&lost_share(&other.report)))
    }

    /// The share that the worst receiver lost, from 0 to 1; `None` without a report.
    #[must_use]
    pub fn worst_loss(&self) -> Option<f64> {
        self.worst().map(|receiver| lost_share(&receiver.report))
    }

    /// How many receivers reported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receivers.len()
    }

    /// Whether none did.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Reports of receivers beyond the most that are kept account of.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }
}

fn lost_share(report: &Report) -> f64 {
    if report.sent == 0 { 0.0 } else { report.lost as f64 / report.sent as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(receiver: u64, number: u32, lost: u64) -> Report {
        Report { receiver, number, lost, sent: 100, ..Report::default() }
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn the_last_report_of_each_receiver_counts() {
        let mut reports = Reports::new();
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
    fn forged_receivers_take_no_more_memory_than_there_is() {
        let mut reports = Reports::new();
        (0..2_000).for_each(|receiver| {
            let _ = reports.record(address(1), report(receiver, 1, 0));
        });
        assert_eq!((reports.len(), reports.turned_away()), (MOST_RECEIVERS, 2_000 - MOST_RECEIVERS as u64));
    }
}
