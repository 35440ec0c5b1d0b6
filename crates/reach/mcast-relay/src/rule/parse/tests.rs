use proptest::prelude::*;

use crate::{Leg, Namespace, Rule, RuleTarget, ServiceFilter, parse_rules};

fn rule(text: &str) -> Rule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    text.parse::<Rule>().expect_err(text).to_string()
}

#[test]
fn rules_of_the_documentation_are_parsed_and_written() {
    for text in [
        "mdns from eth0 to eth1",
        "239.1.2.0/24:5000 from vlan10 to vlan20,vlan30",
        "10.0.0.7@232.1.2.3:5000 from eth0 to udp://10.9.0.5:5000",
        "ssdp between eth0 and netns:web/eth0",
        "[ff15::/126]:5000-5003 from eth0 to docker:web/eth0,netns:4711/eth1,udp://[2001:db8::1]:5000 always",
        "broadcast:6000 from eth0 to eth1 as 239.1.2.3:6001 ttl 4 rate 100pps",
        "239.1.2.3+3:5000 from eth0 to eth1 as [ff15::1]+3:5001",
        "239.1.2.3:5000 from eth0 to eth1 as :5001",
        "239.1.2.3:5000 from eth0 to eth1 as broadcast",
        "!10.0.0.9@mdns between eth0 and eth1 and 10.0.0.1 deny airplay,raop",
        "10.0.0.7@232.0.0.0/8:5000 from eth0 to eth1",
        "239.1.2.3:5000 between eth0 and tunnel:paris and tunnel:oslo-2 repair 200ms",
    ] {
        assert_eq!(rule(text).to_string(), text);
    }
}

#[test]
fn lists_may_have_spaces_after_their_commas() {
    assert_eq!(
        rule("mdns  from eth0 to eth1, eth2 ,eth3 allow _ipp._tcp, http"),
        rule("mdns from eth0 to eth1,eth2,eth3 allow ipp,http")
    );
}

#[test]
fn a_rule_of_both_directions_has_a_pair_for_each() {
    let pairs = rule("ssdp between a and b and c").pairs();
    let written: Vec<_> = pairs.iter().map(|(from, to)| format!("{from}>{to}")).collect();
    assert_eq!(written, ["a>b", "a>c", "b>a", "b>c", "c>a", "c>b"]);
    let leg = |text: &str| text.parse::<Leg>().unwrap();
    assert_eq!(leg("docker:web"), leg("docker:web/eth0"));
    assert_eq!(leg("netns:12/eth0").namespace, Namespace::Process(12));
}

#[test]
fn discovery_protocols_have_groups_of_both_families() {
    let traffic = rule("wsd between a and b").traffic;
    let includes = |text: &str| traffic.includes("10.0.0.1".parse().unwrap(), text.parse().unwrap());
    assert!(includes("239.255.255.250:3702") && includes("[ff02::c]:3702"));
    assert!(!includes("239.255.255.250:1900"));
    assert_eq!(rule("knx between a and b").traffic.ranges().len(), 1);
    assert_eq!(rule("fe80::1@mdns between a and b").traffic.ranges().len(), 1);
}

#[test]
fn groups_and_ports_that_must_stay_on_their_link_are_refused() {
    for text in ["224.0.0.5:5000", "224.0.0.0/4:5000", "[ff02::1]:5000", "[ff01::1]:5000", "[ff11::1]:5000"] {
        assert!(error(&format!("{text} from a to b")).contains("control the link"), "{text}");
    }
    for text in ["239.1.2.3:319", "239.1.2.3:60-70", "broadcast:67", "ptp"] {
        assert!(error(&format!("{text} from a to b")).contains("never forwarded"), "{text}");
    }
    // Groups of the application's own, on one link.
    rule("[ff12::1234]:5000 from a to b");
    assert!(error("239.1.2.3:5000 from a to b as 224.0.0.9").contains("control the link"));
}

#[test]
fn rules_that_cannot_work_are_refused_with_the_reason() {
    for (text, reason) in [
        ("", "it is empty"),
        ("mdns", "from or between is missing"),
        ("mdns from eth0", "to is missing"),
        ("mdns from eth0 to", "the target after to is missing"),
        ("mdns between eth0", "and is missing"),
        ("mdns from eth0 to eth0", "occurs twice"),
        ("mdns from eth0 to eth1,eth1", "occurs twice"),
        ("mdns from all to eth1", "does not name one interface"),
        ("mdns from eth0 to netns:web", "has no interface"),
        ("mdns from eth0 to udp://239.1.2.3:5000", "is not a unicast target"),
        ("mdns from eth0 to udp://10.0.0.1:0", "is not a unicast target"),
        ("mdns from eth0 to eth1 quickly", "\"quickly\" is not an option"),
        ("mdns from eth0 to eth1 ttl", "the option ttl has no value"),
        ("mdns from eth0 to eth1 ttl 0", "not a valid TTL"),
        ("mdns from eth0 to tunnel:", "is not the name of a tunnel"),
        ("mdns from eth0 to tunnel:a/b", "is not the name of a tunnel"),
        ("mdns from eth0 to tunnel:a repair 200", "not a valid time for repairs"),
        ("mdns from eth0 to tunnel:a repair 9ms", "not a valid time for repairs"),
        ("mdns from eth0 to tunnel:a repair 11s", "not a valid time for repairs"),
        ("mdns from tunnel:a to eth0 repair 200ms", "repair needs a tunnel"),
        ("mdns from eth0 to eth1 rate 10", "has no unit"),
        ("mdns from eth0 to eth1 allow a deny b", "given twice"),
        ("mdns from eth0 to eth1 allow a.b", "is not a type of service"),
        ("ssdp from eth0 to eth1 allow ipp", "need mdns"),
        ("mdns from eth0 to eth1 as 239.1.2.3", "fixed groups"),
        ("239.1.2.3:5000 between a and b as :5001", "a rule for each direction"),
        ("239.1.2.0/24:5000 from a to b as 239.9.2.0/25:5000", "differ in length"),
        ("239.1.2.3:5000 from a to udp://10.0.0.1:5000 as :5001", "an address and a port of its own"),
        ("232.1.2.3:5000 from a to b", "does not name a source"),
        ("239.0.0.0/8:5000 from a to b always", "always joins 16777216 groups"),
        ("239.1.2.3%eth0:5000 from a to b", "contains an interface"),
        ("239.1.2.3 from a to b", "has no port"),
        ("239.1.2.3:5000-6000 from a to b", "it names 1001 ports"),
        ("10.0.0.1:5000 from a to b", "is not a multicast address"),
    ] {
        assert!(error(text).contains(reason), "{text}: {}", error(text));
    }
}

