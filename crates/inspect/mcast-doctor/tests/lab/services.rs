//! Names that are looked for: services that announce themselves by mDNS, and what keeps a program from them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast::InterfaceSelector;
use mcast_doctor::{Id, Report, ServiceTarget, Severity, Verdict, examine_service};
use mcast_lab::{Child, Host};
use mcast_watch::Discovery;
use mcast_watch::live::DiscoveryOptions;
use socket2::{Domain, Protocol, Socket, Type};

use crate::boxes;
use crate::net::{Net, Stream, assert_healthy, briefly, has_programs, nft, run};
use crate::treatment::{examine_and_treat, on};

crate::table::cases! {
    other_name: NotAnnounced, "a printer is looked for, and another one announces itself", || looked_for(&["10.9.0.1"], "Kitchen printer", |_| {});
    announced_in_another_network: AnnouncedElsewhere, "a printer announces itself on `eth1`, programs look for it on `eth0`", elsewhere;
    address_of_loopback: UnreachableAddress, "a printer announces 127.0.1.1", || looked_for(&["127.0.1.1"], PRINTER, |_| {});
    address_of_the_receiver: UnreachableAddress, "a printer announces an address that the receiver has, too", || {
        looked_for(&["172.17.0.1"], PRINTER, |net| run(&net.receiver, "ip address add 172.17.0.1/16 dev lo"))
    };
    no_route_to_the_address: UnreachableAddress, "a printer announces an address to which no route leads", || looked_for(&["192.0.2.7"], PRINTER, |_| {});
    no_address: UnreachableAddress, "a printer announces itself without an address", || looked_for(&[], PRINTER, |_| {});
    link_local_address: LinkLocalOnly, "a printer announces a link-local address of IPv6 only", || looked_for(&["fe80::77"], PRINTER, |_| {});
    nothing_listens: ServiceSilent, "a printer announces a port on which nothing listens", || looked_for(&["10.9.0.1"], PRINTER, |_| {});
    connections_are_dropped: ServiceSilent, "a printer whose firewall drops connections", || {
        looked_for(&["10.9.0.1"], PRINTER, |net| nft(&net.sender, "inet", "hook input", "tcp dport 631 drop"))
    };
    announcements_are_dropped: FirewallDropsData, "`nft` input rule for mDNS, a name is looked for", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        nft(&net.receiver, "inet", "hook input", "udp dport 5353 counter drop");
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
        examine(&net.receiver, PRINTER, &[])
    };
    answers_are_dropped: AnswersDropped, "`nft` input rule for mDNS to the address of the receiver, a name is looked for", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        nft(&net.receiver, "inet", "hook input", "ip daddr 10.9.0.2 udp dport 5353 counter drop");
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
        examine(&net.receiver, PRINTER, &[])
    };
    port_is_taken: AddressInUse, "another program has the port of mDNS for itself, a name is looked for", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        let _taken = net.receiver.run(|| UdpSocket::bind("0.0.0.0:5353").unwrap()).unwrap();
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
        examine(&net.receiver, PRINTER, &[])
    };
    netmask_of_the_receiver: UnreachableAddress, "the receiver has a netmask of /25, a printer is in the other half", || {
        looked_for(&["10.9.0.1"], PRINTER, |net| {
            run(&net.receiver, "ip address add 10.9.0.130/25 dev eth0 && ip address del 10.9.0.2/24 dev eth0");
        })
    };
    netmask_of_the_printer: ServiceSilent, "a printer has a netmask of /32, so that its answers do not leave", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        run(&net.sender, "ip address add 10.9.0.9/32 dev eth0 && ip address del 10.9.0.1/24 dev eth0");
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.9"]);
        examine(&net.receiver, PRINTER, &[])
    };
    printer_is_off: ServiceSilent, "a host repeats the announcement of a printer that is off", || looked_for(&["10.9.0.77"], PRINTER, |_| {});
    printer_without_ipv4: UnreachableAddress, "a printer announces an address of IPv6, which the receiver has turned off", || {
        let net = Net::new();
        net.receiver.sysctl("net/ipv6/conf/eth0/accept_dad", "0").unwrap();
        net.receiver.sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        // RFC 4861 section 4.6.2: fd09::/64, for addresses of an hour.
        let mut prefix = vec![3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0, 0xfd, 9];
        prefix.resize(32, 0);
        let _router = advertise(&net.sender, &prefix);
        let _listener = net.sender.run(|| TcpListener::bind("[::]:631").unwrap()).unwrap();
        let _printer = announce(&net.sender, PRINTER, &["fd09::1"]);
        examine(&net.receiver, PRINTER, &[])
    };
    route_of_a_border_router: UnreachableAddress, "a border router announces a Matter node and the route to its mesh, the receiver takes no routes from router advertisements (default of Linux)", || {
        let mesh = Mesh::new();
        examine(&mesh.net.receiver, NODE, &[])
    };
    route_of_a_border_router_beside_a_default_route: ServiceSilent, "the same, and the default route leads to another router", || {
        let mesh = Mesh::new();
        let router = mesh.net.lab.router("router").unwrap();
        let _port = router.connect("eth0", &mesh.net.lan, &["fd09::3/64"]).unwrap();
        run(&mesh.net.receiver, "ip route add default via fd09::3");
        examine(&mesh.net.receiver, NODE, &[])
    };
    two_printers_of_one_name: NameConflict, "two printers on different hosts have one name", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        let second = net.lab.host("second").unwrap();
        let _port = second.connect("eth0", &net.lan, &["10.9.0.3/24"]).unwrap();
        let _printers = [
            announce_as(&net.sender, PRINTER, "printer", &["10.9.0.1"]),
            announce_as(&second, PRINTER, "copier", &["10.9.0.3"]),
        ];
        examine(&net.receiver, PRINTER, &[])
    };
    translated_port: NotAnnounced, "the network of a container translates the port of a responder, so that it is not 5353", || {
        let net = Net::new();
        nft(&net.sender, "ip", "hook output", "udp sport 5353 udp sport set 40000 counter");
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
        let report = examine(&net.receiver, PRINTER, &[]);
        let evidence = format!("{:?}", report.findings[0].evidence);
        assert!(evidence.contains("from another port than 5353"), "{report:#?}");
        report
    };
    avahi_on_another_interface: NotAnnounced, "avahi publishes a printer on `eth1` only (`allow-interfaces`), `eth0` leads to the receiver", || {
        let net = Net::new();
        let other = net.lab.switch("other").unwrap();
        let _second = net.sender.connect("eth1", &other, &["10.8.0.1/24"]).unwrap();
        let neighbor = net.lab.host("neighbor").unwrap();
        let _port = neighbor.connect("eth0", &other, &["10.8.0.3/24"]).unwrap();
        let _avahi = Avahi::start(&net.sender, "eth1", &neighbor);
        examine(&net.receiver, PRINTER, &[])
    };
    avahi_behind_a_router: NotAnnounced, "avahi publishes a printer behind a router, which forwards unicast", || {
        let net = Net::new();
        let far = net.lab.switch("far").unwrap();
        let (router, printer) = (net.lab.router("router").unwrap(), net.lab.host("printer").unwrap());
        let _ports = [
            router.connect("eth0", &net.lan, &["10.9.0.254/24"]).unwrap(),
            router.connect("eth1", &far, &["10.7.0.254/24"]).unwrap(),
            printer.connect("eth0", &far, &["10.7.0.1/24"]).unwrap(),
        ];
        printer.add_route_via("0.0.0.0/0", "10.7.0.254").unwrap();
        net.receiver.add_route_via("10.7.0.0/24", "10.9.0.254").unwrap();
        let _avahi = Avahi::start(&printer, "eth0", &router);
        examine(&net.receiver, PRINTER, &[])
    };
    avahi_on_an_isolated_port: NotAnnounced, "avahi publishes a printer, and the access point isolates it from the receiver", || {
        let net = Net::new();
        let switch = net.lan.inside();
        for port in boxes::ports(&switch) {
            run(&switch, &format!("bridge link set dev {port} isolated on"));
        }
        let neighbor = net.lab.host("neighbor").unwrap();
        let _port = neighbor.connect("eth0", &net.lan, &["10.9.0.3/24"]).unwrap();
        let _avahi = Avahi::start(&net.sender, "eth0", &neighbor);
        examine(&net.receiver, PRINTER, &[])
    };
    avahi_behind_its_firewall: NotAnnounced, "avahi has published a printer, and its host drops what it sends since then", || {
        let net = Net::new();
        let _avahi = Avahi::start(&net.sender, "eth0", &net.receiver);
        nft(&net.sender, "inet", "hook output", "udp sport 5353 counter drop");
        examine(&net.receiver, PRINTER, &[])
    };
    listens_on_its_own_host_only: ServiceSilent, "the service of a printer listens on 127.0.0.1 only", || {
        let net = Net::new();
        let _listener = net.sender.run(|| TcpListener::bind("127.0.0.1:631").unwrap()).unwrap();
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
        examine(&net.receiver, PRINTER, &[])
    };
    route_of_a_tunnel: UnreachableAddress, "a tunnel of the receiver has a route to the address of a printer", || {
        reachable("ip route add 10.9.0.1/32 dev eth1")
    };
    rule_of_a_tunnel: UnreachableAddress, "a tunnel of the receiver takes all connections by a rule of routing", || {
        reachable("ip route add default dev eth1 table 51820 && ip rule add table 51820 priority 100")
    };
    connections_do_not_leave: ServiceSilent, "`nft` output rule of the receiver for connections to a printer", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        nft(&net.receiver, "inet", "hook output", "tcp dport 631 counter drop");
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
        let report = examine(&net.receiver, PRINTER, &[]);
        assert!(report.findings[0].cause.contains("this machine drops"), "{report:#?}");
        report
    };
    queries_do_not_leave: FirewallDropsOutput, "`nft` output rule of the receiver for mDNS, avahi publishes a printer", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        let _avahi = Avahi::start(&net.sender, "eth0", &net.receiver);
        nft(&net.receiver, "inet", "hook output", "udp dport 5353 counter drop");
        examine(&net.receiver, PRINTER, &[])
    };
    printer_that_sends_from_another_subnet: ReversePathFilter, "a printer sends from an address of another subnet, `rp_filter` is 1", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        run(
            &net.sender,
            "ip address add 10.7.0.1/24 dev eth0 && ip address del 10.9.0.1/24 dev eth0 && ip address add 10.9.0.1/24 dev eth0",
        );
        for interface in ["all", "eth0"] {
            net.receiver.sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "1").unwrap();
        }
        let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
        examine(&net.receiver, PRINTER, &[])
    };
    avahi_behind_a_switch_that_drops_the_group: NotAnnounced, "a switch drops the group of mDNS to the receiver, avahi publishes a printer", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        let neighbor = net.lab.host("neighbor").unwrap();
        let _port = neighbor.connect("eth0", &net.lan, &["10.9.0.3/24"]).unwrap();
        let _avahi = Avahi::start(&net.sender, "eth0", &neighbor);
        nft(&net.lan.inside(), "bridge", "hook forward", "ip daddr 224.0.0.251 counter drop");
        examine(&net.receiver, PRINTER, &[])
    };
    avahi_that_hears_no_queries: NotAnnounced, "the host of avahi drops queries of mDNS", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        let _avahi = Avahi::start(&net.sender, "eth0", &net.receiver);
        nft(&net.sender, "inet", "hook input", "udp dport 5353 counter drop");
        wait_for_silence(&net.receiver, PRINTER);
        examine(&net.receiver, PRINTER, &[])
    };
    avahi_by_ipv6_only: FirewallDropsData, "avahi publishes a printer by IPv6 only (`use-ipv4=no`), the receiver admits mDNS by IPv4 only", || {
        let net = Net::new();
        let _listener = net.sender.run(|| TcpListener::bind("[::]:631").unwrap()).unwrap();
        let _avahi = Avahi::with(&net.sender, "eth0", &net.receiver, "use-ipv4=no\nuse-ipv6=yes");
        nft(&net.receiver, "ip6", "hook input", "udp dport 5353 counter drop");
        examine(&net.receiver, PRINTER, &[])
    };
    avahi_without_addresses: UnreachableAddress, "avahi publishes a printer and not the addresses of its host (`publish-addresses=no`)", || {
        let net = Net::new();
        let _listener = listen(&net.sender);
        let _avahi = Avahi::with(&net.sender, "eth0", &net.receiver, "[publish]\npublish-addresses=no");
        examine(&net.receiver, PRINTER, &[])
    };
    relay_without_the_way_back: AnnouncedElsewhere, "the relay of a gateway carries queries and not the answers of a printer", || {
        let gateway = Gateway::new();
        examine(&gateway.net.receiver, PRINTER, &["eth0"])
    };
    rule_between_the_networks_of_a_relay: ServiceSilent, "`nft` forward rule of a gateway for connections to a printer that its relay announces", || {
        let gateway = Gateway::new();
        let _carried = gateway.carry();
        nft(&gateway.net.receiver, "inet", "hook forward", "tcp dport 631 counter drop");
        let report = examine(&gateway.net.receiver, PRINTER, &["eth0"]);
        assert!(report.findings[0].cause.contains("10.8.0.1:631 from eth0"), "{report:#?}");
        report
    };
    printer_behind_a_relay_is_off: ServiceSilent, "a relay announces a printer that is off", || {
        let gateway = Gateway::new();
        let _carried = gateway.carry();
        run(&gateway.printer, "ip link set eth0 down");
        examine(&gateway.net.receiver, PRINTER, &["eth0"])
    };
    avahi_without_a_service: ServiceSilent, "avahi publishes the file of a service that does not run", || {
        let net = Net::new();
        let _avahi = Avahi::start(&net.sender, "eth0", &net.receiver);
        examine(&net.receiver, PRINTER, &[])
    };
}

