//! Loss, and how it is reported.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use mcast_lab::{Impairment, LinkDirection};

use crate::hosts::{COUNTS, GROUP, GROUPS, Pair, numbers, object, perf_recv, perf_send};
use crate::support::{Lan, eventually, mcast};

/// Openings that are sent before the data.
const OPENINGS: u64 = 5;
const DATA: u64 = 2_000;

/// What becomes of the data by the link's own dice.
fn fates(impairment: &Impairment, is_so: impl Fn(&mcast_lab::Fate) -> bool) -> u64 {
    let data = OPENINGS..OPENINGS + DATA;
    data.filter(|n| is_so(&impairment.fate(LinkDirection::Forward, *n))).count() as u64
}

#[test]
fn loss_and_duplicates_match_the_link() {
    let bad = Impairment { loss: 0.05, duplicate: 0.03, seed: 11, ..Impairment::default() };
    let lost = fates(&bad, |fate| fate.lost);
    let duplicated = fates(&bad, |fate| fate.duplicated && !fate.lost);
    for group in GROUPS {
        let pair = Pair::new(bad);
        let receiver = perf_recv(&pair.b, &[group, "--json"]);
        let arguments = [group, "--json", "-c", "2000", "--rate", "10kpps"];
        let sent = object(&perf_send(&pair.a, &arguments).end().succeeded());
        let received = object(&receiver.end().succeeded());
        let expected = [DATA, DATA - lost, lost, duplicated, 0];
        assert_eq!(numbers(&received, COUNTS), expected, "{received}");
        assert_eq!(numbers(&sent, COUNTS), expected, "{sent}");
        // What the whole machine drops may be others' traffic.
        let drops = received["drops"].as_array().unwrap();
        assert!(drops.iter().all(|one| one["counter"] == "softnet_stat dropped"), "{received}");
        assert_eq!(pair.link.statistics().overruns, 0);
    }
}

#[test]
fn reordering_matches_the_link() {
    // A low rate of reordering, so that no two datagrams in a row are held back.
    let bad = Impairment { reorder: 0.02, seed: 5, ..Impairment::default() };
    let pair = Pair::new(bad);
    let receiver = perf_recv(&pair.b, &[GROUP, "--json"]);
    perf_send(&pair.a, &[GROUP, "-c", "2000", "--rate", "10kpps"]).end().succeeded();
    let received = object(&receiver.end().succeeded());
    let [_, count, lost, duplicated, reordered] = numbers(&received, COUNTS);
    assert_eq!((count, lost, duplicated), (DATA, 0, 0), "{received}");
    let by_seed = fates(&bad, |fate| fate.reordered);
    assert!(by_seed > 20 && reordered.abs_diff(by_seed) <= 1, "{reordered} for {by_seed}");
}

#[test]
fn max_loss_is_checked_on_both_sides() {
    let bad = Impairment { loss: 0.05, seed: 11, ..Impairment::default() };
    let pair = Pair::new(bad);
    let arguments = [GROUP, "-c", "500", "--rate", "10kpps", "--max-loss"];
    for (limit, status) in [("1%", 1), ("50%", 0)] {
        let receiver = perf_recv(&pair.b, &[GROUP, "--max-loss", limit]);
        let sent = perf_send(&pair.a, &[&arguments, &[limit][..]].concat()).end();
        let received = receiver.end();
        assert_eq!((sent.status, received.status), (Some(status), Some(status)), "{sent:?} {received:?}");
    }
    let receiver = perf_recv(&pair.b, &[GROUP, "--expect", "501"]);
    perf_send(&pair.a, &arguments[..5]).end().succeeded();
    assert_eq!(receiver.end().status, Some(1));
}

#[test]
fn a_run_ends_also_when_its_last_messages_are_lost() {
    let pair = Pair::new(Impairment::default());
    let receiver = perf_recv(&pair.b, &[GROUP, "--json", "--idle", "2s"]);
    let sender = perf_send(&pair.a, &[GROUP, "-c", "1000", "--rate", "1kpps"]);
    eventually("half of it", || pair.link.statistics().datagrams > 500);
    pair.link
        .set_direction(LinkDirection::Forward, Impairment { loss: 1.0, ..Impairment::default() })
        .unwrap();
    let received = object(&receiver.end().succeeded());
    assert_eq!(received["closed"], false, "{received}");
    let [sent, count, lost] = numbers(&received, ["sent", "received", "lost"]);
    assert!(sent == count && lost == 0 && (400..1_000).contains(&count), "{received}");
    let sent = sender.end();
    assert_eq!(sent.status, Some(1), "{sent:?}");
    assert!(sent.stderr.contains("no receiver has reported"), "{sent:?}");
}

