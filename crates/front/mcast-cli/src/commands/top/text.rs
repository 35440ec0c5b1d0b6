//! Streams as text, and the table of streams: its columns, their contents, and the order of rows.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::SourceFilter;
use mcast_watch::live::MonitorReport;
use mcast_watch::{AnnouncementContent, Format, JitterBasis, JitterValue, Row, SequenceStatistics};

use crate::output::{bits_per_second, seconds};

/// `0`, `3.2`, `999`, `1.2k`, `98.1M`: at most five characters.
pub(super) fn short(number: f64) -> String {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut scaled = number.max(0.0);
    for prefix in PREFIXES {
        let text = match scaled {
            _ if scaled == 0.0 => "0".into(),
            _ if scaled < 99.95 && !(prefix.is_empty() && scaled.fract() == 0.0) => format!("{scaled:.1}"),
            _ => format!("{scaled:.0}"),
        };
        if scaled < 999.5 {
            return text + prefix;
        }
        scaled /= 1_000.0;
    }
    "much".into()
}

/// `5.7 Mbit/s`.
pub(super) fn bits(rate: f64) -> String {
    let text = short(rate);
    let digits = text.trim_end_matches(char::is_alphabetic);
    format!("{digits} {}bit/s", &text[digits.len()..])
}

/// `–`, `0`, `0.02%`, `12.3%`: the share of missing datagrams.
pub(super) fn loss(numbers: Option<&SequenceStatistics>) -> String {
    let Some(numbers) = numbers else { return "–".into() };
    let percent = numbers.loss() * 100.0;
    match percent {
        _ if numbers.missing == 0 => "0".into(),
        _ if percent < 0.01 => "<.01%".into(),
        _ if percent < 9.995 => format!("{percent:.2}%"),
        _ => format!("{percent:.1}%"),
    }
}

/// Returns the loss of a stream. If its datagrams are not numbered, at least those are lost of which fragments are missing.
fn loss_of(row: &Row) -> String {
    match row.incomplete {
        incomplete if incomplete > 0 && row.numbers.is_none() => {
            format!("≥{:.1}%", incomplete_share(row) * 100.0)
        }
        _ => loss(row.numbers.as_ref()),
    }
}

/// Returns the share of datagrams of which fragments are missing.
fn incomplete_share(row: &Row) -> f64 {
    match row.incomplete {
        0 => 0.0,
        incomplete => incomplete as f64 / (row.datagrams + incomplete) as f64,
    }
}

/// How bad the loss of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossLevel {
    None,
    Some,
    Bad,
}

/// Returns how bad the loss of a stream is, if `bad` percent or more is bad.
pub(super) fn loss_level(row: &Row, bad: f64) -> LossLevel {
    match row.numbers.map_or_else(|| incomplete_share(row), |numbers| numbers.loss()) * 100.0 {
        percent if percent <= 0.0 => LossLevel::None,
        percent if percent < bad => LossLevel::Some,
        _ => LossLevel::Bad,
    }
}

/// Returns the interface with its VLANs, and the tunnel: `eth0.100.200`, `eth0 VXLAN 77`.
fn interface(row: &Row, picture: &MonitorReport) -> String {
    let mut text = picture.interface(row.key.interface);
    for vlan in [row.key.vlan, row.key.inner_vlan].into_iter().flatten() {
        text += &format!(".{vlan}");
    }
    if let Some(tunnel) = row.tunnel {
        text += &format!(" {}", tunnel.encapsulation);
    }
    text
}

/// Explains missing datagrams of streams whose subscribers may have received repairs.
pub(super) const MISSING_IN_THE_GROUP: &str = "counts what did not arrive by the group here: repairs for a \
    single receiver are sent by unicast and not seen";

/// Returns whether missing datagrams may have been repaired by unicast.
pub(super) fn may_be_repaired_unseen(row: &Row) -> bool {
    row.format == Some(Format::Stream) && row.numbers.is_some_and(|numbers| numbers.missing > 0)
}

/// `230 µs`, or `~5.00 ms` for the jitter of gaps.
pub(super) fn jitter(jitter: Option<JitterValue>) -> String {
    match jitter {
        None => "–".into(),
        Some(JitterValue { jitter, basis: JitterBasis::Transit }) => seconds(jitter),
        Some(JitterValue { jitter, .. }) => format!("~{}", seconds(jitter)),
    }
}

/// `any`, `10.0.0.7`, `not 10.0.0.9`.
pub(super) fn sources(filter: &SourceFilter, more: bool) -> String {
    let mut listed: Vec<_> = filter.sources().map(|source| source.to_string()).collect();
    if more {
        listed.push("…".into());
    }
    match filter {
        SourceFilter::Exclude(sources) if sources.is_empty() => "any".into(),
        SourceFilter::Exclude(_) => format!("not {}", listed.join(", ")),
        SourceFilter::Include(_) => listed.join(", "),
    }
}

/// Returns the members: local processes by name, then other hosts by address.
pub(super) fn members(picture: &MonitorReport, row: &Row) -> Vec<String> {
    let mut members: Vec<String> = Vec::new();
    let locals = picture.local_members(row).iter().map(|local| local.name.clone());
    for name in locals.chain(picture.watch.members_of(&row.key).map(|member| member.host.to_string())) {
        if !members.contains(&name) {
            members.push(name);
        }
    }
    members
}