const PRINTER: &str = "Office printer";
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// Returns a name as DNS writes it.
fn name(labels: &[&str]) -> Vec<u8> {
    let labels = labels.iter().flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// Returns a record with a time to live of 120 s.
fn record(owner: &[&str], kind: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [&name(owner)[..], &kind.to_be_bytes(), &class.to_be_bytes(), &[0, 0, 0, 120], &length, data].concat()
}

/// Returns the announcement of a printer on port 631 of a host.
fn announcement(instance: &str, host: &str, addresses: &[&str]) -> Vec<u8> {
    announcement_of("_ipp", 631, instance, host, addresses)
}

/// Returns the announcement of a service of TCP.
fn announcement_of(service: &str, port: u16, instance: &str, host: &str, addresses: &[&str]) -> Vec<u8> {
    const UNIQUE: u16 = 0x8001;
    let service = [service, "_tcp", "local"];
    let instance = [&[instance], &service[..]].concat();
    let host = [host, "local"];
    let port = [&[0, 0, 0, 0][..], &port.to_be_bytes(), &name(&host)].concat();
    let mut records = vec![
        record(&service, 12, 1, &name(&instance)),
        record(&instance, 33, UNIQUE, &port),
        record(&instance, 16, UNIQUE, &[0]),
    ];
    records.extend(addresses.iter().map(|address| match address.parse().unwrap() {
        IpAddr::V4(address) => record(&host, 1, UNIQUE, &address.octets()),
        IpAddr::V6(address) => record(&host, 28, UNIQUE, &address.octets()),
    }));
    let count = (records.len() as u16).to_be_bytes();
    [&[0, 0, 0x84, 0, 0, 0][..], &count, &[0, 0, 0, 0], &records.concat()].concat()
}

/// Announces a printer on `eth0` of a host until it is dropped.
fn announce(host: &Host, instance: &str, addresses: &[&str]) -> Stream {
    announce_as(host, instance, "printer", addresses)
}

/// Like [`announce`], with the name that the host has.
fn announce_as(host: &Host, instance: &str, name: &str, addresses: &[&str]) -> Stream {
    repeat(host, announcement(instance, name, addresses))
}

/// Sends an announcement on `eth0` of a host until it is dropped.
fn repeat(host: &Host, message: Vec<u8>) -> Stream {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5353)).into()).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.set_multicast_ttl_v4(255).unwrap();
        UdpSocket::from(socket)
    };
    Stream::of(host.run(open).unwrap(), (GROUP, 5353).into(), move |_| message.clone())
}

