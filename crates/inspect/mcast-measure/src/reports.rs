//! The reports of a sender's receivers.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::wire::{ReceiverReport, SessionId, SessionMessage};

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

/// The pauses in milliseconds after which the closing message is repeated. Receivers end a session half a
/// second after the last one.
const PAUSES: [u64; 12] = [10, 20, 30, 40, 100, 200, 300, 300, 300, 300, 300, 300];
/// After this many pauses without news, all receivers have reported.
const QUIET_PAUSES: u32 = 3;

/// The latest report of each receiver of a session, in bounded memory, and when to ask for reports again.
///
/// ```
/// use mcast_measure::ReceiverReports;
/// use mcast_measure::wire::SessionId;
///
/// let mut reports = ReceiverReports::new(SessionId(7));
/// while let Some(pause) = reports.next_pause() {
///     // Send the closing message of each stream, and for this time pass what is received to `record`.
/// }
/// assert!(reports.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct ReceiverReports {
    session: SessionId,
    receivers: Vec<ReportingReceiver>,
    rejected: u64,
    foreign: u64,
    pauses: usize,
    quiet: u32,
    /// The number of receivers, and of the datagrams that they have received, at the last pause.
    known: (usize, u64),
}

impl ReceiverReports {
    /// Creates an empty collection for the reports of a session.
    #[must_use]
    pub const fn new(session: SessionId) -> Self {
        Self { session, receivers: Vec::new(), rejected: 0, foreign: 0, pauses: 0, quiet: 0, known: (0, 0) }
    }

    /// Returns how long to wait for reports after the next closing message; `None` when no more are expected:
    /// nothing was reported for long enough, or what was reported no longer changes.
    pub fn next_pause(&mut self) -> Option<Duration> {
        let known = (self.len(), self.receivers.iter().map(|receiver| receiver.report.received).sum());
        // The first call precedes the first closing message.
        self.quiet = if known == self.known && self.pauses > 0 { self.quiet + 1 } else { 0 };
        self.known = known;
        if !self.is_empty() && self.quiet >= QUIET_PAUSES {
            return None;
        }
        let pause = PAUSES.get(self.pauses)?;
        self.pauses += 1;
        Some(Duration::from_millis(*pause))
    }

    /// Records a message to the sender. What is not a report of this session is foreign.
    pub fn record(&mut self, address: IpAddr, message: &[u8]) {
        match SessionMessage::decode(message) {
            Some((header, SessionMessage::Report(report))) if header.session == self.session => {
                self.record_report(address, *report);
            }
            _ => self.foreign += 1,
        }
    }

    /// Records a report, which replaces an earlier one of the same receiver; one that arrives out of order is
    /// discarded.
    fn record_report(&mut self, address: IpAddr, report: ReceiverReport) {
        let same = |receiver: &ReportingReceiver| {
            receiver.address == address && receiver.report.receiver == report.receiver
        };
        if let Some(index) = self.receivers.iter().position(same) {
            let latest = &mut self.receivers[index].report;
            if report.number >= latest.number {
                *latest = report;
            }
        } else if self.receivers.len() < MAX_RECEIVERS {
            self.receivers.push(ReportingReceiver { address, report });
        } else {
            self.rejected += 1;
        }
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
            .max_by(|one, other| one.report.lost_percent().total_cmp(&other.report.lost_percent()))
    }

    /// Returns the loss of the worst receiver in percent; `None` without a report.
    #[must_use]
    pub fn worst_loss(&self) -> Option<f64> {
        self.worst().map(|receiver| receiver.report.lost_percent())
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

    /// Returns the number of messages that were not reports of this session.
    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Returns the number of reports from more receivers than are tracked.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MessageType, SessionHeader};

    const ID: SessionId = SessionId(3);

    fn report(receiver: u64, number: u32, lost: u64) -> Vec<u8> {
        let report = ReceiverReport { receiver, number, lost, sent: 1_000, ..ReceiverReport::default() };
        report.encode(SessionHeader::new(MessageType::Closing, ID))
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn latest_report_of_each_receiver_counts() {
        let mut reports = ReceiverReports::new(ID);
        for (last, report) in [
            (2, report(7, 1, 50)),
            (2, report(7, 3, 4)),
            (2, report(7, 2, 60)),
            (2, report(8, 1, 3)),
            (1, report(7, 1, 7)),
        ] {
            reports.record(address(last), &report);
        }
        let lost: Vec<_> = reports.sorted().iter().map(|receiver| receiver.report.lost).collect();
        assert_eq!(lost, [7, 4, 3]);
        assert_eq!(reports.worst().unwrap().address, address(1));
        // Exactly the number that a limit of 0.7 % is compared with.
        assert_eq!(reports.worst_loss(), Some(0.7));
    }

    #[test]
    fn messages_of_other_sessions_are_foreign() {
        let mut reports = ReceiverReports::new(SessionId(4));
        reports.record(address(1), &report(7, 1, 0));
        reports.record(address(1), b"hello");
        assert_eq!((reports.len(), reports.foreign()), (0, 2));
    }

    #[test]
    fn the_closing_message_is_repeated_until_reports_no_longer_change() {
        let mut reports = ReceiverReports::new(ID);
        assert_eq!(std::iter::from_fn(|| reports.next_pause()).count(), PAUSES.len(), "no receiver reports");
        let mut reports = ReceiverReports::new(ID);
        let mut pauses = 0;
        while reports.next_pause().is_some() {
            pauses += 1;
            if pauses <= 2 {
                reports.record(address(pauses), &report(7, 1, 0));
            }
        }
        assert_eq!(pauses, 2 + QUIET_PAUSES as u8);
    }

    #[test]
    fn memory_is_bounded_under_forged_receivers() {
        let mut reports = ReceiverReports::new(ID);
        (0..2_000).for_each(|receiver| reports.record(address(1), &report(receiver, 1, 0)));
        assert_eq!((reports.len(), reports.rejected()), (MAX_RECEIVERS, 2_000 - MAX_RECEIVERS as u64));
    }
}
