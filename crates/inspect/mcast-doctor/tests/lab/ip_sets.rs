//! Rules of `iptables` that test packets by sets of `ipset`.

use std::net::UdpSocket;

use mcast_doctor::{Finding, Id, Report, Severity};

use crate::net::{Net, Stream, assert_received, examine, examine_port, has_programs, run};

/// A family: its address of the stream, the membership, the options of sets, the program, the source, and a network with it.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const FAMILIES: [Case; 2] = [
    ("239.1.2.3:5000", "239.1.2.3%eth0:5000", "", "iptables", "10.9.0.1", "10.9.0.0/24"),
    ("[ff15::1234]:5000", "[ff15::1234%eth0]:5000", "family inet6", "ip6tables", "fd09::1", "fd09::/64"),
];

/// Returns a network whose receiver has a set, and a rule that tests it; `None` where the kernel has no sets.
fn receiver_with((kind, elements): (&str, &[&str]), rule: &str) -> Option<Net> {
    let net = Net::new();
    if let Err(error) = net.receiver.add_ip_set("listed", kind, elements) {
        mcast_lab::skip(format!("this test needs ipset in the kernel: {error}"));
        return None;
    }
    run(&net.receiver, rule);
    Some(net)
}

/// Asserts that the rule is the only fault, and that the finding says what the set has.
fn assert_named(report: &Report, evidence: &str) {
    let faults: Vec<_> =
        report.findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
    let [finding] = &faults[..] else { panic!("{report:#?}") };
    assert_eq!(finding.id, Id::FirewallDropsData, "{report:#?}");
    assert!(has_evidence(finding, evidence), "{evidence}: {report:#?}");
}

fn has_evidence(finding: &Finding, text: &str) -> bool {
    finding.evidence.iter().any(|evidence| format!("{evidence:?}").contains(text))
}

fn group_of(to: &str) -> &str {
    to.rsplit_once(':').map_or(to, |(group, _)| group.trim_matches(['[', ']']))
}

#[test]
fn set_of_sources_or_groups_is_named_with_its_element() {
    if !has_programs() {
        return;
    }
    for (to, membership, options, program, source, network) in FAMILIES {
        let group = group_of(to);
        let datagram = format!("{source},udp:5000");
        let sets = [
            (format!("hash:ip {options}"), source, "--match-set listed src"),
            (format!("hash:net {options}"), network, "--match-set listed src"),
            (format!("hash:ip {options}"), group, "--match-set listed dst"),
            (format!("hash:ip,port {options}"), &datagram, "--match-set listed src,dst"),
        ];
        for kind in ["legacy", "nft"] {
            for (set, element, test) in &sets {
                let rule = format!("{program}-{kind} -A INPUT -m set {test} -j DROP");
                let Some(net) = receiver_with((set, &[element]), &rule) else { return };
                let report = net.examine(to, membership);
                assert_named(&report, &format!("the set `listed` of ipset: contains {element}"));
            }
        }
    }
}

#[test]
fn set_that_lacks_the_source_drops_by_a_negated_rule() {
    if !has_programs() {
        return;
    }
    for (to, membership, options, program, source, network) in FAMILIES {
        let other = if options.is_empty() { "10.9.0.77" } else { "fd09::77" };
        let rule = format!("{program}-legacy -A INPUT -m set ! --match-set listed src -j DROP");
        let Some(net) = receiver_with((&format!("hash:ip {options}"), &[other]), &rule) else { return };
        assert_named(&net.examine(to, membership), "the set `listed` of ipset: has no element that matches");
        let exception = format!("{source} nomatch");
        let set: (&str, &[&str]) = (&format!("hash:net {options}"), &[network, &exception]);
        let Some(net) = receiver_with(set, &rule) else { return };
        assert_named(&net.examine(to, membership), "as an exception (nomatch)");
    }
}

