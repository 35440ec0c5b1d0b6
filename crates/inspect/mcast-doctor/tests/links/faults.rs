//! Faults.

use std::net::UdpSocket;

use mcast_doctor::{ArrivalStatus, Id, Report, Severity, Verdict};

use crate::healthy::wireguard;
use crate::net::{Stream, assert_only, examine, examine_port, listener, nft, options, run};
use crate::{BOND, GROUP, Net, RECEIVER, SENDER, VLAN, on_one};

/// Asserts that a fault is named, whichever it is, and that the datagrams are not said to arrive.
fn assert_fault(report: &Report) {
    assert_eq!(report.verdict(), Verdict::Faults, "{report:#?}");
    assert_ne!(report.arrival, ArrivalStatus::Arrives, "{report:#?}");
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn datagrams_without_a_tag_for_a_member_in_a_vlan() {
    let net = Net::new();
    on_one(&net.sender, SENDER, "eth0", "");
    on_one(&net.receiver, RECEIVER, "eth0.5", VLAN);
    assert_only(&net.examine("eth0", "eth0.5"), Id::JoinedOtherInterface);
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn datagrams_in_a_vlan_for_a_member_without_a_tag() {
    let net = Net::new();
    on_one(&net.sender, SENDER, "eth0.5", VLAN);
    on_one(&net.receiver, RECEIVER, "eth0", "");
    assert_only(&net.examine("eth0.5", "eth0"), Id::VlanTagged);
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn datagrams_in_a_vlan_in_which_the_machine_has_an_interface() {
    let net = Net::new();
    on_one(&net.sender, SENDER, "eth0.5", VLAN);
    on_one(&net.receiver, RECEIVER, "eth0", &format!("{VLAN}\nip link set eth0.5 up"));
    assert_only(&net.examine("eth0.5", "eth0"), Id::JoinedOtherInterface);
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn datagrams_in_another_vlan_than_the_member() {
    let net = Net::new();
    on_one(&net.sender, SENDER, "eth0.6", "ip link add link eth0 name eth0.6 type vlan id 6");
    on_one(&net.receiver, RECEIVER, "eth0.5", VLAN);
    assert_only(&net.examine("eth0.6", "eth0.5"), Id::VlanTagged);
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn a_program_that_joined_in_another_vlan_of_the_machine() {
    let net = Net::new();
    let vlans = format!("{VLAN}\nip link add link eth0 name eth0.6 type vlan id 6\nip link set eth0.6 up");
    on_one(&net.sender, SENDER, "eth0.6", &vlans);
    on_one(&net.receiver, RECEIVER, "eth0.5", &vlans);
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0.5")]);
    let _stream = net.stream("eth0.6", GROUP);
    assert_only(&examine_port(&net.receiver, 5000), Id::JoinedOtherInterface);
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn the_reverse_path_filter_of_a_vlan() {
    let net = Net::over("eth0.5", VLAN);
    net.receiver.sysctl("net/ipv4/conf/eth0.5/rp_filter", "1").unwrap();
    net.sender.add_address("eth0.5", "192.0.2.1/24").unwrap();
    let other = net.sender.run(|| UdpSocket::bind("192.0.2.1:0").unwrap()).unwrap();
    options(&other).set_multicast_if_v4(&[10, 9, 0, SENDER].into()).unwrap();
    let _stream = Stream::by(other, GROUP.parse().unwrap(), 64);
    assert_only(&examine(&net.receiver, "239.1.2.3%eth0.5:5000"), Id::ReversePathFilter);
}

#[test]
#[ignore = "needs a kernel with bonding: cargo verify --only kernel"]
fn the_firewall_of_a_bond() {
    let net = Net::over("bond0", BOND);
    nft(&net.receiver, "inet", "hook input", "iifname bond0 udp dport 5000 counter drop");
    assert_only(&net.examine("bond0", "bond0"), Id::FirewallDropsData);
    assert_only(&net.examine_v6("bond0", "bond0"), Id::FirewallDropsData);
}

#[test]
#[ignore = "needs a kernel with bonding: cargo verify --only kernel"]
fn reports_dropped_before_a_bond_sends_them() {
    let net = Net::over("bond0", BOND);
    nft(&net.receiver, "inet", "hook output", "oifname bond0 meta l4proto igmp drop");
    let report = net.examine("bond0", "bond0");
    assert!(report.findings.iter().any(|finding| finding.id == Id::FirewallDropsIgmp), "{report:#?}");
}

#[test]
#[ignore = "needs a kernel with bonding: cargo verify --only kernel"]
fn a_bond_without_a_working_port() {
    let net = Net::over("bond0", BOND);
    run(&net.receiver, "ip link set eth0 down");
    let report = net.examine("bond0", "bond0");
    assert_fault(&report);
}

#[test]
#[ignore = "needs a kernel with VRF: cargo verify --only kernel"]
fn a_vrf_whose_datagrams_unbound_sockets_do_not_receive() {
    let net = Net::new();
    on_one(&net.sender, SENDER, "eth0", "");
    on_one(
        &net.receiver,
        RECEIVER,
        "eth0",
        "ip link add red type vrf table 10
         ip link set red up
         ip link set eth0 master red
         echo 0 > /proc/sys/net/ipv4/udp_l3mdev_accept",
    );
    assert_fault(&net.examine("eth0", "eth0"));
    let _listener = listener(&net.receiver, "0.0.0.0:5001", &[("239.1.2.3", "eth0")]);
    let _stream = net.stream("eth0", "239.1.2.3:5001");
    assert_fault(&examine_port(&net.receiver, 5001));
}

/// In this mode the interface gets no groups.
#[test]
#[ignore = "needs a kernel with IPVLAN: cargo verify --only kernel"]
fn an_ipvlan_of_the_network_layer() {
    let net = Net::new();
    on_one(&net.sender, SENDER, "eth0", "");
    on_one(&net.receiver, RECEIVER, "ipvl0", "ip link add link eth0 name ipvl0 type ipvlan mode l3");
    assert_fault(&net.examine("eth0", "ipvl0"));
}

#[test]
#[ignore = "needs a kernel with WireGuard: cargo verify --only kernel"]
fn a_tunnel_that_does_not_admit_the_sender() {
    let net = wireguard("10.1.0.77/32");
    let report = net.examine("wg0", "wg0");
    assert_fault(&report);
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.severity != Severity::Fault || finding.id == Id::NothingArrives),
        "{report:#?}"
    );
}

#[test]
#[ignore = "needs a kernel with WireGuard: cargo verify --only kernel"]
fn a_member_on_the_network_of_a_tunnel_instead_of_the_tunnel() {
    let net = wireguard("0.0.0.0/0");
    assert_only(&net.examine("wg0", "eth0"), Id::JoinedOtherInterface);
}

#[test]
#[ignore = "needs a kernel with macvlan: cargo verify --only kernel"]
fn the_firewall_of_a_macvlan() {
    let net = Net::over("mac0", "ip link add link eth0 name mac0 type macvlan mode bridge");
    nft(&net.receiver, "inet", "hook input", "iifname mac0 udp dport 5000 drop");
    assert_only(&net.examine("mac0", "mac0"), Id::FirewallDropsData);
}
