//! Programs that others wrote, which do something wrong and continue to run while their sockets are repaired.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_doctor::{AppliedRemedies, Finding, Id, Journal, Remedy, RemedyEffect, Report, SocketAction, Tool};
use mcast_lab::{Child, Host};

use crate::net::{Net, Stream, examine_process, has_programs};

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";

/// A program that runs until this is dropped.
struct Running(Child);

impl Running {
    /// Starts a program, and waits until it has a socket bound to port 5000, or to any port if it `sends`.
    fn start(host: &Host, program: &str, args: &[&str], sends: bool) -> Self {
        Self::start_on(host, program, args, (!sends).then_some(5000))
    }

    /// Starts a program, and waits until it has a socket bound to a port, or to any.
    fn start_on(host: &Host, program: &str, args: &[&str], port: Option<u16>) -> Self {
        let mut command = host.command(program).unwrap();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Self(command.spawn().unwrap());
        let begin = Instant::now();
        while !running.has_socket(port) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{program} has opened no socket");
            assert!(running.0.try_wait().unwrap().is_none(), "{program} has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// Returns whether a socket of its network namespace is bound to a port, or to any.
    fn has_socket(&self, port: Option<u16>) -> bool {
        let table =
            |name| std::fs::read_to_string(format!("/proc/{}/net/{name}", self.0.id())).unwrap_or_default();
        let tables = [table("udp"), table("udp6")];
        let mut lines = tables.iter().flat_map(|table| table.lines().skip(1));
        let is_on = |local: &str, port: u16| local.ends_with(&format!(":{port:04X}"));
        lines.any(|line| {
            port.is_none_or(|port| line.split_whitespace().nth(1).is_some_and(|local| is_on(local, port)))
        })
    }

    fn is_alive(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns whether a program is installed; says so if not, so that a run shows what was not tried.
fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    if !found {
        mcast_lab::skip(format_args!("this test needs {program}"));
    }
    found
}

fn finding(report: &Report, id: Id) -> &Finding {
    report.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("{id}: {report:#?}"))
}

fn on_socket(report: &Report, id: Id) -> Remedy {
    let remedy = finding(report, id).applicable_remedy().unwrap_or_else(|| panic!("{id}: {report:#?}"));
    assert_eq!(remedy.tool, Tool::Socket, "{remedy:#?}");
    remedy.clone()
}

/// Applies the remedy of a finding about a process; the examination after it must show success. Undoes it from the journal, as
/// after a kill, and the finding must be back.
fn repair_and_undo(net: &Net, running: &Running, id: Id) {
    repair(net, running, id, RemedyEffect::is_success);
}

fn repair(net: &Net, running: &Running, id: Id, is_expected: impl Fn(RemedyEffect) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let journal = || Journal::at(folder.path().join("doctor.jsonl"));
    let host = &net.receiver;
    let before = examine_process(host, running.0.id());
    let remedy = on_socket(&before, id);
    let mut applied = AppliedRemedies::recorded_in(journal());
    host.run(|| applied.apply(&remedy, |_| ())).unwrap().unwrap();
    let after = examine_process(host, running.0.id());
    let effect = RemedyEffect::of(id, &before, &after, true);
    assert!(is_expected(effect), "{id}: {effect:?} {after:#?}");
    // The process that applied it is killed: nothing is undone, and the journal stays.
    std::mem::forget(applied);
    host.run(|| journal().undo(|_| {})).unwrap().unwrap();
    assert!(running.is_alive());
    finding(&examine_process(host, running.0.id()), id);
}

/// Starts a receiver that has bound its port and joined nothing.
fn not_joined(program: &str, args: &[&str], to: &str) {
    if !has_programs() || !is_installed(program) {
        return;
    }
    let net = Net::new();
    let running = Running::start(&net.receiver, program, args, false);
    let _stream = Stream::to(&net.sender, to);
    repair_and_undo(&net, &running, Id::NotJoined);
}

#[test]
fn socat_that_only_binds_receives_the_group_and_its_undo_ends_that() {
    not_joined("socat", &["-u", "UDP4-RECV:5000,reuseaddr", "OPEN:/dev/null"], GROUP);
}

#[test]
fn socat_that_only_binds_receives_an_ipv6_group() {
    not_joined("socat", &["-u", "UDP6-RECV:5000,reuseaddr", "OPEN:/dev/null"], GROUP_V6);
}

#[test]
fn ffmpeg_without_a_group_receives_it() {
    not_joined(
        "ffmpeg",
        &["-loglevel", "quiet", "-f", "mpegts", "-i", "udp://0.0.0.0:5000", "-f", "null", "-"],
        GROUP,
    );
}

#[test]
fn node_without_a_membership_receives_the_group() {
    let script = "require('dgram').createSocket('udp4').on('message',()=>{}).bind(5000)";
    not_joined("node", &["-e", script], GROUP);
}

#[test]
fn java_without_a_membership_receives_the_group() {
    if !is_installed("java") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("Reader.java");
    let program =
        "import java.net.*; public class Reader { public static void main(String[] a) throws Exception {
        System.setProperty(\"java.net.preferIPv4Stack\", \"true\");
        MulticastSocket s = new MulticastSocket(5000); byte[] b = new byte[2000];
        while (true) s.receive(new DatagramPacket(b, b.length)); } }";
    std::fs::write(&source, program).unwrap();
    not_joined("java", &["-Djava.net.preferIPv4Stack=true", path(&source)], GROUP);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Repairs a receiver that has joined on the interface that it was given, which is the wrong one.
fn on_the_wrong_interface(net: &Net, running: &Running) {
    let _stream = Stream::to(&net.sender, GROUP);
    repair_and_undo(net, running, Id::JoinedOtherInterface);
}

#[test]
fn vlc_that_joined_on_the_wrong_interface_is_moved_to_the_right_one() {
    if !has_programs() || !is_installed("cvlc") {
        return;
    }
    let net = Net::new();
    let _second = net.second_lan();
    // VLC does not run as root.
    let ordinary = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let play = [
        "cvlc",
        "-q",
        "--intf",
        "dummy",
        "--no-audio",
        "--no-video",
        "--miface",
        "eth1",
        "udp://@239.1.2.3:5000",
    ];
    let running = Running::start(&net.receiver, "setpriv", &[&ordinary[..], &play].concat(), false);
    on_the_wrong_interface(&net, &running);
}

#[test]
fn go_that_joined_on_the_wrong_interface_is_moved_to_the_right_one() {
    if !has_programs() || !is_installed("go") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, binary) = (folder.path().join("reader.go"), folder.path().join("reader"));
    let program = r#"package main
import "net"
func main() {
    eth1, err := net.InterfaceByName("eth1")
    if err != nil { panic(err) }
    socket, err := net.ListenMulticastUDP("udp4", eth1, &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3), Port: 5000})
    if err != nil { panic(err) }
    buffer := make([]byte, 2000)
    for { socket.Read(buffer) }
}"#;
    std::fs::write(&source, program).unwrap();
    let mut build = std::process::Command::new("go");
    build.args(["build", "-o", path(&binary), path(&source)]);
    build.env("GOCACHE", folder.path().join("cache")).env("GO111MODULE", "off").env("CGO_ENABLED", "0");
    assert!(build.status().unwrap().success());
    let net = Net::new();
    let _second = net.second_lan();
    let running = Running::start(&net.receiver, path(&binary), &[], false);
    on_the_wrong_interface(&net, &running);
}

