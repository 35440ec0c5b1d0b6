//! Interoperation with Python's sockets and socat, in both directions.

use std::process::Command;

use mcast_lab::Host;

use crate::support::{Ended, Lan, Running, eventually, mcast, program, recv, send};

const GROUP: &str = "239.255.1.2:5000";
/// The group as the kernel's table of memberships writes it on a little-endian machine.
const IN_TABLE: &str = "0201FFEF";

/// Whether a program is there. CI lets no test be left out.
fn has(name: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().status.success();
    if !found {
        mcast_lab::skip(format_args!("interop with {name}: it is not installed"));
    }
    found
}

fn wait_for_membership(host: &Host) {
    eventually("the membership", || host.read_proc_net("igmp").unwrap().contains(IN_TABLE));
}

fn python(host: &Host, script: &str, arguments: &[&str]) -> Running {
    program(host, "python3", &[&["-c", script], arguments].concat(), false)
}

/// Joins one group on the interface with this address, and prints the first datagram.
const PYTHON_RECEIVER: &str = r#"
import socket, sys
group, port, interface = sys.argv[1], int(sys.argv[2]), sys.argv[3]
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((group, port))
membership = socket.inet_aton(group) + socket.inet_aton(interface)
listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
print("joined", file=sys.stderr, flush=True)
payload, (source, _) = listener.recvfrom(65535)
print(source, payload.decode())
"#;

/// Sends one datagram, by the interface with this address or by the route.
const PYTHON_SENDER: &str = r#"
import socket, sys
group, port, text = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
if len(sys.argv) > 4:
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[4]))
sender.sendto(text.encode(), (group, port))
"#;

const PYTHON_RECEIVER_V6: &str = r#"
import socket, struct, sys
group, port, interface = sys.argv[1], int(sys.argv[2]), socket.if_nametoindex(sys.argv[3])
listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
listener.bind(("::", port))
membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", interface)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
print("joined", file=sys.stderr, flush=True)
payload, source = listener.recvfrom(65535)
print(source[0], payload.decode())
"#;

const PYTHON_SENDER_V6: &str = r#"
import socket, sys
group, port, text, interface = sys.argv[1], int(sys.argv[2]), sys.argv[3], socket.if_nametoindex(sys.argv[4])
sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface)
sender.sendto(text.encode(), (group, port))
"#;

/// Answers the first question.
const PYTHON_ANSWERER: &str = r#"
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("", int(sys.argv[2])))
listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(sys.argv[1]) + socket.inet_aton(sys.argv[3]))
print("joined", file=sys.stderr, flush=True)
question, asker = listener.recvfrom(65535)
listener.sendto(b"python received " + question, asker)
"#;

/// Asks, and prints the first answer.
const PYTHON_ASKER: &str = r#"
import socket, sys
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(20)
asker.sendto(sys.argv[3].encode(), (sys.argv[1], int(sys.argv[2])))
answer, (source, port) = asker.recvfrom(65535)
print(source, port, answer.decode())
"#;

#[test]
fn python_receives_from_mcast_send() {
    if !has("python3") {
        return;
    }
    let lan = Lan::new();
    let receiver = python(&lan.b, PYTHON_RECEIVER, &["239.255.1.2", "5000", "10.0.0.2"]);
    receiver.stderr.wait_for("joined");
    send(&lan.a, &[GROUP, "Hello, Python!"]);
    assert_eq!(receiver.end().succeeded().text(), "10.0.0.1 Hello, Python!\n");
}

#[test]
fn mcast_recv_receives_from_python() {
    if !has("python3") {
        return;
    }
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "2", "--format", "text"]);
    python(&lan.a, PYTHON_SENDER, &["239.255.1.2", "5000", "by the route"]).end().succeeded();
    python(&lan.a, PYTHON_SENDER, &["239.255.1.2", "5000", "by address", "10.0.0.1"]).end().succeeded();
    assert_eq!(receiver.end().succeeded().text(), "by the route\nby address\n");
}

#[test]
fn python_and_mcast_exchange_datagrams_over_ipv6() {
    if !has("python3") {
        return;
    }
    let lan = Lan::new();
    let receiver = python(&lan.b, PYTHON_RECEIVER_V6, &["ff15::1", "5000", "eth0"]);
    receiver.stderr.wait_for("joined");
    send(&lan.a, &["[ff15::1%eth0]:5000", "six"]);
    assert_eq!(receiver.end().succeeded().text(), "fd00::1 six\n");

    let receiver = recv(&lan.b, &["[ff15::1]:5000", "-c", "1", "--format", "text"]);
    python(&lan.a, PYTHON_SENDER_V6, &["ff15::1", "5000", "and back", "eth0"]).end().succeeded();
    assert_eq!(receiver.end().succeeded().text(), "and back\n");
}

