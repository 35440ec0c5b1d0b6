//! `--listen` and `--probe`: tests of the path between two machines.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mcast_lab::{Host, Lab, RouteGroup};
use mcast_measure::wire::{MessageType, ProbeRequest, SessionHeader, SessionId};
use serde_json::Value;

use crate::patient::{events, ids};
use crate::support::{Ended, Lan, Running, mcast, start};

const GROUP: &str = "239.192.1.2:5000";

fn listener(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["doctor", "--listen", "-i", "eth0"], arguments].concat());
    running.stderr.wait_for("answering");
    running
}

fn probe(host: &Host, arguments: &[&str]) -> Ended {
    mcast(host, &[&["doctor", "--probe", "-i", "eth0"], arguments].concat())
}

fn arrived(ended: &Ended, family: char) -> Vec<(u64, u64, u64)> {
    let of_family = |path: &&Value| {
        path["group"].as_str().unwrap().contains(':')
            && path["group"].as_str().unwrap().starts_with('[') == (family == '6')
    };
    let numbers = |path: &Value| ["size", "ttl", "received"].map(|field| path[field].as_u64().unwrap());
    events(ended, "path").iter().filter(of_family).map(|path| numbers(path).into()).collect()
}

#[test]
fn both_families_and_all_sizes_arrive_in_a_healthy_network() {
    let lan = Lan::new();
    let running = listener(&lan.b, &[]);
    let ended = probe(&lan.a, &["--json", "-c", "3"]).succeeded();
    for family in ['4', '6'] {
        let arrived = arrived(&ended, family);
        let sizes: Vec<_> = arrived.iter().map(|(size, ..)| *size).collect();
        let frame = if family == '4' { 1_472 } else { 1_452 };
        assert_eq!(sizes, [64, 512, 1_200, frame, frame + 1, 4_000, 16_000], "{ended:?}");
        assert!(arrived.iter().all(|(.., received)| *received == 3), "{ended:?}");
    }
    assert!(ids(&ended).is_empty(), "{ended:?}");
    let listened = running.signalled(libc::SIGINT);
    assert_eq!(listened.status, Some(130));
    assert!(listened.stderr.contains("probes from 10.0.0.1"), "{listened:?}");
    // 42 by multicast, and beside each by unicast once the listener is known.
    let (_, rest) = listened.stderr.split_once("answered ").unwrap();
    let answered: u32 = rest.split(' ').next().unwrap().parse().unwrap();
    assert!((80..=84).contains(&answered), "{listened:?}");
}

#[test]
fn text_output_is_a_table() {
    let lan = Lan::new();
    let _running = listener(&lan.b, &[GROUP]);
    let ended = probe(&lan.a, &[GROUP, "-c", "2"]).succeeded();
    let lines = ended.lines();
    assert!(lines[0].starts_with("listener  family  distance"), "{ended:?}");
    assert!(
        lines[1].starts_with("10.0.0.2  IPv4    same network") && lines[1].contains(" 2/2 "),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("nothing wrong found"), "{ended:?}");
}

#[test]
fn no_answers_are_a_fault() {
    let lan = Lan::new();
    let ended = probe(&lan.a, &[GROUP, "-c", "1", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["nothing-arrives".to_owned()]), "{ended:?}");
}

#[test]
fn a_family_that_fails_is_a_warning_if_the_other_passes() {
    let lan = Lan::new();
    let _running = listener(&lan.b, &["-4"]);
    let ended = probe(&lan.a, &["-c", "1", "--json"]);
    assert_eq!(ended.status, Some(5), "{ended:?}");
    assert_eq!(events(&ended, "finding")[0]["severity"], "warning", "{ended:?}");
    assert_eq!(ids(&ended), ["nothing-arrives"]);
}

#[test]
fn a_family_without_a_route_is_a_fault_even_if_the_other_passes() {
    let lan = Lan::new();
    let _running = listener(&lan.b, &[]);
    lan.a.remove_route("224.0.0.0/4", "eth0").unwrap();
    let ended = mcast(&lan.a, &["doctor", "--probe", "-c", "1", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["no-route".to_owned()]), "{ended:?}");
    assert!(!arrived(&ended, '6').is_empty() && arrived(&ended, '4').is_empty(), "{ended:?}");
}

