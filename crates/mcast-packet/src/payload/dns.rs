//! DNS messages (RFC 1035 section 4) as mDNS sends them (RFC 6762): who has which name.

mod name;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use name::Name;

use crate::bytes::{array_at, u16_at, u32_at};

/// A DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns<'a> {
    /// Which question an answer belongs to; zero in mDNS.
    pub id: u16,
    /// Whether this is an answer; if not, it asks.
    pub is_response: bool,
    /// How many questions it says it has.
    pub question_count: u16,
    /// How many answers it says it has.
    pub answer_count: u16,
    /// How many records of authority: in a question, what the asker means to be called.
    pub authority_count: u16,
    /// How many further records.
    pub additional_count: u16,
    message: &'a [u8],
    /// Where the answers start.
    answers: usize,
}

impl<'a> Dns<'a> {
    /// The port of mDNS.
    pub const MDNS_PORT: u16 = 5353;

    const HEADER_LENGTH: usize = 12;

    /// Whether this is a group of mDNS: 224.0.0.251, or ff02::fb and its like in other scopes.
    #[must_use]
    pub const fn is_mdns_group(group: IpAddr) -> bool {
        match group {
            IpAddr::V4(group) => group.to_bits() == Ipv4Addr::new(224, 0, 0, 251).to_bits(),
            IpAddr::V6(group) => {
                // All bits but those of the scope.
                let bits = group.to_bits() & !(0xf << 112);
                bits == Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0xfb).to_bits()
            }
        }
    }

    /// The message in the payload of a datagram. `None` when a question or the first answer is cut off
    /// or malformed, when it is no plain question or answer, or when nothing is in it.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        const OPERATION: u16 = 0x7800;
        let flags = u16_at(message, 2)?;
        let mut dns = Self {
            id: u16_at(message, 0)?,
            is_response: flags & 0x8000 != 0,
            question_count: u16_at(message, 4)?,
            answer_count: u16_at(message, 6)?,
            authority_count: u16_at(message, 8)?,
            additional_count: u16_at(message, 10)?,
            message,
            answers: message.len(),
        };
        if flags & OPERATION != 0 {
            return None;
        }
        let mut questions = dns.questions();
        let count = questions.by_ref().count();
        dns.answers = questions.offset;
        let whole = count == usize::from(dns.question_count);
        let starts_well = dns.answer_count == 0 || dns.answers().next().is_some();
        let says_something = dns.question_count > 0 || dns.answer_count > 0;
        (whole && starts_well && says_something).then_some(dns)
    }

    /// The questions, up to one that is cut off or malformed.
    #[must_use]
    pub const fn questions(&self) -> DnsQuestions<'a> {
        DnsQuestions { message: self.message, offset: Self::HEADER_LENGTH, left: self.question_count }
    }

    /// The answers, up to one that is cut off or malformed.
    #[must_use]
    pub const fn answers(&self) -> DnsRecords<'a> {
        DnsRecords { message: self.message, offset: self.answers, left: self.answer_count }
    }
}

/// Asks for records of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsQuestion<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The type of record (IANA, Resource Record TYPEs); 255 asks for all.
    pub kind: u16,
    /// The class: 1, the Internet.
    pub class: u16,
    /// Whether the answer may come by unicast (RFC 6762 section 5.4).
    pub unicast_response: bool,
}

/// A record: something that is said about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsRecord<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The type of record.
    pub kind: u16,
    /// The class: 1, the Internet.
    pub class: u16,
    /// Whether older records of the same name and type are to be forgotten (RFC 6762 section 10.2).
    pub cache_flush: bool,
    /// For how many seconds it holds; zero takes it back.
    pub time_to_live: u32,
    /// What is said, as it stands in the message.
    pub data: &'a [u8],
    /// The name that is said, in records of the types PTR, CNAME and SRV.
    pub target: Option<Name<'a>>,
}

/// The types of records that have names here, and those of which the data is a name.
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

/// Unicast response in questions, cache flush in records.
const TOP_BIT: u16 = 0x8000;

/// Goes through the questions of a message.
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

/// Goes through the answers of a message.
#[derive(Clone, Debug)]
pub struct DnsRecords<'a> {
    message: &'a [u8],
    offset: usize,
    left: u16,
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
            // Priority, weight and port come first.
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

struct Kind(u16);

impl fmt::Display for Kind {
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
        write!(f, "{} {}", self.name, Kind(self.kind))
    }
}

impl fmt::Display for DnsRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, Kind(self.kind))?;
        match (self.kind, &self.target) {
            (_, Some(target)) => write!(f, " {target}")?,
            (kind::A, _) => {
                if let Some(address) = array_at::<4>(self.data, 0) {
                    write!(f, " {}", Ipv4Addr::from(address))?;
                }
            }
            (kind::AAAA, _) => {
                if let Some(address) = array_at::<16>(self.data, 0) {
                    write!(f, " {}", Ipv6Addr::from(address))?;
                }
            }
            _ => {}
        }
        if self.time_to_live == 0 { f.write_str(" goodbye") } else { Ok(()) }
    }
}

impl fmt::Display for Dns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = |f: &mut fmt::Formatter<'_>, count: u16| match count.saturating_sub(1) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        };
        match (self.answers().next(), self.questions().next()) {
            (Some(answer), _) if self.is_response => {
                write!(f, "answer: {answer}")?;
                more(f, self.answer_count)
            }
            (_, Some(question)) => {
                write!(f, "question: {question}")?;
                more(f, self.question_count)
            }
            (Some(answer), None) => write!(f, "known: {answer}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}
