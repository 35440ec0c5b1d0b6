//! The columns of the table of streams, their contents, and the order of rows.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use mcast_watch::Row;

use super::text::{self, short};
use mcast_watch::live::MonitorReport;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Column {
    /// Group and port
    Group,
    /// The group's name
    Name,
    /// The sender
    Source,
    /// The interface
    Interface,
    /// Datagrams per second
    Datagrams,
    /// Bits of payload per second
    Bits,
    /// The share of missing datagrams
    Loss,
    /// The rate in the last intervals
    Trend,
    /// The TTL or hop limit on arrival
    Ttl,
    /// The jitter
    Jitter,
    /// The payload format
    Payload,
    /// The members
    Joined,
}

impl Column {
    /// The order on the screen.
    pub(super) const SHOWN: [Self; 12] = [
        Self::Group,
        Self::Name,
        Self::Source,
        Self::Interface,
        Self::Datagrams,
        Self::Bits,
        Self::Trend,
        Self::Loss,
        Self::Ttl,
        Self::Jitter,
        Self::Payload,
        Self::Joined,
    ];

    /// The order of importance, if there is no room for all.
    pub(super) const NEEDED: [Self; 12] = [
        Self::Group,
        Self::Source,
        Self::Interface,
        Self::Datagrams,
        Self::Bits,
        Self::Loss,
        Self::Trend,
        Self::Ttl,
        Self::Name,
        Self::Jitter,
        Self::Payload,
        Self::Joined,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Name => "name",
            Self::Source => "source",
            Self::Interface => "iface",
            Self::Datagrams => "dgram/s",
            Self::Bits => "bit/s",
            Self::Loss => "loss",
            Self::Trend => "trend",
            Self::Ttl => "ttl",
            Self::Jitter => "jitter",
            Self::Payload => "payload",
            Self::Joined => "joined",
        }
    }

    /// Returns whether the column contains numbers, which are aligned to the right.
    pub(super) const fn is_right(self) -> bool {
        matches!(self, Self::Datagrams | Self::Bits | Self::Loss | Self::Ttl | Self::Jitter)
    }

    /// Returns the content of a cell.
    pub(super) fn text(self, row: &Row, picture: &MonitorReport) -> String {
        let rate = picture.rate(row);
        match self {
            Self::Group => SocketAddr::new(row.key.group.addr(), row.key.port).to_string(),
            Self::Name => row.key.group.name_at(row.key.port).unwrap_or_default().into(),
            Self::Source => row.key.source.to_string(),
            Self::Interface => match row.key.vlan {
                Some(vlan) => format!("{}.{vlan}", picture.interface(row.key.interface)),
                None => picture.interface(row.key.interface),
            },
            Self::Datagrams => short(rate.datagrams_per_second),
            Self::Bits => short(rate.bits_per_second),
            Self::Loss => text::loss(row.numbers.as_ref()),
            Self::Trend => text::sparkline(&trend(row), Self::TREND_WIDTH),
            Self::Ttl => row.hop_limit.to_string(),
            Self::Jitter => text::jitter(row.jitter),
            Self::Payload => row.format.map(|format| format.to_string()).unwrap_or_default(),
            Self::Joined => text::members(picture, row).join(", "),
        }
    }

    /// The number of intervals shown.
    pub(super) const TREND_WIDTH: usize = 8;

    /// Returns the sort key of a row: the highest number or the first name comes first.
    fn rank(self, row: &Row, picture: &MonitorReport) -> Rank {
        let text = || self.text(row, picture);
        match self {
            Self::Group => Rank::Same,
            Self::Source => Rank::Source(row.key.source),
            // Rows without a name come last.
            Self::Name | Self::Payload | Self::Joined => Rank::Text(text().is_empty(), text()),
            Self::Interface => Rank::Text(false, text()),
            Self::Datagrams => Rank::highest(Some(picture.rate(row).datagrams_per_second)),
            Self::Bits | Self::Trend => Rank::highest(Some(picture.rate(row).bits_per_second)),
            Self::Loss => Rank::highest(row.numbers.map(|numbers| numbers.loss())),
            Self::Ttl => Rank::Lowest(row.hop_limit),
            Self::Jitter => Rank::highest(row.jitter.map(|jitter| jitter.jitter.as_secs_f64())),
        }
    }
}

/// The sort key of a row.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Same,
    Source(IpAddr),
    Text(bool, String),
    Lowest(u8),
    /// The bits of numbers that are not negative, which have the order of the numbers. Rows without one come last.
    Highest(Reverse<Option<u64>>),
}

impl Rank {
    fn highest(number: Option<f64>) -> Self {
        Self::Highest(Reverse(number.map(f64::to_bits)))
    }
}

/// Sorts items by their rows. Equal rows are sorted by group, port, source and interface.
pub(super) fn sort<T>(
    items: &mut [T],
    row: impl Fn(&T) -> &Row,
    column: Column,
    reversed: bool,
    picture: &MonitorReport,
) {
    items.sort_by_cached_key(|item| (column.rank(row(item), picture), row(item).key));
    if reversed {
        items.reverse();
    }
}

/// Returns the bytes in each interval.
pub(super) fn trend(row: &Row) -> Vec<f64> {
    row.history.iter().map(|slot| slot.bytes.max(slot.datagrams.into()) as f64).collect()
}
