//! `--control`: IGMP, MLD and PIM.

use crate::schemas::assert_valid;
use crate::sniff;
use crate::support::{Lan, recv};

#[test]
fn joins_and_leaves_are_shown_with_their_sources() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &["--control", "232.1.2.3", "-c", "2", "--json"]);
    let other = recv(&lan.a, &["239.9.9.9:5000", "-W", "10"]);
    let receiver = recv(&lan.a, &["10.0.0.7@232.1.2.3:5000"]);
    sniffer.stdout.wait_for("232.1.2.3");
    receiver.signalled(libc::SIGINT);
    let objects = sniffer.end().succeeded().json();
    objects.iter().for_each(|object| assert_valid("packet", object));
    let record = &objects[0]["control"]["records"][0];
    assert_eq!((&objects[0]["control"]["version"], &objects[0]["protocol"]), (&3.into(), &"igmp".into()));
    assert_eq!(record["group"], "232.1.2.3");
    assert_eq!(
        (&record["kind"], &record["sources"]),
        (&"allow-new-sources".into(), &serde_json::json!(["10.0.0.7"]))
    );
    other.signalled(libc::SIGINT);
}

#[test]
fn both_families_are_shown_and_data_is_not() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &["--control", "-W", "30"]);
    let receiver = recv(&lan.a, &["239.255.1.2:5000", "[ff15::7]:5000"]);
    crate::support::send(&lan.b, &["239.255.1.2:5000", "data"]);
    sniffer.stdout.wait_for("IGMPv3 report 10.0.0.1: join 239.255.1.2 (exclude none)");
    sniffer.stdout.wait_for("join ff15::7 (exclude none)");
    receiver.signalled(libc::SIGINT);
    sniffer.stdout.wait_for("leave 239.255.1.2");
    let ended = sniffer.signalled(libc::SIGINT);
    assert!(!ended.text().contains("UDP"), "{}", ended.text());
    assert!(ended.stderr.contains("; IGMP: "), "{}", ended.stderr);
}
