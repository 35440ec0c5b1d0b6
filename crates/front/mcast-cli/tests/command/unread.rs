//! Commands continue while nobody reads what they report.

use std::fs;
use std::process::Stdio;

use crate::stalled::{Stalled, start_stalled};
use crate::support::{Lan, eventually, mcast, send, start};

const GROUP: &str = "239.255.1.3:5000";

/// Feeds a command with lines.
fn lines(count: usize) -> Stdio {
    let mut file = tempfile::tempfile().unwrap();
    let text: String = (0..count).map(|number| format!("message {number}\n")).collect();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    Stdio::from(file)
}

#[test]
fn a_publisher_publishes() {
    for stalled in Stalled::EACH {
        let lan = Lan::new();
        let subscriber = start(&lan.b, &["subscribe", "239.255.1.3%eth0:7000", "-W", "30s"]);
        let arguments = ["publish", "239.255.1.3%eth0:7000", "--wait-for", "1", "-v", "--json"];
        let mut publisher = start_stalled(&lan.a, stalled, &arguments, lines(500));
        let received = subscriber.end();
        assert_eq!(received.lines().len(), 500, "{stalled:?}: {received:?}");
        assert_eq!(publisher.ended(), Some(0), "{stalled:?}");
    }
}

#[test]
fn a_recording_is_written() {
    for stalled in Stalled::EACH {
        let (lan, folder) = (Lan::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("all.pcapng");
        let arguments = ["record", GROUP, "-i", "eth0", "-w", path.to_str().unwrap(), "--json", "-v"];
        let recording = start_stalled(&lan.b, stalled, &arguments, Stdio::null());
        eventually("frames in the file", || {
            send(&lan.a, &[GROUP, "-i", "eth0", "recorded"]);
            fs::read(&path).is_ok_and(|file| file.windows(8).any(|bytes| bytes == b"recorded"))
        });
        assert_eq!(recording.interrupted(), Some(130), "{stalled:?}");
    }
}

#[test]
fn a_measurement_ends() {
    for stalled in Stalled::EACH {
        let lan = Lan::new();
        let arguments = ["perf", "recv", GROUP, "-i", "eth0", "--json", "-v", "-W", "4s"];
        let mut measuring = start_stalled(&lan.b, stalled, &arguments, Stdio::null());
        let mut sending = start_stalled(
            &lan.a,
            stalled,
            &["perf", "send", GROUP, "-i", "eth0", "--rate", "1kpps", "-c", "1000", "--json"],
            Stdio::null(),
        );
        assert_eq!(sending.ended(), Some(0), "{stalled:?}");
        assert!(measuring.ended().is_some(), "{stalled:?}");
    }
}

#[test]
fn datagrams_messages_and_packets_are_printed_while_nobody_reads_the_notes() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 2] = [
        &["recv", GROUP, "-i", "eth0", "-v", "--exec", "cat >> $FOLDER/recv"],
        &["sniff", GROUP, "-i", "eth0", "-v", "-w", "$FOLDER/sniff"],
    ];
    for arguments in commands {
        let folder = folder.path().to_str().unwrap();
        let file = format!("{folder}/{}", arguments[0]);
        let arguments: Vec<String> = arguments.iter().map(|text| text.replace("$FOLDER", folder)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let running = start_stalled(&lan.b, Stalled::Error, &arguments, Stdio::null());
        eventually("a datagram", || {
            send(&lan.a, &[GROUP, "-i", "eth0", "hello"]);
            fs::read(&file).is_ok_and(|bytes| bytes.windows(5).any(|bytes| bytes == b"hello"))
        });
        assert_eq!(running.interrupted(), Some(130), "{file}");
    }
}

#[test]
fn a_querier_queries_while_nobody_reads_its_events() {
    for stalled in Stalled::EACH {
        let lan = Lan::new();
        let querier = start_stalled(
            &lan.a,
            stalled,
            &[
                "querier",
                "-i",
                "eth0",
                "--become",
                "--query-interval",
                "2s",
                "--response-interval",
                "1s",
                "--json",
            ],
            Stdio::null(),
        );
        // Without a time, it ends when it knows one.
        mcast(&lan.b, &["querier", "-i", "eth0"]).succeeded();
        assert_eq!(querier.interrupted(), Some(130), "{stalled:?}");
    }
}
