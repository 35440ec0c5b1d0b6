//! Healthy networks.

use mcast_doctor::{ArrivalStatus, Severity, Verdict};

use crate::net::{assert_healthy, assert_received, examine_host, examine_port, listener, run};
use crate::{BOND, GROUP, Net, RECEIVER, SENDER, VLAN, on_one};

#[test]
#[ignore = "needs a kernel with bonding: cargo verify --only kernel"]
fn a_bond() {
    let net = Net::over("bond0", BOND);
    net.assert_healthy_over("bond0", "bond0");
    assert_received(&net.examine_v6("bond0", "bond0"));
}

/// The port that is not active receives the same frames, which the bond drops.
#[test]
#[ignore = "needs a kernel with bonding: cargo verify --only kernel"]
fn a_bond_with_a_backup() {
    let net = Net::new();
    net.receiver.connect("eth1", &net.lan, &[]).unwrap();
    on_one(&net.sender, SENDER, "eth0", "");
    on_one(
        &net.receiver,
        RECEIVER,
        "bond0",
        "ip link add bond0 type bond mode active-backup miimon 100
         for port in eth0 eth1; do ip link set $port down; ip link set $port master bond0; done",
    );
    net.assert_healthy_over("eth0", "bond0");
}

#[test]
#[ignore = "needs a kernel with bonding: cargo verify --only kernel"]
fn a_bond_that_a_program_uses() {
    let net = Net::over("bond0", BOND);
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "bond0")]);
    let _stream = net.stream("bond0", GROUP);
    assert_healthy(&examine_port(&net.receiver, 5000));
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn a_vlan() {
    let net = Net::over("eth0.5", VLAN);
    net.assert_healthy_over("eth0.5", "eth0.5");
    assert_received(&net.examine_v6("eth0.5", "eth0.5"));
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn a_vlan_that_a_program_uses() {
    let net = Net::over("eth0.5", VLAN);
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0.5")]);
    let _stream = net.stream("eth0.5", GROUP);
    assert_healthy(&examine_port(&net.receiver, 5000));
}

/// Both VLANs carry the group, and each host is in both.
#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn one_group_in_two_vlans() {
    let net = Net::over("eth0.5", VLAN);
    for (host, number) in [(&net.sender, SENDER), (&net.receiver, RECEIVER)] {
        let add = "ip link add link eth0 name eth0.6 type vlan id 6 && ip link set eth0.6 up";
        run(host, &format!("{add} && ip address add 10.6.0.{number}/24 dev eth0.6"));
    }
    let _other = net.stream("eth0.6", GROUP);
    let report = net.examine("eth0.5", "eth0.5");
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{report:#?}");
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn a_vlan_within_a_vlan() {
    let net = Net::over(
        "inner",
        "ip link add link eth0 name outer type vlan proto 802.1ad id 7
         ip link set outer up
         ip link add link outer name inner type vlan id 5",
    );
    net.assert_healthy_over("inner", "inner");
}

#[test]
#[ignore = "needs a kernel with bonding and VLANs: cargo verify --only kernel"]
fn a_vlan_on_a_bond() {
    let net = Net::over(
        "bond0.5",
        &format!("{BOND}\nip link set bond0 up\nip link add link bond0 name bond0.5 type vlan id 5"),
    );
    net.assert_healthy_over("bond0.5", "bond0.5");
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn a_bridge_on_a_vlan() {
    let net = Net::over(
        "br0",
        &format!(
            "{VLAN}
             ip link add br0 type bridge mcast_snooping 0
             ip link set eth0.5 master br0 up"
        ),
    );
    net.assert_healthy_over("br0", "br0");
}

#[test]
#[ignore = "needs a kernel with VRF: cargo verify --only kernel"]
fn a_vrf_whose_datagrams_unbound_sockets_receive() {
    let net = Net::new();
    on_one(&net.sender, SENDER, "eth0", "");
    // The management interface is outside the VRF, as on any machine with a VRF.
    on_one(
        &net.receiver,
        RECEIVER,
        "eth0",
        "ip link add management type dummy
         ip link set management up
         ip link add red type vrf table 10
         ip link set red up
         ip link set eth0 master red
         echo 1 > /proc/sys/net/ipv4/udp_l3mdev_accept",
    );
    net.assert_healthy_over("eth0", "eth0");
}

#[test]
#[ignore = "needs a kernel with IPVLAN: cargo verify --only kernel"]
fn an_ipvlan() {
    Net::over("ipvl0", "ip link add link eth0 name ipvl0 type ipvlan mode l2")
        .assert_healthy_over("ipvl0", "ipvl0");
}

#[test]
#[ignore = "needs a kernel with macvlan: cargo verify --only kernel"]
fn a_macvlan() {
    let net = Net::over("mac0", "ip link add link eth0 name mac0 type macvlan mode bridge");
    net.assert_healthy_over("mac0", "mac0");
    assert_received(&net.examine_v6("mac0", "mac0"));
}

#[test]
#[ignore = "needs a kernel with macvlan and VLANs: cargo verify --only kernel"]
fn a_macvlan_on_a_vlan() {
    let net = Net::over(
        "mac0",
        &format!(
            "{VLAN}\nip link set eth0.5 up\nip link add link eth0.5 name mac0 type macvlan mode private"
        ),
    );
    net.assert_healthy_over("mac0", "mac0");
}

/// Ethernet over UDP, with the group of the underlying network for everything that has no single destination.
#[test]
#[ignore = "needs a kernel with VXLAN: cargo verify --only kernel"]
fn a_vxlan() {
    let net = Net::new();
    for (host, number) in [(&net.sender, SENDER), (&net.receiver, RECEIVER)] {
        on_underlay(host, number);
        run(host, "ip link add vx0 type vxlan id 5 group 239.255.0.5 dev eth0 dstport 4789");
        on_one(host, number, "vx0", "ip route del 224.0.0.0/4");
    }
    net.assert_healthy_over("vx0", "vx0");
}

/// Ethernet in GRE.
#[test]
#[ignore = "needs a kernel with GRE: cargo verify --only kernel"]
fn an_ethernet_tunnel() {
    let net = Net::new();
    for (host, number, peer) in [(&net.sender, SENDER, RECEIVER), (&net.receiver, RECEIVER, SENDER)] {
        on_underlay(host, number);
        let tunnel = format!("ip link add tap0 type gretap local 10.1.0.{number} remote 10.1.0.{peer}");
        on_one(host, number, "tap0", &format!("ip route del 224.0.0.0/4\n{tunnel}"));
    }
    net.assert_healthy_over("tap0", "tap0");
}

/// Gives `eth0` an address for tunnels, and routes groups to it.
fn on_underlay(host: &mcast_lab::Host, number: u8) {
    run(host, &format!("ip address add 10.1.0.{number}/24 dev eth0 && ip route add 224.0.0.0/4 dev eth0"));
}

/// The tunnel carries groups if the interface has the multicast flag and the peer's allowed IPs include them.
/// Programs must choose it, because the route for groups uses the underlying network.
#[test]
#[ignore = "needs a kernel with WireGuard: cargo verify --only kernel"]
fn a_wireguard_tunnel() {
    let net = wireguard("0.0.0.0/0");
    assert_received(&net.examine("wg0", "wg0"));
    assert_healthy(&examine_host(&net.receiver));
}

/// Returns a network with a tunnel between the hosts, through which the receiver admits these sources.
pub(crate) fn wireguard(admitted: &str) -> Net {
    let net = Net::over("eth0", "");
    let key = |number: u8| format!("CGtv5G2w9GVrI1{number}{}=", "A".repeat(28)); // 32 bytes in base 64
    let ends = [(&net.sender, SENDER, RECEIVER, "0.0.0.0/0"), (&net.receiver, RECEIVER, SENDER, admitted)];
    for (host, number, peer, admitted) in ends {
        let (own, theirs) = (key(number), key(peer));
        run(
            host,
            &format!(
                "set -e
                 ip link add wg0 type wireguard
                 echo {own} | wg set wg0 listen-port 51820 private-key /dev/stdin \
                    peer $(echo {theirs} | wg pubkey) allowed-ips {admitted} endpoint 10.9.0.{peer}:51820
                 ip link set wg0 multicast on up
                 ip address add 10.1.0.{number}/24 dev wg0"
            ),
        );
    }
    net
}
