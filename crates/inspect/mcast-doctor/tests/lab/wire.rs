//! Loss before this machine, neighbours of what was asked for, queriers, and what a capture shows.

use std::time::Duration;

use mcast_doctor::{Options, Report, Severity};
use mcast_lab::{Host, Impairment, Lab, Switch, SwitchOptions};
use mcast_packet::gmp::IgmpMessage;
use mcast_packet::{ControlFrame, MacAddress};

use crate::net::{
    Net, Stream, assert_only, assert_received, briefly, examine, examine_for, examine_many, examine_port,
    examine_port_for_many, examine_while, general_query, has_programs, inject, listener, nft, rtp, run,
    socket,
};

crate::table::cases! {
    loss_of_rtp: LostBeforeThisMachine, "5 % of RTP lost on the way", random_loss;
    loss_by_storm_control: LostBeforeThisMachine, "20 datagrams per second let through by the switch", storm_control;
    loss_of_an_unknown_format: LostBeforeThisMachine, "10 % of numbered IPv6 datagrams lost on the way", loss_of_numbered_datagrams;
    loss_for_a_program: LostBeforeThisMachine, "5 % of RTP lost on the way, program examined", random_loss_for_program;
    loss_in_bursts: LostBeforeThisMachine, "a switch that drops 30 datagrams in a row, again and again", burst_loss;
    igmp_queries_blocked: FirewallDropsIgmp, "`nft` input rule for IGMP, an IGMPv2 querier", igmp_queries_blocked;
    igmpv3_queries_blocked: FirewallDropsIgmp, "`nft` prerouting rule for IGMP, an IGMPv3 querier", igmpv3_queries_blocked;
    mld_queries_blocked: FirewallDropsIgmp, "`nft` input rule for MLD queries, program examined", mld_queries_blocked;
    old_mld_querier: IgmpVersionForced, "an MLDv1 querier, a source-specific membership", old_mld_querier;
    two_queriers: TwoQueriers, "queries from two addresses", two_queriers;
    frequent_queries: QuerierMisconfigured, "a hundred queries per second", frequent_queries;
    long_response_time: QuerierMisconfigured, "response time 10 s, query interval 5 s", long_response_time;
    stopped_querier: NoQuerier, "a querier stops", stopped_querier;
    other_group: SentToAnotherGroup, "sent to 239.61.7.70, joined 239.61.7.7", other_group;
    other_group_of_a_program: SentToAnotherGroup, "sent to ff05::1234, a program joins ff15::1234", other_group_for_program;
    jumbo_frames: MtuTooSmall, "receiver's MTU 1500, 4000 bytes sent as jumbo frames", jumbo_frames;
    macvlan_isolation: MacvlanIsolation, "a container with a macvlan interface on the receiver sends", macvlan_isolation;
    forgotten_membership: MembershipForgotten, "a snooping switch that has forgotten another program", forgotten_membership;
    forgotten_membership_of_a_program: MembershipForgotten, "the same, program examined", forgotten_membership_of_program;
}

/// A sender, and a receiver behind a bad link.
struct BadNet {
    _lab: Lab,
    _lan: Switch,
    sender: Host,
    receiver: Host,
}

fn bad_net(impairment: Impairment) -> BadNet {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
    sender.connect("eth0", &lan, &["10.9.0.1/24", "fd09::1/64"]).unwrap();
    lab.connect_badly(&receiver, "eth0", &lan, &["10.9.0.2/24", "fd09::2/64"], impairment).unwrap();
    BadNet { _lab: lab, _lan: lan, sender, receiver }
}

/// A link that loses 5 % of an RTP stream.
pub(crate) fn random_loss() -> Report {
    let net = bad_net(Impairment { loss: 0.05, ..Impairment::default() });
    let _stream = Stream::rtp(&net.sender, "239.1.2.3:5000");
    examine_many(&net.receiver, "239.1.2.3%eth0:5000")
}

/// The same for a program.
pub(crate) fn random_loss_for_program() -> Report {
    let net = bad_net(Impairment { loss: 0.05, ..Impairment::default() });
    let _stream = Stream::rtp(&net.sender, "239.1.2.3:5000");
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    examine_port_for_many(&net.receiver, 5000)
}

