//! Names that are looked for: services that announce themselves by mDNS, and what keeps a program from them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use mcast::InterfaceSelector;
use mcast_doctor::{Id, Report, ServiceTarget, Severity, Verdict, examine_service};
use mcast_lab::Host;
use socket2::{Domain, Socket, Type};

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

/// Returns the announcement of a printer on port 631.
fn announcement(instance: &str, addresses: &[&str]) -> Vec<u8> {
    const UNIQUE: u16 = 0x8001;
    let service = ["_ipp", "_tcp", "local"];
    let instance = [&[instance], &service[..]].concat();
    let host = ["printer", "local"];
    let port = [&[0, 0, 0, 0][..], &631_u16.to_be_bytes(), &name(&host)].concat();
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
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5353)).into()).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.set_multicast_ttl_v4(255).unwrap();
        UdpSocket::from(socket)
    };
    let message = announcement(instance, addresses);
    Stream::of(host.run(open).unwrap(), (GROUP, 5353).into(), move |_| message.clone())
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
