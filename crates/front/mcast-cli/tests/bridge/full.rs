//! A bridge whose events are written to a file on a disk that is full.

use std::io::Read;

use serde_json::Value;

use crate::engine::{Engine, Setup};
use crate::full_disk::FullDisk;
use crate::network::{Network, close, write};
use crate::redis::Redis;
use crate::support::{MCAST, eventually};

#[test]
fn a_bridge_stores_messages_while_its_events_cannot_be_written_and_writes_them_later() {
    let network = Network::new([0.0; 2]);
    let Some(redis) = Redis::start(&network, Setup::Plain) else { return };
    let disk = FullDisk::new();
    let url = redis.url();
    let command = format!("{MCAST} bridge 239.1.2.3%eth0:7000 to '{url}' --name prices --stay --json");
    let bridge = disk.start(&network.bridges[0], &command);
    // With the end of the stream.
    for count in [101, 202] {
        let mut publisher = network.publish(&["--wait-for", "1"]);
        write(&mut publisher, 0..100);
        close(&mut publisher);
        publisher.end().succeeded();
        eventually("messages in the broker", || redis.length() == count);
    }
    let mut output = disk.make_room(&bridge);
    let ended = bridge.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let names: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect();
    let expected = ["connected", "joined", "ended", "restarted", "joined", "ended", "summary"];
    assert_eq!(names, expected, "{text}");
}
