//! DNS messages (RFC 1035 section 4) as used by mDNS (RFC 6762).

mod writer;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::list::{array_at, u8_at, u16_at, u32_at};

pub use writer::DnsWriter;

/// A DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns<'a> {
    /// The identifier that associates a response with its query; zero in mDNS.
    pub id: u16,
    /// Whether this is a response; otherwise it is a query.
    pub is_response: bool,
    /// Why a query failed; zero if it did not. Receivers ignore mDNS messages with another code (RFC 6762 section 18.11).
    pub response_code: u8,
    /// The stated number of questions.
    pub question_count: u16,
    /// The stated number of answers.
    pub answer_count: u16,
    /// The stated number of authority records. In a query, these are the records that a probe proposes.
    pub authority_count: u16,
    /// The stated number of additional records.
    pub additional_count: u16,
    message: &'a [u8],
    /// The offset of the answers.
    answers: usize,
}

impl<'a> Dns<'a> {
    /// The port of mDNS.
    pub const MDNS_PORT: u16 = 5353;

    const HEADER_LENGTH: usize = 12;

    /// Returns whether this is a group of mDNS: 224.0.0.251, or ff0x::fb in any scope.
    #[must_use]
    pub const fn is_mdns_group(group: IpAddr) -> bool {
        match group {
            IpAddr::V4(group) => group.to_bits() == Ipv4Addr::new(224, 0, 0, 251).to_bits(),
            IpAddr::V6(group) => {
                // Clear the scope.
                let bits = group.to_bits() & !(0xf << 112);
                bits == Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0xfb).to_bits()
            }
        }
    }

    /// Parses the payload of a datagram. Returns `None` if a question or the first answer is truncated or
    /// malformed, if the opcode is not that of a standard query, or if the message has neither questions nor
    /// answers.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        const OPCODE: u16 = 0x7800;
        let flags = u16_at(message, 2)?;
        let mut dns = Self {
            id: u16_at(message, 0)?,
            is_response: flags & 0x8000 != 0,
            response_code: (flags & 0x000f) as u8,
            question_count: u16_at(message, 4)?,
            answer_count: u16_at(message, 6)?,
            authority_count: u16_at(message, 8)?,
            additional_count: u16_at(message, 10)?,
            message,
            answers: message.len(),
        };
        if flags & OPCODE != 0 {
            return None;
        }
        let mut questions = dns.questions();
        let count = questions.by_ref().count();
        dns.answers = questions.offset;
        let questions_valid = count == usize::from(dns.question_count);
        let first_answer_valid = dns.answer_count == 0 || dns.answers().next().is_some();
        let is_empty = dns.question_count == 0 && dns.answer_count == 0;
        (questions_valid && first_answer_valid && !is_empty).then_some(dns)
    }

    /// Returns the questions, up to the first truncated or malformed one.
    #[must_use]
    pub const fn questions(&self) -> DnsQuestions<'a> {
        DnsQuestions { message: self.message, offset: Self::HEADER_LENGTH, left: self.question_count }
    }

    /// Returns the answers, up to the first truncated or malformed one.
    #[must_use]
    pub const fn answers(&self) -> DnsRecords<'a> {
        DnsRecords { message: self.message, offset: self.answers, left: self.answer_count as u32 }
    }

    /// Returns all records in message order, each with its section, up to the first truncated or malformed
    /// one.
    pub fn records(&self) -> impl Iterator<Item = (DnsSection, DnsRecord<'a>)> + use<'a> {
        let counts = [
            (DnsSection::Answer, self.answer_count),
            (DnsSection::Authority, self.authority_count),
            (DnsSection::Additional, self.additional_count),
        ];
        let sections =
            counts.into_iter().flat_map(|(section, count)| core::iter::repeat_n(section, count.into()));
        let left = counts.iter().map(|(_, count)| u32::from(*count)).sum();
        sections.zip(DnsRecords { message: self.message, offset: self.answers, left })
    }

    /// Returns the stated number of records in all sections.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        [self.answer_count, self.authority_count, self.additional_count].map(u32::from).iter().sum()
    }
}

