//! Programs that are on the port while a membership is examined. The doctor joins the group, and with that it may change what they
//! receive: it must not take for healthy what ends when it leaves.
//!
//! The situations are those of public reports, in which a program receives only as long as another listener or a capture runs.

use std::net::UdpSocket;

use mcast_doctor::{Finding, Id, Report, Severity, Verdict};
use mcast_lab::Host;

use crate::net::{Listener, Net, Stream, assert_received, has, has_programs, listener, run};

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";

/// Examines a group that arrives on `eth0`, with these programs beside it: what each is bound to, and what it has joined.
fn examine_beside(group: &str, programs: &[(&str, &[(&str, &str)])]) -> (Net, Vec<Listener>, Report) {
    let net = Net::new();
    net.second_lan();
    let beside: Vec<_> = programs.iter().map(|(bind, joins)| listener(&net.receiver, bind, joins)).collect();
    let report = net.examine(group, &group.replace(":5000", "%eth0:5000").replace("]%eth0", "%eth0]"));
    (net, beside, report)
}

fn finding(report: &Report, id: Id) -> &Finding {
    let found = report.findings.iter().find(|finding| finding.id == id);
    found.unwrap_or_else(|| panic!("no {id}: {report:#?}"))
}

/// Whether the finding states that the program receives as long as the doctor is a member.
fn is_lent(finding: &Finding) -> bool {
    finding.cause.contains("While mcast listens, ") && finding.cause.contains("receives it, too")
}

#[test]
fn program_that_receives_only_while_the_doctor_listens_is_a_fault() {
    if !has_programs() {
        return;
    }
    for (group, bind) in [(GROUP, "0.0.0.0:5000"), (GROUP, GROUP), (GROUP_V6, "[::]:5000")] {
        let address = group.trim_end_matches(":5000").trim_matches(['[', ']']);
        let (_net, beside, report) = examine_beside(group, &[(bind, &[(address, "eth1")])]);
        let found = finding(&report, Id::JoinedOtherInterface);
        assert_eq!((found.severity, report.verdict()), (Severity::Fault, Verdict::Faults), "{report:#?}");
        assert!(is_lent(found), "{}", found.cause);
        assert_eq!(report.summary(), "datagrams arrive, but not at every program; 1 fault");
        drop(beside);
    }
}

/// A process of its own that has joined the group on `eth1`, with this value of `IP_MULTICAST_ALL`.
struct Elsewhere(mcast_lab::Child);

impl Elsewhere {
    fn start(net: &Net, takes_all: u8) -> Self {
        let mut python = net.receiver.command("python3").unwrap();
        // IP_MULTICAST_ALL is 49.
        let program = format!(
            "import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(0, 49, {takes_all})
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 5000))
s.setsockopt(0, 35, socket.inet_aton('239.1.2.3') + socket.inet_aton('10.8.0.2'))
print(flush=True)
sys.stdin.read()"
        );
        let pipes = python.args(["-c", &program]).stdin(std::process::Stdio::piped());
        let mut child = pipes.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut String::new()).unwrap();
        Self(child)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn program_that_receives_its_own_memberships_only_does_not_receive_while_the_doctor_listens() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.second_lan();
    let program = Elsewhere::start(&net, 0);
    let report = net.examine(GROUP, MEMBERSHIP);
    drop(program);
    let found = finding(&report, Id::JoinedOtherInterface);
    assert_eq!(found.severity, Severity::Fault, "{report:#?}");
    assert!(!is_lent(found), "{}", found.cause);
}

#[test]
fn program_that_has_joined_nothing_is_named_with_what_the_doctor_gives_it() {
    if !has_programs() {
        return;
    }
    // A socket that is bound to the group can be for nothing else.
    for (bind, severity, verdict) in
        [("0.0.0.0:5000", Severity::Warning, Verdict::Warnings), (GROUP, Severity::Fault, Verdict::Faults)]
    {
        let (_net, _beside, report) = examine_beside(GROUP, &[(bind, &[])]);
        let found = finding(&report, Id::NotJoined);
        assert_eq!((found.severity, report.verdict()), (severity, verdict), "{report:#?}");
        assert!(is_lent(found), "{}", found.cause);
        assert_eq!(report.findings.len(), 1, "{report:#?}");
    }
}

