//! Where a system drops datagrams, and how many.

/// A place at which a system drops datagrams, with a counter that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The receive buffer of the measuring socket itself.
    Socket,
    /// The receive buffers of all UDP sockets of the host, that one included.
    ReceiveBuffers,
    /// Datagrams that the host found broken: wrong checksums and the like.
    Broken,
    /// The queue between network device and network stack.
    Backlog,
    /// Network interfaces, receiving.
    InterfaceIn,
    /// Network interfaces, sending.
    InterfaceOut,
}

impl Place {
    /// All places, in the order in which a datagram passes them backwards from its reader.
    pub const ALL: [Self; Drops::PLACES] = [
        Self::Socket,
        Self::ReceiveBuffers,
        Self::Broken,
        Self::Backlog,
        Self::InterfaceIn,
        Self::InterfaceOut,
    ];

    /// The counter's name, as Linux has it.
    #[must_use]
    pub const fn counter(self) -> &'static str {
        match self {
            Self::Socket => "SO_MEMINFO drops",
            Self::ReceiveBuffers => "Udp RcvbufErrors",
            Self::Broken => "Udp InErrors",
            Self::Backlog => "softnet_stat dropped",
            Self::InterfaceIn => "interface rx_dropped",
            Self::InterfaceOut => "interface tx_dropped",
        }
    }

    /// Whether the counter is that of the whole machine, with all its containers, so that what it
    /// counts may have been others' traffic.
    #[must_use]
    pub const fn is_of_whole_machine(self) -> bool {
        matches!(self, Self::Backlog)
    }

    /// What it is, and what helps.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Socket | Self::ReceiveBuffers => {
                "the reader was too slow for its buffer: ask for more (--buffer, net.core.rmem_max), or send less"
            }
            Self::Broken => "datagrams arrived damaged: look at cables and at checksum offload",
            Self::Backlog => {
                "(of the whole machine, others' traffic included) the processor that takes packets in was too busy: raise net.core.netdev_max_backlog, or spread them (RPS)"
            }
            Self::InterfaceIn => {
                "the interface could not hand packets on in time: lengthen its ring (ethtool -G)"
            }
            Self::InterfaceOut => {
                "the interface's queue was full: send less, or lengthen its queue (txqueuelen)"
            }
        }
    }
}

/// How many were dropped at each place; `None` where the system does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([Option<u64>; Self::PLACES]);

impl Drops {
    /// How many places there are.
    pub const PLACES: usize = 6;

    /// These counts, in the order of [`Place::ALL`].
    #[must_use]
    pub const fn of_counts(counts: [Option<u64>; Self::PLACES]) -> Self {
        Self(counts)
    }

    /// The counts, in the order of [`Place::ALL`].
    #[must_use]
    pub const fn counts(&self) -> [Option<u64>; Self::PLACES] {
        self.0
    }

    /// The count at a place.
    #[must_use]
    pub const fn at(&self, place: Place) -> Option<u64> {
        self.0[place as usize]
    }

    /// The same with this count at a place.
    #[must_use]
    pub const fn with(mut self, place: Place, count: Option<u64>) -> Self {
        self.0[place as usize] = count;
        self
    }

    /// How many came on since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.0;
        for (count, before) in counts.iter_mut().zip(earlier.0) {
            *count = count.zip(before).map(|(now, before)| now.saturating_sub(before));
        }
        Self(counts)
    }

    /// Whether a counter that is no other traffic's shows that something was dropped.
    #[must_use]
    pub fn explain_loss(&self) -> bool {
        self.places().any(|(place, _)| !place.is_of_whole_machine())
    }

    /// The places at which something was dropped.
    pub fn places(&self) -> impl Iterator<Item = (Place, u64)> {
        let counts = self.0;
        Place::ALL.into_iter().zip(counts).filter_map(|(place, count)| Some((place, count?))).filter(
            move |(place, count)| {
                // What the host dropped for all its sockets is only news where it is more.
                let told = *place == Place::ReceiveBuffers && counts[Place::Socket as usize] == Some(*count);
                *count > 0 && !told
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_their_order() {
        for (index, place) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, index);
        }
    }

    #[test]
    fn what_is_counted_twice_is_told_once() {
        let before = Drops::default().with(Place::Socket, Some(0)).with(Place::ReceiveBuffers, Some(7));
        let now = Drops::default()
            .with(Place::Socket, Some(5))
            .with(Place::ReceiveBuffers, Some(12))
            .with(Place::Backlog, Some(3));
        let drops = now.since(&before.with(Place::Backlog, Some(1)));
        assert_eq!(drops.places().collect::<Vec<_>>(), [(Place::Socket, 5), (Place::Backlog, 2)]);
        let backlog = drops.with(Place::Socket, None).with(Place::ReceiveBuffers, None);
        assert!(drops.explain_loss() && !backlog.explain_loss());
        let others = drops.with(Place::ReceiveBuffers, Some(6));
        assert_eq!(
            others.places().collect::<Vec<_>>(),
            [(Place::Socket, 5), (Place::ReceiveBuffers, 6), (Place::Backlog, 2)]
        );
    }
}
