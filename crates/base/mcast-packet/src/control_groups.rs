//! The groups that an IGMP, MLD or PIM message refers to.

use core::net::IpAddr;

use crate::gmp::{Address, GmpMessage};
use crate::packet::{Packet, Transport};
use crate::pim::PimMessage;

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

fn refers_to<A: Address>(message: &GmpMessage<'_, A>, matches: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    match message {
        GmpMessage::Query(query) => query.group.is_none_or(|group| matches(group.into())),
        GmpMessage::V1Report { group } | GmpMessage::Report { group } | GmpMessage::Leave { group } => {
            matches((*group).into())
        }
        GmpMessage::V3Report(records) => records.iter().any(|record| matches(record.group.into())),
        GmpMessage::RouterDiscovery(_) => true,
    }
}

fn pim_refers_to(message: &PimMessage<'_>, matches: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    match message {
        PimMessage::JoinPrune(message) | PimMessage::Graft(message) | PimMessage::GraftAck(message) => {
            message.groups.iter().any(|set| matches(set.group.address))
        }
        PimMessage::RegisterStop { group, .. } => matches(group.address),
        PimMessage::Assert(assert) => matches(assert.group.address),
        PimMessage::Register(register) => {
            Packet::ip(register.packet).ip_layer().is_none_or(|ip| matches(ip.destination))
        }
        _ => true,
    }
}
