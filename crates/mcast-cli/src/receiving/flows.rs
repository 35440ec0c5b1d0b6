//! Volumes by flow, bounded because sources can be forged.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use crate::console::Console;
use crate::output::{Cell, Palette, Table, count, count_of};

/// The maximum number of flows; further ones are counted as one.
const MAX_FLOWS: usize = 10_000;
/// Flows shown in a summary without `-v`.
const SHOWN: usize = 20;

/// The number of packets or datagrams, and of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Volume {
    fn add(&mut self, length: usize) {
        self.count += 1;
        self.bytes += length as u64;
    }
}

/// Volumes by flow `F`.
#[derive(Debug)]
pub(crate) struct Flows<F> {
    total: Volume,
    flows: HashMap<F, Volume>,
    /// The volume of flows beyond the maximum.
    others: Volume,
}

impl<F> Default for Flows<F> {
    fn default() -> Self {
        Self { total: Volume::default(), flows: HashMap::new(), others: Volume::default() }
    }
}

impl<F: Copy + Eq + Hash + Ord> Flows<F> {
    /// Counts a packet that belongs to no flow.
    pub(crate) fn add_without_flow(&mut self, length: usize) {
        self.total.add(length);
    }

    pub(crate) fn add(&mut self, flow: F, length: usize) {
        self.total.add(length);
        let has_room = self.flows.len() < MAX_FLOWS;
        match self.flows.get_mut(&flow) {
            Some(volume) => volume.add(length),
            None if has_room => self.flows.entry(flow).or_default().add(length),
            None => self.others.add(length),
        }
    }

    pub(crate) const fn total(&self) -> Volume {
        self.total
    }

    pub(crate) const fn others(&self) -> Volume {
        self.others
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Returns the flows, the busiest first.
    pub(crate) fn sorted(&self) -> Vec<(F, Volume)> {
        let mut flows: Vec<_> = self.flows.iter().map(|(flow, volume)| (*flow, *volume)).collect();
        flows.sort_by_key(|(flow, volume)| (Reverse(volume.count), *flow));
        flows
    }

    /// Returns the busiest flows as a table. `unit` is what is counted, such as "packet"; `name` returns the group,
    /// interface and source of a flow.
    pub(crate) fn table(
        &self,
        unit: &str,
        console: &Console,
        mut name: impl FnMut(&F) -> [String; 3],
    ) -> String {
        let Palette { heading, group, interface, address, .. } = *console.palette_for_notes();
        let units = format!("{unit}s");
        let mut table = Table::new(&["  group", "interface", "source", &units, "bytes"], heading);
        let flows = self.sorted();
        let shown = if console.is_verbose() { flows.len() } else { SHOWN };
        for (flow, volume) in flows.iter().take(shown) {
            let [group_text, interface_text, source] = name(flow);
            table.row([
                Cell::new(format!("  {group_text}")).style(group),
                Cell::new(interface_text).style(interface),
                Cell::new(source).style(address),
                Cell::new(count(volume.count)).right(),
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
        if self.others.count > 0 {
            text += &format!("\n  and {} from further sources", count_of(self.others.count, unit));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_counted_separately_and_sorted_by_volume() {
        let mut flows = Flows::default();
        [1, 2, 2].into_iter().for_each(|flow| flows.add(flow, 10));
        let volumes: Vec<_> = flows.sorted().iter().map(|(_, volume)| *volume).collect();
        assert_eq!(volumes, [Volume { count: 2, bytes: 20 }, Volume { count: 1, bytes: 10 }]);
    }

    #[test]
    fn the_number_of_flows_is_bounded() {
        let mut flows = Flows::default();
        (0..MAX_FLOWS + 5).for_each(|flow| flows.add(flow, 10));
        assert_eq!((flows.flows.len(), flows.others.count), (MAX_FLOWS, 5));
        assert_eq!(flows.total.count, MAX_FLOWS as u64 + 5);
    }
}