/// The section that a record is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsSection {
    /// The answers. In a query, these are the known answers (RFC 6762 section 7.1).
    Answer,
    /// The authority records. In a query, these are the records that a probe proposes (RFC 6762 section 8.2).
    Authority,
    /// Additional records that receivers of the answers are likely to need.
    Additional,
}

/// A question for records of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsQuestion<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The record type (IANA, Resource Record TYPEs); 255 stands for all types.
    pub kind: u16,
    /// The class; 1 is the Internet.
    pub class: u16,
    /// Whether a unicast response is accepted (RFC 6762 section 5.4).
    pub unicast_response: bool,
}

/// A resource record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsRecord<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The record type.
    pub kind: u16,
    /// The class; 1 is the Internet.
    pub class: u16,
    /// Whether older records of the same name and type must be flushed (RFC 6762 section 10.2).
    pub cache_flush: bool,
    /// The time to live in seconds; zero withdraws the record.
    pub time_to_live: u32,
    /// The record data, undecoded.
    pub data: &'a [u8],
    /// The name in the data of PTR, CNAME and SRV records.
    pub target: Option<Name<'a>>,
}

/// The decoded data of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsValue<'a> {
    /// A and AAAA.
    Address(IpAddr),
    /// PTR and CNAME.
    Name(Name<'a>),
    /// SRV (RFC 2782): the location of a service.
    Service {
        /// The host.
        target: Name<'a>,
        /// The port.
        port: u16,
    },
    /// TXT: usually `key=value` strings (RFC 6763 section 6).
    Texts(DnsTexts<'a>),
    /// NSEC: the only types of which the name has records (RFC 6762 section 6.1).
    OnlyTypes(DnsTypes<'a>),
    /// Another type, or data that is not valid for its type.
    Other(&'a [u8]),
}

/// An iterator over the strings of a TXT record, up to the first truncated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsTexts<'a> {
    rest: &'a [u8],
}

impl<'a> DnsTexts<'a> {
    /// Reads the data of a TXT record.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }
}

impl<'a> Iterator for DnsTexts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        self.rest = rest;
        Some(text)
    }
}

/// The set of types in an NSEC record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsTypes<'a> {
    /// The types below 256, which are all that mDNS has.
    bitmap: &'a [u8],
}

impl<'a> DnsTypes<'a> {
    /// Reads the data of an NSEC record: a name, then the block of the types below 256.
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut rest = data;
        loop {
            let (&length, tail) = rest.split_first()?;
            // A pointer has two bytes, and ends the name.
            let after = match length {
                0..=63 => usize::from(length),
                64..=191 => return None,
                192.. => 1,
            };
            rest = tail.get(after..)?;
            if !(1..=63).contains(&length) {
                break;
            }
        }
        let (&[block, length], rest) = rest.split_first_chunk()?;
        (block == 0).then_some(())?;
        Some(Self { bitmap: rest.get(..usize::from(length))? })
    }

    /// Returns whether a record type is in the set. Types from 256 are not.
    #[must_use]
    pub fn contains(&self, kind: u16) -> bool {
        let byte = self.bitmap.get(usize::from(kind / 8)).copied().unwrap_or_default();
        byte & (0x80 >> (kind % 8)) != 0
    }
}

impl<'a> DnsRecord<'a> {
    /// Decodes the data.
    #[must_use]
    pub fn value(&self) -> DnsValue<'a> {
        let value = match (self.kind, self.target) {
            (kind::SRV, Some(target)) => u16_at(self.data, 4).map(|port| DnsValue::Service { target, port }),
            (_, Some(target)) => Some(DnsValue::Name(target)),
            (kind::A, _) => array_at::<4>(self.data, 0).map(|octets| DnsValue::Address(octets.into())),
            (kind::AAAA, _) => array_at::<16>(self.data, 0).map(|octets| DnsValue::Address(octets.into())),
            (kind::TXT, _) => Some(DnsValue::Texts(DnsTexts { rest: self.data })),
            (kind::NSEC, _) => DnsTypes::read(self.data).map(DnsValue::OnlyTypes),
            _ => None,
        };
        value.unwrap_or(DnsValue::Other(self.data))
    }
}

