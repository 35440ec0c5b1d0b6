//! Checks, reloads, metrics, and refusals.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use serde_json::Value;

use crate::full_disk::FullDisk;
use crate::network::{Network, of_type, relay, stop};
use crate::schemas::assert_valid;
use crate::sites::new_key;
use crate::stalled::{Stalled, start_stalled};
use crate::support::{MCAST, Running, eventually, mcast, recv, send, start};

const RULE: &str = "239.1.2.3:5000 from eth0 to eth1 always";

#[test]
fn a_check_shows_what_would_be_forwarded_and_who_else_relays() {
    let network = Network::new(2);
    let (r, other) = (network.host("r", 9, &[1, 2]), network.host("r8", 8, &[1, 2]));
    let check = |arguments: &[&str]| mcast(&r, &[&["relay", "--check", "--json"], arguments].concat());
    let alone = check(&[RULE]);
    let events = alone.json();
    events.iter().for_each(|event| assert_valid("relay-event", event));
    assert_eq!((alone.status, of_type(&events, "would-forward").len()), (Some(0), 1), "{alone:?}");

    let running = relay(&other, &[RULE, "--priority", "120"]);
    let beside = check(&[RULE]);
    let events = beside.json();
    let standby = of_type(&events, "would-stand-by");
    let peer = of_type(&events, "relay-appeared");
    assert_eq!((beside.status, standby.len()), (Some(0), 1), "{beside:?}");
    let peer = peer.iter().find(|peer| peer["priority"] == 120).unwrap();
    assert_eq!(peer["relay"], standby[0]["relay"]);
    assert!(peer["addresses"].as_array().unwrap().contains(&"10.0.1.8".into()), "{peer}");
    let (events, _) = stop(running);
    assert_eq!(of_type(&events, "forwarding").len(), 1, "the check did not disturb it: {events:?}");

    let impossible = check(&["239.1.2.3:5000 from eth0 to eth7 always"]);
    assert_eq!(impossible.status, Some(1), "{impossible:?}");
    assert!(impossible.text().contains("there is no such interface"), "{impossible:?}");
}

#[test]
fn a_leg_that_may_carry_no_groups_such_as_wireguard_is_reported_with_what_to_do() {
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    r.command("ip").unwrap().args(["link", "set", "eth1", "multicast", "off"]).status().unwrap();
    let ended = mcast(&r, &["relay", "--check", "--json", RULE]);
    let events = ended.json();
    events.iter().for_each(|event| assert_valid("relay-event", event));
    let problems = of_type(&events, "problem");
    assert_eq!((ended.status, problems.len()), (Some(0), 1), "{ended:?}");
    assert!(problems[0]["reason"].as_str().unwrap().contains("MULTICAST"), "{ended:?}");
    assert!(problems[0]["remedy"].as_str().unwrap().contains("AllowedIPs"), "{ended:?}");
}

