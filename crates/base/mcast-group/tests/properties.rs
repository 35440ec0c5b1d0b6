//! Property tests: invariants of every value and every text.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::{
    Destination, Expand, Family, Group, GroupAddr, GroupKind, InterfaceIndex, InterfaceSelector, Membership,
    PickOptions, Scope, SessionDescription, SourceFilter, WellKnown, pick,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

fn ipv4_group() -> impl Strategy<Value = Group> {
    (0xe000_0000u32..=0xefff_ffff).prop_map(|bits| group(Ipv4Addr::from_bits(bits).into()))
}

fn ipv6_group() -> impl Strategy<Value = Group> {
    // Many zeros, as in real groups, so that every text form occurs.
    let segments = proptest::array::uniform7(prop_oneof![Just(0u16), 0u16..0x100, any::<u16>()]);
    (any::<u8>(), segments).prop_map(|(head, [b, c, d, e, f, g, h])| {
        group(Ipv6Addr::new(0xff00 | u16::from(head), b, c, d, e, f, g, h).into())
    })
}

fn any_group() -> impl Strategy<Value = Group> {
    prop_oneof![ipv4_group(), ipv6_group()]
}

fn group(address: IpAddr) -> Group {
    Group::new(address).unwrap()
}

fn interface() -> impl Strategy<Value = InterfaceSelector> {
    let odd_name = "[a-z0-9:%@,.\\]\\[\"\\\\ /?!*()é-]{1,15}".prop_map(InterfaceSelector::Name);
    let tricky =
        prop::sample::select(vec!["all", "default", "0", "7", "007", "10.0.0.1", "::1", "eth0:1", " ", "\""])
            .prop_map(|name| InterfaceSelector::Name(name.to_owned()));
    prop_oneof![
        "[a-z]{2,6}[0-9]?(\\.[0-9]{1,4})?".prop_map(InterfaceSelector::Name),
        odd_name,
        tricky,
        any::<u32>().prop_filter_map("zero", |n| InterfaceIndex::new(n).map(InterfaceSelector::Index)),
        any::<IpAddr>().prop_map(InterfaceSelector::Address),
        Just(InterfaceSelector::Default),
        Just(InterfaceSelector::All),
    ]
}

fn source(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => (1u32..0xe000_0000).prop_map(|bits| Ipv4Addr::from_bits(bits).into()).boxed(),
        Family::V6 => (1u128..0xff << 120)
            .prop_map(Ipv6Addr::from_bits)
            .prop_filter_map("mapped", |address| address.to_ipv4_mapped().is_none().then_some(address.into()))
            .boxed(),
    }
}

/// Every filter except one that admits no source, which has no valid text form.
fn filter(family: Family) -> impl Strategy<Value = SourceFilter> {
    prop_oneof![
        Just(SourceFilter::ANY),
        btree_set(source(family), 1..4).prop_map(SourceFilter::Include),
        btree_set(source(family), 1..4).prop_map(SourceFilter::Exclude),
    ]
}

fn membership() -> impl Strategy<Value = Membership> {
    (any_group(), 1u16.., prop::option::of(interface())).prop_flat_map(|(group, port, interface)| {
        filter(group.family()).prop_map(move |sources| Membership {
            address: GroupAddr::new(group, port),
            interface: interface.clone(),
            sources,
        })
    })
}

/// Text composed of parts of valid forms, so that it passes the first checks.
fn text() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "239.1.2.3",
        "224.0.0.0",
        "10.0.0.1",
        "ff15::1",
        "2001:db8::1",
        "[",
        "]",
        "[ff02::1",
        "%",
        "%25",
        "eth0",
        "@",
        "!",
        ",",
        ":",
        "5000",
        "0",
        "65536",
        "-",
        "+",
        "/",
        "28",
        "4",
        "udp://",
        "rtp://",
        "?",
        "&",
        "ttl=",
        "sources=",
        "localaddr=",
        "iface=",
        "\"",
        "\\",
        "mdns",
        "ptp",
        "é",
        " ",
        "%c3",
        "99999999999999999999999999999999999999999",
    ]);
    prop_oneof![any::<String>(), vec(token, 0..12).prop_map(|tokens| tokens.concat())]
}

fn sources() -> impl Strategy<Value = SourceFilter> {
    // Few addresses, so that the sets overlap.
    let set = || btree_set((1u32..6).prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))), 0..5);
    prop_oneof![set().prop_map(SourceFilter::Include), set().prop_map(SourceFilter::Exclude)]
}

