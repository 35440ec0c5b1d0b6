//! Runs of `mcast perf` on a good network.

use std::time::Duration;

use mcast_lab::Lab;

use crate::hosts::{COUNTS, GROUP, GROUPS, numbers, object, perf_recv, perf_send};
use crate::schemas::assert_valid;
use crate::support::{Lan, eventually, mcast, start_with_processes};

#[test]
fn both_ends_count_the_same_and_all_of_it() {
    let lan = Lan::new();
    for (group, address) in GROUPS.into_iter().zip(["10.0.0", "fd00:"]) {
        for size in ["64", "1400"] {
            let receiver = perf_recv(&lan.b, &[group, "--json"]);
            let arguments = [group, "--json", "-c", "2000", "--rate", "10kpps", "--size", size];
            let sent = perf_send(&lan.a, &arguments).end().succeeded();
            let received = receiver.end().succeeded();

            let (sent, received) = (object(&sent), object(&received));
            assert_valid("perf-send", &sent);
            assert_valid("perf-recv", &received);
            assert_eq!(numbers(&received, COUNTS), [2_000, 2_000, 0, 0, 0], "{received}");
            assert_eq!(numbers(&sent, COUNTS), [2_000, 2_000, 0, 0, 0], "{sent}");
            assert_eq!(sent["receivers"].as_array().unwrap().len(), 1);
            let text = sent["receivers"][0]["address"].as_str().unwrap();
            assert!(text.starts_with(address) && text.ends_with('2'), "{text}");
            assert_eq!(received["bytes"], 2_000 * size.parse::<u64>().unwrap());
            assert_eq!(
                (received["closed"].as_bool(), received["clocks"].as_str()),
                (Some(true), Some("same"))
            );
            // Sender and receiver run on one machine: a delay has a lower and an upper end.
            let p50 = received["latency_us"]["p50"].as_f64().unwrap();
            assert!(p50 > 0.0 && p50 < 1e6, "{p50}");
            assert!(received["seconds"].as_f64().unwrap() > 0.15, "{received}");
        }
    }
}

#[test]
fn the_intervals_of_a_run_start_with_it_and_add_up() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP]);
    perf_send(&lan.a, &[GROUP, "--duration", "2.5s", "--rate", "1kpps"]).end().succeeded();
    let received = receiver.end().succeeded();
    let lines = received.lines();
    let intervals: Vec<(f64, f64, bool)> = lines
        .iter()
        .filter_map(|line| {
            let (interval, rest) = line.split_once(" s  10.0.0.1  ")?;
            let (from, to) = interval.trim().split_once(" to ")?;
            Some((from.parse().unwrap(), to.parse().unwrap(), rest.ends_with("(partial)")))
        })
        .collect();
    let [(0.0, first, false), (second, third, false), (fourth, end, true)] = intervals[..] else {
        panic!("{received:?}")
    };
    assert_eq!((first, third), (second, fourth), "{received:?}");
    assert!((2.3..=2.7).contains(&end), "{received:?}");
}

#[test]
fn a_pace_is_kept() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP, "--json"]);
    let arguments = [GROUP, "--json", "--duration", "1s", "--rate", "2kpps"];
    let sent = object(&perf_send(&lan.a, &arguments).end().succeeded());
    let received = object(&receiver.end().succeeded());
    let [count] = numbers(&sent, ["sent"]);
    // Below it only where the machine stood still for longer than is made up for.
    assert!((1_000..=2_021).contains(&count), "{count}");
    assert_eq!(numbers(&received, ["sent"]), [count]);
}

#[test]
fn segmentation_offload_is_reported_and_can_be_disabled() {
    let lan = Lan::new();
    let run = |sending: &[&str], receiving: &[&str]| {
        let receiver = perf_recv(&lan.b, &[&[GROUP, "--json"], receiving].concat());
        let arguments =
            [&[GROUP, "--json", "-c", "4000", "--size", "200", "--rate", "100kpps"], sending].concat();
        let sent = object(&perf_send(&lan.a, &arguments).end().succeeded());
        (sent, object(&receiver.end().succeeded()))
    };
    let (sent, received) = run(&[], &[]);
    assert_eq!((sent["gso"].as_bool(), received["gso"].as_bool()), (Some(true), Some(true)), "{sent}");
    assert_eq!((sent["gro"].as_bool(), received["gro"].as_bool()), (Some(true), Some(true)), "{received}");
    assert!(sent["datagrams_per_call"].as_f64().unwrap() > 1.5, "{sent}");

    let (sent, received) = run(&["--no-gso"], &["--no-gro"]);
    assert_eq!((sent["gso"].as_bool(), received["gso"].as_bool()), (Some(false), Some(false)), "{sent}");
    assert_eq!((sent["gro"].as_bool(), received["gro"].as_bool()), (Some(false), Some(false)), "{received}");
}

