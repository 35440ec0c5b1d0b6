//! The formats of ff00::/8.

use core::net::Ipv6Addr;

use super::{GroupKind, Malformation, Prefix, SourceSpecificRange};
use crate::group::GroupFlags;
use crate::{Reference, WithReference};

/// The prefix length that marks a link-scoped group (RFC 4489 section 3).
const LINK_SCOPED: u8 = 255;
/// The longest prefix that fits in the address.
const LONGEST_PREFIX: u8 = 64;

/// Returns the kind of an IPv6 multicast address.
pub(super) fn kind(address: Ipv6Addr) -> WithReference<GroupKind> {
    let flags = GroupFlags::of(address);
    match (flags.embedded_rp(), flags.prefix_based(), flags.transient()) {
        (false, false, false) => permanent(address),
        (false, false, true) => WithReference::new(
            GroupKind::Transient { group_id: group_id(address) },
            Reference::section(4291, "2.7"),
        ),
        (false, true, true) => prefix_based(address),
        (true, true, true) => embedded_rp(address),
        (false, true, false) => {
            malformed(Malformation::PrefixWithoutTransient, Reference::section(3306, "4"))
        }
        (true, _, _) => malformed(Malformation::RendezvousWithoutPrefix, Reference::section(3956, "4")),
    }
}

fn permanent(address: Ipv6Addr) -> WithReference<GroupKind> {
    let low_bits = group_id(address) & 0x00ff_ffff;
    match address.segments() {
        [_, 0, 0, 0, 0, 0xdb8, _, _] => WithReference::new(GroupKind::Documentation, Reference::rfc(6676)),
        [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _] => {
            WithReference::new(GroupKind::SolicitedNode { low_bits }, Reference::section(4291, "2.7.1"))
        }
        [0xff02, 0, 0, 0, 0, 2, 0xff00..=0xffff, _] => {
            WithReference::new(GroupKind::NodeInformation { name_hash: low_bits }, Reference::rfc(4620))
        }
        _ => WithReference::new(GroupKind::Permanent, Reference::section(4291, "2.7")),
    }
}

fn prefix_based(address: Ipv6Addr) -> WithReference<GroupKind> {
    let reserved = address.octets()[2];
    match address.octets()[3] {
        0 if reserved == 0 => WithReference::new(
            GroupKind::SourceSpecific(source_specific(address)),
            Reference::section(4607, "1"),
        ),
        0 => malformed(Malformation::NoPrefix, Reference::section(3306, "6")),
        LINK_SCOPED => link_scoped(address),
        length @ 1..=LONGEST_PREFIX => WithReference::new(
            GroupKind::UnicastPrefixV6 { prefix: prefix(address, length), group_id: group_id(address) },
            Reference::section(3306, "4"),
        ),
        length => malformed(Malformation::PrefixTooLong(length), Reference::section(3306, "4")),
    }
}

const fn source_specific(address: Ipv6Addr) -> SourceSpecificRange {
    let [_, _, a, b, c, d, _, _] = address.segments();
    match (a | b | c | d, group_id(address)) {
        (0, 0x4000_0000) => SourceSpecificRange::Reserved,
        (0, 0x4000_0001..=0x7fff_ffff) => SourceSpecificRange::Iana,
        (0, 0x8000_0000..) => SourceSpecificRange::Host,
        (0, _) => SourceSpecificRange::Invalid,
        _ => SourceSpecificRange::Future,
    }
}

const fn link_scoped(address: Ipv6Addr) -> WithReference<GroupKind> {
    let reference = Reference::section(4489, "3");
    if address.octets()[1] & 0x0f > 2 {
        return malformed(Malformation::LinkScopedBeyondLink, reference);
    }
    let interface_id = prefix_field(address);
    WithReference::new(GroupKind::LinkScoped { interface_id, group_id: group_id(address) }, reference)
}

/// Decodes a rendezvous point: the prefix, zeros, and the interface number in the last four bits.
fn embedded_rp(address: Ipv6Addr) -> WithReference<GroupKind> {
    let reference = Reference::section(3956, "4");
    let number = address.octets()[2] & 0x0f;
    match (address.octets()[3], number) {
        (0, _) => malformed(Malformation::NoRendezvousPrefix, reference),
        (length, _) if length > LONGEST_PREFIX => malformed(Malformation::PrefixTooLong(length), reference),
        (_, 0) => malformed(Malformation::RendezvousIdZero, reference),
        (length, _) => {
            let prefix = prefix(address, length);
            let rendezvous_point = Ipv6Addr::from_bits(prefix.network.to_bits() | number as u128);
            let group_id = group_id(address);
            WithReference::new(GroupKind::EmbeddedRp { rendezvous_point, prefix, group_id }, reference)
        }
    }
}

const fn malformed(malformation: Malformation, reference: Reference) -> WithReference<GroupKind> {
    WithReference::new(GroupKind::Malformed(malformation), reference)
}

const fn group_id(address: Ipv6Addr) -> u32 {
    (address.to_bits() & 0xffff_ffff) as u32
}

