//! Parsing and writing messages.

use core::net::IpAddr;

use super::hello::put_unicast;
use super::message::kind;
use super::{
    Assert, Bootstrap, CandidateRp, DfElection, DfStep, EncodedGroup, JoinPrune, Metric, PimMessage, Register,
};
use crate::EmitError;
use crate::checksum::{ChecksumStatus, InternetChecksum};
use crate::ip::protocol;
use crate::list::{Element, List, Writer, u8_at, u16_at, u32_at};

/// Why bytes are not a valid PIM message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PimError {
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

impl<'a> PimMessage<'a> {
    /// The length of version, type, reserved byte and checksum.
    pub(super) const HEADER_LENGTH: usize = 4;

    /// The part of a Register that the checksum covers: the header and the flags.
    const REGISTER_HEADER_LENGTH: usize = 8;

    /// Parses the payload of an IP packet. The checksum is not verified: see [`Self::checksum`].
    ///
    /// # Errors
    /// Returns [`PimError`] if the message is not valid. Such a message must be ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PimError> {
        let too_short = PimError::TooShort(bytes.len());
        let first = u8_at(bytes, 0).ok_or(too_short)?;
        if first >> 4 != 2 {
            return Err(PimError::Version(first >> 4));
        }
        let body = bytes.get(Self::HEADER_LENGTH..).ok_or(too_short)?;
        let kind = first & 0x0f;
        parse_body(kind, bytes, body).ok_or_else(|| PimError::Incomplete(name(kind)))
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
fn parse_body<'a>(kind: u8, bytes: &'a [u8], body: &'a [u8]) -> Option<PimMessage<'a>> {
    Some(match kind {
        kind::HELLO => PimMessage::Hello(List::take_all(body)?),
        kind::REGISTER => PimMessage::Register(parse_register(body)?),
        kind::REGISTER_STOP => parse_register_stop(body)?,
        kind::JOIN_PRUNE => PimMessage::JoinPrune(JoinPrune::parse(body)?),
        kind::BOOTSTRAP => PimMessage::Bootstrap(Bootstrap::parse(body)?),
        kind::ASSERT => PimMessage::Assert(parse_assert(body)?),
        kind::GRAFT => PimMessage::Graft(JoinPrune::parse(body)?),
        kind::GRAFT_ACK => PimMessage::GraftAck(JoinPrune::parse(body)?),
        kind::CANDIDATE_RP => PimMessage::CandidateRp(CandidateRp::parse(body)?),
        kind::DF_ELECTION => parse_election(bytes, body)?,
        kind => PimMessage::Other { kind, body },
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
        return bytes.get(..PimMessage::REGISTER_HEADER_LENGTH).unwrap_or(bytes);
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

fn parse_register_stop(body: &[u8]) -> Option<PimMessage<'_>> {
    let (group, rest) = EncodedGroup::split(body)?;
    let (source, _) = IpAddr::split(rest)?;
    Some(PimMessage::RegisterStop { group, source })
}

/// The R bit, above the 31 bits of the preference.
pub(super) const RENDEZVOUS_TREE: u32 = 0x8000_0000;

fn parse_assert(body: &[u8]) -> Option<Assert> {
    let (group, rest) = EncodedGroup::split(body)?;
    let (source, rest) = IpAddr::split(rest)?;
    let metric = Metric { preference: u32_at(rest, 0)? & !RENDEZVOUS_TREE, metric: u32_at(rest, 4)? };
    Some(Assert { group, source, rendezvous_tree: u32_at(rest, 0)? & RENDEZVOUS_TREE != 0, metric })
}

fn parse_election<'a>(bytes: &'a [u8], body: &'a [u8]) -> Option<PimMessage<'a>> {
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
    Some(PimMessage::DfElection(DfElection { rendezvous_point, metric, step }))
}

fn parse_metric(bytes: &[u8]) -> Option<Metric> {
    Some(Metric { preference: u32_at(bytes, 0)?, metric: u32_at(bytes, 4)? })
}

impl PimMessage<'_> {
    /// Writes the message with its checksum to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the message does not fit, [`EmitError::TooMany`] if a list is
    /// too long for its count field, [`EmitError::NoSuchMessage`] for a [`PimMessage::Other`] of a type above
    /// 15, and [`EmitError::MixedFamilies`] if source and destination are of different families.
    pub fn emit(&self, buffer: &mut [u8], source: IpAddr, destination: IpAddr) -> Result<usize, EmitError> {
        let mut writer = Writer::new(buffer);
        if self.kind() > 0x0f {
            return Err(EmitError::NoSuchMessage);
        }
        writer.put(&[0x20 | self.kind(), self.subtype(), 0, 0])?;
        self.put_body(&mut writer)?;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(EmitError::MixedFamilies);
        }
        let covered = covered_by_checksum(writer.written(0));
        let checksum = sum(covered, source, destination).ok_or(EmitError::TooMany)?.finish();
        writer.patch_u16(2, checksum)?;
        Ok(writer.position())
    }

    /// Returns the second byte, which is reserved in all messages except DF election.
    const fn subtype(&self) -> u8 {
        match self {
            Self::DfElection(election) => election.step.number() << 4,
            _ => 0,
        }
    }

    fn put_body(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        match self {
            Self::Hello(options) => options.iter().try_for_each(|option| option.put(writer)),
            Self::Register(register) => put_register(writer, register),
            Self::RegisterStop { group, source } => {
                group.put(writer)?;
                put_unicast(writer, *source)
            }
            Self::JoinPrune(message) | Self::Graft(message) | Self::GraftAck(message) => message.put(writer),
            Self::Bootstrap(message) => message.put(writer),
            Self::Assert(assert) => put_assert(writer, assert),
            Self::CandidateRp(message) => message.put(writer),
            Self::DfElection(election) => put_election(writer, election),
            Self::Other { body, .. } => writer.put(body),
        }
    }
}

fn put_register(writer: &mut Writer<'_>, register: &Register<'_>) -> Result<(), EmitError> {
    let border = if register.border { REGISTER_BORDER } else { 0 };
    let null = if register.null { REGISTER_NULL } else { 0 };
    writer.put_u32(border | null)?;
    writer.put(register.packet)
}

fn put_assert(writer: &mut Writer<'_>, assert: &Assert) -> Result<(), EmitError> {
    let rendezvous_tree = if assert.rendezvous_tree { RENDEZVOUS_TREE } else { 0 };
    assert.group.put(writer)?;
    put_unicast(writer, assert.source)?;
    writer.put_u32(rendezvous_tree | assert.metric.preference & !RENDEZVOUS_TREE)?;
    writer.put_u32(assert.metric.metric)
}

fn put_election(writer: &mut Writer<'_>, election: &DfElection) -> Result<(), EmitError> {
    put_unicast(writer, election.rendezvous_point)?;
    put_metric(writer, election.metric)?;
    match election.step {
        DfStep::Offer | DfStep::Winner => Ok(()),
        DfStep::Backoff { offering, metric, interval } => {
            put_unicast(writer, offering)?;
            put_metric(writer, metric)?;
            writer.put_u16(interval)
        }
        DfStep::Pass { new_winner, metric } => {
            put_unicast(writer, new_winner)?;
            put_metric(writer, metric)
        }
    }
}

fn put_metric(writer: &mut Writer<'_>, metric: Metric) -> Result<(), EmitError> {
    writer.put_u32(metric.preference)?;
    writer.put_u32(metric.metric)
}
