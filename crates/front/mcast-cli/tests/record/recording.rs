//! `mcast record`: selection and content.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::tempdir;

use crate::files::{Datagram, read, record, record_without_rights};
use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, eventually, mcast, program, send, start};

const GROUPS: [&str; 2] = ["239.1.2.3:5000", "[ff15::1:3]:5000"];
const GROUP: &str = GROUPS[0];

#[test]
fn a_group_that_cannot_be_joined_is_reported_with_the_requested_port() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.pcapng");
    for (membership, error) in [
        ("239.1.2.3%eth7:5000", "cannot join 239.1.2.3:5000 on eth7: no such interface"),
        ("232.1.2.3:5000", "cannot join 232.1.2.3:5000: the group is source-specific"),
    ] {
        let refused = mcast(&lan.b, &["record", membership, "-w", path.to_str().unwrap()]);
        assert!(refused.stderr.contains(error), "{refused:?}");
    }
}

#[test]
fn exactly_the_group_is_recorded_unchanged() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    for (number, group) in GROUPS.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.pcapng"));
        let running = record(
            &lan.b,
            &[group, "-i", "eth0", "-w", path.to_str().unwrap(), "-c", "3", "-W", "20s", "--json"],
        );
        let before = SystemTime::now();
        let other_port = group.replace(":5000", ":5001");
        let other_group = group.replace("3:", "4:").replace("3]", "4]");
        for text in ["one", "two", "three"] {
            send(&lan.a, &[&other_port, "-i", "eth0", "other port"]);
            send(&lan.a, &[&other_group, "-i", "eth0", "other group"]);
            send(&lan.a, &[group, "-i", "eth0", "-t", "7", "--dscp", "EF", text]);
        }
        let ended = running.end().succeeded();
        let datagrams = read(&path);
        assert_eq!(datagrams.iter().map(Datagram::text).collect::<Vec<_>>(), ["one", "two", "three"]);
        for datagram in &datagrams {
            assert_eq!(datagram.destination.to_string(), group);
            assert_eq!((datagram.hop_limit, datagram.dscp), (7, 46));
            assert!(datagram.time > before && datagram.time < SystemTime::now());
        }
        let objects = ended.json();
        assert_valid("record-file", &objects[0]);
        assert_valid("record-summary", &objects[1]);
        assert_eq!((objects[0]["frames"].as_u64(), objects[1]["datagrams"].as_u64()), (Some(3), Some(3)));
        assert_eq!(objects[1]["via"], "wire");
        assert_eq!(objects[1]["flows"][0]["interface"], "eth0");
    }
}

#[test]
fn recording_to_a_pipe_ends_when_it_is_closed() {
    let lan = Lan::new();
    let script =
        format!("{{ {MCAST} record {GROUP} -w -; echo \"status $?\" >&2; }} | head -c 10 >/dev/null");
    let mut running = program(&lan.b, "sh", &["-c", &script], false);
    running.stderr.wait_for("recording from");
    eventually("the recorder ends", || {
        send(&lan.a, &[GROUP, "-i", "eth0", "--random", "1000", "-c", "10"]);
        running.child.try_wait().unwrap().is_some()
    });
    let ended = running.end();
    assert!(ended.stderr.ends_with("status 0\n"), "{ended:?}");
    assert!(!ended.stderr.contains("error") && !ended.stderr.contains("until there is room"), "{ended:?}");
}

#[test]
fn without_the_right_to_capture_sockets_are_recorded() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    for (number, group) in GROUPS.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.pcapng"));
        let arguments = [group, "-i", "eth0", "-w", path.to_str().unwrap(), "-c", "2", "-W", "20s", "--json"];
        let running = record_without_rights(&lan.b, &arguments);
        assert!(running.stderr.text().contains("CAP_NET_RAW"), "{}", running.stderr.text());
        send(&lan.a, &[group, "-i", "eth0", "-t", "7", "--dscp", "EF", "--source-port", "6000", "one"]);
        send(&lan.a, &[group, "-i", "eth0", "--random", "20000"]);
        let ended = running.end().succeeded();
        assert_eq!(ended.json()[1]["via"], "sockets");
        let datagrams = read(&path);
        assert_eq!(datagrams[0].text(), "one");
        assert_eq!((datagrams[0].hop_limit, datagrams[0].dscp, datagrams[0].source.port()), (7, 46, 6000));
        assert_eq!(datagrams[0].destination.to_string(), group);
        assert_eq!(datagrams[1].payload.len(), 20_000);
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.windows(13).any(|text| text == b"reconstructed"), "no comment in the file");
    }
    let path = folder.path().join("refused.pcapng");
    let insisting = [GROUP, "-w", path.to_str().unwrap(), "--via", "wire"];
    let drop = ["--bounding-set=-net_raw", crate::support::MCAST, "record"];
    let refused = crate::support::program(&lan.b, "setpriv", &[&drop[..], &insisting].concat(), false).end();
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("CAP_NET_RAW"), "{refused:?}");
}

