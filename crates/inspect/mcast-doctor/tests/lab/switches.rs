//! Switches, and hosts that are switches.

use std::time::Duration;

use mcast_doctor::{Options, Report};
use mcast_lab::SwitchOptions;

use crate::net::{
    Net, Stream, assert_received, examine, examine_for, examine_host, examine_port, general_query,
    has_programs, listener, run,
};

crate::table::cases! {
    no_querier: NoQuerier, "a snooping switch that received one query and then none", no_querier;
    igmp_version_forced: IgmpVersionForced, "`force_igmp_version` 2", forced_version;
    igmp_version_forced_under_a_program: IgmpVersionForced, "the same for all interfaces, program examined", forced_version_of_program;
    igmp_version_of_the_querier: IgmpVersionForced, "an IGMPv2 querier, a source-specific membership", old_querier;
    flood_off: FloodOff, "`mcast_flood off` at a port", flood_off;
    fast_leave: FastLeave, "`fastleave on` at ports, two hosts behind one", fast_leave;
    snooping_table_full: SnoopingTableFull, "`mcast_hash_max` 4, ten groups", full_table;
    forgetful_switch: QuerierMisconfigured, "a bridge that forgets memberships before its next query, switch examined without a group", forgetful_switch;
}

/// A snooping switch received one query and then none, so it forgets its members.
pub(crate) fn no_querier() -> Report {
    let interval = Duration::from_secs(4);
    let net = Net::with(SwitchOptions::default().snooping(true).membership_interval(interval));
    last_query(&net);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let options = Options::default().listening(Duration::from_secs(9)).with(|options| {
        options.query_interval = Duration::from_secs(5);
        options.membership_interval = interval;
    });
    examine_for(&net.receiver, "239.1.2.3%eth0:5000", &options)
}

/// A general query, sent once by a querier that then disappears.
pub(crate) fn last_query(net: &Net) {
    net.send_igmp(&general_query(Duration::from_secs(125), Duration::from_secs(1)));
}

/// An IGMPv2 querier and a membership with a source.
pub(crate) fn old_querier() -> Report {
    let net = Net::with(SwitchOptions::managed().igmp_version(2).query_interval(Duration::from_secs(1)));
    let _stream = Stream::to(&net.sender, "232.1.2.3:5000");
    let options = Options::default().listening(Duration::from_secs(3));
    examine_for(&net.receiver, "10.9.0.1@232.1.2.3%eth0:5000", &options)
}

/// IGMPv2 forced by a setting.
pub(crate) fn forced_version() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/conf/eth0/force_igmp_version", "2").unwrap();
    examine_host(&net.receiver)
}

/// The same for all interfaces, examining a program.
pub(crate) fn forced_version_of_program() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/conf/all/force_igmp_version", "2").unwrap();
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// A port to which unregistered groups are not flooded.
pub(crate) fn flood_off() -> Report {
    let net = Net::with(SwitchOptions::managed());
    run(
        &net.lan.inside(),
        "bridge link set dev $(ip -o link show master br0 | head -1 | cut -d: -f2 | cut -d@ -f1) mcast_flood off",
    );
    examine_host(&net.lan.inside())
}

/// Fast leave on a port with two hosts behind it.
pub(crate) fn fast_leave() -> Report {
    let net = Net::with(SwitchOptions::managed());
    net.receiver.macvlan("second", "eth0", &["10.9.0.3/24"]).unwrap();
    run(
        &net.lan.inside(),
        "for p in $(ip -o link show master br0 | cut -d: -f2 | cut -d@ -f1); do bridge link set dev $p fastleave on; done",
    );
    // The switch learns hosts from the frames they send.
    let sender = net.receiver.run(|| std::net::UdpSocket::bind("10.9.0.3:0").unwrap()).unwrap();
    sender.send_to(b"here", "10.9.0.1:9").unwrap();
    run(
        &net.lan.inside(),
        "for i in $(seq 100); do [ $(bridge fdb show br br0 | grep -vc permanent) -ge 3 ] && exit 0; sleep 0.05; done; bridge fdb; exit 1",
    );
    examine_host(&net.lan.inside())
}

/// The group table is full.
pub(crate) fn full_table() -> Report {
    let net = Net::with(SwitchOptions::managed().hash_max(4));
    let groups: Vec<_> = (1..=10).map(|last| format!("239.7.7.{last}")).collect();
    let joins: Vec<_> = groups.iter().map(|group| (group.as_str(), "eth0")).collect();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &joins);
    run(
        &net.lan.inside(),
        "for i in $(seq 100); do ip -d link show br0 | grep -q 'mcast_snooping 0' && exit 0; sleep 0.05; done; bridge mdb; exit 1",
    );
    examine_host(&net.lan.inside())
}

/// A switch that forgets memberships long before it queries again.
pub(crate) fn forgetful_switch() -> Report {
    let net = Net::with(SwitchOptions::managed());
    let switch = net.lan.inside();
    run(&switch, "ip link set dev br0 type bridge mcast_membership_interval 500");
    examine_host(&switch)
}

/// Reports to the group itself, which the kernel may drop after it has looked at them, are not datagrams.
#[test]
fn switch_with_an_old_querier() {
    if !has_programs() {
        return;
    }
    let net = Net::with(SwitchOptions::managed().igmp_version(2));
    let switch = net.lan.inside();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    assert_received(&examine(&switch, "239.1.2.3%br0:5000"));
}
