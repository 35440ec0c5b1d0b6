//! Output that subcommands share.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::{Family, InterfaceIndex};

pub(crate) use mcast::group::SafeText;
use mcast_capture::UnexaminedFrames;
pub(crate) use mcast_json::{
    PayloadRecord as Payload, as_text, clock_time, count, count_of, record, rfc3339, write_json, write_record,
};
pub(crate) use mcast_metrics::seconds;
use mcast_terminal::Console;
pub(crate) use mcast_terminal::{Cell, Palette, Table, columns, fit_line, text_width, wrap};
use serde::Serialize;

/// Prints a record at once: the last one, or the only one.
pub(crate) fn print_record(
    console: &Console,
    event: &'static str,
    record: &impl Serialize,
) -> io::Result<()> {
    let mut out = console.output();
    write_record(&mut out, event, record)?;
    out.flush()
}

/// Prints an object at once.
pub(crate) fn print_json(console: &Console, object: &impl Serialize) -> io::Result<()> {
    let mut out = console.output();
    write_json(&mut out, object)?;
    out.flush()
}

/// Writes a line of a report. What does not fit in the terminal continues below.
pub(crate) fn write_line(out: &mut impl Write, line: impl Display) -> io::Result<()> {
    writeln!(out, "{}", fit_line(&line.to_string(), mcast_terminal::width()))
}

/// Returns how many frames carry packets that were not decoded, and why.
pub(crate) fn unexamined(frames: &UnexaminedFrames) -> String {
    let parts: Vec<_> = frames
        .iter()
        .map(|(protocol, reason, frames)| format!("{} {protocol} ({reason})", count(frames)))
        .collect();
    let frames = count_of(frames.total(), "frame");
    format!("{frames} with inner packets that were not examined: {}", parts.join(", "))
}

/// `received 0, expected at least 1`.
pub(crate) fn too_few(received: &str, least: u64) -> String {
    format!("received {received}, expected at least {}", count(least))
}

/// `lost 0.200%, more than the allowed 0.1%`; `None` if that much may be lost. All are percentages.
pub(crate) fn excess_loss(lost: f64, allowed: Option<f64>) -> Option<String> {
    let allowed = allowed.filter(|allowed| lost > *allowed)?;
    Some(format!("lost {lost:.3}%, more than the allowed {allowed}%"))
}

/// `12 s`, `3 min`, `2 h`.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        0 if time.is_zero() => "0 s".into(),
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// Formats bytes: `1 byte`, `12,345 bytes`.
pub(crate) fn bytes(number: u64) -> String {
    count_of(number, "byte")
}

/// `12.3 Mbit/s`; `None` if `time` is zero.
pub(crate) fn bits_per_second(bytes: u64, time: Duration) -> Option<String> {
    let rate = per_second(bytes as f64 * 8.0, time)?;
    Some(match rate {
        _ if rate < 1e3 => format!("{rate:.0} bit/s"),
        _ if rate < 1e6 => format!("{:.1} kbit/s", rate / 1e3),
        _ if rate < 1e9 => format!("{:.1} Mbit/s", rate / 1e6),
        _ => format!("{:.2} Gbit/s", rate / 1e9),
    })
}

/// `1,999 datagrams/s, 12.3 Mbit/s`; empty if `time` is zero.
pub(crate) fn rates(number: u64, thing: &str, bytes: u64, time: Duration) -> String {
    let Some((rate, bits)) = per_second(number as f64, time).zip(bits_per_second(bytes, time)) else {
        return String::new();
    };
    match rate {
        _ if rate < 100.0 => format!("{rate:.1} {thing}s/s, {bits}"),
        _ => format!("{} {thing}s/s, {bits}", count(rate as u64)),
    }
}

/// `12 datagrams, 340 bytes in 1.2 s (10.0 datagrams/s, 2.3 kbit/s)`; without the rates for fewer than `rated`
/// datagrams, and if `time` is zero.
pub(crate) fn traffic_in(number: u64, thing: &str, volume: u64, time: Duration, rated: u64) -> String {
    let text = format!("{}, {} in {}", count_of(number, thing), bytes(volume), seconds(time));
    match rates(number, thing, volume, time) {
        rates if number < rated || rates.is_empty() => text,
        rates => format!("{text} ({rates})"),
    }
}