/// Returns the prefix field: the 64 bits between the first 32 and the group identifier.
const fn prefix_field(address: Ipv6Addr) -> u64 {
    ((address.to_bits() >> 32) & 0xffff_ffff_ffff_ffff) as u64
}

/// Returns the first `length` bits (1 to 64) of the prefix field as a prefix.
const fn prefix(address: Ipv6Addr, length: u8) -> Prefix {
    let mask = u64::MAX << (LONGEST_PREFIX - length);
    Prefix { network: Ipv6Addr::from_bits(((prefix_field(address) & mask) as u128) << 64), length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn kind_of(text: &str) -> GroupKind {
        kind(text.parse().unwrap()).value
    }

    #[test]
    fn embedded_rendezvous_points_match_rfc_3956() {
        // The networks of the examples in RFC 3956, with interface numbers 5, 1 and 15.
        for (group, expected) in [
            ("ff7e:520:2001:db8::1234:5678", "2001:db8::5"),
            ("ff7e:530:2001:db8:beef::1", "2001:db8:beef::5"),
            ("ff75:140:2001:db8:beef:feed:0:1", "2001:db8:beef:feed::1"),
            ("ff7e:f20:2001:db8:dead:beef:0:1", "2001:db8::f"),
        ] {
            let GroupKind::EmbeddedRp { rendezvous_point, .. } = kind_of(group) else { panic!("{group}") };
            assert_eq!(rendezvous_point.to_string(), expected, "{group}");
        }
    }

    #[test]
    fn prefix_based_groups_contain_their_prefix() {
        // The example of RFC 3306: the groups of 3ffe:ffff:1::/48 are in ff3x:30:3ffe:ffff:1::/96.
        let expected = "3ffe:ffff:1::/48";
        let GroupKind::UnicastPrefixV6 { prefix, group_id } = kind_of("ff3e:30:3ffe:ffff:1:0:8000:1") else {
            panic!()
        };
        assert_eq!((prefix.to_string().as_str(), group_id), (expected, 0x8000_0001));
    }

    #[test]
    fn source_specific_ranges_match_rfc_4607() {
        for (group, expected) in [
            ("ff3e::", SourceSpecificRange::Invalid),
            ("ff3e::3fff:ffff", SourceSpecificRange::Invalid),
            ("ff3e::4000:0", SourceSpecificRange::Reserved),
            ("ff3e::4000:1", SourceSpecificRange::Iana),
            ("ff3e::7fff:ffff", SourceSpecificRange::Iana),
            ("ff35::8000:0", SourceSpecificRange::Host),
            ("ff32::ffff:ffff", SourceSpecificRange::Host),
            ("ff3e:0:2001:db8::1", SourceSpecificRange::Future),
        ] {
            assert_eq!(kind_of(group), GroupKind::SourceSpecific(expected), "{group}");
        }
    }

    #[test]
    fn link_scoped_groups_contain_the_interface_identifier_and_stay_on_the_link() {
        assert_eq!(
            kind_of("ff32:ff:a00:27ff:fea1:33b4:1:2"),
            GroupKind::LinkScoped { interface_id: 0x0a00_27ff_fea1_33b4, group_id: 0x0001_0002 }
        );
        assert_eq!(kind_of("ff35:ff::1"), GroupKind::Malformed(Malformation::LinkScopedBeyondLink));
    }

    #[test]
    fn special_permanent_groups_are_recognized() {
        assert_eq!(kind_of("ff02::1:ffa1:33b4"), GroupKind::SolicitedNode { low_bits: 0xa1_33b4 });
        assert_eq!(kind_of("ff02::2:ff00:7"), GroupKind::NodeInformation { name_hash: 7 });
        assert_eq!(kind_of("ff0e::db8:1:2"), GroupKind::Documentation);
        assert_eq!(kind_of("ff05::1:ffa1:33b4"), GroupKind::Permanent);
        assert_eq!(kind_of("ff15::1"), GroupKind::Transient { group_id: 1 });
    }

    #[test]
    fn contradictory_fields_are_malformed() {
        for (group, expected) in [
            ("ff2e::1", Malformation::PrefixWithoutTransient),
            ("ff5e::1", Malformation::RendezvousWithoutPrefix),
            ("ff4e::1", Malformation::RendezvousWithoutPrefix),
            ("ff3e:41::1", Malformation::PrefixTooLong(65)),
            ("ff3e:100::1", Malformation::NoPrefix),
            ("ff7e:100::1", Malformation::NoRendezvousPrefix),
            ("ff7e:1fe::1", Malformation::PrefixTooLong(254)),
            ("ff7e:20:2001:db8::1", Malformation::RendezvousIdZero),
        ] {
            assert_eq!(kind_of(group), GroupKind::Malformed(expected), "{group}");
        }
    }

    #[test]
    fn x_flag_is_ignored() {
        assert_eq!(kind_of("ff95::1"), GroupKind::Transient { group_id: 1 });
    }
}
