//! A machine that is examined without naming a group or a program: each program that has joined is judged as if it had been named.

use std::ops::ControlFlow;
use std::time::Duration;

use mcast_doctor::{ArrivalStatus, Id, Report, Severity, Verdict, examine_programs};

use crate::net::{Listener, Net, Stream, assert_healthy, briefly, examine_host, has_programs, listener, run};
use crate::treatment::{examine_and_treat, on};

crate::table::cases! {
    reverse_path_filter_of_the_machine: ReversePathFilter, "`rp_filter` 1 and a source on another network, machine with a program examined", strict_reverse_path;
    redirected_on_the_machine: Redirected, "`nft` rule with `redirect`, the same", redirect_rule;
    firewall_drops_data_of_the_machine: FirewallDropsData, "`nft` rule for the source, IPv6, the same", rule_for_the_source_v6;
    bound_to_unicast_on_the_machine: BoundToUnicast, "a program bound to the address of the interface, the same", bound_to_the_address;
}

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";

/// Examines the receiver without naming what it has joined.
fn examine_alone(net: &Net) -> Report {
    let examine = || examine_programs(&briefly(), &mut |_| ControlFlow::Continue(())).unwrap();
    examine_and_treat(&net.receiver, || on(&net.receiver, examine))
}

fn program(net: &Net, bind: &str, group: &str) -> Listener {
    listener(&net.receiver, bind, &[(group, "eth0")])
}

/// Examines a machine that these commands change, and on which a program has joined the group.
fn with_program(commands: &str, to: &str, (bind, group): (&str, &str)) -> Report {
    let net = Net::new();
    run(&net.receiver, commands);
    let _program = program(&net, bind, group);
    let _stream = Stream::to(&net.sender, to);
    examine_alone(&net)
}

fn strict_reverse_path() -> Report {
    // The sender's address is no longer in the network of the interface.
    let commands = "sysctl -qw net.ipv4.conf.eth0.rp_filter=1 && ip address flush dev eth0 && \
                    ip address add 10.77.0.2/24 dev eth0 && ip route replace 224.0.0.0/4 dev eth0";
    with_program(commands, GROUP, ("0.0.0.0:5000", "239.1.2.3"))
}

fn redirect_rule() -> Report {
    let commands = "nft 'table ip n { chain p { type nat hook prerouting priority -100; udp dport 5000 redirect to :5999; }; }'";
    with_program(commands, GROUP, ("0.0.0.0:5000", "239.1.2.3"))
}

fn rule_for_the_source_v6() -> Report {
    let commands = "nft 'table inet f { chain i { type filter hook input priority 0; ip6 saddr fd09::1 udp dport 5000 drop; }; }'";
    with_program(commands, GROUP_V6, ("[::]:5000", "ff15::1234"))
}

fn bound_to_the_address() -> Report {
    with_program("true", GROUP, ("10.9.0.2:5000", "239.1.2.3"))
}

#[test]
fn programs_that_receive_are_in_order() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _programs = [program(&net, "0.0.0.0:5000", "239.1.2.3"), program(&net, "[::]:5001", "ff15::1234")];
    let _streams = [Stream::to(&net.sender, GROUP), Stream::to(&net.sender, "[ff15::1234]:5001")];
    let report = examine_alone(&net);
    assert_healthy(&report);
    assert_eq!(report.flows.len(), 2, "{report:#?}");
}

#[test]
fn one_of_two_programs_is_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _programs = [program(&net, "0.0.0.0:5000", "239.1.2.3"), program(&net, "0.0.0.0:5001", "239.1.2.4")];
    run(
        &net.receiver,
        "nft 'table inet f { chain i { type filter hook input priority 0; udp dport 5001 drop; }; }'",
    );
    let _streams = [Stream::to(&net.sender, GROUP), Stream::to(&net.sender, "239.1.2.4:5001")];
    let report = examine_alone(&net);
    let faults: Vec<_> =
        report.findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
    assert_eq!(
        faults.iter().map(|fault| fault.id).collect::<Vec<_>>(),
        [Id::FirewallDropsData],
        "{report:#?}"
    );
    assert_eq!(faults[0].subject.group().as_deref(), Some("239.1.2.4:5001"));
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Incomplete, Verdict::Faults));
}

/// A service of mDNS in a quiet network: it sends only when something changes.
#[test]
fn protocols_that_rest_leave_nothing_undecided() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _program = program(&net, "0.0.0.0:5353", "224.0.0.251");
    let report = examine_alone(&net);
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{report:#?}");
    assert_eq!(report.verdict(), Verdict::Healthy, "{report:#?}");
}

