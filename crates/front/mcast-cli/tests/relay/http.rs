//! HTTP clients: curl, ffprobe, VLC and Chromium receive groups from a relay.

use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::{Host, Lab, SwitchOptions};
use serde_json::Value;

use crate::browser::{browser, opened, picture_folder};
use crate::network::{Network, address, of_type, records, relay, relay_unready, sender, stop, texts};
use crate::schemas::assert_valid;
use crate::support::{Ended, Running, TIMEOUT, eventually, mcast, program, recv, start};

const RULE: &str = "239.1.2.0/24:5000 from eth0 to http://10.0.1.9:4022";
const GROUP: &str = "239.1.2.3:5000";
/// 239.1.2.3 as the kernel lists it.
const GROUP_IN_TABLE: &str = "030201EF";
pub(crate) const SERVER: &str = "http://10.0.1.9:4022";
/// Bytes that a sender is ahead of the client: much less than the system's queues take, on a busy machine too.
const IN_FLIGHT: usize = 100_000;

/// A relay that serves HTTP clients.
pub(crate) fn server(host: &Host, arguments: &[&str]) -> Running {
    let running = relay_unready(host, arguments);
    running.stdout.wait_for(r#""event":"http-listening""#);
    running.stdout.wait_for(r#""event":"leg-up""#);
    running
}

/// Returns how many programs and sockets of the host have joined the group.
pub(crate) fn users(host: &Host) -> u32 {
    let table = host.read_proc_net("igmp").unwrap();
    let line = table.lines().find(|line| line.contains(GROUP_IN_TABLE));
    line.map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

/// Connects, requests a path, and reads the head of the response.
fn get(host: &Host, path: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = host.run(|| TcpStream::connect("10.0.1.9:4022")).unwrap().unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 10.0.1.9:4022\r\n{headers}\r\n").unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

pub(crate) fn curl(host: &Host, arguments: &[&str]) -> Running {
    program(host, "curl", &[&["-gsS", "--no-buffer"], arguments].concat(), false)
}

/// Returns the status and the body of a response.
pub(crate) fn fetched(host: &Host, arguments: &[&str]) -> (String, String) {
    let ended = curl(host, &[&["-w", "\n%{http_code}", "--max-time", "20"], arguments].concat()).end();
    let (body, status) =
        ended.text().rsplit_once('\n').map(|(body, status)| (body.into(), status.into())).unwrap();
    (status, body)
}

/// Waits until a program has printed as many bytes.
pub(crate) fn wait_for_bytes(running: &Running, count: usize) {
    if running.stdout.len() < count {
        eventually("bytes of a stream", || running.stdout.len() >= count);
    }
}

/// Returns the output of a program once it has this length, and ends it.
fn output(running: Running, length: usize) -> Vec<u8> {
    wait_for_bytes(&running, length);
    running.child.kill().unwrap();
    running.end().stdout
}

#[test]
fn a_relay_for_http_clients_waits_for_no_other_relay() {
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let served = server(&r, &[RULE]);
    assert!(!served.stderr.text().contains("waiting"), "{}", served.stderr.text());
    stop(served);
    let forwarding = relay(&r, &["239.1.2.3:5000 from eth0 to eth1"]);
    assert!(forwarding.stderr.text().contains("waiting 1.7 s"), "{}", forwarding.stderr.text());
    stop(forwarding);
}

#[test]
fn two_hundred_clients_make_one_join_which_ends_after_the_last() {
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let wire = program(&a, "tcpdump", &["-l", "-n", "-v", "-i", "eth0", "igmp"], false);
    wire.stderr.wait_for("listening on");
    // One address has at most half of them.
    let relay = server(&r, &[RULE, "--http-clients", "400"]);
    assert_eq!(users(&r), 0, "nobody requests it");
    let mut clients: Vec<_> = (0..200).map(|_| get(&b, "/udp/239.1.2.3:5000/", "").0).collect();
    eventually("a join", || users(&r) == 1);
    let socket = sender(&a, address(1, 1));
    socket.send_to(b"for all of them", GROUP).unwrap();
    let mut buffer = [0; 15];
    for client in &mut clients {
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"for all of them");
    }
    assert_eq!(users(&r), 1);
    let last = clients.pop();
    drop(clients);
    let (_, status) = fetched(&b, &["-H", "Accept: application/json", &format!("{SERVER}/status")]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_valid("relay-http-status", &status);
    assert_eq!(status["groups"][0]["group"], GROUP, "{status}");
    drop(last);
    let left = Instant::now();
    eventually("the leave", || users(&r) == 0);
    assert!(
        (Duration::from_secs(1)..Duration::from_secs(5)).contains(&left.elapsed()),
        "{:?}",
        left.elapsed()
    );
    let (_, summary) = stop(relay);
    assert_eq!(
        (&summary["http"]["served"], &summary["rules"][0]["copies"]),
        (&200.into(), &1.into()),
        "{summary}"
    );
    let wire = wire.signalled(libc::SIGINT);
    let joins = wire.text().matches("gaddr 239.1.2.3 to_ex").count();
    // The kernel repeats each report once, and on a busy machine the silence lasts until the group is joined again.
    assert!((1..=6).contains(&joins), "{wire:?}");
}

#[test]
fn curl_receives_what_was_sent_byte_for_byte() {
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let rules = [
        RULE,
        "232.1.2.3:5000 from eth0 to http://10.0.1.9:4022",
        "[ff15::1:3]:5000 from eth0 to http://10.0.1.9:4022",
    ];
    let relay = server(&r, &rules);
    let path = |path: &str| format!("{SERVER}{path}");
    let [udp, rtp, ssm, ipv6] = [
        "/udp/239.1.2.3:5000/",
        "/rtp/239.1.2.3:5000/",
        "/udp/10.0.1.1@232.1.2.3:5000/",
        "/udp/[ff15::1:3]:5000/",
    ]
    .map(|name| curl(&b, &[&path(name)]));
    eventually("four clients", || clients(&b) == 4);
    let has_joined_all = || {
        let (four, six) = (r.read_proc_net("igmp").unwrap(), r.read_proc_net("igmp6").unwrap());
        // 232.1.2.3 and ff15::1:3.
        users(&r) == 1 && four.contains("030201E8") && six.contains("ff150000000000000000000000010003")
    };
    eventually("joins of the kernel", has_joined_all);
    let packets: Vec<Vec<u8>> =
        (0..500_u16).map(|number| rtp_packet(number, &number.to_be_bytes().repeat(658))).collect();
    let socket = sender(&a, address(1, 1));
    let six = a.run(|| UdpSocket::bind("[fd00:1::1]:0")).unwrap().unwrap();
    let table = a.read_proc_net("if_inet6").unwrap();
    let line = table.lines().find(|line| line.ends_with("eth0")).unwrap();
    let interface = u32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    socket2::SockRef::from(&six).set_multicast_if_v6(interface).unwrap();
    // Each pair is sent in the wrong order, and one of its packets twice.
    let mut sent = 0;
    for pair in packets.chunks(2) {
        let pair: Vec<&[u8]> = pair.iter().rev().map(Vec::as_slice).collect();
        for packet in [pair[0], pair[1], pair[1]] {
            socket.send_to(packet, GROUP).unwrap();
        }
        socket.send_to(pair[0], "232.1.2.3:5000").unwrap();
        six.send_to(pair[0], "[ff15::1:3]:5000").unwrap();
        sent += 3 * pair[0].len();
        wait_for_bytes(&udp, sent.saturating_sub(IN_FLIGHT));
    }
    let length = packets[0].len();
    let udp = output(udp, packets.len() * 3 / 2 * length);
    assert_eq!(udp.len(), packets.len() * 3 / 2 * length);
    assert!(udp[..length] == packets[1][..] && udp[length..2 * length] == packets[0][..]);
    // The first one was late before there was an order. On a busy machine, others may be late as well.
    let missing = || {
        status(&b)["groups"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|group| group["rtp_missing"].as_u64())
            .sum::<u64>()
    };
    eventually("all packets of RTP", || rtp.stdout.len() >= (499 - missing() as usize) * 1_316);
    let (missing, rtp) = (missing(), output(rtp, 0));
    let numbers: Vec<u16> =
        rtp.chunks_exact(1_316).map(|content| u16::from_be_bytes([content[0], content[1]])).collect();
    assert!(
        numbers.is_sorted_by(|one, next| one < next) && numbers.len() as u64 + missing == 499,
        "{numbers:?}"
    );
    assert!(
        numbers
            .iter()
            .zip(rtp.chunks(1_316))
            .all(|(number, content)| content == &packets[usize::from(*number)][12..])
    );
    let second: Vec<u8> = packets.iter().skip(1).step_by(2).flatten().copied().collect();
    assert!(output(ssm, second.len()) == second && output(ipv6, second.len()) == second);
    let (_, summary) = stop(relay);
    assert_eq!((&summary["http"]["skipped"], &summary["unsent"]), (&0.into(), &0.into()), "{summary}");
}

pub(crate) fn rtp_packet(sequence: u16, content: &[u8]) -> Vec<u8> {
    let number = sequence.to_be_bytes();
    [&[0x80, 33, number[0], number[1], 0, 0, 0, 0, 0, 0, 0, 9], content].concat()
}

#[test]
fn clients_and_a_leg_receive_the_same_datagrams() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1,http://10.0.1.9:4022 always"]);
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "-c", "2", "-W", "20s"]);
    let (mut client, _) = get(&a, "/udp/239.1.2.3:5000/", "");
    let socket = sender(&a, address(1, 1));
    // The client's groups are requested by another thread.
    eventually("a datagram for the client", || {
        socket.send_to(b"to both", GROUP).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        client.read(&mut [0; 64]).is_ok_and(|length| length > 0)
    });
    socket.send_to(b"to both", GROUP).unwrap();
    assert_eq!(texts(&receiver.end()), ["to both", "to both"]);
    let (_, summary) = stop(relay);
    let rule = &summary["rules"][0];
    assert!(rule["copies"].as_u64() > rule["arrived"].as_u64(), "{summary}");
}

#[test]
fn a_stream_that_the_switch_has_forgotten_comes_back_to_its_client() {
    let lab = Lab::new().unwrap();
    // It forgets what is not reported again, and does not ask.
    let options = SwitchOptions::default().snooping(true).membership_interval(Duration::from_secs(5));
    let switch = lab.switch_with("s1", options).unwrap();
    let [a, r, c] = [("a", 1), ("r", 9), ("c", 3)].map(|(name, number)| {
        let host = lab.host(name).unwrap();
        host.connect("eth0", &switch, &[&format!("10.0.1.{number}/24")]).unwrap();
        host
    });
    // A querier that has gone: the switch still limits groups to their members.
    let querier = start(&c, &["querier", "-i", "eth0", "--become"]);
    querier.stdout.wait_for("sent IGMP");
    querier.child.kill().unwrap();

    let relay = server(&r, &[RULE]);
    let (mut client, _) = get(&r, "/udp/239.1.2.3:5000/", "");
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let socket = sender(&a, address(1, 1));
    let mut arrives = |picture: &str| {
        socket.send_to(picture.as_bytes(), GROUP).unwrap();
        let mut buffer = [0; 4_096];
        let length = client.read(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).contains(picture)
    };
    eventually("the stream", || arrives("first"));
    let is_member = || switch.members().unwrap().iter().any(|member| member.host == "r");
    // For some seconds after a query, it still floods what has no members.
    eventually("the switch to forget the relay", || !arrives("first") && !is_member());
    eventually("the stream again", || arrives("again"));
    eventually("the relay to be a member", is_member);
    stop(relay);
}

/// Returns the number of clients that receive a stream.
fn clients(client: &Host) -> usize {
    status(client)["clients"].as_array().unwrap().len()
}

fn status(client: &Host) -> Value {
    let (_, status) = fetched(client, &[&format!("{SERVER}/status.json")]);
    serde_json::from_str(&status).unwrap()
}

#[test]
fn a_stalled_client_is_dropped_and_the_others_lose_nothing() {
    const DATAGRAMS: usize = 20_000;
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let relay = server(&r, &[RULE, "--http-stall", "1s"]);
    let good = curl(&b, &[&format!("{SERVER}/udp/239.1.2.3:5000/")]);
    let (mut stalled, _) = get(&b, "/udp/239.1.2.3:5000/", "");
    eventually("two clients", || clients(&b) == 2 && users(&r) == 1);
    let socket = sender(&a, address(1, 1));
    for number in 0..DATAGRAMS as u32 {
        socket.send_to(&number.to_be_bytes().repeat(329), GROUP).unwrap();
        wait_for_bytes(&good, (number as usize * 1_316).saturating_sub(IN_FLIGHT));
    }
    let received = output(good, DATAGRAMS * 1_316);
    for (number, datagram) in (0_u32..).zip(received.chunks(1_316)) {
        assert!(datagram == number.to_be_bytes().repeat(329), "{number}");
    }
    relay.stdout.wait_for(r#""reason":"stalled""#);
    // What the system had taken, and then an ordinary end.
    let mut rest = Vec::new();
    stalled.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < DATAGRAMS * 1_316);
    let (events, summary) = stop(relay);
    let dropped = of_type(&events, "http-refused");
    assert_eq!((dropped.len(), &dropped[0]["count"]), (1, &1.into()), "{events:?}");
    assert!(dropped[0]["client"].as_str().unwrap().starts_with("10.0.1.2:"), "{dropped:?}");
    assert_eq!(summary["http"]["refused"][0]["reason"], "stalled");
}

#[test]
fn requests_are_refused_with_a_status_and_a_line_that_says_what_to_do() {
    let network = Network::new(1);
    let (r, b) = (network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let relay = server(&r, &[RULE, "--http-clients", "1", "--http-host", "tv.lan"]);
    let path = |path: &str| format!("{SERVER}{path}");
    let (_client, head) = get(&b, "/sse/239.1.2.3:5000", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), "{head}");
    for (arguments, status, text) in [
        (&[&path("/udp/239.9.9.9:5000/")[..]][..], "403", "no rule of this relay serves 239.9.9.9:5000"),
        (&[&path("/udp/239.1.2.3:5000/")], "503", "--http-clients"),
        (&[&path("/restart/")], "404", "/udp/GROUP:PORT/"),
        (&["-X", "DELETE", &path("/status")], "405", "GET and HEAD"),
        (&["-H", "Host: evil.example", &path("/status")], "403", "--http-host"),
        (&["-H", "Origin: http://evil.example", &path("/status")], "403", "--http-origin"),
        (&["-H", &format!("X: {}", "x".repeat(9_000)), &path("/status")], "431", "longer than"),
        (&["-H", "Host: tv.lan", &path("/status")], "200", "<h1>mcast relay</h1>"),
        (&["--http1.0", "-H", "Host:", &path("/status")], "200", "239.1.2.0/24:5000"),
    ] {
        let (got, body) = fetched(&b, arguments);
        assert!(got == status && body.contains(text), "{arguments:?}: {got} {body}");
    }
    let head = curl(&b, &["-I", &path("/udp/239.1.2.4:5000/")]).end();
    assert!(head.text().starts_with("HTTP/1.1 200 OK\r\n"), "{head:?}");
    assert!(!r.read_proc_net("igmp").unwrap().contains("040201EF"), "a HEAD does not join");
    stop(relay);
}

#[test]
fn who_is_refused_is_named_and_a_flood_of_one_address_neither_fills_the_log_nor_hides_others() {
    let network = Network::new(1);
    let (r, b, c) = (network.host("r", 9, &[1]), network.host("b", 2, &[1]), network.host("c", 3, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let options = ["--http-token-file", token.to_str().unwrap(), "--metrics", "10.0.1.9:9479"];
    let relay = server(&r, &[&[RULE][..], &options].concat());
    let is_refused =
        |host: &Host, guess: u32| get(host, &format!("/playlist.m3u?token={guess}"), "").1.contains(" 401 ");
    assert!((0..500).all(|guess| is_refused(&b, guess)));
    assert!(is_refused(&c, 500));
    relay.stdout.wait_for(r#""client":"10.0.1.3:"#);
    // After 10 s, all others are one event.
    relay.stdout.wait_for(r#""count":497,"#);
    let (_, metrics) = fetched(&b, &["http://10.0.1.9:9479/metrics"]);
    assert!(metrics.contains("\nmcast_relay_http_refused_total{reason=\"token\"} 501\n"), "{metrics}");
    let (events, summary) = stop(relay);
    let refused = of_type(&events, "http-refused");
    let clients: Vec<_> = refused.iter().map(|event| &event["client"].as_str().unwrap()[..8]).collect();
    assert_eq!(clients, ["10.0.1.2", "10.0.1.2", "10.0.1.2", "10.0.1.3", "10.0.1.2"]);
    assert!(refused.iter().all(|event| event["reason"] == "token"), "{refused:?}");
    assert_eq!(summary["http"]["refused"][0]["count"], 501, "{summary}");
}

#[test]
fn a_client_of_events_resumes_after_the_last_one() {
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let relay = server(&r, &[RULE]);
    let url = format!("{SERVER}/sse/239.1.2.3:5000");
    let first = curl(&b, &[&url]);
    eventually("a join", || users(&r) == 1);
    let socket = sender(&a, address(1, 1));
    socket.send_to(b"before", GROUP).unwrap();
    first.stdout.wait_for("\"text\":\"before\"");
    let events = first.signalled(libc::SIGTERM);
    let id = events.text().lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    socket.send_to(b"while away", GROUP).unwrap();
    socket.send_to(&[0xff, 0xfe], GROUP).unwrap();
    let again = curl(&b, &["-H", &format!("Last-Event-ID: {id}"), &url]);
    again.stdout.wait_for("\"text\":\"while away\"");
    again.stdout.wait_for("\"base64\":\"//4=\"");
    let events = again.signalled(libc::SIGTERM);
    assert!(!events.text().contains("gap"), "{events:?}");
    assert_data_is_valid(&events, 2);
    // The group is left; what is sent now nobody receives.
    eventually("the leave", || users(&r) == 0);
    let late = curl(&b, &["-H", &format!("Last-Event-ID: {id}"), &url]);
    late.stdout.wait_for("event: gap\ndata: {\"event\":\"gap\"");
    late.stdout.wait_for("\"gap\":\"unknown-id\",\"missed\":null}");
    assert_data_is_valid(&late.signalled(libc::SIGTERM), 1);
    stop(relay);
}

fn assert_data_is_valid(events: &Ended, count: usize) {
    let data: Vec<_> = events.text().lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.len(), count, "{events:?}");
    data.iter().for_each(|data| assert_valid("relay-http-event", &serde_json::from_str(data).unwrap()));
}

#[test]
fn a_reload_changes_what_is_served_and_where() {
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(
        "239.1.2.3:5000 from eth0 to http://10.0.1.9:4022\n239.1.2.4:5000 from eth0 to http://10.0.1.9:4022\n",
    );
    let relay = server(&r, &["--config", file.to_str().unwrap()]);
    let (mut kept, _) = get(&b, "/udp/239.1.2.3:5000/", "");
    let (mut ended, _) = get(&b, "/udp/239.1.2.4:5000/", "");
    eventually("a join", || users(&r) == 1);
    write(
        "239.1.2.3:5000 from eth0 to http://10.0.1.9:4022\n239.1.2.5:5000 from eth0 to http://10.0.1.9:4023\n",
    );
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for("http://10.0.1.9:4023");
    assert_eq!(ended.read(&mut [0; 64]).unwrap(), 0, "a stream without a rule ends");
    sender(&a, address(1, 1)).send_to(b"still there", GROUP).unwrap();
    let mut buffer = [0; 11];
    kept.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"still there");
    assert_eq!(
        fetched(&b, &[&format!("{SERVER}/udp/239.1.2.5:5000/")]).0,
        "403",
        "each address has its own rules"
    );
    let head = curl(&b, &["-I", "http://10.0.1.9:4023/udp/239.1.2.5:5000/"]).end();
    assert!(head.text().starts_with("HTTP/1.1 200 "), "{head:?}");
    write("239.1.2.5:5000 from eth0 to http://10.0.1.9:4023\n");
    relay.child.signal(libc::SIGHUP).unwrap();
    eventually("a closed port", || {
        r.run(|| TcpStream::connect("10.0.1.9:4022"))
            .unwrap()
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    assert_eq!(kept.read(&mut buffer).unwrap(), 0);
    stop(relay);
}

#[test]
fn a_check_opens_nothing_and_an_address_in_use_is_refused() {
    let network = Network::new(1);
    let r = network.host("r", 9, &[1]);
    let relay = server(&r, &[RULE]);
    let checked = mcast(&r, &["relay", "--check", "--json", RULE]);
    let events = checked.json();
    assert_eq!((checked.status, of_type(&events, "would-serve").len()), (Some(0), 1), "{checked:?}");
    let second = mcast(&r, &["relay", RULE]);
    assert!(
        second.status == Some(4) && second.stderr.contains("another program uses this port"),
        "{second:?}"
    );
    stop(relay);
    let absent =
        mcast(&r, &["relay", "--check", "--json", "239.1.2.3:5000 from eth7 to http://localhost:4022"]);
    assert_eq!(absent.status, Some(1), "{absent:?}");
    // Another program may give the host the address later.
    let elsewhere = "239.1.2.3:5000 from eth0 to http://10.0.7.9:4022";
    let checked = mcast(&r, &["relay", "--check", "--json", elsewhere]);
    let events = checked.json();
    assert_eq!((checked.status, of_type(&events, "cannot-serve").len()), (Some(1), 1), "{checked:?}");
    let later = relay_unready(&r, &[elsewhere, "-W", "3s"]);
    later.stdout.wait_for(r#""event":"http-failed""#);
    let Ended { status, .. } = later.end();
    assert_eq!(status, Some(1), "nothing was forwarded");
}

/// Returns the streams that VLC finds in what it plays for two seconds. It refuses to run as root.
fn played_by_vlc(host: &Host, url: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let home = directory.path().to_str().unwrap();
    let (recording, variable) = (format!("{home}/recording.ts"), format!("HOME={home}"));
    let as_nobody =
        ["--reuid", "65534", "--regid", "65534", "--clear-groups", "env", &variable, "cvlc", "-q"];
    let output = format!("#standard{{access=file,mux=ts,dst={recording}}}");
    let play = ["--intf", "dummy", "--no-audio", "--run-time", "2", "--sout", &output, url, "vlc://quit"];
    program(host, "setpriv", &[&as_nobody[..], &play].concat(), false).end().succeeded();
    streams(host, &recording)
}

/// Returns the streams that ffprobe finds.
fn streams(host: &Host, url: &str) -> String {
    let probe = ["-v", "error", "-show_entries", "stream=codec_name,width", "-of", "csv=p=0", url];
    program(host, "ffprobe", &probe, false).end().succeeded().text().into()
}

#[test]
fn ffprobe_and_vlc_play_the_streams_of_a_transmitter() {
    for needed in [["ffprobe", "-version"], ["cvlc", "--help"]] {
        if !mcast_lab::has_program(needed[0], needed[1], "playing over HTTP") {
            return;
        }
    }
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    a.add_route("224.0.0.0/4", "eth0").unwrap();
    let one_source = "10.0.1.1@232.1.2.3:5000 from eth0 to http://10.0.1.9:4022";
    let relay = server(&r, &[RULE, one_source, "[ff15::1:3]:5000 from eth0 to http://10.0.1.9:4022"]);
    let transmit = |format: &str, url: &str| {
        let source = ["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25"];
        let encode = ["-c:v", "mpeg2video", "-g", "10", "-f", format, url];
        program(&a, "ffmpeg", &[&source[..], &encode[..]].concat(), false)
    };
    let transmitters = [
        transmit("mpegts", "udp://239.1.2.3:5000?pkt_size=1316&ttl=4"),
        transmit("rtp_mpegts", "rtp://239.1.2.4:5000?ttl=4"),
        transmit("mpegts", "udp://232.1.2.3:5000?pkt_size=1316&ttl=4"),
        transmit("mpegts", "udp://[ff15::1:3]:5000?pkt_size=1316&ttl=4"),
    ];
    let paths = [
        "/udp/239.1.2.3:5000/",
        "/rtp/239.1.2.4:5000/",
        "/udp/10.0.1.1@232.1.2.3:5000/",
        "/udp/[ff15::1:3]:5000/",
    ];
    for path in paths {
        let url = format!("{SERVER}{path}");
        for (player, found) in [("ffprobe", streams(&b, &url)), ("VLC", played_by_vlc(&b, &url))] {
            assert!(found.contains("mpeg2video,320"), "{player}, {path}: {found}");
        }
    }
    for mut transmitter in transmitters {
        transmitter.child.kill().unwrap();
        transmitter.child.wait().unwrap();
    }
    stop(relay);
}

/// Shows the events of a stream, and reports what it shows.
const PAGE: &str = r#"<!DOCTYPE html><title>live</title><ul id="list"></ul><script>
const show = text => {
  const item = document.createElement("li");
  item.textContent = text;
  document.getElementById("list").append(item);
  fetch("/report?" + encodeURIComponent(document.getElementById("list").innerText.replaceAll("\n", "|")));
};
const events = new EventSource("http://10.0.1.9:4022/sse/239.1.2.3:5000");
events.onopen = () => show("sse open");
events.onmessage = event => show("sse " + JSON.parse(event.data).text);
const socket = new WebSocket("ws://10.0.1.9:4022/ws/239.1.2.3:5000");
socket.onopen = () => show("ws open");
socket.onmessage = event => show("ws " + JSON.parse(event.data).text);
</script>"#;

/// Serves the page on a host; returns what it reports.
fn serve_page(host: &Host) -> mpsc::Receiver<String> {
    let listener = host
        .run(|| TcpListener::bind(SocketAddr::from((Ipv4Addr::new(10, 0, 1, 2), 8000))))
        .unwrap()
        .unwrap();
    let (sender, reports) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 4_096]);
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let body = if request.starts_with("GET / ") { PAGE } else { "" };
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", body.len());
            let _ = write!(stream, "{head}Connection: close\r\n\r\n{body}");
            let report = request.strip_prefix("GET /report?").and_then(|rest| rest.split(' ').next());
            if report
                .is_some_and(|report| sender.send(report.replace("%20", " ").replace("%7C", "|")).is_err())
            {
                return;
            }
        }
    });
    reports
}

#[test]
fn the_token_and_the_playlist_are_reread_on_a_hangup() {
    let network = Network::new(1);
    let (r, b) = (network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let (token, playlist) = (folder.path().join("token"), folder.path().join("tv.m3u"));
    let write_playlist = |name: &str| {
        let text = format!("#EXTM3U\n#EXTINF:-1,{name}\nudp://@239.1.2.3:5000\n");
        std::fs::write(&playlist, text).unwrap();
    };
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    write_playlist("Before");
    let (token_text, playlist_text) = (token.to_str().unwrap(), playlist.to_str().unwrap());
    let relay = server(&r, &[RULE, "--http-token-file", token_text, "--http-playlist", playlist_text]);
    let fetch = |token: &str| fetched(&b, &[&format!("{SERVER}/playlist.m3u?token={token}")]);
    assert!(fetch("0123456789abcdef").1.contains(",Before\n"));
    let (_client, head) = get(&b, "/udp/239.1.2.3:5000/?token=0123456789abcdef", "");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    eventually("a join", || users(&r) == 1);

    std::fs::write(&token, "short\n").unwrap();
    write_playlist("Never");
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(r#""event":"not-reloaded""#);
    assert!(fetch("0123456789abcdef").1.contains(",Before\n"), "an invalid file changes nothing");

    std::fs::write(&token, "fedcba9876543210\n").unwrap();
    write_playlist("After");
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(r#""event":"reloaded""#);
    eventually("the new channels", || fetch("fedcba9876543210").1.contains(",After\n"));
    assert_eq!(fetch("0123456789abcdef").0, "401");
    assert_eq!(users(&r), 1, "the stream continues");
    stop(relay);
}

#[test]
fn chromium_shows_the_channels_of_a_playlist_to_who_has_the_token() {
    let Some(browser) = browser() else { return };
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let token = file("token", "0123456789abcdef\n");
    let playlist = file("tv.m3u", "#EXTM3U\n#EXTINF:-1,The news\nudp://@239.1.2.3:5000\n");
    let short = file("short", "0123\n");
    let refused = mcast(&r, &["relay", RULE, "--http-token-file", &short]);
    assert_eq!(refused.status, Some(2), "{refused:?}");
    let relay = server(&r, &[RULE, "--http-token-file", &token, "--http-playlist", &playlist]);
    let (status, text) = fetched(&b, &[&format!("{SERVER}/playlist.m3u")]);
    assert_eq!(status, "401", "{text}");
    let (_, text) =
        fetched(&b, &["-H", "Authorization: Bearer 0123456789abcdef", &format!("{SERVER}/playlist.m3u")]);
    let entry = "#EXTINF:-1,The news\nhttp://10.0.1.9:4022/udp/239.1.2.3:5000/?token=0123456789abcdef\n";
    assert_eq!(text, format!("#EXTM3U\n{entry}"));
    let (mut client, head) = get(&b, "/udp/239.1.2.3:5000/?token=0123456789abcdef", "");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    eventually("a join", || users(&r) == 1);
    sender(&a, address(1, 1)).send_to(b"now", GROUP).unwrap();
    client.read_exact(&mut [0; 3]).unwrap();
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let options =
        ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom", &profile];
    let page = format!("{SERVER}/?token=0123456789abcdef");
    let shown = program(&b, browser, &[&options[..], &[&page]].concat(), false).end().succeeded();
    let shown = shown.text();
    assert!(shown.contains(">The news<div"), "{shown}");
    assert!(shown.contains("1 client, 1 group requested, 1 channel"), "{shown}");
    assert!(shown.contains("href=\"/udp/239.1.2.3:5000/?token=0123456789abcdef\""), "{shown}");
    drop(client);
    stop(relay);
}

/// Holds of a page that fits the width of the screen, with each link in view, in dark colours on a dark screen, and without a player that does
/// not play.
const IS_READABLE: &str = "(() => {
    const root = document.documentElement, width = window.innerWidth;
    const inside = [...document.querySelectorAll('a, td')].every(item => {
        const box = item.getBoundingClientRect();
        return box.left >= 0 && box.right <= width;
    });
    const light = getComputedStyle(root).backgroundColor.match(/\\d+/g).slice(0, 3).every(part => part > 128);
    const video = document.querySelector('video');
    return root.scrollWidth <= width && inside && light !== matchMedia('(prefers-color-scheme: dark)').matches
        && (!video || getComputedStyle(video).display === 'none');
})()";

#[test]
fn the_pages_fit_a_phone_and_a_wide_screen_in_light_and_dark() {
    let Some(browser) = browser() else { return };
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let playlist = folder.path().join("tv.m3u");
    let channels = "#EXTM3U\n#EXTINF:-1,The news\nrtp://@239.1.2.3:5000\n#EXTINF:-1,A film with a name that is longer than \
                    a line of a phone\nudp://@239.1.2.4:5000\n#EXTINF:-1,Radio\nudp://@239.1.2.5:5000\n";
    std::fs::write(&playlist, channels).unwrap();
    let relay = server(&r, &[RULE, "--http-playlist", playlist.to_str().unwrap()]);
    let (mut client, head) = get(&b, "/udp/239.1.2.3:5000/", "");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    eventually("a join", || users(&r) == 1);
    sender(&a, address(1, 1)).send_to(&[b'x'; 1_000], GROUP).unwrap();
    client.read_exact(&mut [0; 1_000]).unwrap();
    assert_eq!(fetched(&b, &[&format!("{SERVER}/udp/239.9.9.9:5000/")]).0, "403");
    for (name, path, expected) in [
        ("page", "/", "1 client, 1 group requested, 3 channels"),
        ("status", "/status", "Served 1 stream, sent "),
    ] {
        let (_temporary, pictures) = picture_folder(name);
        let is_there = format!("document.body.innerText.includes('{expected}') && {IS_READABLE}");
        let text = opened(&b, browser, &format!("{SERVER}{path}"), &is_there, Some(pictures.as_path()));
        assert!(text.contains(expected), "{text}");
        assert_eq!(std::fs::read_dir(&pictures).unwrap().count(), 6);
    }
    drop(client);
    let (_, summary) = stop(relay);
    assert_eq!(
        summary["http"]["refused"],
        serde_json::json!([{ "reason": "group", "count": 1 }]),
        "{summary}"
    );
}

/// Plays this group in the page of the relay, until the expression holds of its `video` and its `note`; returns its text. Leaves pictures if
/// somebody wants to look at them: `MCAST_PICTURES=FOLDER cargo test -p mcast-cli --test relay chromium_plays`.
fn played_in_chromium(host: &Host, browser: &str, group: &str, expression: &str) -> String {
    let expression = format!(
        "(() => {{ const video = document.getElementById('video'), note = document.getElementById('played').textContent;\
         const row = [...document.querySelectorAll('tr')].find(row => row.textContent.includes('{group}'));\
         const link = [...row?.querySelectorAll('a') ?? []].find(link => link.textContent === 'play');\
         if (link && !window.began) {{ window.began = true; link.click(); }}\
         return {expression}; }})()"
    );
    let wanted = std::env::var_os("MCAST_PICTURES").map(|_| picture_folder(&format!("playing-{group}")));
    let pictures = wanted.as_ref().map(|(_, folder)| folder.as_path());
    opened(host, browser, &format!("{SERVER}/"), &expression, pictures)
}

#[test]
fn chromium_plays_what_it_can_and_says_what_it_cannot() {
    let Some(browser) = browser() else { return };
    if !mcast_lab::has_program("ffmpeg", "-version", "playing in a browser") {
        return;
    }
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    a.add_route("224.0.0.0/4", "eth0").unwrap();
    let rule = |number: u8| format!("239.1.2.{number}:5000 from eth0 to http://10.0.1.9:4022");
    let folder = tempfile::tempdir().unwrap();
    let playlist = folder.path().join("tv.m3u");
    std::fs::write(
        &playlist,
        "udp://@239.1.2.3:5000\nrtp://@239.1.2.4:5000\nudp://@239.1.2.5:5000\nudp://@239.1.2.6:5000\n",
    )
    .unwrap();
    let rules: Vec<String> = (3..=6).map(rule).collect();
    let mut arguments: Vec<&str> = rules.iter().map(String::as_str).collect();
    arguments.extend(["--http-playlist", playlist.to_str().unwrap()]);
    let relay = server(&r, &arguments);
    let picture = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=25"];
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440"];
    let h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25"];
    let transmit = |parts: &[&[&str]]| {
        program(&a, "ffmpeg", &[&["-v", "error", "-re"], &parts.concat()[..]].concat(), false)
    };
    let transmitters = [
        transmit(&[
            &picture,
            &sound,
            &h264,
            &["-c:a", "aac", "-f", "mpegts", "udp://239.1.2.3:5000?pkt_size=1316&ttl=4"],
        ]),
        transmit(&[
            &picture,
            &sound,
            &h264,
            &["-c:a", "mp2", "-f", "rtp_mpegts", "rtp://239.1.2.4:5000?ttl=4"],
        ]),
        transmit(&[
            &picture,
            &["-c:v", "mpeg2video", "-f", "mpegts", "udp://239.1.2.5:5000?pkt_size=1316&ttl=4"],
        ]),
        transmit(&[&sound, &["-c:a", "libmp3lame", "-f", "mp3", "udp://239.1.2.6:5000?pkt_size=1000&ttl=4"]]),
    ];
    let is_shown = "video.currentTime > 2 && video.videoWidth === 320 && video.webkitDecodedFrameCount > 20";
    let text = played_in_chromium(
        &b,
        browser,
        "239.1.2.3:5000",
        &format!("{is_shown} && video.webkitAudioDecodedByteCount > 0"),
    );
    assert!(text.contains("320 × 180, H.264, AAC\n"), "{text}");
    let text = played_in_chromium(&b, browser, "239.1.2.4:5000", is_shown);
    assert!(text.contains("320 × 180, H.264, MPEG audio; a browser does not play MPEG audio"), "{text}");
    let text = played_in_chromium(&b, browser, "239.1.2.5:5000", "note.startsWith('not played here')");
    assert!(
        text.contains("it carries MPEG-2 video, which browsers do not play. Open this address in VLC"),
        "{text}"
    );
    let is_heard = "video.currentTime > 2 && video.webkitAudioDecodedByteCount > 0";
    let text = played_in_chromium(&b, browser, "239.1.2.6:5000", is_heard);
    assert!(text.contains("MPEG audio"), "{text}");
    for mut transmitter in transmitters {
        transmitter.child.kill().unwrap();
        transmitter.child.wait().unwrap();
    }
    stop(relay);
}

#[test]
fn chromium_shows_a_live_page_over_events_and_websocket() {
    let Some(browser) = browser() else { return };
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let relay = server(&r, &[RULE, "--http-origin", "http://10.0.1.2:8000"]);
    let reports = serve_page(&b);
    let folder = tempfile::tempdir().unwrap();
    let profile = format!("--user-data-dir={}", folder.path().display());
    let options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", &profile];
    let mut shown = program(&b, browser, &[&options[..], &["http://10.0.1.2:8000/"]].concat(), false);
    let wait_for = |expected: &[&str]| {
        let deadline = Instant::now() + TIMEOUT;
        let mut last = String::new();
        while !expected.iter().all(|text| last.contains(text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            last = reports.recv_timeout(left).unwrap_or_else(|_| panic!("it shows only {last}"));
        }
    };
    wait_for(&["sse open", "ws open"]);
    eventually("a join", || users(&r) == 1);
    let socket = sender(&a, address(1, 1));
    for price in ["101", "102", "103"] {
        socket.send_to(price.as_bytes(), GROUP).unwrap();
    }
    wait_for(&["sse 101", "sse 102", "sse 103", "ws 101", "ws 102", "ws 103"]);
    // The browser connects again to the next relay.
    let ended = relay.signalled(libc::SIGINT);
    let (_, summary) = records(&ended);
    assert_eq!(summary["http"]["served"], 2, "{summary}");
    let relay = server(&r, &[RULE, "--http-origin", "http://10.0.1.2:8000"]);
    eventually("a join", || users(&r) == 1);
    socket.send_to(b"104", GROUP).unwrap();
    wait_for(&["sse 104"]);
    shown.child.kill().unwrap();
    shown.child.wait().unwrap();
    stop(relay);
}