#[test]
fn python_and_mcast_answer_each_other() {
    if !has("python3") {
        return;
    }
    let lan = Lan::new();
    let answers = python(&lan.b, PYTHON_ANSWERER, &["239.255.1.2", "5000", "10.0.0.2"]);
    answers.stderr.wait_for("joined");
    let asked = mcast(&lan.a, &["ask", GROUP, "mcast", "-c", "1", "-W", "20", "--json"]).succeeded();
    assert_eq!(asked.json()[0]["text"], "python received mcast");
    answers.end().succeeded();

    let answers =
        recv(&lan.c, &[GROUP, "-c", "1", "--exec", "printf 'mcast received '; cat", "--exec-reply"]);
    let asked = python(&lan.a, PYTHON_ASKER, &["239.255.1.2", "5000", "python"]).end().succeeded();
    assert_eq!(asked.text(), "10.0.0.3 5000 mcast received python\n");
    answers.end().succeeded();
}

fn socat(host: &Host, arguments: &[&str], with_input: bool) -> Running {
    program(host, "socat", arguments, with_input)
}

fn pipe_into_socat(host: &Host, text: &str, arguments: &[&str]) -> Running {
    let mut running = socat(host, arguments, true);
    std::io::Write::write_all(running.child.stdin.as_mut().unwrap(), text.as_bytes()).unwrap();
    running.child.stdin.take();
    running
}

fn killed(running: Running) -> Ended {
    running.signalled(libc::SIGTERM)
}

#[test]
fn socat_receives_from_mcast_send() {
    if !has("socat") {
        return;
    }
    let lan = Lan::new();
    let receiver =
        socat(&lan.b, &["-u", "UDP4-RECV:5000,ip-add-membership=239.255.1.2:10.0.0.2", "STDOUT"], false);
    wait_for_membership(&lan.b);
    send(&lan.a, &[GROUP, "Hello, socat!"]);
    receiver.stdout.wait_for("Hello, socat!");
    killed(receiver);
}

#[test]
fn mcast_recv_receives_from_socat() {
    if !has("socat") {
        return;
    }
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "1", "--format", "raw"]);
    let sends = pipe_into_socat(&lan.a, "Hello, mcast!\n", &["STDIO", "UDP4-DATAGRAM:239.255.1.2:5000"]);
    assert_eq!(receiver.end().succeeded().text(), "Hello, mcast!\n");
    killed(sends);
}

#[test]
fn socat_answers_mcast_ask() {
    if !has("socat") {
        return;
    }
    let lan = Lan::new();
    let listen = "UDP4-RECVFROM:5000,ip-add-membership=239.255.1.2:10.0.0.2,fork";
    let answers = socat(&lan.b, &[listen, "EXEC:hostname"], false);
    wait_for_membership(&lan.b);
    // socat throws the answer away when the program ends before it has been given the question,
    // which it now and then does: then it is asked again.
    let mut asked = None;
    eventually("an answer", || {
        let once = mcast(&lan.a, &["ask", GROUP, "who", "-c", "1", "-W", "1", "--json"]);
        asked = (once.status == Some(0)).then_some(once);
        asked.is_some()
    });
    let answer = &asked.unwrap().json()[0];
    assert_eq!((&answer["source"], &answer["source_port"]), (&"10.0.0.2".into(), &5000.into()));
    assert_eq!(answer["text"], hostname(&lan.b));
    killed(answers);
}

#[test]
fn mcast_recv_answers_socat() {
    if !has("socat") {
        return;
    }
    let lan = Lan::new();
    let answers = recv(&lan.b, &[GROUP, "-c", "1", "--exec", "hostname", "--exec-reply"]);
    let asks = pipe_into_socat(&lan.a, "who\n", &["-t", "20", "STDIO", "UDP4-DATAGRAM:239.255.1.2:5000"]);
    asks.stdout.wait_for(&hostname(&lan.b));
    answers.end().succeeded();
    killed(asks);
}

fn hostname(host: &Host) -> String {
    program(host, "hostname", &[], false).end().succeeded().text().to_owned()
}
