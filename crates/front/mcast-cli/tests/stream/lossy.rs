//! Streams over lossy networks.

use std::io::Write;

use mcast_lab::{Host, Impairment, Lab, LinkDirection};

use crate::support::{Lan, MCAST, Running, mcast, program};
use crate::{GROUP, publisher, subscriber};

fn pair(loss: f64) -> (Lab, Host, Host, mcast_lab::BadLink) {
    connected(Impairment { loss, ..Impairment::default() })
}

fn connected(impairment: Impairment) -> (Lab, Host, Host, mcast_lab::BadLink) {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.bad_link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"], impairment).unwrap();
    (lab, a, b, link)
}

#[test]
fn a_tenth_of_datagrams_lost_loses_no_message() {
    let (_lab, a, b, _link) = pair(0.1);
    let words: Vec<String> = (0..400).map(|number| format!("{number} {}", "x".repeat(700))).collect();
    let expected: String = words.iter().map(|word| format!("{word}\n")).collect();
    let running = subscriber(&b, &[GROUP]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = publisher(&a, &[&[GROUP, "--wait-for", "1", "--rate", "4000pps"], &words[..]].concat()).end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(running.end().succeeded().text(), expected);
}

#[test]
fn a_one_way_stream_survives_losses() {
    let (_lab, a, b, _link) = pair(0.03);
    let words: Vec<String> = (0..400).map(|number| format!("{number} {}", "x".repeat(700))).collect();
    let expected: String = words.iter().map(|word| format!("{word}\n")).collect();
    let running = subscriber(&b, &[GROUP]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let options = [GROUP, "--fec", "4+8", "--flow", "one-way", "--rate", "4000pps", "--json"];
    let ended = publisher(&a, &[&options, &words[..]].concat()).end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.text().contains("\"delivery_known\":false"), "{ended:?}");
    assert!(ended.stderr.contains("what subscribers received is unknown"), "{ended:?}");
    let received = running.end().succeeded();
    assert!(received.stderr.contains("from parity"), "{received:?}");
    assert_eq!(received.text(), expected);
}

/// Parity recovers signatures, too: without, each one that is lost would lose what it covers.
#[test]
fn a_signed_and_sealed_one_way_stream_survives_losses() {
    let (_lab, a, b, _link) = pair(0.03);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (group, signing, public) = (path("group.key"), path("signing.key"), path("publisher.pub"));
    mcast(&a, &["keys", "make", &group]).succeeded();
    let made = mcast(&a, &["keys", "make", "--signing", &signing]).succeeded();
    std::fs::write(&public, made.text()).unwrap();
    let words: Vec<String> = (0..400).map(|number| format!("{number} {}", "x".repeat(700))).collect();
    let expected: String = words.iter().map(|word| format!("{word}\n")).collect();
    let running = subscriber(&b, &[GROUP, "--key", &group, "--signed-by", &public]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let secrets = ["--key", &group, "--sign", &signing];
    let options = [GROUP, "--fec", "4+8", "--flow", "one-way", "--rate", "4000pps"];
    publisher(&a, &[&options, &secrets[..], &words].concat()).end().succeeded();
    let received = running.end().succeeded();
    assert!(received.stderr.contains("from parity"), "{received:?}");
    assert_eq!(received.text(), expected);
}

#[test]
fn loss_up_to_max_loss_is_a_success() {
    for (most, status) in [("60%", 0), ("1%", 1)] {
        let (_lab, a, b, _link) = pair(0.2);
        let running = subscriber(&b, &[GROUP, "--policy", "best-effort", "--max-loss", most]);
        let publishing = publish_once_heard(&a, &running);
        let ended = running.end();
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert!(!ended.stderr.contains("lost 0 messages"), "{ended:?}");
        assert_eq!(status == 1, ended.stderr.contains("more than the allowed 1%"), "{ended:?}");
        publishing.end();
    }
}

/// Publishes 500 messages once the subscriber has received something: the publisher does not wait for best-effort subscribers.
fn publish_once_heard(a: &Host, running: &Running) -> Running {
    let arguments = ["publish", "-i", "eth0", GROUP, "--rate", "4000pps"];
    let mut publishing = program(a, MCAST, &arguments, true);
    let mut input = publishing.child.stdin.take().unwrap();
    running.stderr.wait_for("subscribed to");
    let lines: String = (0..500).map(|number| format!("{number}\n")).collect();
    input.write_all(lines.as_bytes()).unwrap();
    publishing
}

#[test]
fn best_effort_losses_are_reported_with_status_1() {
    let (_lab, a, b, _link) = pair(0.2);
    let running = subscriber(&b, &[GROUP, "--policy", "best-effort", "--json"]);
    let publishing = publish_once_heard(&a, &running);
    let published = publishing.end();
    let mentions = ["warning", "subscriber"].map(|word| published.stderr.matches(word).count());
    assert_eq!(mentions, [0, 1], "it knows of the choice, and ends with a note: {published:?}");
    let ended = running.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let rows = ended.json();
    let lost: u64 =
        rows.iter().filter(|row| row["event"] == "lost").map(|row| row["count"].as_u64().unwrap()).sum();
    let came = rows.iter().filter(|row| row["event"] == "message").count();
    assert!(lost > 0 && lost + came as u64 == 500, "{lost} lost and {came} came");
}

/// Returns so large a number of lines that a small retransmission buffer cannot repair all losses.
fn too_much() -> Vec<String> {
    (0..5_000).map(|number| format!("{number} {}", "x".repeat(700))).collect()
}

fn publish_too_much(a: &Host) -> Running {
    // On a busy machine, a subscriber may need more than a second to report what it lacks.
    let how = ["--wait-for", "1", "--flow", "none", "--history", "32k", "--linger", "3s"];
    let arguments = [&["publish", "-i", "eth0", GROUP][..], &how].concat();
    let mut publishing = program(a, MCAST, &arguments, true);
    let mut input = publishing.child.stdin.take().unwrap();
    input.write_all(too_much().join("\n").as_bytes()).unwrap();
    publishing
}

#[test]
fn on_loss_stop_ends_after_an_unrecoverable_loss() {
    let (_lab, a, b, _link) = pair(0.2);
    let running = subscriber(&b, &[GROUP, "--policy", "reliable:stop"]);
    let publishing = publish_too_much(&a);
    let ended = running.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("have left the publisher"), "{}", ended.stderr);
    let words = too_much();
    let lines = ended.lines();
    assert!(lines.len() < words.len() && lines[..] == words[..lines.len()], "{} lines", lines.len());
    publishing.end();
}

#[test]
fn on_loss_continue_delivers_the_messages_after_a_loss() {
    let (_lab, a, b, _link) = pair(0.2);
    let running = subscriber(&b, &[GROUP, "--json"]);
    let publishing = publish_too_much(&a);
    let ended = running.end();
    assert_eq!(ended.status, Some(1), "{:?}", ended.stderr);
    let (events, messages): (Vec<_>, Vec<_>) =
        ended.json().into_iter().partition(|row| row["event"] != "message");
    let lost = events.iter().filter(|row| row["event"] == "lost").map(|row| row["count"].as_u64().unwrap());
    assert_eq!(lost.sum::<u64>() + messages.len() as u64, 5_000);
    let ended = publishing.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("0 of 1 subscriber has everything"), "{ended:?}");
    assert!(ended.stderr.contains("lacks "), "{ended:?}");
}

