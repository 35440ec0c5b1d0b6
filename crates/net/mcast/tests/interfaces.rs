//! Interfaces of real hosts: listing, finding, the default by route, and watching changes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mcast::interface::{AddressState, Interface, InterfaceChange, InterfaceWatcher, Warning};
use mcast::{ErrorKind, Family, Group, InterfaceIndex, InterfaceSelector};
use mcast_lab::{Host, Lab};

const DEADLINE: Duration = Duration::from_secs(10);

/// Creates a host with `eth0` and `eth1`, each on a switch of its own.
fn host_on_two_lans() -> (Lab, Host) {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    let (lan0, lan1) = (lab.switch("lan0").unwrap(), lab.switch("lan1").unwrap());
    host.connect("eth0", &lan0, &["10.0.0.1/24", "fd00::1/64"]).unwrap();
    host.connect("eth1", &lan1, &["10.1.0.1/24", "fd01::1/64"]).unwrap();
    (lab, host)
}

fn list(host: &Host) -> Vec<Interface> {
    host.run(mcast::interface::list).unwrap().unwrap()
}

fn named(host: &Host, name: &str) -> Interface {
    named_in(&list(host), name).clone()
}

fn named_in<'a>(listed: &'a [Interface], name: &str) -> &'a Interface {
    listed.iter().find(|interface| interface.name == name).unwrap()
}

fn find(host: &Host, selector: &str) -> mcast::Result<Interface> {
    let selector: InterfaceSelector = selector.parse().unwrap();
    host.run(|| mcast::interface::find(&selector)).unwrap()
}

fn default_for(host: &Host, group: &str) -> Option<String> {
    let group: Group = group.parse().unwrap();
    host.run(|| mcast::interface::towards(group.addr())).unwrap().unwrap().map(|interface| interface.name)
}

fn watch(host: &Host) -> InterfaceWatcher {
    host.run(InterfaceWatcher::new).unwrap().unwrap()
}

/// Waits for a change for which `wanted` returns a value, and returns that value.
fn wait_for<T>(watcher: &InterfaceWatcher, wanted: impl Fn(&InterfaceChange) -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    let mut others = Vec::new();
    while let Some(changes) = watcher.wait(Some(deadline.saturating_duration_since(Instant::now()))).unwrap()
    {
        if let Some(found) = changes.iter().find_map(&wanted) {
            return found;
        }
        others.extend(changes);
    }
    panic!("the change was not reported, but these were: {others:#?}");
}

fn is_named(interface: &Interface, name: &str) -> bool {
    interface.name == name
}

#[test]
fn a_listing_describes_every_interface() {
    let (_lab, host) = host_on_two_lans();

    let listed = list(&host);

    let names: Vec<_> = listed.iter().filter(|each| each.up).map(|each| each.name.as_str()).collect();
    assert_eq!(names, ["lo", "eth0", "eth1"]);
    assert!(listed.is_sorted_by_key(|interface| interface.index));
    let eth0 = named(&host, "eth0");
    assert_eq!(eth0.index.number(), host.interface_index("eth0").unwrap());
    assert!(eth0.up && eth0.running && eth0.multicast && !eth0.loopback && !eth0.point_to_point);
    assert_eq!((eth0.mtu, eth0.port_of), (1500, None));
    assert!(eth0.hardware_address.is_some());
    assert!(eth0.is_joined_by_default());
    assert_eq!(eth0.warnings(), []);
    let addresses: Vec<_> = eth0.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses[0], "10.0.0.1/24");
    assert!(addresses.contains(&"fd00::1/64".into()), "{addresses:?}");
    assert!(eth0.addresses.iter().all(|entry| entry.state == AddressState::Ready));
}

#[test]
fn loopback_is_listed_but_not_joined_by_default() {
    let (_lab, host) = host_on_two_lans();
    let lo = named(&host, "lo");
    assert!(lo.loopback && lo.up && !lo.is_joined_by_default());
    assert_eq!((lo.index.number(), lo.hardware_address), (1, None));
    assert_eq!(lo.warnings(), [Warning::Loopback]);
}

