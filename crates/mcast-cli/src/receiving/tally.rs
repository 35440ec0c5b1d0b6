//! Counts of datagrams by group, interface and source.

use std::net::IpAddr;
use std::time::Duration;

use mcast::{Arrival, Drops, GroupAddr, InterfaceIndex, Statistics};
use mcast_watch::{FlowVolumes, TrafficVolume};
use serde::Serialize;

use super::flows::flow_table;
use crate::console::Console;
use crate::output::{InterfaceNames, as_text, count, traffic_in};

/// The group, interface and source of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flow {
    group: GroupAddr,
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
        let flow = Flow { group: arrival.group, interface: arrival.interface, source: arrival.source.ip() };
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
            [flow.group.to_string(), names.of(flow.interface).to_string(), flow.source.to_string()]
        })
    }

    /// Returns all flows for JSON.
    pub(crate) fn flows(&self, names: &mut InterfaceNames) -> Vec<FlowSummary> {
        let flows = self.flows.busiest_first().into_iter().map(|(flow, volume)| FlowSummary {
            group: flow.group.group,
            port: flow.group.port,
            interface: names.of(flow.interface).to_string(),
            source: flow.source,
            datagrams: volume.count,
            bytes: volume.bytes,
        });
        flows.collect()
    }

    /// Returns the summary for JSON.
    pub(crate) fn summary(
        &self,
        statistics: &Statistics,
        time: Duration,
        names: &mut InterfaceNames,
    ) -> Summary {
        Summary {
            datagrams: self.flows.total().count,
            bytes: self.flows.total().bytes,
            seconds: time.as_secs_f64(),
            dropped: statistics.dropped.count(),
            dropped_certainty: certainty(statistics.dropped),
            filtered_out: statistics.refused,
            truncated: self.truncated,
            flows: self.flows(names),
            other_datagrams: self.flows.others().count,
        }
    }
}

/// Returns the number of dropped datagrams as text.
pub(crate) fn drops_text(dropped: Drops) -> String {
    match (dropped.count(), certainty(dropped)) {
        (None, _) => "unknown".into(),
        (Some(number), "exactly") | (Some(number @ 0), _) => count(number),
        (Some(number), certainty) => format!("{certainty} {}", count(number)),
    }
}

/// Returns how exact the number of dropped datagrams is.
pub(crate) fn certainty(dropped: Drops) -> &'static str {
    match dropped {
        Drops::Unknown => "unknown",
        Drops::Exactly(_) => "exactly",
        Drops::AtLeast(_) => "at least",
        Drops::AtMost(_) => "at most",
        Drops::About(_) => "about",
    }
}

/// A summary as JSON: `schemas/recv-summary.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    datagrams: u64,
    bytes: u64,
    seconds: f64,
    dropped: Option<u64>,
    dropped_certainty: &'static str,
    filtered_out: u64,
    truncated: u64,
    flows: Vec<FlowSummary>,
    other_datagrams: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct FlowSummary {
    #[serde(serialize_with = "as_text")]
    group: mcast::Group,
    port: u16,
    interface: String,
    source: IpAddr,
    datagrams: u64,
    bytes: u64,
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