#[test]
fn drops_of_the_receive_buffer_are_reported_as_such() {
    let lan = Lan::new();
    let arguments = [GROUP, "--json", "--no-gro", "--buffer", "64k"];
    let receiver = perf_recv(&lan.b, &arguments);
    let sender = perf_send(&lan.a, &[GROUP, "--json", "--duration", "2s", "--rate", "5kpps", "--no-gso"]);
    // A reader that stands still for a while.
    let dropped = || {
        let table = lan.b.read_proc_net("snmp").unwrap();
        let line = table.lines().filter(|line| line.starts_with("Udp: ")).nth(1).unwrap();
        line.split_whitespace().nth(5).unwrap().parse::<u64>().unwrap()
    };
    receiver.child.signal(libc::SIGSTOP).unwrap();
    eventually("drops", || dropped() > 50);
    receiver.child.signal(libc::SIGCONT).unwrap();
    let sent = object(&sender.end().succeeded());
    let received = object(&receiver.end().succeeded());
    let [lost] = numbers(&received, ["lost"]);
    assert!(lost > 50, "{received}");
    assert_eq!(received["drops"][0]["counter"], "SO_MEMINFO drops", "{received}");
    // Control messages may be among what was dropped: openings, when it stood still from the start.
    let count = received["drops"][0]["count"].as_u64().unwrap();
    assert!((lost..=lost + OPENINGS).contains(&count), "{count} for {lost}");
    assert_eq!(sent["receivers"][0]["drops"][0]["counter"], "SO_MEMINFO drops", "{sent}");
}

#[test]
fn drops_of_the_ring_past_the_socket_are_reported_once_and_as_such() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP, "--json", "--wire", "auto", "--buffer", "64k"]);
    let ways = ["taken off the interface (AF_XDP)", "CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed"];
    eventually("it reports the way", || ways.iter().any(|way| receiver.stderr.text().contains(way)));
    if !receiver.stderr.text().contains(ways[0]) {
        return;
    }
    let sender = perf_send(&lan.a, &[GROUP, "--json", "--duration", "2s", "--rate", "20kpps", "--no-gso"]);
    let dropped = || {
        let table = lan.b.read_proc_net("dev").unwrap();
        let line = table.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        line.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap()
    };
    receiver.child.signal(libc::SIGSTOP).unwrap();
    eventually("drops", || dropped() > 50);
    receiver.child.signal(libc::SIGCONT).unwrap();
    let sent = object(&sender.end().succeeded());
    let received = object(&receiver.end().succeeded());
    assert!(received["lost"].as_u64().unwrap() > 0, "{received}");
    for drops in [&received["drops"], &sent["receivers"][0]["drops"]] {
        let counters: Vec<_> =
            drops.as_array().unwrap().iter().map(|drop| drop["counter"].as_str().unwrap()).collect();
        assert_eq!(counters, ["XDP_STATISTICS drops"], "{received} {sent}");
    }
}

#[test]
fn delays_are_those_of_the_link() {
    let delay = Duration::from_millis(20);
    let pair = Pair::new(Impairment { delay, jitter: Duration::from_millis(8), ..Impairment::default() });
    let receiver = perf_recv(&pair.b, &[GROUP, "--json"]);
    perf_send(&pair.a, &[GROUP, "-c", "400", "--rate", "1kpps"]).end().succeeded();
    let received = object(&receiver.end().succeeded());
    let [p50, p99] = ["p50", "p99"].map(|name| received["latency_us"][name].as_f64().unwrap());
    assert!(p50 >= 20_000.0 && p99 < 1e6 && p50 <= p99, "{received}");
    assert!(received["jitter_us"].as_f64().unwrap() > 100.0, "{received}");
}

#[test]
fn a_killed_sender_ends_the_run() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP, "--json", "--idle", "2s"]);
    let sender = perf_send(&lan.a, &[GROUP, "--duration", "1h", "--rate", "1kpps"]);
    sender.stdout.wait_for("datagrams/s");
    sender.child.kill().unwrap();
    let received = object(&receiver.end().succeeded());
    assert_eq!((received["closed"].as_bool(), received["lost"].as_u64()), (Some(false), Some(0)));
    let mut child = sender.child;
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    mcast(&lan.a, &["interfaces"]).succeeded();
}
