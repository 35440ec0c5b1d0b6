//! `mcast ping`.

use mcast_lab::{Host, Lab, RouteGroup};
use serde_json::Value;

use crate::hosts::{GROUP, GROUPS, numbers, responder};
use crate::schemas::assert_valid;
use crate::support::{Ended, Lan, Running, mcast, start};

fn ping(host: &Host, arguments: &[&str]) -> Running {
    start(host, &[&["ping", "-i", "eth0"], arguments].concat())
}

/// The object of the responder with this address.
fn row(ended: &Ended, address: &str) -> Value {
    let rows = ended.json();
    let row = rows.iter().find(|row| row["address"] == address);
    row.unwrap_or_else(|| panic!("no {address} in {ended:?}")).clone()
}

#[test]
fn every_responder_is_a_row_by_multicast_and_by_unicast() {
    let lan = Lan::new();
    for (group, network) in GROUPS.into_iter().zip(["10.0.0.", "fd00::"]) {
        let running = [&lan.b, &lan.c].map(|host| responder(host, &[group]));
        let arguments = [
            group,
            "-c",
            "5",
            "--every",
            "50ms",
            "--wait",
            "10s",
            "--expect",
            "2",
            "--max-loss",
            "0",
            "--json",
        ];
        let ended = ping(&lan.a, &arguments).end().succeeded();
        for last in ["2", "3"] {
            let row = row(&ended, &format!("{network}{last}"));
            assert_valid("ping", &row);
            assert_eq!(numbers(&row["multicast"], ["sent", "received", "lost", "duplicated"]), [5, 5, 0, 0]);
            let [sent, received] = numbers(&row["unicast"], ["sent", "received"]);
            assert!(sent >= 1 && received == sent, "{row}");
            assert_eq!((row["hops"].as_u64(), row["join_to_first_ms"].as_f64()), (Some(0), None), "{row}");
            let time = |name: &str| row["multicast"][name].as_f64().unwrap();
            assert!(time("rtt_min_ms") > 0.0 && time("rtt_min_ms") <= time("rtt_mean_ms"), "{row}");
            assert!(time("rtt_min_ms") <= time("rtt_p99_ms"), "{row}");
        }
        for running in running {
            assert_eq!(running.signalled(libc::SIGINT).status, Some(130));
        }
    }
}

#[test]
fn the_longest_size_is_that_of_the_family() {
    let lan = Lan::new();
    for (group, most) in GROUPS.into_iter().zip([65_507, 65_527]) {
        let size = (most + 1).to_string();
        for command in [&["ping"][..], &["perf", "send"]] {
            let refused = mcast(&lan.a, &[command, &[group, "-i", "eth0", "--size", &size]].concat());
            assert_eq!(refused.status, Some(2), "{refused:?}");
            let range = refused.stderr.contains(&format!(" to {most}"));
            assert!(refused.stderr.contains("remedy: use a size from") && range, "{refused:?}");
        }
    }
}

#[test]
fn text_output_has_each_answer_and_a_table() {
    let lan = Lan::new();
    let running = responder(&lan.b, &[GROUP]);
    let ended = ping(&lan.a, &[GROUP, "-c", "3", "--every", "50ms", "--wait", "10s", "--expect", "1"])
        .end()
        .succeeded();
    let lines = ended.lines();
    assert!(lines[0].starts_with("responder") && lines[0].contains("unicast"), "{ended:?}");
    assert!(
        lines[1].starts_with("10.0.0.2 ")
            && lines[1].contains(" same network ")
            && lines[1].contains(" 3/3 "),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("multicast 2") && ended.stderr.contains("new"), "{ended:?}");
    running.signalled(libc::SIGINT);
}

#[test]
fn too_few_responders_are_status_1() {
    let lan = Lan::new();
    let alone = ping(&lan.a, &[GROUP, "-c", "2", "--every", "20ms", "--wait", "100ms"]).end();
    assert_eq!((alone.status, alone.stdout.as_slice()), (Some(1), &b""[..]), "{alone:?}");
    let running = responder(&lan.b, &[GROUP]);
    let arguments = [GROUP, "-c", "2", "--every", "20ms", "--wait", "300ms", "--expect", "2"];
    let few = ping(&lan.a, &arguments).end();
    assert_eq!(few.status, Some(1), "{few:?}");
    running.signalled(libc::SIGINT);
}