#[test]
fn a_firewall_between_subscriber_and_publisher_is_named() {
    let (_lab, a, b, link) = pair(0.1);
    // All datagrams to the publisher are dropped, and a tenth of those from it.
    let nothing = Impairment { loss: 1.0, ..Impairment::default() };
    link.set_direction(LinkDirection::Reverse, nothing).unwrap();
    let running = subscriber(&b, &[GROUP, "--idle", "4s"]);
    let publishing = publish_once_heard(&a, &running);
    let ended = running.end();
    assert!(ended.stderr.contains("10.0.0.1 does not answer this subscriber"), "{ended:?}");
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("lost 0 messages"), "what is missing is lost: {ended:?}");
    let ended = publishing.end();
    assert!(ended.stderr.contains("no subscriber reported in"), "{ended:?}");
}

#[test]
fn an_interface_whose_mtu_is_too_small_is_named() {
    let (_lab, a, b, _link) = pair(0.0);
    b.set_mtu("eth0", 1280).unwrap();
    let running = subscriber(&b, &[GROUP, "--idle", "4s"]);
    let message = "x".repeat(1400);
    let ended = publisher(&a, &[GROUP, "--wait-for", "1", "--linger", "3s", &message]).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let ended = running.end();
    assert!(ended.stderr.contains("packets of up to 1500 bytes, but eth0 accepts at most 1280"), "{ended:?}");
    assert_eq!(ended.status, Some(1), "{ended:?}");
}

