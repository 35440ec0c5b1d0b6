//! MPEG transport streams (ISO/IEC 13818-1 section 2.4.3): television, in cells of 188 bytes.

mod continuity;

use core::fmt;

pub use continuity::{ContinuityCounts, ContinuityTracker, PidCounts};

use crate::EmitError;
use crate::bytes::{Writer, u8_at, u16_at};

/// A datagram full of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpegTs<'a> {
    bytes: &'a [u8],
}

impl<'a> MpegTs<'a> {
    /// The cells in the payload of a datagram. `None` when it does not consist of whole cells, each of
    /// which starts with the sync byte.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let whole = !bytes.is_empty() && bytes.len().is_multiple_of(Cell::LENGTH);
        let in_sync = || bytes.chunks(Cell::LENGTH).all(|cell| cell.first() == Some(&Cell::SYNC));
        (whole && in_sync()).then_some(Self { bytes })
    }

    /// How many cells there are; at least one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / Cell::LENGTH
    }

    /// Never: there is at least one cell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The cells in their order.
    #[must_use]
    pub const fn cells(&self) -> Cells<'a> {
        Cells { bytes: self.bytes }
    }
}

/// Goes through the cells of a datagram.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        let (cell, rest) = self.bytes.split_at_checked(Cell::LENGTH)?;
        self.bytes = rest;
        Cell::parse(cell)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = self.bytes.len() / Cell::LENGTH;
        (length, Some(length))
    }
}

impl ExactSizeIterator for Cells<'_> {}

/// One cell, which the standard calls a transport stream packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// Which of the streams inside it belongs to, 0 to 8191.
    pub pid: u16,
    /// Whether a receiver further up could not repair it.
    pub transport_error: bool,
    /// Whether something of the stream's own starts here: a table, or a packet of it.
    pub unit_start: bool,
    /// Whether the payload is scrambled.
    pub scrambled: bool,
    /// 0 to 15, one more than in the stream's cell before, if there is a payload.
    pub continuity: u8,
    /// Whether a leap of the continuity counter is meant (the discontinuity indicator).
    pub discontinuity: bool,
    /// What is inside; `None` when the cell has but an adaptation field.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Cell<'a> {
    /// The length of every cell in bytes.
    pub const LENGTH: usize = 188;

    /// The PID of cells that fill up the rate.
    pub const NULL_PID: u16 = 0x1fff;

    const SYNC: u8 = 0x47;
    const HEADER_LENGTH: usize = 4;

    /// A cell that holds this much of a stream; more than 184 bytes are not written.
    #[must_use]
    pub const fn new(pid: u16, continuity: u8, payload: &'a [u8]) -> Self {
        Self {
            pid,
            transport_error: false,
            unit_start: false,
            scrambled: false,
            continuity,
            discontinuity: false,
            payload: Some(payload),
        }
    }

    /// A cell without its sync byte, or with an adaptation field that runs past the end, is none.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        const DISCONTINUITY: u8 = 0x80;
        let (flags, control) = (u16_at(bytes, 1)?, u8_at(bytes, 3)?);
        let (has_adaptation, has_payload) = (control & 0x20 != 0, control & 0x10 != 0);
        let adaptation_length = if has_adaptation { usize::from(u8_at(bytes, 4)?) } else { 0 };
        let payload_offset = Self::HEADER_LENGTH + if has_adaptation { 1 + adaptation_length } else { 0 };
        Some(Self {
            pid: flags & 0x1fff,
            transport_error: flags & 0x8000 != 0,
            unit_start: flags & 0x4000 != 0,
            scrambled: control & 0xc0 != 0,
            continuity: control & 0x0f,
            discontinuity: adaptation_length > 0 && u8_at(bytes, 5)? & DISCONTINUITY != 0,
            payload: has_payload.then(|| bytes.get(payload_offset..).unwrap_or_default()),
        })
    }

    /// Writes the cell, 188 bytes of it, to the start of the buffer. What the payload leaves free is
    /// stuffed with an adaptation field, as the standard has it.
    ///
    /// # Errors
    /// [`EmitError::BufferTooShort`]; [`EmitError::TooMany`] for a payload that does not fit.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let room = Self::LENGTH - Self::HEADER_LENGTH;
        let payload = self.payload.unwrap_or_default();
        let free = room.checked_sub(payload.len()).ok_or(EmitError::TooMany)?;
        let adaptation = if free > 0 { 0x20 } else { 0 };
        if self.discontinuity && free < 2 {
            return Err(EmitError::TooMany);
        }
        let bit = |set, bit| if set { bit } else { 0 };
        let flags = bit(self.transport_error, 0x8000) | bit(self.unit_start, 0x4000) | (self.pid & 0x1fff);
        let scrambled = if self.scrambled { 0x80 } else { 0 };
        let control = adaptation | if self.payload.is_some() { 0x10 } else { 0 };
        let mut writer = Writer::new(buffer);
        writer.put_u8(Self::SYNC)?;
        writer.put_u16(flags)?;
        writer.put_u8(scrambled | control | self.continuity & 0x0f)?;
        for position in 0..free {
            writer.put_u8(match position {
                0 => (free - 1) as u8,
                1 if self.discontinuity => 0x80,
                1 => 0,
                _ => 0xff,
            })?;
        }
        writer.put(payload)?;
        Ok(writer.position())
    }
}

impl fmt::Display for MpegTs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let cells = self.len();
        write!(f, "MPEG-TS, {cells} {}, PID", if cells == 1 { "cell" } else { "cells" })?;
        let mut shown = [None; SHOWN];
        let mut count = 0;
        for pid in self.cells().map(|cell| cell.pid) {
            if shown.contains(&Some(pid)) {
                continue;
            }
            let Some(place) = shown.get_mut(count) else {
                return f.write_str(" ...");
            };
            *place = Some(pid);
            count += 1;
            write!(f, " {pid}")?;
        }
        Ok(())
    }
}