/// The record types that are decoded or printed by name.
mod kind {
    pub(super) const A: u16 = 1;
    pub(super) const CNAME: u16 = 5;
    pub(super) const PTR: u16 = 12;
    pub(super) const TXT: u16 = 16;
    pub(super) const AAAA: u16 = 28;
    pub(super) const SRV: u16 = 33;
    pub(super) const NSEC: u16 = 47;
    pub(super) const ANY: u16 = 255;
}

/// The top bit of the class: unicast response in questions, cache flush in records.
const TOP_BIT: u16 = 0x8000;

/// An iterator over the questions of a message.
#[derive(Clone, Debug)]
pub struct DnsQuestions<'a> {
    message: &'a [u8],
    offset: usize,
    left: u16,
}

impl<'a> Iterator for DnsQuestions<'a> {
    type Item = DnsQuestion<'a>;

    fn next(&mut self) -> Option<DnsQuestion<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (name, offset) = Name::read(self.message, self.offset)?;
        let class = u16_at(self.message, offset + 2)?;
        let question = DnsQuestion {
            name,
            kind: u16_at(self.message, offset)?,
            class: class & !TOP_BIT,
            unicast_response: class & TOP_BIT != 0,
        };
        self.offset = offset + 4;
        Some(question)
    }
}

/// An iterator over records of a message.
#[derive(Clone, Debug)]
pub struct DnsRecords<'a> {
    message: &'a [u8],
    offset: usize,
    left: u32,
}

impl<'a> Iterator for DnsRecords<'a> {
    type Item = DnsRecord<'a>;

    fn next(&mut self) -> Option<DnsRecord<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (name, offset) = Name::read(self.message, self.offset)?;
        let (kind, class) = (u16_at(self.message, offset)?, u16_at(self.message, offset + 2)?);
        let data_offset = offset + 10;
        let end = data_offset + usize::from(u16_at(self.message, offset + 8)?);
        let target_offset = match kind {
            kind::PTR | kind::CNAME => Some(data_offset),
            // Priority, weight and port precede the name.
            kind::SRV => Some(data_offset + 6),
            _ => None,
        };
        let record = DnsRecord {
            name,
            kind,
            class: class & !TOP_BIT,
            cache_flush: class & TOP_BIT != 0,
            time_to_live: u32_at(self.message, offset + 4)?,
            data: self.message.get(data_offset..end)?,
            target: target_offset.and_then(|offset| Name::read(self.message, offset)).map(|(name, _)| name),
        };
        self.offset = end;
        Some(record)
    }
}

/// A record type (IANA, Resource Record TYPEs). `Display` writes its name if it is known, otherwise its
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DnsKind(pub u16);

impl DnsKind {
    /// An IPv4 address.
    pub const A: Self = Self(kind::A);
    /// Another name.
    pub const PTR: Self = Self(kind::PTR);
    /// Texts.
    pub const TXT: Self = Self(kind::TXT);
    /// An IPv6 address.
    pub const AAAA: Self = Self(kind::AAAA);
    /// The host and port of a service.
    pub const SRV: Self = Self(kind::SRV);
    /// The types that a name has.
    pub const NSEC: Self = Self(kind::NSEC);
}

impl fmt::Display for DnsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            kind::A => "A",
            kind::CNAME => "CNAME",
            kind::PTR => "PTR",
            kind::TXT => "TXT",
            kind::AAAA => "AAAA",
            kind::SRV => "SRV",
            kind::NSEC => "NSEC",
            kind::ANY => "ANY",
            number => return write!(f, "type {number}"),
        })
    }
}

impl fmt::Display for DnsQuestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, DnsKind(self.kind))
    }
}

impl fmt::Display for DnsRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, DnsKind(self.kind))?;
        match self.value() {
            DnsValue::Address(address) => write!(f, " {address}")?,
            DnsValue::Name(name) => write!(f, " {name}")?,
            DnsValue::Service { target, port } => write!(f, " {target}:{port}")?,
            DnsValue::Texts(mut texts) => texts.try_for_each(|text| {
                f.write_str(" \"")?;
                write_text(f, text)?;
                f.write_str("\"")
            })?,
            DnsValue::OnlyTypes(_) | DnsValue::Other(_) => {}
        }
        if self.time_to_live == 0 { f.write_str(" goodbye") } else { Ok(()) }
    }
}