/// Sends router advertisements with an option on `eth0` of a host until it is dropped.
fn advertise(host: &Host, option: &[u8]) -> Stream {
    let open = || {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.set_multicast_hops_v6(255).unwrap();
        UdpSocket::from(socket)
    };
    // RFC 4861 section 4.2: not a default router.
    let message = [&[134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], option].concat();
    let all_nodes = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0).into();
    Stream::of(host.run(open).unwrap(), all_nodes, move |_| message.clone())
}

/// A border router of Thread: it announces a Matter node, which uses UDP, and in router advertisements the route to it.
struct Mesh {
    net: Net,
    _advertisements: Stream,
    _node: Stream,
}

const NODE: &str = "00112233AABBCCDD-0000000000000007";

impl Mesh {
    fn new() -> Self {
        let net = Net::new();
        run(&net.sender, "ip address add fd99::77/64 dev lo nodad");
        // RFC 4191 section 2.3: fd99::/64, for half an hour.
        let route = [24, 2, 64, 0, 0, 0, 7, 8, 0xfd, 0x99, 0, 0, 0, 0, 0, 0];
        let advertisements = advertise(&net.sender, &route);
        let node = repeat(&net.sender, announcement_of("_matter", 5540, NODE, "node", &["fd99::77"]));
        Self { net, _advertisements: advertisements, _node: node }
    }
}

