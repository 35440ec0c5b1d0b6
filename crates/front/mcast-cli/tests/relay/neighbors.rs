//! Hosts beside a relay whose interface is made again with another hardware address.

use std::net::{IpAddr, UdpSocket};

use mcast_lab::Host;
use mcast_sys::HardwareAddress;
use mcast_sys::watch::InterfaceWatch;

use crate::network::{Network, address, of_type, relay, sender, stop};
use crate::support::{MCAST, eventually, program, recv};

const RULE: &str = "239.1.2.3:5000 from eth0 to eth1 always";
const GROUP: &str = "239.1.2.3:5000";

/// The addresses of the relay on segment 2.
fn of_relay() -> [IpAddr; 2] {
    [address(2, 9), "fd00:2::9".parse().unwrap()]
}

/// Returns where a host on segment 2 sends what is for the relay.
fn known(host: &Host) -> [Option<HardwareAddress>; 2] {
    let find = || {
        let watch = InterfaceWatch::open()?;
        let index = mcast_sys::interface::index_of("eth0")?;
        let [v4, v6] = of_relay().map(|address| watch.neighbour(index, address));
        Ok::<_, std::io::Error>([v4?, v6?])
    };
    host.run(find).unwrap().unwrap()
}

/// Makes a host on segment 2 resolve the addresses of the relay; returns what it has found.
fn resolve(host: &Host) -> [Option<HardwareAddress>; 2] {
    for to in of_relay() {
        let socket = host.run(|| UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }));
        socket.unwrap().unwrap().send_to(b"who?", (to, 9)).unwrap();
    }
    eventually("both hardware addresses", || known(host).iter().all(Option::is_some));
    known(host)
}

/// Replaces the interface of the relay on segment 2 by one with the same name and addresses, and another hardware address.
fn make_again(network: &Network, relay: &Host) {
    relay.delete_interface("eth1").unwrap();
    network.connect(relay, "other", 9, 2);
    relay.rename_interface("other", "eth1").unwrap();
}

#[test]
fn neighbors_learn_the_hardware_address_of_a_leg_that_is_made_again_without_sending_anything() {
    let network = Network::new(2);
    let (r, b) = (network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(&r, &[RULE]);
    let before = resolve(&b);
    make_again(&network, &r);
    eventually("the other hardware address of both", || {
        let now = known(&b);
        now.iter().zip(&before).all(|(now, before)| now.is_some() && now != before)
    });
    let (events, _) = stop(relay);
    assert!(of_type(&events, "problem").is_empty(), "{events:?}");
}

#[test]
fn without_the_right_to_announce_a_relay_says_so_once_and_forwards() {
    if !mcast_lab::has_program("setpriv", "--version", "a relay without rights") {
        return;
    }
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let drop = ["--bounding-set=-net_raw", "--inh-caps=-net_raw", MCAST, "relay", "--json", RULE];
    let relay = program(&r, "setpriv", &drop, false);
    relay.stdout.wait_for(r#""event":"forwarding""#);
    let before = resolve(&b);
    make_again(&network, &r);
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
    let socket = sender(&a, address(1, 1));
    eventually("a copy on the interface that was made again", || {
        socket.send_to(b"forwarded", GROUP).unwrap();
        receiver.stdout.text().contains("forwarded")
    });
    assert_eq!(known(&b), before, "nothing was announced");
    let (events, _) = stop(relay);
    let problems = of_type(&events, "problem");
    assert_eq!(problems.len(), 1, "{events:?}");
    let reason = problems[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("cannot announce the addresses of this machine"), "{reason}");
}
