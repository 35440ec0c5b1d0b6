//! Files: written, read, piped, and shown to programs that others wrote.

use std::process::{Command, Stdio};

use mcast_capture::CaptureFile;
use tempfile::tempdir;

use crate::support::{Lan, MCAST, eventually, mcast, packets_received, send};
use crate::{GROUP, sniff};

/// A file with three datagrams of both families, and its folder.
fn captured() -> (tempfile::TempDir, String) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("all.pcapng").to_str().unwrap().to_owned();
    let lan = Lan::new();
    let sees = sniff(&lan.b, &["-w", &path, "--port", "5000,5001", "-c", "3"]);
    send(&lan.a, &[GROUP, "one"]);
    send(&lan.a, &["239.255.1.3:5001", "two"]);
    send(&lan.a, &["[ff15::1]:5000", "three", "-i", "eth0"]);
    let ended = sees.end().succeeded();
    assert_eq!(ended.text(), "", "what is written is not printed");
    assert!(ended.stderr.contains("3 packets written to "), "{}", ended.stderr);
    (folder, path)
}

#[test]
fn what_came_before_the_end_is_written() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("ended.pcapng").to_str().unwrap().to_owned();
    // The kernel keeps frames together for a while when they are only written.
    for _ in 0..5 {
        let sees = sniff(&lan.b, &["-i", "eth0", "-w", &path, GROUP]);
        let before = packets_received(&lan.b);
        send(&lan.a, &[GROUP, "last"]);
        // Where processors are busy, the kernel hands it over a while after it was sent.
        eventually("the packet comes in", || packets_received(&lan.b) > before);
        let ended = sees.signalled(2);
        assert!(ended.stderr.contains("1 packet written to "), "{}", ended.stderr);
        assert_eq!(lines(&plain(&["sniff", "-r", &path])).len(), 1);
    }
}

