//! Why this machine refuses to send: what its routes, rules and interfaces decide.

use mcast::{ErrorKind, Sender};
use mcast_doctor::{Finding, Id, Instructions, explain_error};

use crate::net::{Net, has_programs, nft, run};

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234%eth0]:5000";

/// Sends a datagram from the sender, and returns the kind of the error with what explains it; `None` if it was sent.
fn refusal(net: &Net, to: &str) -> Option<(ErrorKind, Option<Finding>)> {
    let refused = || {
        let sender = Sender::to(to.parse().unwrap());
        let error = sender.and_then(|sender| sender.send(b"x")).err()?;
        Some((error.kind(), explain_error(&error)))
    };
    net.sender.run(refused).unwrap()
}

fn explained(net: &Net, to: &str) -> (ErrorKind, String, String) {
    let (kind, finding) = refusal(net, to).expect("it was sent");
    let finding = finding.unwrap_or_else(|| panic!("{to}: {kind} is not explained"));
    let command = finding.remedies.first().and_then(mcast_doctor::Remedy::command);
    (kind, finding.cause, command.unwrap_or_default())
}

#[test]
fn rule_that_rejects_groups_is_named_and_removed() {
    if !has_programs() {
        return;
    }
    let cases = [
        ("ip", "224.0.0.0/4", GROUP, "prohibit", ErrorKind::RouteRejects),
        ("ip", "224.0.0.0/4", GROUP, "unreachable", ErrorKind::RouteRejects),
        ("ip", "224.0.0.0/4", GROUP, "blackhole", ErrorKind::Other),
    ];
    for (ip, groups, to, kind, error) in cases {
        let net = Net::new();
        assert_eq!(refusal(&net, to), None, "without the rule");
        run(&net.sender, &format!("{ip} rule add pref 90 to {groups} lookup 90"));
        run(&net.sender, &format!("{ip} route add {kind} {groups} table 90"));
        let (found, cause, command) = explained(&net, to);
        assert_eq!(found, error, "{kind}");
        assert!(cause.contains(&format!("90: from all to {groups} lookup 90")), "{cause}");
        assert!(cause.contains(&format!("{kind} {groups} table 90")), "{cause}");
        run(&net.sender, &command);
        assert_eq!(refusal(&net, to), None, "{command} helps");
    }
}

#[test]
fn missing_route_for_ipv6_groups_is_added_again() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    assert_eq!(refusal(&net, GROUP_V6), None, "with the route");
    run(&net.sender, "ip -6 route del multicast ff00::/8 dev eth0 table local");
    let (kind, cause, command) = explained(&net, GROUP_V6);
    assert_eq!(kind, ErrorKind::NoRoute, "{cause}");
    assert_eq!(command, "ip -6 route add multicast ff00::/8 dev eth0 table local");
    run(&net.sender, &command);
    assert_eq!(refusal(&net, GROUP_V6), None, "{command} helps");
}

/// As after a boot without a default route.
#[test]
fn missing_route_is_named_with_the_interface_that_could_carry_the_group() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.sender, "ip route flush root 224.0.0.0/4; ip route flush exact 0.0.0.0/0; ip link set lo up");
    let (kind, finding) = refusal(&net, GROUP).expect("there is no route");
    let finding = finding.expect("it is explained");
    assert_eq!((kind, finding.id), (ErrorKind::NoRoute, Id::NoRoute));
    let mut advice = finding.remedies.iter().filter_map(|remedy| match &remedy.instructions {
        Instructions::Advice(advice) => Some(advice.as_str()),
        Instructions::Actions { .. } => None,
    });
    assert!(advice.next_back().unwrap().contains("`239.1.2.3%eth0:5000`"), "{finding:?}");
    assert_eq!(refusal(&net, "239.1.2.3%eth0:5000"), None, "the advice helps");
    run(&net.sender, &finding.remedies[0].command().unwrap());
    assert_eq!(refusal(&net, GROUP), None, "the route helps");
}

#[test]
fn interface_without_ipv6_is_explained_by_its_setting_or_mtu() {
    for (path, value, word) in
        [("net/ipv6/conf/eth0/disable_ipv6", "1", "IPv6 is disabled"), ("", "1200", "IPv6 needs 1280")]
    {
        let net = Net::new();
        match path {
            "" if !has_programs() => continue,
            "" => run(&net.sender, &format!("ip link set eth0 mtu {value}")),
            path => net.sender.sysctl(path, value).unwrap(),
        }
        let (_, cause, _) = explained(&net, GROUP_V6);
        assert!(cause.contains(word), "{cause}");
    }
}

/// A rule is named, and the printed exception helps. One for another group, and one that the error does not come from, are not.
#[test]
fn rule_of_the_packet_filter_is_named_and_admits_the_group() {
    if !has_programs() {
        return;
    }
    for (to, family, rule, other) in [
        (GROUP, "ip", "ip daddr 239.1.2.3 drop", "ip daddr 239.9.9.9 drop"),
        (GROUP_V6, "ip6", "udp dport 5000 drop", "udp dport 5001 drop"),
    ] {
        let net = Net::new();
        nft(&net.sender, family, "hook output", other);
        assert_eq!(refusal(&net, to), None, "{other}");
        run(&net.sender, &format!("nft add rule {family} test c {rule}"));
        let (kind, cause, command) = explained(&net, to);
        assert_eq!(kind, ErrorKind::Permission);
        assert!(cause.contains("at the output hook") && cause.contains("eth0"), "{cause}");
        run(&net.sender, &command);
        assert_eq!(refusal(&net, to), None, "{command} helps");
    }
}
