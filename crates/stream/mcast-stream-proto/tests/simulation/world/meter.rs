//! Counts the traffic: the publisher's bytes by purpose, and the subscribers' feedback per second.

use std::collections::BTreeMap;

use mcast_stream_proto::wire::{DatagramView, Kind};

use crate::plan::SECOND;

/// The allowed burst of a configured rate, twice because the rate may be lowered and raised, and of control datagrams.
const BURST: u64 = 2 * 65_536 + 32_768;

/// Counts the traffic; of several paths, that of the first.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) data_bytes: u64,
    pub(crate) data_datagrams: u64,
    pub(crate) repair_bytes: u64,
    pub(crate) control_bytes: u64,
    pub(crate) heartbeats: u64,
    /// Data, parity, repairs and control datagrams that count against the rate.
    pub(crate) datagrams: u64,
    /// Statuses and NAKs by the second in which they were sent.
    pub(crate) feedback: BTreeMap<u64, u64>,
    /// The NAKs to the publisher among them.
    pub(crate) naks: BTreeMap<u64, u64>,
    /// Their bytes.
    pub(crate) nak_bytes: u64,
    /// NAKs to repairers.
    pub(crate) local_naks: u64,
    /// Bytes of data that subscribers have read.
    pub(crate) received_bytes: u64,
    /// The allowed bytes per second.
    rate: Option<u64>,
    /// The bytes beyond the rate, in parts of a billion, so that nothing is rounded, and when they were computed.
    excess: (u128, u64),
    /// The maximum of bytes beyond the rate.
    pub(crate) most_excess: u64,
}

impl Meter {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate, ..Self::default() }
    }

    /// Notes that another publisher starts, which has its own burst.
    pub(super) const fn start_new_publisher(&mut self) {
        self.excess.0 = 0;
    }

    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.data_bytes + self.repair_bytes + self.control_bytes
    }

    /// Returns the number of statuses and NAKs.
    pub(crate) fn all_feedback(&self) -> u64 {
        self.feedback.values().sum()
    }

    pub(super) fn data(&mut self, now: u64, length: usize) {
        self.data_bytes += length as u64;
        self.data_datagrams += 1;
        self.pass(now, length);
    }

    pub(super) fn repair(&mut self, now: u64, length: usize) {
        self.repair_bytes += length as u64;
        self.pass(now, length);
    }

    pub(super) fn control(&mut self, now: u64, bytes: &[u8]) {
        self.control_bytes += bytes.len() as u64;
        self.heartbeats +=
            u64::from(DatagramView::parse(bytes).is_ok_and(|view| view.header.kind == Kind::Heartbeat));
        // Echoes and resets reply to as many bytes, and do not count against the rate.
        let kind = DatagramView::parse(bytes).map(|view| view.header.kind);
        if !matches!(kind, Ok(Kind::Echo | Kind::Reset)) {
            self.pass(now, bytes.len());
        }
    }

    pub(super) fn feedback(&mut self, now: u64, kind: Option<Kind>, length: usize) {
        if matches!(kind, Some(Kind::Status | Kind::Nak)) {
            *self.feedback.entry(now / SECOND).or_default() += 1;
        }
        if kind == Some(Kind::Nak) {
            *self.naks.entry(now / SECOND).or_default() += 1;
            self.nak_bytes += length as u64;
        }
    }

    pub(super) fn aside(&mut self, kind: Option<Kind>) {
        self.local_naks += u64::from(kind == Some(Kind::Nak));
    }

    /// Checks the rate, with the allowed burst.
    pub(super) fn judge(&self) -> Result<(), String> {
        match self.rate.filter(|_| self.most_excess > BURST) {
            Some(rate) => Err(format!(
                "{} bytes more were sent than {rate} per second allow (limit {BURST})",
                self.most_excess
            )),
            None => Ok(()),
        }
    }

    fn pass(&mut self, now: u64, length: usize) {
        self.datagrams += 1;
        let Some(rate) = self.rate else { return };
        let (excess, at) = self.excess;
        let sunk = u128::from(now.saturating_sub(at)) * u128::from(rate);
        let excess = excess.saturating_sub(sunk) + length as u128 * u128::from(SECOND);
        self.excess = (excess, now);
        self.most_excess = self.most_excess.max((excess / u128::from(SECOND)) as u64);
    }
}