#[test]
fn every_stream_of_every_group_is_counted() {
    let lan = Lan::new();
    let groups = ["239.1.2.3+3:5000", "[ff15::1:3]:5000"];
    let receiver = perf_recv(&lan.b, &[groups[0], groups[1], "--json"]);
    let other = perf_recv(&lan.c, &["239.1.2.4:5000", "--json"]);
    let arguments = ["--json", "-c", "500", "--rate", "16kpps", "--streams", "2", "--expect", "2"];
    let sent = object(&perf_send(&lan.a, &[&groups, &arguments[..]].concat()).end().succeeded());
    assert_eq!(numbers(&sent, ["sent", "streams"]), [8 * 500, 8]);
    // The two families are two sources.
    let all = receiver.end().succeeded().json();
    let some = object(&other.end().succeeded());
    let received: u64 = all.iter().map(|run| numbers(run, ["received"])[0]).sum();
    assert_eq!(received, 8 * 500, "{all:?}");
    assert_eq!(numbers(&some, COUNTS), [1_000, 1_000, 0, 0, 0], "{some}");
    assert_eq!(some["streams"], 2);
}

#[test]
fn datagrams_on_two_interfaces_are_counted_separately() {
    let lan = Lan::new();
    let second = lan.lab.switch("second").unwrap();
    lan.a.connect("eth1", &second, &["10.0.1.1/24"]).unwrap();
    lan.b.connect("eth1", &second, &["10.0.1.2/24"]).unwrap();
    let receiver = perf_recv(&lan.b, &[GROUP, "-i", "eth1", "--json"]);
    let arguments = [GROUP, "-i", "eth1", "-c", "200", "--rate", "4kpps", "--expect", "2"];
    perf_send(&lan.a, &arguments).end().succeeded();
    let mut runs = receiver.end().succeeded().json();
    runs.sort_by_key(|run| run["interface"].to_string());
    assert_eq!(runs.len(), 2, "{runs:?}");
    for (run, network) in runs.iter().zip(0..) {
        assert_eq!(numbers(run, COUNTS), [200, 200, 0, 0, 0], "{run}");
        assert_eq!(run["interface"], format!("eth{network}"));
        assert_eq!(run["source"], format!("10.0.{network}.1"));
    }
}

#[test]
fn datagrams_larger_than_a_frame_are_counted_whole() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP, "--json"]);
    let arguments = [GROUP, "-c", "100", "--rate", "1kpps", "--size", "20000"];
    perf_send(&lan.a, &arguments).end().succeeded();
    let received = object(&receiver.end().succeeded());
    assert_eq!(numbers(&received, ["received", "lost", "bytes"]), [100, 0, 2_000_000], "{received}");
}

#[test]
fn every_receiver_is_a_row() {
    let lan = Lan::new();
    let receivers = [perf_recv(&lan.b, &[GROUP]), perf_recv(&lan.c, &[GROUP]), perf_recv(&lan.c, &[GROUP])];
    let arguments = [GROUP, "-c", "300", "--rate", "3kpps", "--expect", "3"];
    let sent = perf_send(&lan.a, &arguments).end().succeeded();
    let rows = |address: &str| sent.lines().iter().filter(|line| line.starts_with(address)).count();
    assert_eq!((rows("10.0.0.2"), rows("10.0.0.3")), (1, 2), "{sent:?}");
    for receiver in receivers {
        let text = receiver.end().succeeded();
        assert!(text.text().contains("received    300 of 300"), "{text:?}");
        assert!(
            text.text().contains("from 10.0.0.1 on eth0: datagrams of 1,400 bytes, 1 stream, target 3,000/s"),
            "{text:?}"
        );
    }

    let alone = perf_send(&lan.a, &[GROUP, "-c", "1", "--expect", "1"]).end();
    assert_eq!(alone.status, Some(1));
    assert!(alone.stderr.contains("no receiver has reported"), "{alone:?}");
}

#[test]
fn an_interim_line_is_printed_every_second() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP]);
    let sender = perf_send(&lan.a, &[GROUP, "--duration", "2.5s", "--rate", "1kpps"]);
    receiver.stdout.wait_for("datagrams/s");
    assert!(sender.child.id() > 0 && receiver.stdout.text().contains("lost 0"), "{}", receiver.stdout.text());
    let lines = sender.end().succeeded();
    assert!(
        lines.lines().iter().filter(|line| line.trim_start().starts_with(['1', '2'])).count() >= 2,
        "{lines:?}"
    );
    receiver.end().succeeded();
}

