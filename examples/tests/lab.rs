//! The examples do what they say, as programs between hosts of the lab.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host, Lab};

/// Longer than any step takes, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Hosts on one switch, `eth0` with 10.0.0.1 and so on.
struct Lan {
    hosts: Vec<Host>,
    _switch: mcast_lab::Switch,
    lab: Lab,
}

impl Lan {
    fn new(hosts: u8) -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch("lan").unwrap();
        let connect = |number| {
            let host = lab.host(&format!("h{number}")).unwrap();
            host.connect("eth0", &switch, &[&format!("10.0.0.{number}/24")]).unwrap();
            host.add_route("224.0.0.0/4", "eth0").unwrap();
            host
        };
        Self { hosts: (1..=hosts).map(connect).collect(), _switch: switch, lab }
    }
}

/// Returns the file of an example, which was built with this test.
fn file(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(name)
}

/// A running example, whose output is read.
struct Running {
    child: Child,
    output: JoinHandle<(Vec<String>, Vec<String>)>,
}

fn start(host: &Host, name: &str, arguments: &[&str]) -> Running {
    start_with(host, name, arguments, Stdio::null())
}

fn start_with(host: &Host, name: &str, arguments: &[&str], stdin: Stdio) -> Running {
    let mut command = host.command(file(name)).unwrap();
    command.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let output = thread::spawn(|| {
        let errors = thread::spawn(|| BufReader::new(stderr).lines().map_while(Result::ok).collect());
        (BufReader::new(stdout).lines().map_while(Result::ok).collect(), errors.join().unwrap())
    });
    Running { child, output }
}

impl Running {
    /// Returns the lines that it printed until it ended, which must be a success.
    fn lines(mut self) -> Vec<String> {
        let status = self.child.wait_timeout(TIMEOUT);
        if status.is_err() {
            self.child.kill().unwrap();
        }
        let (lines, errors) = self.output.join().unwrap();
        assert!(
            status.as_ref().is_ok_and(std::process::ExitStatus::success),
            "{status:?}\n{lines:#?}\n{errors:#?}"
        );
        lines
    }
}

