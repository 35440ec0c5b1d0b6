//! Clocks that are set while a sealed stream is published and stored.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use crate::audit::records;
use crate::engine::{Engine, Setup};
use crate::network::{Network, close, write};
use crate::redis::Redis;
use crate::support::{MCAST, Running, eventually, mcast, program};

const HOUR: i64 = 3_600;
/// What the clock of all programs is ahead of the right time, one after the other.
const AHEAD: [i64; 4] = [0, HOUR, -HOUR, 0];

/// Returns the library that sets the clock of a program.
fn library() -> Option<PathBuf> {
    if !mcast_lab::has_program("faketime", "--version", "clocks that are set") {
        return None;
    }
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let of = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    let library = folders.map(|folder| of(folder.unwrap().path())).find(|library| library.exists());
    Some(library.expect("the library of faketime"))
}

#[test]
fn a_clock_that_is_set_by_an_hour_neither_delays_nor_loses_messages_of_a_sealed_stream() {
    let Some(library) = library() else { return };
    let network = Network::new([0.0; 2]);
    let Some(redis) = Redis::start(&network, Setup::Plain) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [clock, key] =
        ["clock", "key"].map(|name| folder.path().join(name).into_os_string().into_string().unwrap());
    mcast(&network.publisher, &["keys", "make", &key]).succeeded();
    let set = |ahead: i64| std::fs::write(&clock, format!("{ahead:+}s\n")).unwrap();
    set(AHEAD[0]);
    // The monotonic clock of a system is never set.
    let environment = [
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={clock}"),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let start = |host: &mcast_lab::Host, arguments: &[&str]| -> Running {
        let all = environment.iter().map(String::as_str).chain([MCAST]).chain(arguments.iter().copied());
        program(host, "env", &all.collect::<Vec<_>>(), arguments[0] == "publish")
    };
    let groups = ["239.1.2.3%eth0:7000", "239.1.2.4%eth0:7000"];
    let common = ["--name", "prices", "--key", &key];
    let bridge = start(
        &network.bridges[0],
        &[&["bridge", groups[0], "to", &redis.url(), "--json"], &common[..]].concat(),
    );
    bridge.stdout.wait_for(r#""event":"connected""#);
    let subscriber = start(&network.bridges[1], &[&["subscribe", groups[1]], &common[..]].concat());
    let paths = ["publish", groups[0], "--path", "239.1.2.4%eth1:7000", "--wait-for", "2"];
    let mut publisher = start(&network.publisher, &[&paths[..], &common].concat());
    for (round, ahead) in (0..).zip(AHEAD) {
        set(ahead);
        write(&mut publisher, 100 * round..100 * (round + 1));
        eventually("messages in the engine", || redis.length() == 100 * (round + 1));
        subscriber.stdout.wait_for(&format!("message {} ", 100 * round + 99));
        // The bridge reads the clock that was set.
        let stored: i64 = redis.entries().last().unwrap().field("t").unwrap().parse().unwrap();
        let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        assert!(
            (stored - now - 1_000 * ahead).abs() < 1_000 * HOUR / 2,
            "{stored} at {now}, {ahead} s ahead"
        );
    }
    close(&mut publisher);
    publisher.end().succeeded();
    let ended = subscriber.end().succeeded();
    assert!(ended.stderr.contains("lost 0 messages"), "{ended:?}");
    let (events, summary) = records(&bridge.end().succeeded());
    assert_eq!((&summary["gaps"], &summary["superseded"]), (&0.into(), &0.into()), "{events:?}");
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["connected", "joined", "ended"]);
}