#[test]
fn a_killed_responder_loses_multicast_and_unicast() {
    let lan = Lan::new();
    let (killed, other) = (responder(&lan.b, &[GROUP]), responder(&lan.c, &[GROUP]));
    let arguments = [GROUP, "-c", "40", "--every", "20ms", "--wait", "3s", "--json", "--max-loss", "10"];
    let pinging = ping(&lan.a, &arguments);
    // Until it has answered, which the counters of its host show.
    crate::support::eventually("an answer", || {
        let table = lan.b.read_proc_net("snmp").unwrap();
        let line = table.lines().filter(|line| line.starts_with("Udp: ")).nth(1).unwrap().to_owned();
        line.split_whitespace().nth(4).unwrap().parse::<u64>().unwrap() >= 4
    });
    killed.child.kill().unwrap();
    let ended = pinging.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let (killed_row, other_row) = (row(&ended, "10.0.0.2"), row(&ended, "10.0.0.3"));
    assert!(killed_row["multicast"]["loss_percent"].as_f64().unwrap() > 10.0, "{killed_row}");
    assert!(killed_row["unicast"]["loss_percent"].as_f64().unwrap() > 10.0, "{killed_row}");
    assert_eq!(numbers(&other_row["multicast"], ["sent", "received"]), [40, 40], "{other_row}");
    other.signalled(libc::SIGINT);
}

#[test]
fn blocked_unicast_is_shown_beside_working_multicast() {
    let lan = Lan::new();
    let running = responder(&lan.b, &[GROUP]);
    // A gateway that is not there: what goes to this one host alone is lost.
    lan.a.add_route_via("10.0.0.2/32", "10.0.0.99").unwrap();
    let arguments = [GROUP, "-c", "6", "--every", "30ms", "--wait", "2s", "--json", "--max-loss", "0"];
    let ended = ping(&lan.a, &arguments).end().succeeded();
    let row = row(&ended, "10.0.0.2");
    assert_eq!(numbers(&row["multicast"], ["sent", "lost"]), [6, 0], "{row}");
    let [sent, received, lost] = numbers(&row["unicast"], ["sent", "received", "lost"]);
    assert!(sent >= 1 && received == 0 && lost == sent, "{row}");
    assert_eq!(row["unicast"]["rtt_min_ms"], Value::Null);
    running.signalled(libc::SIGINT);
}

#[test]
fn a_late_responder_reports_the_time_to_its_first_probe() {
    let lan = Lan::new();
    let pinging = ping(&lan.a, &[GROUP, "--every", "20ms", "--json", "--max-loss", "0"]);
    crate::support::eventually("probes", || {
        let table = lan.b.read_proc_net("dev").unwrap();
        let line = table.lines().find(|line| line.contains("eth0")).unwrap().to_owned();
        line.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() > 10
    });
    let running = responder(&lan.b, &[GROUP]);
    pinging.stderr.wait_for("hop limit 1");
    crate::support::eventually("answers", || {
        let table = lan.a.read_proc_net("snmp").unwrap();
        let line = table.lines().filter(|line| line.starts_with("Udp: ")).nth(1).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() > 10
    });
    let ended = pinging.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let row = row(&ended, "10.0.0.2");
    let time = row["join_to_first_ms"].as_f64().expect("joined later");
    assert!((0.0..5_000.0).contains(&time), "{row}");
    // Probes from before the join do not count as lost.
    assert!(row["multicast"]["loss_percent"].as_f64().unwrap() < 50.0, "{row}");
    running.signalled(libc::SIGINT);
}

#[test]
fn routers_on_the_way_are_counted() {
    let lab = Lab::new().unwrap();
    let (lan1, lan2) = (lab.switch("lan1").unwrap(), lab.switch("lan2").unwrap());
    let (near, far, router) = (lab.host("near").unwrap(), lab.host("far").unwrap(), lab.router("r").unwrap());
    router.connect("r0", &lan1, &["10.1.0.254/24"]).unwrap();
    router.connect("r1", &lan2, &["10.2.0.254/24"]).unwrap();
    near.connect("eth0", &lan1, &["10.1.0.1/24"]).unwrap();
    far.connect("eth0", &lan2, &["10.2.0.1/24"]).unwrap();
    near.add_route_via("10.0.0.0/8", "10.1.0.254").unwrap();
    far.add_route_via("10.0.0.0/8", "10.2.0.254").unwrap();
    let group = "239.1.2.3".parse().unwrap();
    router
        .route_group(RouteGroup { source: None, group, from: "r0", to: &["r1"], ttl_threshold: 1 })
        .unwrap();
    let running = responder(&far, &[GROUP]);

    let arguments = [GROUP, "-c", "3", "--every", "20ms", "--wait", "1s", "--json"];
    let near_only = ping(&near, &arguments).end();
    assert_eq!(near_only.status, Some(1), "{near_only:?}");
    let across = ping(&near, &[&arguments[..], &["-t", "4", "--expect", "1"]].concat()).end().succeeded();
    let row = row(&across, "10.2.0.1");
    assert_eq!((row["hops"].as_u64(), row["hops_max"].as_u64()), (Some(1), Some(1)), "{row}");
    assert_eq!(numbers(&row["multicast"], ["received"]), [3]);
    running.signalled(libc::SIGINT);
}
