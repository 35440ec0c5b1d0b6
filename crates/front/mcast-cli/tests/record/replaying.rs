//! `mcast replay`: selection, destinations and timing.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mcast_capture::WriteFormat;
use mcast_packet::LinkType;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::files::{Datagram, read, record};
use crate::frames::{Made, cooked, datagram, fragment, igmp, tagged, to_one_host, write};
use crate::schemas::assert_valid;
use crate::support::{Ended, Lan, Running, mcast, program, send};

const GROUP: &str = "239.1.2.3:5000";

/// A folder with a file of these frames.
fn file_of(format: WriteFormat, frames: &[Made]) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("made.pcapng");
    write(&path, format, frames);
    (folder, path)
}

/// Datagrams at N milliseconds after the first.
fn datagrams(after: &[u64]) -> Vec<Made> {
    after.iter().map(|after| Made::new(datagram(&format!("at {after}")), *after)).collect()
}

/// Replays a file on host `a` with these arguments while host `b` records these groups.
fn replayed(
    lan: &Lan,
    file: &Path,
    arguments: &[&str],
    groups: &[&str],
    count: usize,
) -> (Ended, Vec<Datagram>) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("heard.pcapng");
    let count = count.to_string();
    let options = ["-i", "eth0", "-w", path.to_str().unwrap(), "-c", &count, "-W", "25s"];
    let running = record(&lan.b, &[groups, &options].concat());
    let ended = replay(lan, file, arguments);
    running.end().succeeded();
    (ended, read(&path))
}

fn replay(lan: &Lan, file: &Path, arguments: &[&str]) -> Ended {
    mcast(&lan.a, &[&["replay", file.to_str().unwrap(), "-i", "eth0"], arguments].concat())
}

fn texts(datagrams: &[Datagram]) -> Vec<&str> {
    datagrams.iter().map(Datagram::text).collect()
}

fn summary(ended: &Ended) -> Value {
    let summary = ended.json().pop().unwrap();
    assert_valid("replay-summary", &summary);
    summary
}

#[test]
fn datagrams_are_replayed_in_order_at_their_times() {
    let lan = Lan::new();
    let after = [0, 10, 11, 60, 61, 62, 200, 300];
    let (_folder, file) = file_of(WriteFormat::PcapNg, &datagrams(&after));
    // Other processes may delay a try, but not every one.
    let most = Duration::from_millis(3);
    let is_in_time = |_| {
        let (ended, received) = replayed(&lan, &file, &["--json"], &[GROUP], after.len());
        assert_eq!(summary(&ended.succeeded())["sent"], after.len());
        assert_eq!(texts(&received), after.map(|after| format!("at {after}")));
        let since_first = received.iter().map(|each| each.time.duration_since(received[0].time).unwrap());
        let wrong = since_first.zip(after).map(|(since, after)| since.abs_diff(Duration::from_millis(after)));
        wrong.max().unwrap() < most
    };
    assert!((0..20).any(is_in_time), "always late");
}

#[test]
fn timing_accuracy_is_measured_by_capture() {
    let lan = Lan::new();
    let after: Vec<u64> = (0..60).map(|number| number * 3).collect();
    let (_folder, file) = file_of(WriteFormat::PcapNg, &datagrams(&after));
    let is_exact = |_| {
        let ended = replay(&lan, &file, &["--measure", "--json"]).succeeded();
        assert!(ended.stderr.contains("kernel transmit times of 60 datagrams"), "{ended:?}");
        let summary = summary(&ended);
        let [half, all] =
            ["transmit_error_p50_us", "transmit_error_max_us"].map(|name| summary[name].as_f64().unwrap());
        assert!(half <= all && all > 0.0, "{summary}");
        half < 1_000.0
    };
    assert!((0..20).any(is_exact), "never within a millisecond");
}

#[test]
fn speed_rate_and_maximum_gap_change_the_timing() {
    let lan = Lan::new();
    let after: Vec<u64> = (0..11).map(|number| number * 40).collect();
    let (_folder, file) = file_of(WriteFormat::PcapNg, &datagrams(&after));
    let took = |arguments: &[&str]| {
        let (ended, received) = replayed(&lan, &file, arguments, &[GROUP], after.len());
        assert_eq!(ended.status, Some(0), "{ended:?}");
        received[10].time.duration_since(received[0].time).unwrap().as_millis()
    };
    // On a busy machine the first or the last may be late, but not every time.
    let fits = |expected: Range<u128>, arguments: &[&str]| {
        let mut tries = Vec::new();
        while !tries.last().is_some_and(|took| expected.contains(took)) {
            assert!(tries.len() < 20, "{arguments:?}: {tries:?} ms, not {expected:?}");
            tries.push(took(arguments));
        }
    };
    fits(398..440, &[]);
    fits(198..240, &["--speed", "2"]);
    fits(798..840, &["--speed", "0.5"]);
    fits(98..140, &["--max-gap", "10ms"]);
    fits(9..50, &["--rate", "1kpps"]);
    fits(0..9, &["--flat-out"]);
}

