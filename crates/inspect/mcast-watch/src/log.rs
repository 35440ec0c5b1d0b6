//! A bounded log of the latest IGMP, MLD and PIM messages, as text.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use crate::clock::Time;

/// One logged message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it arrived.
    pub time: Time,
    /// The interface on which it arrived.
    pub interface: InterfaceIndex,
    /// The address it was sent from.
    pub source: IpAddr,
    /// Its contents as text, truncated if long.
    pub text: String,
}

/// The latest messages, newest first.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<LogEntry>);

impl Log {
    /// Number of entries retained.
    const LENGTH: usize = 200;

    /// Maximum length of an entry's text, in bytes.
    const TEXT: usize = 240;

    pub(crate) fn push(
        &mut self,
        time: Time,
        interface: InterfaceIndex,
        source: IpAddr,
        message: impl fmt::Display,
    ) {
        let mut text = Bounded(String::new());
        if write!(text, "{message}").is_err() {
            text.0.push('…');
        }
        self.0.truncate(Self::LENGTH - 1);
        self.0.push_front(LogEntry { time, interface, source, text: text.0 });
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.0.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A string that refuses further text once it is full.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = Log::TEXT.saturating_sub(self.0.len());
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_newest_first_and_bounded() {
        let mut log = Log::default();
        let (interface, source) = (InterfaceIndex::new(1).unwrap(), "10.0.0.1".parse().unwrap());
        for number in 0..1_000 {
            log.push(Time::from_secs(number), interface, source, format_args!("{}", "ä".repeat(1_000)));
        }
        assert_eq!(log.entries().count(), Log::LENGTH);
        let newest = log.entries().next().unwrap();
        assert_eq!(newest.time, Time::from_secs(999));
        assert_eq!(newest.text, "ä".repeat(120) + "…");
    }
}