fn plain(arguments: &[&str]) -> std::process::Output {
    Command::new(MCAST).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn lines(output: &std::process::Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

#[test]
fn what_was_written_is_read_with_the_same_filters() {
    let (_folder, path) = captured();
    let all = plain(&["sniff", "-r", &path]);
    assert_eq!((all.status.code(), lines(&all).len()), (Some(0), 3), "{all:?}");
    assert!(lines(&all)[0].contains("eth0 in  Ether / IP / UDP 10.0.0.1:"), "{all:?}");
    let count = |arguments: &[&str]| lines(&plain(&[&["sniff", "-r", &path], arguments].concat())).len();
    assert_eq!(count(&["239.255.1.2"]), 1);
    assert_eq!(count(&["239.255.1.3%eth0:5001"]), 1);
    assert_eq!(count(&["239.255.1.3%eth9:5001"]), 0);
    assert_eq!(count(&["-i", "eth0", "-6"]), 1);
    assert_eq!(count(&["-i", "eth9"]), 0);
    assert_eq!(count(&["-c", "2"]), 2);
    assert_eq!(plain(&["sniff", "-r", &path, "-c", "4"]).status.code(), Some(1));
    // It needs no right, and nothing is sent: an ordinary user reads as well.
    assert_eq!(plain(&["sniff", "-r", &path, "-i", "10.0.0.1"]).status.code(), Some(2));
}

#[test]
fn a_file_is_filtered_into_another_that_keeps_names_and_times() {
    let (folder, path) = captured();
    let other = folder.path().join("one.pcapng");
    let output = plain(&["sniff", "-r", &path, "239.255.1.2:5000", "-w", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut original = CaptureFile::open(&path).unwrap();
    let expected = original.next().unwrap().map(|frame| (frame.bytes.to_vec(), frame.time)).unwrap();
    let mut filtered = CaptureFile::open(&other).unwrap();
    let frame = filtered.next().unwrap().unwrap();
    assert_eq!((frame.bytes.to_vec(), frame.time), expected);
    assert!(filtered.next().unwrap().is_none());
    assert_eq!(filtered.interfaces()[0].name.as_deref(), Some("eth0"));
}

#[test]
fn what_a_file_calls_its_interfaces_commands_no_terminal() {
    let (_folder, path) = captured();
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(4).position(|window| window == b"eth0").unwrap();
    bytes[place..place + 4].copy_from_slice(b"\x1b[2J");
    std::fs::write(&path, bytes).unwrap();
    let all = plain(&["sniff", "-r", &path]);
    let text = String::from_utf8_lossy(&all.stdout);
    assert!(!text.contains('\x1b') && text.contains("\\x1b[2J"), "{text}");
}

#[test]
fn the_rate_of_a_file_is_that_of_its_packets_and_not_that_of_reading() {
    let (_folder, path) = captured();
    let mut file = CaptureFile::open(&path).unwrap();
    let mut times = Vec::new();
    while let Some(frame) = file.next().unwrap() {
        times.push(frame.time);
    }
    let span = times[2].duration_since(times[0]).unwrap();
    let all = plain(&["sniff", "-r", &path, "--discard", "--json"]);
    let summary: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    assert!((summary["seconds"].as_f64().unwrap() - span.as_secs_f64()).abs() < 1e-6, "{summary}");
}

#[test]
fn files_go_through_pipes() {
    let (folder, path) = captured();
    let pcap = folder.path().join("all.pcap");
    assert!(plain(&["sniff", "-r", &path, "-w", pcap.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read(&pcap).unwrap()[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let mut writes = Command::new(MCAST);
    let mut writes =
        writes.args(["sniff", "-q", "-r", &path, "-w", "-"]).stdout(Stdio::piped()).spawn().unwrap();
    let reads =
        Command::new(MCAST).args(["sniff", "-r", "-"]).stdin(writes.stdout.take().unwrap()).output().unwrap();
    assert!(writes.wait().unwrap().success());
    assert_eq!(lines(&reads).len(), 3, "{reads:?}");
}

#[test]
fn a_file_that_is_cut_off_is_read_as_far_as_it_goes() {
    let (_folder, path) = captured();
    let bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() - 150;
    std::fs::write(&path, &bytes[..end]).unwrap();
    let output = plain(&["sniff", "-r", &path]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(lines(&output).len() < 3 && !lines(&output).is_empty(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("it ends within the record") && text.contains("have been read"), "{text}");
}

#[test]
fn tshark_reads_what_was_written_and_sees_the_same() {
    let tshark = Command::new("tshark").arg("--version").output();
    if !tshark.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: agreement with tshark: it is not installed");
        assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none(), "no skip is allowed");
        return;
    }
    let (_folder, path) = captured();
    let fields =
        ["-e", "ip.dst", "-e", "ipv6.dst", "-e", "udp.dstport", "-e", "frame.len", "-e", "frame.time_epoch"];
    let output =
        Command::new("tshark").args(["-r", &path, "-T", "fields", "-E", "separator=,"]).args(fields).output();
    let theirs = lines(&output.unwrap());
    let ours = plain(&["sniff", "-r", &path, "--json"]);
    assert_eq!(theirs.len(), 3);
    for (theirs, ours) in theirs.iter().zip(lines(&ours)) {
        let theirs: Vec<&str> = theirs.split(',').collect();
        let ours: serde_json::Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(ours["group"], format!("{}{}", theirs[0], theirs[1]));
        assert_eq!(
            (ours["port"].to_string(), ours["length"].to_string()),
            (theirs[2].into(), theirs[3].into())
        );
        let fraction = theirs[4].split('.').nth(1).unwrap();
        assert!(ours["time"].as_str().unwrap().contains(&format!(".{fraction}Z")), "{ours} {theirs:?}");
    }
}

#[test]
fn hostile_files_are_refused_or_read_but_never_a_panic() {
    let (folder, path) = captured();
    let good = std::fs::read(&path).unwrap();
    let broken = folder.path().join("broken.pcapng").to_str().unwrap().to_owned();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..40 {
        let mut bytes = good.clone();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (seed >> 33) as usize % bytes.len();
            bytes[place] = (seed >> 25) as u8;
        }
        std::fs::write(&broken, &bytes).unwrap();
        let output = plain(&["sniff", "-r", &broken, "--hex", "-v"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!([Some(0), Some(4)].contains(&output.status.code()) && !text.contains("panicked"), "{text}");
    }
    assert_eq!(mcast(&Lan::new().a, &["sniff", "-r", "/proc/self/cmdline"]).status, Some(4));
}
