//! `subscribe --repair-for-others`: a subscriber near the one that loses datagrams repairs, and the publisher is far.

use std::io::Write;
use std::time::Duration;

use mcast_lab::{Host, Impairment, Lab};
use serde_json::Value;

use crate::schemas::assert_valid;
use crate::support::{MCAST, Running, program};
use crate::{GROUP, subscriber};

const MESSAGES: usize = 4_000;

/// The delay to the publisher, longer than a process of a loaded machine takes to answer: a subscriber asks no repairer for
/// ten seconds that seemed farther than the publisher.
const FAR: Duration = Duration::from_millis(100);

/// The hosts of a publisher, of a repairer, and of a subscriber that loses a twentieth.
fn site() -> (Lab, [Host; 3], [mcast_lab::BadLink; 2]) {
    let lab = Lab::new().unwrap();
    let switch = lab.switch("lan").unwrap();
    let hosts = ["publisher", "repairer", "lossy"].map(|name| lab.host(name).unwrap());
    let far = Impairment { delay: FAR, ..Impairment::default() };
    let lossy = Impairment { loss: 0.05, ..Impairment::default() };
    let (_, far) = lab.connect_badly(&hosts[0], "eth0", &switch, &["10.0.0.1/24"], far).unwrap();
    hosts[1].connect("eth0", &switch, &["10.0.0.2/24"]).unwrap();
    let (_, lossy) = lab.connect_badly(&hosts[2], "eth0", &switch, &["10.0.0.3/24"], lossy).unwrap();
    (lab, hosts, [far, lossy])
}

fn lines() -> String {
    (0..MESSAGES).map(|number| format!("{number} {}\n", "x".repeat(700))).collect()
}

/// Publishes all lines, for four seconds.
fn publish(host: &Host) -> Running {
    let arguments = ["publish", "-i", "eth0", GROUP, "--wait-for", "2", "--rate", "1000pps"];
    let mut publishing = program(host, MCAST, &arguments, true);
    let mut input = publishing.child.stdin.take().unwrap();
    std::thread::spawn(move || input.write_all(lines().as_bytes()));
    publishing
}

#[test]
fn a_subscriber_repairs_for_another_one() {
    let (_lab, [publisher, repairer, lossy], _links) = site();
    let repairing = subscriber(&repairer, &[GROUP, "--repair-for-others", "--json"]);
    let losing = subscriber(&lossy, &[GROUP, "--json"]);
    publish(&publisher).end().succeeded();
    let (repairing, losing) = (repairing.end().succeeded(), losing.end().succeeded());
    assert!(repairing.stderr.contains("for other subscribers"), "{}", repairing.stderr);
    assert!(losing.stderr.contains("by other subscribers"), "{}", losing.stderr);
    let [repaired, lost] = [repairing, losing].map(|ended| {
        let mut records = ended.json();
        let summary = records.pop().unwrap();
        assert_valid("subscribe-summary", &summary);
        let texts = records.iter().filter_map(|record| record["text"].as_str());
        assert!(texts.map(|text| format!("{text}\n")).collect::<String>() == lines());
        summary
    });
    let count = |value: &Value| value.as_u64().unwrap();
    let (served, received) = (&repaired["for_others"], &lost["repaired"]);
    assert!(count(&served["naks"]) > 0 && count(&served["refused"]) < count(&served["naks"]), "{repaired}");
    assert!(count(&served["datagrams"]) >= count(&received["by_subscribers"]), "{repaired} {lost}");
    assert!(count(&served["bytes"]) > 700 * count(&served["datagrams"]), "{repaired}");
    assert!(count(&received["by_subscribers"]) > 0, "{lost}");
    assert!(count(&lost["naks"]["to_subscribers"]) > 0, "{lost}");
}

#[test]
fn everything_arrives_when_the_repairer_is_killed() {
    let (_lab, [publisher, repairer, lossy], _links) = site();
    let repairing = subscriber(&repairer, &[GROUP, "--repair-for-others=1M"]);
    let losing = subscriber(&lossy, &[GROUP]);
    let publishing = publish(&publisher);
    losing.stdout.wait_for("\n2000 ");
    repairing.child.kill().unwrap();
    let losing = losing.end().succeeded();
    assert!(losing.stderr.contains("by other subscribers"), "{}", losing.stderr);
    assert!(losing.text() == lines());
    publishing.end();
}

#[test]
fn repairing_for_others_needs_a_policy_with_repairs_and_some_memory() {
    let lan = crate::support::Lan::new();
    for (options, reason, remedy) in [
        (
            &["--repair-for-others", "--policy", "best-effort"][..],
            "requests no repairs",
            "choose a --policy other than best-effort, or remove --repair-for-others",
        ),
        (
            &["--repair-for-others=1k"][..],
            "at least 65,536 bytes, not 1024",
            "--repair-for-others=64K or more",
        ),
    ] {
        // Without a wait for the name to be announced.
        for place in [GROUP, "prices"] {
            let ended = crate::mcast(&lan.a, &[&["subscribe", place], options].concat());
            assert_eq!(ended.status, Some(2), "{ended:?}");
            assert!(ended.stderr.contains(reason) && ended.stderr.contains(remedy), "{ended:?}");
        }
    }
}
