//! Which groups a message of IGMP, MLD or PIM is about.

use core::net::IpAddr;

use crate::gmp::{self, Address};
use crate::packet::{Packet, Transport};
use crate::pim;

impl Packet<'_> {
    /// Whether the packet is a message of IGMP, MLD or PIM about a group that `is_meant` says yes to. General
    /// queries, hellos, and whatever else names no group, are about all of them.
    pub fn is_control_about(&self, mut is_meant: impl FnMut(IpAddr) -> bool) -> bool {
        match &self.transport {
            Some(Transport::Igmp(control)) => is_about(&control.message, &mut is_meant),
            Some(Transport::Mld(control)) => is_about(&control.message, &mut is_meant),
            Some(Transport::Pim(pim)) => is_pim_about(&pim.message, &mut is_meant),
            _ => false,
        }
    }
}

fn is_about<A: Address>(message: &gmp::Message<'_, A>, is_meant: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    use gmp::Message;

    match message {
        Message::Query(query) => query.group.is_none_or(|group| is_meant(group.into())),
        Message::FirstReport { group } | Message::Report { group } | Message::Leave { group } => {
            is_meant((*group).into())
        }
        Message::SourceReport(records) => records.iter().any(|record| is_meant(record.group.into())),
        Message::RouterDiscovery(_) => true,
    }
}

fn is_pim_about(message: &pim::Message<'_>, is_meant: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    use pim::Message;

    match message {
        Message::JoinPrune(wishes) | Message::Graft(wishes) | Message::GraftAck(wishes) => {
            wishes.groups.iter().any(|wish| is_meant(wish.group.address))
        }
        Message::RegisterStop { group, .. } => is_meant(group.address),
        Message::Assert(assert) => is_meant(assert.group.address),
        Message::Register(register) => {
            Packet::ip(register.packet).ip_layer().is_none_or(|ip| is_meant(ip.destination))
        }
        _ => true,
    }
}