/// A participant of DDS finds others by a group and port that follow from the number of its domain.
#[test]
fn participant_of_dds_on_the_wrong_interface_hears_the_others() {
    if !has_programs() || !crate::dds::has_cyclone() {
        return;
    }
    let python = crate::dds::python();
    let net = Net::new();
    let _second = net.second_lan();
    let interface =
        "<General><Interfaces><NetworkInterface name='eth1' multicast='true'/></Interfaces></General>";
    let configuration = format!("CYCLONEDDS_URI=<CycloneDDS><Domain>{interface}</Domain></CycloneDDS>");
    let program = "import time; from cyclonedds.domain import DomainParticipant; p = DomainParticipant(0); time.sleep(1000)";
    let args = [configuration.as_str(), path(&python), "-c", program];
    let running = Running::start_on(&net.receiver, "env", &args, Some(7400));
    let _stream = Stream::to(&net.sender, "239.255.0.1:7400");
    // Its other socket, for data, has nothing to receive.
    repair(&net, &running, Id::JoinedOtherInterface, |effect| matches!(effect, RemedyEffect::MoreArrive));
}

/// Something else has taken its membership away.
#[test]
fn avahi_that_lost_its_group_hears_queries_again() {
    if !has_programs() || !Path::new("/usr/sbin/avahi-daemon").exists() {
        mcast_lab::skip("this test needs avahi-daemon");
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("avahi.conf");
    let options = "[server]\nuse-ipv6=no\nallow-interfaces=eth0\nenable-dbus=no\n[publish]\n";
    std::fs::write(&configuration, options).unwrap();
    // Its files of the running system are those of another daemon.
    let run = format!(
        "mount -t tmpfs tmpfs /run && exec /usr/sbin/avahi-daemon -f {} --no-drop-root --no-chroot --no-rlimits",
        path(&configuration)
    );
    let running = Running::start_on(&net.receiver, "unshare", &["--mount", "sh", "-c", &run], Some(5353));
    wait_until("it joins", || net.receiver.read_proc_net("igmp").unwrap().contains("FB0000E0"));
    let eth0 = net.receiver.interface_index("eth0").unwrap();
    let leave = SocketAction {
        pid: running.0.id(),
        socket: inode_of(&net.receiver, 5353),
        change: format!("leave 224.0.0.251%{eth0}").parse().unwrap(),
    };
    let mut broken = AppliedRemedies::default();
    let leave = Remedy::of_socket(leave);
    net.receiver.run(|| broken.apply(&leave, |_| ())).unwrap().unwrap();
    std::mem::forget(broken);
    let _stream = Stream::to(&net.sender, "224.0.0.251:5353");
    repair_and_undo(&net, &running, Id::NotJoined);
}

/// Returns the inode of the socket that is bound to a port.
fn inode_of(host: &Host, port: u16) -> u64 {
    let table = host.read_proc_net("udp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut bound =
        fields.filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&format!(":{port:04X}"))));
    bound.next().unwrap()[9].parse().unwrap()
}