/// A link that loses 10 % of a stream of datagrams that begin with a number.
pub(crate) fn loss_of_numbered_datagrams() -> Report {
    let net = bad_net(Impairment { loss: 0.1, ..Impairment::default() });
    let _stream = Stream::to(&net.sender, "[ff15::1234]:5000");
    examine_many(&net.receiver, "[ff15::1234%eth0]:5000")
}

/// A switch that lets fewer datagrams through than are sent.
pub(crate) fn storm_control() -> Report {
    let net = Net::new();
    nft(&net.lan.inside(), "bridge", "hook forward", "limit rate over 20/second drop");
    let _stream = Stream::rtp(&net.sender, "239.1.2.3:5000");
    examine_many(&net.receiver, "239.1.2.3%eth0:5000")
}

/// A switch that drops 30 datagrams in a row, again and again.
pub(crate) fn burst_loss() -> Report {
    let net = Net::new();
    nft(&net.lan.inside(), "bridge", "hook forward", "'udp dport 5000 numgen inc mod 100 < 30 drop'");
    let _stream = Stream::rtp(&net.sender, "239.1.2.3:5000");
    examine_many(&net.receiver, "239.1.2.3%eth0:5000")
}

/// Returns the frame of a message from an address.
fn frame(net: &Net, source: [u8; 4], message: IgmpMessage<'_>) -> Vec<u8> {
    let mut buffer = [0; 128];
    let mac = MacAddress(net.ports[0].hardware_address);
    let length = ControlFrame { mac, source: source.into(), message }.emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

const QUERY_INTERVAL: Duration = Duration::from_secs(125);
const RESPONSE_TIME: Duration = Duration::from_secs(10);

/// Returns the options of a switch that asks every second, and expects answers at once.
fn queried(options: SwitchOptions) -> SwitchOptions {
    options.query_interval(Duration::from_secs(1)).query_response_interval(Duration::from_millis(500))
}

/// Returns a network with this querier, whose first query arrives after the firewall of the receiver has this rule.
fn queried_behind(options: SwitchOptions, (family, hook, rule): (&str, &str, &str)) -> Net {
    let net = Net::with(queried(options).querier(false));
    nft(&net.receiver, family, hook, rule);
    net.lan.set_querier(true).unwrap();
    net
}

/// An IGMPv2 querier, and a firewall that drops incoming IGMP.
pub(crate) fn igmp_queries_blocked() -> Report {
    let rule = ("inet", "hook input", "meta l4proto igmp drop");
    let net = queried_behind(SwitchOptions::managed().igmp_version(2), rule);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_for(&net.receiver, "239.1.2.3%eth0:5000", &Options::default().listening(Duration::from_secs(4)))
}

/// The same with IGMPv3, in which the system does not show what it has processed.
pub(crate) fn igmpv3_queries_blocked() -> Report {
    let rule = ("ip", "hook prerouting", "ip protocol igmp drop");
    let net = queried_behind(SwitchOptions::managed().igmp_version(3), rule);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_for(&net.receiver, "239.1.2.3%eth0:5000", &Options::default().listening(Duration::from_secs(4)))
}

/// A program, and a firewall that drops incoming MLD queries.
pub(crate) fn mld_queries_blocked() -> Report {
    let rule = ("ip6", "hook input", "icmpv6 type mld-listener-query counter drop");
    let net = queried_behind(SwitchOptions::managed().mld_version(1), rule);
    let _listener = listener(&net.receiver, "[ff15::1234]:5000", &[("ff15::1234", "eth0")]);
    let _stream = Stream::to(&net.sender, "[ff15::1234]:5000");
    examine_port(&net.receiver, 5000)
}

/// An MLDv1 querier and a membership with a source.
pub(crate) fn old_mld_querier() -> Report {
    let net = Net::with(queried(SwitchOptions::managed().mld_version(1)));
    let _stream = Stream::to(&net.sender, "[ff3e::4321:1234]:5000");
    let options = Options::default().listening(Duration::from_secs(3));
    examine_for(&net.receiver, "fd09::1@[ff3e::4321:1234%eth0]:5000", &options)
}

/// Examines a stream while these queries arrive again and again.
fn examine_with_queries(queries: impl FnOnce(&Net) -> Vec<Vec<u8>>) -> Report {
    let net = Net::new();
    let _injection = inject(&net.sender, "eth0", &queries(&net));
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

pub(crate) fn two_queriers() -> Report {
    examine_with_queries(|net| {
        let query = general_query(QUERY_INTERVAL, RESPONSE_TIME);
        [1, 254].map(|host| frame(net, [10, 9, 0, host], query)).into()
    })
}

/// A hundred queries per second.
pub(crate) fn frequent_queries() -> Report {
    let query = general_query(QUERY_INTERVAL, RESPONSE_TIME);
    examine_with_queries(|net| vec![frame(net, [10, 9, 0, 1], query)])
}

/// A querier that gives hosts more time than there is between two queries.
pub(crate) fn long_response_time() -> Report {
    let net = Net::new();
    let query = general_query(Duration::from_secs(5), RESPONSE_TIME);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_while(&net.receiver, "239.1.2.3%eth0:5000", &briefly(), || net.send_igmp(&query))
}

/// A querier that stops while the doctor listens.
pub(crate) fn stopped_querier() -> Report {
    let net = Net::new();
    let query = general_query(Duration::from_secs(1), Duration::from_millis(100));
    let options = Options::default().listening(Duration::from_secs(4));
    examine_while(&net.receiver, "239.1.2.3%eth0:5000", &options, || net.send_igmp(&query))
}

/// A program that joined a while ago, and a switch that has forgotten it.
fn forgotten<T>(examine: impl FnOnce(&Net) -> T) -> T {
    let group: std::net::IpAddr = [239, 1, 2, 3].into();
    let interval = Duration::from_secs(2);
    let net = Net::with(SwitchOptions::default().snooping(true).membership_interval(interval));
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    net.send_igmp(&general_query(QUERY_INTERVAL, Duration::from_millis(100)));
    let at_most = Duration::from_secs(10);
    net.lan.wait_for_member(&net.receiver, "eth0", group, at_most).unwrap();
    net.lan.wait_for_leave(&net.receiver, "eth0", group, at_most).unwrap();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine(&net)
}

/// The doctor beside that program.
pub(crate) fn forgotten_membership() -> Report {
    forgotten(|net| examine(&net.receiver, "239.1.2.3%eth0:5000"))
}

/// That program examined.
pub(crate) fn forgotten_membership_of_program() -> Report {
    forgotten(|net| examine_port(&net.receiver, 5000))
}

/// Examines a program that a switch has forgotten because a rule of its machine drops queries, which come too rarely to be seen.
fn forgotten_behind(group: &str, family: &str, rule: &str) -> Report {
    let (interval, at_most) = (Duration::from_secs(2), Duration::from_secs(10));
    // A host that answers the first query late would report the group after the switch has forgotten it.
    let switch = SwitchOptions::managed()
        .query_interval(Duration::from_secs(60))
        .query_response_interval(Duration::from_millis(100))
        .membership_interval(interval);
    let net = Net::with(switch);
    nft(&net.receiver, family, "hook input", rule);
    let address: std::net::IpAddr = group.parse().unwrap();
    let to = std::net::SocketAddr::new(address, 5000).to_string();
    let _listener = listener(&net.receiver, &to, &[(group, "eth0")]);
    net.lan.wait_for_member(&net.receiver, "eth0", address, at_most).unwrap();
    net.lan.wait_for_leave(&net.receiver, "eth0", address, at_most).unwrap();
    let _stream = Stream::to(&net.sender, &to);
    examine_port(&net.receiver, 5000)
}

#[test]
fn rule_that_drops_rare_queries_is_named_and_no_querier_is_not_blamed() {
    if !crate::net::has_programs() {
        return;
    }
    let cases = [
        ("239.1.2.3", "ip", "ip protocol igmp drop"),
        ("ff15::1234", "ip6", "icmpv6 type mld-listener-query drop"),
    ];
    for (group, family, rule) in cases {
        let report = forgotten_behind(group, family, rule);
        assert_only(&report, mcast_doctor::Id::FirewallDropsIgmp);
        let finding = &report.findings[0];
        assert_eq!(finding.severity, mcast_doctor::Severity::Fault, "{report:#?}");
        assert!(finding.cause.contains(&format!("{family} test c")), "{report:#?}");
    }
}

#[test]
fn forgotten_member_whose_rules_admit_queries_is_not_blamed_on_them() {
    if !crate::net::has_programs() {
        return;
    }
    for (group, family) in [("239.1.2.3", "ip"), ("ff15::1234", "ip6")] {
        let report = forgotten_behind(group, family, "udp dport 4000 drop");
        assert_only(&report, mcast_doctor::Id::MembershipForgotten);
        let texts: Vec<_> = report.findings.iter().flat_map(|finding| &finding.remedies).collect();
        assert!(!format!("{texts:?}").contains("--become"), "{report:#?}");
    }
}

/// A switch drops the group from the start, and a program had joined, so that the doctor reports it again.
#[test]
fn sender_of_which_nothing_has_arrived_is_not_said_to_have_stopped() {
    if !crate::net::has_programs() {
        return;
    }
    for (group, matches) in [("239.1.2.3", "ip daddr 239.1.2.3"), ("ff15::1234", "ip6 daddr ff15::1234")] {
        let net = Net::new();
        nft(&net.lan.inside(), "bridge", "hook forward", &format!("{matches} drop"));
        let to = std::net::SocketAddr::new(group.parse().unwrap(), 5000).to_string();
        let _listener = listener(&net.receiver, &to, &[(group, "eth0")]);
        let _stream = Stream::to(&net.sender, &to);
        let report = examine(&net.receiver, &to.replace(group, &format!("{group}%eth0")));
        assert_only(&report, mcast_doctor::Id::NothingArrives);
        let text = format!("{report:?}");
        assert!(text.contains("another report") && !text.contains("has stopped"), "{report:#?}");
    }
}

#[test]
fn querier_keeps_the_membership() {
    let net = Net::with(queried(SwitchOptions::managed()));
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let report = examine(&net.receiver, "239.1.2.3%eth0:5000");
    assert!(report.findings.iter().all(|finding| finding.id != mcast_doctor::Id::NoQuerier), "{report:#?}");
}

#[test]
pub(crate) fn queriers_of_all_versions_are_healthy() {
    let options = Options::default().listening(Duration::from_secs(3));
    for version in [2, 3] {
        let switch = SwitchOptions::managed().igmp_version(version).mld_version(version - 1);
        let net = Net::with(queried(switch));
        let _streams =
            [Stream::to(&net.sender, "239.1.2.3:5000"), Stream::to(&net.sender, "[ff15::1234]:5000")];
        assert_received(&examine_for(&net.receiver, "239.1.2.3%eth0:5000", &options));
        assert_received(&examine_for(&net.receiver, "[ff15::1234%eth0]:5000", &options));
    }
}

/// The sender uses a group with a digit too much.
pub(crate) fn other_group() -> Report {
    Net::new().examine("239.61.7.70:5000", "239.61.7.7%eth0:5000")
}

/// A program, and a sender that uses another scope.
pub(crate) fn other_group_for_program() -> Report {
    let net = Net::new();
    let _stream = Stream::to(&net.sender, "[ff05::1234]:5000");
    let _listener = listener(&net.receiver, "[ff15::1234]:5000", &[("ff15::1234", "eth0")]);
    examine_port(&net.receiver, 5000)
}

/// Packets of 4000 bytes for an interface with an MTU of 1500.
pub(crate) fn jumbo_frames() -> Report {
    let net = jumbo_net();
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 4000, |_| {});
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// Returns a network in which only the receiver does not accept jumbo frames.
fn jumbo_net() -> Net {
    let net = Net::new();
    net.sender.set_mtu("eth0", 9000).unwrap();
    run(
        &net.lan.inside(),
        "for p in $(ip -o link show master br0 | cut -d: -f2 | cut -d@ -f1); do ip link set dev $p mtu 9000; done",
    );
    net
}

/// A container with a macvlan interface on the receiver, which sends.
struct MacvlanSender(mcast_lab::Child);

impl MacvlanSender {
    fn on(host: &Host) -> Self {
        const PROGRAM: &str = "echo begun
read moved
ip link set dev mv0 up && ip address add 10.9.0.77/24 dev mv0
exec python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(\"10.9.0.77\"))
for number in range(100000):
    s.sendto(number.to_bytes(8, \"big\"), (\"239.1.2.3\", 5000))
    if number == 0: print(\"sent\", flush=True)
    time.sleep(0.01)'";
        use std::io::{BufRead, BufReader, Write};
        let mut command = host.command("unshare").unwrap();
        command.args(["--net", "sh", "-c", PROGRAM]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "begun");
        run(
            host,
            &format!(
                "ip link add link eth0 name mv0 type macvlan mode bridge && ip link set dev mv0 netns {}",
                child.id()
            ),
        );
        child.stdin.as_mut().unwrap().write_all(b"moved\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "sent");
        Self(child)
    }
}

impl Drop for MacvlanSender {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A container on the host sends with a macvlan interface.
pub(crate) fn macvlan_isolation() -> Report {
    let net = Net::new();
    let _container = MacvlanSender::on(&net.receiver);
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// Applies the first remedy of a finding that is a command.
fn apply(host: &Host, report: &Report) {
    let remedies = report.findings.iter().flat_map(|finding| &finding.remedies);
    let is_of_system = |remedy: &&mcast_doctor::Remedy| remedy.tool != mcast_doctor::Tool::Mcast;
    let command = remedies.filter(is_of_system).find_map(mcast_doctor::Remedy::command);
    run(host, &command.unwrap());
}

#[test]
fn remedies_make_datagrams_arrive() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _container = MacvlanSender::on(&net.receiver);
    apply(&net.receiver, &examine(&net.receiver, "239.1.2.3%eth0:5000"));
    net.receiver.add_address("eth0-mv", "10.9.0.78/24").unwrap();
    assert_received(&examine(&net.receiver, "239.1.2.3%eth0-mv:5000"));

    let net = jumbo_net();
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 4000, |_| {});
    apply(&net.receiver, &examine(&net.receiver, "239.1.2.3%eth0:5000"));
    assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
pub(crate) fn interfaces_of_one_network_that_only_the_doctor_joined_are_healthy() {
    let net = Net::new();
    net.receiver.connect("eth1", &net.lan, &["10.9.0.3/24"]).unwrap();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    assert_no_fault(&examine(&net.receiver, "239.1.2.3:5000"));

    let net = Net::new();
    net.receiver.macvlan("mv0", "eth0", &["10.9.0.3/24"]).unwrap();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    assert_no_fault(&examine(&net.receiver, "239.1.2.3:5000"));
}

fn assert_no_fault(report: &Report) {
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{report:#?}");
    assert_eq!(report.arrival, mcast_doctor::ArrivalStatus::Arrives, "{report:#?}");
}

fn evidence(report: &Report) -> String {
    format!("{:?}", report.findings.iter().map(|finding| &finding.evidence).collect::<Vec<_>>())
}

#[test]
fn pattern_of_a_loss_is_reported() {
    if !has_programs() {
        return;
    }
    assert!(evidence(&random_loss()).contains("at random"), "{:#?}", random_loss());
    let bursts = burst_loss();
    assert!(evidence(&bursts).contains("in bursts"), "{bursts:#?}");
}

#[test]
pub(crate) fn rtp_that_is_reordered_repeated_and_restarted_has_lost_nothing() {
    let net = bad_net(Impairment {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(20),
        reorder: 0.2,
        duplicate: 0.02,
        ..Impairment::default()
    });
    let sender = socket(&net.sender, [239, 1, 2, 3].into(), "eth0");
    let _stream = Stream::of(sender.into(), "239.1.2.3:5000".parse().unwrap(), |number| {
        // Every 100 datagrams another stream, with numbers that are about to wrap.
        rtp(((number % 100) as u16).wrapping_add(65_480), (number / 100) as u32 + 1)
    });
    assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
fn loss_of_payloads_without_numbers_is_not_examined() {
    let net = Net::new();
    let sender = socket(&net.sender, [239, 1, 2, 3].into(), "eth0");
    let _stream = Stream::of(sender.into(), "239.1.2.3:5000".parse().unwrap(), |_| b"hello".to_vec());
    let report = examine(&net.receiver, "239.1.2.3%eth0:5000");
    assert_received(&report);
    let part = report.examined.iter().find(|part| part.part.contains("loss before this machine")).unwrap();
    assert!(part.gap.as_ref().unwrap().contains("without sequence numbers"), "{part:?}");
}

#[test]
fn numbers_in_text_are_not_sequence_numbers() {
    let net = Net::new();
    let formats: [fn(u64) -> String; 4] = [
        |number| format!("{} volts", number + 10),
        |number| format!("{{\"seq\": {}, \"ok\": true}}", number + 100),
        |number| format!("{:06x}", number + 8),
        |number| format!("${number:04},240.5,-3.1*"),
    ];
    for format in formats {
        let socket = socket(&net.sender, [239, 1, 2, 3].into(), "eth0");
        let _stream = Stream::of(socket.into(), "239.1.2.3:5000".parse().unwrap(), move |number| {
            format(number).into_bytes()
        });
        assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
    }
}
