//! Writing DNS messages, with compressed names.

use super::{Dns, DnsQuestion, DnsRecord, DnsSection, LabelWalker, Name, TOP_BIT, kind};

/// Later names are not pointed to.
const MAX_NAMES: usize = 256;

/// Writes a DNS message into a buffer. Names are compressed (RFC 1035 section 4.1.4). What does not fit leaves the message
/// unchanged.
#[derive(Debug)]
pub struct DnsWriter<'b> {
    buffer: &'b mut [u8],
    length: usize,
    /// Offsets of names in the message, to which pointers can lead.
    names: [u16; MAX_NAMES],
    name_count: usize,
}

impl<'b> DnsWriter<'b> {
    /// Flags of a response of mDNS: a response, authoritative (RFC 6762 section 18).
    pub const RESPONSE: u16 = 0x8400;
    /// The flag of a message that continues in another one: further known answers follow (RFC 6762 section 7.2).
    pub const TRUNCATED: u16 = 0x0200;

    /// The length of priority, weight and port, which precede the name in an SRV record.
    const SERVICE_HEAD: usize = 6;

    /// Starts a message with this identifier and these flags. Returns `None` if the buffer is shorter than the header.
    #[must_use]
    pub fn new(buffer: &'b mut [u8], id: u16, flags: u16) -> Option<Self> {
        let header = buffer.get_mut(..Dns::HEADER_LENGTH)?;
        header.fill(0);
        header.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
        let mut writer = Self { buffer, length: Dns::HEADER_LENGTH, names: [0; MAX_NAMES], name_count: 0 };
        writer.set_flags(flags);
        Some(writer)
    }

    /// Sets these flags in addition to those that are set.
    pub fn set_flags(&mut self, flags: u16) {
        self.add(2, flags);
    }

    /// Writes a question. Returns whether it fits.
    #[must_use]
    pub fn question(&mut self, question: &DnsQuestion<'_>) -> bool {
        self.attempt(4, |writer| {
            writer.name(question.name)?;
            writer.number(question.kind)?;
            writer.number(question.class | if question.unicast_response { TOP_BIT } else { 0 })
        })
    }

    /// Writes a record, after all questions and all records of earlier sections. The name in its data is `target`, if the type
    /// has one. Returns whether the record fits.
    #[must_use]
    pub fn record(&mut self, section: DnsSection, record: &DnsRecord<'_>) -> bool {
        let count_at = match section {
            DnsSection::Answer => 6,
            DnsSection::Authority => 8,
            DnsSection::Additional => 10,
        };
        self.attempt(count_at, |writer| {
            writer.name(record.name)?;
            writer.number(record.kind)?;
            writer.number(record.class | if record.cache_flush { TOP_BIT } else { 0 })?;
            writer.bytes(&record.time_to_live.to_be_bytes())?;
            let length_at = writer.length;
            writer.number(0)?;
            match record.target {
                None => writer.bytes(record.data)?,
                Some(target) => {
                    if record.kind == kind::SRV {
                        writer.bytes(record.data.get(..Self::SERVICE_HEAD)?)?;
                    }
                    writer.name(target)?;
                }
            }
            let length = u16::try_from(writer.length - length_at - 2).ok()?;
            writer.add(length_at, length);
            Some(())
        })
    }

    /// Returns the message as written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    /// Writes a part that is counted at this offset, or nothing.
    fn attempt(&mut self, count_at: usize, write: impl FnOnce(&mut Self) -> Option<()>) -> bool {
        let before = (self.length, self.name_count);
        let fits = write(self).is_some();
        if fits {
            self.add(count_at, 1);
        } else {
            (self.length, self.name_count) = before;
        }
        fits
    }

