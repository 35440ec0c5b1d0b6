//! Healthy networks, in which the doctor must find nothing.

use std::net::UdpSocket;
use std::time::Duration;

use mcast_doctor::{ArrivalStatus, Options, Severity, Verdict};
use mcast_lab::{Impairment, Lab, RouteGroup, SwitchOptions};

use crate::net::{
    Net, Stream, assert_healthy, assert_received, examine, examine_for, examine_host, examine_port,
    has_programs, listener, nft, socket,
};

#[test]
pub(crate) fn examination_of_a_program_listens_for_the_requested_time() {
    let net = Net::new();
    let _socket = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let report = examine_port(&net.receiver, 5000);
    let open =
        report.open_questions.iter().find(|unknown| unknown.question.contains("has a querier")).unwrap();
    assert!(open.reason.starts_with("no IGMP query in 1 s"), "{open}");
}

#[test]
pub(crate) fn a_plain_switch() {
    let net = Net::new();
    assert_received(&net.examine("239.1.2.3:5000", "239.1.2.3:5000"));
    assert_healthy(&examine_host(&net.receiver));
    assert_healthy(&examine_host(&net.lan.inside()));
}

#[test]
pub(crate) fn a_snooping_switch_with_a_querier() {
    let net = Net::with(
        SwitchOptions::managed()
            .query_interval(Duration::from_secs(1))
            .query_response_interval(Duration::from_millis(500)),
    );
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let options = Options::default().with(|options| {
        options.query_interval = Duration::from_secs(2);
        options.membership_interval = Duration::from_secs(3);
    });
    assert_received(&examine_for(
        &net.receiver,
        "239.1.2.3%eth0:5000",
        &options.listening(Duration::from_secs(5)),
    ));
    assert_healthy(&examine_host(&net.lan.inside()));
}

