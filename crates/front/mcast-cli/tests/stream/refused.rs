//! Errors of `publish` and `subscribe`, with their remedies.

use std::fs;

use crate::GROUP;
use crate::support::{Lan, mcast};
use crate::{publisher, subscriber};

/// Arguments that end with status 2, each with a part of the error.
const SENSELESS: &[(&[&str], &str)] = &[
    (&["publish", GROUP, "--history", "10", "x"], "fewer than 16 datagrams"),
    (&["publish", GROUP, "--history", "100G", "x"], "fit into memory"),
    (&["publish", GROUP, "--wait-for", "0", "x"], "1..=16384"),
    (&["publish", GROUP, "--flow", "none", "--evict-after", "1s", "x"], "remove --flow none"),
    (&["publish", GROUP, "--fec", "crowd:50ms", "x"], "use --fec auto:TIME or --fec K+M:TIME"),
    (&["publish", GROUP, "--fec", "20+4:11s", "x"], "use 1 ms to 10 s"),
    (&["publish", GROUP, "--state", "/nowhere/state", "x"], "add --name NAME or --announce NAME"),
    (&["publish", GROUP, "--announce", "prices", "--snapshot", " ", "x"], "name a file"),
    (&["publish", GROUP, "--path", "[ff15::1]:7000", "x"], "all IPv4 or all IPv6"),
    (
        &[
            "publish",
            GROUP,
            "--path",
            "239.1.2.4:7000",
            "--path",
            "239.1.2.5:7000",
            "--path",
            "239.1.2.6:7000",
            "--path",
            "239.1.2.7:7000",
            "x",
        ],
        "at most four paths, not 5",
    ),
    (&["publish", GROUP, "--path", GROUP, "x"], "is given twice"),
    (&["publish", GROUP, "--key", "/dev/null", "x"], "contains no secret"),
    (&["subscribe", GROUP, "--path", "[ff15::1]:7000"], "all IPv4 or all IPv6"),
    (&["subscribe", GROUP, "--policy", "latest:stop"], "reliable:stop"),
    (&["subscribe", GROUP, "--policy", "reliable:snapshot"], "add --from snapshot"),
    (&["subscribe", GROUP, "--history-server", "10.0.0.1:7000"], "remove --history-server"),
    (&["subscribe", "232.1.1.1:7000"], "name the source"),
];

#[test]
fn invalid_combinations_are_usage_errors() {
    let lan = Lan::new();
    for (arguments, error) in SENSELESS {
        let ended = mcast(&lan.a, arguments);
        assert_eq!((ended.status, ended.text()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(error), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_key_file_without_an_end_is_refused() {
    let lan = Lan::new();
    for command in ["publish", "subscribe"] {
        let ended = mcast(&lan.a, &[command, GROUP, "--key", "/dev/zero"]);
        assert_eq!(ended.status, Some(4), "{ended:?}");
        assert!(ended.stderr.contains("too long for a key file"), "{ended:?}");
    }
}

#[test]
fn an_unreadable_key_file_is_reported_with_a_remedy() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for command in ["publish", "subscribe", "sniff", "top"] {
        for (path, remedy) in [("/nowhere", "name an existing key file"), (folder, "created")] {
            let group: &[&str] = if command == "top" { &["--once"] } else { &[GROUP] };
            let ended = mcast(&lan.a, &[&[command, "--key", path], group].concat());
            assert_eq!((ended.status, ended.text()), (Some(4), ""), "{command}: {ended:?}");
            assert!(ended.stderr.contains(&format!("cannot read {path}")), "{command}: {ended:?}");
            assert!(ended.stderr.contains("mcast keys make FILE"), "{command}: {ended:?}");
            assert!(ended.stderr.contains(remedy), "{command}: {ended:?}");
        }
    }
}

#[test]
fn a_message_larger_than_the_buffer_is_refused_with_a_remedy() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    fs::write(&path, vec![7; 16 << 20]).unwrap();
    let name = path.display().to_string();
    let ended = publisher(&lan.a, &[GROUP, "--input", "files", &name]).end();
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--history 32M"), "{ended:?}");

    let running = subscriber(&lan.b, &[GROUP, "--output", "raw"]);
    let arguments = [GROUP, "--wait-for", "1", "--history", "32M", "--input", "files", &name];
    publisher(&lan.a, &arguments).end().succeeded();
    assert!(running.end().succeeded().stdout == vec![7; 16 << 20]);
}

#[test]
fn the_snapshot_file_may_be_created_later() {
    use crate::support::{MCAST, program, start};

    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let arguments = ["publish", "-i", "eth0", GROUP, "--announce", "prices", "--snapshot"];
    let name = path.display().to_string();
    let mut publishing = program(&lan.a, MCAST, &[&arguments[..], &[&name]].concat(), true);
    publishing.stderr.wait_for("serving snapshots");
    fs::write(&path, "there by now\n").unwrap();
    let late = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--from", "snapshot"]);
    late.stderr.wait_for("a snapshot of 13 bytes");
    drop(publishing.child.stdin.take());
    publishing.end().succeeded();
    assert_eq!(late.end().succeeded().text(), "there by now\n");
}