#[test]
fn groups_ports_and_hop_limits_are_rewritten() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let file = folder.path().join("stream.pcapng");
    let recorded =
        record(&lan.b, &["239.1.2.3:5000-5001", "-w", file.to_str().unwrap(), "-c", "2", "-W", "20s"]);
    send(&lan.a, &[GROUP, "-i", "eth0", "-t", "9", "--dscp", "EF", "one"]);
    send(&lan.a, &["239.1.2.3:5001", "-i", "eth0", "-t", "6", "two"]);
    recorded.end().succeeded();
    let facts = |arguments: &[&str], groups: &[&str]| {
        let (ended, received) = replayed(&lan, &file, arguments, groups, 2);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let facts =
            received.iter().map(|each| format!("{} {} {}", each.destination, each.hop_limit, each.dscp));
        facts.collect::<Vec<_>>()
    };
    assert_eq!(facts(&[], &["239.1.2.3:5000-5001"]), ["239.1.2.3:5000 1 46", "239.1.2.3:5001 1 0"]);
    assert_eq!(
        facts(&["-t", "recorded"], &["239.1.2.3:5000-5001"]),
        ["239.1.2.3:5000 9 46", "239.1.2.3:5001 6 0"]
    );
    let maps = ["--map", "239.1.2.3:5000=[ff15::7]:6000", "--map", "239.1.2.3=239.9.9.9", "-t", "3"];
    assert_eq!(
        facts(&maps, &["[ff15::7]:6000", "239.9.9.9:5001"]),
        ["[ff15::7]:6000 3 46", "239.9.9.9:5001 3 0"]
    );
    let one = replay(&lan, &file, &["239.1.2.3:5001", "--json"]).succeeded();
    let summary = summary(&one);
    assert_eq!((&summary["sent"], &summary["skipped"]["not_selected"]), (&1.into(), &1.into()));
}

#[test]
fn incomplete_and_unicast_datagrams_are_counted_and_omitted() {
    let lan = Lan::new();
    let mut cut_off = Made::new(datagram("a long story"), 1);
    cut_off.bytes.truncate(50);
    let mut malformed = datagram("x");
    malformed[14] = 0x42;
    let frames = [
        Made::new(igmp(), 0),
        Made::new(to_one_host(datagram("x")), 0),
        Made::new(fragment(datagram("x")), 0),
        cut_off,
        Made::new(malformed, 2),
        Made::new(datagram("sent"), 3),
    ];
    let (_folder, file) = file_of(WriteFormat::PcapNg, &frames);
    let (ended, received) = replayed(&lan, &file, &["--json"], &[GROUP], 1);
    assert_eq!(texts(&received), ["sent"]);
    let skipped = &summary(&ended)["skipped"];
    for reason in ["not_udp", "not_multicast", "fragments", "truncated", "malformed"] {
        assert_eq!(skipped[reason], 1, "{reason}: {skipped}");
    }
    let note = "not sent: 1 not UDP, 1 not to a group, 1 fragment of an incomplete datagram, 1 truncated by the capture, 1 malformed";
    assert!(ended.stderr.contains(note), "{ended:?}");
}

#[test]
fn every_format_is_read() {
    let lan = Lan::new();
    let of = |link_type, bytes: fn(&str) -> Vec<u8>| {
        let make = |text: &str| Made { link_type, ..Made::new(bytes(text), 0) };
        ["one", "two"].map(make)
    };
    let tags = of(LinkType::Ethernet, |text| tagged(datagram(text)));
    let any = of(LinkType::LinuxCooked2, |text| cooked(&datagram(text)));
    let raw = of(LinkType::Ip, |text| datagram(text)[14..].to_vec());
    let plain = of(LinkType::Ethernet, datagram);
    for frames in [tags, any, raw, plain] {
        for format in [WriteFormat::Pcap, WriteFormat::PcapNg] {
            let (_folder, file) = file_of(format, &frames);
            let (ended, received) = replayed(&lan, &file, &[], &[GROUP], 2);
            assert_eq!(ended.status, Some(0), "{ended:?}");
            assert_eq!(texts(&received), ["one", "two"]);
        }
    }
}

/// Whether a program is there. CI lets no test be left out.
fn has(name: &str) -> bool {
    let there = Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        mcast_lab::skip(format_args!("replay of what {name} wrote: it is not installed"));
    }
    there
}

