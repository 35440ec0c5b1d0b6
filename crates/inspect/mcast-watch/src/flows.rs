//! Volumes by flow, bounded because sources can be forged.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

/// A number of packets or datagrams, and of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficVolume {
    /// Packets or datagrams.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl TrafficVolume {
    fn add(&mut self, length: usize) {
        self.count += 1;
        self.bytes += length as u64;
    }
}

/// Volumes by flow `F`, and in total. At most [`Self::MAX_FLOWS`] flows are distinguished.
///
/// ```
/// use mcast_watch::FlowVolumes;
///
/// let mut flows = FlowVolumes::default();
/// for (source, length) in [("10.0.0.1", 100), ("10.0.0.2", 40), ("10.0.0.2", 40)] {
///     flows.add(source, length);
/// }
/// assert_eq!(flows.busiest_first()[0].0, "10.0.0.2");
/// assert_eq!(flows.total().bytes, 180);
/// ```
#[derive(Clone, Debug)]
pub struct FlowVolumes<F> {
    total: TrafficVolume,
    flows: HashMap<F, TrafficVolume>,
    others: TrafficVolume,
}

impl<F> Default for FlowVolumes<F> {
    fn default() -> Self {
        Self { total: TrafficVolume::default(), flows: HashMap::new(), others: TrafficVolume::default() }
    }
}

impl<F: Copy + Eq + Hash + Ord> FlowVolumes<F> {
    /// Maximum number of flows; further ones are counted as one.
    pub const MAX_FLOWS: usize = 10_000;

    /// Counts a packet that belongs to no flow.
    pub fn add_without_flow(&mut self, length: usize) {
        self.total.add(length);
    }

    /// Counts a packet of this flow.
    pub fn add(&mut self, flow: F, length: usize) {
        self.total.add(length);
        let has_room = self.flows.len() < Self::MAX_FLOWS;
        match self.flows.get_mut(&flow) {
            Some(volume) => volume.add(length),
            None if has_room => self.flows.entry(flow).or_default().add(length),
            None => self.others.add(length),
        }
    }

    /// Returns the volume of all packets.
    #[must_use]
    pub const fn total(&self) -> TrafficVolume {
        self.total
    }

    /// Returns the volume of flows beyond the maximum.
    #[must_use]
    pub const fn others(&self) -> TrafficVolume {
        self.others
    }

    /// Returns whether no flow has been counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Returns the flows, the busiest first.
    #[must_use]
    pub fn busiest_first(&self) -> Vec<(F, TrafficVolume)> {
        let mut flows: Vec<_> = self.flows.iter().map(|(flow, volume)| (*flow, *volume)).collect();
        flows.sort_by_key(|(flow, volume)| (Reverse(volume.count), *flow));
        flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_counted_separately_and_sorted_by_volume() {
        let mut flows = FlowVolumes::default();
        [1, 2, 2].into_iter().for_each(|flow| flows.add(flow, 10));
        let volumes: Vec<_> = flows.busiest_first().iter().map(|(_, volume)| *volume).collect();
        assert_eq!(volumes, [TrafficVolume { count: 2, bytes: 20 }, TrafficVolume { count: 1, bytes: 10 }]);
    }

    #[test]
    fn number_of_flows_is_bounded() {
        const MAX: usize = FlowVolumes::<usize>::MAX_FLOWS;
        let mut flows = FlowVolumes::default();
        (0..MAX + 5).for_each(|flow| flows.add(flow, 10));
        assert_eq!((flows.flows.len(), flows.others().count), (MAX, 5));
        assert_eq!(flows.total().count, MAX as u64 + 5);
    }
}