#[test]
fn machine_without_programs_is_not_listened_to() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let mut is_called = false;
    let mut progress = |_| {
        is_called = true;
        ControlFlow::Continue(())
    };
    let report = on(&net.receiver, || examine_programs(&briefly(), &mut progress).unwrap());
    assert_eq!((report.verdict(), is_called), (Verdict::Healthy, false), "{report:#?}");
}

/// Asserts what is claimed of an examined switch or router: the one rule, with the groups that it drops.
fn assert_barred(report: &Report, group: Option<&str>) {
    let rules: Vec<_> =
        report.findings.iter().filter(|finding| finding.id == Id::FirewallDropsData).collect();
    assert_eq!(rules.len(), 1, "{report:#?}");
    assert_eq!((rules[0].severity, rules[0].subject.group().as_deref()), (Severity::Warning, group));
    assert_eq!(report.verdict(), Verdict::Warnings, "{report:#?}");
}

#[test]
fn rules_that_keep_groups_from_the_ports_of_a_switch_are_named() {
    if !has_programs() {
        return;
    }
    const CHAIN: &str = "chain c { type filter hook forward priority 0; ";
    let net = Net::with(mcast_lab::SwitchOptions::managed());
    let switch = net.lan.inside();
    let _programs = [program(&net, "0.0.0.0:5000", "239.1.2.3"), program(&net, "[::]:5001", "ff15::1234")];
    for group in ["239.1.2.3", "ff15::1234"] {
        net.lan
            .wait_for_member(&net.receiver, "eth0", group.parse().unwrap(), Duration::from_secs(30))
            .unwrap();
    }
    for (rule, group) in [
        ("meta pkttype multicast drop", None),
        ("meta l4proto udp drop", None),
        ("ip daddr 239.1.2.3 drop", Some("239.1.2.3")),
        ("ip6 daddr ff15::/16 drop", Some("ff15::1234")),
    ] {
        run(&switch, &format!("nft 'table bridge t {{ {CHAIN} {rule}; }}; }}'"));
        assert_barred(&crate::net::examine_host(&switch), group);
        run(&switch, "nft delete table bridge t");
    }
    // Docker drops by default what is forwarded, and turns br_netfilter on.
    let forward = "nft 'table ip t { chain c { type filter hook forward priority 0; policy drop; }; }'";
    run(&switch, &format!("{forward} && sysctl -qw net.bridge.bridge-nf-call-iptables=1"));
    let report = crate::net::examine_host(&switch);
    assert_barred(&report, None);
    let named = format!("{:?}", report.findings);
    assert!(named.contains("br_netfilter") && named.contains("bridge-nf-call-iptables"), "{named}");
    run(&switch, "sysctl -qw net.bridge.bridge-nf-call-iptables=0");
    assert_healthy(&crate::net::examine_host(&switch));
    run(&switch, "nft delete table ip t");
    for rule in ["udp dport 53 drop", "ip daddr 239.9.9.9 drop", "ether daddr 02:00:00:00:00:01 drop"] {
        run(&switch, &format!("nft 'table bridge t {{ {CHAIN} {rule}; }}; }}'"));
        assert_healthy(&crate::net::examine_host(&switch));
        run(&switch, "nft delete table bridge t");
    }
}

/// A program that takes frames of LLDP has joined nothing of IP.
#[test]
fn program_that_takes_frames_without_ip_is_an_open_question() {
    if !has_programs() {
        return;
    }
    const PROGRAM: &str = "import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88cc))
s.bind(('eth0', 0x88cc))
group = bytes.fromhex('0180c200000e0000')
s.setsockopt(263, 1, struct.pack('iHH8s', socket.if_nametoindex('eth0'), 0, 6, group))
print('joined', flush=True)
s.recv(2000)";
    let net = Net::new();
    assert_eq!(examine_host(&net.receiver).open_questions, []);
    let mut python = net.receiver.command("python3").unwrap();
    let mut child = python.args(["-c", PROGRAM]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let report = examine_host(&net.receiver);
    child.kill().unwrap();
    child.wait().unwrap();
    let [question] = report.open_questions.as_slice() else { panic!("{report:#?}") };
    let id = format!("({})", child.id());
    assert!(question.question.contains("01:80:c2:00:00:0e") && question.question.contains(&id), "{question}");
    assert!(question.reason.contains("do not forward"), "{question}");
}
