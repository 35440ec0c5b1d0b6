//! `mcast send`: payloads, timing and notes.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Lan, mcast, mcast_with_input, program, recv, send, start};

const GROUP: &str = "239.255.1.2:5000";

/// What arrives when `mcast send` is run so.
fn arriving(count: usize, sending: impl Fn(&Lan)) -> Vec<Value> {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", &count.to_string(), "--json"]);
    sending(&lan);
    receiver.end().succeeded().json()
}

fn texts(received: &[Value]) -> Vec<String> {
    received.iter().map(|each| each["text"].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn messages_are_sent_as_datagrams_and_repeated() {
    let received = arriving(5, |lan| send(&lan.a, &[GROUP, "a", "b", "-c", "5"]));
    assert_eq!(texts(&received), ["a", "b", "a", "b", "a"]);
}

#[test]
fn standard_input_is_divided_by_the_options() {
    let input = b"one\ntwo\r\n\nthree";
    let by = |division: &'static [&str], count| {
        let sending = |lan: &Lan| {
            mcast_with_input(&lan.a, &[&["send", GROUP], division].concat(), input).succeeded();
        };
        texts(&arriving(count, sending))
    };
    assert_eq!(by(&[], 4), ["one", "two", "", "three"]);
    assert_eq!(by(&["--lines"], 4), ["one", "two", "", "three"]);
    assert_eq!(by(&["--whole"], 1), ["one\ntwo\r\n\nthree"]);
    assert_eq!(by(&["--chunk", "6"], 3), ["one\ntw", "o\r\n\nth", "ree"]);
}

#[test]
fn a_file_is_sent_whole_or_in_parts() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one\ntwo\n").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(texts(&arriving(1, |lan| send(&lan.a, &[GROUP, "--file", path]))), ["one\ntwo\n"]);
    assert_eq!(texts(&arriving(2, |lan| send(&lan.a, &[GROUP, "--file", path, "--lines"]))), ["one", "two"]);
    assert_eq!(
        texts(&arriving(2, |lan| send(&lan.a, &[GROUP, "--file", path, "--chunk", "5"]))),
        ["one\nt", "wo\n"]
    );
}

#[test]
fn random_payloads_differ() {
    let received = arriving(3, |lan| send(&lan.a, &[GROUP, "--random", "1000", "-c", "3"]));
    assert!(received.iter().all(|each| each["length"] == 1000));
    assert_ne!(received[0]["base64"], received[1]["base64"]);
    assert_ne!(received[1]["base64"], received[2]["base64"]);
}

#[test]
fn a_datagram_may_be_empty_and_as_long_as_udp_carries() {
    let received = arriving(2, |lan| send(&lan.a, &[GROUP, "", &"x".repeat(65_507)]));
    assert_eq!([&received[0]["length"], &received[1]["length"]], [0, 65_507]);
}

#[test]
fn payloads_too_long_for_udp_are_refused() {
    let lan = Lan::new();
    let ended = mcast(&lan.a, &["send", GROUP, &"x".repeat(70_000)]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("the datagram is too large: 70000 bytes"), "{ended:?}");
    assert!(
        ended.stderr.contains("remedy: send less at once: UDP carries 65,507 bytes over IPv4"),
        "{ended:?}"
    );
}

#[test]
fn datagrams_refused_by_the_kernel_are_counted() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "2", "--format", "text"]);
    // Longer than IPv4 carries, not longer than IPv6 does.
    let input = format!("before\n{}\nafter\n", "x".repeat(65_520));
    let ended = mcast_with_input(&lan.a, &["send", GROUP, "--json"], input.as_bytes());
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("warning: cannot send to 239.255.1.2:5000: the datagram is too large"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("refused by the kernel: 1"), "{ended:?}");
    let summary = &ended.json()[0];
    crate::schemas::assert_valid("send-summary", summary);
    assert_eq!(
        (&summary["sent"], &summary["bytes"], &summary["refused"]),
        (&2.into(), &11.into(), &1.into())
    );
    assert_eq!(receiver.end().succeeded().text(), "before\nafter\n");
}