proptest! {
    #[test]
    fn parsers_do_not_panic_on_any_text(text in text()) {
        let _ = text.parse::<Group>();
        let _ = text.parse::<GroupAddr>();
        let _ = text.parse::<Scope>();
        let _ = text.parse::<InterfaceSelector>();
        let _ = WellKnown::named(&text);
        let small = Expand { limit: 1000, ..Expand::default() };
        for error in [
            text.parse::<Membership>().err(),
            text.parse::<Destination>().err(),
            small.memberships(&text).err(),
            small.destinations(&text).err(),
        ].into_iter().flatten() {
            prop_assert_eq!(error.text(), text.as_str());
        }
    }

    #[test]
    fn accepted_text_round_trips(text in text()) {
        if let Ok(membership) = text.parse::<Membership>() {
            prop_assert_eq!(membership.to_string().parse(), Ok(membership));
        }
        let small = Expand { limit: 100, ..Expand::default() };
        for membership in small.memberships(&text).map(|expansion| expansion.items).unwrap_or_default() {
            prop_assert_eq!(membership.to_string().parse(), Ok(membership));
        }
    }

    #[test]
    fn memberships_round_trip_through_text(membership in membership()) {
        let text = membership.to_string();
        prop_assert_eq!(text.parse(), Ok(membership.clone()), "{}", text);
        let expansion = Expand::default().memberships(&text);
        prop_assert_eq!(expansion.map(|expansion| expansion.items), Ok(vec![membership]), "{}", text);
    }

    #[test]
    fn destinations_and_interfaces_round_trip_through_text(group in any_group(), port in 1u16.., interface in interface()) {
        prop_assert_eq!(interface.to_string().parse(), Ok(interface.clone()));
        let address = GroupAddr::new(group, port);
        prop_assert_eq!(address.to_string().parse(), Ok(address));
        let destination = Destination { address, interface: Some(interface) };
        prop_assert_eq!(destination.to_string().parse(), Ok(destination.clone()));
        let expansion = Expand::default().destinations(&destination.to_string());
        prop_assert_eq!(expansion.map(|expansion| expansion.items), Ok(vec![destination]));
    }

    #[test]
    fn every_group_can_be_explained(group in any_group()) {
        let explanation = group.explain();
        prop_assert_eq!(explanation.flags.is_some(), group.family() == Family::V6);
        prop_assert!(explanation.assignments.iter().all(|assignment| assignment.addresses.contains(group)));
        prop_assert_eq!(explanation.scope.value.to_string().parse(), Ok(group.scope()));
        for advice in explanation.advice {
            prop_assert!(!advice.to_string().is_empty());
        }
    }

    #[test]
    fn ethernet_aliases_are_the_groups_with_the_same_ethernet_address(group in ipv4_group(), other in ipv4_group()) {
        let aliases: BTreeSet<Group> = group.ethernet_aliases().collect();
        prop_assert_eq!(aliases.len(), 31);
        prop_assert!(aliases.iter().all(|alias| alias.ethernet_address() == group.ethernet_address()));
        let same = other != group && other.ethernet_address() == group.ethernet_address();
        prop_assert_eq!(aliases.contains(&other), same);
    }

    #[test]
    fn union_admits_the_sources_that_either_filter_admits(a in sources(), b in sources()) {
        let union = a.union(&b);
        for bits in 0..8 {
            let source = Ipv4Addr::from_bits(bits).into();
            prop_assert_eq!(union.admits(source), a.admits(source) || b.admits(source));
        }
        prop_assert_eq!(&union, &b.union(&a));
        prop_assert_eq!(&a.union(&a), &a);
        prop_assert_eq!(a.union(&SourceFilter::NONE), a.clone());
        prop_assert!(a.union(&SourceFilter::ANY).is_any());
    }

    #[test]
    fn picked_groups_are_not_excluded(
        name in ".{1,20}",
        v6 in any::<bool>(),
        source_specific in any::<bool>(),
        in_use in vec(0xefff_0000u32..=0xefff_ffff, 0..200),
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let in_use: Vec<Group> = in_use.into_iter().map(|bits| group(Ipv4Addr::from_bits(bits).into())).collect();
        let options = PickOptions { family, source_specific, in_use: in_use.clone() };
        let scope = options.default_scope();
        let picked = pick(&name, scope, &options).unwrap();
        prop_assert_eq!(picked, pick(&name, scope, &options).unwrap());
        prop_assert_eq!((picked.family(), picked.scope(), picked.is_source_specific()), (family, scope, source_specific));
        prop_assert_eq!(picked.control_alias(), None);
        prop_assert_eq!(picked.relative(), None);
        prop_assert!(picked.assignments().all(|assignment| !assignment.standing.is_registered()));
        prop_assert!(in_use.iter().all(|used| used.ethernet_address() != picked.ethernet_address()));
    }

    #[test]
    fn embedded_rendezvous_points_round_trip(
        network in any::<u64>(), length in 1u8..=64, number in 1u8..16, group_id in any::<u32>(),
    ) {
        let prefix = network & (u64::MAX << (64 - length));
        let bits = 0xff7e << 112
            | u128::from(number) << 104
            | u128::from(length) << 96
            | u128::from(prefix) << 32
            | u128::from(group_id);
        let GroupKind::EmbeddedRp { rendezvous_point, prefix: decoded, group_id: id } = group(Ipv6Addr::from_bits(bits).into()).kind()
        else { return Err(TestCaseError::fail("no embedded rendezvous point")) };
        prop_assert_eq!(rendezvous_point.to_bits(), u128::from(prefix) << 64 | u128::from(number));
        prop_assert_eq!((decoded.network().to_bits() >> 64, decoded.len(), id), (u128::from(prefix), length, group_id));
    }
}