/// Runs this Python with a socket `s` of a family.
fn python(net: &Net, script: &str, sends: bool) -> Running {
    let program = format!("import socket, struct, time\n{script}");
    Running::start(&net.receiver, "python3", &["-c", &program], sends)
}

const READ: &str = "\nwhile True: s.recv(2000)";

#[test]
fn python_that_joined_on_the_wrong_interface_is_moved_to_the_right_one() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _second = net.second_lan();
    let join = "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',5000))
s.setsockopt(socket.IPPROTO_IP,socket.IP_ADD_MEMBERSHIP,socket.inet_aton('239.1.2.3')+bytes(4)+struct.pack('=i',socket.if_nametoindex('eth1')))";
    let running = python(&net, &format!("{join}{READ}"), false);
    let _stream = Stream::to(&net.sender, GROUP);
    repair_and_undo(&net, &running, Id::JoinedOtherInterface);
}

#[test]
fn python_that_admits_another_source_admits_the_sender() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let join = "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',5000))
s.setsockopt(socket.IPPROTO_IP,39,socket.inet_aton('239.1.2.3')+socket.inet_aton('10.9.0.2')+socket.inet_aton('10.9.0.77'))";
    let running = python(&net, &format!("{join}{READ}"), false);
    let _stream = Stream::to(&net.sender, GROUP);
    repair_and_undo(&net, &running, Id::SourceNotAdmitted);
}

#[test]
fn python_that_sends_with_hop_limit_1_sends_farther() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let send = "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('10.9.0.2',0))
while True: s.sendto(b'x',('239.192.2.3',5000)); time.sleep(.01)";
    let running = python(&net, send, true);
    repair_and_undo(&net, &running, Id::TtlTooSmall);
}

