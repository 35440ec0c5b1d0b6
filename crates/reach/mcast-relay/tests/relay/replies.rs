//! Replies come back to the host that asked.

use std::time::Duration;

use mcast_relay::{LegId, PathPort, PathSide, RefusalReason};

use crate::subject::{Subject, address};

const SEARCH: &[u8] = b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n";

#[test]
fn twenty_askers_with_the_same_request_get_their_own_replies() {
    let mut subject = Subject::new("ssdp between s0 and s1");
    let mut paths = Vec::new();
    for asker in 1..=20 {
        let copies = subject.receive(0, &format!("10.0.0.{asker}:4000"), "239.255.255.250:1900", SEARCH);
        assert_eq!(copies.len(), 1, "asker {asker}");
        paths.push((asker, copies[0].path));
    }
    for (asker, path) in paths {
        for responder in ["10.0.1.5:1900", "10.0.1.6:1900"] {
            let replies = subject.reply(path, responder, b"HTTP/1.1 200 OK\r\n\r\n");
            assert_eq!(replies.len(), 1);
            assert_eq!(replies[0].destination, address(&format!("10.0.0.{asker}:4000")));
            assert_eq!(replies[0].side, PathSide::Leg(LegId(0)));
            assert_eq!(subject.port(replies[0].path), PathPort::Preferred(1900));
        }
    }
}

#[test]
fn a_sender_tells_responders_apart_and_can_answer_them() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 always");
    let path = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"data")[0].path;
    let one = subject.reply(path, "10.0.1.5:7000", b"NAK")[0].path;
    let other = subject.reply(path, "10.0.1.6:7000", b"NAK")[0].path;
    assert_ne!(one, other);
    let answers = subject.reply(other, "10.0.0.1:4000", b"repair");
    assert_eq!((answers[0].path, answers[0].destination), (path, address("10.0.1.6:7000")));
    // Only the sender's.
    assert_eq!(subject.reply(other, "10.0.0.9:4000", b"forged"), []);
    assert_eq!(subject.relay.rules().next().unwrap().1.replies, 3);
}

#[test]
fn the_way_back_is_open_while_it_is_used() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 always");
    let path = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"data")[0].path;
    for _ in 0..5 {
        subject.wait(Duration::from_secs(100));
        assert_eq!(subject.reply(path, "10.0.1.5:7000", b"status").len(), 1);
    }
    subject.wait(Duration::from_secs(121));
    assert_eq!(subject.reply(path, "10.0.1.5:7000", b"status"), []);
}

/// A rule that must be one way: nothing that hosts downstream send reaches the sender.
#[test]
fn a_rule_without_replies_returns_nothing() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 always no-replies");
    let path = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"data")[0].path;
    assert_eq!(subject.reply(path, "10.0.1.5:7000", b"into the source"), []);
    assert_eq!(subject.refused(RefusalReason::Reply), 1);
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 always");
    let path = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"data")[0].path;
    assert_eq!(subject.reply(path, "10.0.1.5:7000", b"an answer").len(), 1);
}
