//! Streams as text.

use std::time::Duration;

use mcast::SourceFilter;
use mcast_watch::{AnnouncementContent, Format, JitterBasis, JitterValue, Row, SequenceStatistics};

use crate::output::{bits_per_second, seconds};
use mcast_watch::live::MonitorReport;

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

/// `12 s`, `3 min`, `2 h`.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        0 if time.is_zero() => "0 s".into(),
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
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

/// ` at 239.1.2.3:5000, snapshots from 10.0.0.1:4000, at most 8.0 Mbit/s`: the text after the name.
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

#[cfg(test)]
mod tests {
    use super::*;
    use mcast_watch::Unit;

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
