//! Bad networks.

use std::io::Write;

use mcast_lab::{Host, Impairment, Lab};

use crate::support::{MCAST, Running, program};
use crate::{GROUP, publisher, subscriber};

fn pair(loss: f64) -> (Lab, Host, Host, mcast_lab::BadLink) {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let impairment = Impairment { loss, ..Impairment::default() };
    let link = lab.bad_link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"], impairment).unwrap();
    (lab, a, b, link)
}

#[test]
fn a_link_that_loses_a_tenth_loses_no_message() {
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
fn with_best_effort_what_is_lost_is_told_and_makes_it_a_no() {
    let (_lab, a, b, _link) = pair(0.2);
    let running = subscriber(&b, &[GROUP, "--policy", "best-effort", "--json"]);
    // Who asks for nothing is not seen by the publisher, so it begins when the subscriber has heard it.
    let arguments = ["publish", "-i", "eth0", GROUP, "--rate", "4000pps"];
    let mut publishing = program(&a, MCAST, &arguments, true);
    let mut input = publishing.child.stdin.take().unwrap();
    running.stderr.wait_for("listening to");
    let lines: String = (0..500).map(|number| format!("{number}\n")).collect();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    publishing.end();
    let ended = running.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let rows = ended.json();
    let lost: u64 =
        rows.iter().filter(|row| row["event"] == "lost").map(|row| row["count"].as_u64().unwrap()).sum();
    let came = rows.iter().filter(|row| row.get("sequence").is_some() && row.get("event").is_none()).count();
    assert!(lost > 0 && lost + came as u64 == 500, "{lost} lost and {came} came");
}

/// Lines that are so many and so fast that a short history cannot repair all that is lost of them.
fn too_much() -> Vec<String> {
    (0..5_000).map(|number| format!("{number} {}", "x".repeat(700))).collect()
}

fn publish_too_much(a: &Host) -> Running {
    let how = ["--wait-for", "1", "--flow", "none", "--history", "32k", "--linger", "1s"];
    let arguments = [&["publish", "-i", "eth0", GROUP][..], &how].concat();
    let mut publishing = program(a, MCAST, &arguments, true);
    let mut input = publishing.child.stdin.take().unwrap();
    input.write_all(too_much().join("\n").as_bytes()).unwrap();
    publishing
}

#[test]
fn a_loss_that_nothing_repairs_stops_who_asks_for_that() {
    let (_lab, a, b, _link) = pair(0.2);
    let running = subscriber(&b, &[GROUP, "--on-loss", "stop"]);
    let publishing = publish_too_much(&a);
    let ended = running.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the publisher no longer has them"), "{}", ended.stderr);
    let words = too_much();
    let lines = ended.lines();
    assert!(lines.len() < words.len() && lines[..] == words[..lines.len()], "{} lines", lines.len());
    publishing.end();
}

#[test]
fn who_goes_on_behind_a_loss_has_what_was_not_lost() {
    let (_lab, a, b, _link) = pair(0.2);
    let running = subscriber(&b, &[GROUP, "--json"]);
    let publishing = publish_too_much(&a);
    let ended = running.end();
    assert_eq!(ended.status, Some(1), "{:?}", ended.stderr);
    let (events, messages): (Vec<_>, Vec<_>) =
        ended.json().into_iter().partition(|row| row.get("event").is_some());
    let lost = events.iter().filter(|row| row["event"] == "lost").map(|row| row["count"].as_u64().unwrap());
    assert_eq!(lost.sum::<u64>() + messages.len() as u64, 5_000);
    publishing.end();
}