#[test]
fn an_interface_is_found_by_name_index_and_each_address() {
    let (_lab, host) = host_on_two_lans();
    let eth1 = named(&host, "eth1");
    for selector in ["eth1", &eth1.index.to_string(), "10.1.0.1", "fd01::1"] {
        assert_eq!(find(&host, selector).unwrap(), eth1, "by {selector}");
    }
}

#[test]
fn an_unknown_interface_is_refused_with_the_existing_ones() {
    let (_lab, host) = host_on_two_lans();
    for selector in ["eth9", "4000000", "10.9.9.9"] {
        let error = find(&host, selector).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
        assert!(error.to_string().contains("eth1"), "{error}");
    }
}

#[test]
fn all_and_default_name_no_single_interface() {
    let (_lab, host) = host_on_two_lans();
    for selector in ["all", "default"] {
        assert_eq!(find(&host, selector).unwrap_err().kind(), ErrorKind::Mismatch);
    }
}

#[test]
fn a_port_of_a_bridge_is_reported_and_not_joined_by_default() {
    let (_lab, host) = host_on_two_lans();
    host.bridge("br0", &["eth1"], &["10.1.0.2/24"]).unwrap();

    let (bridge, port) = (named(&host, "br0"), named(&host, "eth1"));

    assert_eq!(port.port_of, Some(bridge.index));
    assert!(!port.is_joined_by_default() && bridge.is_joined_by_default());
    assert!(port.warnings().contains(&Warning::PortOf(bridge.index)));
}

#[test]
fn an_interface_that_is_down_is_reported() {
    let (_lab, host) = host_on_two_lans();
    host.set_down("eth0").unwrap();
    let eth0 = named(&host, "eth0");
    assert!(!eth0.up && !eth0.running && !eth0.is_joined_by_default());
    assert_eq!(eth0.warnings(), [Warning::Down]);
}

#[test]
fn an_interface_whose_peer_is_down_has_no_carrier() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
    let watcher = watch(&a);

    b.set_down("eth0").unwrap();

    let after = wait_for(&watcher, |change| change.after().filter(|after| !after.running).cloned());
    assert!(is_named(&after, "eth0") && after.up);
    assert!(after.warnings().contains(&Warning::NoCarrier));
}

#[test]
fn an_interface_without_the_multicast_flag_or_addresses_has_warnings() {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    host.connect("eth0", &lab.switch("lan").unwrap(), &[]).unwrap();
    host.set_multicast("eth0", false).unwrap();
    let eth0 = named(&host, "eth0");
    assert!(!eth0.multicast && !eth0.is_joined_by_default());
    assert!(eth0.warnings().contains(&Warning::NotMulticast));
    assert!(eth0.warnings().contains(&Warning::NoAddress(Family::V4)));
}

#[test]
fn without_a_route_there_is_no_default() {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    assert_eq!(default_for(&host, "239.1.2.3"), None);
    assert_eq!(default_for(&host, "ff15::1"), None);
    let of_family = host.run(|| mcast::interface::default_of(Family::V4)).unwrap().unwrap();
    assert_eq!(of_family, None);
}

#[test]
fn the_default_is_the_route_of_each_group() {
    let (_lab, host) = host_on_two_lans();
    assert_eq!(default_for(&host, "239.1.2.3"), None, "addresses alone do not create a route to a group");

    host.add_route("224.0.0.0/4", "eth0").unwrap();
    host.add_route("239.7.0.0/16", "eth1").unwrap();

    assert_eq!(default_for(&host, "239.1.2.3").as_deref(), Some("eth0"));
    assert_eq!(default_for(&host, "239.7.2.3").as_deref(), Some("eth1"));
    let of_family = host.run(|| mcast::interface::default_of(Family::V4)).unwrap().unwrap();
    assert_eq!(of_family.map(|interface| interface.name).as_deref(), Some("eth0"));
}

#[test]
fn the_default_route_applies_to_groups() {
    let (_lab, host) = host_on_two_lans();
    host.add_route_via("0.0.0.0/0", "10.1.0.254").unwrap();
    assert_eq!(default_for(&host, "239.1.2.3").as_deref(), Some("eth1"));
}

