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

/// It returns with its index, as from a container that had it.
#[test]
fn an_interface_that_was_in_another_namespace_is_watched_again() {
    let lan = Lan::new();
    let ip = |host: &mcast_lab::Host, arguments: &str| {
        let ended = host.command("ip").unwrap().args(arguments.split(' ')).status().unwrap();
        assert!(ended.success(), "{arguments}");
    };
    ip(&lan.b, "link add eth1 type veth peer name eth2");
    for (name, address) in [("eth1", "10.1.0.2/24"), ("eth2", "10.1.0.1/24")] {
        ip(&lan.b, &format!("address add {address} dev {name}"));
        ip(&lan.b, &format!("link set {name} up"));
    }
    let index = lan.b.interface_index("eth1").unwrap();
    let watching = top(&lan.b, &["--json", "--interval", "100ms", "239.1.2.3", "-i", "eth1"]);
    let sent = std::cell::Cell::new(0);
    let is_seen = |text: &str| {
        let datagrams = || {
            let text = watching.stdout.text();
            let records =
                text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            records.filter_map(|record| record["datagrams"].as_u64()).max().unwrap_or_default()
        };
        let before = sent.get();
        eventually("the stream on the interface", || {
            send(&lan.b, &[GROUP, "-i", "eth2", text]);
            sent.set(sent.get() + 1);
            datagrams() > before
        });
    };
    is_seen("before");
    let mut guest = lan.c.command("sleep").unwrap().arg("60").spawn().unwrap();
    ip(&lan.b, &format!("link set eth1 netns {}", guest.id()));
    ip(&lan.c, &format!("link set eth1 netns {}", watching.child.id()));
    ip(&lan.b, "address add 10.1.0.2/24 dev eth1");
    ip(&lan.b, "link set eth1 up");
    assert_eq!(lan.b.interface_index("eth1").unwrap(), index);
    guest.kill().unwrap();
    guest.wait().unwrap();
    is_seen("after");
    watching.signalled(2);
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
