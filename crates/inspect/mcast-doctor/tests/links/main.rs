//! Networks over stacked interfaces: healthy ones, in which the doctor must find nothing, and injected faults.
//!
//! Few kernels support all these kinds. `cargo verify --only kernel` boots one that does and runs these tests there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod faults;
mod healthy;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../lab/net.rs"]
mod net;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../lab/treatment.rs"]
mod treatment;

use std::time::Duration;

use mcast_doctor::{Options, Report};
use mcast_lab::{Host, Lab, Switch};

use crate::net::{Stream, assert_healthy, assert_received, examine_for, examine_host, run, socket};

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";

/// The last octet of the address of each host.
const SENDER: u8 = 1;
const RECEIVER: u8 = 2;

/// Two hosts connected to a switch with `eth0`, which has no address.
struct Net {
    _lab: Lab,
    lan: Switch,
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
        Self { _lab: lab, lan, sender, receiver }
    }

    /// Returns a network in which both hosts have an interface that `commands` create; see [`Self::on_both`].
    fn over(interface: &str, commands: &str) -> Self {
        let net = Self::new();
        net.on_both(interface, |_| commands.to_owned());
        net
    }

    /// Creates an interface on both hosts with `commands`, which get the number of the host, gives it addresses, and
    /// routes groups to it.
    fn on_both(&self, interface: &str, commands: impl Fn(u8) -> String) {
        for (host, number) in [(&self.sender, SENDER), (&self.receiver, RECEIVER)] {
            on_one(host, number, interface, &commands(number));
        }
    }

    /// Streams from an interface of the sender.
    fn stream(&self, by: &str, to: &str) -> Stream {
        let to: std::net::SocketAddr = to.parse().unwrap();
        Stream::by(socket(&self.sender, to.ip(), by).into(), to, 64)
    }

    /// Streams from one interface of the sender, and examines a membership on one of the receiver.
    fn examine(&self, sends_by: &str, receives_by: &str) -> Report {
        let _stream = self.stream(sends_by, GROUP);
        self.listen(&format!("239.1.2.3%{receives_by}:5000"))
    }

    fn examine_v6(&self, sends_by: &str, receives_by: &str) -> Report {
        let _stream = self.stream(sends_by, GROUP_V6);
        self.listen(&format!("[ff15::1234%{receives_by}]:5000"))
    }

    /// Examines a membership for longer than the other tests, because an emulated machine is slow.
    fn listen(&self, membership: &str) -> Report {
        examine_for(&self.receiver, membership, &Options::default().listening(Duration::from_secs(4)))
    }

    /// Asserts that datagrams arrive, and that nothing is wrong with the membership and the machine.
    fn assert_healthy_over(&self, sends_by: &str, receives_by: &str) {
        assert_received(&self.examine(sends_by, receives_by));
        assert_healthy(&examine_host(&self.receiver));
    }
}

/// Creates an interface on one host with `commands`, gives it addresses, and routes groups to it.
fn on_one(host: &Host, number: u8, interface: &str, commands: &str) {
    run(host, &format!("set -e\n{commands}\nip link set {interface} up"));
    host.add_address(interface, &format!("10.9.0.{number}/24")).unwrap();
    host.add_address(interface, &format!("fd09::{number}/64")).unwrap();
    host.add_route("224.0.0.0/4", interface).unwrap();
}

/// A bond whose only port is `eth0`.
const BOND: &str = "ip link add bond0 type bond mode active-backup miimon 100
ip link set eth0 down
ip link set eth0 master bond0";
/// VLAN 5 on `eth0`.
const VLAN: &str = "ip link add link eth0 name eth0.5 type vlan id 5";