/// An avahi daemon that publishes a printer from a file, on one interface.
struct Avahi {
    daemon: Child,
    _folder: tempfile::TempDir,
}

impl Avahi {
    /// Starts it, and waits until another host has the printer with an address.
    fn start(host: &Host, interface: &str, neighbor: &Host) -> Self {
        Self::with(host, interface, neighbor, "use-ipv6=no")
    }

    /// Like [`Avahi::start`], with these settings.
    fn with(host: &Host, interface: &str, neighbor: &Host, settings: &str) -> Self {
        let service = format!(
            "<service-group><name>{PRINTER}</name><service><type>_ipp._tcp</type><port>631</port></service></service-group>"
        );
        let avahi = Self::publishing(host, interface, settings, Some(service));
        wait_for(neighbor, PRINTER, !settings.contains("publish-addresses=no"));
        avahi
    }

    fn publishing(host: &Host, interface: &str, settings: &str, service: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let file = format!("[server]\nallow-interfaces={interface}\nenable-dbus=no\n{settings}\n");
        std::fs::write(folder.path().join("avahi.conf"), file).unwrap();
        std::fs::create_dir(folder.path().join("services")).unwrap();
        if let Some(service) = service {
            std::fs::write(folder.path().join("services/printer.service"), service).unwrap();
        }
        // The daemon has its socket and its process id below /run.
        let script = format!(
            "mount -t tmpfs tmpfs /run && mount --bind {path}/services /etc/avahi/services && \
             PATH=$PATH:/usr/sbin exec avahi-daemon -f {path}/avahi.conf --no-drop-root --no-chroot --no-rlimits"
        );
        let mut command = host.command("unshare").unwrap();
        let daemon = command.args(["--mount", "sh", "-c", &script]).spawn().unwrap();
        Self { daemon, _folder: folder }
    }
}

