//! Writing messages.

use core::net::IpAddr;

use super::address::put_unicast;
use super::parse::{REGISTER_BORDER, REGISTER_NULL, RENDEZVOUS_TREE, covered_by_checksum, sum};
use super::{Assert, DfElection, DfStep, Metric, PimMessage, Register};
use crate::EmitError;
use crate::bytes::Writer;

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
