//! The order in which causes act on a datagram, from the sender to the program. Findings are listed in it.

use crate::netfilter::Hook;
use crate::{Finding, Id};

/// The causes inside the machine of a receiver, in the order in which Linux looks for them. The device and traffic control come
/// before VLANs, the membership of the interface before the check of the source. UDP looks for sockets before IPsec policies.
const ORDER: &[&[Id]] = &[
    &[Id::XdpDrops],
    &[Id::TcDrops],
    &[Id::VlanTagged],
    &[Id::FramesToAnotherHost],
    &[Id::MalformedPackets],
    &[Id::Redirected],
    &[Id::NotJoined, Id::JoinedOtherInterface, Id::LeftGroup, Id::SourceNotAdmitted],
    &[Id::SourceZero, Id::SourceIsLocal, Id::InvalidSource, Id::ReversePathFilter, Id::PolicyRule],
    &[Id::FirewallDropsData],
    &[Id::BadChecksum],
    &[Id::WrongPort],
    &[
        Id::ConnectedElsewhere,
        Id::BoundToUnicast,
        Id::BoundToOtherGroup,
        Id::BoundToOtherInterface,
        Id::FamilyMismatch,
        Id::OwnGroupsOnly,
    ],
    &[Id::IpsecPolicy],
    &[Id::SocketFilter, Id::Decapsulated],
    &[Id::ReceiveBufferOverflow, Id::NotRead, Id::ProgramStopped],
    &[Id::LostInThisMachine],
];

/// Returns where the cause of a finding acts. The packet filter has hooks before the one at the input.
pub(super) fn of_finding(finding: &Finding) -> usize {
    match (finding.id, finding.hook) {
        (Id::FirewallDropsData | Id::Redirected, Some(Hook::Ingress)) => behind(Id::TcDrops),
        (Id::FirewallDropsData, Some(Hook::Prerouting)) => behind(Id::MalformedPackets),
        // Behind the output hook of the sender, and before what acts in the receiver.
        (
            Id::TtlTooSmall | Id::LoopbackOff | Id::SentByOtherInterface | Id::FirewallDropsOutput,
            Some(Hook::Postrouting | Hook::Egress),
        ) => 1,
        (id, _) => position(id),
    }
}

/// Returns the position of a cause. Those that are not inside the receiver come first: they keep the group from arriving.
pub(super) fn position(id: Id) -> usize {
    ORDER.iter().position(|stage| stage.contains(&id)).map_or(0, |position| 2 * (position + 1))
}

fn behind(id: Id) -> usize {
    position(id) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_one_position() {
        let all: Vec<_> = ORDER.iter().copied().flatten().collect();
        for id in &all {
            assert_eq!(all.iter().filter(|other| other == &id).count(), 1, "{id}");
        }
        assert!(position(Id::NoQuerier) < position(Id::TcDrops));
        assert!(position(Id::ReversePathFilter) < position(Id::FirewallDropsData));
    }

    #[test]
    fn hooks_before_routing_come_before_the_check_of_the_source() {
        let at = |hook| of_finding(&Finding::fault(Id::FirewallDropsData, "x").at_hook(hook));
        assert!(position(Id::TcDrops) < at(Hook::Ingress) && at(Hook::Ingress) < position(Id::VlanTagged));
        assert!(at(Hook::Prerouting) < position(Id::ReversePathFilter));
        assert_eq!(at(Hook::Input), position(Id::FirewallDropsData));
    }
}
