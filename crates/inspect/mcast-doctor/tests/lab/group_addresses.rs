//! Groups that are addresses of a machine (`ip address add GROUP dev INTERFACE autojoin`).

use mcast_doctor::{Finding, Id, Report, Severity};

use crate::net::{
    Net, Stream, assert_only, assert_received, examine, examine_port, has_programs, listener, run,
    stream_of_program,
};

/// Each group with the membership on `eth0`.
const GROUPS: [(&str, &str, &str); 2] = [
    ("239.1.2.3", "239.1.2.3:5000", "239.1.2.3%eth0:5000"),
    ("ff15::1234", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000"),
];

fn add_address(host: &mcast_lab::Host, group: &str) {
    let (length, more) = if group.contains(':') { (128, " nodad") } else { (32, "") };
    run(host, &format!("ip address add {group}/{length} dev eth0 autojoin{more}"));
}

/// Asserts that the address is named with its removal, and that nobody is advised to join on the loopback interface.
fn assert_names_address(report: &Report, group: &str) {
    assert_only(report, Id::SentByOtherInterface);
    let is_this =
        |finding: &&Finding| finding.id == Id::SentByOtherInterface && finding.severity == Severity::Fault;
    let Some(finding) = report.findings.iter().find(is_this) else { panic!("{report:#?}") };
    assert!(
        finding.cause.starts_with(&format!("{group} is an address of this machine, on eth0")),
        "{finding:#?}"
    );
    let remedies = format!("{:?}", finding.remedies);
    assert!(remedies.contains(&format!("{group}/")) && !remedies.contains("%lo"), "{finding:#?}");
    assert!(report.findings.iter().all(|finding| finding.id != Id::JoinedOtherInterface), "{report:#?}");
}

#[test]
fn group_that_is_an_address_of_its_sender_is_named() {
    if !has_programs() {
        return;
    }
    for (group, to, membership) in GROUPS {
        let net = Net::new();
        add_address(&net.sender, group);
        let (_stream, port) = stream_of_program(&net.sender, to, "eth0");
        assert_names_address(&examine(&net.sender, membership), group);
        assert_names_address(&examine_port(&net.sender, port), group);
    }
}

/// An address joins its group; for receiving, that is enough.
#[test]
fn group_that_is_an_address_of_a_receiver_is_healthy() {
    if !has_programs() {
        return;
    }
    for (group, to, membership) in GROUPS {
        let net = Net::new();
        add_address(&net.receiver, group);
        let _stream = Stream::to(&net.sender, to);
        assert_received(&examine(&net.receiver, membership));
        let any = if group.contains(':') { "[::]:5000" } else { "0.0.0.0:5000" };
        let _listener = listener(&net.receiver, any, &[]);
        let report = examine_port(&net.receiver, 5000);
        assert_eq!(report.findings, [], "{report:#?}");
    }
}
