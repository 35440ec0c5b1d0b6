//! Guarantee 9: the default hop limit is 1, and a source-specific group needs a source.

use mcast::{ErrorKind, Group, GroupAddr, InterfaceSelector, Membership, SourceFilter};

use crate::net::{Net, PORT, both_families, next};

both_families!(
    the_default_hop_limit_is_one,
    a_source_specific_group_needs_a_source_unless_overridden,
    contradictory_memberships_are_refused,
);

fn the_default_hop_limit_is_one(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send("eth0", net.group(1), b"one");
    assert_eq!(next(&receiver).arrival.hop_limit, Some(1));
}

fn a_source_specific_group_needs_a_source_unless_overridden(net: &Net) {
    let group: Group = match net.family {
        mcast::Family::V4 => "232.1.2.3".parse().unwrap(),
        mcast::Family::V6 => "ff3e::8000:1".parse().unwrap(),
    };
    let address = GroupAddr::new(group, PORT);
    let membership = net.on("eth0", address);

    let error = net.try_receiver(|builder| builder.join(membership.clone())).unwrap_err();
    assert_eq!((error.kind(), error.group()), (ErrorKind::SourceNeeded, Some(address)), "{error}");
    assert!(error.remedy().unwrap().contains("RFC 4607"));

    let any = net.receiver(|builder| builder.join(membership.clone()).allow_any_source(true));
    let only = net.joined(&[membership.from_sources(SourceFilter::Include([net.address(0, 1)].into()))]);
    net.send("eth0", address, b"end");
    assert_eq!((next(&any).text, next(&only).text), ("end".into(), "end".into()));
}

fn contradictory_memberships_are_refused(net: &Net) {
    let other_family = match net.family {
        mcast::Family::V4 => "fd00::1".parse().unwrap(),
        mcast::Family::V6 => "10.0.0.1".parse().unwrap(),
    };
    let memberships = [
        Membership::new(GroupAddr::new(net.group(1).group, 0)),
        Membership::new(net.group(1)).from_sources(SourceFilter::NONE),
        Membership::new(net.group(1)).from_sources(SourceFilter::Include([other_family].into())),
    ];
    for membership in memberships {
        let membership = membership.on(InterfaceSelector::Name("eth0".into()));
        let error = net.try_receiver(|builder| builder.join(membership)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    }
}
