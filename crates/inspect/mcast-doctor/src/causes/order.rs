//! The order in which causes act on a datagram, from the sender to the program. Findings are listed in it.

use crate::Id;

/// The causes inside the machine of a receiver, in the order in which Linux looks for them. The device and traffic control come
/// before VLANs, the membership of the interface before the check of the source.
const ORDER: &[&[Id]] = &[
    &[Id::XdpDrops],
    &[Id::TcDrops],
    &[Id::VlanTagged],
    &[Id::FramesToAnotherHost],
    &[Id::MalformedPackets],
    &[Id::NotJoined, Id::JoinedOtherInterface, Id::LeftGroup, Id::SourceNotAdmitted],
    &[Id::SourceZero, Id::SourceIsLocal, Id::InvalidSource, Id::ReversePathFilter],
    &[Id::FirewallDropsData, Id::Redirected],
    &[Id::IpsecPolicy],
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
    &[Id::SocketFilter, Id::Decapsulated],
    &[Id::ReceiveBufferOverflow, Id::NotRead, Id::ProgramStopped],
    &[Id::LostInThisMachine],
];

/// Returns the position of a cause. Those that are not inside the receiver come first: they keep the group from arriving.
pub(super) fn position(id: Id) -> usize {
    ORDER.iter().position(|stage| stage.contains(&id)).map_or(0, |position| position + 1)
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
}