#[test]
fn a_rate_is_kept_evenly() {
    // On a machine that is busy with other things a sender may not get its turn: then again. One
    // that sends in bursts, or too fast, never passes.
    let unevenness: Vec<String> = (0..10).map_while(|_| why_uneven()).collect();
    assert!(unevenness.len() < 10, "{unevenness:#?}");
}

/// Sends 1,000 datagrams at 2,000 per second; returns why the pace was uneven, if it was.
fn why_uneven() -> Option<String> {
    const COUNT: usize = 1_000;

    let received = arriving(COUNT, |lan| {
        send(&lan.a, &[GROUP, "tick", "--rate", "2000pps", "-c", &COUNT.to_string()]);
    });
    let times: Vec<f64> =
        received.iter().map(|each| seconds_of_day(each["time"].as_str().unwrap())).collect();
    // 999 steps of 500 µs: never faster, but for 10 ms of catching up.
    let span = times[COUNT - 1] - times[0];
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let median = gaps[gaps.len() / 2] * 1e6;
    // 10 in 5 ms, and what 10 ms of lateness may add: a burst would be more.
    let within = |start: &f64| times.iter().filter(|time| (*start..start + 0.005).contains(*time)).count();
    let most = times.iter().map(within).max().unwrap_or(0);
    let is_even = (0.4895..0.6).contains(&span) && (300.0..700.0).contains(&median) && most <= 35;
    (!is_even).then(|| format!("{span} s in all, median gap {median} µs, {most} within 5 ms"))
}

fn seconds_of_day(time: &str) -> f64 {
    let clock = &time["2026-01-01T".len()..time.len() - 1];
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

#[test]
fn a_rate_of_bits_counts_the_payload() {
    let lan = Lan::new();
    let ended = mcast(&lan.a, &["send", GROUP, "--random", "1250", "--rate", "1Mbit", "-W", "1", "--json"])
        .succeeded();
    // 100 datagrams of 10,000 bits in a second; one more at the start, and never a burst.
    let sent = ended.json()[0]["sent"].as_u64().unwrap();
    assert!((50..=102).contains(&sent), "{sent}");
}

#[test]
fn every_repeats_until_ctrl_c() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "3", "--format", "text"]);
    let ticks = start(&lan.a, &["send", GROUP, "tick", "--every", "20ms"]);
    assert_eq!(receiver.end().succeeded().text(), "tick\ntick\ntick\n");
    let ended = ticks.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("sent "), "{ended:?}");
}

#[test]
fn ctrl_c_ends_a_wait_for_standard_input() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "1", "--format", "text"]);
    let mut waits = crate::support::program(&lan.a, crate::support::MCAST, &["send", GROUP], true);
    std::io::Write::write_all(waits.child.stdin.as_mut().unwrap(), b"first\n").unwrap();
    assert_eq!(receiver.end().succeeded().text(), "first\n");
    let stdin = waits.child.stdin.take();
    let ended = waits.signalled(libc::SIGINT);
    drop(stdin);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("sent 1 datagram, 5 bytes"), "{ended:?}");
}

#[test]
fn no_loopback_excludes_the_own_host() {
    let lan = Lan::new();
    let (near, far) = (
        recv(&lan.a, &[GROUP, "-c", "1", "--format", "text"]),
        recv(&lan.b, &[GROUP, "-c", "2", "--format", "text"]),
    );
    send(&lan.a, &[GROUP, "not for me", "--no-loopback"]);
    send(&lan.a, &[GROUP, "for all"]);
    assert_eq!(near.end().succeeded().text(), "for all\n");
    assert_eq!(far.end().succeeded().text(), "not for me\nfor all\n");
}

