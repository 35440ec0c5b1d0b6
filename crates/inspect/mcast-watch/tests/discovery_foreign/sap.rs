//! SAP with ffmpeg.

use std::collections::BTreeSet;

use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::{Running, Segment, found, has_programs, wait_until};

/// Announces a session of two streams to groups of its own until it is asked to end.
fn start(segment: &Segment, number: usize, name: &str) -> Running {
    let title = format!("title={name}");
    // Two ports for each stream: RTP and RTCP.
    let url = format!("sap://239.1.1.{}:500{}?ttl=2&same_port=0", number + 1, number * 4 % 10);
    let arguments = [
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=64x48:rate=5",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440",
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "mpeg2video",
        "-c:a",
        "mp2",
        "-metadata",
        &title,
        "-f",
        "sap",
        &url,
    ];
    Running::start(&segment.hosts[number], "ffmpeg", &arguments)
}

fn facts(entry: &Discovered) -> Vec<(String, String, String)> {
    let host = entry.host.to_string();
    let streams = entry.fields.iter().filter(|field| field.name.as_bytes() == b"stream");
    streams.map(|stream| (entry.name.to_string(), host.clone(), stream.value.to_string())).collect()
}

#[test]
fn sessions_of_ffmpeg_are_listed_with_their_streams_and_leave_when_it_ends() {
    if !has_programs(&["ffmpeg"]) {
        return;
    }
    let segment = Segment::new(2, 0.0, 0);
    let discoveries = [segment.discover(false, true), segment.discover(false, false)];
    let first = start(&segment, 0, "First session");
    let second = start(&segment, 1, "Second session");
    let session = |number: usize, name: &str| {
        let base = 5000 + number * 4;
        [base, base + 2].map(|port| {
            (name.to_owned(), format!("10.0.0.{}", number + 1), format!("239.1.1.{}:{port}", number + 1))
        })
    };
    let both: BTreeSet<_> =
        [session(0, "First session"), session(1, "Second session")].into_iter().flatten().collect();
    let find = |discovery| found(discovery, DiscoveryProtocol::Sap, facts);
    for discovery in &discoveries {
        let took = wait_until("both sessions", discovery, &both, || find(discovery));
        eprintln!("both sessions after {took:?}");
    }
    // It deletes its session when it ends, and announces another one when it starts again.
    first.end();
    let second_only: BTreeSet<_> = session(1, "Second session").into_iter().collect();
    for discovery in &discoveries {
        wait_until("a deletion", discovery, &second_only, || find(discovery));
    }
    let first = start(&segment, 0, "Renamed session");
    let renamed: BTreeSet<_> =
        [session(0, "Renamed session"), session(1, "Second session")].into_iter().flatten().collect();
    for discovery in &discoveries {
        wait_until("another name", discovery, &renamed, || find(discovery));
    }
    drop((first, second));
}

#[test]
fn session_of_vlc_is_listed_with_its_stream() {
    if !has_programs(&["ffmpeg", "cvlc", "setpriv"]) {
        return;
    }
    let segment = Segment::new(1, 0.0, 0);
    let discoveries = [segment.discover(false, true), segment.discover(false, false)];
    let folder = tempfile::tempdir().unwrap();
    let movie = folder.path().join("movie.ts").display().to_string();
    let source = "testsrc=size=64x48:rate=5:duration=60";
    let arguments = ["-f", "lavfi", "-i", source, "-c:v", "mpeg2video", "-f", "mpegts", &movie];
    crate::output(&segment.hosts[0], "ffmpeg", &arguments);
    std::process::Command::new("chmod")
        .args(["-R", "a+rX", &folder.path().display().to_string()])
        .status()
        .unwrap();
    // It does not run as root.
    let out = "#rtp{dst=239.255.1.9,port=5004,mux=ts,sap,name=Session of VLC,ttl=2}";
    let vlc =
        ["--reuid=65534", "--regid=65534", "--clear-groups", "cvlc", "-q", "--loop", &movie, "--sout", out];
    let running = Running::start(&segment.hosts[0], "setpriv", &vlc);
    let session = BTreeSet::from([("Session of VLC".to_owned(), "239.255.1.9:5004".to_owned())]);
    // It names its host by what the system calls it.
    let of_vlc = |entry: &Discovered| {
        let facts = facts(entry).into_iter();
        facts.map(|(name, _, stream)| (name, stream)).collect::<Vec<_>>()
    };
    let find = |discovery| found(discovery, DiscoveryProtocol::Sap, of_vlc);
    for discovery in &discoveries {
        let took = wait_until("the session", discovery, &session, || find(discovery));
        eprintln!("the session after {took:?}");
    }
    drop(running);
}
