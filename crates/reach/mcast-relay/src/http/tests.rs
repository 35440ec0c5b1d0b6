//! The server with clients, without sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcast_http::{AccessRules, Feed, HttpClientId, HttpRefusal, HttpService};
use mcast_pace::ClockTime;
use proptest::prelude::*;

use super::resource::StreamKind;
use super::*;
use crate::Rule;

const GROUP: &str = "239.1.2.3:5000";
const HOST: &str = "Host: 10.0.0.9:4022\r\n";

struct Lan {
    server: HttpServer,
    now: ClockTime,
}

fn listener() -> SocketAddr {
    "10.0.0.9:4022".parse().unwrap()
}

fn client_address() -> SocketAddr {
    "10.0.0.1:60000".parse().unwrap()
}

fn rules(texts: &[&str]) -> Vec<HttpRule> {
    let rule = |(number, text): (usize, &&str)| HttpRule {
        listener: listener(),
        rule: number,
        traffic: format!("{text} from eth0 to http://10.0.0.9:4022").parse::<Rule>().unwrap().traffic,
        leg: LegId(0),
        leg_name: "eth0".into(),
        is_up: true,
    };
    texts.iter().enumerate().map(rule).collect()
}

impl Lan {
    fn new(traffic: &[&str]) -> Self {
        Self::with(HttpConfig::new(7), traffic)
    }

    fn with(config: HttpConfig, traffic: &[&str]) -> Self {
        let mut server = HttpServer::new(config);
        server.set_rules(ClockTime::START, rules(traffic));
        server.poll_demand();
        Self { server, now: ClockTime::START }
    }

    fn connect(&mut self) -> HttpClientId {
        self.server.handle_connect(self.now, listener(), client_address()).unwrap()
    }

    fn request(&mut self, line: &str, headers: &str) -> HttpClientId {
        let id = self.connect();
        self.server.handle_bytes(self.now, id, format!("{line} HTTP/1.1\r\n{HOST}{headers}\r\n").as_bytes());
        id
    }

    fn get(&mut self, path: &str) -> HttpClientId {
        self.request(&format!("GET {path}"), "")
    }

    /// Takes at most this many bytes.
    fn take(&mut self, id: HttpClientId, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let before = taken.len();
            for slice in self.server.poll_transmit(self.now, id) {
                taken.extend(slice.iter().take(most - taken.len()));
            }
            if taken.len() == before {
                break;
            }
            self.server.handle_written(self.now, id, taken.len() - before);
        }
        taken
    }

    fn text(&mut self, id: HttpClientId) -> String {
        String::from_utf8(self.take(id, usize::MAX)).unwrap()
    }

    fn send(&mut self, payload: &[u8]) {
        self.send_from("10.0.0.7:4000", payload, 0);
    }

    fn send_from(&mut self, source: &str, payload: &[u8], lost: u64) {
        let (leg, address, source) = (LegId(0), GROUP.parse().unwrap(), source.parse().unwrap());
        let time = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001));
        let payload = payload.into();
        self.server.handle_datagram(self.now, &HttpDatagram { leg, address, source, time, lost, payload });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(50);
            self.server.handle_timeout(self.now);
        }
    }

    fn joined(&mut self) -> Option<usize> {
        self.server.poll_demand().map(|demand| demand.on(LegId(0)).count())
    }
}

