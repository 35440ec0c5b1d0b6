//! Programs that ask a group, and their unicast answers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mcast_doctor::{Id, Report, Severity, Verdict};
use mcast_lab::Host;

use crate::net::{
    Net, Stream, assert_healthy, assert_only, examine_port, has_programs, idle_listener, nft, socket,
    stream_of_program,
};

crate::table::cases! {
    answers_dropped: AnswersDropped, "`nft` input rule for what belongs to no connection, a program searches by SSDP", dropped_by_rule;
    answers_dropped_v6: AnswersDropped, "the same, IPv6, a rule with a counter", dropped_by_rule_v6;
}

const SSDP: &str = "239.255.255.250:1900";
const SSDP_V6: &str = "[ff02::c]:1900";

/// A device that answers what it receives, until it is dropped.
struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    fn on(host: &Host, to: &str) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:1900" } else { "[::]:1900" };
        let socket: UdpSocket = idle_listener(host, any, &[(&to.ip().to_string(), "eth0")]);
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let answer = move || {
            let mut buffer = [0; 2000];
            while !is_stopped.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(b"HTTP/1.1 200 OK\r\n\r\n", from).unwrap();
                }
            }
        };
        Self { stop, thread: Some(std::thread::spawn(answer)) }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// A search whose answers arrive at a firewall with this rule behind those that every firewall has.
fn searched(to: &str, rule: &str) -> Report {
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "ct state established,related accept");
    crate::net::run(&net.receiver, &format!("nft add rule inet test c {rule}"));
    let _responder = Responder::on(&net.sender, to);
    let (_search, port) = stream_of_program(&net.receiver, to, "eth0");
    examine_port(&net.receiver, port)
}

/// A firewall that admits only what belongs to a connection.
pub(crate) fn dropped_by_rule() -> Report {
    searched(SSDP, "meta l4proto udp drop")
}

/// The same in IPv6.
pub(crate) fn dropped_by_rule_v6() -> Report {
    searched(SSDP_V6, "meta l4proto udp counter drop")
}

#[test]
fn answers_that_a_rule_drops_are_a_fault() {
    if !has_programs() {
        return;
    }
    for report in [dropped_by_rule(), dropped_by_rule_v6()] {
        assert_only(&report, Id::AnswersDropped);
        assert_eq!(report.verdict(), Verdict::Faults, "{report:#?}");
    }
}

#[test]
pub(crate) fn answers_that_get_through_are_healthy() {
    if !has_programs() {
        return;
    }
    for to in [SSDP, SSDP_V6] {
        for rule in ["udp dport 1900 drop", "udp sport 1900 accept"] {
            assert_healthy(&searched(to, rule));
        }
    }
}

#[test]
fn socket_that_is_connected_to_the_group_gets_no_answers() {
    let net = Net::new();
    let _responder = Responder::on(&net.sender, SSDP);
    let to: SocketAddr = SSDP.parse().unwrap();
    let asker: UdpSocket = socket(&net.receiver, to.ip(), "eth0").into();
    let port = asker.local_addr().unwrap().port();
    asker.connect(to).unwrap();
    let _search = Stream::by(asker, to, 64);
    let report = examine_port(&net.receiver, port);
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.id == Id::AnswersDropped).collect();
    assert!(found.len() == 1 && found[0].severity == Severity::Fault, "{report:#?}");
    assert!(found[0].cause.contains("is connected to 239.255.255.250:1900"), "{report:#?}");
}
