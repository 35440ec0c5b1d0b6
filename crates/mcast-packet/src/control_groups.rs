//! The groups that an IGMP, MLD or PIM message refers to.

use core::net::IpAddr;

use crate::gmp::{self, Address};
use crate::packet::{Packet, Transport};
use crate::pim;

impl Packet<'_> {
    /// Returns whether the packet is an IGMP, MLD or PIM message that refers to a group for which `matches`
    /// returns true. General queries, hellos and all other messages without a group refer to every group.
    pub fn is_control_about(&self, mut matches: impl FnMut(IpAddr) -> bool) -> bool {
        match &self.transport {
            Some(Transport::Igmp(control)) => refers_to(&control.message, &mut matches),
            Some(Transport::Mld(control)) => refers_to(&control.message, &mut matches),
            Some(Transport::Pim(pim)) => pim_refers_to(&pim.message, &mut matches),
            _ => false,
        }
    }
}

fn refers_to<A: Address>(message: &gmp::Message<'_, A>, matches: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    use gmp::Message;

    match message {
        Message::Query(query) => query.group.is_none_or(|group| matches(group.into())),
        Message::V1Report { group } | Message::Report { group } | Message::Leave { group } => {
            matches((*group).into())
        }
        Message::V3Report(records) => records.iter().any(|record| matches(record.group.into())),
        Message::RouterDiscovery(_) => true,
    }
}

fn pim_refers_to(message: &pim::Message<'_>, matches: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    use pim::Message;

    match message {
        Message::JoinPrune(message) | Message::Graft(message) | Message::GraftAck(message) => {
            message.groups.iter().any(|set| matches(set.group.address))
        }
        Message::RegisterStop { group, .. } => matches(group.address),
        Message::Assert(assert) => matches(assert.group.address),
        Message::Register(register) => {
            Packet::ip(register.packet).ip_layer().is_none_or(|ip| matches(ip.destination))
        }
        _ => true,
    }
}