#[test]
fn files_of_tcpdump_and_tshark_are_replayed() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let captures: [(&str, &[&str], &str); 3] = [
        ("tcpdump", &["-i", "eth0", "-U", "-c", "2", "udp", "port", "5000", "-w"], "listening on"),
        ("tcpdump", &["-i", "any", "-U", "-c", "2", "udp", "port", "5000", "-w"], "listening on"),
        ("tshark", &["-i", "eth0", "-c", "2", "-f", "udp port 5000", "-w"], "Capturing on"),
    ];
    for (number, (name, arguments, ready)) in captures.into_iter().enumerate() {
        if !has(name) {
            continue;
        }
        let file = path(&format!("{number}.cap"));
        let capturing: Running = program(&lan.b, name, &[arguments, &[file.as_str()]].concat(), false);
        capturing.stderr.wait_for(ready);
        let receiver = crate::support::recv(&lan.b, &[GROUP, "-i", "eth0", "-c", "2", "-W", "20s"]);
        // The capture may start later than it prints that it has.
        let deadline = std::time::Instant::now() + crate::support::TIMEOUT;
        while std::fs::metadata(&file).map_or(0, |file| file.len()) == 0 {
            assert!(std::time::Instant::now() < deadline, "{}", capturing.stderr.text());
            std::thread::sleep(Duration::from_millis(5));
        }
        // Of two lengths, or the kernel would carry both as one packet, and they be captured as one.
        send(&lan.a, &[GROUP, "-i", "eth0", "-t", "2", "hello", "goodbye"]);
        receiver.end().succeeded();
        let captured = capturing.end();
        assert_eq!(captured.status, Some(0), "{captured:?}");
        let (ended, received) = replayed(&lan, Path::new(&file), &["-t", "recorded"], &[GROUP], 2);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(texts(&received), ["hello", "goodbye"], "{name} {arguments:?}");
        assert_eq!(received[0].hop_limit, 2);
    }
}

#[test]
fn a_file_is_repeated_up_to_the_limits() {
    let lan = Lan::new();
    let (_folder, file) = file_of(WriteFormat::PcapNg, &datagrams(&[0, 5, 10]));
    let (ended, received) = replayed(&lan, &file, &["--loop", "3", "--json"], &[GROUP], 9);
    assert_eq!(texts(&received), ["at 0", "at 5", "at 10"].repeat(3));
    let summary = summary(&ended);
    assert_eq!((&summary["sent"], &summary["rounds"]), (&9.into(), &3.into()));
    let (_, received) = replayed(&lan, &file, &["--loop", "0", "-c", "7"], &[GROUP], 7);
    assert_eq!(received.len(), 7);
    let ended = replay(&lan, &file, &["--loop", "0", "-W", "200ms"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let forever = crate::support::start(
        &lan.a,
        &["replay", file.to_str().unwrap(), "-i", "eth0", "--loop", "0", "--speed", "0.01"],
    );
    forever.stderr.wait_for("to 239.1.2.3:5000");
    let ended = forever.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("sent "), "{ended:?}");
}

#[test]
fn a_truncated_or_damaged_file_is_sent_up_to_its_end_and_fails() {
    let lan = Lan::new();
    let (_folder, file) = file_of(WriteFormat::PcapNg, &datagrams(&[0, 1, 2]));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 7]).unwrap();
    let (ended, received) = replayed(&lan, &file, &[], &[GROUP], 2);
    assert_eq!((ended.status, received.len()), (Some(4), 2), "{ended:?}");
    assert!(ended.stderr.contains("ends within the record"), "{ended:?}");
    let mut damaged = whole.clone();
    let end = damaged.len();
    damaged[end - 4..].copy_from_slice(&[9, 9, 9, 9]);
    std::fs::write(&file, &damaged).unwrap();
    let ended = replay(&lan, &file, &[]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("sent 2 datagrams"), "{ended:?}");
}

#[test]
fn nothing_to_send_is_status_1_and_errors_are_reported() {
    let lan = Lan::new();
    let (_folder, file) = file_of(WriteFormat::PcapNg, &[Made::new(igmp(), 0)]);
    let nothing = replay(&lan, &file, &[]);
    assert_eq!(nothing.status, Some(1), "{nothing:?}");
    assert!(nothing.stderr.contains("nothing that can be sent"), "{nothing:?}");
    let path = file.to_str().unwrap();
    for (arguments, status) in [
        (&["replay", "/no/such/file"][..], 4),
        (&["replay", "/etc/passwd"], 4),
        (&["replay", path, "-i", "eth9"], 1),
        (&["replay", "-", "--loop", "2"], 2),
        (&["replay", path, "--map", "x"], 2),
        (&["replay", path, "--speed", "0"], 2),
        (&["replay", path, "--speed", "2", "--flat-out"], 2),
        (&["replay", path, "-t", "256"], 2),
        (&["replay", path, "--measure"], 2),
        (&["replay", path, "-i", "eth0", "--txtime"], 4),
    ] {
        let ended = mcast(&lan.a, arguments);
        assert_eq!(ended.status, Some(status), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn an_ordinary_user_can_replay_but_not_measure() {
    let lan = Lan::new();
    let (_folder, file) = file_of(WriteFormat::PcapNg, &datagrams(&[0, 1]));
    let drop =
        ["--bounding-set=-net_raw", crate::support::MCAST, "replay", file.to_str().unwrap(), "-i", "eth0"];
    let ended = program(&lan.a, "setpriv", &drop, false).end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let refused = program(&lan.a, "setpriv", &[&drop[..], &["--measure"]].concat(), false).end();
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("CAP_NET_RAW"), "{refused:?}");
}
