//! How streams are put into words.

use std::net::IpAddr;
use std::time::Duration;

use mcast::{Group, SourceFilter};
use mcast_watch::{Format, JitterBasis, JitterValue, Row, SequenceStatistics};

use super::announced::Said;
use super::picture::Picture;
use crate::output::{bits_per_second, seconds};

/// The name of a group, whatever the port: the short one if it has one, else the registry's.
pub(super) fn name_of_group(group: Group) -> Option<&'static str> {
    group.well_known().map(|known| known.name).next().or_else(|| group.name())
}

/// `239.1.2.3:5000`, `[ff15::1]:5000`.
pub(super) fn address(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

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

/// `–`, `0`, `0.02%`, `12.3%`: what is missing of what was sent.
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

/// What is meant by missing where receivers may have more.
pub(super) const MISSING_IN_THE_GROUP: &str = "counts what did not arrive by the group here: repairs for a \
    single receiver are sent by unicast and not seen";

/// Whether something is missing that may have been repaired nevertheless.
pub(super) fn may_be_repaired_unseen(row: &Row) -> bool {
    row.format == Some(Format::Stream) && row.numbers.is_some_and(|numbers| numbers.missing > 0)
}

/// `230 µs`, or `~5.00 ms` of gaps.
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

/// Who has joined: processes here by their names, then other hosts by their addresses.
pub(super) fn who(picture: &Picture, row: &Row) -> Vec<String> {
    let mut who: Vec<String> = Vec::new();
    let locals = picture.locals(row).iter().map(|local| local.name.clone());
    for name in locals.chain(picture.members(row).map(|member| member.host.to_string())) {
        if !who.contains(&name) {
            who.push(name);
        }
    }
    who
}

/// ` at 239.1.2.3:5000, snapshots from 10.0.0.1:4000, at most 8.0 Mbit/s`: behind the name.
pub(super) fn announced(said: &Said) -> String {
    let mut told = match said.places().as_slice() {
        [] => String::new(),
        places => format!(" at {}", places.join(" and ")),
    };
    if let Some(snapshot) = said.snapshot {
        told += &format!(", snapshots from {snapshot}");
    }
    if let Some(rate) = said.rate.and_then(|rate| bits_per_second(rate, Duration::from_secs(1))) {
        told += &format!(", at most {rate}");
    }
    told
}

/// A bar for each number, the highest full.
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
    fn numbers_take_five_characters_at_most() {
        let numbers = [0.0, 0.04, 3.0, 3.24, 99.96, 999.4, 999.6, 1_234.0, 98_100_000.0, 999_950_000.0, 1e30];
        let texts = numbers.map(short);
        assert_eq!(
            texts,
            ["0", "0.0", "3", "3.2", "100", "999", "1.0k", "1.2k", "98.1M", "1.0G", "much"].map(String::from)
        );
        assert!(texts.iter().all(|text| text.len() <= 5));
    }

    #[test]
    fn a_rate_has_its_unit_apart() {
        assert_eq!([0.0, 999.0, 5_700_000.0].map(bits), ["0 bit/s", "999 bit/s", "5.7 Mbit/s"]);
    }

    #[test]
    fn loss_is_told_as_exactly_as_it_matters() {
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
    fn bars_are_as_high_as_their_numbers_and_end_at_the_right() {
        assert_eq!(sparkline(&[1.0, 0.0, 4.0, 8.0], 6), "  ▂ ▅█");
        assert_eq!(sparkline(&[5.0, 1.0, 2.0], 2), "▅█");
        assert_eq!(sparkline(&[], 3), "   ");
    }
}
