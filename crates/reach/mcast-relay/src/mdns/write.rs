//! Writes the parts of a message that are sent on, with compressed names (RFC 1035 section 4.1.4).

use std::collections::HashMap;

use mcast_packet::payload::{DnsQuestion, DnsRecord, DnsSection, Name};

const HEADER_LENGTH: usize = 12;
/// The length of priority, weight and port, which precede the name in an SRV record.
const SRV_HEAD: usize = 6;
const SRV: u16 = 33;
/// The top bit of the class: unicast response in questions, cache flush in records.
const TOP_BIT: u16 = 0x8000;

pub(super) struct MessageWriter {
    bytes: Vec<u8>,
    /// Where each name that was written starts, as lower-case labels, from the most specific one on.
    names: HashMap<Vec<Vec<u8>>, u16>,
    /// The number of questions, answers, authority and additional records.
    counts: [u16; 4],
}

impl MessageWriter {
    /// Starts a message with the identifier and the flags of this one.
    pub(super) fn new(original: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LENGTH];
        bytes.iter_mut().zip(original.iter().take(4)).for_each(|(to, from)| *to = *from);
        Self { bytes, names: HashMap::new(), counts: [0; 4] }
    }

    pub(super) fn question(&mut self, question: &DnsQuestion<'_>) {
        self.name(question.name);
        self.number(question.kind);
        self.number(question.class | if question.unicast_response { TOP_BIT } else { 0 });
        self.counts[0] += 1;
    }

    pub(super) fn record(&mut self, section: DnsSection, record: &DnsRecord<'_>) {
        self.name(record.name);
        self.number(record.kind);
        self.number(record.class | if record.cache_flush { TOP_BIT } else { 0 });
        self.bytes.extend(record.time_to_live.to_be_bytes());
        let length_at = self.bytes.len();
        self.number(0);
        match record.target {
            None => self.bytes.extend_from_slice(record.data),
            Some(target) => {
                if record.kind == SRV {
                    self.bytes.extend(record.data.iter().take(SRV_HEAD));
                }
                self.name(target);
            }
        }
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.patch(length_at, length);
        self.counts[match section {
            DnsSection::Answer => 1,
            DnsSection::Authority => 2,
            DnsSection::Additional => 3,
        }] += 1;
    }

    /// Returns the message; `None` if it has no questions and no records.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        for (position, count) in self.counts.into_iter().enumerate() {
            self.patch(4 + 2 * position, count);
        }
        self.counts.iter().any(|count| *count > 0).then_some(self.bytes)
    }

    fn name(&mut self, name: Name<'_>) {
        let labels: Vec<&[u8]> = name.labels().collect();
        let lower: Vec<Vec<u8>> = labels.iter().map(|label| label.to_ascii_lowercase()).collect();
        for (position, label) in labels.iter().enumerate() {
            if let Some(earlier) = self.names.get(&lower[position..]) {
                self.number(0xc000 | *earlier);
                return;
            }
            // A pointer has 14 bits.
            if let Some(offset) = u16::try_from(self.bytes.len()).ok().filter(|offset| *offset < 0x4000) {
                self.names.insert(lower[position..].to_vec(), offset);
            }
            self.bytes.push(label.len() as u8);
            self.bytes.extend_from_slice(label);
        }
        self.bytes.push(0);
    }

    fn number(&mut self, number: u16) {
        self.bytes.extend(number.to_be_bytes());
    }

    fn patch(&mut self, offset: usize, number: u16) {
        if let Some(field) = self.bytes.get_mut(offset..offset + 2) {
            field.copy_from_slice(&number.to_be_bytes());
        }
    }
}