    fn name(&mut self, name: Name<'_>) -> Option<()> {
        let mut walker = LabelWalker {
            message: name.message,
            offset: name.offset,
            lowest: name.offset,
            length: 0,
            end: None,
        };
        // A name is not compared with itself while it is incomplete.
        let known = self.name_count;
        loop {
            let suffix = Name { message: name.message, offset: walker.offset };
            let Some(label) = walker.next_label()? else { return self.bytes(&[0]) };
            let message = self.as_bytes();
            let earlier = self
                .names
                .get(..known)?
                .iter()
                .copied()
                .find(|earlier| Name { message, offset: usize::from(*earlier) } == suffix);
            if let Some(earlier) = earlier {
                return self.number(0xc000 | earlier);
            }
            // A pointer has 14 bits.
            if self.length < 0x4000
                && let Some(next) = self.names.get_mut(self.name_count)
            {
                *next = self.length as u16;
                self.name_count += 1;
            }
            self.bytes(&[label.len() as u8])?;
            self.bytes(label)?;
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length + bytes.len();
        self.buffer.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    fn number(&mut self, number: u16) -> Option<()> {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds to a field of the message.
    fn add(&mut self, offset: usize, number: u16) {
        if let Some(field) = self.buffer.get_mut(offset..offset + 2)
            && let Ok(before) = field.try_into().map(u16::from_be_bytes)
        {
            field.copy_from_slice(&before.saturating_add(number).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn name(wire: &'static [u8]) -> Name<'static> {
        Name::from_bytes(wire).unwrap()
    }

    fn question(wire: &'static [u8]) -> DnsQuestion<'static> {
        DnsQuestion { name: name(wire), kind: kind::PTR, class: 1, unicast_response: false }
    }

    fn record(
        wire: &'static [u8],
        kind: u16,
        data: &'static [u8],
        target: Option<Name<'static>>,
    ) -> DnsRecord<'static> {
        DnsRecord { name: name(wire), kind, class: 1, cache_flush: true, time_to_live: 120, data, target }
    }

    #[test]
    fn names_are_compressed_and_read_back() {
        let mut buffer = [0; 200];
        let mut writer = DnsWriter::new(&mut buffer, 7, DnsWriter::RESPONSE).unwrap();
        assert!(writer.question(&question(b"\x04_ipp\x04_tcp\x05local\x00")));
        let instance = b"\x01P\x04_ipp\x04_tcp\x05local\x00";
        assert!(writer.record(
            DnsSection::Answer,
            &record(b"\x04_IPP\x04_tcp\x05local\x00", kind::PTR, b"", Some(name(instance)))
        ));
        let host = name(b"\x01h\x05local\x00");
        assert!(
            writer.record(
                DnsSection::Additional,
                &record(instance, kind::SRV, b"\0\0\0\0\x02\x77", Some(host))
            )
        );
        assert!(
            writer.record(
                DnsSection::Additional,
                &record(b"\x01H\x05local\x00", kind::A, &[10, 0, 0, 1], None)
            )
        );
        let length = writer.as_bytes().len();
        let dns = Dns::parse(&buffer[..length]).unwrap();
        assert_eq!((dns.id, dns.is_response), (7, true));
        assert_eq!(
            std::format!("{dns}"),
            "response: _ipp._tcp.local PTR P._ipp._tcp.local, \
            P._ipp._tcp.local SRV h.local:631, h.local A 10.0.0.1"
        );
        // The header and the question; three names of which only new labels are written.
        assert_eq!(length, 12 + 17 + 4 + (12 + 4) + (2 + 10 + 6 + 4) + (2 + 10 + 4));
    }

    #[test]
    fn what_does_not_fit_leaves_the_message_unchanged() {
        let mut buffer = [0; 40];
        let mut writer = DnsWriter::new(&mut buffer, 0, 0).unwrap();
        assert!(writer.question(&question(b"\x04_ipp\x04_tcp\x05local\x00")));
        let before = writer.as_bytes().to_vec();
        assert!(!writer.question(&question(b"\x05_http\x04_tcp\x05local\x00")));
        assert_eq!(writer.as_bytes(), before);
        assert!(writer.question(&question(b"\x00")) || before.len() + 5 > 40);
        assert!(DnsWriter::new(&mut [0; 11], 0, 0).is_none());
    }

    #[test]
    fn more_names_than_are_remembered_are_written_in_full() {
        let wires: Vec<Vec<u8>> =
            (0..300_u32).map(|n| [&b"\x04"[..], &n.to_be_bytes(), b"\x00"].concat()).collect();
        let mut buffer = [0; 9_000];
        let mut writer = DnsWriter::new(&mut buffer, 0, 0).unwrap();
        for wire in &wires {
            let name = Name::from_bytes(wire).unwrap();
            assert!(writer.question(&DnsQuestion { name, kind: kind::A, class: 1, unicast_response: true }));
        }
        let dns = Dns::parse(writer.as_bytes()).unwrap();
        assert!(
            dns.questions()
                .zip(&wires)
                .all(|(question, wire)| question.name == Name::from_bytes(wire).unwrap())
        );
        assert_eq!(dns.questions().count(), 300);
    }
}
