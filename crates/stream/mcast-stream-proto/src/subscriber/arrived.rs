//! A datagram on its way through the layers, and where its body is.

use core::net::SocketAddr;
use core::ops::Range;

use super::event::BodyLocation;
use super::naks::{Arrival, Responder};
use crate::wire::{DatagramView, Flags};

/// A datagram of this stream that has arrived, or was recovered.
pub(super) struct Arrived<'a> {
    pub(super) arrival: Arrival,
    /// Where it came from. One that was recovered came from nobody.
    pub(super) from: Option<SocketAddr>,
    pub(super) datagram: &'a [u8],
    pub(super) view: DatagramView<'a>,
}

impl Arrived<'_> {
    #[inline]
    pub(super) const fn is_repair(&self) -> bool {
        self.view.header.flags.has(Flags::REPAIR)
    }

    #[inline]
    pub(super) const fn repaired_by(&self) -> Option<Responder> {
        self.arrival.repaired_by(self.is_repair())
    }
}

/// Where the body of a datagram is, and which part of that.
pub(super) type Body = (BodyLocation, Range<usize>);

/// The bytes of the datagram that was handled last, as it arrived and decrypted.
#[derive(Clone, Copy)]
pub(super) struct Lent<'a> {
    pub(super) datagram: &'a [u8],
    pub(super) decrypted: &'a [u8],
}

impl<'a> Lent<'a> {
    #[inline]
    pub(super) fn find(self, (location, range): Body) -> Option<&'a [u8]> {
        let bytes = if location == BodyLocation::Decrypted { self.decrypted } else { self.datagram };
        bytes.get(range)
    }

    pub(super) fn get(self, body: Body) -> &'a [u8] {
        self.find(body).unwrap_or_default()
    }
}
