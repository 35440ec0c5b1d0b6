use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::LegId;

/// Writes a message from lines: questions (`? name type`) and records (`section name type data`, with `!` before the
/// type for cache flush). The types are numbers.
fn message(is_response: bool, lines: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 0, if is_response { 0x84 } else { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let section = ["?", "answer", "authority", "additional"].iter().position(|s| *s == words[0]).unwrap();
        bytes[5 + 2 * section] += 1;
        name(&mut bytes, words[1]);
        let (top, kind) = words[2].strip_prefix('!').map_or((0, words[2]), |kind| (0x80, kind));
        let kind: u16 = kind.parse().unwrap();
        bytes.extend(kind.to_be_bytes());
        bytes.extend([top, 1]);
        if section == 0 {
            continue;
        }
        bytes.extend(120_u32.to_be_bytes());
        let mut data = Vec::new();
        match kind {
            12 => name(&mut data, words[3]),
            33 => {
                data.extend([0, 0, 0, 0, 0x1f, 0x90]);
                name(&mut data, words[3]);
            }
            1 | 28 => match words[3].parse().unwrap() {
                IpAddr::V4(address) => data.extend(address.octets()),
                IpAddr::V6(address) => data.extend(address.octets()),
            },
            _ => data.extend(words[3].bytes()),
        }
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

fn name(bytes: &mut Vec<u8>, text: &str) {
    for label in text.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
}

fn deny(service: &str) -> ServiceFilter {
    ServiceFilter::Deny(vec![service.into()])
}

fn text(message: &[u8]) -> String {
    Dns::parse(message).unwrap().to_string()
}

fn part(message: &[u8], services: &ServiceFilter) -> String {
    match filter(message, services, true, |_| false) {
        FilteredMessage::Whole => "whole".into(),
        FilteredMessage::Part(part) => text(&part),
        FilteredMessage::Nothing => "nothing".into(),
    }
}

#[test]
fn a_denied_service_is_removed_from_questions_and_answers() {
    let question = message(false, &["? _ipp._tcp.local 12", "? _http._tcp.local 12"]);
    assert_eq!(part(&question, &ServiceFilter::All), "whole");
    assert_eq!(part(&question, &deny("ipp")), "query: _http._tcp.local PTR");
    assert_eq!(part(&question, &ServiceFilter::Allow(vec!["http".into()])), "query: _http._tcp.local PTR");
    assert_eq!(part(&message(false, &["? a._sub._ipp._tcp.local 12"]), &deny("ipp")), "nothing");

    let answer = message(
        true,
        &[
            "answer _ipp._tcp.local 12 P._ipp._tcp.local",
            "answer _services._dns-sd._udp.local 12 _IPP._tcp.local",
            "answer _services._dns-sd._udp.local 12 _http._tcp.local",
            "additional P._ipp._tcp.local !33 host.local",
            "additional P._ipp._tcp.local !16 text",
            "additional host.local !1 10.0.0.7",
        ],
    );
    let expected = "response: _services._dns-sd._udp.local PTR _http._tcp.local, host.local A 10.0.0.7";
    assert_eq!(part(&answer, &deny("ipp")), expected);
}

#[test]
fn addresses_of_one_link_are_removed() {
    let answer = message(
        true,
        &["answer h.local !28 fe80::1", "answer h.local !28 2001:db8::1", "answer h.local !1 169.254.1.1"],
    );
    assert_eq!(part(&answer, &ServiceFilter::All), "response: h.local AAAA 2001:db8::1");
    assert_eq!(part(&message(true, &["answer h.local !28 fe80::1"]), &ServiceFilter::All), "nothing");
}

#[test]
fn a_request_for_a_unicast_response_becomes_one_for_a_multicast_response() {
    let question = message(false, &["? h.local !1"]);
    let FilteredMessage::Part(part) = filter(&question, &ServiceFilter::All, true, |_| false) else {
        panic!("the bit is not cleared")
    };
    assert!(!Dns::parse(&part).unwrap().questions().next().unwrap().unicast_response);
    assert_eq!(filter(&question, &ServiceFilter::All, false, |_| false), FilteredMessage::Whole);
}

#[test]
fn names_that_a_host_on_the_leg_claims_are_not_sent_there() {
    let (now, leg, other) = (Duration::ZERO, LegId(1), LegId(2));
    let mut claimed = ClaimedNames::new();
    claimed.learn(now, leg, &message(true, &["answer NAS.local !1 10.0.1.7"]));
    claimed.learn(now, leg, &message(true, &["answer _ipp._tcp.local 12 P._ipp._tcp.local"]));
    let sent_at = |now, leg, message: &[u8]| {
        filter(message, &ServiceFilter::All, false, |name| claimed.is_claimed(now, leg, name))
    };
    let answer = message(true, &["answer nas.local !1 10.0.2.7"]);
    assert_eq!(sent_at(now, leg, &answer), FilteredMessage::Nothing);
    assert_eq!(sent_at(now, other, &answer), FilteredMessage::Whole);
    // Shared records cannot conflict, and a question is not a claim.
    let shared = message(true, &["answer _ipp._tcp.local 12 nas._ipp._tcp.local"]);
    assert_eq!(sent_at(now, leg, &shared), FilteredMessage::Whole);
    // A probe: the host on the other leg would defend its name against itself.
    let probe = message(false, &["? nas.local 255", "authority nas.local 1 10.0.2.7"]);
    let FilteredMessage::Part(question) = sent_at(now, leg, &probe) else { panic!("not a part") };
    assert_eq!(text(&question), "query: nas.local ANY");
    assert_eq!(sent_at(now + Duration::from_secs(120), leg, &answer), FilteredMessage::Whole, "expired");
}

#[test]
fn a_goodbye_ends_a_claim() {
    let (now, leg) = (Duration::ZERO, LegId(1));
    let mut claimed = ClaimedNames::new();
    let mut announcement = message(true, &["answer nas.local !1 10.0.1.7"]);
    claimed.learn(now, leg, &announcement);
    let time_to_live = announcement.len() - 10;
    announcement[time_to_live..time_to_live + 4].fill(0);
    claimed.learn(now, leg, &announcement);
    let answer = message(true, &["answer nas.local !1 10.0.2.7"]);
    let sent = filter(&answer, &ServiceFilter::All, false, |name| claimed.is_claimed(now, leg, name));
    assert_eq!(sent, FilteredMessage::Whole);
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        Just("_ipp._tcp.local"),
        Just("P._ipp._tcp.local"),
        Just("host.local"),
        Just("Q._http._udp.local"),
        Just("_services._dns-sd._udp.local"),
        Just("local"),
        Just("x.host.local"),
    ];
    let record = (0_usize..4, name.clone(), any::<bool>(), 0_usize..6, name).prop_map(
        |(section, name, flush, kind, target)| {
            let section = ["?", "answer", "authority", "additional"][section];
            let (kind, data) = [
                ("1", "10.0.0.1"),
                ("28", "fe80::1"),
                ("28", "2001:db8::1"),
                ("16", "text"),
                ("12", target),
                ("33", target),
            ][kind];
            format!("{section} {name} {}{kind} {data}", if flush { "!" } else { "" })
        },
    );
    prop::collection::vec(record, 1..12).prop_map(|mut lines| {
        let order = |line: &String| {
            ["?", "answer", "authority", "additional"].iter().position(|s| line.starts_with(s))
        };
        lines.sort_by_key(order);
        lines
    })
}

proptest! {
    #[test]
    fn a_part_contains_what_the_filter_admits_and_nothing_else(lines in lines(), is_response: bool) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let whole = message(is_response, &lines);
        prop_assume!(Dns::parse(&whole).is_some());
        let services = deny("ipp");
        let sent = match filter(&whole, &services, true, |_| false) {
            FilteredMessage::Whole => whole.clone(),
            FilteredMessage::Part(part) => part,
            FilteredMessage::Nothing => return Ok(()),
        };
        prop_assert!(sent.len() <= whole.len(), "compression does not make it longer");
        let (before, after) = (Dns::parse(&whole).unwrap(), Dns::parse(&sent));
        let Some(after) = after else {
            // The parser wants questions or answers.
            return Ok(());
        };
        let is_denied = |name: Name<'_>| name.to_string().to_ascii_lowercase().contains("_ipp._tcp");
        let expected: Vec<_> = before.records()
            .filter(|(_, record)| !is_denied(record.name) && !record.target.is_some_and(is_denied))
            .filter(|(_, record)| !record.to_string().contains("fe80"))
            .map(|(section, record)| (section, record.to_string(), record.cache_flush, record.time_to_live))
            .collect();
        let found: Vec<_> = after.records()
            .map(|(section, record)| (section, record.to_string(), record.cache_flush, record.time_to_live))
            .collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(after.records().count(), after.record_count() as usize);
        prop_assert!(after.questions().all(|question| !question.unicast_response && !is_denied(question.name)));
    }

    #[test]
    fn filtering_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), response: bool) {
        let mut bytes = bytes;
        if bytes.len() > 12 {
            bytes[2..12].copy_from_slice(&[if response { 0x84 } else { 0 }, 0, 0, 1, 0, 2, 0, 1, 0, 1]);
        }
        let _ = filter(&bytes, &deny("ipp"), true, |_| false);
        ClaimedNames::new().learn(Duration::ZERO, LegId(0), &bytes);
    }
}
