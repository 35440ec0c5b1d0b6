//! Redundant paths, one of them down.

use std::io::Write;

use mcast_lab::{Host, Lab, Switch};

use crate::support::{MCAST, Running, mcast, program, start};

const A: &str = "239.1.1.1%eth0:7000";
const B: &str = "239.1.1.2%eth1:7000";

/// Two hosts on two switches; their interfaces are `eth0` on the first and `eth1` on the second.
struct Networks {
    _lab: Lab,
    second: Switch,
    publisher: Host,
    subscriber: Host,
}

fn networks() -> Networks {
    let lab = Lab::new().unwrap();
    let switches = ["a", "b"].map(|name| lab.switch(name).unwrap());
    let [publisher, subscriber] = [("pub", 1), ("sub", 2)].map(|(name, number)| {
        let host = lab.host(name).unwrap();
        for (interface, switch) in switches.iter().enumerate() {
            let address = format!("10.0.{interface}.{number}/24");
            host.connect(&format!("eth{interface}"), switch, &[&address]).unwrap();
        }
        host
    });
    let [_, second] = switches;
    Networks { _lab: lab, second, publisher, subscriber }
}

fn subscribe(host: &Host) -> Running {
    let running = start(host, &["subscribe", A, "--path", B]);
    running.stderr.wait_for("joined on eth1");
    running
}

/// Publishes what is written to its input on both paths.
fn publish(host: &Host) -> Running {
    program(host, MCAST, &["publish", A, "--path", B, "--wait-for", "1"], true)
}

#[test]
fn a_publisher_starts_while_one_path_is_down_and_uses_it_once_it_is_up() {
    let net = networks();
    net.publisher.set_down("eth1").unwrap();
    let running = subscribe(&net.subscriber);
    let mut publishing = publish(&net.publisher);
    publishing.stderr.wait_for("path 2 is down");
    let mut input = publishing.child.stdin.take().unwrap();
    for number in 0..200 {
        writeln!(input, "{number}").unwrap();
    }
    running.stdout.wait_for("199\n");
    net.publisher.set_up("eth1").unwrap();
    publishing.stderr.wait_for("path 2 works again");
    writeln!(input, "both").unwrap();
    drop(input);
    let ended = publishing.end().succeeded();
    assert_eq!(ended.stderr.matches("path 2 is down").count(), 1, "a change is reported once: {ended:?}");
    let ended = running.end().succeeded();
    assert_eq!(ended.lines().len(), 201, "{ended:?}");
    assert!(!ended.stderr.contains("path 2: 0 datagrams"), "{ended:?}");
}

#[test]
fn a_publisher_starts_while_the_interface_of_one_path_does_not_exist() {
    let net = networks();
    net.publisher.delete_interface("eth1").unwrap();
    let running = subscribe(&net.subscriber);
    let mut publishing = publish(&net.publisher);
    publishing.stderr.wait_for("path 2 is down");
    let mut input = publishing.child.stdin.take().unwrap();
    writeln!(input, "on one path").unwrap();
    running.stdout.wait_for("on one path");
    net.publisher.connect("eth1", &net.second, &["10.0.1.1/24"]).unwrap();
    publishing.stderr.wait_for("path 2 works again");
    writeln!(input, "on both").unwrap();
    drop(input);
    publishing.end().succeeded();
    assert_eq!(running.end().succeeded().text(), "on one path\non both\n");
}

#[test]
fn a_path_that_goes_down_is_reported_once() {
    let net = networks();
    let running = subscribe(&net.subscriber);
    let mut publishing = publish(&net.publisher);
    let mut input = publishing.child.stdin.take().unwrap();
    publishing.stderr.wait_for("joined");
    net.publisher.set_down("eth1").unwrap();
    publishing.stderr.wait_for("path 2 is down");
    for number in 0..500 {
        writeln!(input, "{number}").unwrap();
    }
    running.stdout.wait_for("499\n");
    drop(input);
    let ended = publishing.end().succeeded();
    assert_eq!(ended.stderr.matches("path 2 is down").count(), 1, "{ended:?}");
    assert_eq!(running.end().succeeded().lines().len(), 500);
}

#[test]
fn a_publisher_without_any_path_does_not_start() {
    let net = networks();
    for interface in ["eth0", "eth1"] {
        net.publisher.set_down(interface).unwrap();
    }
    let ended = mcast(&net.publisher, &["publish", A, "--path", B, "x"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
}