/// A medium of a session description: its lines, and the memberships that they describe.
fn medium() -> impl Strategy<Value = (String, Vec<Membership>)> {
    let parts = (any_group(), 1u16..60_000, 1u32..4, any::<bool>(), any::<bool>());
    parts.prop_flat_map(|(first, port, count, rtp, exclude)| {
        let sources = btree_set(source(first.family()), 0..3);
        sources.prop_map(move |sources| describe(first, port, count, rtp, exclude, &sources))
    })
}

fn describe(
    first: Group,
    port: u16,
    count: u32,
    rtp: bool,
    exclude: bool,
    sources: &BTreeSet<IpAddr>,
) -> (String, Vec<Membership>) {
    let groups: Vec<Group> = (0..count).map_while(|number| nth_group(first, number)).collect();
    let (family, ttl) = if first.family() == Family::V4 { ("IP4", "/7") } else { ("IP6", "") };
    let protocol = if rtp { "RTP/AVP" } else { "udp" };
    let mut text = format!("m=video {port} {protocol} 33\r\nc=IN {family} {first}{ttl}/{}\r\n", groups.len());
    let filter = match (sources.is_empty(), exclude) {
        (true, _) => SourceFilter::ANY,
        (_, true) => SourceFilter::Exclude(sources.clone()),
        (_, false) => SourceFilter::Include(sources.clone()),
    };
    if !sources.is_empty() {
        let mode = if exclude { "excl" } else { "incl" };
        let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
        text += &format!("a=source-filter: {mode} IN {family} * {}\r\n", names.join(" "));
    }
    let membership =
        |group: &Group| Membership::new(GroupAddr::new(*group, port)).from_sources(filter.clone());
    (text, groups.iter().map(membership).collect())
}

/// Returns the group `number` addresses after this one, if it is a multicast address.
fn nth_group(first: Group, number: u32) -> Option<Group> {
    let address = match first.addr() {
        IpAddr::V4(address) => IpAddr::from(address.to_bits().checked_add(number)?.to_be_bytes()),
        IpAddr::V6(address) => IpAddr::from(address.to_bits().checked_add(number.into())?.to_be_bytes()),
    };
    Group::new(address).ok()
}

proptest! {
    #[test]
    fn session_description_gives_the_described_memberships(media in vec(medium(), 1..5)) {
        let lines: String = media.iter().map(|(lines, _)| lines.as_str()).collect();
        let text = format!("v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=x\r\nt=0 0\r\n{lines}");
        let description: SessionDescription = text.parse().unwrap();
        let memberships: Vec<Membership> =
            description.streams.into_iter().map(|stream| stream.membership).collect();
        let expected: Vec<Membership> = media.into_iter().flat_map(|(_, memberships)| memberships).collect();
        prop_assert_eq!(memberships, expected);
    }

    #[test]
    fn session_description_parser_does_not_panic(
        lines in vec("(c=IN IP[46] |m=video |a=source-filter:|a=group:DUP |a=mid:)[0-9a-f:./ *A-Z]{0,40}", 0..12),
    ) {
        let text = format!("v=0\n{}", lines.join("\n"));
        if let Ok(description) = text.parse::<SessionDescription>() {
            prop_assert!(!description.streams.is_empty());
        }
    }
}
