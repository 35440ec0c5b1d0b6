//! Datagrams other than data that wait to be sent.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::wire::{Header, NakWriter, PacketWriter, TAG_LENGTH, WriteError};

/// More than this never waits: what cannot be sent in time is made anew.
const MOST: usize = 256;
/// The longest datagram other than data: a list with everything around it.
const LONGEST: usize = 64 + NakWriter::LONGEST_BODY + 64 + TAG_LENGTH;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the stream's group, on each of its paths.
    Group,
    /// To this address alone.
    Address(SocketAddr),
    /// To the group on which streams tell their names.
    Discovery,
}

/// A datagram other than data, ready to be sent.
#[derive(Debug)]
pub struct Control {
    /// Where it goes.
    pub to: Target,
    bytes: Vec<u8>,
}

impl Control {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A queue whose buffers are used again.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Control>,
    spare: Vec<Vec<u8>>,
}

impl Outbox {
    /// Adds a datagram; says how long it is, 0 if there was no room.
    pub(crate) fn push(
        &mut self,
        to: Target,
        header: &Header,
        write: impl FnOnce(&mut PacketWriter<'_>) -> Result<(), WriteError>,
        seal: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> usize {
        if self.waiting.len() >= MOST {
            return 0;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.resize(LONGEST, 0);
        let written = PacketWriter::new(&mut bytes, header).and_then(|mut writer| {
            write(&mut writer)?;
            Ok(writer.finish())
        });
        bytes.truncate(written.unwrap_or(0));
        if written.is_err() || !seal(&mut bytes) {
            self.spare.push(bytes);
            return 0;
        }
        let length = bytes.len();
        self.waiting.push_back(Control { to, bytes });
        length
    }

    pub(crate) fn pop(&mut self) -> Option<Control> {
        self.waiting.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a sent datagram's buffer back.
    pub(crate) fn reuse(&mut self, control: Control) {
        if self.spare.len() < MOST {
            self.spare.push(control.bytes);
        }
    }
}