/// Waits until a host has joined this group: its line in `/proc/net/igmp` has this form.
fn wait_joined(host: &Host, group: &str) {
    let address: std::net::Ipv4Addr = group.parse().unwrap();
    let hex = format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let end = Instant::now() + TIMEOUT;
    while !host.read_proc_net("igmp").unwrap().contains(&hex) {
        assert!(Instant::now() < end, "{group} is not joined");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn hello_receives_what_it_sends_and_ends() {
    let lan = Lan::new(1);
    let lines = start(&lan.hosts[0], "hello", &[]).lines();
    assert_eq!(lines, ["5 bytes for 239.255.7.7:7000 from 10.0.0.1"]);
}

#[test]
fn prices_publishes_receives_and_ends() {
    let lan = Lan::new(1);
    let mut lines = start(&lan.hosts[0], "prices", &[]).lines();
    lines.sort();
    assert_eq!(lines, ["1 subscriber has everything", "pears 101"]);
}

/// What the front pages show is what the tests here run.
#[test]
fn the_front_pages_print_whole_examples() {
    let pages = [
        (include_str!("../../README.md"), include_str!("../hello.rs")),
        (include_str!("../../crates/net/README.md"), include_str!("../hello.rs")),
        (include_str!("../../crates/stream/README.md"), include_str!("../prices.rs")),
    ];
    for (page, example) in pages {
        let program = example.split_once("\n\n").unwrap().1;
        assert!(page.contains(program), "{program}");
    }
}

#[test]
fn each_explains_itself() {
    let manifest = include_str!("../Cargo.toml");
    let names: Vec<_> =
        manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let lan = Lan::new(1);
    for name in names.into_iter().skip(1).filter(|name| !["hello", "prices"].contains(name)) {
        let lines = start(&lan.hosts[0], name, &["--help"]).lines();
        assert!(
            lines.len() == 1 || lines.iter().any(|line| line.starts_with("Usage: ")),
            "{name}: {lines:#?}"
        );
    }
}

/// A program that is written from the page alone would miss what the page leaves out.
#[test]
fn the_page_says_what_to_do_with_each_event() {
    let page = include_str!("../../docs/rust/ten-minutes.md");
    let api = include_str!("../../docs/api/mcast-stream-proto.txt");
    let prefix = "pub mcast_stream_proto::subscriber::SubscriberEvent::";
    let events = api.lines().filter_map(|line| line.strip_prefix(prefix));
    let names: Vec<&str> = events.filter_map(|line| line.split(['(', ':']).next()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn what_is_sent_is_received() {
    let lan = Lan::new(2);
    let receive = start(&lan.hosts[1], "receive", &["239.255.7.7:7000", "--count", "3"]);
    wait_joined(&lan.hosts[1], "239.255.7.7");
    let send = ["239.255.7.7%eth0:7000", "hi", "--count", "3", "--rate", "50"];
    assert_eq!(start(&lan.hosts[0], "send", &send).lines(), ["sent 3 datagrams"]);
    assert_eq!(receive.lines(), [r#""hi" for 239.255.7.7:7000 from 10.0.0.1"#; 3]);
}

#[test]
fn tokio_receives_beside_a_timer() {
    let lan = Lan::new(2);
    let receive = start(&lan.hosts[1], "receive_tokio", &["239.255.7.7:7000", "--seconds", "2"]);
    wait_joined(&lan.hosts[1], "239.255.7.7");
    start(&lan.hosts[0], "send", &["239.255.7.7%eth0:7000", "--count", "2", "--rate", "50"]).lines();
    assert_eq!(receive.lines(), ["5 bytes from 10.0.0.1"; 2]);
}

#[test]
fn one_source_is_heard_and_the_others_are_not() {
    let lan = Lan::new(3);
    let arguments = ["10.0.0.1", "232.1.2.3:7000", "--count", "2"];
    let receive = start(&lan.hosts[2], "source_specific", &arguments);
    wait_joined(&lan.hosts[2], "232.1.2.3");
    let send = |host: usize, count| {
        let arguments = ["232.1.2.3%eth0:7000", "--count", count, "--rate", "100"];
        start(&lan.hosts[host], "send", &arguments).lines()
    };
    send(1, "5");
    send(0, "2");
    assert_eq!(receive.lines(), ["5 bytes from 10.0.0.1"; 2]);
}

#[test]
fn each_interface_is_counted() {
    let lan = Lan::new(2);
    let other = lan.lab.switch("other").unwrap();
    lan.hosts[1].connect("eth1", &other, &["10.0.1.2/24"]).unwrap();
    let arguments = ["239.255.7.7:7000", "eth0", "eth1", "--seconds", "2"];
    let receive = start(&lan.hosts[1], "several_interfaces", &arguments);
    wait_joined(&lan.hosts[1], "239.255.7.7");
    start(&lan.hosts[0], "send", &["239.255.7.7%eth0:7000", "--count", "4", "--rate", "100"]).lines();
    assert_eq!(receive.lines(), ["eth0: 4 datagrams", "eth1: 0 datagrams"]);
}

#[test]
fn two_hundred_thousand_messages_arrive() {
    let lan = Lan::new(3);
    let subscribe = |host: usize| start(&lan.hosts[host], "messages", &["subscribe", "239.255.7.8:7000"]);
    let subscribers = [subscribe(1), subscribe(2)];
    for host in &lan.hosts[1..] {
        wait_joined(host, "239.255.7.8");
    }
    let publish = start(&lan.hosts[0], "messages", &["publish", "239.255.7.8%eth0:7000"]);
    assert!(publish.lines()[0].ends_with("have everything, 0 have not"));
    for subscriber in subscribers {
        let lines = subscriber.lines();
        assert!(lines[0].starts_with("received ") && lines[0].ends_with("lost 0"), "{lines:?}");
    }
}

#[test]
fn a_subscriber_continues_from_the_log_where_it_was_stopped() {
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let (log, position) = (folder.path().join("log"), folder.path().join("position"));
    let (log, position) = (log.to_str().unwrap(), position.to_str().unwrap());
    let publish = ["publish", "239.255.7.9%eth0:7000", log];
    let mut publisher = start_with(&lan.hosts[0], "log_and_resume", &publish, Stdio::piped());
    let subscribe = |count| {
        let arguments = ["subscribe", "239.255.7.9%eth0:7000", position, "--count", count];
        start(&lan.hosts[1], "log_and_resume", &arguments).lines()
    };
    let all: Vec<String> = (0..1_000).map(|number| format!("event {number}")).collect();
    assert_eq!(subscribe("300"), all[..300]);
    assert_eq!(subscribe("700"), all[300..]);
    drop(publisher.child.stdin.take());
    assert_eq!(publisher.lines(), ["1000 messages are in the log"]);
}

#[test]
fn an_order_waits_until_two_have_processed_it() {
    let lan = Lan::new(3);
    let subscribe = |host: usize, name| {
        start(&lan.hosts[host], "acknowledged", &["subscribe", "239.255.7.10:7000", name])
    };
    let subscribers = [subscribe(1, "a"), subscribe(2, "b")];
    let publish = start(&lan.hosts[0], "acknowledged", &["publish", "239.255.7.10%eth0:7000"]).lines();
    let orders: Vec<String> = (0..10).map(|number| format!("order {number}")).collect();
    let processed: Vec<String> = orders.iter().map(|order| format!("{order}: processed by two")).collect();
    assert_eq!(publish, processed);
    for subscriber in subscribers {
        assert_eq!(subscriber.lines(), orders);
    }
}

#[test]
fn sealed_and_signed_messages_are_read_by_who_has_the_keys() {
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let keys = folder.path().to_str().unwrap();
    start(&lan.hosts[0], "sealed_and_signed", &["keys", keys]).lines();
    let subscriber = start(&lan.hosts[1], "sealed_and_signed", &["subscribe", "239.255.7.11:7000", keys]);
    start(&lan.hosts[0], "sealed_and_signed", &["publish", "239.255.7.11%eth0:7000", keys]).lines();
    assert_eq!(subscriber.lines(), ["buy 100", "sell 50"]);
}

#[test]
fn parity_recovers_what_a_one_way_link_loses() {
    let lab = Lab::new().unwrap();
    let (publisher, subscriber) = (lab.host("publisher").unwrap(), lab.host("subscriber").unwrap());
    let loss = mcast_lab::Impairment { loss: 0.02, ..mcast_lab::Impairment::default() };
    let (a, b) = (["10.0.0.1/24"], ["10.0.0.2/24"]);
    let _link = lab.bad_link(&publisher, "eth0", &a, &subscriber, "eth0", &b, loss).unwrap();
    for host in [&publisher, &subscriber] {
        host.add_route("224.0.0.0/4", "eth0").unwrap();
    }
    let subscribe = start(&subscriber, "one_way", &["subscribe", "239.255.7.12:7000"]);
    wait_joined(&subscriber, "239.255.7.12");
    let publish = start(&publisher, "one_way", &["publish", "239.255.7.12%eth0:7000"]).lines();
    assert_eq!(publish, ["0 messages were not sent"]);
    let lines = subscribe.lines();
    let last = lines.last().unwrap();
    assert!(last.starts_with("received ") && !last.ends_with("recovered 0 datagrams"), "{lines:?}");
}

#[test]
fn redis_holds_every_message_once() {
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let Some(_server) = redis(&lan.hosts[1], folder.path()) else { return };
    let bridge =
        start(&lan.hosts[1], "bridge_to_redis", &["239.255.7.8:7000", "redis://127.0.0.1?key=numbers"]);
    wait_joined(&lan.hosts[1], "239.255.7.8");
    let publish = ["publish", "239.255.7.8%eth0:7000", "--count", "500"];
    start(&lan.hosts[0], "messages", &publish).lines();
    assert_eq!(bridge.lines(), ["500 messages, all stored"]);
    let mut command = lan.hosts[1].command("redis-cli").unwrap();
    let records = command.args(["XREVRANGE", "numbers", "+", "-", "COUNT", "2"]).output().unwrap();
    let records = String::from_utf8(records.stdout).unwrap();
    assert!(records.contains("message number 499"), "{records}");
}

/// Starts a Redis server; `None` if there is none on this machine.
fn redis(host: &Host, folder: &Path) -> Option<Child> {
    let mut command = host.command("redis-server").unwrap();
    command.args(["--save", "", "--dir", folder.to_str().unwrap()]).stdout(Stdio::null());
    let Ok(server) = command.spawn() else {
        mcast_lab::skip("redis-server is not installed (cargo verify --install installs it)");
        return None;
    };
    let end = Instant::now() + TIMEOUT;
    let ping = || {
        let mut command = host.command("redis-cli").unwrap();
        command.arg("PING").output().is_ok_and(|output| output.stdout.starts_with(b"PONG"))
    };
    while !ping() {
        assert!(Instant::now() < end, "redis-server does not answer");
        thread::sleep(Duration::from_millis(20));
    }
    Some(server)
}

#[test]
fn a_capture_holds_what_was_on_the_wire() {
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let path = folder.path().join("capture.pcapng");
    let arguments = ["eth0", path.to_str().unwrap(), "--count", "3"];
    let mut capture = start(&lan.hosts[1], "capture", &arguments);
    let send = ["239.255.7.7%eth0:7000", "--count", "200", "--rate", "50"];
    let sending = start(&lan.hosts[0], "send", &send);
    let status = capture.child.wait_timeout(TIMEOUT).unwrap();
    assert!(status.success());
    sending.child.kill().unwrap();
    let (lines, _) = capture.output.join().unwrap();
    assert!(lines[3].starts_with("3 packets in "), "{lines:?}");
    let mut file = std::fs::File::open(&path).unwrap();
    let mut head = [0; 4];
    std::io::Read::read_exact(&mut file, &mut head).unwrap();
    assert_eq!(head, [0x0a, 0x0d, 0x0d, 0x0a]);
}