fn with_token(rules: AccessRules) -> AccessRules {
    AccessRules { token: Some("s3cret".into()), ..rules }
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

/// Returns the identifiers of events, in order.
fn ids(events: &str) -> Vec<String> {
    events.lines().filter_map(|line| line.strip_prefix("id: ")).map(Into::into).collect()
}

#[test]
fn a_group_that_falls_silent_is_joined_again_while_somebody_receives_it() {
    let mut lan = Lan::new(&["239.1.2.3:5000"]);
    let client = lan.get("/udp/239.1.2.3:5000/");
    lan.send(b"one");
    lan.pass(Duration::from_millis(2_900));
    assert_eq!(lan.server.poll_rejoin(), None);
    lan.pass(Duration::from_millis(200));
    let rejoin = HttpRejoin { leg: LegId(0), address: GROUP.parse().unwrap() };
    assert_eq!((lan.server.poll_rejoin(), lan.server.poll_rejoin()), (Some(rejoin), None));
    lan.server.handle_disconnected(lan.now, client);
    lan.pass(Duration::from_secs(60));
    assert_eq!(lan.server.poll_rejoin(), None);
}

#[test]
fn a_group_of_which_another_source_arrives_is_not_joined_again() {
    let mut lan = Lan::new(&["239.1.2.3:5000"]);
    lan.get("/udp/10.0.0.7@239.1.2.3:5000/");
    lan.get("/udp/10.0.0.8@239.1.2.3:5000/");
    for _ in 0..50 {
        lan.send_from("10.0.0.8:4000", b"one", 0);
        lan.pass(Duration::from_millis(200));
    }
    assert_eq!(lan.server.poll_rejoin(), None);
}

#[test]
fn the_pages_list_channels_that_rules_serve_with_their_names() {
    let text = "#EXTINF:-1,News\nrtp://@239.1.2.7:5000\n#EXTINF:-1,Elsewhere\nudp://@239.9.9.9:5000\n\
                #EXTINF:-1,One source\nudp://@232.1.2.3:5000\n#EXTINF:-1,No source\nudp://@232.9.9.9:5000\n";
    let playlist = Playlist::read(text.as_bytes());
    let config = HttpConfig { playlist, access: with_token(AccessRules::default()), ..HttpConfig::new(7) };
    // What clients cannot receive is not listed.
    let rules = ["239.1.2.0/24:5000", "239.8.8.8:6000", "10.0.0.7@232.1.2.3:5000", "232.9.9.9:5000"];
    let mut lan = Lan::with(config, &rules);
    let refused = lan.get("/playlist.m3u");
    assert!(lan.text(refused).starts_with("HTTP/1.1 401 Unauthorized\r\n"));
    let refused = lan.get("/udp/239.1.2.3:5000/");
    assert!(lan.text(refused).starts_with("HTTP/1.1 401 "));
    assert_eq!(lan.server.counts().refused(HttpRefusal::Token), 2);
    lan.request("GET /udp/239.1.2.3:5000/", "Authorization: Bearer s3cret\r\n");
    assert_eq!(lan.joined(), Some(1));
    let playlist = lan.get("/playlist.m3u?token=s3cret");
    let playlist = lan.text(playlist);
    let entry =
        |name: &str, path: &str| format!("#EXTINF:-1,{name}\nhttp://10.0.0.9:4022{path}?token=s3cret\n");
    let expected = [
        "#EXTM3U\n".to_owned(),
        entry("News", "/rtp/239.1.2.7:5000/"),
        entry("One source", "/udp/10.0.0.7@232.1.2.3:5000/"),
        entry("239.8.8.8:6000", "/udp/239.8.8.8:6000/"),
        entry("239.1.2.3:5000", "/udp/239.1.2.3:5000/"),
    ];
    assert_eq!(body(&playlist), expected.concat());
    let status = lan.get("/status.json?token=s3cret");
    let status: serde_json::Value = serde_json::from_str(body(&lan.text(status))).unwrap();
    assert_eq!(status["channels"][0]["name"], "News");
    assert_eq!(status["channels"].as_array().unwrap().len(), 4);
    let requested = &status["groups"][0]["group"];
    assert!(status["channels"].as_array().unwrap().iter().any(|channel| channel["group"] == *requested));
    let index = lan.get("/?token=s3cret");
    assert!(lan.text(index).contains("Content-Type: text/html"));
}

#[test]
fn one_join_serves_all_clients_and_ends_two_seconds_after_the_last() {
    let mut lan = Lan::new(&["239.1.2.0/24:5000"]);
    let clients: Vec<_> = (0..128).map(|_| lan.get("/udp/239.1.2.3:5000/")).collect();
    assert_eq!(lan.joined(), Some(1));
    lan.send(b"one");
    lan.send(b"two");
    for id in &clients {
        let response = lan.text(*id);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"));
        assert_eq!(body(&response), "onetwo");
    }
    assert_eq!(lan.joined(), None, "nothing changes");
    for id in clients {
        lan.pass(Duration::from_millis(50));
        lan.server.handle_disconnected(lan.now, id);
    }
    lan.pass(Duration::from_millis(1_900));
    assert_eq!(lan.joined(), None);
    lan.pass(Duration::from_millis(100));
    assert_eq!(lan.joined(), Some(0));
    assert_eq!(lan.server.poll_timeout(), None, "nothing is left to do");
}

#[test]
fn all_clients_share_the_bytes_of_a_datagram() {
    let mut lan = Lan::new(&[GROUP]);
    let clients: Vec<_> = (0..50).map(|_| lan.get("/udp/239.1.2.3:5000/")).collect();
    for id in &clients {
        lan.text(*id);
    }
    let payload: Arc<[u8]> = Arc::from(vec![0x47; 1_316]);
    let (leg, address, source) = (LegId(0), GROUP.parse().unwrap(), "10.0.0.7:1".parse().unwrap());
    let datagram = HttpDatagram { leg, address, source, time: None, lost: 0, payload: Arc::clone(&payload) };
    lan.server.handle_datagram(lan.now, &datagram);
    drop(datagram);
    assert_eq!(Arc::strong_count(&payload), 2, "the ring has it once");
    for id in &clients {
        let slices = lan.server.poll_transmit(lan.now, *id);
        assert_eq!(slices[0].as_ptr(), payload.as_ptr(), "and it is written from there");
    }
}

#[test]
fn a_stalled_client_is_dropped_and_others_lose_nothing() {
    let mut lan = Lan::new(&[GROUP]);
    let (stalled, good) = (lan.get("/udp/239.1.2.3:5000/"), lan.get("/udp/239.1.2.3:5000/"));
    let (mut received, mut sent) = (0, 0);
    let head = lan.text(good).len();
    lan.take(stalled, 40);
    // 10 Mbit/s for 10 s.
    for _ in 0..10_000 {
        lan.send(&[0x47; 1_250]);
        sent += 1_250;
        lan.pass(Duration::from_millis(50) / 50);
        lan.now = lan.now - Duration::from_millis(49);
        received += lan.take(good, usize::MAX).len();
    }
    assert!(head > 0 && received == sent, "{received} of {sent}");
    assert!(lan.server.is_gone(stalled) && !lan.server.is_gone(good));
    assert_eq!(lan.server.counts().refused(HttpRefusal::Stalled), 1);
    let event = std::iter::from_fn(|| lan.server.poll_event()).next().unwrap();
    assert_eq!((event.reason, event.client, event.count), (HttpRefusal::Stalled, client_address(), 1));
}

#[test]
fn a_client_that_is_a_little_too_slow_loses_whole_datagrams_and_is_dropped_in_the_end() {
    let mut lan = Lan::new(&[GROUP]);
    let slow = lan.get("/udp/239.1.2.3:5000/");
    lan.take(slow, 100_000);
    let mut received = Vec::new();
    for number in 0..20_000_u32 {
        lan.send(&number.to_be_bytes().repeat(329));
        received.extend(lan.take(slow, 1_000));
        lan.now = lan.now + Duration::from_millis(1);
        if number % 50 == 0 {
            lan.server.handle_timeout(lan.now);
        }
        if lan.server.is_gone(slow) {
            break;
        }
    }
    assert!(lan.server.is_gone(slow));
    let mut last = None;
    for datagram in received.chunks_exact(1_316) {
        let number = u32::from_be_bytes(*datagram.first_chunk().unwrap());
        assert!(datagram == number.to_be_bytes().repeat(329) && Some(number) > last, "{number}");
        last = Some(number);
    }
    assert!(lan.server.counts().skipped > 0);
}

#[test]
fn what_every_client_has_is_not_kept() {
    let mut lan = Lan::new(&[GROUP]);
    let [quick, slow] = ["/udp/239.1.2.3:5000/"; 2].map(|path| lan.get(path));
    let events = lan.get("/sse/239.1.2.3:5000");
    [quick, slow, events].into_iter().for_each(|id| drop(lan.text(id)));
    (0..100).for_each(|_| lan.send(&[0x47; 1_316]));
    let kept = |lan: &mut Lan, kind| {
        lan.server.handle_timeout(lan.now);
        let mut channels = lan.server.channels.values();
        channels.find_map(|channel| channel.feed(kind)).map(Feed::cost)
    };
    assert_eq!(lan.take(quick, usize::MAX).len(), 131_600);
    assert!(kept(&mut lan, StreamKind::Udp) > Some(131_600), "one client lacks it");
    assert_eq!(lan.take(slow, 13_160).len(), 13_160);
    let most = kept(&mut lan, StreamKind::Udp);
    assert!(most > Some(90 * 1_316) && most < Some(131_600), "{most:?}");

    assert_eq!(lan.take(slow, usize::MAX).len(), 90 * 1_316);

    assert_eq!(kept(&mut lan, StreamKind::Udp), Some(0));
    lan.take(events, usize::MAX);
    assert!(kept(&mut lan, StreamKind::Sse) > Some(131_600), "it may be requested again");
    lan.send(&[0x48; 10]);
    assert_eq!([quick, slow].map(|id| lan.take(id, usize::MAX)), [[0x48; 10]; 2]);
}

#[test]
fn all_streams_together_keep_a_bounded_number_of_bytes() {
    let config = HttpConfig { max_clients: 1_000, ..HttpConfig::new(7) };
    let mut lan = Lan::with(config, &["239.1.0.0/16:5000"]);
    let mut payload = HttpDatagram {
        leg: LegId(0),
        address: GROUP.parse().unwrap(),
        source: "10.0.0.7:4000".parse().unwrap(),
        time: None,
        lost: 0,
        payload: Arc::from(vec![0; 60_000]),
    };
    let mut refused = 0;
    // The first ones fill their rings before the others are there.
    for number in 0..400_u16 {
        let group = format!("239.1.{}.{}:5000", number / 200, number % 200);
        let id = lan.get(&format!("/udp/{group}/"));
        refused += u32::from(lan.text(id).starts_with("HTTP/1.1 503 "));
        payload.address = group.parse().unwrap();
        (0..80).for_each(|_| lan.server.handle_datagram(lan.now, &payload));
        lan.server.handle_timeout(lan.now);
        let kept: usize = lan
            .server
            .channels
            .values()
            .filter_map(|channel| channel.feed(StreamKind::Udp))
            .map(Feed::cost)
            .sum();
        assert!(kept <= 65 << 20, "{kept} after {number}");
    }
    assert_eq!(refused, 400 - 256);
}

#[test]
fn events_have_a_source_a_time_and_the_payload_as_text_or_base64() {
    let mut lan = Lan::new(&[GROUP]);
    let sse = lan.get("/sse/239.1.2.3:5000");
    lan.send("grüß\n\"dich\"".as_bytes());
    lan.send(&[0xff, 0]);
    let response = lan.text(sse);
    assert!(response.contains("Content-Type: text/event-stream\r\n"), "{response}");
    let expected = "retry: 1000\n\n\
        id: 0000000000000008-1\ndata: {\"event\":\"datagram\",\"id\":\"0000000000000008-1\",\"source\":\"10.0.0.7:4000\",\
        \"time\":\"2023-11-14T22:13:20.000000001Z\",\"text\":\"grüß\\n\\\"dich\\\"\"}\n\n\
        id: 0000000000000008-2\ndata: {\"event\":\"datagram\",\"id\":\"0000000000000008-2\",\"source\":\"10.0.0.7:4000\",\
        \"time\":\"2023-11-14T22:13:20.000000001Z\",\"base64\":\"/wA=\"}\n\n";
    assert_eq!(body(&response), expected);
}

#[test]
fn a_client_of_events_resumes_after_the_last_one_that_it_has() {
    let mut lan = Lan::new(&[GROUP]);
    let first = lan.get("/sse/239.1.2.3:5000");
    (0..5).for_each(|number: u8| lan.send(&[b'0' + number]));
    let events = lan.text(first);
    let ids = ids(&events);
    assert_eq!(ids.len(), 5);
    lan.server.handle_disconnected(lan.now, first);
    lan.pass(Duration::from_millis(1_500));
    lan.send(b"while away");
    for headers in [format!("Last-Event-ID: {}\r\n", ids[2]), String::new()] {
        let query = if headers.is_empty() { format!("?last-event-id={}", ids[2]) } else { String::new() };
        let again = lan.request(&format!("GET /sse/239.1.2.3:5000{query}"), &headers);
        let events = lan.text(again);
        let texts: Vec<_> = events.matches("\"text\":").collect();
        assert_eq!(texts.len(), 3, "{events}");
        assert!(
            events.contains("\"text\":\"3\"") && events.contains("while away") && !events.contains("gap")
        );
    }
}

#[test]
fn what_is_gone_is_reported() {
    let mut lan = Lan::new(&[GROUP]);
    let gap_after = |lan: &mut Lan, id: &str| {
        let client = lan.request("GET /sse/239.1.2.3:5000", &format!("Last-Event-ID: {id}\r\n"));
        let events = lan.text(client);
        let gap =
            events.split("event: gap\ndata: ").nth(1).map(|rest| rest.lines().next().unwrap().to_owned());
        lan.server.handle_disconnected(lan.now, client);
        gap
    };
    // Nothing is kept before the first client.
    let unknown = "{\"event\":\"gap\",\"id\":\"0000000000000008-0\",\"gap\":\"unknown-id\",\"missed\":null}";
    assert_eq!(gap_after(&mut lan, "0000000000000007-12").as_deref(), Some(unknown));
    for other in ["", "x", "0000000000000008-99", "8-", "-1", "0000000000000008--1"] {
        assert_eq!(gap_after(&mut lan, other).as_deref(), Some(unknown), "{other:?}");
    }
    let client = lan.get("/sse/239.1.2.3:5000");
    (0..100).for_each(|_| lan.send(&[b'x'; 60_000]));
    let expired = gap_after(&mut lan, "0000000000000008-1").unwrap();
    assert!(expired.contains("\"gap\":\"expired\",\"missed\":"), "{expired}");
    // The client has fallen behind as well.
    let events = lan.text(client);
    assert!(events.contains("\"gap\":\"too-slow\",\"missed\":"), "{}", &events[..1_000]);
    lan.send_from("10.0.0.7:4000", b"after a loss", 7);
    let events = lan.text(client);
    assert!(events.starts_with("id: 0000000000000008-107\nevent: gap\n"), "{events}");
    assert!(events.contains(
        "{\"event\":\"gap\",\"id\":\"0000000000000008-107\",\"gap\":\"lost-on-this-host\",\"missed\":7}"
    ));
    assert!(events.contains("\nid: 0000000000000008-108\n"));
    // Another relay, or this one before a restart, had a datagram of this number.
    assert_eq!(gap_after(&mut lan, "0000000000000007-107"), Some(unknown.replace("-0", "-108")));
    // The group is left and joined again: nobody knows what was sent in between.
    lan.server.handle_disconnected(lan.now, client);
    lan.pass(Duration::from_secs(3));
    assert!(gap_after(&mut lan, "0000000000000008-108").unwrap().contains("unknown-id"));
}

#[test]
fn a_websocket_has_a_message_per_datagram_and_answers_pings() {
    let mut lan = Lan::new(&[GROUP]);
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let json = lan.request("GET /ws/239.1.2.3:5000", handshake);
    let raw = lan.request("GET /ws/239.1.2.3:5000?raw", handshake);
    lan.send(b"hello");
    let sent = lan.take(raw, usize::MAX);
    let head = sent.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let response = String::from_utf8(sent[..head].to_vec()).unwrap();
    assert!(response.starts_with("HTTP/1.1 101 ") && response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(&sent[head..], b"\x82\x05hello");
    let sent = lan.take(json, usize::MAX);
    assert!(sent.ends_with(b"\"text\":\"hello\"}"));
    lan.server.handle_bytes(lan.now, json, b"\x89\x82\0\0\0\0ab\x88\x80\0\0\0\0");
    assert_eq!(lan.take(json, usize::MAX), b"\x8a\x02ab\x88\x02\x03\xe9");
    assert!(lan.server.is_ending(json));
    // Text is not accepted.
    lan.server.handle_bytes(lan.now, raw, b"\x81\x81\0\0\0\0x");
    assert_eq!(lan.take(raw, usize::MAX), b"\x88\x02\x03\xeb");
    let plain = lan.get("/ws/239.1.2.3:5000");
    assert!(lan.text(plain).starts_with("HTTP/1.1 426 "));
    let rude = lan.request("GET /ws/239.1.2.3:5000", handshake);
    (0..100_000).for_each(|_| lan.server.handle_bytes(lan.now, rude, b"\x89\x82\0\0\0\0ab"));
    let length = lan.take(rude, usize::MAX).len();
    assert!(
        (1_000..20_000).contains(&length),
        "replies of {length} bytes wait for a client that does not read"
    );
}

#[test]
fn rtp_is_sorted_and_stripped() {
    let mut lan = Lan::new(&[GROUP]);
    let (rtp, udp) = (lan.get("/rtp/239.1.2.3:5000/"), lan.get("/udp/239.1.2.3:5000/"));
    // With a contributing source, an extension of one word, and padding of two bytes.
    let packet = |sequence: u8, content: &[u8]| {
        let head = [0xb1, 33, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 5, 6, 7, 8];
        [&head[..], content, &[0, 2]].concat()
    };
    for sequence in [1_u8, 3, 2, 2, 4] {
        lan.send(&packet(sequence, &[b'0' + sequence; 3]));
    }
    let (rtp, udp) = (lan.text(rtp), lan.take(udp, usize::MAX));
    assert!(rtp.contains("Content-Type: video/mp2t\r\n"));
    assert_eq!(body(&rtp), "111222333444");
    assert!(udp.ends_with(&packet(4, b"444")), "the other form is as it was sent");
}

#[test]
fn only_the_sources_of_rule_and_request_are_served() {
    let mut lan = Lan::new(&["10.0.0.7,10.0.0.8@239.1.2.3:5000", "232.1.2.0/24:5000"]);
    let (one, all) = (lan.get("/udp/10.0.0.8@239.1.2.3:5000"), lan.get("/udp/239.1.2.3:5000"));
    lan.send_from("10.0.0.7:1", b"7", 0);
    lan.send_from("10.0.0.8:1", b"8", 0);
    lan.send_from("10.0.0.9:1", b"9", 0);
    assert_eq!((body(&lan.text(one)), body(&lan.text(all))), ("8", "78"));
    let (demand, address) = (lan.server.poll_demand().unwrap(), GROUP.parse().unwrap());
    assert_eq!(demand.on(LegId(0)).count(), 1, "one join with both sources");
    assert_eq!(demand.rule_for(LegId(0), address, "10.0.0.7".parse().unwrap()), Some(0));
    assert_eq!(demand.rule_for(LegId(0), address, "10.0.0.9".parse().unwrap()), None);
    for (path, expected) in [
        ("/udp/10.0.0.9@239.1.2.3:5000", "HTTP/1.1 403 "),
        ("/udp/239.1.2.3:5001", "HTTP/1.1 403 "),
        ("/udp/232.1.2.3:5000", "HTTP/1.1 400 "),
        ("/udp/10.0.0.1@232.1.2.3:5000", "HTTP/1.1 200 "),
    ] {
        let id = lan.get(path);
        let response = lan.text(id);
        assert!(response.starts_with(expected), "{path}: {response}");
    }
}

#[test]
fn refusals_have_a_status_and_say_what_to_do_in_one_line() {
    let mut lan = Lan::with(HttpConfig { max_clients: 1, ..HttpConfig::new(7) }, &[GROUP]);
    lan.get("/udp/239.1.2.3:5000");
    for (request, status, expected) in [
        ("GET /udp/239.9.9.9:5000/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", 403, "no rule"),
        ("GET /udp/239.1.2.3:5000/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", 503, "--http-clients"),
        ("GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "--http-host"),
        (
            "GET /status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
            403,
            "--http-origin",
        ),
        ("GET /status HTTP/1.1\r\n\r\n", 400, "Host"),
        ("GET /status HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n", 400, "twice"),
        ("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "/udp/GROUP:PORT/"),
        ("POST /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "GET and HEAD"),
        ("CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "GET and HEAD"),
        ("GET /udp/eth0 HTTP/1.0\r\n\r\n", 400, "eth0"),
        ("SSH-2.0-OpenSSH\r\n\r\n", 400, "HTTP"),
        ("\x16\x03\x01\n", 400, "HTTP"),
    ] {
        let id = lan.connect();
        lan.server.handle_bytes(lan.now, id, request.as_bytes());
        let response = lan.text(id);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {response}");
        let text = body(&response);
        assert!(text.contains(expected) && text.ends_with('\n') && text.lines().count() == 1, "{response}");
        assert!(lan.server.is_ending(id) && !response.contains("Access-Control"), "{response}");
    }
    let head = lan.request("HEAD /udp/239.1.2.3:5000/", "");
    assert_eq!(body(&lan.text(head)), "", "a HEAD needs no place and joins nothing");
}

#[test]
fn a_request_is_limited_in_length_and_time() {
    let mut lan = Lan::new(&[GROUP]);
    let slow = lan.connect();
    for byte in "GET /status HTTP/1.1\r\nHost: localhost\r\nX: 01234567890".bytes() {
        lan.server.handle_bytes(lan.now, slow, &[byte]);
        lan.pass(Duration::from_millis(100));
    }
    assert!(lan.text(slow).starts_with("HTTP/1.1 408 "));
    lan.pass(Duration::from_secs(3));
    assert!(lan.server.is_gone(slow));
    let long = lan.connect();
    for _ in 0..10_000 {
        lan.server.handle_bytes(lan.now, long, b"xxxxxxxxxxxxxxxx");
    }
    assert!(lan.text(long).starts_with("HTTP/1.1 "));
    let many = lan.request("GET /status", &"X: y\r\n".repeat(100));
    assert!(lan.text(many).starts_with("HTTP/1.1 431 "));
    let connected =
        (0..1_000).filter(|_| lan.server.handle_connect(lan.now, listener(), client_address()).is_some());
    assert!(connected.count() <= 256 + 64 + 64);
}

#[test]
fn one_address_has_at_most_half_of_all_clients() {
    let mut lan = Lan::with(HttpConfig { max_clients: 4, ..HttpConfig::new(7) }, &[GROUP]);
    let get = |lan: &mut Lan, address: &str| {
        let id = lan.server.handle_connect(lan.now, listener(), address.parse().unwrap()).unwrap();
        let request = format!("GET /udp/239.1.2.3:5000 HTTP/1.1\r\n{HOST}\r\n");
        lan.server.handle_bytes(lan.now, id, request.as_bytes());
        lan.text(id)
    };
    for (address, status, text) in [
        ("10.0.0.66:1", "200", ""),
        ("10.0.0.66:2", "200", ""),
        ("10.0.0.66:3", "503", "10.0.0.66 has half of all clients"),
        ("10.0.0.3:1", "200", ""),
        ("10.0.0.4:1", "200", ""),
        ("10.0.0.5:1", "503", "too many clients"),
    ] {
        let response = get(&mut lan, address);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{address}: {response}");
        assert!(response.contains(text), "{address}: {response}");
    }
    let culprit = lan.server.poll_event().map(|event| event.client);
    assert_eq!(culprit, Some("10.0.0.66:3".parse().unwrap()));
    // A proxy on the same host connects for all of its clients.
    let mut lan = Lan::with(HttpConfig { max_clients: 4, ..HttpConfig::new(7) }, &[GROUP]);
    for port in 1..=4 {
        assert!(get(&mut lan, &format!("127.0.0.1:{port}")).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn connections_without_a_request_do_not_keep_others_out() {
    let mut lan = Lan::with(HttpConfig { max_clients: 4, ..HttpConfig::new(7) }, &[GROUP]);
    let connect = |lan: &mut Lan, address: &str| {
        lan.server.handle_connect(lan.now, listener(), address.parse().unwrap()).unwrap()
    };
    let streams = [lan.get("/udp/239.1.2.3:5000"), lan.get("/udp/239.1.2.3:5000")];
    let own = connect(&mut lan, "10.0.0.3:1");
    let mut flood = Vec::new();
    for port in 1..2_000 {
        flood.push(connect(&mut lan, &format!("10.0.0.66:{port}")));
        // As the driver does.
        let (gone, open) = flood.into_iter().partition(|id| lan.server.is_gone(*id));
        let gone: Vec<HttpClientId> = gone;
        gone.into_iter().for_each(|id| lan.server.handle_disconnected(lan.now, id));
        flood = open;
        assert!(lan.server.connections.ids().len() <= 4 + 64, "{}", lan.server.connections.ids().len());
    }
    let late = connect(&mut lan, "10.0.0.4:1");
    for id in [own, late] {
        lan.server.handle_bytes(lan.now, id, format!("GET /status HTTP/1.1\r\n{HOST}\r\n").as_bytes());
        assert!(lan.text(id).starts_with("HTTP/1.1 200 "));
    }
    assert!(!streams.iter().any(|id| lan.server.is_gone(*id)), "a stream is not dropped for that");
}

#[test]
fn rules_that_change_end_the_streams_that_they_do_not_name() {
    let mut lan = Lan::new(&["239.1.2.0/24:5000", "239.1.3.0/24:5000"]);
    let (kept, ended) = (lan.get("/udp/239.1.3.3:5000"), lan.get("/udp/239.1.2.3:5000"));
    lan.server.poll_demand();
    lan.server.set_rules(lan.now, rules(&["239.1.3.0/25:5000"]));
    lan.text(ended);
    assert!(lan.server.is_ending(ended) && !lan.server.is_ending(kept));
    let (demand, source) = (lan.server.poll_demand().unwrap(), "10.0.0.7".parse().unwrap());
    assert_eq!(demand.rule_for(LegId(0), "239.1.3.3:5000".parse().unwrap(), source), Some(0));
    lan.pass(Duration::from_secs(3));
    assert_eq!(lan.joined(), Some(1));
    let mut down = rules(&["239.1.3.0/25:5000"]);
    down[0].is_up = false;
    lan.server.set_rules(lan.now, down);
    let refused = lan.get("/udp/239.1.3.3:5000");
    assert!(lan.text(refused).contains("eth0 cannot be used"));
    assert!(!lan.server.is_ending(kept), "the interface may come back");
}

#[test]
fn the_status_lists_clients_and_groups() {
    let mut lan = Lan::new(&["239.1.2.0/24:5000"]);
    let stream = lan.get("/udp/239.1.2.3:5000");
    for _ in 0..30 {
        lan.send(&[0; 1_000]);
        lan.pass(Duration::from_millis(100));
    }
    let json = lan.request("GET /status/", "Accept: application/json\r\n");
    let response = lan.text(json);
    let status: serde_json::Value = serde_json::from_str(body(&response)).unwrap();
    assert_eq!((&status["groups"][0]["group"], &status["groups"][0]["clients"]), (&GROUP.into(), &1.into()));
    let rate = status["groups"][0]["bits_per_second"].as_u64().unwrap();
    assert!((70_000..90_000).contains(&rate), "{rate}");
    assert_eq!(status["clients"][0]["waiting"], 30);
    lan.text(stream);
    let page = lan.get("/status");
    let page = lan.text(page);
    assert!(page.contains("text/html") && page.contains("href=\"/\">Channels"), "{page}");
    assert!(page.contains("<td data-label=\"group\">239.1.2.3:5000</td>"), "{page}");
    assert!(page.contains("Served 1 stream, sent 30,"), "{page}");
}

#[test]
fn a_request_for_an_icon_is_not_a_refusal() {
    let mut lan = Lan::new(&[GROUP]);
    lan.server.set_access(lan.now, Some("s3cret".to_owned()), Playlist::default());
    let icon = lan.get("/favicon.ico");
    assert!(lan.text(icon).starts_with("HTTP/1.1 204 "));
    assert_eq!(lan.server.counts().refusals().count(), 0);
    let other = lan.get("/other.ico");
    assert!(lan.text(other).starts_with("HTTP/1.1 401 "));
    assert_eq!(lan.server.counts().refusals().count(), 1);
}

#[test]
fn a_client_of_events_without_datagrams_is_kept_alive() {
    let mut lan = Lan::new(&[GROUP]);
    let client = lan.get("/sse/239.1.2.3:5000");
    lan.text(client);
    lan.pass(Duration::from_secs(14));
    assert_eq!(lan.text(client), "");
    lan.pass(Duration::from_secs(2));
    assert_eq!(lan.text(client), ":\n\n");
}

#[test]
fn a_rule_for_any_port_serves_every_group_on_request_except_those_that_are_never_forwarded() {
    let mut lan = Lan::new(&["224.0.0.0/4:*", "[ff1e::]/16:5000-9000"]);
    assert_eq!(lan.joined(), None, "nothing is joined before");
    for (path, expected) in [
        ("/udp/239.1.2.3:9584", 200),
        ("/udp/232.77.8.9:5146", 400),
        ("/udp/10.0.0.7@232.77.8.9:5146", 200),
        ("/udp/224.0.0.5:5000", 403),
        ("/udp/239.1.2.3:319", 403),
        ("/udp/[ff1e::7]:7777", 200),
        ("/udp/[ff1e::7]:4999", 403),
    ] {
        let id = lan.get(path);
        let response = lan.text(id);
        assert!(response.starts_with(&format!("HTTP/1.1 {expected} ")), "{path}: {response}");
    }
    assert_eq!(lan.joined(), Some(3));
    let list = lan.get("/playlist.m3u");
    assert_eq!(body(&lan.text(list)).lines().filter(|line| line.starts_with("http")).count(), 3);
}

#[test]
fn a_rule_for_the_playlist_serves_what_that_names_as_long_as_it_does() {
    let list = |text: &str| Playlist::read(text.as_bytes());
    let both = "#EXTINF:-1,A\nrtp://239.1.2.3:5000\n#EXTINF:-1,B\nudp://10.0.0.7@232.1.2.3:9000$HD\n\
                #EXTINF:-1,Never\nudp://224.0.0.5:5000\n";
    let mut lan = Lan::with(HttpConfig { playlist: list(both), ..HttpConfig::new(7) }, &["playlist"]);
    for (path, expected) in [
        ("/rtp/239.1.2.3:5000", 200),
        ("/udp/10.0.0.7@239.1.2.3:5000", 200),
        ("/udp/239.1.2.3:5001", 403),
        ("/udp/239.1.2.4:5000", 403),
        ("/udp/232.1.2.3:9000", 200),
        ("/udp/10.0.0.8@232.1.2.3:9000", 403),
        ("/udp/224.0.0.5:5000", 403),
    ] {
        let id = lan.get(path);
        let response = lan.text(id);
        assert!(response.starts_with(&format!("HTTP/1.1 {expected} ")), "{path}: {response}");
        lan.server.handle_disconnected(lan.now, id);
    }
    let playlist = lan.get("/playlist.m3u");
    let expected = "#EXTM3U\n#EXTINF:-1,A\nhttp://10.0.0.9:4022/rtp/239.1.2.3:5000/\n\
                    #EXTINF:-1,B\nhttp://10.0.0.9:4022/udp/10.0.0.7@232.1.2.3:9000/$HD\n";
    assert_eq!(body(&lan.text(playlist)), expected);
    let (kept, ended) = (lan.get("/rtp/239.1.2.3:5000"), lan.get("/udp/232.1.2.3:9000"));
    [kept, ended].into_iter().for_each(|id| drop(lan.text(id)));
    lan.server.set_access(lan.now, None, list("rtp://239.1.2.3:5000\n"));
    assert!(lan.server.is_ending(ended) && !lan.server.is_ending(kept));
}

#[test]
fn a_channel_has_its_name_as_its_path() {
    let text = "#EXTINF:-1 group-title=\"General\",The news\nrtp://239.1.2.3:5000$HD\nrtp://239.1.2.4:5000$SD\n\
                #EXTGRP:Täglich\n#EXTINF:-1,Wetter/Sport\nudp://239.1.2.5:5000\n";
    let playlist = Playlist::read(text.as_bytes());
    let mut lan = Lan::with(HttpConfig { playlist, ..HttpConfig::new(7) }, &["239.1.2.0/24:5000"]);
    for (path, expected) in [
        ("/The%20news", Some("239.1.2.3:5000")),
        ("/General/The%20news/", Some("239.1.2.3:5000")),
        ("/The%20news/SD", Some("239.1.2.4:5000")),
        ("/General/The%20news$SD", Some("239.1.2.4:5000")),
        ("/General/The%20news/SD$SD", Some("239.1.2.4:5000")),
        ("/The%20news$4K", Some("239.1.2.3:5000")),
        ("/T%C3%A4glich/Wetter/Sport", Some("239.1.2.5:5000")),
        ("/Wetter/Sport", Some("239.1.2.5:5000")),
        ("/The%20new", None),
        ("/The%20newss", None),
        ("/General", None),
        ("/statuss", None),
    ] {
        let head = lan.request(&format!("HEAD {path}"), "");
        let response = lan.text(head);
        let status = if expected.is_some() { "200" } else { "404" };
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")) && body(&response).is_empty(),
            "{path}: {response}"
        );
        let id = lan.get(path);
        lan.text(id);
        let status = lan.get("/status.json");
        let status: serde_json::Value = serde_json::from_str(body(&lan.text(status))).unwrap();
        assert_eq!(status["clients"][0]["group"].as_str(), expected, "{path}");
        lan.server.handle_disconnected(lan.now, id);
    }
}

#[test]
fn a_playlist_that_has_not_changed_is_not_sent_again() {
    let playlist = Playlist::read(b"#EXTINF:-1,News\nrtp://239.1.2.3:5000\n");
    let mut lan = Lan::with(HttpConfig { playlist, ..HttpConfig::new(7) }, &["239.1.2.0/24:5000"]);
    let get = |lan: &mut Lan, headers: &str| {
        let id = lan.request("GET /playlist.m3u", headers);
        lan.text(id)
    };
    let first = get(&mut lan, "");
    let tag = first.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap().to_owned();
    assert!(first.starts_with("HTTP/1.1 200 ") && tag.starts_with('"') && tag.ends_with('"'), "{first}");
    assert_eq!(get(&mut lan, "").lines().find_map(|line| line.strip_prefix("ETag: ")), Some(tag.as_str()));
    for known in [tag.clone(), format!("\"x\", {tag}"), format!("W/{tag}"), "*".into()] {
        let again = get(&mut lan, &format!("If-None-Match: {known}\r\n"));
        assert!(again.starts_with("HTTP/1.1 304 ") && body(&again).is_empty(), "{known}: {again}");
        assert!(again.contains(&format!("ETag: {tag}\r\n")) && !again.contains("Content-Length"), "{again}");
    }
    assert!(get(&mut lan, "If-None-Match: \"other\"\r\n").starts_with("HTTP/1.1 200 "));
    let head = lan.request("HEAD /playlist.m3u", "");
    assert!(lan.text(head).contains(&tag));
    lan.server.set_access(lan.now, None, Playlist::read(b"#EXTINF:-1,Other\nrtp://239.1.2.3:5000\n"));
    assert!(get(&mut lan, &format!("If-None-Match: {tag}\r\n")).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_browser_learns_what_it_may_send_for_an_allowed_page_and_needs_no_token_to_ask() {
    let origins = vec!["https://tv.example".to_owned()];
    let config = HttpConfig {
        access: with_token(AccessRules { origins, ..AccessRules::default() }),
        ..HttpConfig::new(7)
    };
    let mut lan = Lan::with(config, &[GROUP]);
    let preflight = |lan: &mut Lan, origin: &str| {
        let headers = format!(
            "{origin}Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization, range\r\n\
             Access-Control-Request-Private-Network: true\r\n"
        );
        let id = lan.request("OPTIONS /rtp/239.1.2.3:5000/", &headers);
        lan.text(id)
    };
    let allowed = preflight(&mut lan, "Origin: https://tv.example\r\n");
    assert!(allowed.starts_with("HTTP/1.1 204 ") && body(&allowed).is_empty(), "{allowed}");
    for line in [
        "Access-Control-Allow-Origin: https://tv.example",
        "Access-Control-Allow-Methods: GET, HEAD",
        "Access-Control-Allow-Headers: authorization, range",
        "Access-Control-Allow-Private-Network: true",
    ] {
        assert!(allowed.lines().any(|given| given == line), "{line}: {allowed}");
    }
    let foreign = preflight(&mut lan, "Origin: https://evil.example\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403 ") && !foreign.contains("Access-Control"), "{foreign}");
    let plain = preflight(&mut lan, "");
    assert!(plain.contains("Allow: GET, HEAD, OPTIONS\r\n") && !plain.contains("Access-Control"), "{plain}");
    assert_eq!(lan.joined(), None, "nothing is served");
}

#[test]
fn behind_a_proxy_addresses_are_those_of_the_proxy_and_limits_those_of_its_clients() {
    let proxies = vec!["10.0.0.1".parse().unwrap()];
    let config = HttpConfig {
        access: with_token(AccessRules { proxies, ..AccessRules::default() }),
        max_clients: 4,
        ..HttpConfig::new(7)
    };
    let mut lan = Lan::with(config, &[GROUP]);
    let forwarded = |client: &str| {
        format!(
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: tv.example\r\nX-Forwarded-Prefix: /iptv\r\nX-Forwarded-For: {client}\r\n"
        )
    };
    let get = |lan: &mut Lan, path: &str, client: &str| {
        let id = lan.request(&format!("GET {path}?token=s3cret"), &forwarded(client));
        lan.text(id)
    };
    let list = get(&mut lan, "/playlist.m3u", "203.0.113.7");
    assert!(list.contains("\nhttps://tv.example/iptv/udp/239.1.2.3:5000/?token=s3cret\n"), "{list}");
    let page = get(&mut lan, "/iptv/", "203.0.113.7");
    assert!(page.contains("const root = \"/iptv\";"), "{page}");
    assert!(
        page.contains("Set-Cookie: token=s3cret; Path=/iptv/; HttpOnly; SameSite=Strict; Secure\r\n"),
        "{page}"
    );
    for (client, status) in
        [("203.0.113.7", "200"), ("203.0.113.7", "200"), ("203.0.113.7", "503"), ("203.0.113.8", "200")]
    {
        let response = get(&mut lan, "/iptv/udp/239.1.2.3:5000/", client);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{client}: {response}");
    }
    // Without the option, anybody could write these headers.
    lan.server.config.access.proxies.clear();
    let list = get(&mut lan, "/playlist.m3u", "203.0.113.7");
    assert!(list.contains("\nhttp://10.0.0.9:4022/udp/239.1.2.3:5000/?token=s3cret\n"), "{list}");
}

#[test]
fn a_long_playlist_reaches_a_slow_client_and_clients_that_take_nothing_are_bounded() {
    let text: String = (0..40_000)
        .map(|number| format!("#EXTINF:-1,{}{number}\nrtp://239.1.2.3:5000\n", "x".repeat(100)))
        .collect();
    let playlist = Playlist::read(text.as_bytes());
    let mut lan = Lan::with(HttpConfig { playlist, ..HttpConfig::new(7) }, &[GROUP]);
    let slow = lan.get("/playlist.m3u");
    let mut taken = 0;
    for _ in 0..30 {
        taken += lan.take(slow, 250_000).len();
        lan.pass(Duration::from_secs(1));
    }
    assert!(taken > 6_000_000 && lan.server.is_gone(slow), "{taken}");
    // Several times as much as may wait.
    let stalled: Vec<_> = (0..40).map(|_| lan.get("/playlist.m3u")).collect();
    let waiting: usize = lan.server.connections.waiting();
    assert!(waiting <= 64 << 20, "{waiting}");
    assert!(stalled.iter().any(|id| !lan.server.is_gone(*id)));
    lan.pass(Duration::from_secs(3));
    assert!(stalled.iter().all(|id| lan.server.is_gone(*id)));
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Connect,
    Request(usize, usize),
    Bytes(usize, Vec<u8>),
    Send(Vec<u8>, u64),
    Take(usize, usize),
    Disconnect(usize),
    Pass(u64),
    Rules(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Connect),
        (any::<usize>(), any::<usize>()).prop_map(|(client, path)| Step::Request(client, path)),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(client, bytes)| Step::Bytes(client, bytes)),
        (0_usize..60_000, 0_u64..3).prop_map(|(length, lost)| Step::Send(vec![length as u8; length], lost)),
        (any::<usize>(), 0_usize..100_000).prop_map(|(client, count)| Step::Take(client, count)),
        any::<usize>().prop_map(Step::Disconnect),
        (0_u64..4_000).prop_map(Step::Pass),
        (0_usize..3).prop_map(Step::Rules),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn anything_may_happen_and_bounds_hold(steps in prop::collection::vec(step(), 1..200)) {
        const PATHS: [&str; 7] = ["/udp/239.1.2.3:5000", "/rtp/239.1.2.3:5000", "/sse/239.1.2.3:5000",
            "/ws/239.1.2.3:5000", "/ws/239.1.2.3:5000?raw", "/status", "/udp/239.1.2.4:5000"];
        let mut lan = Lan::with(HttpConfig { max_clients: 4, ..HttpConfig::new(7) }, &["239.1.2.0/24:5000"]);
        let mut clients = Vec::new();
        for step in steps {
            let pick = |client: usize| clients.get(client % clients.len().max(1)).copied();
            match step {
                Step::Connect => clients.extend(lan.server.handle_connect(lan.now, listener(), client_address())),
                Step::Request(client, path) => if let Some(id) = pick(client) {
                    let handshake = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                    let request = format!("GET {} HTTP/1.1\r\n{HOST}{handshake}\r\n", PATHS[path % PATHS.len()]);
                    lan.server.handle_bytes(lan.now, id, request.as_bytes());
                },
                Step::Bytes(client, bytes) => if let Some(id) = pick(client) {
                    lan.server.handle_bytes(lan.now, id, &bytes);
                },
                Step::Send(payload, lost) => lan.send_from("10.0.0.7:1", &payload, lost),
                Step::Take(client, count) => if let Some(id) = pick(client) {
                    lan.take(id, count);
                },
                Step::Disconnect(client) => if let Some(id) = pick(client) {
                    lan.server.handle_disconnected(lan.now, id);
                    clients.retain(|known| *known != id);
                },
                Step::Pass(time) => lan.pass(Duration::from_millis(time)),
                Step::Rules(count) => lan.server.set_rules(lan.now, rules(&["239.1.2.0/24:5000", "239.1.2.3:5000"][..count])),
            }
            let counts = lan.server.counts();
            prop_assert!(counts.clients <= 4 && counts.groups <= 8);
            prop_assert!(lan.server.channels.values().all(|channel| channel.streams() <= 5));
        }
        lan.server.set_rules(lan.now, Vec::new());
        lan.pass(Duration::from_secs(10));
        prop_assert_eq!(lan.server.counts().clients, 0);
        prop_assert_eq!(lan.server.channels.len(), 0);
        prop_assert!(clients.iter().all(|id| lan.server.is_gone(*id)), "nothing stays connected without a stream");
    }
}