#[test]
fn fragments_are_recorded_with_the_datagram_they_belong_to() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("fragments.pcapng");
    let running =
        record(&lan.b, &[GROUP, "-w", path.to_str().unwrap(), "--idle", "5s", "-W", "60s", "--json"]);
    send(&lan.a, &[GROUP, "-i", "eth0", "--random", "4000"]);
    let ended = running.end().succeeded();
    let summary = &ended.json()[1];
    assert_eq!(
        ["datagrams", "frames", "fragments"].map(|name| summary[name].as_u64().unwrap()),
        [1, 3, 2],
        "{summary}"
    );
}

#[test]
fn only_the_named_source_is_recorded() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("source.pcapng");
    let wanted = format!("10.0.0.1@{GROUP}");
    // Another program on the host joins all sources, so the kernel and the switch forward all of them.
    let everyone = crate::support::recv(&lan.b, &[GROUP, "--discard"]);
    let running = record(&lan.b, &[&wanted, "-w", path.to_str().unwrap(), "-c", "2", "-W", "20s"]);
    for text in ["one", "two"] {
        send(&lan.c, &[GROUP, "-i", "eth0", "not wanted"]);
        send(&lan.a, &[GROUP, "-i", "eth0", text]);
    }
    running.end().succeeded();
    everyone.signalled(libc::SIGINT);
    assert_eq!(read(&path).iter().map(Datagram::text).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn datagrams_on_loopback_are_recorded_once() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let paths = ["lo", "eth0"].map(|by| (by, folder.path().join(format!("{by}.pcapng"))));
    let running = paths.each_ref().map(|(by, path)| {
        let end = ["--idle", "4s", "-W", "60s", "--expect", "2"];
        record(&lan.a, &[&[GROUP, "-i", by, "-w", path.to_str().unwrap()][..], &end].concat())
    });
    for (by, _) in &paths {
        send(&lan.a, &[GROUP, "-i", by, "once", "twice"]);
    }
    for (running, (by, path)) in running.into_iter().zip(paths) {
        running.end().succeeded();
        assert_eq!(read(&path).iter().map(Datagram::text).collect::<Vec<_>>(), ["once", "twice"], "{by}");
    }
}

#[test]
fn several_ports_and_interfaces_are_one_file() {
    let lan = Lan::new();
    lan.b.connect("eth1", &lan.switch, &["10.1.0.2/24"]).unwrap();
    let folder = tempdir().unwrap();
    let path = folder.path().join("several.pcapng");
    let running = record(
        &lan.b,
        &[
            "239.1.2.3:5000-5001",
            "-i",
            "eth0",
            "-i",
            "eth1",
            "-w",
            path.to_str().unwrap(),
            "-c",
            "4",
            "-W",
            "20s",
        ],
    );
    send(&lan.a, &["239.1.2.3:5000", "239.1.2.3:5001", "-i", "eth0", "x"]);
    running.end().succeeded();
    let mut ports: Vec<_> = read(&path).iter().map(|each| each.destination.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [5000, 5000, 5001, 5001]);
}

#[test]
fn tshark_reads_a_recording() {
    if Command::new("tshark").arg("--version").output().is_err() {
        mcast_lab::skip("tshark reads recordings: it is not installed");
        return;
    }
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("stream.pcapng");
    let running = record(&lan.b, &[GROUP, "-w", path.to_str().unwrap(), "-c", "2", "-W", "20s"]);
    send(&lan.a, &[GROUP, "-i", "eth0", "hello", "again"]);
    running.end().succeeded();
    let fields = ["frame.interface_name", "ip.src", "ip.dst", "udp.dstport", "udp.length", "ip.ttl"];
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-r"]).arg(&path);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let printed = String::from_utf8(tshark.output().unwrap().stdout).unwrap();
    assert_eq!(printed, "eth0\t10.0.0.1\t239.1.2.3\t5000\t13\t1\n".repeat(2));
}

#[test]
fn too_few_datagrams_are_status_1_and_existing_files_are_kept() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("there.pcapng");
    let arguments = ["record", GROUP, "-w", path.to_str().unwrap(), "-W", "300ms"];
    let nothing = mcast(&lan.b, &arguments);
    assert_eq!(nothing.status, Some(1), "{nothing:?}");
    assert!(read(&path).is_empty());
    let there = std::fs::read(&path).unwrap();
    let again = mcast(&lan.b, &arguments);
    assert_eq!(again.status, Some(4), "{again:?}");
    assert!(again.stderr.contains("already exists") && again.stderr.contains("--force"), "{again:?}");
    assert_eq!(std::fs::read(&path).unwrap(), there);
    let forced = mcast(&lan.b, &[&arguments[..], &["--force", "--expect", "0"]].concat());
    assert_eq!(forced.status, Some(0), "{forced:?}");
}

