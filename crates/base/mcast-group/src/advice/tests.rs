use super::*;
use alloc::string::{String, ToString};

fn advice(text: &str) -> Vec<String> {
    text.parse::<Group>().unwrap().advice().iter().map(ToString::to_string).collect()
}

#[test]
fn each_statement_is_given_where_it_applies() {
    for (group, expected) in [
        ("225.1.1.1", "avoid: reserved; must not be used (RFC 5771 section 3)"),
        ("224.0.0.0", "avoid: reserved; must not be used (RFC 1112)"),
        ("224.0.0.3", "avoid: only IANA assigns groups in this block"),
        ("224.0.0.251", "caution: registered for mDNS; do not use it for anything else (RFC 6762)"),
        ("224.0.0.251", "note: its protocol uses hop limit 255 (RFC 6762 section 11)"),
        ("224.0.0.251", "note: never forwarded by routers"),
        (
            "239.255.255.250",
            "caution: used by WS-Discovery, although not registered (OASIS WS-Discovery 1.1)",
        ),
        (
            "239.255.255.100",
            "avoid: only IANA assigns the last 256 addresses of a scope; this one is offset 155 below 239.255.255.255",
        ),
        (
            "239.128.0.9",
            "caution: shares its Ethernet address with 224.0.0.9, which switches flood to every port (RFC 4541 section 2.1.2)",
        ),
        ("239.1.2.3", "note: reserved for future use; prefer 239.255.0.0/16 or 239.192.0.0/14"),
        (
            "239.255.3.2",
            "note: datagrams with the default hop limit of 1 stay on the link; raise it to cross routers (RFC 1112 section 6.1)",
        ),
        ("232.1.2.3", "caution: source-specific: join it with a source"),
        ("232.0.0.0", "avoid: this part of the source-specific range is reserved"),
        ("233.8.9.1", "caution: only the holder of AS 2057 may assign it (RFC 3180 section 3)"),
        ("233.8.9.1", "note: any-source multicast between domains is deprecated"),
        ("233.251.240.1", "avoid: for documentation and examples"),
        ("233.252.0.1", "avoid: for documentation and examples; must not be used in a network (RFC 6676)"),
        ("234.198.51.100", "caution: only the holder of 198.51.100.0/24 may assign it"),
        ("ff01::1", "note: never leaves the host"),
        ("ff00::5", "avoid: scope 0 is reserved"),
        ("ff1f::8000:1", "avoid: scope f is reserved; use scope e"),
        ("ff05::9999", "avoid: only IANA assigns groups in this block"),
        (
            "ff15::1",
            "note: group identifier 1 is in the part that IANA assigns; choose one from 80000000 up (RFC 3307 section 4.3)",
        ),
        ("ff15::1", "caution: shares its Ethernet address with ff02::1"),
        ("ff2e::1", "avoid: malformed address: flag P without T"),
        ("ff3e::1", "avoid: this part of the source-specific range is not valid"),
        ("ff3e:20:2001:db9::8000:1", "caution: only the holder of 2001:db9::/32 may assign it"),
        ("ff7e:120:2001:db8::8000:1", "avoid: for documentation and examples"),
        (
            "ff32:ff:a00:27ff:fea1:33b4:8000:2",
            "caution: only the node with interface identifier 0a0027fffea133b4",
        ),
    ] {
        let advice = advice(group);
        assert!(advice.iter().any(|line| line.starts_with(expected)), "{group}: {advice:#?}");
    }
}

#[test]
fn picked_groups_have_no_advice_to_avoid_them() {
    use crate::{PickOptions, pick};
    for family in [Family::V4, Family::V6] {
        let options = PickOptions { family, ..PickOptions::default() };
        let group = pick("camera", options.default_scope(), &options).unwrap();
        let advice = group.advice();
        assert!(
            advice.iter().all(|advice| advice.severity == AdviceSeverity::Note
                || matches!(advice.statement, Statement::InUseBy(_))),
            "{group}: {advice:?}"
        );
    }
}

#[test]
fn most_severe_advice_comes_first() {
    let advice = "239.255.255.100".parse::<Group>().unwrap().advice();
    assert!(advice.is_sorted_by(|a, b| a.severity >= b.severity));
    assert_eq!(advice[0].severity, AdviceSeverity::Avoid);
}

#[test]
fn group_identifier_advice_is_given_once() {
    for group in ["ff15::1", "ff3e:20:2001:db8::1", "ff7e:120:2001:db8::1", "ff32:ff::1"] {
        let count = advice(group).iter().filter(|line| line.contains("IANA assigns; choose")).count();
        assert_eq!(count, 1, "{group}");
    }
}
