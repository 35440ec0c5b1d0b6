//! Switches flood, snoop and query.

use std::net::IpAddr;

use mcast_lab::{Host, Lab, Port, Switch, SwitchOptions};

use super::sockets::{GROUP, PATIENCE, assert_silent, hear, receiver, sender};

const OTHER: [&str; 2] = ["239.9.9.9", "ff15::9999"];

struct Three {
    _lab: Lab,
    lan: Switch,
    hosts: [(Host, Port); 3],
}

fn three_hosts(options: SwitchOptions) -> Three {
    let lab = Lab::new().unwrap();
    let lan = lab.switch_with("lan", options).unwrap();
    let hosts = [1, 2, 3].map(|number| {
        let host = lab.host(&format!("h{number}")).unwrap();
        let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
        let port = host.connect("eth0", &lan, &addresses.each_ref().map(String::as_str)).unwrap();
        (host, port)
    });
    Three { _lab: lab, lan, hosts }
}

/// How many frames to a group an interface has been handed by its cable.
fn frames_seen(host: &Host, group: IpAddr, send: impl FnOnce()) -> usize {
    let mut tap = Tap::open(host);
    send();
    tap.count(group)
}

/// Sees every frame that reaches a host, joined or not.
struct Tap(std::os::fd::OwnedFd);

impl Tap {
    fn open(host: &Host) -> Self {
        use std::os::fd::FromRawFd;
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        // SAFETY: a fresh descriptor, owned from here on.
        #[allow(unsafe_code)]
        let socket = host.run(|| unsafe {
            let raw = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, all);
            assert!(raw >= 0);
            std::os::fd::OwnedFd::from_raw_fd(raw)
        });
        Self(socket.unwrap())
    }

    fn count(&mut self, group: IpAddr) -> usize {
        let mut file = std::fs::File::from(self.0.try_clone().unwrap());
        let mut packet = [0; 2048];
        let mut seen = 0;
        while let Ok(length) = std::io::Read::read(&mut file, &mut packet) {
            let packet = &packet[..length];
            seen += usize::from(match group {
                IpAddr::V4(group) => packet.get(16..20) == Some(&group.octets()) && packet[9] == 17,
                IpAddr::V6(group) => packet.get(24..40) == Some(&group.octets()) && packet[6] == 17,
            });
        }
        seen
    }
}

#[test]
fn an_unmanaged_switch_floods() {
    let Three { hosts: [(h1, p1), (h2, p2), (h3, _)], .. } = &three_hosts(SwitchOptions::default());
    let receiver = receiver(h2, p2, GROUP);
    let seen = frames_seen(h3, GROUP, || {
        sender(h1, p1).send(GROUP, b"all");
        hear(&receiver);
        // In the order of its ports: h2 before h3, so ask h3 only after another round.
        sender_again(h1);
        hear(&receiver);
    });
    assert!(seen >= 1);
}

fn sender_again(host: &Host) {
    let socket = host.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    socket.send_to(b"again", (GROUP, 5000)).unwrap();
}

#[test]
fn snooping_sends_a_group_to_its_members_only() {
    let Three { lan, hosts: [(h1, p1), (h2, p2), (h3, p3)], .. } = &three_hosts(SwitchOptions::managed());
    for group in ["239.1.2.3", "ff15::1234"].map(|group| group.parse().unwrap()) {
        let member = receiver(h2, p2, group);
        let other_group = OTHER[usize::from(group.is_ipv6())].parse().unwrap();
        let other = receiver(h3, p3, other_group);
        lan.wait_for_member(h2, "eth0", group, PATIENCE).unwrap();
        lan.wait_for_member(h3, "eth0", other_group, PATIENCE).unwrap();

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
        let seen = frames_seen(h3, group, || {
            send(group);
            hear(&member);
            // What is sent later to h3's own group arrives later, so what was sent before would be here.
            send(other_group);
            hear(&other);
        });
        assert_eq!(seen, 0, "{group}");
    }
}

