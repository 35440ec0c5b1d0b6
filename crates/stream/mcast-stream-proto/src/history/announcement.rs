//! The announcement of a history server, and the search for one, on the group of announcements.

use core::net::SocketAddr;

use crate::random::Random;
use crate::wire::{DatagramWriter, WireError, WriteError, put_socket, read_socket};
use crate::{ClockTime, Nanos};

/// The field with the server's address, with the number of the field of a snapshot server.
const ADDRESS: u8 = 3;

/// The body of the announcement of a history server. The stream is in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryAnnouncement {
    /// The TCP address. If it is unspecified, it is that of the host that sends the announcement.
    pub address: SocketAddr,
}

impl HistoryAnnouncement {
    /// Reads a body: fields of kind, length, value. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`WireError::Body`] when a field is malformed, or the address is missing.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let (mut rest, mut address) = (body, None);
        while let [kind, length, behind @ ..] = rest {
            let (value, next) = behind.split_at_checked(usize::from(*length)).ok_or(WireError::Body)?;
            if *kind == ADDRESS {
                address = Some(read_socket(value).ok_or(WireError::Body)?.0);
            }
            rest = next;
        }
        let address = address.filter(|_| rest.is_empty()).ok_or(WireError::Body)?;
        Ok(Self { address })
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&[ADDRESS, if self.address.is_ipv4() { 7 } else { 19 }])?;
        put_socket(writer, self.address)
    }
}

/// The body of a search for a history server, which servers answer with an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySearch;

impl HistorySearch {
    /// The length of its body: at least that of any announcement, so that a forged search causes no more bytes than it has.
    pub const LENGTH: usize = 24;

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when it is too short.
    pub const fn read(body: &[u8]) -> Result<Self, WireError> {
        if body.len() < Self::LENGTH { Err(WireError::Body) } else { Ok(Self) }
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&[0; Self::LENGTH])
    }
}

/// When a server announces itself: regularly, and soon after a search.
#[derive(Debug)]
pub struct AnnouncementSchedule {
    sent_at: Option<ClockTime>,
    next_at: ClockTime,
    random: Random,
}

impl AnnouncementSchedule {
    /// The time between two announcements without a search.
    pub const INTERVAL: Nanos = Nanos::SECOND;
    /// The shortest time between two announcements, whatever is searched.
    pub const SHORTEST_INTERVAL: Nanos = Nanos::from_millis(100);
    /// The servers of a stream answer a search after a random part of this time.
    const SPREAD: Nanos = Nanos::from_millis(20);

    /// Returns a schedule whose first announcement is due now. The seed should differ between servers.
    #[must_use]
    pub const fn new(now: ClockTime, seed: u64) -> Self {
        Self { sent_at: None, next_at: now, random: Random::new(seed) }
    }

    /// Notes a search for a server of the stream.
    pub fn searched(&mut self, now: ClockTime) {
        let earliest = self.sent_at.map_or(now, |sent_at| now.max(sent_at + Self::SHORTEST_INTERVAL));
        self.next_at = self.next_at.min(earliest + self.random.below(Self::SPREAD));
    }

    /// Returns whether to send an announcement now.
    pub fn poll_transmit(&mut self, now: ClockTime) -> bool {
        let is_due = now >= self.next_at;
        if is_due {
            (self.sent_at, self.next_at) = (Some(now), now + Self::INTERVAL);
        }
        is_due
    }

    /// Returns when the next announcement is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<ClockTime> {
        Some(self.next_at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{HEADER_LENGTH, Header, Incarnation, Kind, StreamId};

    #[test]
    fn golden_vector() {
        let mut buffer = [0; 64];
        let header = Header::new(Kind::History, StreamId(0x0102_0304_0506_0708), Incarnation(0), 1);
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        HistoryAnnouncement { address: "10.0.0.1:7768".parse().unwrap() }.write(&mut writer).unwrap();
        let length = writer.finish();
        let hex: String = buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "4d43 10 0c 08 00 0000 0102030405060708 00000000 00000000 0000000000000001 \
                        0307 04 1e58 0a000001";
        assert_eq!(hex, expected.replace(' ', ""));
    }

    #[test]
    fn golden_vector_of_a_search() {
        let mut buffer = [0; 64];
        let header = Header::new(Kind::HistorySearch, StreamId(0x0102_0304_0506_0708), Incarnation(0), 1);
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        HistorySearch.write(&mut writer).unwrap();
        let length = writer.finish();
        let hex: String = buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "4d43 10 0d 08 00 0000 0102030405060708 00000000 00000000 0000000000000001 \
                        000000000000000000000000000000000000000000000000";
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(HistorySearch::read(&buffer[HEADER_LENGTH..length]), Ok(HistorySearch));
        assert!(HistorySearch::read(&buffer[HEADER_LENGTH..length - 1]).is_err());
    }

    #[test]
    fn a_search_is_at_least_as_long_as_its_answer() {
        for address in ["10.0.0.1:1", "[fd00::1]:1"] {
            let mut buffer = [0; 64];
            let header = Header::new(Kind::History, StreamId(1), Incarnation(0), 1);
            let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
            HistoryAnnouncement { address: address.parse().unwrap() }.write(&mut writer).unwrap();
            assert!(writer.finish() <= HEADER_LENGTH + HistorySearch::LENGTH);
        }
    }

    #[test]
    fn searches_are_answered_soon_and_at_most_ten_times_per_second() {
        let (start, mut sent) = (ClockTime(1_000), Vec::new());
        let mut schedule = AnnouncementSchedule::new(start, 1);
        for millisecond in 0..10_000 {
            let now = start + Nanos::from_millis(millisecond);
            // Many subscribers search all the time, except in the first seconds.
            if millisecond == 2_500 || millisecond >= 5_000 {
                schedule.searched(now);
            }
            if schedule.poll_transmit(now) {
                sent.push(millisecond);
            }
        }
        assert_eq!(sent[..3], [0, 1_000, 2_000]);
        assert!((2_500..2_520).contains(&sent[3]), "{sent:?}");
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{sent:?}");
        assert!(sent.windows(2).skip(6).all(|pair| pair[1] - pair[0] <= 121), "{sent:?}");
    }

    proptest! {
        #[test]
        fn addresses_are_read_as_they_were_written(address: SocketAddr) {
            let address = SocketAddr::new(address.ip(), address.port());
            let mut buffer = [0; 64];
            let header = Header::new(Kind::History, StreamId(1), Incarnation(0), 1);
            let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
            HistoryAnnouncement { address }.write(&mut writer).unwrap();
            let length = writer.finish();
            let read = HistoryAnnouncement::read(&buffer[HEADER_LENGTH..length]).unwrap();
            prop_assert_eq!(read.address, address);
        }

        #[test]
        fn any_body_is_read_or_refused(body: Vec<u8>) {
            let _ = HistoryAnnouncement::read(&body);
        }
    }
}
