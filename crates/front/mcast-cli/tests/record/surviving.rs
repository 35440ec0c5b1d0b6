//! Recordings after a killed recorder or a full disk.

use std::fs;
use std::path::PathBuf;

use mcast_lab::Host;
use tempfile::tempdir;

use crate::files::{read, read_as_far_as_it_goes, record};
use crate::support::{Lan, MCAST, Running, eventually, program, send};

const GROUP: &str = "239.1.2.3:5000";

#[test]
fn a_killed_recorder_leaves_earlier_frames() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("killed.pcapng");
    let running = record(&lan.b, &[GROUP, "-w", path.to_str().unwrap()]);
    send(&lan.a, &[GROUP, "-i", "eth0", "--random", "700", "-c", "500", "--rate", "5kpps"]);
    eventually("the datagrams in the file", || read_as_far_as_it_goes(&path).0.len() == 500);
    running.child.kill().unwrap();
    running.end();
    assert_eq!(read(&path).len(), 500);
}

/// A recorder whose disk has room for 256 KiB.
fn on_a_small_disk(host: &Host, folder: &str, arguments: &str) -> Running {
    let script = format!(
        "mount -t tmpfs -o size=256k small {folder} && head -c 131072 /dev/zero > {folder}/ballast && \
         exec {MCAST} record {GROUP} -w {folder}/full.pcapng {arguments}"
    );
    let running = program(host, "unshare", &["-m", "sh", "-c", &script], false);
    running.stderr.wait_for("recording from");
    running
}

/// What the recorder sees at a path, whose mounts are its own.
fn seen_by(running: &Running, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", running.child.id()))
}

#[test]
fn a_recording_continues_after_a_full_disk() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let running = on_a_small_disk(&lan.b, disk, "-c 201");
    send(&lan.a, &[GROUP, "-i", "eth0", "--random", "1000", "-c", "200", "--rate", "2kpps"]);
    running.stderr.wait_for("in memory until there is room");
    let file = seen_by(&running, &format!("{disk}/full.pcapng"));
    let there = read_as_far_as_it_goes(&file).0.len();
    assert!((50..200).contains(&there), "{there}");
    fs::remove_file(seen_by(&running, &format!("{disk}/ballast"))).unwrap();
    running.stderr.wait_for("everything buffered is written");
    eventually("all in the file", || read_as_far_as_it_goes(&file).0.len() == 200);
    send(&lan.a, &[GROUP, "-i", "eth0", "last"]);
    let ended = running.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn unwritten_frames_are_counted_with_status_1() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let running = on_a_small_disk(&lan.b, disk, "--json");
    send(&lan.a, &[GROUP, "-i", "eth0", "--random", "1000", "-c", "200", "--rate", "2kpps"]);
    running.stderr.wait_for("in memory until there is room");
    let file = seen_by(&running, &format!("{disk}/full.pcapng"));
    let there = read(&file).len();
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("could not be written"), "{ended:?}");
    let summary = ended.json().pop().unwrap();
    let [frames, unwritten] = ["frames", "unwritten"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(frames + unwritten, 200, "{summary}");
    assert!(unwritten > 0 && frames >= there as u64, "{summary}, {there}");
}
