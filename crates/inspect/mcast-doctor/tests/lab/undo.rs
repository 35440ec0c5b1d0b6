//! Undoing remedies later: after others have changed the machine, and after the doctor was killed.

use mcast_doctor::{ChangeOutcome, Id, Remedy, Report};
use mcast_lab::Host;

use crate::net::{Net, Stream, examine, has_programs, nft, run};
use crate::treatment::{Kept, assert_as_before, machine};

const GROUPS: [(&str, &str); 2] =
    [("239.1.2.3:5000", "239.1.2.3%eth0:5000"), ("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")];

/// Applies the remedy of a finding, and ends as if the doctor had been killed: nothing is undone.
fn treat(kept: &Kept, host: &Host, report: &Report, id: Id) -> Remedy {
    let finding = report.findings.iter().find(|finding| finding.id == id);
    let remedy = finding.and_then(mcast_doctor::Finding::applicable_remedy);
    let remedy = remedy.unwrap_or_else(|| panic!("no remedy of {id}: {report:#?}"));
    kept.apply(host, remedy);
    remedy.clone()
}

fn rules(host: &Host) -> String {
    let output = host.command("nft").unwrap().args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Handles start again with a ruleset that is reloaded, as Debian's configuration does.
#[test]
fn rule_of_the_administrator_that_got_its_handle_stays() {
    if !has_programs() {
        return;
    }
    for (to, membership) in GROUPS {
        let (net, kept) = (Net::new(), Kept::new());
        nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
        let _stream = Stream::to(&net.sender, to);
        treat(&kept, &net.receiver, &examine(&net.receiver, membership), Id::FirewallDropsData);
        let reloaded = "nft flush ruleset && nft 'table inet test { chain c { type filter hook input priority 0; \
                        tcp dport 22 ip saddr 192.0.2.0/24 accept; tcp dport 22 drop; udp dport 5000 drop; }; }'";
        run(&net.receiver, reloaded);
        let before = rules(&net.receiver);
        let undone = kept.undo(&net.receiver);
        let outcomes: Vec<_> = undone.iter().flat_map(|entry| &entry.outcomes).collect();
        assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, ChangeOutcome::Gone)), "{outcomes:?}");
        assert_eq!(rules(&net.receiver), before);
        assert_eq!(kept.undo(&net.receiver).len(), 0, "it is undone once");
    }
}

/// The administrator has saved the rules with that of the doctor, and others stand before it now.
#[test]
fn rule_that_was_saved_and_loaded_with_others_is_found_by_its_mark() {
    if !has_programs() {
        return;
    }
    let (net, kept) = (Net::new(), Kept::new());
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
    let _stream = Stream::to(&net.sender, GROUPS[0].0);
    treat(&kept, &net.receiver, &examine(&net.receiver, GROUPS[0].1), Id::FirewallDropsData);
    let file = kept.folder().join("saved");
    let file = file.display();
    run(
        &net.receiver,
        &format!(
            "nft list ruleset > {file} && nft flush ruleset && nft -f {file} && nft insert rule inet test c tcp dport 22 drop"
        ),
    );
    kept.undo(&net.receiver);
    let rules = rules(&net.receiver);
    assert!(rules.contains("tcp dport 22 drop") && rules.contains("udp dport 5000"), "{rules}");
    assert!(!rules.contains("mcast-"), "{rules}");
}

#[test]
fn value_that_somebody_has_changed_since_is_left_alone() {
    if !has_programs() {
        return;
    }
    let (net, kept) = (Net::new(), Kept::new());
    net.receiver.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    let _stream = Stream::to(&net.sender, GROUPS[1].0);
    treat(&kept, &net.receiver, &examine(&net.receiver, GROUPS[1].1), Id::Ipv6NotReady);
    net.receiver.sysctl("net/ipv6/conf/eth0/disable_ipv6", "2").unwrap();
    let undone = kept.undo(&net.receiver);
    assert!(matches!(&undone[0].outcomes[..], [(_, ChangeOutcome::LeftAlone(_))]), "{undone:?}");
    let read = || std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").unwrap();
    assert_eq!(net.receiver.run(read).unwrap().trim(), "2");
}

/// The groups leave by a tunnel. The kernel's own routes for IPv6 groups have a metric of 256.
#[test]
fn route_of_groups_moves_them_and_leaves_those_of_the_kernel_when_it_is_undone() {
    if !has_programs() {
        return;
    }
    let (net, kept) = (Net::new(), Kept::new());
    let tunnel = "ip tuntap add mode tun name tun0 && ip -6 address add fd99::1/64 dev tun0 nodad && ip link set tun0 up && \
                  ip -6 route add multicast ff00::/8 dev tun0 table local metric 128";
    run(&net.receiver, tunnel);
    let before = machine(&net.receiver);
    let report = crate::net::examine_host(&net.receiver);
    let remedy = treat(&kept, &net.receiver, &report, Id::VpnTakesDefault);
    run(&net.receiver, "ip -6 route get ff15::1 | grep -q 'dev eth0'");
    kept.undo(&net.receiver);
    assert_as_before(&net.receiver, &before, &remedy);
}

/// Each namespace has its own entries in the journal that they share.
#[test]
fn what_was_applied_in_another_namespace_is_not_undone() {
    if !has_programs() {
        return;
    }
    let (net, kept) = (Net::new(), Kept::new());
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
    let _stream = Stream::to(&net.sender, GROUPS[0].0);
    let before = machine(&net.receiver);
    let remedy = treat(&kept, &net.receiver, &examine(&net.receiver, GROUPS[0].1), Id::FirewallDropsData);
    assert_eq!(kept.undo(&net.sender).len(), 0);
    assert!(rules(&net.receiver).contains("mcast-"));
    assert_eq!(kept.undo(&net.receiver).len(), 1);
    assert_as_before(&net.receiver, &before, &remedy);
}