impl Drop for Avahi {
    fn drop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

/// Waits until a host finds what has a name, with an address unless it publishes none.
pub(crate) fn wait_for(host: &Host, name: &str, has_address: bool) {
    let options = DiscoveryOptions { ask: true, ..DiscoveryOptions::default() };
    let discovery = host.run(|| Discovery::open(&options).unwrap()).unwrap();
    let begin = Instant::now();
    let is_it = |entry: &mcast_watch::discovery::Discovered| {
        entry.matches(name) && entry.addresses.is_empty() != has_address
    };
    while !discovery.entries().iter().any(is_it) {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{name} is not announced: {:#?}",
            discovery.entries()
        );
        drop(discovery.next_event(Some(Duration::from_millis(50))));
    }
    discovery.close();
}

/// Waits until nothing announces a name: responders repeat their first announcement within some seconds.
fn wait_for_silence(host: &Host, name: &str) {
    const SILENCE: Duration = Duration::from_millis(2_500);
    loop {
        let discovery = host.run(|| Discovery::open(&DiscoveryOptions::default()).unwrap()).unwrap();
        let begin = Instant::now();
        let is_heard = || discovery.entries().iter().any(|entry| entry.matches(name));
        while begin.elapsed() < SILENCE && !is_heard() {
            drop(discovery.next_event(Some(SILENCE.saturating_sub(begin.elapsed()))));
        }
        let is_silent = !is_heard();
        discovery.close();
        if is_silent {
            break;
        }
    }
}

/// Returns whether avahi is installed; prints a note if not.
pub(crate) fn has_avahi() -> bool {
    let is_installed = std::path::Path::new("/usr/sbin/avahi-daemon").exists();
    if !is_installed {
        mcast_lab::skip("this test needs avahi-daemon");
    }
    is_installed
}

fn listen(host: &Host) -> TcpListener {
    host.run(|| TcpListener::bind("0.0.0.0:631").unwrap()).unwrap()
}

fn examine(host: &Host, wanted: &str, interfaces: &[&str]) -> Report {
    let interfaces = interfaces.iter().map(|name| InterfaceSelector::Name((*name).to_owned()));
    let target = ServiceTarget::new(wanted).on(interfaces);
    examine_and_treat(host, || {
        on(host, || {
            examine_service(&target, &briefly(), &mut |_| std::ops::ControlFlow::Continue(())).unwrap()
        })
    })
}

/// Looks for a printer that announces these addresses, in a network that was changed.
fn looked_for(addresses: &[&str], wanted: &str, change: impl FnOnce(&Net)) -> Report {
    let net = Net::new();
    change(&net);
    let _printer = announce(&net.sender, PRINTER, addresses);
    examine(&net.receiver, wanted, &[])
}

/// Looks for a printer that accepts connections, on a receiver that was changed and has `eth1` as a tunnel.
fn reachable(change: &str) -> Report {
    let net = Net::new();
    let _tunnel = net.second_lan();
    let _listener = listen(&net.sender);
    run(&net.receiver, change);
    let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
    examine(&net.receiver, PRINTER, &[])
}

/// The receiver as the gateway of two networks, with a printer in that of `eth1`.
struct Gateway {
    net: Net,
    printer: Host,
    _second: (mcast_lab::Switch, mcast_lab::HostInterface),
    _port: mcast_lab::HostInterface,
    _listener: TcpListener,
    _announced: Stream,
}

impl Gateway {
    fn new() -> Self {
        let net = Net::new();
        net.receiver.sysctl("net/ipv4/ip_forward", "1").unwrap();
        let second = net.second_lan();
        let printer = net.lab.host("printer").unwrap();
        let port = printer.connect("eth0", &second.0, &["10.8.0.1/24"]).unwrap();
        printer.add_route_via("0.0.0.0/0", "10.8.0.2").unwrap();
        net.sender.add_route_via("10.8.0.0/24", "10.9.0.2").unwrap();
        let listener = listen(&printer);
        let announced = announce(&printer, PRINTER, &["10.8.0.1"]);
        Self { net, printer, _second: second, _port: port, _listener: listener, _announced: announced }
    }