/// The hosts have the same MTU, and the switch between them a smaller one.
#[test]
fn a_link_on_the_way_that_carries_only_short_packets_is_suspected() {
    let lan = Lan::new();
    lan.a.set_mtu("eth0", 9_000).unwrap();
    lan.b.set_mtu("eth0", 9_000).unwrap();
    let running = subscriber(&lan.b, &[GROUP, "--idle", "4s"]);
    let message = "x".repeat(4_000);
    let options = [GROUP, "--wait-for", "1", "--linger", "3s"];
    let ended = publisher(&lan.a, &[&options[..], &[&message]].concat()).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let ended = running.end();
    assert!(ended.stderr.contains("nothing of 10.0.0.1 has arrived except short packets"), "{ended:?}");
    assert_eq!(ended.status, Some(1), "{ended:?}");

    let running = subscriber(&lan.b, &[GROUP]);
    publisher(&lan.a, &[&options[..], &["--datagram", "1400", &message]].concat()).end().succeeded();
    assert_eq!(running.end().succeeded().text(), format!("{message}\n"));
}

#[test]
fn a_subscriber_that_gives_up_late_messages_is_incomplete_in_the_publishers_report() {
    let (_lab, a, b, _link) = pair(0.2);
    let running = subscriber(&b, &[GROUP, "--policy", "deadline=1ms", "--json"]);
    let words: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let words = words.iter().map(String::as_str);
    let arguments: Vec<&str> =
        [GROUP, "--wait-for", "1", "--rate", "2000pps", "--json"].into_iter().chain(words).collect();
    let ended = publisher(&a, &arguments).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let report = &ended.json()[0];
    assert_eq!(
        (&report["subscriber_counts"]["incomplete"], &report["subscriber_counts"]["complete"]),
        (&1.into(), &0.into())
    );
    let rows = running.end().json();
    let lost = rows.iter().filter(|row| row["event"] == "lost").map(|row| row["count"].as_u64().unwrap());
    assert_eq!(report["subscribers"][0]["lost_messages"], lost.sum::<u64>(), "{report} {rows:?}");
}

#[test]
fn behind_a_slow_link_a_publisher_slows_down_unless_congestion_is_off() {
    let words: Vec<String> = (0..3_000).map(|number| format!("{number} {}", "x".repeat(700))).collect();
    let expected: String = words.iter().map(|word| format!("{word}\n")).collect();
    for (congestion, slows) in
        [(&[][..], true), (&["--flow", "slowest"], true), (&["--flow", "slowest:keep-rate"], false)]
    {
        let slow = Impairment { rate: Some(10_000_000), queue: 30_000, ..Impairment::default() };
        let (_lab, a, b, link) = connected(slow);
        let running = subscriber(&b, &[GROUP]);
        let arguments =
            [&["publish", "-i", "eth0", GROUP, "--wait-for", "1", "--rate", "40Mbit"], congestion].concat();
        let mut publishing = program(&a, MCAST, &arguments, true);
        let mut input = publishing.child.stdin.take().unwrap();
        input.write_all(expected.as_bytes()).unwrap();
        drop(input);
        let ended = publishing.end().succeeded();
        assert_eq!(ended.stderr.contains("slowed down to "), slows, "{congestion:?}: {ended:?}");
        let culprit = ended.stderr.contains(" Mbit/s: subscriber 10.0.0.2 loses ");
        assert_eq!(culprit, slows, "{congestion:?}: {ended:?}");
        assert!(running.end().succeeded().text() == expected, "{congestion:?}");
        assert!(link.statistics().queue_full > 0, "{congestion:?}: the link carried it all");
    }
}