impl fmt::Display for Dns<'_> {
    /// Writes questions and records, up to a maximum number per line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut remaining = MAX_ITEMS_PER_LINE;
        if self.is_response {
            f.write_str("response")?;
            let records = self.records().map(|(_, record)| record);
            return write_list(f, ":", records, self.record_count(), &mut remaining);
        }
        let proposed = self.records().filter(|(section, _)| *section == DnsSection::Authority);
        if self.question_count > 0 {
            f.write_str("query")?;
            write_list(f, ":", self.questions(), self.question_count.into(), &mut remaining)?;
        }
        if self.answer_count > 0 {
            f.write_str(if self.question_count > 0 { "; known answers" } else { "known answers" })?;
            write_list(f, ":", self.answers(), self.answer_count.into(), &mut remaining)?;
        }
        if self.authority_count > 0 {
            f.write_str("; proposed")?;
            let proposed = proposed.map(|(_, record)| record);
            write_list(f, ":", proposed, self.authority_count.into(), &mut remaining)?;
        }
        Ok(())
    }
}

/// Limits the length of a line, because each item may have hundreds of characters.
const MAX_ITEMS_PER_LINE: usize = 32;

fn write_list(
    f: &mut fmt::Formatter<'_>,
    before: &str,
    items: impl Iterator<Item = impl fmt::Display>,
    count: u32,
    remaining: &mut usize,
) -> fmt::Result {
    let mut shown = 0;
    for item in items.take(*remaining) {
        write!(f, "{} {item}", if shown == 0 { before } else { "," })?;
        shown += 1;
    }
    *remaining -= shown;
    match count.saturating_sub(shown as u32) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// A name in a message.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    message: &'a [u8],
    offset: usize,
}

impl<'a> Name<'a> {
    /// The maximum length of a name in bytes, including length bytes (RFC 1035 section 2.3.4).
    const MAX_LENGTH: usize = 255;

    /// Reads the name at this offset. Returns it with the offset after it, or `None` if the name is
    /// truncated, too long, or points to itself.
    fn read(message: &'a [u8], offset: usize) -> Option<(Self, usize)> {
        let mut walker = LabelWalker { message, offset, lowest: offset, length: 0, end: None };
        while walker.next_label()?.is_some() {}
        Some((Self { message, offset }, walker.end?))
    }

    /// Reads a name that is not part of a message: labels, each after its length, then a zero. Returns `None` if it is
    /// truncated, too long, or followed by other bytes.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (name, end) = Self::read(bytes, 0)?;
        (end == bytes.len()).then_some(name)
    }

    /// Returns the labels of the name, the most specific one first.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (message, offset) = (self.message, self.offset);
        let mut walker = LabelWalker { message, offset, lowest: offset, length: 0, end: None };
        core::iter::from_fn(move || walker.next_label().flatten())
    }
}

/// Walks through the labels of a name. It terminates on any input, because each pointer must lead further
/// back than all before it, as RFC 1035 intends, and a name has at most 255 bytes.
struct LabelWalker<'a> {
    message: &'a [u8],
    offset: usize,
    /// The lowest offset that a pointer has led to.
    lowest: usize,
    length: usize,
    /// The offset after the name, once known.
    end: Option<usize>,
}

impl<'a> LabelWalker<'a> {
    /// Returns the next label. The outer `None` means that the name is not valid, the inner one that it ends.
    fn next_label(&mut self) -> Option<Option<&'a [u8]>> {
        loop {
            match u8_at(self.message, self.offset)? {
                0 => {
                    self.end.get_or_insert(self.offset + 1);
                    return Some(None);
                }
                length @ 1..=63 => {
                    let start = self.offset + 1;
                    let end = start + usize::from(length);
                    self.length += 1 + usize::from(length);
                    if self.length >= Name::MAX_LENGTH {
                        return None;
                    }
                    self.offset = end;
                    return self.message.get(start..end).map(Some);
                }
                192.. => {
                    let target = usize::from(u16_at(self.message, self.offset)? & 0x3fff);
                    self.end.get_or_insert(self.offset + 2);
                    if target >= self.lowest {
                        return None;
                    }
                    (self.offset, self.lowest) = (target, target);
                }
                _ => return None,
            }
        }
    }
}

