//! What the kernel counts for programs that do not count for themselves.

use std::fs;

use anyhow::{Context, Result};
use mcast_lab::Host;

/// UDP counters of a host. They count calls: a train, or a merged buffer, is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// Datagrams that programs received.
    pub received: u64,
    /// Datagrams dropped because the receive buffer was full.
    pub dropped: u64,
    /// Datagrams sent.
    pub sent: u64,
}

impl UdpCounters {
    /// Reads a host's.
    ///
    /// # Errors
    /// When the table cannot be read, or is not as Linux has it.
    pub fn of(host: &Host) -> Result<Self> {
        let table = host.read_proc_net("snmp")?;
        Self::parse(&table).with_context(|| format!("the UDP counters of '{}'", host.name()))
    }

    fn parse(table: &str) -> Option<Self> {
        let mut lines = table.lines().filter_map(|line| line.strip_prefix("Udp:"));
        let (names, values) = (lines.next()?, lines.next()?);
        let of = |name: &str| {
            let place = names.split_whitespace().position(|each| each == name)?;
            values.split_whitespace().nth(place)?.parse().ok()
        };
        Some(Self { received: of("InDatagrams")?, dropped: of("RcvbufErrors")?, sent: of("OutDatagrams")? })
    }

    /// What was counted since.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            received: self.received.wrapping_sub(before.received),
            dropped: self.dropped.wrapping_sub(before.dropped),
            sent: self.sent.wrapping_sub(before.sent),
        }
    }
}

/// Processor time that a process has used so far, all its threads together, in seconds.
///
/// # Errors
/// When the process is gone.
pub(super) fn cpu_seconds(process: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task")).context("the process is gone")? {
        let statistics = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let on_cpu = statistics.split_whitespace().next();
        nanoseconds += on_cpu.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanoseconds as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let table = "Ip: Forwarding\nIp: 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\n\
                     Udp: 5 1 0 7 3\nUdpLite: InDatagrams\nUdpLite: 0\n";
        assert_eq!(UdpCounters::parse(table), Some(UdpCounters { received: 5, dropped: 3, sent: 7 }));
        assert_eq!(UdpCounters::parse("Udp: InDatagrams\nUdp: 5\n"), None);
    }
}