#[test]
fn set_without_the_source_is_not_accused() {
    if !has_programs() {
        return;
    }
    for (to, membership, options, program, source, network) in FAMILIES {
        let other = if options.is_empty() { "10.9.0.77" } else { "fd09::77" };
        let exception = format!("{source} nomatch");
        let sets: [(String, Vec<&str>, &str); 4] = [
            (format!("hash:ip {options}"), vec![other], "--match-set listed src"),
            (format!("hash:ip {options}"), vec![source], "--match-set listed dst"),
            (format!("hash:ip {options}"), vec![source], "! --match-set listed src"),
            (format!("hash:net {options}"), vec![network, &exception], "--match-set listed src"),
        ];
        for (set, elements, test) in &sets {
            let rule = format!("{program}-legacy -A INPUT -m set {test} -j DROP");
            let Some(net) = receiver_with((set, elements), &rule) else { return };
            assert_received(&net.examine(to, membership));
        }
    }
}

/// A program that has not joined the group, behind whose fault a rule with a set acts.
fn not_joined(to: &str, listed: (&str, &[&str]), rule: &str) -> Option<Report> {
    let net = receiver_with(listed, rule)?;
    let any = if to.starts_with('[') { "[::]:5000" } else { "0.0.0.0:5000" };
    let _socket = net.receiver.run(|| UdpSocket::bind(any).unwrap()).unwrap();
    let _stream = Stream::to(&net.sender, to);
    Some(examine_port(&net.receiver, 5000))
}

#[test]
fn rule_with_a_set_behind_a_missing_join_is_named() {
    if !has_programs() {
        return;
    }
    for (to, _, options, program, source, _) in FAMILIES {
        let other = if options.is_empty() { "10.9.0.77" } else { "fd09::77" };
        let rule = format!("{program}-legacy -A INPUT -m set --match-set listed src -j DROP");
        let kind = format!("hash:ip {options}");
        let faults = |element: &str| {
            let report = not_joined(to, (&kind, &[element]), &rule)?;
            let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault);
            Some((faults.map(|finding| finding.id).collect::<Vec<_>>(), report.clone()))
        };
        let Some((both, report)) = faults(source) else { return };
        assert_eq!(both.iter().filter(|id| **id == Id::FirewallDropsData).count(), 1, "{report:#?}");
        assert!(report.findings.iter().any(|finding| has_evidence(finding, source)), "{report:#?}");
        assert_eq!(both.len(), 2, "{report:#?}");
        let Some((first, report)) = faults(other) else { return };
        assert_eq!(first, both[..1], "{report:#?}");
    }
}

#[test]
fn set_that_cannot_be_evaluated_is_reported_and_not_taken_for_an_absent_element() {
    if !has_programs() {
        return;
    }
    let (to, membership, ..) = FAMILIES[0];
    let rule = "iptables-legacy -A INPUT -m set --match-set listed src,src -j DROP";
    let set: (&str, &[&str]) = ("bitmap:ip,mac range 10.9.0.0/24", &["10.9.0.1"]);
    let Some(net) = receiver_with(set, rule) else { return };
    let report = net.examine(to, membership);
    let gap =
        report.examined.iter().find(|part| part.part == "sets of ipset").and_then(|part| part.gap.clone());
    assert!(gap.is_some_and(|gap| gap.contains("listed") && gap.contains("bitmap:ip,mac")), "{report:#?}");
    // The counter of the rule shows that it drops; the set is unknown.
    assert_named(&report, "the set `listed` of ipset: unknown");
}

#[test]
fn set_at_the_output_of_a_sender_is_named() {
    if !has_programs() {
        return;
    }
    for (to, membership, options, program, source, _) in FAMILIES {
        let net = Net::new();
        let (kind, group) = (format!("hash:ip {options}"), group_of(to));
        if let Err(error) = net.sender.add_ip_set("listed", &kind, &[group]) {
            return mcast_lab::skip(format!("this test needs ipset in the kernel: {error}"));
        }
        run(&net.sender, &format!("{program}-legacy -A OUTPUT -m set --match-set listed dst -j DROP"));
        let _stream = Stream::to(&net.sender, to);
        let report = examine(&net.sender, membership);
        let finding = report.findings.iter().find(|finding| finding.id == Id::FirewallDropsOutput);
        let Some(finding) = finding else { panic!("{source}: {report:#?}") };
        assert!(has_evidence(finding, &format!("contains {group}")), "{report:#?}");
    }
}
