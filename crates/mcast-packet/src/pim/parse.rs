//! Parsing messages.

use core::net::IpAddr;

use super::message::kind;
use super::{Assert, Bootstrap, CandidateRp, DfElection, DfStep, EncodedGroup, JoinPrune};
use super::{Message, Metric, Register};
use crate::bytes::{u8_at, u16_at, u32_at};
use crate::checksum::{ChecksumStatus, InternetChecksum};
use crate::ip::protocol;
use crate::list::{Element, List};

/// Why bytes are not a valid PIM message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The message is shorter than its header.
    #[error("is too short: {0} bytes")]
    TooShort(usize),
    /// The version is not 2. Version 1 is carried in IGMP.
    #[error("has the unsupported version {0}")]
    Version(u8),
    /// A field or a list is truncated, or contains an address of an unknown family or encoding.
    #[error("{0} is truncated or has an address of an unknown family")]
    Incomplete(&'static str),
}

impl<'a> Message<'a> {
    /// The length of version, type, reserved byte and checksum.
    pub(super) const HEADER_LENGTH: usize = 4;

    /// The part of a Register that the checksum covers: the header and the flags.
    const REGISTER_HEADER_LENGTH: usize = 8;

    /// Parses the payload of an IP packet. The checksum is not verified: see [`Self::checksum`].
    ///
    /// # Errors
    /// Returns [`ParseError`] if the message is not valid. Such a message must be ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let too_short = ParseError::TooShort(bytes.len());
        let first = u8_at(bytes, 0).ok_or(too_short)?;
        if first >> 4 != 2 {
            return Err(ParseError::Version(first >> 4));
        }
        let body = bytes.get(Self::HEADER_LENGTH..).ok_or(too_short)?;
        let kind = first & 0x0f;
        parse_body(kind, bytes, body).ok_or_else(|| ParseError::Incomplete(name(kind)))
    }

    /// Verifies the checksum of a message sent from `source` to `destination`. In IPv4 it does not cover the
    /// addresses. The checksum of a Register covers its first 8 bytes. One over the whole message is accepted
    /// too, because some routers send it (RFC 7761 section 4.9).
    #[must_use]
    pub fn checksum(bytes: &[u8], source: IpAddr, destination: IpAddr) -> ChecksumStatus {
        let compare = |covered: &[u8]| match (u16_at(bytes, 2), sum(covered, source, destination)) {
            (Some(found), Some(others)) => ChecksumStatus::compare(found, others),
            _ => ChecksumStatus::NotComputable,
        };
        let status = compare(covered_by_checksum(bytes));
        if status.is_invalid() && compare(bytes) == ChecksumStatus::Valid {
            return ChecksumStatus::Valid;
        }
        status
    }
}

/// Parses the part after the header. Returns `None` if a field or list is truncated.
fn parse_body<'a>(kind: u8, bytes: &'a [u8], body: &'a [u8]) -> Option<Message<'a>> {
    Some(match kind {
        kind::HELLO => Message::Hello(List::take_all(body)?),
        kind::REGISTER => Message::Register(parse_register(body)?),
        kind::REGISTER_STOP => parse_register_stop(body)?,
        kind::JOIN_PRUNE => Message::JoinPrune(JoinPrune::parse(body)?),
        kind::BOOTSTRAP => Message::Bootstrap(Bootstrap::parse(body)?),
        kind::ASSERT => Message::Assert(parse_assert(body)?),
        kind::GRAFT => Message::Graft(JoinPrune::parse(body)?),
        kind::GRAFT_ACK => Message::GraftAck(JoinPrune::parse(body)?),
        kind::CANDIDATE_RP => Message::CandidateRp(CandidateRp::parse(body)?),
        kind::DF_ELECTION => parse_election(bytes, body)?,
        kind => Message::Other { kind, body },
    })
}

/// Returns the name of a message type.
const fn name(kind: u8) -> &'static str {
    match kind {
        kind::HELLO => "hello",
        kind::REGISTER => "register",
        kind::REGISTER_STOP => "register-stop",
        kind::JOIN_PRUNE => "join/prune",
        kind::BOOTSTRAP => "bootstrap",
        kind::ASSERT => "assert",
        kind::GRAFT => "graft",
        kind::GRAFT_ACK => "graft-ack",
        kind::CANDIDATE_RP => "candidate-RP",
        kind::DF_ELECTION => "DF election",
        _ => "message",
    }
}

/// Returns the part of a message that its checksum covers.
pub(super) fn covered_by_checksum(bytes: &[u8]) -> &[u8] {
    if u8_at(bytes, 0).is_some_and(|first| first & 0x0f == kind::REGISTER) {
        return bytes.get(..Message::REGISTER_HEADER_LENGTH).unwrap_or(bytes);
    }
    bytes
}

/// Returns the sum of a message without its checksum field.
pub(super) fn sum(covered: &[u8], source: IpAddr, destination: IpAddr) -> Option<InternetChecksum> {
    let initial = if source.is_ipv6() {
        let length = u32::try_from(covered.len()).ok()?;
        InternetChecksum::pseudo_header(source, destination, protocol::PIM, length)?
    } else {
        InternetChecksum::new()
    };
    Some(initial.bytes(covered.get(..2)?).bytes(covered.get(4..)?))
}

/// The B bit of a Register.
pub(super) const REGISTER_BORDER: u32 = 0x8000_0000;
/// The N bit of a Register.
pub(super) const REGISTER_NULL: u32 = 0x4000_0000;

fn parse_register(body: &[u8]) -> Option<Register<'_>> {
    let flags = u32_at(body, 0)?;
    Some(Register {
        border: flags & REGISTER_BORDER != 0,
        null: flags & REGISTER_NULL != 0,
        packet: body.get(4..)?,
    })
}

fn parse_register_stop(body: &[u8]) -> Option<Message<'_>> {
    let (group, rest) = EncodedGroup::split(body)?;
    let (source, _) = IpAddr::split(rest)?;
    Some(Message::RegisterStop { group, source })
}

/// The R bit, above the 31 bits of the preference.
pub(super) const RENDEZVOUS_TREE: u32 = 0x8000_0000;

fn parse_assert(body: &[u8]) -> Option<Assert> {
    let (group, rest) = EncodedGroup::split(body)?;
    let (source, rest) = IpAddr::split(rest)?;
    let metric = Metric { preference: u32_at(rest, 0)? & !RENDEZVOUS_TREE, metric: u32_at(rest, 4)? };
    Some(Assert { group, source, rendezvous_tree: u32_at(rest, 0)? & RENDEZVOUS_TREE != 0, metric })
}

fn parse_election<'a>(bytes: &'a [u8], body: &'a [u8]) -> Option<Message<'a>> {
    let (rendezvous_point, rest) = IpAddr::split(body)?;
    let metric = parse_metric(rest)?;
    let rest = rest.get(8..)?;
    let step = match u8_at(bytes, 1)? >> 4 {
        1 => DfStep::Offer,
        2 => DfStep::Winner,
        3 => {
            let (offering, rest) = IpAddr::split(rest)?;
            DfStep::Backoff { offering, metric: parse_metric(rest)?, interval: u16_at(rest, 8)? }
        }
        4 => {
            let (new_winner, rest) = IpAddr::split(rest)?;
            DfStep::Pass { new_winner, metric: parse_metric(rest)? }
        }
        _ => return None,
    };
    Some(Message::DfElection(DfElection { rendezvous_point, metric, step }))
}

fn parse_metric(bytes: &[u8]) -> Option<Metric> {
    Some(Metric { preference: u32_at(bytes, 0)?, metric: u32_at(bytes, 4)? })
}
