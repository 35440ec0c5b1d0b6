//! Counts of datagrams by group, interface and source.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::{Arrival, Drops, InterfaceIndex, Statistics};
use mcast_terminal::Console;
use mcast_watch::{FlowVolumes, TrafficVolume};

use super::flow_table;
use crate::output::{InterfaceNames, count, record, traffic_in};

/// The destination, interface and source of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flow {
    destination: SocketAddr,
    interface: InterfaceIndex,
    source: IpAddr,
}

/// Counts delivered datagrams.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    flows: FlowVolumes<Flow>,
    truncated: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, arrival: &Arrival) {
        self.truncated += u64::from(arrival.truncated);
        let flow = Flow {
            destination: arrival.destination,
            interface: arrival.interface,
            source: arrival.source.ip(),
        };
        self.flows.add(flow, arrival.length);
    }

    pub(crate) fn datagrams(&self) -> u64 {
        self.flows.total().count
    }

    /// Returns the bytes of payload.
    pub(crate) fn bytes(&self) -> u64 {
        self.flows.total().bytes
    }

    /// Returns the datagrams of flows beyond the maximum.
    pub(crate) fn other_datagrams(&self) -> u64 {
        self.flows.others().count
    }

    /// Prints the summary on standard error.
    pub(crate) fn print(
        &self,
        statistics: &Statistics,
        time: Duration,
        names: &mut InterfaceNames,
        console: &Console,
    ) {
        if console.is_quiet() {
            return;
        }
        let TrafficVolume { count: datagrams, bytes: volume } = self.flows.total();
        let received = traffic_in(datagrams, "datagram", volume, time, 1);
        console.note(format_args!("received {received}; {}", self.losses(statistics)));
        if !self.flows.is_empty() {
            console.note(self.table(names, console));
        }
    }

    /// Returns the counts of dropped, filtered and truncated datagrams as text.
    fn losses(&self, statistics: &Statistics) -> String {
        let mut text = format!("dropped by this machine: {}", drops_text(statistics.dropped));
        if statistics.refused > 0 {
            text += &format!("; filtered out (not joined here): {}", count(statistics.refused));
        }
        if self.truncated > 0 {
            text += &format!("; truncated: {}", count(self.truncated));
        }
        text
    }

    /// Returns the busiest flows, one line each.
    pub(crate) fn table(&self, names: &mut InterfaceNames, console: &Console) -> String {
        flow_table(&self.flows, "datagram", console, |flow| {
            [flow.destination.to_string(), names.of(flow.interface).to_string(), flow.source.to_string()]
        })
    }

    /// Returns all flows for JSON.
    pub(crate) fn flows(&self, names: &mut InterfaceNames) -> Vec<FlowSummary> {
        let flows = self.flows.busiest_first().into_iter();
        flows.map(|(flow, volume)| FlowSummary::new(&flow, volume, names)).collect()
    }

    /// Returns the summary for JSON.
    pub(crate) fn summary(
        &self,
        statistics: &Statistics,
        time: Duration,
        names: &mut InterfaceNames,
    ) -> Summary {
        Summary::new(self, statistics, time, names)
    }
}

/// Returns the number of dropped datagrams as text.
pub(crate) fn drops_text(dropped: Drops) -> String {
    match (dropped.count(), dropped.certainty()) {
        (None, _) => "unknown".into(),
        (Some(number), "exactly") | (Some(number @ 0), _) => count(number),
        (Some(number), certainty) => format!("{certainty} {}", count(number)),
    }
}

record! {
    fn new(tally: &Tally, statistics: &Statistics, time: Duration, names: &mut InterfaceNames) {}

    /// A summary as JSON: `schemas/recv-summary.json`.
    pub(crate) struct Summary {
        datagrams: u64 = tally.datagrams(),
        bytes: u64 = tally.bytes(),
        seconds: f64 = time.as_secs_f64(),
        dropped: Option<u64> = statistics.dropped.count(),
        dropped_certainty: &'static str = statistics.dropped.certainty(),
        filtered_out: u64 = statistics.refused,
        truncated: u64 = tally.truncated,
        flows: Vec<FlowSummary> = tally.flows(names),
        other_datagrams: u64 = tally.other_datagrams(),
    }
}

record! {
    fn new(flow: &Flow, volume: TrafficVolume, names: &mut InterfaceNames) {}

    pub(crate) struct FlowSummary {
        group: IpAddr = flow.destination.ip(),
        port: u16 = flow.destination.port(),
        interface: String = names.of(flow.interface).to_string(),
        source: IpAddr = flow.source,
        datagrams: u64 = volume.count,
        bytes: u64 = volume.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_shown_with_their_certainty() {
        let texts = [Drops::Unknown, Drops::Exactly(44_448), Drops::AtLeast(0), Drops::AtLeast(1_200)]
            .map(drops_text);
        assert_eq!(texts, ["unknown", "44,448", "0", "at least 1,200"]);
    }
}
