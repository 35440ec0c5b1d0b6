//! Ten healthy networks: the doctor finds nothing in any of them.

use std::net::UdpSocket;
use std::time::Duration;

use mcast_doctor::{Options, Report};
use mcast_lab::{Impairment, Lab, RouteGroup, SwitchOptions};

use crate::net::{
    Net, Stream, assert_healthy, examine, examine_for, examine_port, has_programs, listener, look_at, nft,
    socket,
};

fn assert_heard(report: &Report) {
    assert_healthy(report);
    assert!(
        report.observations.iter().any(|seen| seen.depth == "socket" && seen.what.contains("datagrams from")),
        "{report:#?}"
    );
    assert!(!report.unknown.iter().any(|unknown| unknown.what.contains("got lost")), "{report:#?}");
}

#[test]
fn silence_around_a_program_is_listened_to_for_as_long_as_was_asked() {
    let net = Net::new();
    let _socket = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let report = examine_port(&net.receiver, 5000);
    let open = report.unknown.iter().find(|unknown| unknown.what.contains("has a querier")).unwrap();
    assert!(open.why.starts_with("no IGMP query in 1 s"), "{open}");
}

#[test]
fn a_plain_switch() {
    let net = Net::new();
    assert_heard(&net.examine("239.1.2.3:5000", "239.1.2.3:5000"));
    assert_healthy(&look_at(&net.receiver));
    assert_healthy(&look_at(&net.lan.inside()));
}

#[test]
fn a_snooping_switch_with_a_querier() {
    let net = Net::with(
        SwitchOptions::managed()
            .query_interval(Duration::from_secs(1))
            .query_response_interval(Duration::from_millis(500)),
    );
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let options = Options {
        query_interval: Duration::from_secs(2),
        membership_interval: Duration::from_secs(3),
        ..Options::default()
    };
    assert_heard(&examine_for(
        &net.receiver,
        "239.1.2.3%eth0:5000",
        &options.listening(Duration::from_secs(5)),
    ));
    assert_healthy(&look_at(&net.lan.inside()));
}

#[test]
fn a_snooping_switch_that_never_had_a_querier_floods() {
    let net = Net::with(SwitchOptions::default().snooping(true));
    assert_heard(&net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000"));
    assert_healthy(&look_at(&net.lan.inside()));
}

#[test]
fn ipv6_on_a_snooping_switch() {
    let net = Net::with(SwitchOptions::managed());
    assert_heard(&net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000"));
    assert_heard(&net.examine("[ff02::4321]:5000", "[ff02::4321%eth0]:5000"));
}

#[test]
fn a_source_specific_group_among_others() {
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
    assert_heard(&examine(&net.receiver, "10.9.0.1@232.1.2.3%eth0:5000"));
}

#[test]
fn two_feeds_on_two_networks() {
    let net = Net::new();
    let (lan1, _) = net.second_lan();
    net.sender.connect("eth1", &lan1, &["10.8.0.1/24"]).unwrap();
    let _first = Stream::to(&net.sender, "239.1.2.3:5000");
    let second = socket(&net.sender, [239, 4, 5, 6].into(), "eth1");
    let _second = Stream::by(second.into(), "239.4.5.6:5000".parse().unwrap(), 64);
    assert_heard(&examine(&net.receiver, "239.1.2.3:5000"));
    assert_heard(&examine(&net.receiver, "239.4.5.6%eth1:5000"));
}

#[test]
fn a_routed_network() {
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
    assert_heard(&examine(&receiver, "239.1.2.3%eth0:5000"));
    assert_heard(&examine(&router, "239.1.2.3%r0:5000"));
    assert_healthy(&look_at(&router));
    assert_healthy(&look_at(&receiver));
}

#[test]
fn a_machine_with_a_firewall_that_lets_the_group_in() {
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
    assert_heard(&net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000"));
}

#[test]
fn programs_that_do_all_right() {
    let net = Net::with(SwitchOptions::managed());
    let heard = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let sender = UdpSocket::from(socket(&net.sender, [239, 1, 2, 3].into(), "eth0"));
    let port = sender.local_addr().unwrap().port();
    let _stream = Stream::by(sender, "239.1.2.3:5000".parse().unwrap(), 64);
    assert_healthy(&examine_port(&net.receiver, 5000));
    assert_healthy(&examine_port(&net.sender, port));
    drop(heard);
}

#[test]
fn a_host_that_hears_itself() {
    let net = Net::new();
    let _stream = Stream::to(&net.receiver, "239.1.2.3:5000");
    assert_heard(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
fn a_network_that_delays_and_reorders() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
    sender.connect("eth0", &lan, &["10.9.0.1/24"]).unwrap();
    let slow =
        Impairment { delay: Duration::from_millis(20), reorder: 0.2, loss: 0.05, ..Impairment::default() };
    lab.connect_badly(&receiver, "eth0", &lan, &["10.9.0.2/24"], slow).unwrap();
    let _stream = Stream::to(&sender, "239.1.2.3:5000");
    assert_heard(&examine(&receiver, "239.1.2.3%eth0:5000"));
}

#[test]
fn datagrams_in_pieces_that_all_arrive() {
    let net = Net::new();
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 4000, |_| {});
    assert_heard(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
fn a_sender_that_says_the_same_over_and_over() {
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
        assert_heard(&report);
    });
}

#[test]
fn a_fast_sender_whose_datagrams_travel_in_trains() {
    let net = Net::new();
    let to: mcast::Destination = "239.1.2.3%eth0:5000".parse().unwrap();
    let sender =
        net.sender.run(|| mcast::Sender::builder().to(to.clone()).hop_limit(4).build().unwrap()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // No faster than a busy machine can read.
            let payloads: Vec<_> = (0..20_u32).map(|number| [number.to_be_bytes(); 25].concat()).collect();
            let train: Vec<_> = payloads.iter().map(|payload| mcast::Outgoing::new(payload)).collect();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sender.send_batch(&train).unwrap();
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
