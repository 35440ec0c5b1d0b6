//! `--become`: acting as the querier of a network that has none.

use std::time::{Duration, Instant};

use mcast_lab::{Host, Switch};

use crate::network::{GROUPS, Network, address, become_querier, link_local};
use crate::schemas::assert_valid;
use crate::support::{Running, TIMEOUT, eventually, mcast, program, recv, send};

/// How long the switch keeps members. They answer every second, and a busy machine may be late.
const FORGETS: Duration = Duration::from_secs(6);

fn with_port(group: &str) -> String {
    std::net::SocketAddr::new(address(group), 5000).to_string()
}

/// A receiver of a group that prints the datagrams received.
fn receiver(host: &Host, group: &str) -> Running {
    recv(host, &[&with_port(group), "-i", "eth0", "--format", "text"])
}

fn is_member(switch: &Switch, group: &str) -> bool {
    switch.members().unwrap().iter().any(|member| member.host == "b" && member.group == address(group))
}

#[test]
fn a_receiver_behind_a_snooping_switch_keeps_receiving() {
    let network = Network::without_querier(FORGETS);
    let Network { switch, a, b, c, .. } = &network;
    let querier = become_querier(c, &[]);
    let receivers = GROUPS.map(|group| receiver(b, group));
    for group in GROUPS {
        switch.wait_for_member(b, "eth0", address(group), TIMEOUT).unwrap();
    }
    // Twice as long as the switch remembers.
    let end = Instant::now() + FORGETS * 2;
    while Instant::now() < end {
        GROUPS.iter().for_each(|group| assert!(is_member(switch, group), "{group} was forgotten"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let send_to_all =
        |text: &str| GROUPS.iter().for_each(|group| send(a, &[&with_port(group), "-i", "eth0", text]));
    send_to_all("with a querier");
    receivers.iter().for_each(|receiver| receiver.stdout.wait_for("with a querier"));

    // Without a querier the members expire and are cut off, because the switch still expects the querier that ended.
    let ended = querier.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("eth0 IGMP: was the querier"), "{ended:?}");
    for group in GROUPS {
        switch.wait_for_leave(b, "eth0", address(group), TIMEOUT).unwrap();
    }
    send_to_all("without a querier");

    // With the next querier it continues on its own.
    let querier = become_querier(c, &[]);
    for group in GROUPS {
        switch.wait_for_member(b, "eth0", address(group), TIMEOUT).unwrap();
    }
    send_to_all("again");
    for receiver in receivers {
        receiver.stdout.wait_for("again");
        let ended = receiver.signalled(libc::SIGINT);
        assert_eq!(ended.lines(), ["with a querier", "again"]);
    }
    querier.signalled(libc::SIGTERM);
}

#[test]
fn leaving_members_are_removed_soon_and_others_stay() {
    // As long as it is by default.
    let network = Network::without_querier(Duration::from_secs(260));
    let Network { switch, b, c, .. } = &network;
    let querier = become_querier(c, &["--query-interval", "60s", "--response-interval", "10s"]);
    for group in GROUPS {
        let leaves = receiver(b, group);
        switch.wait_for_member(b, "eth0", address(group), TIMEOUT).unwrap();
        leaves.signalled(libc::SIGINT);
        let begin = Instant::now();
        switch.wait_for_leave(b, "eth0", address(group), TIMEOUT).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(15), "{group}: {:?}", begin.elapsed());
        querier.stdout.wait_for(&format!("members of {group}, answer within 1 s"));
    }
    // Two on one host: the kernel says nothing when one of them leaves. On two hosts both are known, and
    // the answer of the one that stays keeps it.
    let stays = recv(c, &[&with_port(GROUPS[0]), "-i", "eth0"]);
    switch.wait_for_member(c, "eth0", address(GROUPS[0]), TIMEOUT).unwrap();
    let leaves = receiver(b, GROUPS[0]);
    switch.wait_for_member(b, "eth0", address(GROUPS[0]), TIMEOUT).unwrap();
    leaves.signalled(libc::SIGINT);
    switch.wait_for_leave(b, "eth0", address(GROUPS[0]), TIMEOUT).unwrap();
    let members = switch.members().unwrap();
    assert!(
        members.iter().any(|member| member.host == "c"),
        "the querier's own host was forgotten: {members:?}"
    );
    stays.signalled(libc::SIGINT);
    querier.signalled(libc::SIGINT);
}

#[test]
fn its_own_host_reports_memberships_too() {
    let network = Network::without_querier(FORGETS);
    let Network { switch, c, .. } = &network;
    let _querier = become_querier(c, &[]);
    let _receivers = GROUPS.map(|group| receiver(c, group));
    for group in GROUPS {
        switch.wait_for_member(c, "eth0", address(group), TIMEOUT).unwrap();
    }
    let end = Instant::now() + FORGETS * 2;
    while Instant::now() < end {
        let members = switch.members().unwrap();
        for group in GROUPS {
            let is_there = members.iter().any(|member| member.host == "c" && member.group == address(group));
            assert!(is_there, "{group} was forgotten");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn queries_follow_the_standards() {
    if !mcast_lab::has_program("tshark", "--version", "queries as tshark sees them") {
        return;
    }
    let network = Network::without_querier(Duration::from_secs(260));
    let Network { b, c, .. } = &network;
    for (older, versions) in [(&[][..], ["3", "130"]), (&["--older"][..], ["2", "130"])] {
        let filter = "igmp or (ip6 and ip6[40] == 58 and ip6[48] == 130)";
        let capture = program(
            b,
            "tshark",
            &[
                "-n",
                "-l",
                "-i",
                "eth0",
                "-f",
                filter,
                "-T",
                "fields",
                "-E",
                "separator=|",
                "-o",
                "ip.check_checksum:TRUE",
                "-e",
                "eth.dst",
                "-e",
                "ip.src",
                "-e",
                "ip.dst",
                "-e",
                "ip.ttl",
                "-e",
                "ip.dsfield.dscp",
                "-e",
                "ip.opt.ra",
                "-e",
                "igmp.version",
                "-e",
                "igmp.checksum.status",
                "-e",
                "ipv6.src",
                "-e",
                "ipv6.dst",
                "-e",
                "ipv6.hlim",
                "-e",
                "ipv6.opt.router_alert",
                "-e",
                "icmpv6.type",
                "-e",
                "icmpv6.checksum.status",
                "-Y",
                "igmp.type == 0x11 or icmpv6.type == 130",
            ],
            false,
        );
        capture.stderr.wait_for("Capturing on");
        let querier = become_querier(c, older);
        let igmp = format!("01:00:5e:00:00:01|10.0.0.3|224.0.0.1|1|48|0|{}|1|", versions[0]);
        let own = link_local(&querier);
        let mld = format!("33:33:00:00:00:01||||||||{own}|ff02::1|1|0|{}|1", versions[1]);
        eventually("both queries", || {
            let text = capture.stdout.text();
            text.contains(&igmp) && text.contains(&mld)
        });
        querier.signalled(libc::SIGINT);
        capture.child.kill().unwrap();
    }
}

#[test]
fn json_events_follow_the_schema() {
    let network = Network::without_querier(FORGETS);
    let querier = become_querier(&network.c, &["--json", "-W", "6s"]);
    let ended = querier.end().succeeded();
    let events = ended.json();
    events.iter().for_each(|event| assert_valid("querier-event", event));
    for protocol in ["igmp", "mld"] {
        let kinds = events.iter().filter(|event| event["protocol"] == protocol).map(|event| &event["event"]);
        let kinds: Vec<_> = kinds.map(|kind| kind.as_str().unwrap()).collect();
        assert_eq!(kinds[..2], ["started", "query-sent"]);
        assert!(kinds.iter().filter(|kind| **kind == "query-sent").count() >= 3, "{kinds:?}");
    }
}

#[test]
fn queries_start_when_an_interface_gets_an_address() {
    let network = Network::without_querier(FORGETS);
    let c = &network.c;
    c.remove_address("eth0", "10.0.0.3/24").unwrap();
    let running = crate::support::start(
        c,
        &[
            "querier",
            "-i",
            "eth0",
            "-4",
            "--become",
            "--query-interval",
            "1s",
            "--response-interval",
            "500ms",
        ],
    );
    running.stderr.wait_for("it has no IPv4 address");
    c.add_address("eth0", "10.0.0.9/24").unwrap();
    running.stdout.wait_for("sends queries from 10.0.0.9");
    running.stdout.wait_for("sent IGMPv3 general query");
    // Also when the interface is another one of the same name.
    c.delete_interface("eth0").unwrap();
    running.stderr.wait_for("it is down or gone");
    c.connect("eth0", &network.switch, &["10.0.0.8/24"]).unwrap();
    running.stdout.wait_for("sends queries from 10.0.0.8");
    let ended = running.signalled(libc::SIGINT);
    assert!(ended.text().split("10.0.0.8").nth(1).unwrap().contains("sent IGMPv3"), "{ended:?}");
}

#[test]
fn invalid_options_are_refused_with_a_reason() {
    let network = Network::without_querier(FORGETS);
    let c = &network.c;
    for (arguments, status, words) in [
        (&["--become"][..], 2, "--interface"),
        (&["--become", "-i", "eth0", "--response-interval", "125s"], 2, "less than the query interval"),
        (&["--become", "-i", "eth0", "--robustness", "0"], 2, "robustness must be 1 to 7"),
        (&["--query-interval", "10s"], 2, "--become"),
        (&["--become", "-i", "eth9"], 4, "eth9"),
    ] {
        let ended = mcast(c, &[&["querier"], arguments].concat());
        assert_eq!(ended.status, Some(status), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {ended:?}");
    }
    let drop = ["--bounding-set=-net_raw", crate::support::MCAST, "querier", "-i", "eth0", "--become"];
    let refused = program(c, "setpriv", &drop, false).end();
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("CAP_NET_RAW"), "{refused:?}");
}
