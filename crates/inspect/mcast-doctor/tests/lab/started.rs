//! Programs that the doctor starts: what they print when they fail, and what they leave behind.

use std::net::UdpSocket;
use std::ops::ControlFlow;

use mcast_doctor::{Id, Report, StartedProgram};
use mcast_lab::Host;

use crate::net::{Net, Stream, assert_healthy, briefly, has_programs, run};
use crate::treatment::{on, timed};

crate::table::cases! {
    address_in_use_printed: AddressInUse, "a wrapped program prints `EADDRINUSE`", address_in_use;
    no_route_printed: NoRoute, "a program prints `ENODEV`, no route for groups", no_route;
    no_route_to_send_printed: NoRoute, "a program prints `ENETUNREACH`", no_route_to_send;
    no_such_interface: NoSuchInterface, "a program joins with the address of another machine", no_such_interface;
    membership_limit_printed: MembershipLimit, "a program joins 30 groups and prints `ENOBUFS`", too_many_groups;
    message_too_long: MtuTooSmall, "a program that forbids fragments sends 3000 bytes and prints `EMSGSIZE`", message_too_long;
    program_ended: ProgramEnded, "a program that a signal ends after it has joined", ended_by_signal;
    address_in_use_printed_to_stdout: AddressInUse, "a program prints `EADDRINUSE` to standard output", address_in_use_on_stdout;
}

/// Binds to a port, joins a group on the interface with an address, and reads.
const PLAYER: &str = "import socket, sys
group, port, interface = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', int(port)))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(interface))
while True:
    s.recv(2000)";

/// Starts a command on a host and examines it, as `mcast doctor -- COMMAND` does.
pub(crate) fn examine_command(host: &Host, command: &[&str]) -> Report {
    let options = briefly();
    let examine = || {
        let (program, arguments) = command.split_first().unwrap();
        let mut started = StartedProgram::start(std::process::Command::new(program).args(arguments)).unwrap();
        match started.wait_until_joined(|| false) {
            Ok(()) => started.examine(&options, &mut |_| ControlFlow::Continue(())),
            Err(error) => started.explain(error),
        }
    };
    timed(|| on(host, || examine().unwrap()))
}

/// A program that cannot bind, because another has the port open.
pub(crate) fn address_in_use() -> Report {
    let net = Net::new();
    let _greedy = net.receiver.run(|| UdpSocket::bind("0.0.0.0:5000").unwrap()).unwrap();
    let command = ["sh", "-c", "exec python3 \"$@\"", "sh", "-c", PLAYER, "239.1.2.3", "5000", "10.9.0.2"];
    let report = examine_command(&net.receiver, &command);
    let finding = &report.findings[0];
    assert!(finding.cause.contains("has UDP port 5000 open"), "{finding:?}");
    report
}

/// The same for a program that prints to standard output.
pub(crate) fn address_in_use_on_stdout() -> Report {
    let net = Net::new();
    let _greedy = net.receiver.run(|| UdpSocket::bind("0.0.0.0:5000").unwrap()).unwrap();
    let script = "exec python3 \"$@\" 2>&1";
    examine_command(&net.receiver, &["sh", "-c", script, "sh", "-c", PLAYER, "239.1.2.3", "5000", "10.9.0.2"])
}

/// A program that crashes when it is examined.
pub(crate) fn ended_by_signal() -> Report {
    const CRASH: &str = "import socket, os, resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes([239, 1, 2, 3, 10, 9, 0, 2]))
for _ in range(150):
    s.recv(2000)
os.kill(os.getpid(), signal.SIGSEGV)";
    let net = Net::new();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let report = examine_command(&net.receiver, &["python3", "-c", CRASH]);
    let ended = report.findings.iter().find(|finding| finding.id == Id::ProgramEnded);
    assert!(ended.is_some_and(|finding| finding.cause.contains("signal: 11 (SIGSEGV)")), "{report:#?}");
    report
}

/// A program that names no interface, on a machine without a route for groups.
pub(crate) fn no_route() -> Report {
    let net = Net::new();
    net.receiver.remove_route("224.0.0.0/4", "eth0").unwrap();
    examine_command(&net.receiver, &["python3", "-c", PLAYER, "239.1.2.3", "5000", "0.0.0.0"])
}

/// A program that sends, on a machine without a route for groups.
pub(crate) fn no_route_to_send() -> Report {
    const SENDER: &str = "import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', ('239.1.2.3', 5000))";
    let net = Net::new();
    net.receiver.remove_route("224.0.0.0/4", "eth0").unwrap();
    examine_command(&net.receiver, &["python3", "-c", SENDER])
}