#[test]
pub(crate) fn a_snooping_switch_that_never_had_a_querier_floods() {
    let net = Net::with(SwitchOptions::default().snooping(true));
    assert_received(&net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000"));
    assert_healthy(&examine_host(&net.lan.inside()));
}

#[test]
pub(crate) fn ipv6_on_a_snooping_switch() {
    let net = Net::with(SwitchOptions::managed());
    assert_received(&net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000"));
    assert_received(&net.examine("[ff02::4321]:5000", "[ff02::4321%eth0]:5000"));
}

#[test]
pub(crate) fn a_source_specific_group_among_others() {
    if !has_programs() {
        return;
    }
    let net = Net::with(SwitchOptions::managed());
    net.sender.add_address("eth0", "10.9.0.9/24").unwrap();
    let other = socket(&net.sender, [232, 1, 2, 3].into(), "eth0");
    let other = UdpSocket::from(other);
    let _wanted = Stream::by(other, "232.1.2.3:5000".parse().unwrap(), 64);
    let frames: Vec<_> = (0..20).map(|number| net.frame("10.9.0.9", "232.1.2.3:5000", number)).collect();
    let _unwanted = crate::net::inject(&net.sender, "eth0", &frames);
    assert_received(&examine(&net.receiver, "10.9.0.1@232.1.2.3%eth0:5000"));
}

#[test]
pub(crate) fn two_feeds_on_two_networks() {
    let net = Net::new();
    let (lan1, _) = net.second_lan();
    net.sender.connect("eth1", &lan1, &["10.8.0.1/24"]).unwrap();
    let _first = Stream::to(&net.sender, "239.1.2.3:5000");
    let second = socket(&net.sender, [239, 4, 5, 6].into(), "eth1");
    let _second = Stream::by(second.into(), "239.4.5.6:5000".parse().unwrap(), 64);
    assert_received(&examine(&net.receiver, "239.1.2.3:5000"));
    assert_received(&examine(&net.receiver, "239.4.5.6%eth1:5000"));
}

#[test]
pub(crate) fn a_routed_network() {
    let lab = Lab::new().unwrap();
    let (lan1, lan2) =
        (lab.switch_with("lan1", SwitchOptions::managed()).unwrap(), lab.switch("lan2").unwrap());
    let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
    let router = lab.router("router").unwrap();
    router.connect("r0", &lan1, &["10.1.0.254/24"]).unwrap();
    router.connect("r1", &lan2, &["10.2.0.254/24"]).unwrap();
    router.add_route("224.0.0.0/4", "r0").unwrap();
    sender.connect("eth0", &lan1, &["10.1.0.1/24"]).unwrap();
    sender.add_route_via("0.0.0.0/0", "10.1.0.254").unwrap();
    receiver.connect("eth0", &lan2, &["10.2.0.1/24"]).unwrap();
    receiver.add_route_via("0.0.0.0/0", "10.2.0.254").unwrap();
    receiver.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    let group = [239, 1, 2, 3].into();
    router
        .route_group(RouteGroup { source: None, group, from: "r0", to: &["r1"], ttl_threshold: 1 })
        .unwrap();
    let _stream = Stream::to(&sender, "239.1.2.3:5000");
    assert_received(&examine(&receiver, "239.1.2.3%eth0:5000"));
    assert_received(&examine(&router, "239.1.2.3%r0:5000"));
    assert_healthy(&examine_host(&router));
    assert_healthy(&examine_host(&receiver));
}

#[test]
pub(crate) fn a_firewall_that_admits_the_group() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    for rule in
        ["ip protocol igmp accept", "meta l4proto icmpv6 accept", "udp dport 5000 accept", "counter drop"]
    {
        nft(&net.receiver, "inet", "hook input", rule);
    }
    let _other = Stream::to(&net.sender, "239.1.2.3:5001");
    assert_received(&net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000"));
}

#[test]
pub(crate) fn correct_programs() {
    let net = Net::with(SwitchOptions::managed());
    let listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let sender = UdpSocket::from(socket(&net.sender, [239, 1, 2, 3].into(), "eth0"));
    let port = sender.local_addr().unwrap().port();
    let _stream = Stream::by(sender, "239.1.2.3:5000".parse().unwrap(), 64);
    assert_healthy(&examine_port(&net.receiver, 5000));
    assert_healthy(&examine_port(&net.sender, port));
    drop(listener);
}

#[test]
pub(crate) fn a_host_that_receives_its_own_stream() {
    let net = Net::new();
    let _stream = Stream::to(&net.receiver, "239.1.2.3:5000");
    assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
pub(crate) fn a_network_that_delays_and_reorders() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
    sender.connect("eth0", &lan, &["10.9.0.1/24"]).unwrap();
    let slow = Impairment {
        delay: Duration::from_millis(20),
        reorder: 0.2,
        duplicate: 0.01,
        ..Impairment::default()
    };
    lab.connect_badly(&receiver, "eth0", &lan, &["10.9.0.2/24"], slow).unwrap();
    let _stream = Stream::to(&sender, "239.1.2.3:5000");
    assert_received(&examine(&receiver, "239.1.2.3%eth0:5000"));
}

#[test]
pub(crate) fn fragmented_datagrams_that_all_arrive() {
    let net = Net::new();
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 4000, |_| {});
    assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
pub(crate) fn a_sender_that_repeats_the_same_payload() {
    let net = Net::new();
    let sender = UdpSocket::from(socket(&net.sender, [239, 1, 2, 3].into(), "eth0"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sender.send_to(b"hello", "239.1.2.3:5000").unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let report = examine(&net.receiver, "239.1.2.3%eth0:5000");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_received(&report);
    });
}

#[test]
pub(crate) fn a_fast_sender_that_uses_segmentation_offload() {
    let net = Net::new();
    let to: mcast::Destination = "239.1.2.3%eth0:5000".parse().unwrap();
    let sender =
        net.sender.run(|| mcast::Sender::builder().to(to.clone()).hop_limit(4).build().unwrap()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Slow enough for a busy machine.
            let payloads: Vec<_> = (0..20_u32).map(|number| [number.to_be_bytes(); 25].concat()).collect();
            let batch: Vec<_> = payloads.iter().map(|payload| mcast::Outgoing::new(payload)).collect();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sender.send_batch(&batch).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let reports = [examine(&net.receiver, "239.1.2.3%eth0:5000"), {
            let _listener = listener(&net.receiver, "239.1.2.3:5001", &[("239.1.2.3", "eth0")]);
            examine_port(&net.sender, sender.local_address(mcast::Family::V4).unwrap().port())
        }];
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reports.iter().for_each(assert_healthy);
    });
}

/// A program that binds a port and relies on the membership of another, as autojoin addresses of an interface do.
#[test]
pub(crate) fn program_that_relies_on_the_membership_of_another() {
    let net = Net::new();
    let _member = listener(&net.receiver, "0.0.0.0:5999", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let _reader = listener(&net.receiver, "0.0.0.0:5000", &[]);
    let report = examine_port(&net.receiver, 5000);
    assert_healthy(&report);
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}

/// Nothing comes from outside, which is not a fault of a container's bridge.
#[test]
pub(crate) fn program_that_receives_what_its_own_machine_sends() {
    let net = Net::new();
    net.receiver.add_route_via("0.0.0.0/0", "10.9.0.254").unwrap();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.receiver, "239.1.2.3:5000");
    assert_healthy(&examine_port(&net.receiver, 5000));
}

/// Without multicast routing, the group stays on one of the networks, as its program wants.
#[test]
pub(crate) fn program_on_a_host_that_forwards_unicast_between_two_networks() {
    let net = Net::new();
    net.second_lan();
    net.receiver.sysctl("net/ipv4/ip_forward", "1").unwrap();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let report = examine_port(&net.receiver, 5000);
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{report:#?}");
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}
