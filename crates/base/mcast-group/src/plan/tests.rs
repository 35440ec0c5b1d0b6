//! What a plan is checked for.

extern crate std;

use alloc::format;
use alloc::string::ToString;

use super::*;

/// Returns the findings except notes.
fn findings_of(text: &str) -> Vec<(usize, &'static str)> {
    all(text).into_iter().filter(|(_, id)| *id != "shared-port").collect()
}

fn all(text: &str) -> Vec<(usize, &'static str)> {
    let mut plan = AddressPlan::default();
    plan.add("plan", text);
    plan.check().iter().map(|finding| (finding.line.number, finding.check.id())).collect()
}

#[test]
fn a_good_plan_has_no_findings() {
    let text = "\u{feff}# two feeds\n\
                prices-a 10.0.0.7@232.1.2.3%eth1:5000 pair=prices ttl=8\n\n\
                prices-b 10.9.0.7@232.9.2.4%eth2:5001 pair=prices ttl=8 # the other\n\
                video 239.192.1.0/28:5004\n\
                discovery mdns\n";
    assert_eq!(findings_of(text), []);
}

#[test]
fn invalid_lines_are_faults_and_the_others_are_checked() {
    let text = "alone\n239.192.1.1:5000\nx 10.0.0.1:5\nx 239.192.1.1:5000 ttl=many\n\
                y 239.192.1.1:5000 colour=red\nz 225.1.1.1:5000 allow=nonsense";
    let unreadable = [1, 2, 3, 4, 5].map(|line| (line, "unreadable"));
    assert_eq!(findings_of(text), [&unreadable[..], &[(6, "unreadable"), (6, "reserved")]].concat());
    assert_eq!(findings_of("239.192.1.1:5000 video"), [(1, "unreadable")]);
}

#[test]
fn each_group_is_checked_against_the_registries() {
    for (membership, id) in [
        ("225.1.1.1:5000", "reserved"),
        ("224.0.0.3:5000", "unassigned"),
        ("224.0.1.129:5000", "registered"),
        ("239.255.255.250:5000", "in-use"),
        ("233.252.0.1:5000", "documentation"),
        ("233.8.9.1:5000", "not-yours"),
        ("239.1.2.3:5000", "kept"),
        ("239.255.255.100:5000", "scope-top"),
        ("239.128.0.5:5000", "mac-alias-of-control"),
        ("232.1.2.3:5000", "ssm-without-source"),
        ("!10.0.0.1@232.1.2.3:5000", "ssm-without-source"),
        ("[ff3e::8000:1]:5000", "ssm-without-source"),
        ("224.0.0.251:5353 ttl=8", "scope-too-small"),
    ] {
        let findings = findings_of(&format!("x {membership}"));
        assert!(findings.contains(&(1, id)), "{membership}: {findings:?}");
    }
    assert_eq!(findings_of("x 239.255.255.250:5000 allow=in-use,scope-top,registered"), []);
}

#[test]
fn conflicting_groups_are_found() {
    assert_eq!(findings_of("a 239.192.1.1:5000\nb 239.192.1.1:5000\n"), [(2, "overlap")]);
    assert_eq!(findings_of("a 239.192.1.0/30:5000\nb 239.192.1.2+9:5000\n"), [(2, "overlap")]);
    assert_eq!(findings_of("a 239.192.1.1%eth0:5000\nb 239.192.1.1%eth1:5000\n"), []);
    assert_eq!(findings_of("a 239.192.1.1:5000\nb 239.192.1.1:5001\n"), [(2, "same-group")]);
    // With different sources the network separates them.
    assert_eq!(findings_of("a 10.0.0.1@232.1.1.1:5000\nb 10.0.0.2@232.1.1.1:5000\n"), []);
    assert_eq!(
        findings_of("a 10.0.0.1@232.1.1.1:5000\nb 10.0.0.1,10.0.0.2@232.1.1.1:5000\n"),
        [(2, "overlap")]
    );
    // 239.64.1.1 and 239.192.1.1 have the same lower 23 bits.
    assert_eq!(findings_of("a 239.192.1.1:5000\nb 239.64.1.1:5001 allow=kept\n"), [(2, "mac-alias")]);
    assert_eq!(all("a 239.192.1.1:5000\nb 239.192.1.2:5000\n"), [(2, "shared-port")]);
    assert_eq!(findings_of("a 239.192.1.1:5000\na 239.192.1.2:5001\n"), [(2, "name-twice")]);
}

#[test]
fn large_ranges_are_compared_quickly() {
    let start = std::time::Instant::now();
    assert_eq!(findings_of("a 239.193.0.0/16:5000\nb 239.193.0.0/16:5000\n"), [(2, "overlap")]);
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn redundant_feeds_must_differ() {
    let pair = |a: &str, b: &str| findings_of(&format!("a {a} pair=x\nb {b} pair=x\n"));
    assert_eq!(findings_of("a 239.192.1.1:5000 pair=x\n"), [(1, "pair-alone")]);
    assert_eq!(pair("239.192.1.1%eth0:5000", "239.192.2.1%eth1:5001"), []);
    assert!(pair("239.192.1.1%eth0:5000", "239.192.1.1%eth1:5001").contains(&(2, "pair-same-group")));
    assert_eq!(pair("239.192.1.1%eth0:5000", "239.192.2.1%eth1:5000"), [(2, "pair-same-port")]);
    assert_eq!(pair("239.192.1.1%eth0:5000", "239.192.2.1%eth0:5001"), [(2, "pair-same-interface")]);
    assert_eq!(
        pair("10.0.0.1@239.192.1.1%eth0:5000", "10.0.0.1@239.192.2.1%eth1:5001"),
        [(2, "pair-same-source")]
    );
    let aliases = pair("239.192.1.1%eth0:5000", "239.64.1.1%eth1:5001");
    assert!(aliases.contains(&(2, "pair-alias")) && !aliases.contains(&(2, "mac-alias")), "{aliases:?}");
    assert!(pair("239.192.1.1%eth0:5000", "[ff0e::8000:1%eth1]:5001").contains(&(2, "pair-scopes")));
}

#[test]
fn a_session_description_is_a_plan() {
    let text = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=x\nt=0 0\na=group:DUP a b\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 239.192.1.1/8\na=mid:a\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 239.192.1.1/8\na=mid:b\n";
    let found = findings_of(text);
    assert!(found.contains(&(9, "pair-same-group")), "{found:?}");
    let broken = text.replace("IN IP4 239.192.1.1/8", "nowhere");
    let mut plan = AddressPlan::default();
    plan.add("x.sdp", &broken);
    assert_eq!(plan.check()[0].line.to_string(), "x.sdp:7");
}
