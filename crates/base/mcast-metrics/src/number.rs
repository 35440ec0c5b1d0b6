//! Numbers and times as text.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

/// Returns a number with its digits in groups: `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns how many things there are: `1 datagram`, `12,345 datagrams`.
#[must_use]
pub fn count_of(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{} {thing}s", count(number)),
    }
}

/// `0.532 s`, `12.4 s`, `230 µs`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        _ if seconds < 0.001 => (format!("{:.0}", seconds * 1e6), "µs"),
        _ if seconds < 0.1 => (format!("{:.2}", seconds * 1e3), "ms"),
        _ if seconds < 10.0 => (format!("{seconds:.3}"), "s"),
        _ => (format!("{seconds:.1}"), "s"),
    };
    // `1 s`, not `1.000 s`.
    let value = if value.contains('.') { value.trim_end_matches('0').trim_end_matches('.') } else { &value };
    format!("{value} {unit}")
}
