//! What newcomers met in their first hour with the command, each as they met it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../top/pseudoterminal.rs"]
mod pseudoterminal;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "../top/terminal.rs"]
mod terminal;

use std::fs;

use mcast_lab::Host;
use support::{Ended, Lan, MCAST, Running, eventually, mcast, program, send, start};
use terminal::{Terminal, contains};

const GROUP: &str = "239.255.1.2:5000";
const STREAM: &str = "239.255.1.2:7000";

/// Sends to the group until it is dropped.
fn stream(host: &Host) -> Running {
    start(host, &["send", "-q", GROUP, "-c", "100000", "--every", "20ms", "x"])
}

/// Runs a command whose reader takes one line and leaves. Its exit status is printed on standard error.
fn with_a_reader_of_one_line(host: &Host, arguments: &str) -> Running {
    let script = format!("{{ {MCAST} {arguments}; echo \"status $?\" >&2; }} | head -n 1");
    program(host, "sh", &["-c", &script], false)
}

#[test]
fn the_progress_of_the_doctor_is_one_line_on_a_narrow_terminal() {
    let lan = Lan::new();
    let _stream = stream(&lan.a);
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["doctor", GROUP, "-i", "eth0", "-W", "2s", "--no-experiments"];
    let terminal = Terminal::start(&lan.b, (40, 24), folder.path(), &arguments);
    let lines =
        terminal.wait_until("the verdict", |lines| lines.iter().any(|line| line.starts_with("datagrams")));
    // It was shown, and is gone.
    assert!(contains(&terminal.bytes(), b" of 2 s: "));
    assert!(!lines.iter().any(|line| line.contains(" of 2 s: ")), "{lines:#?}");
}

#[test]
fn the_last_messages_are_shown_before_the_end_of_the_stream() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..6 {
        let terminal =
            Terminal::start(&lan.b, (100, 24), folder.path(), &["subscribe", STREAM, "-i", "eth0"]);
        terminal.wait_for("joined");
        mcast(&lan.a, &["publish", "-q", STREAM, "--wait-for", "1", "a", "b", "c"]).succeeded();
        let lines = terminal.wait_for("received 3 messages");
        let place = |text: &str| lines.iter().position(|line| line.starts_with(text)).expect(text);
        let shown =
            ["a ", "b ", "c "].map(|text| lines.iter().position(|line| format!("{line} ").starts_with(text)));
        assert!(shown.iter().all(|line| *line < Some(place("the stream has ended"))), "{lines:#?}");
        assert!(shown.is_sorted() && shown[0].is_some(), "{lines:#?}");
    }
}

#[test]
fn what_was_required_is_not_met_if_the_reader_leaves() {
    let lan = Lan::new();
    let statuses = |ended: &Ended| (ended.stderr.contains("status 1"), ended.lines().len());
    for command in ["recv", "sniff"] {
        let arguments = format!("{command} {GROUP} -i eth0 --expect 100 -W 20s");
        let receiving = with_a_reader_of_one_line(&lan.b, &arguments);
        receiving.stderr.wait_for(if command == "recv" { "joined" } else { "capturing" });
        send(&lan.a, &[GROUP, "-c", "40", "--every", "20ms", "x"]);
        let ended = receiving.end();
        assert_eq!(statuses(&ended), (true, 1), "{command}: {ended:?}");
        assert!(ended.stderr.contains("the reader of standard output has left"), "{command}: {ended:?}");
    }
    let subscribing = with_a_reader_of_one_line(&lan.b, &format!("subscribe {STREAM} -i eth0 --expect 100"));
    subscribing.stderr.wait_for("joined");
    let words: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let published =
        mcast(&lan.a, &[&["publish", STREAM, "--wait-for", "1", "--rate", "50pps"], &words[..]].concat());
    assert_eq!(published.status, Some(1), "{published:?}");
    let ended = subscribing.end();
    assert_eq!(statuses(&ended), (true, 1), "{ended:?}");
}

