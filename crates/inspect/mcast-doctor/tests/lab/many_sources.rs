//! Groups with more sources than are examined one by one: large groups, and forged sources.

use std::time::Duration;

use mcast_doctor::{Finding, Id, Options, Report, Severity};

use crate::net::{Net, assert_only, assert_received, examine_for, has_programs, inject_every, nft, run};

/// Each of them sends several times while the doctor listens.
const SOURCES: u32 = 2_000;
const INTERVAL: Duration = Duration::from_micros(200);

/// Returns a network on which many sources send to a group, and the report of its receiver.
fn examined(net: &Net, group: &str) -> Report {
    run(&net.receiver, "ip route add 10.0.0.0/8 dev eth0");
    let source = |number: u32| match group.starts_with('[') {
        true => format!("fd09::1:{number:x}"),
        false => format!("10.20.{}.{}", number / 200, 1 + number % 200),
    };
    let frames: Vec<_> = (0..SOURCES).map(|number| net.frame(&source(number), group, number)).collect();
    let _injection = inject_every(&net.sender, "eth0", &frames, INTERVAL);
    let (ip, port) = group.rsplit_once(':').unwrap();
    let membership = match ip.strip_suffix(']') {
        Some(ip) => format!("{ip}%eth0]:{port}"),
        None => format!("{ip}%eth0:{port}"),
    };
    examine_for(&net.receiver, &membership, &Options::default().listening(Duration::from_secs(3)))
}

const GROUPS: [&str; 2] = ["239.1.2.3:5000", "[ff15::1234]:5000"];

#[test]
fn group_with_two_thousand_sources_is_healthy() {
    if !has_programs() {
        return;
    }
    for group in GROUPS {
        assert_received(&examined(&Net::new(), group));
    }
}

#[test]
fn rule_that_drops_two_thousand_sources_is_one_fault() {
    if !has_programs() {
        return;
    }
    for group in GROUPS {
        let net = Net::new();
        nft(&net.receiver, "inet", "hook input", "udp dport 5000 drop");
        let report = examined(&net, group);
        assert_only(&report, Id::FirewallDropsData);
        let is_fault = |finding: &&Finding| finding.severity == Severity::Fault;
        assert_eq!(report.findings.iter().filter(is_fault).count(), 1, "{report:#?}");
    }
}