#[test]
fn bad_arguments_are_usage_errors() {
    let lan = Lan::new();
    for arguments in [
        &["record", GROUP][..],
        &["record", GROUP, "-w", "-", "--json"],
        &["record", GROUP, "-w", "-", "--rotate", "1h"],
        &["record", GROUP, "-w", "x.pcapng", "--rotate", "10"],
        &["record", GROUP, "-w", "x.pcapng", "--keep", "3"],
        &["record", "10.0.0.1:5000", "-w", "x.pcapng"],
    ] {
        let ended = mcast(&lan.b, arguments);
        assert_eq!(ended.status, Some(2), "{arguments:?}: {ended:?}");
    }
    let nowhere = mcast(&lan.b, &["record", GROUP, "-w", "/no/such/folder/x.pcapng"]);
    assert_eq!(nowhere.status, Some(4), "{nowhere:?}");
}

#[test]
fn recreated_interfaces_are_recorded_with_follow() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("again.pcapng");
    let running = record(
        &lan.b,
        &[GROUP, "-i", "eth0", "--follow", "-w", path.to_str().unwrap(), "--idle", "20s", "-c", "2"],
    );
    send(&lan.a, &[GROUP, "-i", "eth0", "before"]);
    lan.b.delete_interface("eth0").unwrap();
    running.stderr.wait_for("waiting for an interface");
    lan.b.connect("eth0", &lan.switch, &["10.0.0.2/24"]).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while running.child.id() > 0 && read_count(&running) < 2 {
        assert!(std::time::Instant::now() < deadline, "{}", running.stderr.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    send(&lan.a, &[GROUP, "-i", "eth0", "after"]);
    running.end().succeeded();
    assert_eq!(read(&path).iter().map(Datagram::text).collect::<Vec<_>>(), ["before", "after"]);
}

/// Returns how many joins it has reported.
fn read_count(running: &crate::support::Running) -> usize {
    running.stderr.text().matches("joined on eth0").count()
}

#[test]
fn a_recording_past_the_socket_misses_nothing_when_another_program_begins_to_receive() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("taken.pcapng");
    let on_b = [GROUP, "-i", "eth0", "-w", path.to_str().unwrap(), "--json", "--wire", "auto"];
    let running = record(&lan.b, &on_b);
    let is_taken = running.stderr.text().contains("taken off the interface (AF_XDP)");
    let needs_rights = running.stderr.text().contains("CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed");
    assert_ne!(is_taken, needs_rights, "{}", running.stderr.text());

    let mut sender = program(&lan.a, MCAST, &["send", "-q", GROUP, "-i", "eth0", "-t", "7"], true);
    let mut input = sender.child.stdin.take().unwrap();
    let mut sent = 0;
    let mut send_line = || {
        sent += 1;
        writeln!(input, "{sent}").unwrap();
    };
    (0..100).for_each(|_| send_line());
    let other = start(&lan.b, &["recv", GROUP, "-i", "eth0", "--format", "text"]);
    eventually("the recording notices the other program", || {
        send_line();
        !is_taken || running.stderr.text().contains("receives on this port, too")
    });
    (0..100).for_each(|_| send_line());
    drop(input);
    other.stdout.wait_for(&format!("{sent}\n"));
    let last = sent.to_string();
    eventually("the last datagram is in the file", || {
        std::fs::read(&path).unwrap().windows(last.len()).any(|window| window == last.as_bytes())
    });

    let ended = running.signalled(libc::SIGINT);
    let numbers: Vec<u32> = read(&path).iter().map(|datagram| datagram.text().parse().unwrap()).collect();
    let mut sorted = numbers.clone();
    // What was taken and what arrived by the socket may be in another order.
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=sent).collect::<Vec<_>>(), "{ended:?}");
    assert!(read(&path).iter().all(|datagram| datagram.hop_limit == 7));
    let summary = ended.json().pop().unwrap();
    assert_valid("record-summary", &summary);
    assert_eq!(summary["via"], "sockets");
    let why = summary["wire"][0]["reason"].as_str().expect("it is received by the socket");
    assert!(why.contains(if is_taken { "receives on this port, too" } else { "CAP_BPF" }), "{summary}");
}

#[test]
fn a_capture_is_not_combined_with_taking_frames_away() {
    let lan = Lan::new();
    let arguments = ["record", GROUP, "-w", "/dev/null", "--force", "--via", "wire", "--wire", "auto"];
    let refused = mcast(&lan.b, &arguments);
    assert_eq!(refused.status, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--via wire captures copies of frames"), "{refused:?}");
}

#[test]
fn an_interface_that_has_vanished_keeps_its_name() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("gone.pcapng");
    let arguments = [GROUP, "-i", "eth0", "-w", path.to_str().unwrap(), "--json", "--follow"];
    let running = record(&lan.b, &arguments);
    send(&lan.a, &[GROUP, "-i", "eth0", "before"]);
    eventually("the datagram in the file", || {
        std::fs::read(&path).unwrap().windows(6).any(|window| window == b"before")
    });
    lan.b.delete_interface("eth0").unwrap();
    let ended = running.signalled(libc::SIGINT);
    let summary = ended.json().pop().unwrap();
    assert_eq!(summary["flows"][0]["interface"], "eth0", "{summary}");
}