    /// Announces the printer on `eth0` of the gateway, as a relay does.
    fn carry(&self) -> Stream {
        announce(&self.net.receiver, PRINTER, &["10.8.0.1"])
    }

    /// Asserts that nothing is at fault, whichever network programs look in.
    fn assert_healthy(&self) {
        for interfaces in [&["eth0"][..], &["eth1"], &[]] {
            assert_healthy(&examine(&self.net.receiver, PRINTER, interfaces));
        }
    }
}

/// Users know a device by the name in its description.
#[test]
pub(crate) fn a_device_with_a_name_in_its_description() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let listener = net.sender.run(|| TcpListener::bind("10.9.0.1:8200").unwrap()).unwrap();
    std::thread::spawn(move || {
        const ANSWER: &[u8] =
            b"HTTP/1.0 200 OK\r\n\r\n<root><device><friendlyName>Cellar NAS</friendlyName></device></root>";
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop((stream.read(&mut [0; 1_024]), stream.write_all(ANSWER)));
        }
    });
    let server = "urn:schemas-upnp-org:device:MediaServer:1";
    let message = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nNTS: ssdp:alive\r\n\
         LOCATION: http://10.9.0.1:8200/d.xml\r\nNT: {server}\r\nUSN: uuid:a::{server}\r\n\r\n"
    );
    let socket = net.sender.run(|| UdpSocket::bind("10.9.0.1:0").unwrap()).unwrap();
    let group = (Ipv4Addr::new(239, 255, 255, 250), 1900).into();
    let _announced = Stream::of(socket, group, move |_| message.clone().into_bytes());
    let report = examine(&net.receiver, "cellar nas", &[]);
    assert_healthy(&report);
    let observed = format!("{:?}", report.observations);
    assert!(observed.contains("Cellar NAS") && observed.contains("10.9.0.1:8200"), "{observed}");
}