#[test]
fn a_path_that_could_not_be_probed_is_not_a_success() {
    let lab = Lab::new().unwrap();
    let lonely = lab.host("lonely").unwrap();
    let ended = mcast(&lonely, &["doctor", "--probe", "-c", "1"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("no route") && !ended.stderr.contains("nothing wrong"), "{ended:?}");
}

#[test]
fn a_small_mtu_is_found_by_size() {
    let lan = Lan::new();
    let mut command = lan.b.command("ip").unwrap();
    assert!(command.args(["link", "set", "eth0", "mtu", "1000"]).status().unwrap().success());
    let _running = listener(&lan.b, &[GROUP]);
    let ended = probe(&lan.a, &[GROUP, "-c", "2", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["mtu-too-small".to_owned()]), "{ended:?}");
    let passes: Vec<_> = arrived(&ended, '4').into_iter().filter(|(.., received)| *received > 0).collect();
    assert_eq!(passes.iter().map(|(size, ..)| *size).collect::<Vec<_>>(), [64, 512], "{ended:?}");
}

#[test]
fn routers_are_counted_and_the_lowest_hop_limit_is_reported() {
    let lab = Lab::new().unwrap();
    let (lan1, lan2) = (lab.switch("lan1").unwrap(), lab.switch("lan2").unwrap());
    let (near, far, router) = (lab.host("near").unwrap(), lab.host("far").unwrap(), lab.router("r").unwrap());
    router.connect("r0", &lan1, &["10.1.0.254/24"]).unwrap();
    router.connect("r1", &lan2, &["10.2.0.254/24"]).unwrap();
    near.connect("eth0", &lan1, &["10.1.0.1/24"]).unwrap();
    far.connect("eth0", &lan2, &["10.2.0.1/24"]).unwrap();
    near.add_route_via("10.0.0.0/8", "10.1.0.254").unwrap();
    far.add_route_via("10.0.0.0/8", "10.2.0.254").unwrap();
    let group = "239.192.1.2".parse().unwrap();
    router
        .route_group(RouteGroup { source: None, group, from: "r0", to: &["r1"], ttl_threshold: 1 })
        .unwrap();
    let _running = listener(&far, &[GROUP]);

    assert_eq!(probe(&near, &[GROUP, "-c", "1"]).status, Some(1));
    let ended = probe(&near, &[GROUP, "-c", "2", "-t", "8", "--json"]).succeeded();
    assert_eq!(ids(&ended), ["ttl-too-small"], "{ended:?}");
    let finding = &events(&ended, "finding")[0];
    assert_eq!(finding["severity"], "note");
    assert!(finding["cause"].as_str().unwrap().contains("is 1 router away"), "{finding}");
    let by_ttl: Vec<_> = arrived(&ended, '4')
        .into_iter()
        .filter(|(size, ..)| *size == 64)
        .map(|(_, ttl, received)| (ttl, received))
        .collect();
    assert_eq!(by_ttl, [(8, 2), (1, 0), (2, 2), (4, 2)], "{ended:?}");

    let strict = "239.192.1.3".parse().unwrap();
    router
        .route_group(RouteGroup { source: None, group: strict, from: "r0", to: &["r1"], ttl_threshold: 16 })
        .unwrap();
    let _other = listener(&far, &["239.192.1.3:5000"]);
    let ended = probe(&near, &["239.192.1.3:5000", "-c", "1", "-t", "64", "--json"]);
    assert_eq!(ended.status, Some(5), "{ended:?}");
    assert_eq!(ids(&ended), ["ttl-threshold"], "{ended:?}");
}

#[test]
fn two_interfaces_on_one_network_receive_duplicates() {
    let lan = Lan::new();
    lan.b.connect("eth1", &lan.switch, &["10.0.0.22/24"]).unwrap();
    let running = start(&lan.b, &["doctor", "--listen", GROUP]);
    running.stderr.wait_for("answering");
    let ended = probe(&lan.a, &[GROUP, "-c", "3", "--json"]);
    assert_eq!(ids(&ended), ["duplicate-interfaces"], "{ended:?}");
}

#[test]
fn replies_to_strangers_are_limited_in_length_and_rate() {
    let lan = Lan::new();
    let running = listener(&lan.b, &[GROUP]);
    let stranger = lan.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let header = SessionHeader { stream: 9, ..SessionHeader::new(MessageType::Probe, SessionId(7)) };
    let probe =
        |length| ProbeRequest { hop_limit: 1, by_unicast: false, short_reply: true }.encode(header, length);
    let start = Instant::now();
    for _ in 0..2_000 {
        stranger.send_to(&probe(0), GROUP).unwrap();
    }
    for garbage in [&b"hello"[..], &[], &probe(0)[..55], &[0xff; 1_400]] {
        stranger.send_to(garbage, GROUP).unwrap();
    }
    let (mut answers, mut buffer) = (0_u32, [0; 2_048]);
    while let Ok(length) = stranger.recv(&mut buffer) {
        assert!(length <= probe(0).len());
        answers += 1;
    }
    let most = 50.0 + 250.0 * start.elapsed().as_secs_f64();
    assert!(answers >= 50 && f64::from(answers) <= most, "{answers}");
    let ended = running.signalled(libc::SIGINT);
    assert!(ended.stderr.contains("(rate limit)") && ended.stderr.contains("4 not from"), "{ended:?}");
}

#[test]
fn unicast_probes_distinguish_a_blocked_group_from_a_host_that_is_down() {
    let lan = Lan::new();
    let ended = probe(&lan.a, &[GROUP, "-c", "1", "--probe=10.0.0.2,10.0.0.99", "--json"]);
    assert_eq!(ids(&ended), ["host-unreachable", "host-unreachable"], "{ended:?}");
    let findings = events(&ended, "finding");
    assert!(
        findings[0]["cause"].as_str().unwrap().contains("10.0.0.2 is up, but nothing listens"),
        "{ended:?}"
    );
}

#[test]
fn a_listener_reports_its_own_firewall_to_the_prober() {
    let lan = Lan::new();
    let rules = "nft add table inet t && nft 'add chain inet t c { type filter hook input priority 0; }' \
                 && nft add rule inet t c ip daddr 239.192.1.2 drop";
    let mut command = lan.b.command("sh").unwrap();
    assert!(command.args(["-c", rules]).status().unwrap().success());
    let running = listener(&lan.b, &[GROUP]);
    let ended = probe(&lan.a, &[GROUP, "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["firewall-drops-data".to_owned()]), "{ended:?}");
    let listened = running.signalled(libc::SIGINT);
    assert!(listened.stderr.contains("examined this listener: fault firewall-drops-data"), "{listened:?}");
}
