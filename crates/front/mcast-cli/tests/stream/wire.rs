//! Subscribing past the socket (`--wire`).

use std::io::Write;

use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, eventually, mcast, program};
use crate::{GROUPS, start, subscriber};

#[test]
fn a_subscriber_past_the_socket_gets_every_message_when_another_program_begins_to_receive() {
    let lan = Lan::new();
    for group in GROUPS {
        let running = subscriber(&lan.b, &[group, "--json", "--wire", "auto"]);
        let ways = ["taken off the interface (AF_XDP)", "CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed"];
        eventually("it reports the way", || ways.iter().any(|way| running.stderr.text().contains(way)));
        let is_taken = running.stderr.text().contains(ways[0]);

        let arguments = ["publish", "-i", "eth0", group, "--wait-for", "1"];
        let mut publishing = program(&lan.a, MCAST, &arguments, true);
        let mut input = publishing.child.stdin.take().unwrap();
        let mut sent = 0;
        let mut publish = || {
            sent += 1;
            writeln!(input, "{sent}").unwrap();
        };
        (0..100).for_each(|_| publish());
        let other = start(&lan.b, &["recv", group, "-i", "eth0", "--discard"]);
        eventually("the subscriber notices the other program", || {
            publish();
            !is_taken || running.stderr.text().contains("received by the socket: mcast (")
        });
        (0..100).for_each(|_| publish());
        drop(input);
        publishing.end().succeeded();
        other.signalled(libc::SIGINT);

        let ended = running.end().succeeded();
        let rows = ended.json();
        let messages: Vec<_> = rows.iter().filter(|row| row["event"] == "message").collect();
        let texts: Vec<_> = messages.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
        assert_eq!(texts, (1..=sent).map(|number| number.to_string()).collect::<Vec<_>>());
        let summary = rows.last().unwrap();
        assert_valid("subscribe-summary", summary);
        let why = summary["wire"][0]["reason"].as_str().expect("it is received by the socket");
        assert!(why.contains(if is_taken { "receives on this port, too" } else { "CAP_BPF" }), "{summary}");
    }
}

#[test]
fn what_cannot_be_taken_off_an_interface_is_refused_or_noted() {
    let lan = Lan::new();
    let required = mcast(&lan.b, &["subscribe", "10.0.0.2:7000", "--wire", "require"]);
    assert_eq!(required.status, Some(2), "{required:?}");
    assert!(required.stderr.contains("10.0.0.2:7000 is not a group"), "{required:?}");
    let possible = mcast(&lan.b, &["subscribe", "10.0.0.2:7000", "--wire", "auto", "-W", "10ms"]);
    assert!(possible.stderr.contains("datagrams to this host are received by the socket"), "{possible:?}");
    let refused = mcast(&lan.b, &["subscribe", "239.1.2.3%lo:7000", "--wire", "require"]);
    assert!(refused.stderr.contains("it is not an Ethernet interface"), "{refused:?}");
}