/// ` at 239.255.1.3:5000, snapshots from 10.0.0.1:4000, at most 8.0 Mbit/s`: the text after the name.
pub(super) fn announced(content: &AnnouncementContent) -> String {
    let mut text = match content.memberships().as_slice() {
        [] => String::new(),
        memberships => format!(" at {}", memberships.join(" and ")),
    };
    if let Some(snapshot) = content.snapshot {
        text += &format!(", snapshots from {snapshot}");
    }
    if let Some(rate) = content.rate.and_then(|rate| bits_per_second(rate, Duration::from_secs(1))) {
        text += &format!(", at most {rate}");
    }
    text
}

/// Returns a bar for each number; the highest has the full height.
pub(super) fn sparkline(numbers: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &numbers[numbers.len().saturating_sub(width)..];
    let most = shown.iter().copied().fold(0.0, f64::max);
    let bar = |number: &f64| match number {
        _ if *number <= 0.0 => ' ',
        _ => BARS[((number / most * 7.0).round() as usize).min(7)],
    };
    let bars: String = shown.iter().map(bar).collect();
    format!("{bars:>width$}")
}

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
    /// What was lost in the last intervals
    LossTrend,
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
    pub(super) const SHOWN: [Self; 13] = [
        Self::Group,
        Self::Name,
        Self::Source,
        Self::Interface,
        Self::Datagrams,
        Self::Bits,
        Self::Trend,
        Self::Loss,
        Self::LossTrend,
        Self::Ttl,
        Self::Jitter,
        Self::Payload,
        Self::Joined,
    ];

    /// The order of importance, if there is no room for all.
    const NEEDED: [Self; 13] = [
        Self::Group,
        Self::Bits,
        Self::Loss,
        Self::Source,
        Self::Interface,
        Self::Datagrams,
        Self::Trend,
        Self::Name,
        Self::LossTrend,
        Self::Ttl,
        Self::Jitter,
        Self::Payload,
        Self::Joined,
    ];

    /// Returns these columns, the most important one first.
    pub(super) fn by_importance(shown: &[Self]) -> Vec<Self> {
        Self::NEEDED.into_iter().filter(|column| shown.contains(column)).collect()
    }

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
            Self::LossTrend => "lost",
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
            Self::Interface => interface(row, picture),
            Self::Datagrams => short(rate.datagrams_per_second),
            Self::Bits => short(rate.bits_per_second),
            Self::Loss => loss_of(row),
            Self::Trend => sparkline(&trend(row), Self::TREND_WIDTH),
            Self::LossTrend => loss_trend(row, Self::TREND_WIDTH).unwrap_or_default(),
            Self::Ttl => row.hop_limit.to_string(),
            Self::Jitter => jitter(row.jitter),
            Self::Payload => row.format.map(|format| format.to_string()).unwrap_or_default(),
            Self::Joined => members(picture, row).join(", "),
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
            Self::LossTrend => Rank::highest(Some(row.lost_now as f64)),
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

/// Returns a bar for what was lost in each interval; `None` if nothing was, as far as intervals are retained.
pub(super) fn loss_trend(row: &Row, width: usize) -> Option<String> {
    let lost: Vec<f64> = row.history.iter().map(|slot| slot.lost.into()).collect();
    lost.iter().any(|lost| *lost > 0.0).then(|| sparkline(&lost, width))
}

#[cfg(test)]
mod tests {
    use mcast_watch::Unit;

    use super::*;

    #[test]
    fn short_numbers_have_at_most_five_characters() {
        let numbers = [0.0, 0.04, 3.0, 3.24, 99.96, 999.4, 999.6, 1_234.0, 98_100_000.0, 999_950_000.0, 1e30];
        let texts = numbers.map(short);
        assert_eq!(
            texts,
            ["0", "0.0", "3", "3.2", "100", "999", "1.0k", "1.2k", "98.1M", "1.0G", "much"].map(String::from)
        );
        assert!(texts.iter().all(|text| text.len() <= 5));
    }

    #[test]
    fn rates_have_a_space_before_the_unit() {
        assert_eq!([0.0, 999.0, 5_700_000.0].map(bits), ["0 bit/s", "999 bit/s", "5.7 Mbit/s"]);
    }

    #[test]
    fn loss_has_a_suitable_precision() {
        let of = |received, missing| {
            let unit = Unit::Datagrams;
            loss(Some(&SequenceStatistics {
                unit,
                received,
                missing,
                duplicates: 0,
                reordered: None,
                repairs: None,
                restarts: 0,
            }))
        };
        assert_eq!(
            [loss(None), of(10, 0), of(999_999, 1), of(9_900, 100), of(3, 1), of(0, 5)],
            ["–", "0", "<.01%", "1.00%", "25.0%", "100.0%"].map(String::from)
        );
    }

    #[test]
    fn bars_are_proportional_and_aligned_to_the_right() {
        assert_eq!(sparkline(&[1.0, 0.0, 4.0, 8.0], 6), "  ▂ ▅█");
        assert_eq!(sparkline(&[5.0, 1.0, 2.0], 2), "▅█");
        assert_eq!(sparkline(&[], 3), "   ");
    }
}
