//! `mcast interfaces` on hosts with known interfaces.

use snapbox::{assert_data_eq, str};

use crate::support::{Lan, mcast, start};

#[test]
fn the_table_lists_all_interfaces() {
    let lan = Lan::new();
    lan.a.connect("eth1", &lan.switch, &[]).unwrap();
    lan.a.set_down("eth1").unwrap();
    let shown = mcast(&lan.a, &["interfaces"]).succeeded();
    assert_data_eq!(
        shown.text(),
        str![[r#"
name  index  state  multicast  default    mtu    hardware address   addresses              note
lo        1  up     no                    65536                     127.0.0.1/8            loopback: stays on this machine
                                                                    ::1/128
eth0      2  up     yes        IPv4 IPv6   1500  02:6d:00:02:00:01  10.0.0.1/24
                                                                    fd00::1/64
                                                                    fe80::6d:ff:fe02:1/64
eth1      3  down   yes                    1500  02:6d:00:02:00:02                         down

"#]]
    );
}

#[test]
fn without_a_default_interface_there_is_a_note() {
    let lan = Lan::new();
    assert_eq!(mcast(&lan.a, &["interfaces"]).succeeded().stderr, "");
    lan.a.remove_route("224.0.0.0/4", "eth0").unwrap();
    assert_data_eq!(
        mcast(&lan.a, &["interfaces"]).succeeded().stderr,
        str![[r#"
IPv4: there is no route to groups, so a sender must name an interface (`mcast send -i`)

"#]]
    );
}

#[test]
fn json_has_the_same_data() {
    let lan = Lan::new();
    let all = mcast(&lan.b, &["interfaces", "--json"]).succeeded().json();
    all.iter().for_each(|each| crate::schemas::assert_valid("interface", each));
    let eth0 = all.iter().find(|each| each["name"] == "eth0").unwrap();
    assert_eq!(u64::from(lan.b.interface_index("eth0").unwrap()), eth0["index"].as_u64().unwrap());
    assert_eq!(
        (&eth0["up"], &eth0["multicast"], &eth0["loopback"]),
        (&true.into(), &true.into(), &false.into())
    );
    assert_eq!((&eth0["default_v4"], &eth0["mtu"]), (&true.into(), &1500.into()));
    let addresses = eth0["addresses"].as_array().unwrap();
    assert_eq!((&addresses[0]["address"], &addresses[0]["prefix"]), (&"10.0.0.2".into(), &24.into()));
    assert!(addresses.iter().any(|each| each["address"] == "fd00::2"));
}

/// Returns what is reported about `--wire` on an interface.
fn wire_of(shown: &[serde_json::Value], name: &str) -> serde_json::Value {
    shown.iter().for_each(|each| crate::schemas::assert_valid("interface", each));
    shown.iter().find(|each| each["name"] == name).unwrap()["wire"].clone()
}

#[test]
fn what_an_interface_offers_for_the_wire_is_shown_with_the_reason_against_it() {
    let lan = Lan::new();
    lan.a.connect("eth1", &lan.switch, &[]).unwrap();
    lan.a.bridge("br0", &["eth1"], &[]).unwrap();
    lan.a.connect("eth2", &lan.switch, &[]).unwrap();
    lan.a.macvlan("upper", "eth2", &[]).unwrap();
    let shown = mcast(&lan.a, &["interfaces", "--json"]).succeeded().json();
    for (name, driver, native, reason) in [
        ("lo", "", false, "it is not an Ethernet interface"),
        ("eth1", "veth", true, "it is a port of br0"),
        ("eth2", "veth", true, "upper receives its frames, too"),
        ("br0", "bridge", false, "its driver (bridge) has no XDP"),
    ] {
        let wire = wire_of(&shown, name);
        assert_eq!((&wire["possible"], &wire["reason"]), (&false.into(), &reason.into()), "{name}");
        assert_eq!((&wire["driver"], &wire["native"]), (&driver.into(), &native.into()), "{name}");
    }
    let table = mcast(&lan.a, &["interfaces", "-v"]).succeeded().text().to_owned();
    assert!(
        table.lines().any(|line| line.starts_with("eth1") && line.ends_with("it is a port of br0")),
        "{table}"
    );
}

#[test]
fn looking_at_an_interface_neither_needs_nor_starts_a_program() {
    let lan = Lan::new();
    let look = || wire_of(&mcast(&lan.b, &["interfaces", "--json"]).succeeded().json(), "eth0");
    let free = look();
    let receiving = start(&lan.b, &["recv", "239.255.1.3%eth0:7000", "--wire", "auto"]);
    if free["possible"] == true {
        receiving.stderr.wait_for("taken off the interface");
        assert_eq!(look()["reason"], "another XDP program or AF_XDP socket uses it");
    } else {
        // For an ordinary user, a receiver has the same reason to use the socket.
        let reason = free["reason"].as_str().unwrap();
        assert_eq!(reason, "CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed");
        receiving.stderr.wait_for(reason);
    }
    receiving.signalled(libc::SIGINT);
    assert_eq!(look(), free);
}

#[test]
fn a_watch_reports_changes() {
    let lan = Lan::new();
    let watch = start(&lan.a, &["interfaces", "--watch"]);
    watch.stdout.wait_for("eth0");
    lan.a.connect("eth9", &lan.switch, &["10.9.0.1/24"]).unwrap();
    watch.stdout.wait_for("eth9 appeared");
    lan.a.set_mtu("eth9", 1400).unwrap();
    watch.stdout.wait_for("mtu 1500 -> 1400");
    lan.a.delete_interface("eth9").unwrap();
    watch.stdout.wait_for("eth9 vanished");
    let ended = watch.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
}

#[test]
fn a_json_watch_starts_with_the_current_interfaces() {
    let lan = Lan::new();
    let watch = start(&lan.a, &["interfaces", "--watch", "--json"]);
    watch.stdout.wait_for("eth0");
    lan.a.delete_interface("eth0").unwrap();
    watch.stdout.wait_for("vanished");
    let events = watch.signalled(libc::SIGINT).json();
    events.iter().for_each(|each| crate::schemas::assert_valid("interface-event", each));
    assert_eq!((&events[0]["event"], &events[0]["name"]), (&"present".into(), &"lo".into()));
    assert!(events.iter().any(|each| each["event"] == "vanished" && each["name"] == "eth0"));
}