#[test]
fn a_file_has_a_rule_per_line_and_comments() {
    let rules = parse_rules("# all\n\nmdns between a and b # both\nssdp from a to b\n").unwrap();
    assert_eq!(rules.len(), 2);
    let error = parse_rules("mdns between a and b\nssdp\n").unwrap_err();
    assert_eq!(error.line, 2);
}

#[test]
fn a_filter_admits_services_by_their_type() {
    let ServiceFilter::Allow(_) = rule("mdns from a to b allow ipp").services else { panic!("not allow") };
    assert!(rule("mdns from a to b allow _IPP._tcp").services.admits(b"ipp"));
    assert!(!rule("mdns from a to b allow ipp").services.admits(b"ipps"));
    assert!(!rule("mdns from a to b deny ipp").services.admits(b"IPP"));
}

#[test]
fn a_digest_does_not_depend_on_the_names_of_legs() {
    let digest = |text: &str| {
        let rule = rule(text);
        rule.digest(&rule.pairs()[0].1)
    };
    assert_eq!(digest("239.1.2.3:5000 from a to b"), digest("239.1.2.3:5000 from c to d always"));
    assert_ne!(digest("239.1.2.3:5000 from a to b"), digest("239.1.2.3:5001 from a to b"));
    assert_ne!(digest("239.1.2.3:5000 from a to b"), digest("239.1.2.3:5000 from a to b as :5001"));
    assert_ne!(
        digest("239.1.2.3:5000 from a to udp://10.0.0.1:5000"),
        digest("239.1.2.3:5000 from a to udp://10.0.0.2:5000")
    );
    // Other machines compute it too, perhaps with another version.
    assert_eq!(digest("239.1.2.3:5000 from a to b"), 15_018_259_252_565_168_118);
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("mdns".to_owned()),
        Just("ssdp".into()),
        Just("from".into()),
        Just("to".into()),
        Just("between".into()),
        Just("and".into()),
        Just("eth0".into()),
        Just("eth1".into()),
        Just("netns:web/eth0".into()),
        Just("tunnel:a".into()),
        Just("repair".into()),
        Just("1.5s".into()),
        Just("docker:a".into()),
        Just("udp://10.0.0.1:5".into()),
        Just("239.1.2.0/24:5000".into()),
        Just("[ff15::1]+3:5-9".into()),
        Just("broadcast:9".into()),
        Just("as".into()),
        Just("ttl".into()),
        Just("4".into()),
        Just("rate".into()),
        Just("5Mbit".into()),
        Just("allow".into()),
        Just("deny".into()),
        Just("ipp,http".into()),
        Just("always".into()),
        Just(",".into()),
        "[!-~]{0,6}",
        ".{0,4}",
    ];
    prop::collection::vec(word, 0..9).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn parsing_does_not_panic_and_round_trips(text in words()) {
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule), "{}", text);
        }
    }

    #[test]
    fn rules_round_trip(
        from in "[a-z0-9.\\-]{1,8}", to in "[a-z]{1,6}", group in 0_u32..1 << 24, count in 1_u32..300,
        port in 1_u16.., both: bool, always: bool, ttl in prop::option::of(1_u8..),
    ) {
        let group = std::net::Ipv4Addr::from_bits(0xef00_0000 + group.min((1 << 24) - count));
        let route = if both { format!("between {from} and {to}") } else { format!("from {from} to {to}") };
        let ttl = ttl.map(|ttl| format!(" ttl {ttl}")).unwrap_or_default();
        let always = if always { " always" } else { "" };
        let text = format!("{group}+{count}:{port} {route}{ttl}{always}");
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule.clone()));
            for (pair_from, pair_to) in rule.pairs() {
                prop_assert!(RuleTarget::Leg(pair_from) != pair_to);
            }
        }
    }

    #[test]
    fn a_rewritten_address_is_at_the_same_offset(first in 0_u32..1 << 16, offset in 0_u32..256, port in 1_u16..) {
        let first = first & !0xff;
        let group = |number: u32| std::net::Ipv4Addr::from_bits(0xef00_0000 + number);
        let text = format!("{}/24:{port} from a to b as [ff15::{first:x}:0]+256:7", group(first));
        prop_assume!(!(319..=320).contains(&port) && !(67..=68).contains(&port) && !(546..=547).contains(&port));
        let rule = rule(&text);
        let sent = rule.rewrite.as_ref().unwrap()
            .apply(rule.traffic.ranges().first(), (group(first + offset), port).into());
        let start = (0xff15 << 112) + (u128::from(first) << 16);
        prop_assert_eq!(sent, (std::net::Ipv6Addr::from_bits(start + u128::from(offset)), 7).into());
    }
}
