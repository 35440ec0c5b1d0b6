//! Counts of datagrams by group, interface and source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use mcast::{Arrival, Drops, GroupAddr, InterfaceIndex, Statistics};
use serde::Serialize;

use crate::console::Console;
use crate::output::{
    Cell, InterfaceNames, Palette, Table, as_text, bits_per_second, bytes, count, count_of,
    datagrams_per_second, seconds,
};

/// The maximum number of flows, because sources can be forged; further ones are counted as one.
const MAX_FLOWS: usize = 10_000;
/// Flows shown in a summary without `-v`.
const SHOWN: usize = 20;

/// The group, interface and source of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flow {
    group: GroupAddr,
    interface: InterfaceIndex,
    source: IpAddr,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Volume {
    datagrams: u64,
    bytes: u64,
}

impl Volume {
    fn add(&mut self, length: usize) {
        self.datagrams += 1;
        self.bytes += length as u64;
    }
}

/// Counts delivered datagrams.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    total: Volume,
    truncated: u64,
    flows: HashMap<Flow, Volume>,
    /// The counts of flows beyond the maximum.
    others: Volume,
}

impl Tally {
    pub(crate) fn add(&mut self, arrival: &Arrival) {
        self.total.add(arrival.length);
        self.truncated += u64::from(arrival.truncated);
        let flow = Flow { group: arrival.group, interface: arrival.interface, source: arrival.source.ip() };
        let has_room = self.flows.len() < MAX_FLOWS;
        match self.flows.get_mut(&flow) {
            Some(volume) => volume.add(arrival.length),
            None if has_room => self.flows.entry(flow).or_default().add(arrival.length),
            None => self.others.add(arrival.length),
        }
    }

    pub(crate) fn datagrams(&self) -> u64 {
        self.total.datagrams
    }

    /// Returns the bytes of payload.
    pub(crate) fn bytes(&self) -> u64 {
        self.total.bytes
    }

    /// Returns the datagrams of flows beyond the maximum.
    pub(crate) fn other_datagrams(&self) -> u64 {
        self.others.datagrams
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
        let Volume { datagrams, bytes: volume } = self.total;
        let rates = [datagrams_per_second(datagrams, time), bits_per_second(volume, time)];
        let rates = match datagrams {
            0 => String::new(),
            _ => format!(" ({})", rates.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        };
        console.note(format_args!(
            "received {}, {} in {}{rates}; {}",
            count_of(datagrams, "datagram"),
            bytes(volume),
            seconds(time),
            self.losses(statistics)
        ));
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
        let Palette { heading, group, interface, address, .. } = *console.palette_for_notes();
        let mut table = Table::new(&["  group", "interface", "source", "datagrams", "bytes"], heading);
        let flows = self.sorted();
        let shown = if console.is_verbose() { flows.len() } else { SHOWN };
        for (flow, volume) in flows.iter().take(shown) {
            table.row([
                Cell::new(format!("  {}", flow.group)).style(group),
                Cell::new(&*names.of(flow.interface)).style(interface),
                Cell::new(flow.source.to_string()).style(address),
                Cell::new(count(volume.datagrams)).right(),
                Cell::new(count(volume.bytes)).right(),
            ]);
        }
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = table.write(&mut text);
        let mut text = String::from_utf8_lossy(&text).trim_end().to_owned();
        if flows.len() > shown {
            text += &format!("\n  and {} more (-v shows them)", count((flows.len() - shown) as u64));
        }
        if self.others.datagrams > 0 {
            text += &format!("\n  and {} from further sources", count_of(self.others.datagrams, "datagram"));
        }
        text
    }

    /// Returns the flows, the busiest first.
    fn sorted(&self) -> Vec<(Flow, Volume)> {
        let mut flows: Vec<_> = self.flows.iter().map(|(flow, volume)| (*flow, *volume)).collect();
        flows.sort_by_key(|(flow, volume)| (std::cmp::Reverse(volume.datagrams), *flow));
        flows
    }

    /// Returns all flows for JSON.
    pub(crate) fn flows(&self, names: &mut InterfaceNames) -> Vec<FlowSummary> {
        let flows = self.sorted().into_iter().map(|(flow, volume)| FlowSummary {
            group: flow.group.group,
            port: flow.group.port,
            interface: names.of(flow.interface).to_string(),
            source: flow.source,
            datagrams: volume.datagrams,
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
            datagrams: self.total.datagrams,
            bytes: self.total.bytes,
            seconds: time.as_secs_f64(),
            dropped: statistics.dropped.count(),
            dropped_is: certainty(statistics.dropped),
            refused: statistics.refused,
            truncated: self.truncated,
            flows: self.flows(names),
            other_datagrams: self.others.datagrams,
        }
    }
}

/// Returns the number of dropped datagrams as text.
pub(crate) fn drops_text(dropped: Drops) -> String {
    match (dropped.count(), certainty(dropped)) {
        (None, _) => "unknown".into(),
        (Some(number), "exact") | (Some(number @ 0), _) => count(number),
        (Some(number), certainty) => format!("{certainty} {}", count(number)),
    }
}

/// Returns how exact the number of dropped datagrams is.
pub(crate) fn certainty(dropped: Drops) -> &'static str {
    match dropped {
        Drops::Unknown => "unknown",
        Drops::Exactly(_) => "exact",
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
    dropped_is: &'static str,
    refused: u64,
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

    fn arrival(source: u32) -> Arrival {
        let source = std::net::SocketAddr::from((std::net::Ipv4Addr::from(source), 5000));
        let mut arrival =
            Arrival::new("239.1.2.3:5000".parse().unwrap(), InterfaceIndex::new(1).unwrap(), source);
        arrival.length = 10;
        arrival
    }

    #[test]
    fn flows_are_counted_separately_and_sorted_by_volume() {
        let mut tally = Tally::default();
        [1, 2, 2].into_iter().for_each(|source| tally.add(&arrival(source)));
        let volumes: Vec<_> = tally.sorted().iter().map(|(_, volume)| *volume).collect();
        assert_eq!(volumes, [Volume { datagrams: 2, bytes: 20 }, Volume { datagrams: 1, bytes: 10 }]);
    }

    #[test]
    fn drops_are_shown_with_their_certainty() {
        let texts = [Drops::Unknown, Drops::Exactly(44_448), Drops::AtLeast(0), Drops::AtLeast(1_200)]
            .map(drops_text);
        assert_eq!(texts, ["unknown", "44,448", "0", "at least 1,200"]);
    }

    #[test]
    fn the_number_of_flows_is_bounded() {
        let mut tally = Tally::default();
        (0..MAX_FLOWS as u32 + 5).for_each(|source| tally.add(&arrival(source)));
        assert_eq!((tally.flows.len(), tally.others.datagrams), (MAX_FLOWS, 5));
        assert_eq!(tally.datagrams(), MAX_FLOWS as u64 + 5);
    }
}
