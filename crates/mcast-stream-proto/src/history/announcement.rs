//! The announcement of a history server, on the group of announcements.

use core::net::SocketAddr;

use crate::wire::{DatagramWriter, WireError, WriteError, put_socket, read_socket};

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
