//! Counts of datagrams that the system dropped, by where it dropped them.

/// A point at which the system drops datagrams and counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropPoint {
    /// The receive buffer of the measuring socket.
    Socket,
    /// The receive buffers of all UDP sockets of the host, including the measuring one.
    ReceiveBuffers,
    /// Datagrams that the host discarded as invalid, for example because of a wrong checksum.
    Broken,
    /// The queue between the network device and the network stack.
    Backlog,
    /// Network interfaces, on receive.
    InterfaceIn,
    /// Network interfaces, on transmit.
    InterfaceOut,
}

impl DropPoint {
    /// All drop points, from the reading program outwards.
    pub const ALL: [Self; DropCounts::POINTS] = [
        Self::Socket,
        Self::ReceiveBuffers,
        Self::Broken,
        Self::Backlog,
        Self::InterfaceIn,
        Self::InterfaceOut,
    ];

    /// Returns the name of the Linux counter.
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

    /// Returns whether the counter covers the whole machine, containers included, so that it may count the
    /// traffic of others.
    #[must_use]
    pub const fn counts_whole_machine(self) -> bool {
        matches!(self, Self::Backlog)
    }

    /// Returns a description of the cause and a remedy.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Socket | Self::ReceiveBuffers => {
                "the reader was too slow for its buffer: use a larger one (--buffer, net.core.rmem_max), or send less"
            }
            Self::Broken => "datagrams arrived damaged: check cables and checksum offload",
            Self::Backlog => {
                "(whole machine, including traffic of others) the CPU that processes received packets was too busy: raise net.core.netdev_max_backlog, or distribute packets over CPUs (RPS)"
            }
            Self::InterfaceIn => {
                "the interface could not deliver packets in time: enlarge its receive ring (ethtool -G)"
            }
            Self::InterfaceOut => {
                "the interface's transmit queue was full: send less, or enlarge the queue (txqueuelen)"
            }
        }
    }
}

/// The number of datagrams dropped at each point; `None` where the system does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([Option<u64>; Self::POINTS]);

impl DropCounts {
    /// The number of drop points.
    pub const POINTS: usize = 6;

    /// Creates counts, in the order of [`DropPoint::ALL`].
    #[must_use]
    pub const fn from_counts(counts: [Option<u64>; Self::POINTS]) -> Self {
        Self(counts)
    }

    /// Returns the counts, in the order of [`DropPoint::ALL`].
    #[must_use]
    pub const fn counts(&self) -> [Option<u64>; Self::POINTS] {
        self.0
    }

    /// Returns the count at a drop point.
    #[must_use]
    pub const fn at(&self, point: DropPoint) -> Option<u64> {
        self.0[point as usize]
    }

    /// Returns a copy with the count at one drop point replaced.
    #[must_use]
    pub const fn with(mut self, point: DropPoint, count: Option<u64>) -> Self {
        self.0[point as usize] = count;
        self
    }

    /// Returns the increase since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.0;
        for (count, before) in counts.iter_mut().zip(earlier.0) {
            *count = count.zip(before).map(|(now, before)| now.saturating_sub(before));
        }
        Self(counts)
    }

    /// Returns whether anything was dropped at a point whose counter excludes other containers' traffic.
    #[must_use]
    pub fn explain_loss(&self) -> bool {
        self.nonzero().any(|(point, _)| !point.counts_whole_machine())
    }

    /// Returns the drop points with a count above zero.
    pub fn nonzero(&self) -> impl Iterator<Item = (DropPoint, u64)> {
        let counts = self.0;
        DropPoint::ALL.into_iter().zip(counts).filter_map(|(point, count)| Some((point, count?))).filter(
            move |(point, count)| {
                // The host's count includes the socket's own drops, so it adds information only where it is
                // higher.
                let redundant =
                    *point == DropPoint::ReceiveBuffers && counts[DropPoint::Socket as usize] == Some(*count);
                *count > 0 && !redundant
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_points_match_their_discriminants() {
        for (index, point) in DropPoint::ALL.into_iter().enumerate() {
            assert_eq!(point as usize, index);
        }
    }

    #[test]
    fn drops_counted_twice_are_reported_once() {
        let before =
            DropCounts::default().with(DropPoint::Socket, Some(0)).with(DropPoint::ReceiveBuffers, Some(7));
        let now = DropCounts::default()
            .with(DropPoint::Socket, Some(5))
            .with(DropPoint::ReceiveBuffers, Some(12))
            .with(DropPoint::Backlog, Some(3));
        let drops = now.since(&before.with(DropPoint::Backlog, Some(1)));
        assert_eq!(drops.nonzero().collect::<Vec<_>>(), [(DropPoint::Socket, 5), (DropPoint::Backlog, 2)]);
        let backlog = drops.with(DropPoint::Socket, None).with(DropPoint::ReceiveBuffers, None);
        assert!(drops.explain_loss() && !backlog.explain_loss());
        let others = drops.with(DropPoint::ReceiveBuffers, Some(6));
        assert_eq!(
            others.nonzero().collect::<Vec<_>>(),
            [(DropPoint::Socket, 5), (DropPoint::ReceiveBuffers, 6), (DropPoint::Backlog, 2)]
        );
    }
}
