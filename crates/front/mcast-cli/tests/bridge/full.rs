//! A bridge whose events are written to a file on a disk that is full.

use std::fs::{File, remove_file};
use std::io::{Read, Seek};
use std::path::PathBuf;

use serde_json::Value;

use crate::engine::{Engine, Setup};
use crate::network::{Network, close, write};
use crate::redis::Redis;
use crate::support::{MCAST, eventually, program};

#[test]
fn a_bridge_stores_messages_while_its_events_cannot_be_written_and_writes_them_later() {
    let network = Network::new([0.0; 2]);
    let Some(redis) = Redis::start(&network, Setup::Plain) else { return };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k small {disk} && (head -c 100000 /dev/zero > {disk}/ballast || true) && \
         exec {MCAST} bridge 239.1.2.3%eth0:7000 to '{}' --name prices --stay --json > {disk}/events",
        redis.url()
    );
    let bridge = program(&network.bridges[0], "unshare", &["-m", "sh", "-c", &script], false);
    bridge.stderr.wait_for("No space left on device (os error 28); events are written when there is room");
    // With the end of the stream.
    for count in [101, 202] {
        let mut publisher = network.publish(&["--wait-for", "1"]);
        write(&mut publisher, 0..100);
        close(&mut publisher);
        publisher.end().succeeded();
        eventually("messages in the engine", || redis.length() == count);
    }
    // What the bridge sees, whose mounts are its own.
    let seen = |name: &str| PathBuf::from(format!("/proc/{}/root{disk}/{name}", bridge.child.id()));
    let mut events = File::open(seen("events")).unwrap();
    assert_eq!(events.metadata().unwrap().len(), 0);
    remove_file(seen("ballast")).unwrap();
    bridge.stderr.wait_for("standard output can be written again: no event is missing there");

    let ended = bridge.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let mut text = String::new();
    events.rewind().unwrap();
    events.read_to_string(&mut text).unwrap();
    let names: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect();
    let expected = ["connected", "joined", "ended", "restarted", "joined", "ended", "summary"];
    assert_eq!(names, expected, "{text}");
}
