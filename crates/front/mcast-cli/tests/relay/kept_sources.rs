//! Copies with the source of their sender, and groups of one link, on the real kernel.

use std::net::UdpSocket;

use crate::network::{Network, of_type, relay, stop};
use crate::support::{eventually, mcast, recv, start};

#[test]
fn a_host_on_another_network_sees_the_sender_and_answers_it_without_the_relay() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let rules = [
        "239.1.2.3:5000 from eth0 to eth1 always keep-source",
        "[ff15::3]:5000 from eth0 to eth1 always keep-source",
    ];
    let relay = relay(&r, &rules);
    for (group, own) in [("239.1.2.3:5000", "10.0.1.1"), ("[ff15::3]:5000", "fd00:1::1")] {
        let receiver = recv(&b, &[group, "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
        let sending = start(
            &a,
            &[
                "send",
                group,
                "-i",
                "eth0",
                "--ttl",
                "4",
                "--source-port",
                "4321",
                "--every",
                "100ms",
                "where are you?",
            ],
        );
        let received = receiver.end().succeeded().json();
        sending.signalled(libc::SIGINT);
        assert_eq!(
            (&received[0]["source"], &received[0]["source_port"]),
            (&own.into(), &4321.into()),
            "{received:?}"
        );
    }
    let (events, summary) = stop(relay);
    assert!(
        of_type(&events, "router-found").is_empty() && of_type(&events, "loop-found").is_empty(),
        "{events:?}"
    );
    assert_eq!(summary["unsent"], 0);
}

#[test]
fn a_check_names_to_whom_hosts_answer() {
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let check = |rule: &str| {
        let checked = mcast(&r, &["relay", "--check", "--json", rule]).succeeded().json();
        of_type(&checked, "would-forward")[0]["answers"].clone()
    };
    assert_eq!(check("ssdp from eth0 to eth1"), "relay");
    assert_eq!(check("ssdp from eth0 to eth1 keep-source"), "sender");
    assert!(check("239.1.2.3:5000 from eth0 to eth1 always no-replies").is_null());
}

#[test]
fn a_television_on_a_group_of_one_link_is_found_from_another_network() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(&r, &["224.0.0.7:8001 from eth0 to eth1"]);
    let receiver = recv(&b, &["224.0.0.7:8001", "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
    let socket = a.run(|| UdpSocket::bind("10.0.1.1:0")).unwrap().unwrap();
    socket.set_multicast_ttl_v4(1).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&[10, 0, 1, 1].into()).unwrap();
    eventually("the television on the other network", || {
        socket.send_to(b"television here", "224.0.0.7:8001").unwrap();
        receiver.stdout.text().contains("television here")
    });
    receiver.end().succeeded();
    stop(relay);
}
