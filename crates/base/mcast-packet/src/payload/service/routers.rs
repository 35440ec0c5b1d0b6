//! Further protocols of routers, of hosts and of clocks: their structure and their fields.

use core::fmt;

use super::Service;
use crate::list::array_at;

/// The types of messages that have the protocol number of IGMP and belong to other protocols (IANA, IGMP Type Numbers).
pub(super) mod igmp_type {
    pub(crate) const DVMRP: u8 = 0x13;
    pub(crate) const PIM_V1: u8 = 0x14;
    pub(crate) const TRACE_RESPONSE: u8 = 0x1e;
    pub(crate) const TRACE: u8 = 0x1f;
    pub(crate) const RGMP_LEAVE: u8 = 0xfc;
    pub(crate) const RGMP_HELLO: u8 = 0xff;
}

/// The type of RPL messages in ICMPv6 (RFC 6550).
pub(super) const RPL: u8 = 155;

impl Service<'_> {
    pub(super) fn is_valid_ptp_v1(&self) -> bool {
        self.bytes.len() >= 40 && self.u16(0) == 1 && matches!(self.u8(20), 1 | 2) && self.u8(32) <= 4
    }

    pub(super) fn is_valid_slp(&self) -> bool {
        match self.u8(0) {
            1 => matches!(self.u8(1), 1..=10) && usize::from(self.u16(2)) == self.bytes.len(),
            2 => matches!(self.u8(1), 1..=11) && (self.u32(1) & 0x00ff_ffff) as usize == self.bytes.len(),
            _ => false,
        }
    }

    /// Returns whether a message begins with a TLV of DNCP or HNCP that ends within it.
    pub(super) fn is_valid_hncp(&self) -> bool {
        let is_known = matches!(self.u16(0), 1..=10 | 32..=50);
        self.bytes.len() >= 4 && is_known && usize::from(self.u16(2)) + 4 <= self.bytes.len()
    }

    pub(super) fn ptp_v1(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u8(32) {
            0 => "sync",
            1 => "delay request",
            2 => "follow-up",
            3 => "delay response",
            _ => "management",
        };
        let clock: [u8; 6] = array_at(self.bytes, 22).unwrap_or_default();
        write!(f, " {kind}, domain {}, number {}, clock ", self.text(4, 16), self.u16(30))?;
        clock.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, " port {}", self.u16(28))
    }

    pub(super) fn babel(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u8(4) {
            2 => "acknowledgment request",
            3 => "acknowledgment",
            4 => "hello",
            5 => "IHU",
            6 => "router ID",
            7 => "next hop",
            8 => "update",
            9 => "route request",
            10 => "sequence number request",
            _ => "message",
        };
        write!(f, " {kind}")
    }

    pub(super) fn ldp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.u16(10) & 0x7fff == 0x0100 { "hello" } else { "message" };
        write!(f, " {kind}, router {}, label space {}", self.v4(4), self.u16(8))
    }

    pub(super) fn hncp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u16(0) {
            1 => "request for the network state",
            2 => "request for a node state",
            3 => "node endpoint",
            4 => "network state",
            5 => "node state",
            _ => "message",
        };
        write!(f, " {kind}")
    }

    pub(super) fn slp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u8(1) {
            1 => "service request",
            2 => "service reply",
            3 => "service registration",
            4 => "service deregistration",
            5 => "acknowledgment",
            6 => "attribute request",
            7 => "attribute reply",
            8 => "DA advertisement",
            9 => "service type request",
            10 => "service type reply",
            _ => "SA advertisement",
        };
        write!(f, "v{} {kind}", self.u8(0))
    }

    pub(super) fn rpl(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.u8(1) & 0x7f {
            0 => f.write_str(" DODAG solicitation"),
            1 => write!(f, " DODAG information, instance {}, rank {}", self.u8(4), self.u16(6)),
            2 => write!(f, " destination advertisement, instance {}", self.u8(4)),
            3 => write!(f, " destination advertisement acknowledgment, instance {}", self.u8(4)),
            code => write!(f, " code {code:#04x}"),
        }
    }

    pub(super) fn pgm(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u8(4) & 0x0f {
            0x0 => "SPM",
            0x1 => "POLL",
            0x2 => "POLR",
            0x4 => "ODATA",
            0x5 => "RDATA",
            0x8 => "NAK",
            0x9 => "NNAK",
            0xa => "NCF",
            0xc => "SPMR",
            other => return write!(f, " type {other:#x}, ports {} > {}", self.u16(0), self.u16(2)),
        };
        write!(f, " {kind}, ports {} > {}, number {}", self.u16(0), self.u16(2), self.u32(16))
    }

    pub(super) fn dvmrp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u8(1) {
            1 => "probe",
            2 => "report",
            3 | 5 => "request for neighbors",
            4 | 6 => "neighbors",
            7 => "prune",
            8 => "graft",
            9 => "graft acknowledgment",
            code => return write!(f, " code {code}"),
        };
        write!(f, " {kind}")
    }

    pub(super) fn pim_v1(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u8(1) {
            0 => "query",
            1 => "register",
            2 => "register-stop",
            3 => "join/prune",
            4 => "RP reachability",
            5 => "assert",
            6 => "graft",
            7 => "graft acknowledgment",
            code => return write!(f, " code {code}"),
        };
        write!(f, " {kind}")
    }

    pub(super) fn trace(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.u8(0) == igmp_type::TRACE { "query" } else { "response" };
        write!(f, " {kind}, from {} to {} for group {}", self.v4(8), self.v4(12), self.v4(4))
    }

    pub(super) fn rgmp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.u8(0) {
            igmp_type::RGMP_LEAVE => write!(f, " leave {}", self.v4(4)),
            0xfd => write!(f, " join {}", self.v4(4)),
            0xfe => f.write_str(" bye"),
            _ => f.write_str(" hello"),
        }
    }
}
