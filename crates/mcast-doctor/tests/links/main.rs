//! Healthy networks over stacked interfaces, in which the doctor must find nothing.
//!
//! Few kernels support all these kinds. `cargo verify --only kernel` boots one that does and runs these tests there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../lab/net.rs"]
mod net;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../lab/treatment.rs"]
mod treatment;

use mcast_lab::{Host, Lab};

use crate::net::{Stream, assert_healthy, assert_received, examine, examine_host, run, socket};

const GROUP: &str = "239.1.2.3:5000";

/// The last octet of the address of each host.
const SENDER: u8 = 1;
const RECEIVER: u8 = 2;

/// Two hosts connected to a switch with `eth0`, which has no address.
struct Net {
    _lab: Lab,
    sender: Host,
    receiver: Host,
}

impl Net {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let lan = lab.switch("lan").unwrap();
        let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
        for host in [&sender, &receiver] {
            host.connect("eth0", &lan, &[]).unwrap();
        }
        Self { _lab: lab, sender, receiver }
    }

    /// Creates an interface on both hosts with `commands`, which get the number of the host, gives it an address, and
    /// routes groups to it.
    fn on_both(&self, interface: &str, commands: impl Fn(u8) -> String) {
        for (host, number) in [(&self.sender, SENDER), (&self.receiver, RECEIVER)] {
            run(host, &format!("set -e\n{}", commands(number)));
            add_address(host, interface, number);
            host.add_route("224.0.0.0/4", interface).unwrap();
        }
    }

    /// Streams from one interface of the sender, and examines a membership on one of the receiver.
    fn assert_healthy_over(&self, sends_by: &str, receives_by: &str) {
        let socket = socket(&self.sender, [239, 1, 2, 3].into(), sends_by);
        let _stream = Stream::by(socket.into(), GROUP.parse().unwrap(), 64);
        assert_received(&examine(&self.receiver, &format!("239.1.2.3%{receives_by}:5000")));
        assert_healthy(&examine_host(&self.receiver));
    }
}

fn add_address(host: &Host, interface: &str, number: u8) {
    run(host, &format!("ip link set {interface} up"));
    host.add_address(interface, &format!("10.9.0.{number}/24")).unwrap();
}

#[test]
#[ignore = "needs a kernel with bonding: cargo verify --only kernel"]
fn a_bond() {
    let net = Net::new();
    net.on_both("bond0", |_| {
        "ip link add bond0 type bond mode active-backup miimon 100
         ip link set eth0 down
         ip link set eth0 master bond0"
            .to_owned()
    });
    net.assert_healthy_over("bond0", "bond0");
}

#[test]
#[ignore = "needs a kernel with VLANs: cargo verify --only kernel"]
fn a_vlan() {
    let net = Net::new();
    net.on_both("eth0.5", |_| "ip link add link eth0 name eth0.5 type vlan id 5".to_owned());
    net.assert_healthy_over("eth0.5", "eth0.5");
}

#[test]
#[ignore = "needs a kernel with VRF: cargo verify --only kernel"]
fn a_vrf_whose_datagrams_unbound_sockets_receive() {
    let net = Net::new();
    net.on_both("eth0", |number| match number {
        SENDER => String::new(),
        // The management interface is outside the VRF, as on any machine with a VRF.
        _ => "ip link add management type dummy
              ip link set management up
              ip link add red type vrf table 10
              ip link set red up
              ip link set eth0 master red
              echo 1 > /proc/sys/net/ipv4/udp_l3mdev_accept"
            .to_owned(),
    });
    net.assert_healthy_over("eth0", "eth0");
}

#[test]
#[ignore = "needs a kernel with IPVLAN: cargo verify --only kernel"]
fn an_ipvlan() {
    let net = Net::new();
    net.on_both("ipvl0", |_| "ip link add link eth0 name ipvl0 type ipvlan mode l2".to_owned());
    net.assert_healthy_over("ipvl0", "ipvl0");
}

#[test]
#[ignore = "needs a kernel with macvlan: cargo verify --only kernel"]
fn a_macvlan() {
    let net = Net::new();
    net.on_both("mac0", |_| "ip link add link eth0 name mac0 type macvlan mode bridge".to_owned());
    net.assert_healthy_over("mac0", "mac0");
}

/// The tunnel carries groups if the interface has the multicast flag and the peer's allowed IPs include them.
/// Programs must choose it, because the route for groups uses the underlying network.
#[test]
#[ignore = "needs a kernel with WireGuard: cargo verify --only kernel"]
fn a_wireguard_tunnel() {
    let net = Net::new();
    let key = |number: u8| format!("CGtv5G2w9GVrI1{number}{}=", "A".repeat(28)); // 32 bytes in base 64
    net.on_both("eth0", |_| String::new());
    for (host, number, peer) in [(&net.sender, SENDER, RECEIVER), (&net.receiver, RECEIVER, SENDER)] {
        let (own, theirs) = (key(number), key(peer));
        run(
            host,
            &format!(
                "set -e
                 ip link add wg0 type wireguard
                 echo {own} | wg set wg0 listen-port 51820 private-key /dev/stdin \
                    peer $(echo {theirs} | wg pubkey) allowed-ips 0.0.0.0/0 endpoint 10.9.0.{peer}:51820
                 ip link set wg0 multicast on up
                 ip address add 10.1.0.{number}/24 dev wg0"
            ),
        );
    }
    net.assert_healthy_over("wg0", "wg0");
}
