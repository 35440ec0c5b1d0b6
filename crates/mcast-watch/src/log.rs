//! The latest messages of IGMP, MLD and PIM, in words.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use crate::time::Time;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it came.
    pub time: Time,
    /// Where it was seen.
    pub interface: InterfaceIndex,
    /// Who sent it.
    pub source: IpAddr,
    /// What it says; cut off where it is long.
    pub text: String,
}

/// The latest of them.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<Entry>);

impl Log {
    /// How many are remembered.
    const LENGTH: usize = 200;

    /// How many bytes of one are.
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
        self.0.push_front(Entry { time, interface, source, text: text.0 });
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Text that takes no more once it is long enough.
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
    fn the_newest_comes_first_and_length_is_bounded() {
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