/// Returns a rate; `None` if `time` is zero.
pub(crate) fn per_second(number: f64, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| number / time.as_secs_f64())
}

/// How long a known name is used before it is looked up again. A name, and the interface that an index belongs to,
/// may change.
const FRESH: Duration = Duration::from_secs(1);

/// Interface names, listed again when an unknown index appears, and otherwise at most once per second.
#[derive(Debug)]
pub(crate) struct InterfaceNames {
    names: HashMap<InterfaceIndex, Arc<str>>,
    listed: Option<Instant>,
}

impl InterfaceNames {
    pub(crate) fn new() -> Self {
        Self { names: HashMap::new(), listed: None }
    }

    /// Sets the name of a tunnel, which the system does not list as an interface.
    pub(crate) fn insert(&mut self, index: InterfaceIndex, name: &str) {
        self.names.insert(index, name.into());
    }

    /// Returns the name of this interface, or the last name that it had; its index if no name is known.
    pub(crate) fn of(&mut self, index: InterfaceIndex) -> Arc<str> {
        let is_fresh = self.listed.is_some_and(|listed| listed.elapsed() < FRESH);
        if !is_fresh || !self.names.contains_key(&index) {
            self.list();
        }
        // An unknown interface keeps its index until the next listing, so that it is not looked up for
        // every datagram.
        Arc::clone(self.names.entry(index).or_insert_with(|| index.to_string().into()))
    }

    /// Reads the names of the present interfaces, which may have vanished when they are printed.
    pub(crate) fn list(&mut self) {
        self.listed = Some(Instant::now());
        // The old names stay, for interfaces that have vanished or can no longer be listed.
        let Ok(interfaces) = mcast::interface::list() else { return };
        for interface in interfaces {
            let name: Arc<str> = interface.name.as_str().into();
            for family in [Family::V4, Family::V6] {
                self.names.insert(interface.index_for(family), Arc::clone(&name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        let texts: Vec<String> = [0, 7, 999, 1_000, 65_536, 1_234_567].into_iter().map(count).collect();
        assert_eq!(texts, ["0", "7", "999", "1,000", "65,536", "1,234,567"]);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(
            (count_of(1, "datagram"), count_of(0, "datagram")),
            ("1 datagram".into(), "0 datagrams".into())
        );
        assert_eq!(excess_loss(0.2, Some(0.1)).unwrap(), "lost 0.200%, more than the allowed 0.1%");
        assert_eq!((excess_loss(0.1, Some(0.1)), excess_loss(9.0, None)), (None, None));
        assert_eq!(too_few("no answer", 2_000), "received no answer, expected at least 2,000");
    }

    #[test]
    fn times_and_rates_have_a_suitable_unit() {
        assert_eq!(seconds(Duration::from_micros(230)), "230 µs");
        assert_eq!(seconds(Duration::from_millis(5)), "5 ms");
        assert_eq!(seconds(Duration::from_millis(532)), "0.532 s");
        assert_eq!(seconds(Duration::from_millis(12_432)), "12.4 s");
        let second = Duration::from_secs(1);
        assert_eq!(bits_per_second(1_250_000, second).unwrap(), "10.0 Mbit/s");
        assert_eq!(bits_per_second(5, Duration::ZERO), None);
        assert_eq!(rates(1_999, "datagram", 1_250_000, second), "1,999 datagrams/s, 10.0 Mbit/s");
        assert_eq!(
            traffic_in(7, "packet", 1_000, second, 1),
            "7 packets, 1,000 bytes in 1 s (7.0 packets/s, 8.0 kbit/s)"
        );
        assert_eq!(traffic_in(1, "packet", 10, second, 2), "1 packet, 10 bytes in 1 s");
        assert_eq!(traffic_in(1, "packet", 10, Duration::ZERO, 1), "1 packet, 10 bytes in 0 µs");
    }
}