#[test]
fn a_check_finds_ports_that_another_program_has_to_itself() {
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let occupied: Vec<_> =
        [5000, 5001].map(|port| r.run(|| UdpSocket::bind(("0.0.0.0", port)).unwrap()).unwrap()).into();
    let check = |rules: &[&str]| mcast(&r, &[&["relay", "--check", "--json"], rules].concat());
    for rule in [RULE, "239.1.2.3:5000 from eth0 to eth1"] {
        let ended = check(&[rule, "239.1.2.4:5002 from eth0 to eth1"]);
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let events = ended.json();
        events.iter().for_each(|event| assert_valid("relay-event", event));
        assert_eq!(of_type(&events, "would-forward").len(), 1, "the other rule: {ended:?}");
        let refused = of_type(&events, "cannot-forward").pop().unwrap().clone();
        assert_eq!(refused["reason"], "cannot receive 239.1.2.3:5000: Address already in use (os error 98)");
        assert!(refused["remedy"].as_str().unwrap().contains("stop it"), "{refused}");
        for problem in of_type(&events, "problem") {
            assert_eq!(problem["reason"].as_str().unwrap().matches("os error 98").count(), 1, "{problem}");
            assert!(problem["remedy"].as_str().unwrap().contains("stop it"), "{problem}");
        }
    }
    let ended = check(&["broadcast:5001 from eth0 to eth1"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended.text().contains("cannot receive broadcasts to port 5001: Address already in use"),
        "{ended:?}"
    );
    drop(occupied);
    assert_eq!(check(&["239.1.2.3:5000 from eth0 to eth1"]).status, Some(0));
}

#[test]
fn a_profile_has_the_rules_of_a_home_and_reports_what_is_missing() {
    let network = Network::new(3);
    let r = network.host("r", 9, &[1, 2, 3]);
    let check = || mcast(&r, &["relay", "--profile", "home", "eth0", "eth1", "eth2", "--check", "--json"]);
    let ended = check();
    let rules = ended.json();
    let rules: Vec<_> = of_type(&rules, "would-forward").iter().map(|event| event["rule"].clone()).collect();
    // Each in both directions.
    assert_eq!((ended.status, rules.len()), (Some(0), 12), "{ended:?}");
    assert!(rules.contains(&"mdns between eth0 and eth2 deny trel,sleep-proxy".into()), "{rules:?}");
    assert!(!rules.iter().any(|rule| rule.as_str().unwrap().contains("between eth1")), "{rules:?}");
    assert!(!ended.stderr.contains("Matter devices there"), "{ended:?}");
    r.command("ip").unwrap().args(["addr", "del", "fd00:2::9/64", "dev", "eth1"]).status().unwrap();
    let ended = check();
    assert!(ended.stderr.contains("eth1 has no IPv6 address that is valid beyond its network"), "{ended:?}");
    let unusable = mcast(&r, &["relay", "--profile", "home", "eth0"]);
    assert_eq!(unusable.status, Some(2), "{unusable:?}");
}

#[test]
fn rules_in_a_file_are_reread_on_a_hangup() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("# One\n239.1.2.3:5000 from eth0 to eth1 always\n");
    let relay = relay(&r, &["--config", file.to_str().unwrap()]);
    write("239.1.2.3:5000 from eth0\n");
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(r#""event":"not-reloaded""#);
    write("239.1.2.3:5000 from eth0 to eth1 always\n239.1.2.4:5000 from eth0 to eth1 always\n");
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(r#""rule":"239.1.2.4:5000 from eth0 to eth1 always","from""#);
    let receiver =
        recv(&b, &["239.1.2.3:5000", "239.1.2.4:5000", "-i", "eth0", "--json", "-c", "2", "-W", "20s"]);
    send(&a, &["239.1.2.3:5000", "-i", "eth0", "--ttl", "4", "old"]);
    send(&a, &["239.1.2.4:5000", "-i", "eth0", "--ttl", "4", "new"]);
    assert_eq!(crate::network::texts(&receiver.end()), ["old", "new"]);
    let (_, summary) = stop(relay);
    assert_eq!(summary["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn metrics_show_rules_legs_and_pairs() {
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let relay = relay(&r, &[RULE, "--metrics", "127.0.0.1:9477"]);
    let get = |path: &str| {
        let mut client = r.run(|| TcpStream::connect("127.0.0.1:9477")).unwrap().unwrap();
        client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    };
    crate::support::eventually("figures of a forwarder", || {
        let text = get("/metrics");
        text.contains(r#"mcast_relay_leg_up{leg="eth1"} 1"#)
            && text.contains("mcast_relay_copies_total{rule=\"239.1.2.3:5000 from eth0 to eth1 always\"} 0")
            && text.contains("from=\"eth0\",to=\"eth1\"} 1")
    });
    assert!(get("/ready").ends_with("\r\n\r\nready\n"));
    r.command("ip").unwrap().args(["link", "set", "eth1", "down"]).status().unwrap();
    crate::support::eventually("a relay that is not ready", || {
        get("/ready").ends_with("\r\n\r\nnot ready: down: eth1\n")
    });
    assert!(get("/live").starts_with("HTTP/1.1 200 "));
    stop(relay);
}

#[test]
fn relays_with_a_key_ignore_others() {
    let network = Network::new(2);
    let (one, other) = (network.host("r8", 8, &[1, 2]), network.host("r9", 9, &[1, 2]));
    let folder = tempfile::tempdir().unwrap();
    let key = &new_key(&one, folder.path());
    let keyed = relay(&one, &[RULE, "--key", key]);
    // It sees no other relay, so it forwards, and is not stopped by one with a higher priority.
    let forger = relay(&other, &[RULE, "--priority", "200"]);
    let second = network.host("r10", 10, &[1, 2]);
    let standby = relay(&second, &[RULE, "--key", key]);
    assert!(standby.stdout.text().contains(r#""event":"standing-by""#));
    let (events, summary) = stop(keyed);
    assert_eq!(
        (of_type(&events, "standing-by").len(), of_type(&events, "forwarding").len()),
        (0, 1),
        "{events:?}"
    );
    assert!(summary["invalid_announcements"].as_u64() > Some(0), "{summary}");
    stop(standby);
    stop(forger);
}

#[test]
fn wrong_rules_are_refused_with_a_remedy() {
    let network = Network::new(1);
    let r = network.host("r", 9, &[1]);
    for (arguments, expected) in [
        (&["224.0.0.5:5000 from eth0 to eth1"][..], "control the link"),
        (&["239.1.2.3:5000", "from", "eth0"], "to is missing"),
        (&["239.1.2.3:67 from eth0 to eth1"], "DHCP"),
        (&["--config", "/does/not/exist"], "cannot read /does/not/exist"),
        (&["239.0.0.0/8:5000 from eth0 to eth1", "--always"], "at most 4096"),
    ] {
        let ended = mcast(&r, &[&["relay"], arguments].concat());
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
        assert!([Some(2), Some(4)].contains(&ended.status), "{ended:?}");
    }
}

#[test]
fn the_key_of_announcements_is_reread_on_a_hangup() {
    let network = Network::new(2);
    let (one, other) = (network.host("r8", 8, &[1, 2]), network.host("r9", 9, &[1, 2]));
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let keys = folders.each_ref().map(|folder| new_key(&one, folder.path()));
    std::fs::copy(&keys[0], &keys[1]).unwrap();
    // Without a file of rules: the key is reread all the same.
    let forwarder = relay(&one, &[RULE, "--key", &keys[0], "--priority", "120"]);
    let standby = relay(&other, &[RULE, "--key", &keys[1]]);
    assert!(standby.stdout.text().contains(r#""event":"standing-by""#));
    let hangup = |relay: &Running, reloaded: usize| {
        relay.child.signal(libc::SIGHUP).unwrap();
        eventually("a reload", || relay.stdout.text().matches(r#""event":"reloaded""#).count() == reloaded);
    };
    std::fs::copy(&keys[2], &keys[1]).unwrap();
    hangup(&standby, 1);
    standby.stdout.wait_for(r#""event":"forwarding""#);
    std::fs::copy(&keys[2], &keys[0]).unwrap();
    hangup(&forwarder, 1);
    eventually("one forwarder", || standby.stdout.text().matches(r#""event":"standing-by""#).count() == 2);
    stop(forwarder);
    stop(standby);
}

#[test]
fn rules_and_keys_are_replaced_together_or_not_at_all() {
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("rules"), new_key(&r, folder.path()));
    std::fs::write(&file, RULE).unwrap();
    let relay = relay(&r, &["--config", file.to_str().unwrap(), "--key", &key]);
    std::fs::write(&file, format!("{RULE}\n239.1.2.4:5000 from eth0 to eth1 always")).unwrap();
    let secret = std::fs::read(&key).unwrap();
    std::fs::write(&key, "no secret").unwrap();
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(r#""event":"not-reloaded""#);
    relay.stderr.wait_for("keeping the current rules and keys");
    std::fs::write(&key, secret).unwrap();
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(r#""event":"reloaded""#);
    let (events, summary) = stop(relay);
    let old = of_type(&events, "not-reloaded");
    let new = of_type(&events, "reloaded");
    assert_eq!((old.len(), &new[0]["count"]), (1, &2.into()), "{events:?}");
    assert_eq!(summary["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn a_relay_forwards_while_its_events_cannot_be_written_and_writes_them_later() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let disk = FullDisk::new();
    let relay = disk.start(&r, &format!("{MCAST} relay '{RULE}' --json"));
    let receiver = recv(&b, &["239.1.2.3:5000", "-i", "eth0", "-c", "1", "-W", "30s"]);
    // It listens for other relays first.
    let sending =
        start(&a, &["send", "239.1.2.3:5000", "-i", "eth0", "--ttl", "4", "--every", "100ms", "hello"]);
    receiver.end().succeeded();
    sending.signalled(libc::SIGINT);

    let mut output = disk.make_room(&relay);
    let ended = relay.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, events) = records.split_last().unwrap();
    assert_eq!((of_type(events, "forwarding").len(), &summary["event"]), (1, &"summary".into()), "{text}");
}

#[test]
fn a_relay_forwards_while_nobody_reads_its_events_or_its_notes() {
    for stalled in Stalled::EACH {
        let network = Network::new(2);
        let (a, r, b) =
            (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
        let relay = start_stalled(&r, stalled, &["relay", RULE, "--json", "-v"], std::process::Stdio::null());
        let receiver = recv(&b, &["239.1.2.3:5000", "-i", "eth0", "-c", "20", "-W", "30s"]);
        let sending =
            start(&a, &["send", "239.1.2.3:5000", "-i", "eth0", "--ttl", "4", "--every", "50ms", "hello"]);
        receiver.end().succeeded();
        sending.signalled(libc::SIGINT);
        assert_eq!(relay.interrupted(), Some(130), "{stalled:?}");
    }
}