#[test]
pub(crate) fn a_gateway_whose_relay_announces_a_printer() {
    if !has_programs() {
        return;
    }
    let gateway = Gateway::new();
    let _carried = gateway.carry();
    nft(&gateway.net.receiver, "inet", "hook forward", "tcp dport 9100 counter drop");
    gateway.assert_healthy();
}

/// It has one socket for each interface, and is another process.
#[test]
pub(crate) fn a_gateway_with_a_relay_that_has_a_socket_for_each_interface() {
    if !has_programs() {
        return;
    }
    const RELAY: &str = r#"
import select, socket, struct, sys
sockets = []
for own, name in ((b"\x0a\x09\x00\x02", b"eth0"), (b"\x0a\x08\x00\x02", b"eth1")):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
    s.bind(("", 5353))
    for option in (socket.IP_MULTICAST_LOOP, 49):
        s.setsockopt(socket.IPPROTO_IP, option, 0)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + own)
    sockets.append(s)
print("ready", flush=True)
while True:
    for s in select.select(sockets, [], [])[0]:
        data, (source, port) = s.recvfrom(9000)
        if source not in ("10.9.0.2", "10.8.0.2"):
            sockets[1 - sockets.index(s)].sendto(data, ("224.0.0.251", 5353))
"#;
    let gateway = Gateway::new();
    let mut command = gateway.net.receiver.command("python3").unwrap();
    let mut relay = command.args(["-c", RELAY]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(relay.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let _phone = announce_as(&gateway.net.sender, "Phone", "phone", &["10.9.0.1"]);
    wait_for(&gateway.net.sender, PRINTER, true);
    gateway.assert_healthy();
    relay.kill().unwrap();
    relay.wait().unwrap();
}

#[test]
pub(crate) fn a_gateway_with_the_reflector_of_avahi() {
    if !has_programs() || !has_avahi() {
        return;
    }
    let gateway = Gateway::new();
    let settings = "use-ipv6=no\n[reflector]\nenable-reflector=yes";
    let _avahi = Avahi::publishing(&gateway.net.receiver, "eth0,eth1", settings, None);
    wait_for(&gateway.net.sender, PRINTER, true);
    gateway.assert_healthy();
}

/// The routes of the kernel keep the source, and the group can be routed.
#[test]
pub(crate) fn a_gateway_that_routes_the_announcements_of_a_media_server() {
    if !has_programs() || !std::path::Path::new("/usr/sbin/smcrouted").exists() {
        mcast_lab::skip("this test needs smcroute");
        return;
    }
    let gateway = Gateway::new();
    let (net, folder) = (&gateway.net, tempfile::tempdir().unwrap());
    let path = |ending: &str| folder.path().join(ending).display().to_string();
    let rules = "mgroup from eth1 group 239.255.255.250\nmroute from eth1 group 239.255.255.250 to eth0\n";
    std::fs::write(path("conf"), rules).unwrap();
    let mut command = net.receiver.command("/usr/sbin/smcrouted").unwrap();
    command.args(["-n", "-f", &path("conf"), "-P", &path("pid"), "-u", &path("sock")]);
    let mut router = command.stderr(Stdio::null()).spawn().unwrap();
    let open = || {
        let socket = UdpSocket::bind("10.8.0.1:0").unwrap();
        socket.set_multicast_ttl_v4(4).unwrap();
        socket
    };
    let message = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nLOCATION: http://10.8.0.1:631/\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nSERVER: a b c\r\nUSN: uuid:3a7c4d3e-1111-2222-3333-444455556666::upnp:rootdevice\r\n\r\n".to_vec();
    gateway.printer.add_route("224.0.0.0/4", "eth0").unwrap();
    let to = (Ipv4Addr::new(239, 255, 255, 250), 1900).into();
    let _server = Stream::of(gateway.printer.run(open).unwrap(), to, move |_| message.clone());
    wait_for(&net.sender, "10.8.0.1", true);
    for interfaces in [&["eth0"][..], &["eth1"], &[]] {
        assert_healthy(&examine(&net.receiver, "10.8.0.1", interfaces));
    }
    router.kill().unwrap();
    router.wait().unwrap();
}

/// A printer in the second network of the receiver.
fn elsewhere() -> Report {
    let net = Net::new();
    let other = net.lab.switch("other").unwrap();
    let printer = net.lab.host("printer").unwrap();
    let _own = printer.connect("eth0", &other, &["10.8.0.1/24"]).unwrap();
    let _second = net.receiver.connect("eth1", &other, &["10.8.0.2/24"]).unwrap();
    let _printer = announce(&printer, PRINTER, &["10.8.0.1"]);
    examine(&net.receiver, PRINTER, &["eth0"])
}

#[test]
pub(crate) fn a_printer_that_is_announced_and_accepts_connections() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _listener = listen(&net.sender);
    let _printer = announce(&net.sender, PRINTER, &["10.9.0.1"]);
    let report = examine(&net.receiver, "office", &["eth0"]);
    assert_healthy(&report);
    let texts: Vec<_> = report.observations.iter().map(|each| each.message.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("at 10.9.0.1:631")), "{texts:?}");
    assert!(texts.contains(&"10.9.0.1:631 accepts connections"), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("a socket that asks received")), "{texts:?}");
}