#[test]
fn python_that_receives_a_group_of_another_program_receives_only_its_own() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let join = "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('',5000))
s.setsockopt(socket.IPPROTO_IP,socket.IP_ADD_MEMBERSHIP,socket.inet_aton('239.1.2.3')+bytes(4)+struct.pack('=i',socket.if_nametoindex('eth0')))";
    let running = python(&net, &format!("{join}{READ}"), false);
    let _other = crate::net::listener(&net.receiver, "239.9.9.9:5000", &[("239.9.9.9", "eth0")]);
    let (_own, _foreign) = (Stream::to(&net.sender, GROUP), Stream::to(&net.sender, "239.9.9.9:5000"));
    repair_and_undo(&net, &running, Id::ForeignGroupsLeak);
}

/// Returns the sum of the counter `UdpInDatagrams` of a host: what its programs have read.
fn read_by_programs(host: &Host) -> u64 {
    let table = host.read_proc_net("snmp").unwrap();
    let values = table.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap_or_default();
    values.split_whitespace().nth(1).and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the descriptors that a process has open.
fn descriptors(pid: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// `MCAST_REPAIR_ROUNDS` sets the number of rounds.
#[test]
fn program_is_repaired_and_restored_again_and_again_under_traffic() {
    if !has_programs() {
        return;
    }
    let rounds = std::env::var("MCAST_REPAIR_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let net = Net::new();
    let host = &net.receiver;
    let script = "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',5000))";
    let running = python(&net, &format!("{script}{READ}"), false);
    let pid = running.0.id().to_string();
    let _stream = Stream::to(&net.sender, GROUP);
    let remedy = on_socket(&examine_process(host, running.0.id()), Id::NotJoined);
    let folder = tempfile::tempdir().unwrap();
    let journal = || Journal::at(folder.path().join("doctor.jsonl"));
    // As `/proc/net/igmp` writes 239.1.2.3.
    let is_member = || host.read_proc_net("igmp").unwrap().contains("030201EF");
    let begin = descriptors(&pid);
    for round in 0..rounds {
        assert!(!is_member(), "round {round}");
        let before = read_by_programs(host);
        let mut applied = AppliedRemedies::recorded_in(journal());
        host.run(|| applied.apply(&remedy, |_| ())).unwrap().unwrap();
        wait_until("it receives", || read_by_programs(host) > before + 3);
        // Every second time, the doctor is killed, and what it changed is undone from the journal.
        if round % 2 == 0 {
            host.run(|| applied.undo()).unwrap().unwrap();
        } else {
            std::mem::forget(applied);
            host.run(|| journal().undo(|_| {})).unwrap().unwrap();
        }
    }
    assert!(!is_member() && running.is_alive());
    assert_eq!(descriptors(&pid), begin, "descriptors of the program");
    println!("{rounds} rounds of repairs");
}

#[test]
fn socket_that_a_program_closes_meanwhile_is_not_mistaken_for_the_next_one() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    // It reuses the number of the descriptor, and is never without a socket.
    let script = "import os, sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('',5000))
sys.stdin.read(1)
t=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); t.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); t.bind(('',5000))
os.dup2(t.fileno(),s.fileno()); t.close()
while True: s.recv(2000)";
    let mut running = python(&net, script, false);
    let _stream = Stream::to(&net.sender, GROUP);
    let report = examine_process(&net.receiver, running.0.id());
    let remedy = on_socket(&report, Id::NotJoined);
    // At the end of its input, the program closes the socket and opens another one.
    let inode = report.findings[0].evidence[0].location.clone();
    drop(running.0.stdin.take());
    let begin = Instant::now();
    let has_same = |report: &Report| {
        report
            .findings
            .iter()
            .any(|finding| finding.evidence.iter().any(|evidence| evidence.location == inode))
    };
    while has_same(&examine_process(&net.receiver, running.0.id())) {
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    let mut applied = AppliedRemedies::default();
    let error = net.receiver.run(|| applied.apply(&remedy, |_| ())).unwrap().unwrap_err();
    assert!(error.to_string().contains("no longer has this socket open"), "{error}");
    finding(&examine_process(&net.receiver, running.0.id()), Id::NotJoined);
}