#[test]
fn a_late_receiver_does_not_count_earlier_datagrams_as_lost() {
    let lan = Lan::new();
    let sender = perf_send(&lan.a, &[GROUP, "--duration", "3s", "--rate", "1kpps"]);
    sender.stdout.wait_for("1.0 s");
    let receiver = perf_recv(&lan.b, &[GROUP, "--json"]);
    sender.end().succeeded();
    let received = object(&receiver.end().succeeded());
    let [sent, count, lost, unheard] = numbers(&received, ["sent", "received", "lost", "before_first"]);
    assert!(unheard >= 800 && lost == 0 && sent == count, "{received}");
}

#[test]
fn ctrl_c_ends_either_side_with_its_summary() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP]);
    let stays = perf_recv(&lan.c, &[GROUP, "--repeat"]);
    let sender = perf_send(&lan.a, &[GROUP, "--duration", "1h", "--rate", "1kpps"]);
    sender.stdout.wait_for("datagrams/s");
    let sent = sender.signalled(libc::SIGINT);
    assert_eq!(sent.status, Some(130));
    assert!(sent.text().contains("sent ") && sent.text().contains("10.0.0.2"), "{sent:?}");
    // The closing message went out all the same.
    let received = receiver.end().succeeded();
    assert!(!received.text().contains("the closing message was not received"), "{received:?}");

    stays.stdout.wait_for("received ");
    let second = perf_send(&lan.a, &[GROUP, "--duration", "1h", "--rate", "1kpps"]);
    second.stdout.wait_for("datagrams/s");
    let stayed = stays.signalled(libc::SIGINT);
    assert_eq!(stayed.status, Some(130));
    assert_eq!(stayed.text().matches("received ").count(), 2, "{stayed:?}");
    second.signalled(libc::SIGINT);
}

#[test]
fn without_a_sender_the_status_is_1() {
    let lan = Lan::new();
    let silent = perf_recv(&lan.b, &[GROUP, "-W", "300ms"]).end();
    assert_eq!((silent.status, silent.stdout.as_slice()), (Some(1), &b""[..]), "{silent:?}");
}

#[test]
fn invalid_options_are_refused_with_a_remedy() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    for arguments in [
        &["perf", "send", GROUP, "--size", "31"][..],
        &["perf", "send", GROUP, "--latency", "--size", "39"],
        &["perf", "send", GROUP, "--size", "65528"],
        &["perf", "send", "239.1.0.0/16:5000", "--streams", "2"],
        &["perf", "send", GROUP, "-i", "lo", "239.1.2.4:5000", "--latency"],
        &["ping", GROUP, "--size", "55"],
        &["ping", GROUP, "--every", "9ms"],
    ] {
        let refused = mcast(&host, arguments);
        assert_eq!(refused.status, Some(2), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains("remedy:"), "{arguments:?}: {refused:?}");
    }
    let missing = mcast(&host, &["perf", "send", GROUP, "-i", "eth7"]);
    assert_eq!(missing.status, Some(4), "{missing:?}");
}

#[test]
fn a_sender_with_a_closed_pipe_ends() {
    let lan = Lan::new();
    let mut sender = lan.a.command(crate::support::MCAST).unwrap();
    let arguments = ["perf", "send", "-q", "-i", "eth0", GROUP, "--duration", "1h", "--rate", "1kpps"];
    sender.args(arguments).stdout(std::process::Stdio::piped());
    let mut child = sender.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait_timeout(Duration::from_secs(30)).unwrap().code(), Some(0));
    eventually("the end", || child.try_wait().unwrap().is_some());
}

#[test]
fn a_lack_of_threads_is_an_error() {
    let lan = Lan::new();
    let arguments =
        ["perf", "send", GROUP, "-i", "eth0", "--streams", "8", "--rate", "100pps", "--duration", "60s"];
    let (_folder, sends) = start_with_processes(&lan.a, 4, &arguments);
    let ended = sends.end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("cannot start a thread for each stream: "), "{ended:?}");
}

#[test]
fn partial_seconds_show_the_rate_of_their_part() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP]);
    let arguments = [GROUP, "--rate", "1kpps", "--size", "100", "--duration", "3500ms"];
    perf_send(&lan.a, &arguments).end().succeeded();
    let ended = receiver.end().succeeded();
    let rate = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let place = words.iter().position(|word| *word == "datagrams/s,")?;
        words[place - 1].replace(',', "").parse().ok()
    };
    let rates: Vec<u64> = ended.lines().iter().filter_map(rate).collect();
    assert!(rates.len() >= 3, "{ended:?}");
    // Seconds counted as whole would show less than 500 in the first or in the last line.
    assert!(rates.iter().all(|rate| (600..1_500).contains(rate)), "{rates:?}: {ended:?}");
}
