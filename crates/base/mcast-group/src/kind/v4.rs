//! The blocks of 224.0.0.0/4.

use core::net::Ipv4Addr;

use super::{AdHocBlock, AdministrativeRange, GroupKind, SourceSpecificRange};
use crate::{Reference, WithReference};

/// Returns the kind of an IPv4 multicast address.
pub(super) fn kind(address: Ipv4Addr) -> WithReference<GroupKind> {
    let octets = address.octets();
    match octets {
        [224, 0, 0, _] => WithReference::new(GroupKind::LocalNetworkControl, Reference::section(5771, "4")),
        [224, 0, 1, _] => WithReference::new(GroupKind::InternetworkControl, Reference::section(5771, "5")),
        [224, 0, _, _] => ad_hoc(AdHocBlock::I),
        [224, 2, _, _] => WithReference::new(GroupKind::SdpSap, Reference::section(5771, "7")),
        [224, 3 | 4, _, _] => ad_hoc(AdHocBlock::II),
        [224, 252..=255, _, _] => WithReference::new(GroupKind::DisTransient, Reference::rfc(2365)),
        [232, rest @ ..] => source_specific(rest),
        [233, high @ 0..=251, low, _] => {
            let autonomous_system = u16::from_be_bytes([high, low]);
            WithReference::new(GroupKind::Glop { autonomous_system }, Reference::section(3180, "3"))
        }
        [233, 252, 0, _] => WithReference::new(GroupKind::Documentation, Reference::rfc(6676)),
        [233, _, _, _] => ad_hoc(AdHocBlock::III),
        [234, a, b, c] => {
            let network = Ipv4Addr::new(a, b, c, 0);
            WithReference::new(GroupKind::UnicastPrefixV4 { network }, Reference::rfc(6034))
        }
        [239, second, _, _] => administrative(second),
        _ => WithReference::new(GroupKind::Reserved, Reference::section(5771, "3")),
    }
}

const fn ad_hoc(block: AdHocBlock) -> WithReference<GroupKind> {
    WithReference::new(GroupKind::AdHoc(block), Reference::section(5771, "6"))
}

const fn source_specific(rest: [u8; 3]) -> WithReference<GroupKind> {
    let range = match rest {
        [0, 0, 0] => SourceSpecificRange::Reserved,
        [0, 0, _] => SourceSpecificRange::Iana,
        _ => SourceSpecificRange::Host,
    };
    WithReference::new(GroupKind::SourceSpecific(range), Reference::section(4607, "1"))
}

const fn administrative(second: u8) -> WithReference<GroupKind> {
    let (range, section) = match second {
        255 => (AdministrativeRange::Local, "6.1"),
        253 | 254 => (AdministrativeRange::LocalExpansion, "6.1.1"),
        192..=195 => (AdministrativeRange::OrganizationLocal, "6.2"),
        0..192 => (AdministrativeRange::OrganizationExpansion, "6.2.1"),
        196..=252 => (AdministrativeRange::Unassigned, "6"),
    };
    WithReference::new(GroupKind::AdministrativelyScoped(range), Reference::section(2365, section))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> GroupKind {
        kind(text.parse().unwrap()).value
    }

    #[test]
    fn blocks_start_and_end_where_the_rfcs_define_them() {
        use AdministrativeRange as A;
        use SourceSpecificRange as S;
        for (first, last, expected) in [
            ("224.0.0.0", "224.0.0.255", GroupKind::LocalNetworkControl),
            ("224.0.1.0", "224.0.1.255", GroupKind::InternetworkControl),
            ("224.0.2.0", "224.0.255.255", GroupKind::AdHoc(AdHocBlock::I)),
            ("224.1.0.0", "224.1.255.255", GroupKind::Reserved),
            ("224.2.0.0", "224.2.255.255", GroupKind::SdpSap),
            ("224.3.0.0", "224.4.255.255", GroupKind::AdHoc(AdHocBlock::II)),
            ("224.5.0.0", "224.251.255.255", GroupKind::Reserved),
            ("224.252.0.0", "224.255.255.255", GroupKind::DisTransient),
            ("225.0.0.0", "231.255.255.255", GroupKind::Reserved),
            ("232.0.0.0", "232.0.0.0", GroupKind::SourceSpecific(S::Reserved)),
            ("232.0.0.1", "232.0.0.255", GroupKind::SourceSpecific(S::Iana)),
            ("232.0.1.0", "232.255.255.255", GroupKind::SourceSpecific(S::Host)),
            ("233.252.0.0", "233.252.0.255", GroupKind::Documentation),
            ("233.252.1.0", "233.255.255.255", GroupKind::AdHoc(AdHocBlock::III)),
            ("235.0.0.0", "238.255.255.255", GroupKind::Reserved),
            ("239.0.0.0", "239.191.255.255", GroupKind::AdministrativelyScoped(A::OrganizationExpansion)),
            ("239.192.0.0", "239.195.255.255", GroupKind::AdministrativelyScoped(A::OrganizationLocal)),
            ("239.196.0.0", "239.252.255.255", GroupKind::AdministrativelyScoped(A::Unassigned)),
            ("239.253.0.0", "239.254.255.255", GroupKind::AdministrativelyScoped(A::LocalExpansion)),
            ("239.255.0.0", "239.255.255.255", GroupKind::AdministrativelyScoped(A::Local)),
        ] {
            assert_eq!(kind_of(first), expected, "{first}");
            assert_eq!(kind_of(last), expected, "{last}");
        }
    }

    #[test]
    fn glop_group_contains_the_autonomous_system() {
        // The example of RFC 3180 section 3.1: AS 5662 has 233.22.30.0/24.
        assert_eq!(kind_of("233.22.30.200"), GroupKind::Glop { autonomous_system: 5662 });
        assert_eq!(kind_of("233.251.255.255"), GroupKind::Glop { autonomous_system: 64511 });
    }

    #[test]
    fn unicast_prefix_is_read_from_the_last_three_octets() {
        assert_eq!(
            kind_of("234.198.51.100"),
            GroupKind::UnicastPrefixV4 { network: Ipv4Addr::new(198, 51, 100, 0) }
        );
    }
}
