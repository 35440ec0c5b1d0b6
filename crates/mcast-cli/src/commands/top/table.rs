//! The columns of streams, how rows are sorted by them, and what stands in them.

use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;
use std::time::Duration;

use mcast_watch::{Row, StreamRate};

use super::picture::Picture;
use super::words::{self, short};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Column {
    /// Group and port
    Group,
    /// The group's name
    Name,
    /// The sender
    Source,
    /// Where it comes in
    Interface,
    /// Datagrams a second
    Datagrams,
    /// Bits of payload a second
    Bits,
    /// The share that is missing
    Loss,
    /// The rate in the latest intervals
    Trend,
    /// The TTL or hop limit left
    Ttl,
    /// How unevenly it comes
    Jitter,
    /// What it carries
    Payload,
    /// Who has joined
    Joined,
}

impl Column {
    /// The order in which a screen shows them.
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

    /// What is needed first where there is no room for all.
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

    /// Whether it holds numbers, which stand at the right.
    pub(super) const fn is_right(self) -> bool {
        matches!(self, Self::Datagrams | Self::Bits | Self::Loss | Self::Ttl | Self::Jitter)
    }

    /// What stands in it.
    pub(super) fn text(self, row: &Row, picture: &Picture) -> String {
        let rate = rate(row, picture);
        match self {
            Self::Group => words::address(row.key.group.addr(), row.key.port),
            Self::Name => row.key.group.name_at(row.key.port).unwrap_or_default().into(),
            Self::Source => row.key.source.to_string(),
            Self::Interface => match row.key.vlan {
                Some(vlan) => format!("{}.{vlan}", picture.interface(row.key.interface)),
                None => picture.interface(row.key.interface),
            },
            Self::Datagrams => short(rate.datagrams_per_second),
            Self::Bits => short(rate.bits_per_second),
            Self::Loss => words::loss(row.numbers.as_ref()),
            Self::Trend => words::sparkline(&trend(row), Self::TREND_WIDTH),
            Self::Ttl => row.hop_limit.to_string(),
            Self::Jitter => words::jitter(row.jitter),
            Self::Payload => row.format.map(|format| format.to_string()).unwrap_or_default(),
            Self::Joined => words::who(picture, row).join(", "),
        }
    }

    /// How many intervals are shown.
    pub(super) const TREND_WIDTH: usize = 8;

    /// What a row is sorted by in this column: what people look for comes first, the most or the first name.
    fn rank(self, row: &Row, picture: &Picture) -> Rank {
        let text = || self.text(row, picture);
        match self {
            Self::Group => Rank::Same,
            Self::Source => Rank::Source(row.key.source),
            // What has no name stands behind what has one.
            Self::Name | Self::Payload | Self::Joined => Rank::Text(text().is_empty(), text()),
            Self::Interface => Rank::Text(false, text()),
            Self::Datagrams => Rank::most(rate(row, picture).datagrams_per_second),
            Self::Bits | Self::Trend => Rank::most(rate(row, picture).bits_per_second),
            Self::Loss => Rank::most(row.numbers.map_or(-1.0, |numbers| numbers.loss())),
            Self::Ttl => Rank::most(-f64::from(row.hop_limit)),
            Self::Jitter => Rank::most(row.jitter.map_or(-1.0, |jitter| jitter.jitter.as_secs_f64())),
        }
    }
}

/// What a row is sorted by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Same,
    Source(IpAddr),
    Text(bool, String),
    /// The highest number first.
    Most(Reverse<Number>),
}

impl Rank {
    const fn most(number: f64) -> Self {
        Self::Most(Reverse(Number(number)))
    }
}

/// A number in a total order.
struct Number(f64);

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

/// Sorts what has rows; equal ones stand by group, port, source and interface.
pub(super) fn sort<T>(
    items: &mut [T],
    row: impl Fn(&T) -> &Row,
    column: Column,
    reversed: bool,
    picture: &Picture,
) {
    items.sort_by_cached_key(|item| (column.rank(row(item), picture), row(item).key));
    if reversed {
        items.reverse();
    }
}

/// The rate that is shown: the latest; of a file that of all its time.
pub(super) fn rate(row: &Row, picture: &Picture) -> StreamRate {
    if picture.is_file { row.mean } else { row.now }
}

/// Whether it has fallen silent: nothing came in the interval that is shown.
pub(super) fn is_quiet(row: &Row, picture: &Picture) -> bool {
    !picture.is_file && row.now.datagrams_per_second == 0.0 && row.quiet >= Duration::from_secs(1)
}

/// Bytes in each interval.
pub(super) fn trend(row: &Row) -> Vec<f64> {
    row.history.iter().map(|slot| slot.bytes.max(slot.datagrams.into()) as f64).collect()
}
