//! Switches flood, snoop and query.

use std::net::IpAddr;

use mcast_lab::{Host, HostInterface, Lab, Switch, SwitchOptions};

use super::sockets::{GROUP, TIMEOUT, assert_nothing_received, receive, receiver, sender};

const OTHER: [&str; 2] = ["239.9.9.9", "ff15::9999"];

struct ThreeHosts {
    _lab: Lab,
    lan: Switch,
    hosts: [(Host, HostInterface); 3],
}

fn three_hosts(options: SwitchOptions) -> ThreeHosts {
    let lab = Lab::new().unwrap();
    let lan = lab.switch_with("lan", options).unwrap();
    let hosts = [1, 2, 3].map(|number| {
        let host = lab.host(&format!("h{number}")).unwrap();
        let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
        let interface = host.connect("eth0", &lan, &addresses.each_ref().map(String::as_str)).unwrap();
        (host, interface)
    });
    ThreeHosts { _lab: lab, lan, hosts }
}

/// Counts the frames to a group that reach a host while `send` runs.
fn count_frames(host: &Host, group: IpAddr, send: impl FnOnce()) -> usize {
    let mut tap = Tap::open(host);
    send();
    tap.count(group)
}

/// A packet socket that receives every frame that reaches a host, joined or not.
struct Tap(socket2::Socket);

impl Tap {
    fn open(host: &Host) -> Self {
        use socket2::{Domain, Protocol, Socket, Type};
        let all = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = host.run(|| Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(all)).unwrap());
        Self(socket.unwrap())
    }

    fn count(&mut self, group: IpAddr) -> usize {
        let mut packet = [0; 2048];
        let mut count = 0;
        while let Ok(length) = std::io::Read::read(&mut self.0, &mut packet) {
            let packet = &packet[..length];
            count += usize::from(match group {
                IpAddr::V4(group) => packet.get(16..20) == Some(&group.octets()) && packet[9] == 17,
                IpAddr::V6(group) => packet.get(24..40) == Some(&group.octets()) && packet[6] == 17,
            });
        }
        count
    }
}

#[test]
fn an_unmanaged_switch_floods() {
    let ThreeHosts { hosts: [(h1, p1), (h2, p2), (h3, _)], .. } = &three_hosts(SwitchOptions::default());
    let receiver = receiver(h2, p2, GROUP);
    let frames = count_frames(h3, GROUP, || {
        sender(h1, p1).send(GROUP, b"all");
        receive(&receiver);
        // The switch sends to its ports in order, h2 before h3. When the second datagram has reached h2, the first has
        // reached h3.
        send_again(h1);
        receive(&receiver);
    });
    assert!(frames >= 1);
}

fn send_again(host: &Host) {
    let socket = host.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    socket.send_to(b"again", (GROUP, 5000)).unwrap();
}

#[test]
fn a_snooping_switch_forwards_groups_to_their_members_only() {
    let ThreeHosts { lan, hosts: [(h1, p1), (h2, p2), (h3, p3)], .. } =
        &three_hosts(SwitchOptions::managed());
    for group in ["239.255.1.3", "ff15::1234"].map(|group| group.parse().unwrap()) {
        let member = receiver(h2, p2, group);
        let other_group = OTHER[usize::from(group.is_ipv6())].parse().unwrap();
        let other = receiver(h3, p3, other_group);
        lan.wait_for_member(h2, "eth0", group, TIMEOUT).unwrap();
        lan.wait_for_member(h3, "eth0", other_group, TIMEOUT).unwrap();

        let address = if group.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sender = h1.run(|| std::net::UdpSocket::bind(address).unwrap()).unwrap();
        if group.is_ipv4() {
            h1.add_route("224.0.0.0/4", "eth0").unwrap();
        }
        let send = |group: IpAddr| match group {
            IpAddr::V4(group) => sender.send_to(b"x", (group, 5000)).unwrap(),
            IpAddr::V6(group) => {
                sender.send_to(b"x", std::net::SocketAddrV6::new(group, 5000, 0, p1.index)).unwrap()
            }
        };
        let frames = count_frames(h3, group, || {
            send(group);
            receive(&member);
            // Frames keep their order: when the datagram to h3's own group has arrived, an earlier one would have, too.
            send(other_group);
            receive(&other);
        });
        assert_eq!(frames, 0, "{group}");
    }
}