#[test]
fn program_for_which_another_one_has_joined_receives_without_the_doctor() {
    if !has_programs() {
        return;
    }
    let joined: (&str, &[(&str, &str)]) = ("0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let (_net, _beside, report) = examine_beside(GROUP, &[joined, ("0.0.0.0:5000", &[])]);
    assert_received(&report);
    // A program with a socket for each network.
    let (_net, _beside, report) =
        examine_beside(GROUP, &[joined, ("0.0.0.0:5000", &[("239.1.2.3", "eth1")])]);
    assert_received(&report);
    // Another program may be meant for another network.
    let net = Net::new();
    net.second_lan();
    let _beside = listener(&net.receiver, joined.0, joined.1);
    let _elsewhere = Elsewhere::start(&net, 1);
    let report = net.examine(GROUP, MEMBERSHIP);
    assert_eq!(report.verdict(), Verdict::Warnings, "{report:#?}");
    assert!(!is_lent(finding(&report, Id::JoinedOtherInterface)), "{report:#?}");
}

#[test]
fn programs_that_the_doctor_gives_nothing_are_not_named() {
    if !has_programs() {
        return;
    }
    let others: [(&str, &[(&str, &str)]); 2] =
        [("0.0.0.0:5001", &[]), ("0.0.0.0:5000", &[("239.1.2.3", "eth0")])];
    let (_net, _beside, report) = examine_beside(GROUP, &others);
    assert_received(&report);
    // A socket for unicast, and one for another family.
    let (_net, _beside, report) = examine_beside(GROUP, &[("10.9.0.2:5000", &[])]);
    assert!(!has(&report, Id::NotJoined), "{report:#?}");
    let (_net, _beside, report) = examine_beside(GROUP_V6, &[("0.0.0.0:5000", &[])]);
    assert!(!has(&report, Id::NotJoined), "{report:#?}");
}

#[test]
fn listener_in_another_namespace_gives_this_one_nothing() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let container = net.lab.host("container").unwrap();
    container.connect("eth0", &net.lan, &["10.9.0.5/24"]).unwrap();
    let _there = listener(&container, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let here = listener(&net.receiver, "0.0.0.0:5000", &[]);
    let report = net.examine(GROUP, MEMBERSHIP);
    assert!(is_lent(finding(&report, Id::NotJoined)), "{report:#?}");
    drop(here);
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
fn capture_that_runs_changes_nothing_of_the_verdict() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.second_lan();
    // As tcpdump and Wireshark do.
    run(&net.receiver, "ip link set eth0 promisc on");
    let program = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth1")]);
    let report = net.examine(GROUP, MEMBERSHIP);
    assert_eq!(finding(&report, Id::JoinedOtherInterface).severity, Severity::Fault, "{report:#?}");
    // Once it joins where the group arrives, all is well.
    drop(program);
    let _repaired = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

/// What the kernel does, on which the verdicts rest: the socket gets the group as long as another one is a member.
#[test]
fn kernel_delivers_to_a_socket_that_has_joined_elsewhere_while_another_is_a_member() {
    let net = Net::new();
    net.second_lan();
    let open =
        |host: &Host, join: &str| crate::net::idle_listener(host, "0.0.0.0:5000", &[("239.1.2.3", join)]);
    let program = open(&net.receiver, "eth1");
    let _stream = Stream::to(&net.sender, GROUP);
    let receives = |socket: &UdpSocket| {
        socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        socket.recv(&mut [0; 100]).is_ok()
    };
    assert!(!receives(&program));
    let member = open(&net.receiver, "eth0");
    assert!(receives(&member) && receives(&program));
}