#[test]
fn a_relay_to_an_interface_that_never_appears_has_failed() {
    let lan = Lan::new();
    let rule = ["relay", GROUP, "from", "eth0", "to", "eth9"];
    let checked = mcast(&lan.b, &[&rule[..], &["--check"]].concat());
    assert_eq!(checked.status, Some(1), "{checked:?}");
    let ended = mcast(&lan.b, &[&rule[..], &["-W", "2s"]].concat());
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("eth9"), "{ended:?}");
}

#[test]
fn a_measurement_that_nobody_receives_has_failed() {
    let lan = Lan::new();
    let measure = ["perf", "send", GROUP, "--rate", "100pps", "--duration", "300ms"];
    assert_eq!(mcast(&lan.a, &measure).status, Some(1));
    assert_eq!(mcast(&lan.a, &[&measure[..], &["--expect", "0"]].concat()).status, Some(0));
}

#[test]
fn the_same_name_gives_the_same_group_in_one_command() {
    let lan = Lan::new();
    let picked = mcast(&lan.a, &["pick", "a", "a", "b"]).succeeded();
    let groups: Vec<_> =
        picked.lines().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(groups[0], groups[1], "{picked:?}");
    assert_ne!(groups[0], groups[2], "{picked:?}");
    assert_eq!(mcast(&lan.a, &["pick", "a"]).succeeded().lines(), [&groups[0]]);
}

#[test]
fn messages_in_a_file_are_on_the_disk_before_the_position_behind_them() {
    if !mcast_lab::has_program("strace", "-V", "the order of system calls") {
        return;
    }
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (trace, messages, position) = (path("trace"), path("messages"), path("position"));
    let script =
        format!("exec {MCAST} subscribe {STREAM} --name prices -i eth0 --resume {position} >> {messages}");
    let calls = "trace=fsync,fdatasync,rename,renameat,renameat2";
    let traced = ["-f", "-y", "-o", &trace, "-e", calls, "sh", "-c", &script];
    let subscribing = program(&lan.b, "strace", &traced, false);
    subscribing.stderr.wait_for("joined");
    let publish =
        ["publish", "-q", STREAM, "--name", "prices", "--wait-for", "1", "--rate", "10pps", "a", "b", "c"];
    mcast(&lan.a, &publish).succeeded();
    subscribing.end().succeeded();
    assert_eq!(fs::read_to_string(&messages).unwrap(), "a\nb\nc\n");
    let trace = fs::read_to_string(&trace).unwrap();
    // Each position that was written after the first message is behind a sync of the messages.
    let mut is_synced = false;
    let mut positions = 0;
    for line in trace.lines() {
        is_synced |= line.contains("sync(") && line.contains(&messages);
        if line.contains("rename") && line.contains(&position) {
            positions += 1;
            assert!(positions == 1 || is_synced, "{trace}");
        }
    }
    assert!(positions > 1 && is_synced, "{trace}");
}

#[test]
fn rates_exclude_the_wait_for_the_first_datagram() {
    let lan = Lan::new();
    let [receiving, subscribing] = ["recv", "subscribe"].map(|command| {
        let to = if command == "recv" { GROUP } else { STREAM };
        let running = start(&lan.b, &[command, to, "-i", "eth0", "-c", "11"]);
        running.stderr.wait_for("joined");
        running
    });
    // As long as somebody looks for the other window.
    let begun = std::time::Instant::now();
    eventually("a while", || begun.elapsed().as_secs() >= 3);
    send(&lan.a, &[GROUP, "-c", "11", "--every", "10ms", "x"]);
    let words = ["x"; 11];
    start(&lan.a, &[&["publish", STREAM, "--wait-for", "1", "--rate", "100pps"], &words[..]].concat()).end();
    for running in [receiving, subscribing] {
        let ended = running.end();
        let line =
            ended.stderr.lines().find(|line| line.starts_with("received 11 ")).expect("a summary").to_owned();
        // Three seconds of waiting would make it 88 bits in three seconds.
        let rate = line
            .split(['(', ',', ')'])
            .find_map(|part| part.trim().strip_suffix("bit/s")?.trim().parse::<f64>().ok());
        let is_fast =
            line.contains("kbit/s") || line.contains("Mbit/s") || rate.is_some_and(|rate| rate > 50.0);
        assert!(is_fast, "{line}");
    }
}