#[test]
fn a_group_without_members_is_not_flooded_even_at_first() {
    let ThreeHosts { hosts: [(h1, p1), (h2, p2), (h3, _)], lan, .. } = &three_hosts(SwitchOptions::managed());
    let group = "239.9.9.9".parse().unwrap();
    let sender = sender(h1, p1);
    let member = receiver(h2, p2, GROUP);
    let frames = count_frames(h3, group, || {
        sender.send(group, b"x");
        lan.wait_for_member(h2, "eth0", GROUP, TIMEOUT).unwrap();
        sender.send(GROUP, b"x");
        receive(&member);
    });
    assert_eq!(frames, 0);
}

#[test]
fn the_querier_of_a_new_switch_is_active() {
    let lab = Lab::new().unwrap();
    for number in 1..=10 {
        let lan = lab.switch_with(&format!("lan{number}"), SwitchOptions::managed()).unwrap();
        // The kernel floods until about the time of its first queries.
        assert!(mld_queries_received(&lan.inside()) > 0);
    }
}

fn mld_queries_received(host: &Host) -> u32 {
    let text = host.read_proc_net("snmp6").unwrap();
    let line = text.lines().find(|line| line.starts_with("Icmp6InGroupMembQueries")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_switch_removes_members_that_leave() {
    let ThreeHosts { lan, hosts: [_, (h2, p2), _], .. } =
        &three_hosts(SwitchOptions::managed().query_response_interval(std::time::Duration::from_millis(500)));
    let member = receiver(h2, p2, GROUP);
    lan.wait_for_member(h2, "eth0", GROUP, TIMEOUT).unwrap();
    drop(member);
    lan.wait_for_leave(h2, "eth0", GROUP, TIMEOUT).unwrap();
}

#[test]
fn the_querier_sends_igmp_and_mld_queries() {
    let ThreeHosts { hosts: [(h1, _), ..], .. } = &three_hosts(SwitchOptions::managed());
    // The host lists the IGMP version of the querier in its group table.
    let table = h1.read_proc_net("igmp").unwrap();
    assert!(table.contains("V3"), "{table}");
    let deadline = std::time::Instant::now() + TIMEOUT;
    while mld_queries_received(h1) == 0 {
        assert!(std::time::Instant::now() < deadline, "no MLD query");
        std::thread::yield_now();
    }
}

#[test]
fn hosts_use_igmp_version_2_with_a_querier_of_version_2() {
    let ThreeHosts { hosts: [(h1, p1), ..], .. } = &three_hosts(SwitchOptions::managed().igmp_version(2));
    let _member = receiver(h1, p1, GROUP);
    let deadline = std::time::Instant::now() + TIMEOUT;
    while !h1.read_proc_net("igmp").unwrap().contains("V2") {
        assert!(std::time::Instant::now() < deadline, "{}", h1.read_proc_net("igmp").unwrap());
        std::thread::yield_now();
    }
}

#[test]
fn a_switch_can_have_many_groups() {
    let ThreeHosts { lan, hosts: [_, (h2, p2), _], .. } = &three_hosts(SwitchOptions::managed());
    h2.sysctl("net/ipv4/igmp_max_memberships", "6000").unwrap();
    let groups: Vec<_> = (0..2000_u32).map(|n| std::net::Ipv4Addr::from_bits(0xef01_0000 + n)).collect();
    // Several sockets, because the memory for memberships of one socket is limited (`net.core.optmem_max`): to
    // 128 KiB on some kernels, to 20 KiB on others.
    let members = groups.chunks(200).map(|groups| {
        let socket = h2.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        groups.iter().for_each(|group| socket.join_multicast_v4(group, &p2.ipv4().unwrap()).unwrap());
        socket
    });
    let _members: Vec<_> = members.collect();
    // A report has up to about 180 groups, and the kernel sends the reports at intervals.
    let learnt = || lan.members().unwrap().iter().filter(|member| member.group.is_ipv4()).count();
    let deadline = std::time::Instant::now() + TIMEOUT;
    while learnt() < groups.len() {
        assert!(std::time::Instant::now() < deadline, "{}", learnt());
        std::thread::yield_now();
    }
}

#[test]
fn a_receiver_ignores_other_groups_that_are_flooded() {
    let ThreeHosts { hosts: [(h1, p1), (h2, p2), (h3, p3)], .. } = &three_hosts(SwitchOptions::default());
    let (member, other) = (receiver(h2, p2, GROUP), receiver(h3, p3, "239.9.9.9".parse().unwrap()));
    let sender = sender(h1, p1);
    sender.send(GROUP, b"x");
    receive(&member);
    assert_nothing_received(&other);
}
