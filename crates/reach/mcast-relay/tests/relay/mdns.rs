//! mDNS through the relay.

use mcast_packet::payload::Dns;
use mcast_relay::{PathPort, RefusalReason};

use crate::subject::{Subject, address};

const GROUP: &str = "224.0.0.251:5353";

/// Writes a question for the pointers of a name, or a response with its pointer to a target.
fn message(name: &str, target: Option<&str>, unicast: bool) -> Vec<u8> {
    let write = |bytes: &mut Vec<u8>, name: &str| {
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.push(0);
    };
    let is_response = target.is_some();
    let mut bytes = vec![
        0,
        0,
        if is_response { 0x84 } else { 0 },
        0,
        0,
        u8::from(!is_response),
        0,
        u8::from(is_response),
        0,
        0,
        0,
        0,
    ];
    write(&mut bytes, name);
    bytes.extend([0, 12, if unicast { 0x80 } else { 0 }, 1]);
    if let Some(target) = target {
        let mut data = Vec::new();
        write(&mut data, target);
        bytes.extend([0, 0, 0, 120, 0, data.len() as u8]);
        bytes.extend(data);
    }
    bytes
}

#[test]
fn a_message_keeps_its_port_and_hop_limit() {
    let mut subject = Subject::new("mdns between s0 and s1");
    let question = message("_ipp._tcp.local", None, false);
    let copies = subject.receive_with(255, 0, "10.0.0.1:5353", GROUP, &question);
    assert_eq!((copies[0].hop_limit, subject.port(copies[0].path)), (Some(255), PathPort::Shared(5353)));
    assert_eq!(copies[0].payload, question);
    let question = message("_http._tcp.local", None, false);
    let copies = subject.receive_with(255, 0, "[fe80::1]:5353", "[ff02::fb]:5353", &question);
    assert_eq!(copies[0].destination, address("[ff02::fb]:5353"));
}

#[test]
fn its_own_copies_and_those_of_others_are_recognized_by_content() {
    let mut subject = Subject::new("mdns between s0 and s1");
    let question = message("_ipp._tcp.local", None, true);
    let copies = subject.receive(0, "10.0.0.1:5353", GROUP, &question);
    assert_ne!(copies[0].payload, question, "it does not request a unicast response");
    // Its own copy on the other leg, and the one that another relay returns.
    assert_eq!(subject.receive(1, "10.0.1.200:5353", GROUP, &copies[0].payload), []);
    assert_eq!(subject.receive(0, "10.0.0.99:5353", GROUP, &copies[0].payload), []);
    assert_eq!(subject.receive(0, "10.0.0.99:5353", GROUP, &question), []);
    assert_eq!(subject.refused(RefusalReason::Repeat), 3);
}

#[test]
fn a_denied_service_passes_neither_as_question_nor_as_answer() {
    let mut subject = Subject::new("mdns between s0 and s1 deny ipp");
    assert_eq!(subject.receive(0, "10.0.0.1:5353", GROUP, &message("_ipp._tcp.local", None, false)), []);
    let answer = message("_ipp._tcp.local", Some("P._ipp._tcp.local"), false);
    assert_eq!(subject.receive(1, "10.0.1.1:5353", GROUP, &answer), []);
    assert_eq!(subject.refused(RefusalReason::Filtered), 2);
    let answer = message("_http._tcp.local", Some("P._http._tcp.local"), false);
    assert_eq!(subject.receive(1, "10.0.1.1:5353", GROUP, &answer).len(), 1);
}

#[test]
fn a_one_shot_query_is_answered_from_port_5353_to_its_own_port() {
    let mut subject = Subject::new("mdns between s0 and s1");
    let question = message("_ipp._tcp.local", None, true);
    let copy = subject.receive(0, "10.0.0.1:40000", GROUP, &question).remove(0);
    assert!(matches!(subject.port(copy.path), PathPort::Own(_)));
    assert!(Dns::parse(&copy.payload).unwrap().questions().next().unwrap().unicast_response);
    let reply = subject.reply(copy.path, "10.0.1.5:5353", b"answer").remove(0);
    assert_eq!(
        (reply.destination, subject.port(reply.path)),
        (address("10.0.0.1:40000"), PathPort::Preferred(5353))
    );
}