impl PartialEq for Name<'_> {
    /// Compares without regard to case (RFC 6762 section 16).
    fn eq(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.labels(), other.labels());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
                _ => return false,
            }
        }
    }
}

impl Eq for Name<'_> {}

impl fmt::Display for Name<'_> {
    /// Writes labels separated by dots. Letters and digits of any script are written as is. A dot or
    /// backslash in a label, and characters that could act on a terminal, are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut labels = self.labels();
        match labels.next() {
            None => return f.write_str("."),
            Some(first) => write_label(f, first)?,
        }
        labels.try_for_each(|label| {
            f.write_str(".")?;
            write_label(f, label)
        })
    }
}

fn write_label(f: &mut fmt::Formatter<'_>, label: &[u8]) -> fmt::Result {
    write_escaped(f, label, '.')
}

/// Writes the text of a record for use between quotation marks.
fn write_text(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    write_escaped(f, text, '"')
}

/// Escapes the backslash, one special character, and characters that could act on a terminal.
fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8], special: char) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                _ if character == special => write!(f, "\\{character}")?,
                ' ' => f.write_str(" ")?,
                _ if character.is_ascii_graphic() || is_harmless(character) => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_unicode())?,
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
    }
    Ok(())
}

/// Returns whether this is a letter or digit of any script, which excludes control, format and direction
/// characters.
fn is_harmless(character: char) -> bool {
    !character.is_ascii() && character.is_alphanumeric()
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn read(message: &[u8], offset: usize) -> Option<(std::string::String, usize)> {
        Name::read(message, offset).map(|(name, end)| (name.to_string(), end))
    }

    #[test]
    fn pointers_lead_to_earlier_names() {
        let message = b"\x05local\x00\x03cam\xc0\x00\xff";
        assert_eq!(read(message, 0), Some(("local".into(), 7)));
        assert_eq!(read(message, 7), Some(("cam.local".into(), 13)));
        assert_eq!(read(b"\x00", 0), Some((".".into(), 1)));
    }

    #[test]
    fn pointer_loops_and_forward_pointers_are_rejected() {
        assert_eq!(read(b"\xc0\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0\x00", 0), None);
        assert_eq!(read(b"\xc0\x02\x01a\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0", 0), None);
        assert_eq!(read(b"\x40a", 0), None);
    }

    #[test]
    fn name_longer_than_255_bytes_is_rejected() {
        let mut message = std::vec::Vec::new();
        for _ in 0..4 {
            message.push(63);
            message.extend([b'a'; 63]);
        }
        message.push(0);
        assert_eq!(read(&message, 0), None);
        message[192] = 61;
        message[192 + 62] = 0;
        assert!(read(&message, 0).is_some());
    }

    #[test]
    fn types_of_a_denial_are_read_after_its_name() {
        let types =
            |data| DnsTypes::read(data).map(|types| [1, 16, 28, 33, 300].map(|kind| types.contains(kind)));
        assert_eq!(types(b"\xc0\x0c\x00\x01\x40"), Some([true, false, false, false, false]));
        let named = b"\x01a\x05local\x00\x00\x05\x00\x00\x80\x00\x40";
        assert_eq!(types(named), Some([false, true, false, true, false]));
        for invalid in
            [&b"\xc0"[..], b"\xc0\x0c", b"\x01", b"\x00\x00\x05\x01", b"\x00\x01\x01\x40", b"\x40\x00"]
        {
            assert_eq!(types(invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn control_characters_in_a_name_are_escaped() {
        let (text, _) = read(b"\x07a.b\\\x1b[m\x03\xc3\xa4\xff\x00", 0).unwrap();
        assert_eq!(text, "a\\.b\\\\\\u{1b}[m.\u{e4}\\xff");
    }
}