/// A program with the address of another machine.
pub(crate) fn no_such_interface() -> Report {
    let net = Net::new();
    let report = examine_command(&net.receiver, &["python3", "-c", PLAYER, "239.1.2.3", "5000", "10.9.0.99"]);
    assert!(report.findings[0].cause.contains("10.9.0.99"), "{report:#?}");
    report
}

/// A program that joins more groups than a socket may.
pub(crate) fn too_many_groups() -> Report {
    const GREEDY: &str = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for last in range(30):
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes([239, 7, 7, last]) + bytes([10, 9, 0, 2]))";
    let net = Net::new();
    examine_command(&net.receiver, &["python3", "-c", GREEDY])
}

#[test]
fn signal_that_ends_the_child_of_a_shell_at_once_is_named() {
    let script = "sh -c 'kill -9 $$'; exit $?";
    let mut started = StartedProgram::start(std::process::Command::new("sh").args(["-c", script])).unwrap();
    let error = started.wait_until_joined(|| false).unwrap_err().to_string();
    assert!(error.contains("exit status: 137") && error.contains("signal: 9 (SIGKILL)"), "{error}");
}

/// A wrapper that ends at once and leaves the program running in the background, in a session of its own.
const DETACHED: &str = "setsid python3 -c \"$0\" 239.1.2.3 5000 10.9.0.2 > /dev/null &";

#[test]
fn program_in_the_background_is_examined_and_ended() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let report = examine_command(&net.receiver, &["sh", "-c", DETACHED, PLAYER]);
    assert_healthy(&report);
    let wire = |what: &str| report.observations.iter().any(|seen| seen.message.contains(what));
    assert!(wire("to 239.1.2.3:5000"), "{report:#?}");
    let left = net.receiver.read_proc_net("udp").unwrap();
    assert!(!left.contains(":1388"), "the program was left: {left}");
}

/// A program that becomes another one again and again, here itself, and then leaves a file.
const BECOMES_ANOTHER: &str =
    "[ $1 = 0 ] && { touch \"$2\"; exit; }; exec sh -c \"$0\" \"$0\" $(($1 - 1)) \"$2\"";

#[test]
fn program_in_the_background_has_not_ended_while_it_becomes_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ended");
    let detached = "setsid sh -c \"$0\" \"$0\" 300 \"$1\" > /dev/null 2>&1 &";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", detached, BECOMES_ANOTHER]).arg(&file);
    let mut started = StartedProgram::start(&mut command).unwrap();
    while started.end_status().unwrap().is_none() {}
    assert!(file.exists(), "it is called ended while it runs");
}

#[test]
fn program_with_a_route_joins_after_the_remedy() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.receiver.remove_route("224.0.0.0/4", "eth0").unwrap();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let command = ["python3", "-c", PLAYER, "239.1.2.3", "5000", "0.0.0.0"];
    let report = examine_command(&net.receiver, &command);
    let remedy = report.findings[0].applicable_remedy().unwrap();
    run(&net.receiver, &remedy.command().unwrap());
    assert_healthy(&examine_command(&net.receiver, &command));
}

/// Returns whether socat is installed; prints a note if not.
fn has_socat() -> bool {
    mcast_lab::has_program("socat", "-V", "a program that the doctor starts")
}

#[test]
fn socat_is_examined_like_any_program() {
    if !has_socat() {
        return;
    }
    let net = Net::new();
    net.second_lan();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let ids = |address: &str| {
        let report = examine_command(&net.receiver, &["socat", "-u", address, "OPEN:/dev/null"]);
        report.findings.into_iter().map(|finding| finding.id).collect::<Vec<_>>()
    };
    assert_eq!(ids("UDP4-RECV:5000,ip-add-membership=239.1.2.3:eth0,reuseaddr"), []);
    let bound = "UDP4-RECV:5000,bind=10.9.0.2,ip-add-membership=239.1.2.3:eth0,reuseaddr";
    assert_eq!(ids(bound), [Id::BoundToUnicast]);
    let device = "UDP4-RECV:5000,ip-add-membership=239.1.2.3:eth0,so-bindtodevice=eth1,reuseaddr";
    assert_eq!(ids(device), [Id::BoundToOtherInterface]);
    let foreign = "UDP4-RECV:5000,ip-add-membership=239.1.2.3:10.9.0.99,reuseaddr";
    assert_eq!(ids(foreign), [Id::NoSuchInterface]);
}

/// A program that sends longer datagrams than fit, and forbids fragments.
pub(crate) fn message_too_long() -> Report {
    const SENDER: &str = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 2)
s.sendto(bytes(3000), ('239.1.2.3', 5000))";
    examine_command(&Net::new().receiver, &["python3", "-c", SENDER])
}