#[test]
fn a_group_that_nobody_wants_goes_nowhere_from_the_first_moment() {
    let Three { hosts: [(h1, p1), (h2, p2), (h3, _)], lan, .. } = &three_hosts(SwitchOptions::managed());
    let unwanted = "239.9.9.9".parse().unwrap();
    let sender = sender(h1, p1);
    let member = receiver(h2, p2, GROUP);
    let seen = frames_seen(h3, unwanted, || {
        sender.send(unwanted, b"x");
        lan.wait_for_member(h2, "eth0", GROUP, PATIENCE).unwrap();
        sender.send(GROUP, b"x");
        hear(&member);
    });
    assert_eq!(seen, 0);
}

#[test]
fn the_switch_forgets_who_leaves() {
    let Three { lan, hosts: [_, (h2, p2), _], .. } =
        &three_hosts(SwitchOptions::managed().query_response_interval(std::time::Duration::from_millis(500)));
    let member = receiver(h2, p2, GROUP);
    lan.wait_for_member(h2, "eth0", GROUP, PATIENCE).unwrap();
    drop(member);
    lan.wait_for_leave(h2, "eth0", GROUP, PATIENCE).unwrap();
}

#[test]
fn the_querier_asks_both_families() {
    let Three { hosts: [(h1, _), ..], .. } = &three_hosts(SwitchOptions::managed());
    let heard = |table: &str, statistic: &str| {
        let text = h1.read_proc_net(table).unwrap();
        text.lines().any(|line| line.contains(statistic))
    };
    // A host that has heard a query notes the querier's version in the table of its groups.
    assert!(heard("igmp", "V3"), "{}", h1.read_proc_net("igmp").unwrap());
    let deadline = std::time::Instant::now() + PATIENCE;
    let mld_queries = || {
        let text = h1.read_proc_net("snmp6").unwrap();
        let line = text.lines().find(|line| line.starts_with("Icmp6InGroupMembQueries")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    while mld_queries() == 0 {
        assert!(std::time::Instant::now() < deadline, "no MLD query");
        std::thread::yield_now();
    }
}

#[test]
fn a_querier_of_version_2_makes_hosts_speak_version_2() {
    let Three { hosts: [(h1, p1), ..], .. } = &three_hosts(SwitchOptions::managed().igmp_version(2));
    let _member = receiver(h1, p1, GROUP);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !h1.read_proc_net("igmp").unwrap().contains("V2") {
        assert!(std::time::Instant::now() < deadline, "{}", h1.read_proc_net("igmp").unwrap());
        std::thread::yield_now();
    }
}

#[test]
fn a_switch_holds_many_groups() {
    let Three { lan, hosts: [_, (h2, p2), _], .. } = &three_hosts(SwitchOptions::managed());
    h2.sysctl("net/ipv4/igmp_max_memberships", "6000").unwrap();
    let socket = h2.run(|| std::net::UdpSocket::bind("0.0.0.0:5000").unwrap()).unwrap();
    let groups: Vec<_> = (0..2000_u32).map(|n| std::net::Ipv4Addr::from_bits(0xef01_0000 + n)).collect();
    groups.iter().for_each(|group| socket.join_multicast_v4(group, &p2.ipv4().unwrap()).unwrap());
    // A report holds some 180 groups, and the kernel spreads the reports over time.
    let known = || lan.members().unwrap().iter().filter(|member| member.group.is_ipv4()).count();
    let deadline = std::time::Instant::now() + PATIENCE;
    while known() < groups.len() {
        assert!(std::time::Instant::now() < deadline, "{}", known());
        std::thread::yield_now();
    }
}

#[test]
fn groups_of_the_wrong_interface_do_not_arrive() {
    let Three { hosts: [(h1, p1), (h2, p2), (h3, p3)], .. } = &three_hosts(SwitchOptions::default());
    let (wanted, unwanted) = (receiver(h2, p2, GROUP), receiver(h3, p3, "239.9.9.9".parse().unwrap()));
    let sender = sender(h1, p1);
    sender.send(GROUP, b"x");
    hear(&wanted);
    assert_silent(&unwanted);
}
