//! Interfaces that appear and vanish while `mcast top` runs.

use crate::streams::{GROUP, objects, rtp, socket, top};
use crate::support::{Lan, eventually, packets_received, send};

#[test]
fn new_and_returning_interfaces_are_watched_and_joined_on() {
    let lan = Lan::new();
    let other = lan.lab.switch("other").unwrap();
    lan.a.connect("eth1", &other, &["10.1.0.1/24"]).unwrap();
    let watching = top(&lan.b, &["--json", "--interval", "100ms", "239.1.2.3", "--join"]);

    for _ in 0..2 {
        let before = watching.stdout.text().matches(r#""interface":"eth1""#).count();
        lan.b.connect("eth1", &other, &["10.1.0.2/24"]).unwrap();
        eventually("the stream on the new interface", || {
            send(&lan.a, &[GROUP, "-i", "eth1", "new"]);
            watching.stdout.text().matches(r#""interface":"eth1""#).count() > before
        });
        eventually("the membership on it", || {
            let table = lan.b.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp").unwrap()).unwrap();
            let of_it = table.split("eth1").nth(1).unwrap_or_default();
            of_it.contains("030201EF")
        });
        lan.b.delete_interface("eth1").unwrap();
    }

    let streams = objects(&watching.signalled(2), "stream");
    assert!(streams.iter().any(|stream| stream["interface"] == "eth1"), "{streams:?}");
}

#[test]
fn datagrams_on_other_interfaces_are_counted_once_during_a_change() {
    let lan = Lan::new();
    let other = lan.lab.switch("other").unwrap();
    let watching = top(&lan.b, &["--json", "--interval", "100", "239.1.2.3", "-v"]);
    let sender = socket(&lan.a);
    let before = packets_received(&lan.b);
    for number in 0..3_000_u16 {
        sender.send_to(&rtp(number), GROUP).unwrap();
        if number % 1_000 == 500 {
            lan.b.connect(&format!("eth{}", 1 + number / 1_000), &other, &[]).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
    // On a busy machine, the kernel delivers the last datagrams a while after they were sent.
    eventually("all to come in", || packets_received(&lan.b) - before >= 3_000);
    let streams = objects(&watching.signalled(2), "stream");
    assert_eq!((&streams[0]["datagrams"], &streams[0]["lost"]), (&3_000.into(), &0.into()));
    assert_eq!(streams[0]["duplicated"], 0);
}