#[test]
fn ipv6_groups_of_every_scope_have_a_default() {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    host.connect("eth0", &lab.switch("lan").unwrap(), &["fd00::1/64"]).unwrap();
    for group in ["ff02::1:3", "ff15::1", "ff0e::1"] {
        assert_eq!(default_for(&host, group).as_deref(), Some("eth0"), "{group}");
    }
}

#[test]
fn an_interface_without_addresses_can_be_the_default() {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    host.connect("eth0", &lab.switch("lan").unwrap(), &[]).unwrap();
    host.add_route("224.0.0.0/4", "eth0").unwrap();
    assert_eq!(default_for(&host, "239.1.2.3").as_deref(), Some("eth0"));
}

#[test]
fn the_watcher_is_silent_while_nothing_changes() {
    let (_lab, host) = host_on_two_lans();
    let watcher = watch(&host);
    // Wait for the last changes of building the lab.
    while watcher.wait(Some(Duration::from_millis(300))).unwrap().is_some() {}

    let started = Instant::now();
    assert_eq!(watcher.wait(Some(Duration::from_millis(200))).unwrap(), None);
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(watcher.known(), list(&host));
}

#[test]
fn the_watcher_sees_an_interface_appear_and_vanish() {
    let (lab, host) = host_on_two_lans();
    let watcher = watch(&host);

    host.connect("eth2", &lab.switch("lan2").unwrap(), &["10.2.0.1/24"]).unwrap();
    let appeared = wait_for(&watcher, |change| match change {
        InterfaceChange::Appeared(interface) if is_named(interface, "eth2") => Some(interface.clone()),
        _ => None,
    });
    assert_eq!(appeared.index.number(), host.interface_index("eth2").unwrap());

    host.delete_interface("eth2").unwrap();
    let vanished = wait_for(&watcher, |change| match change {
        InterfaceChange::Vanished(interface) => Some(interface.clone()),
        _ => None,
    });
    assert_eq!(vanished.index, appeared.index);
    assert!(!watcher.known().iter().any(|interface| is_named(interface, "eth2")));
}

#[test]
fn the_watcher_sees_an_interface_deleted_and_created_again() {
    let (lab, host) = host_on_two_lans();
    let lan = lab.switch("lan2").unwrap();
    let watcher = watch(&host);

    host.reconnect("eth0", &lan, &["10.0.0.1/24"]).unwrap();

    let (before, after) = wait_for(&watcher, |change| match change {
        InterfaceChange::Recreated { before, after } => Some((before.clone(), after.clone())),
        _ => None,
    });
    assert!(is_named(&before, "eth0") && is_named(&after, "eth0"));
    assert_eq!(after.index.number(), host.interface_index("eth0").unwrap());
}

/// A comparison of two listings does not show this: same name and index, but another interface.
#[test]
fn the_watcher_sees_an_interface_created_again_under_its_old_index() {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    host.connect("eth0", &lab.switch("lan").unwrap(), &[]).unwrap();
    let index = host.interface_index("eth0").unwrap().to_string();
    let watcher = watch(&host);

    host.delete_interface("eth0").unwrap();
    let made = host
        .command("ip")
        .unwrap()
        .args(["link", "add", "eth0", "index", &index, "type", "veth", "peer", "name", "other"])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        mcast_lab::skip("this test needs `ip` (iproute2)");
        return;
    }

    let after = wait_for(&watcher, |change| match change {
        InterfaceChange::Recreated { after, .. } => Some(after.clone()),
        _ => None,
    });
    assert_eq!(after.index.to_string(), index);
}

#[test]
fn the_watcher_sees_addresses_added_and_removed() {
    let (_lab, host) = host_on_two_lans();
    let watcher = watch(&host);
    let has = |interface: &Interface, address: &str| {
        interface.addresses.iter().any(|entry| entry.address.to_string() == address)
    };

    for address in ["10.0.0.77", "fd00::77"] {
        let (with_prefix, prefix) = (format!("{address}/25"), 25);
        host.add_address("eth0", &with_prefix).unwrap();
        let after = wait_for(&watcher, |change| change.after().filter(|after| has(after, address)).cloned());
        let entry = after.addresses.iter().find(|entry| entry.address.to_string() == address).unwrap();
        assert_eq!((after.name.as_str(), entry.prefix), ("eth0", prefix));

        host.remove_address("eth0", &with_prefix).unwrap();
        wait_for(&watcher, |change| match change {
            InterfaceChange::Changed { before, after } if has(before, address) && !has(after, address) => {
                Some(())
            }
            _ => None,
        });
    }
}

