//! A stream with a snapshot between sites.

use std::fs;
use std::io::Write;

use serde_json::Value;

use crate::network::{of_type, stop};
use crate::sites::{HUB, Sites};
use crate::support::{MCAST, Running, eventually, program, start};

const GROUP: &str = "239.1.2.3:7000";
const LINES: u64 = 500;

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| format!("{number} {}\n", "x".repeat(700))).collect()
}

fn write(publisher: &mut Running, numbers: std::ops::Range<u64>) {
    publisher.child.stdin.as_mut().unwrap().write_all(lines(numbers).as_bytes()).unwrap();
}

/// Returns how often a relay has reported this event.
fn reported(relay: &Running, event: &str) -> usize {
    relay.stdout.text().matches(&format!(r#""event":"{event}""#)).count()
}

/// The snapshot is a connection of its own, between routed networks. The stream after it comes through the tunnel.
#[test]
fn keys_of_a_tunnel_that_change_while_a_snapshot_is_read_cost_no_message() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    for (site, other, next) in [(&hub, "10.12.0.0/24", "203.0.113.12"), (&oslo, "10.1.0.0/24", "203.0.113.1")]
    {
        site.relay.sysctl("net/ipv4/ip_forward", "1").unwrap();
        site.relay.add_route_via(other, next).unwrap();
        site.host.add_route_via(other, &format!("10.{}.0.9", site.number)).unwrap();
    }
    // The stream, and the announcements with the address of the snapshot.
    let groups = [GROUP, "239.255.251.67:7767"];
    let [from_hub, to_oslo] = [
        groups.map(|group| format!("{group} from eth0 to tunnel:oslo")),
        groups.map(|group| format!("{group} from tunnel:oslo to eth0")),
    ];
    let of_hub = [from_hub[0].as_str(), &from_hub[1], "--listen-tunnel", "0.0.0.0:5700"];
    let dial = format!("oslo={HUB}");
    let of_oslo = [to_oslo[0].as_str(), &to_oslo[1], "--tunnel", &dial];
    let (relay_of_hub, relay_of_oslo) = (sites.relay(&hub, &of_hub), sites.relay(&oslo, &of_oslo));
    relay_of_oslo.stdout.wait_for(r#""event":"tunnel-up""#);

    // The state is there when the test permits it.
    let [state, asked, permitted] = ["state", "asked", "permitted"].map(|name| sites.file(name));
    fs::write(&state, lines(0..LINES)).unwrap();
    let command = format!("touch {asked}; until [ -e {permitted} ]; do sleep 0.02; done; cat {state}");
    let options =
        ["publish", "-i", "eth0", GROUP, "--announce", "prices", "--ttl", "8", "--json", "--linger", "1m"];
    let mut publisher = program(&hub.host, MCAST, &[&options[..], &["--snapshot", &command]].concat(), true);
    write(&mut publisher, 0..LINES);
    publisher.stderr.wait_for("serving snapshots");
    let late = start(&oslo.host, &["subscribe", "-i", "eth0", "prices", "--from", "snapshot", "--json"]);
    eventually("the request for the snapshot", || fs::exists(&asked).unwrap());
    write(&mut publisher, LINES..2 * LINES);

    // The old key of the site is no longer a peer, and its relay does not have the new one yet.
    sites.renew_key(&oslo);
    sites.key(&hub, &of_hub);
    relay_of_hub.child.signal(libc::SIGHUP).unwrap();
    relay_of_oslo.stdout.wait_for(r#""event":"tunnel-down""#);
    write(&mut publisher, 2 * LINES..3 * LINES);
    sites.key(&oslo, &of_oslo);
    relay_of_oslo.child.signal(libc::SIGHUP).unwrap();
    eventually("the tunnel with the new key", || reported(&relay_of_oslo, "tunnel-up") == 2);
    assert!(!late.stdout.text().contains(r#""event":"snapshot""#), "it was still being read");
    fs::write(&permitted, "").unwrap();
    late.stdout.wait_for(r#""event":"snapshot""#);
    write(&mut publisher, 3 * LINES..4 * LINES);
    drop(publisher.child.stdin.take());

    let published = publisher.end().succeeded();
    let ended = late.end().succeeded();
    let rows = ended.json();
    let snapshot = of_type(&rows, "snapshot");
    let first = snapshot[0]["sequence"].as_u64().unwrap();
    assert_eq!((snapshot.len(), snapshot[0]["text"].as_str()), (1, Some(&*lines(0..LINES))));
    // What was published while the state was read is in neither, or in both.
    let messages = of_type(&rows, "message");
    let expected: Vec<_> = lines(first..4 * LINES).lines().map(str::to_owned).collect();
    let delivered: Vec<_> = messages.iter().map(|message| message["text"].as_str().unwrap()).collect();
    assert!(first <= LINES && delivered == expected, "from {first}: {:?}", ended.stderr);
    let summary = rows.last().unwrap();
    let report: Value = published.json().pop().unwrap();
    assert_eq!(
        (&summary["lost_messages"], &report["messages"]),
        (&0.into(), &(4 * LINES).into()),
        "{summary} {report}"
    );
    assert_eq!(report["subscribers"][0]["lost_messages"], 0, "{report}");
    let downs =
        [stop(relay_of_hub), stop(relay_of_oslo)].map(|(events, _)| of_type(&events, "tunnel-down").len());
    assert!(downs.iter().all(|downs| *downs > 0), "{downs:?}");
}
