//! IPsec policies of the receiver and of the sender.

use mcast_doctor::{Id, Report};

use crate::net::{Net, Stream, examine_port, has_programs, listener, nft, run, stream_of_program};

crate::table::cases! {
    policy_blocks_output: DroppedWhenSending, "an IPsec policy blocks what a program sends, it is examined", policy_blocks_output;
    ipsec_policy: IpsecPolicy, "an IPsec policy that blocks groups", ipsec_blocks;
    ipsec_policy_of_ipv6: IpsecPolicy, "an IPsec policy that demands ESP, IPv6", ipsec_demands_esp;
    ipsec_policy_for_a_program: IpsecPolicy, "an IPsec policy that blocks the group, program examined", ipsec_blocks_program;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// An IPsec policy blocks all groups.
pub(crate) fn ipsec_blocks() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip xfrm policy add dir in src 0.0.0.0/0 dst 239.0.0.0/8 action block priority 10");
    net.examine(GROUP, MEMBERSHIP)
}

/// An IPsec policy demands ESP for everything.
pub(crate) fn ipsec_demands_esp() -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        "ip xfrm policy add dir in src ::/0 dst ::/0 priority 10 tmpl proto esp mode transport level required",
    );
    net.examine(GROUP_V6, MEMBERSHIP_V6)
}

/// The same while a program is examined.
pub(crate) fn ipsec_blocks_program() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip xfrm policy add dir in src 10.9.0.0/24 dst 239.1.2.3/32 action block priority 10");
    let _stream = Stream::to(&net.sender, GROUP);
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    examine_port(&net.receiver, 5000)
}

/// An IPsec policy that blocks what a program sends.
pub(crate) fn policy_blocks_output() -> Report {
    let net = Net::new();
    run(&net.sender, "ip xfrm policy add dir out dst 239.0.0.0/8 action block");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    examine_port(&net.sender, port)
}

/// What a program reads of another stream is not of this one: nothing of it arrives, so the policy is still ahead of it.
#[test]
fn policy_behind_a_rule_is_named_beside_a_stream_that_arrives() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.receiver, "ip xfrm policy add dir in src 10.9.0.0/24 dst 239.1.2.3/32 action block priority 10");
    nft(&net.receiver, "ip", "hook prerouting", "ip daddr 239.1.2.3 drop");
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0"), ("239.7.7.7", "eth0")]);
    let (_lost, _read) = (Stream::to(&net.sender, GROUP), Stream::to(&net.sender, "239.7.7.7:5000"));
    let report = examine_port(&net.receiver, 5000);
    let found: Vec<_> = report.findings.iter().map(|finding| finding.id).collect();
    assert_eq!(found, [Id::FirewallDropsData, Id::IpsecPolicy], "{report:#?}");
}