/// It uses UDP, although the name of its service ends with `_tcp`: its host refuses connections, so it is there.
#[test]
pub(crate) fn a_node_of_matter_behind_a_border_router() {
    if !has_programs() {
        return;
    }
    let mesh = Mesh::new();
    mesh.net.receiver.sysctl("net/ipv6/conf/eth0/accept_ra_rt_info_max_plen", "64").unwrap();
    assert_healthy(&examine(&mesh.net.receiver, NODE, &[]));
}

/// The port of discard only fills the field: avahi announces each computer so.
#[test]
pub(crate) fn a_computer_that_is_announced_with_the_port_of_discard() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let message = announcement_of("_workstation", 9, "study", "study", &["10.9.0.1"]);
    let _computer = repeat(&net.sender, message);
    assert_healthy(&examine(&net.receiver, "study", &[]));
}

#[test]
fn a_second_address_that_leads_elsewhere_is_a_warning() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _listener = listen(&net.sender);
    let _printer = announce(&net.sender, PRINTER, &["10.9.0.1", "127.0.1.1"]);
    let report = examine(&net.receiver, PRINTER, &[]);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.id, finding.severity)).collect();
    assert_eq!(found, [(Id::UnreachableAddress, Severity::Warning)], "{report:#?}");
    assert_eq!(report.verdict(), Verdict::Warnings);
}

/// Both machines have a network of containers with the same addresses, and something listens in that of the receiver.
#[test]
fn a_container_of_this_machine_is_not_taken_for_the_printer() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let containers = net.lab.switch("containers").unwrap();
    let container = net.lab.host("container").unwrap();
    let _own = container.connect("eth0", &containers, &["172.17.0.2/16"]).unwrap();
    let _bridge = net.receiver.connect("docker0", &containers, &["172.17.0.1/16"]).unwrap();
    let _listener = listen(&container);
    let _printer = announce(&net.sender, PRINTER, &["172.17.0.2"]);
    let report = examine(&net.receiver, PRINTER, &["eth0"]);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.id, finding.severity)).collect();
    assert_eq!(found, [(Id::UnreachableAddress, Severity::Warning)], "{report:#?}");
    assert!(report.findings[0].cause.contains("which is another host unless"), "{report:#?}");
}

/// The receiver has a tunnel for other networks and rules for other ports, and the printer has all kinds of addresses.
#[test]
pub(crate) fn a_printer_of_avahi_beside_a_tunnel_and_a_copier() {
    if !has_programs() || !has_avahi() {
        return;
    }
    let net = Net::new();
    let _tunnel = net.second_lan();
    run(&net.receiver, "ip route add default dev eth1 && ip route add 172.17.0.0/16 dev eth1");
    nft(&net.receiver, "inet", "hook output", "tcp dport 9100 drop");
    let copier = net.lab.host("copier").unwrap();
    let _port = copier.connect("eth0", &net.lan, &["10.9.0.3/24"]).unwrap();
    let _copier = announce_as(&copier, "Kitchen copier", "copier", &["10.9.0.3"]);
    let _listener = net.sender.run(|| TcpListener::bind("[::]:631").unwrap()).unwrap();
    let _avahi = Avahi::with(&net.sender, "eth0", &net.receiver, "use-ipv6=yes");
    assert_healthy(&examine(&net.receiver, PRINTER, &[]));
}
