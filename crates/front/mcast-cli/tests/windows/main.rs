//! The command built for Windows, under Wine on one host of a lab, and the command of this system on
//! another: what one sends the other receives, both ways.
//!
//! `cargo verify --only wine` builds the program, and passes its path and that of Wine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../command/schemas.rs"]
mod schemas;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod wine;

use std::io::Write;

use serde_json::Value;

use schemas::assert_valid;
use support::{Ended, mcast, start};
use wine::Pair;

/// A group of each family, and the addresses of Windows and of Linux in it.
const FAMILIES: [(&str, &str, &str); 2] =
    [("239.1.2.3:5000", "10.0.0.1", "10.0.0.2"), ("[ff15::1:3]:5000", "fd00::1", "fd00::2")];

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn interfaces_are_those_of_the_host() {
    let pair = Pair::new();
    let ended = pair.windows.mcast(&["interfaces", "--json"]).succeeded();
    let rows = ended.json();
    let eth0 = rows.iter().find(|row| row["name"] == "eth0").unwrap_or_else(|| panic!("{ended:?}"));
    assert_valid("interface", eth0);
    let addresses: Vec<&str> = eth0["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|address| address["address"].as_str())
        .collect();
    assert!(addresses.contains(&"10.0.0.1") && addresses.contains(&"fd00::1"), "{ended:?}");
    assert_eq!((eth0["up"].as_bool(), eth0["mtu"].as_u64()), (Some(true), Some(1500)), "{ended:?}");
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn windows_receives_from_linux_with_metadata() {
    let pair = Pair::new();
    for (group, _, linux) in FAMILIES {
        let receiver = pair.windows.recv(&["--json", "-c", "2", "-i", "eth0", group]);
        mcast(&pair.linux, &["send", "-q", "-i", "eth0", group, "hello", "there"]).succeeded();
        datagrams_are(&receiver.end().succeeded(), group, linux, &["hello", "there"]);
    }
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn linux_receives_from_windows() {
    let pair = Pair::new();
    for (group, windows, _) in FAMILIES {
        let receiver = support::recv(&pair.linux, &["--json", "-c", "2", "-i", "eth0", group]);
        pair.windows.mcast(&["send", "-q", "-i", "eth0", group, "hello", "there"]).succeeded();
        datagrams_are(&receiver.end().succeeded(), group, windows, &["hello", "there"]);
    }
}

fn datagrams_are(ended: &Ended, group: &str, source: &str, texts: &[&str]) {
    let rows: Vec<Value> = ended.json().into_iter().filter(|row| row.get("text").is_some()).collect();
    assert_eq!(rows.iter().map(|row| row["text"].as_str().unwrap()).collect::<Vec<_>>(), texts, "{ended:?}");
    for row in rows {
        let address = group.rsplit_once(':').unwrap().0.trim_matches(['[', ']']);
        assert_eq!(
            (row["group"].as_str(), row["source"].as_str(), row["interface"].as_str()),
            (Some(address), Some(source), Some("eth0")),
            "{row}"
        );
    }
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn ask_works_in_both_directions() {
    let pair = Pair::new();
    let (group, ..) = FAMILIES[0];
    let answering =
        support::recv(&pair.linux, &["-i", "eth0", "--exec", "echo linux is here", "--exec-reply", group]);
    let asked = pair.windows.mcast(&["ask", "-i", "eth0", group, "who?", "--expect", "1"]).succeeded();
    assert!(asked.text().contains("linux is here") && asked.text().contains("10.0.0.2"), "{asked:?}");
    answering.signalled(libc::SIGINT);

    let answering = pair.windows.recv(&[
        "-c",
        "1",
        "-i",
        "eth0",
        "--exec",
        "echo windows is here",
        "--exec-reply",
        group,
    ]);
    let asked = mcast(&pair.linux, &["ask", "-i", "eth0", group, "who?", "--expect", "1"]).succeeded();
    assert!(asked.text().contains("windows is here") && asked.text().contains("10.0.0.1"), "{asked:?}");
    answering.end().succeeded();
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn ping_works_in_both_directions() {
    let pair = Pair::new();
    let ping =
        ["ping", "-i", "eth0", "239.1.2.3:5001", "-c", "3", "--wait", "10s", "--expect", "1", "--json"];
    let reply = ["ping", "--reply", "-i", "eth0", "239.1.2.3:5001"];

    let answering = start(&pair.linux, &reply);
    answering.stderr.wait_for("answering pings");
    let row = only_row(&pair.windows.mcast(&ping));
    assert_eq!((row["address"].as_str(), row["multicast"]["received"].as_u64()), (Some("10.0.0.2"), Some(3)));
    assert_eq!(answering.signalled(libc::SIGINT).status, Some(130));

    let answering = pair.windows.start(&reply);
    answering.stderr.wait_for("answering pings");
    let row = only_row(&mcast(&pair.linux, &ping));
    assert_eq!((row["address"].as_str(), row["multicast"]["received"].as_u64()), (Some("10.0.0.1"), Some(3)));
    // Wine hands the signal on as Windows hands on Ctrl-C.
    let ended = answering.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("answered"), "the summary is printed: {ended:?}");
}

fn only_row(ended: &Ended) -> Value {
    let rows = ended.json();
    assert_eq!((ended.status, rows.len()), (Some(0), 1), "{ended:?}");
    assert_valid("ping", &rows[0]);
    rows[0].clone()
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn perf_works_in_both_directions_without_loss() {
    let pair = Pair::new();
    // A number, because Wine may need most of a time for its first datagram.
    let send = ["perf", "send", "-i", "eth0", "239.1.2.3:5002", "-c", "600", "--rate", "2kpps", "--json"];
    let receive = ["perf", "recv", "-i", "eth0", "239.1.2.3:5002", "--json"];

    let receiver = pair.windows.start(&receive);
    receiver.stderr.wait_for("waiting for mcast perf send");
    mcast(&pair.linux, &send).succeeded();
    nothing_was_lost(&receiver.end().succeeded());

    let receiver = start(&pair.linux, &receive);
    receiver.stderr.wait_for("waiting for mcast perf send");
    pair.windows.mcast(&send).succeeded();
    nothing_was_lost(&receiver.end().succeeded());
}

fn nothing_was_lost(ended: &Ended) {
    let summary = ended.json().pop().unwrap_or_else(|| panic!("{ended:?}"));
    let [sent, received, lost] = ["sent", "received", "lost"].map(|name| summary[name].as_u64().unwrap());
    assert!(sent == 600 && received == sent && lost == 0, "{summary}");
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn messages_arrive_in_both_directions() {
    let pair = Pair::new();
    let subscribe = |group| ["subscribe", "-i", "eth0", group];
    let publish = |group| ["publish", "-i", "eth0", "--wait-for", "1", group, "one", "two", "three"];
    for (group, ..) in FAMILIES {
        let subscriber = pair.windows.start(&subscribe(group));
        subscriber.stderr.wait_for("joined");
        mcast(&pair.linux, &publish(group)).succeeded();
        assert_eq!(lines_of(&subscriber.end().succeeded()), ["one", "two", "three"]);

        let subscriber = start(&pair.linux, &subscribe(group));
        subscriber.stderr.wait_for("joined");
        pair.windows.mcast(&publish(group)).succeeded();
        assert_eq!(lines_of(&subscriber.end().succeeded()), ["one", "two", "three"]);
    }
}

fn lines_of(ended: &Ended) -> Vec<&str> {
    ended.text().lines().map(|line| line.trim_end_matches('\r')).collect()
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn the_doctor_reports_what_it_can_observe() {
    let pair = Pair::new();
    let ended = pair.windows.mcast(&["doctor", "--json"]);
    let rows = ended.json();
    let no_route = rows.iter().find(|row| row["id"] == "no-route").unwrap_or_else(|| panic!("{ended:?}"));
    assert_valid("doctor-finding", no_route);
    let words = no_route.to_string();
    assert!(words.contains("netsh interface ipv4 add route") && !words.contains("ip route"), "{words}");
    assert_eq!(
        (ended.status, rows.last().unwrap()["event"].as_str()),
        (Some(5), Some("verdict")),
        "{ended:?}"
    );

    // Datagrams at the socket are counted; those on the wire stay an open question.
    let sending =
        start(&pair.linux, &["send", "-q", "-i", "eth0", "239.1.2.3:5000", "hello", "--every", "20ms"]);
    let examine = ["doctor", "-i", "eth0", "239.1.2.3:5000", "-W", "1s", "--json"];
    let ended = pair.windows.mcast(&examine);
    sending.signalled(libc::SIGINT);
    let rows = ended.json();
    let reports = |event: &'static str, text: &'static str| {
        rows.iter().any(|row| row["event"] == event && row.to_string().contains(text))
    };
    assert!(reports("observation", "datagrams"), "{ended:?}");
    assert!(reports("open-question", "Npcap"), "{ended:?}");
    assert_eq!(ended.status, Some(0), "{ended:?}");

    let ended = pair.windows.mcast(&["doctor", "--pid", "1", "-W", "100ms"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("examine the membership instead"), "{ended:?}");
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn the_path_is_probed_in_both_directions() {
    let pair = Pair::new();
    let (listen, probe) =
        (["doctor", "--listen", "-4", "-i", "eth0"], ["doctor", "--probe", "-4", "-i", "eth0", "--json"]);
    let listening = start(&pair.linux, &listen);
    listening.stderr.wait_for("joined");
    let ended = pair.windows.mcast(&probe);
    assert_valid("doctor-path", ended.json().first().unwrap_or_else(|| panic!("{ended:?}")));
    assert!(ended.text().contains("10.0.0.2"), "{ended:?}");
    listening.signalled(libc::SIGINT);

    let listening = pair.windows.start(&listen);
    listening.stderr.wait_for("joined");
    let ended = mcast(&pair.linux, &probe);
    assert_valid("doctor-path", ended.json().first().unwrap_or_else(|| panic!("{ended:?}")));
    assert!(ended.text().contains("10.0.0.1"), "{ended:?}");
    assert_eq!(listening.signalled(libc::SIGINT).status, Some(130));
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn missing_features_are_reported() {
    let pair = Pair::new();
    for (arguments, words) in [
        (&["sniff", "-i", "eth0"][..], "on Windows only drivers"),
        (&["top", "-i", "eth0", "--once"], "on Windows only drivers"),
        (&["querier", "-i", "eth0", "--become"], "on Windows only drivers"),
        (&["lab", "list"], "Linux network namespaces"),
    ] {
        let ended = pair.windows.mcast(arguments);
        assert_eq!(ended.status, Some(4), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {ended:?}");
    }
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn explanations_are_the_same_on_both_systems() {
    let pair = Pair::new();
    for address in ["239.1.2.3", "224.0.0.251", "ff02::fb", "232.1.2.3"] {
        let (there, here) =
            (pair.windows.mcast(&["explain", address]), mcast(&pair.linux, &["explain", address]));
        assert_eq!(there.succeeded().text().replace("\r\n", "\n"), here.succeeded().text());
    }
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn unsupported_features_are_errors() {
    let pair = Pair::new();
    // Wine 8 cannot join a source, Windows can.
    let ended = pair.windows.mcast(&["recv", "-i", "eth0", "10.0.0.2@232.1.2.3:5000", "-W", "5s"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("cannot join 232.1.2.3:5000 on eth0"), "{ended:?}");

    let ended = pair.windows.mcast(&["send", "239.1.2.3:5000", "hello"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("netsh") && !ended.stderr.contains("ip route"), "{ended:?}");

    let ended = pair.windows.mcast(&["recv", "-i", "eth7", "239.1.2.3:5000"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("eth7"), "{ended:?}");
}

#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn piped_output_is_plain_text_and_timeouts_work() {
    let pair = Pair::new();
    let ended = pair.windows.mcast(&["recv", "-i", "eth0", "239.1.2.3:5000", "-W", "300ms", "--expect", "1"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stdout.is_empty() && !ended.stderr.contains('\u{1b}'), "{ended:?}");
}

/// A console, as a person has it: Ctrl-C is a key, colours are the console's.
#[test]
#[ignore = "started by `cargo verify --only wine`"]
fn in_a_console_there_are_colours_and_ctrl_c_is_a_key() {
    let pair = Pair::new();
    let mut console = pair.windows.console(&["recv", "-i", "eth0", "239.1.2.3:5000"]);
    console.stdout.wait_for("joined on eth0");
    mcast(&pair.linux, &["send", "-q", "-i", "eth0", "239.1.2.3:5000", "hello there"]).succeeded();
    console.stdout.wait_for("hello there");
    console.child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let ended = console.end();
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let shown = ended.text();
    assert!(shown.contains("received 1 datagram"), "the summary is printed: {ended:?}");
    assert!(shown.contains("\u{1b}[3"), "nothing is coloured: {ended:?}");
}
