//! Legs in other network namespaces, which need neither routes nor addresses that others know.

use std::net::Ipv4Addr;

use crate::network::{Network, address, member, of_type, refused, relay, relay_unready, sender, stop};
use crate::support::{MCAST, TIMEOUT, eventually, program, recv, send};

const GROUP: &str = "239.1.2.3:5000";

#[test]
fn a_program_in_a_namespace_without_routes_receives_and_is_answered() {
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]));
    // A container whose only network nobody else is on.
    let inside = network.host("inside", 5, &[2]);
    let holder = program(&inside, "sleep", &["60"], false);
    let leg = format!("netns:{}/eth0", holder.child.id());
    let relay = relay(&r, &[&format!("239.1.2.3:5000 between eth0 and {leg}")]);
    // A program on the leg's own host, whose reports the relay does not receive.
    let member = member(&inside, (Ipv4Addr::new(239, 1, 2, 3), 5000), Ipv4Addr::new(10, 0, 2, 5));
    member.set_read_timeout(Some(TIMEOUT)).unwrap();
    let asker = sender(&a, address(1, 1));
    asker.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut buffer = [0; 64];
    eventually("a join upstream", || r.read_proc_net("igmp").unwrap().contains("030201EF"));
    asker.send_to(b"into the container", GROUP).unwrap();
    let (length, from) = member.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"into the container");
    member.send_to(b"out of it", from).unwrap();
    let (length, responder) = asker.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], responder.ip()), (&b"out of it"[..], address(1, 9)));

    let outside = recv(&a, &[GROUP, "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
    eventually("a join in the namespace", || {
        // The member, and the relay.
        let table = inside.read_proc_net("igmp").unwrap();
        table.lines().any(|line| line.contains("030201EF") && line.split_whitespace().nth(1) == Some("2"))
    });
    send(&inside, &[GROUP, "-i", "eth0", "--ttl", "4", "to everybody"]);
    assert_eq!(outside.end().json()[0]["text"], "to everybody");
    stop(relay);
    holder.child.kill().unwrap();
}

#[test]
fn a_namespace_that_ends_is_reported_and_the_rest_continues() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let inside = network.host("inside", 5, &[2]);
    let mut holder = program(&inside, "sleep", &["60"], false);
    let leg = format!("netns:{}/eth0", holder.child.id());
    let relay = relay(&r, &[&format!("239.1.2.3:5000 from eth0 to eth1,{leg} always")]);
    holder.child.kill().unwrap();
    holder.child.wait().unwrap();
    relay.stdout.wait_for(r#""event":"leg-down""#);
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
    send(&a, &[GROUP, "-i", "eth0", "--ttl", "4", "still there"]);
    assert_eq!(receiver.end().json()[0]["text"], "still there");
    let (events, _) = stop(relay);
    let down = &of_type(&events, "leg-down")[0];
    assert_eq!(down["leg"], leg.as_str());
    let reason = down["reason"].as_str().unwrap();
    assert!(reason.contains("has ended"), "{reason}");
}

/// Without this bound, the hundredth sender would pause the rule for all.
#[test]
fn few_open_files_allow_few_senders_and_the_relay_says_so() {
    let network = Network::new(2);
    let (a, c) = (network.host("a", 1, &[1]), network.host("c", 2, &[1]));
    let (r, b) = (network.host("r", 9, &[1, 2]), network.host("b", 3, &[2]));
    let rule = "239.1.2.3:5000 from eth0 to eth1 always";
    let relay = program(&r, "prlimit", &["--nofile=100:100", MCAST, "relay", "--json", rule], false);
    relay
        .stderr
        .wait_for("at most 50 sockets for copies instead of 1024: this process may have 100 open files");
    relay.stdout.wait_for(r#""event":"forwarding""#);
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "-W", "20s"]);
    // A program that sends from as many ports as the relay may have open files.
    let ports: Vec<_> = (0..100).map(|_| sender(&a, address(1, 1))).collect();
    for port in &ports {
        port.send_to(b"a port", GROUP).unwrap();
    }
    send(&c, &[GROUP, "-i", "eth0", "--ttl", "4", "another host"]);
    receiver.stdout.wait_for("another host");
    receiver.child.kill().unwrap();
    let (_, summary) = stop(relay);
    assert_eq!(summary["unsent"], 0);
    assert!(refused(&summary, "too-many-paths") > 0, "{summary}");
}

#[test]
fn interfaces_may_come_go_and_come_again() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    r.set_down("eth1").unwrap();
    let relay = relay_unready(&r, &["239.1.2.3:5000 from eth0 to eth1 always"]);
    relay.stdout.wait_for(r#""event":"leg-down""#);
    for round in ["first", "second"] {
        r.set_up("eth1").unwrap();
        let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
        let socket = sender(&a, address(1, 1));
        eventually("a copy", || {
            socket.send_to(round.as_bytes(), GROUP).unwrap();
            receiver.stdout.text().contains(round)
        });
        receiver.end().succeeded();
        r.set_down("eth1").unwrap();
    }
    stop(relay);
}

#[test]
fn a_container_needs_its_engine() {
    let network = Network::new(1);
    let r = network.host("r", 9, &[1]);
    let relay = relay_unready(&r, &["239.1.2.3:5000 from eth0 to docker:web always"]);
    relay.stdout.wait_for("cannot find the container of docker:web/eth0");
    let (events, _) = stop(relay);
    let down = of_type(&events, "leg-down");
    assert!(down[0]["reason"].as_str().unwrap().contains("docker:web"), "{down:?}");
}

#[test]
fn rules_that_are_reread_may_name_more_interfaces_of_a_namespace() {
    let network = Network::new(3);
    let r = network.host("r", 9, &[1]);
    let inside = network.host("inside", 5, &[2, 3]);
    let holder = program(&inside, "sleep", &["60"], false);
    let namespace = format!("netns:{}", holder.child.id());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, format!("239.1.2.3:5000 from eth0 to {namespace}/eth0 always")).unwrap();
    let relay = relay(&r, &["--config", file.to_str().unwrap()]);
    std::fs::write(&file, format!("239.1.2.3:5000 from eth0 to {namespace}/eth0,{namespace}/eth1 always"))
        .unwrap();
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(&format!(r#""to":"{namespace}/eth1""#));
    let (events, _) = stop(relay);
    assert_eq!(of_type(&events, "forwarding").len(), 2, "the first one continues: {events:?}");
    holder.child.kill().unwrap();
}
