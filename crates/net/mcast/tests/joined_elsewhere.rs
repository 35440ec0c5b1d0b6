//! Memberships on systems that report them without holders: macOS, FreeBSD, Windows (and Wine,
//! which reports none).
#![cfg(any(windows, target_vendor = "apple", target_os = "freebsd"))]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use mcast::joined::{self, Holder, Visibility, Watcher};
use mcast::{InterfaceSelector, Membership, Receiver};

#[test]
fn memberships_are_listed_with_their_interfaces() {
    let interfaces = mcast::interface::list().unwrap();
    let loopback = interfaces.iter().find(|interface| interface.loopback).unwrap();
    let membership: Membership = "239.77.3.1:7099".parse().unwrap();
    let _receiver =
        Receiver::join_one(membership.clone().on(InterfaceSelector::Index(loopback.index))).unwrap();

    let snapshot = joined::memberships().unwrap();

    assert!(matches!(snapshot.visibility, Visibility::NoProcesses { .. }));
    for holding in &snapshot.holdings {
        let named = interfaces.iter().find(|interface| interface.name == holding.interface_name).unwrap();
        assert_eq!(named.index_for(holding.group.family()), holding.interface);
        assert!(!matches!(holding.holder, Holder::Socket(_)));
    }
    let listed = |interface: &str| {
        let mut holdings = snapshot.holdings.iter();
        holdings.any(|each| each.group == membership.address.group && each.interface_name == interface)
    };
    // Wine lists no groups of any interface.
    if std::env::var_os("MCAST_WINE").is_none() {
        assert!(listed(&loopback.name), "{snapshot:#?}");
        assert_eq!(snapshot.unseen(), None);
    }
}

#[test]
fn watching_ends_at_its_timeout() {
    let mut watcher = Watcher::new().unwrap();
    // Changes by other programs on this machine may be reported first.
    while watcher.wait(Some(Duration::from_millis(100))).unwrap().is_some() {}
}