#[test]
fn each_interface_and_group_gets_one_datagram() {
    let lan = Lan::new();
    let other = lan.lab.switch("other").unwrap();
    lan.a.connect("eth1", &other, &["10.1.0.1/24"]).unwrap();
    let far = lan.lab.host("far").unwrap();
    far.connect("eth0", &other, &["10.1.0.2/24"]).unwrap();
    let groups = [GROUP, "239.255.1.3:5000"];
    let receiver = [&lan.b, &far].map(|host| recv(host, &[&groups[..], &["-c", "2", "--json"]].concat()));

    let ended =
        mcast(&lan.a, &[&["send"], &groups[..], &["-i", "eth0", "-i", "10.1.0.1", "hi", "--json"]].concat());

    assert_eq!(ended.succeeded().json()[0]["sent"], 4);
    let sources = receiver.map(|receiver| {
        receiver.end().succeeded().json().iter().map(|each| each["source"].to_string()).collect::<Vec<_>>()
    });
    assert_eq!(sources, [["\"10.0.0.1\""; 2], ["\"10.1.0.1\""; 2]]);
}

#[test]
fn the_defaults_are_reported_once() {
    let lan = Lan::new();
    let ended = mcast(&lan.a, &["send", GROUP, "a", "b"]).succeeded();
    let note = "to 239.255.1.2:5000 on eth0 (the route to the group), hop limit 1: stays in this network (-t for more)\n";
    assert_eq!(ended.stderr.matches(note).count(), 1, "{ended:?}");
    assert_eq!(ended.text(), "");
}

#[test]
fn datagrams_reach_no_further_than_the_scope_of_their_group() {
    const HERE: &str = "never leaves this host: its scope is interface-local";
    let lan = Lan::new();
    let local = "[ff01::1234]:5000";
    for (arguments, reach) in [
        (&[local, "-i", "eth0"][..], HERE),
        (&[local, "-i", "eth0", "-t", "8"], HERE),
        (&["[ff02::1234]:5000", "-i", "eth0"], "hop limit 1: stays in this network (link-local group)"),
        (&["224.0.0.200:5000", "-t", "8"], "hop limit 8: stays in this network (link-local group)"),
        (&[GROUP, "-i", "lo"], "stays on this host"),
        (&[GROUP, "-t", "0"], "hop limit 0: stays on this host"),
        (&[GROUP, "-t", "8"], "hop limit 8"),
    ] {
        let ended = mcast(&lan.a, &[&["send"], arguments, &["hello"]].concat()).succeeded();
        assert!(ended.stderr.contains(&format!(", {reach}\n")), "{reach}: {ended:?}");
    }
    let pinged = mcast(&lan.a, &["ping", local, "-i", "eth0", "-c", "1", "--wait", "10ms"]);
    assert!(pinged.stderr.contains(HERE), "{pinged:?}");
    let published = mcast(&lan.a, &["publish", local, "-i", "eth0", "hello"]);
    assert!(published.stderr.contains(&format!("ff01::1234 {HERE}\n")), "{published:?}");
    for command in ["recv", "subscribe"] {
        let received = mcast(&lan.a, &[command, local, "-i", "eth0", "-W", "10ms"]);
        let note = "ff01::1234 never leaves its host: only senders on this host are received\n";
        assert!(received.stderr.contains(note), "{received:?}");
    }
}

#[test]
fn a_timeout_ends_it() {
    let lan = Lan::new();
    let start = std::time::Instant::now();
    mcast(&lan.a, &["send", GROUP, "tick", "--every", "50ms", "-W", "300ms"]).succeeded();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn messages_that_are_not_utf8_are_sent_unchanged() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "1", "--format", "raw"]);
    let script = format!("exec {} send {GROUP} \"$(printf '\\377\\376')\"", crate::support::MCAST);
    program(&lan.a, "sh", &["-c", &script], false).end().succeeded();
    assert_eq!(receiver.end().succeeded().stdout, [0xff, 0xfe]);
}

#[test]
fn duplicate_targets_get_one_datagram() {
    let lan = Lan::new();
    let ended =
        mcast(&lan.a, &["send", GROUP, GROUP, "-i", "eth0", "-i", "10.0.0.1", "-i", "all", "x", "--json"]);
    assert_eq!(ended.succeeded().json()[0]["sent"], 1);
}