#[test]
fn the_watcher_sees_state_and_name_as_changes_of_the_same_interface() {
    let (_lab, host) = host_on_two_lans();
    let watcher = watch(&host);
    let index = InterfaceIndex::new(host.interface_index("eth0").unwrap()).unwrap();
    let changed_to = |wanted: &dyn Fn(&Interface) -> bool| {
        wait_for(&watcher, |change| match change {
            InterfaceChange::Changed { after, .. } if after.index == index && wanted(after) => Some(()),
            _ => None,
        });
    };

    host.set_down("eth0").unwrap();
    changed_to(&|after| !after.up);
    host.rename_interface("eth0", "wan").unwrap();
    changed_to(&|after| is_named(after, "wan"));
    host.set_up("wan").unwrap();
    changed_to(&|after| after.running);
}

#[test]
fn a_burst_is_reported_at_once() {
    let (_lab, host) = host_on_two_lans();
    let watcher = watch(&host);
    while watcher.wait(Some(Duration::from_millis(300))).unwrap().is_some() {}

    host.run(|| {
        host.set_down("eth0").unwrap();
        host.set_down("eth1").unwrap();
    })
    .unwrap();

    let changes = watcher.wait(Some(DEADLINE)).unwrap().unwrap();
    let names: Vec<_> = changes.iter().filter_map(InterfaceChange::after).map(|after| &after.name).collect();
    assert_eq!(names, ["eth0", "eth1"]);
}

/// Without waiting for a pause, it would be reported dozens of times.
#[test]
fn a_long_burst_is_not_reported_piecemeal() {
    let (_lab, host) = host_on_two_lans();
    let watcher = watch(&host);
    while watcher.wait(Some(Duration::from_millis(300))).unwrap().is_some() {}

    let mut times = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| (1..=100).for_each(|number| host.set_mtu("eth0", 1400 - number).unwrap()));
        while named_in(&watcher.known(), "eth0").mtu != 1300 {
            watcher.wait(Some(DEADLINE)).unwrap().expect("the last change was not reported");
            times += 1;
        }
    });
    assert!(times <= 10, "reported {times} times");
}

/// More notices than a socket holds: some are lost, and the watcher must notice.
#[test]
fn a_flood_of_changes_is_reported_as_an_overrun() {
    let (_lab, host) = host_on_two_lans();
    let watcher = watch(&host);

    // A link's notice takes about 3 KiB of the 208 KiB that the socket holds on a stock kernel.
    for _ in 0..200 {
        for number in 1..=10 {
            host.set_mtu("eth0", 1400 + number).unwrap();
        }
    }

    let overrun = wait_for(&watcher, |change| match change {
        InterfaceChange::Overrun => Some(true),
        _ => None,
    });
    assert!(overrun);
    while watcher.wait(Some(Duration::from_millis(300))).unwrap().is_some() {}
    assert_eq!(watcher.known(), list(&host));
}

#[test]
fn the_watcher_can_be_polled() {
    let (_lab, host) = host_on_two_lans();
    let watcher = watch(&host);
    while watcher.wait(Some(Duration::from_millis(300))).unwrap().is_some() {}
    assert!(!is_readable(&watcher, Duration::from_millis(100)), "readable although nothing has changed");

    host.set_mtu("eth0", 1400).unwrap();

    assert!(is_readable(&watcher, DEADLINE));
    let changes = watcher.wait(Some(Duration::ZERO)).unwrap().unwrap();
    let after = changes.iter().find_map(InterfaceChange::after).unwrap();
    assert_eq!((after.name.as_str(), after.mtu), ("eth0", 1400));
}

fn is_readable(watcher: &InterfaceWatcher, timeout: Duration) -> bool {
    mcast_sys::readable::wait_for_any(&[watcher.as_fd()], Some(timeout)).unwrap()
}
