//! Tunnels between sites.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::{Host, Impairment};
use serde_json::Value;

use crate::network::{memory, of_type, refused, relay_unready, sender, stop};
use crate::sites::{GROUP, GROUP_IN_TABLE, HUB, Sites, has_nft, wait_for_path};
use crate::support::{TIMEOUT, eventually, mcast};

/// 5 % of loss in each direction, and 80 ms for a round trip.
const BAD: Impairment = Impairment {
    loss: 0.05,
    duplicate: 0.0,
    reorder: 0.01,
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
    rate: None,
    queue: 1 << 20,
    seed: 7,
    scope: mcast_lab::ImpairmentScope::Udp,
};
const BYTES: usize = 1_316;

/// The payload of a stream: RTP with seven packets of MPEG, each byte of which follows from the number.
fn payload(number: u32) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((4..BYTES).map(|at| (number as usize * 31 + at * 7) as u8));
    bytes
}

/// Sends this many datagrams of a stream, 250 per second.
fn stream(socket: &UdpSocket, numbers: std::ops::Range<u32>) -> Vec<Instant> {
    let start = Instant::now();
    numbers
        .zip(0..)
        .map(|(number, place)| {
            let at = start + Duration::from_millis(4) * place;
            thread::sleep(at.saturating_duration_since(Instant::now()));
            socket.send_to(&payload(number), (GROUP, 5000)).unwrap();
            Instant::now()
        })
        .collect()
}

/// Receives in a thread until nothing has come for a while; returns numbers, and when each came.
fn collect(member: UdpSocket) -> thread::JoinHandle<Vec<(u32, Instant)>> {
    member.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    thread::spawn(move || {
        let (mut received, mut buffer) = (Vec::new(), [0; 2_000]);
        while let Ok((length, _)) = member.recv_from(&mut buffer) {
            let Some(number) = buffer.first_chunk().copied().map(u32::from_be_bytes) else { continue };
            if length == BYTES {
                assert_eq!(buffer[..length], payload(number), "{number} is as it was sent");
                received.push((number, Instant::now()));
            }
        }
        received
    })
}

fn tunnel<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let tunnels = summary["tunnels"].as_array().unwrap();
    tunnels.iter().find(|tunnel| tunnel["tunnel"] == name).unwrap()
}

fn dropped(summary: &Value, reason: &str) -> u64 {
    let dropped = summary["tunnels_dropped"].as_array().unwrap();
    dropped.iter().find(|entry| entry["reason"] == reason).map_or(0, |entry| entry["count"].as_u64().unwrap())
}

/// Sends datagrams to the hub from 64 ports, 20 in a millisecond at most, until it is over; returns how many. No key of
/// the hub has sealed any: random bytes of all lengths, some with the beginning of a datagram of a tunnel.
fn flood(stranger: &Host, is_over: &Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    let open = || (0..64).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap()).collect::<Vec<_>>();
    let (sockets, is_over) = (stranger.run(open).unwrap(), Arc::clone(is_over));
    thread::spawn(move || {
        let hub: SocketAddr = HUB.parse().unwrap();
        let (mut count, mut dice, mut bytes) = (0, mcast_sim::Dice::new(7), vec![0; 1_400]);
        while !is_over.load(Ordering::Relaxed) {
            for socket in sockets.iter().take(20) {
                bytes.iter_mut().take(64).for_each(|byte| *byte = dice.below(256) as u8);
                bytes[0] = dice.below(8) as u8;
                let length = dice.below(1_400) as usize;
                count += u64::from(socket.send_to(&bytes[..length], hub).is_ok());
            }
            thread::sleep(Duration::from_millis(1));
        }
        count
    })
}

#[test]
fn a_flood_from_a_stranger_takes_nothing_from_members_and_fills_neither_memory_nor_log() {
    let sites = Sites::new();
    let (hub, paris, oslo) =
        (sites.open_site("hub", 1), sites.open_site("paris", 11), sites.open_site("oslo", 12));
    let stranger = sites.open_site("stranger", 66);
    let of_hub = sites.relay(
        &hub,
        &["239.1.2.3:5000 from tunnel:paris to tunnel:oslo repair 1s", "--listen-tunnel", "0.0.0.0:5700"],
    );
    let start =
        |site, rule: &str, name: &str| sites.relay(site, &[rule, "--tunnel", &format!("{name}={HUB}")]);
    let of_paris = start(&paris, "239.1.2.3:5000 from eth0 to tunnel:paris repair 1s", "paris");
    let of_oslo = start(&oslo, "239.1.2.3:5000 from tunnel:oslo to eth0", "oslo");
    // It knows how tunnels are opened, but has another key.
    let rule = ["239.1.2.3:5000 from eth0 to tunnel:paris", "--tunnel", &format!("paris={HUB}")];
    let key = sites.key_of_stranger(&stranger.relay, &rule);
    let of_stranger = relay_unready(&stranger.relay, &[&rule[..], &["--tunnel-key", &key]].concat());
    let (sender, member) = (paris.sender(), oslo.member(GROUP));
    wait_for_path(&sender, GROUP, &member);
    let receiver = collect(member);
    let is_over = Arc::new(AtomicBool::new(false));
    let flooding = flood(&stranger.relay, &is_over);
    // What it keeps of strangers is full now, if it keeps anything.
    stream(&sender, 0..250);
    let before = memory(&of_hub);
    stream(&sender, 250..1_000);
    let after = memory(&of_hub);
    is_over.store(true, Ordering::Relaxed);
    let sent = flooding.join().unwrap();

    let mut numbers: Vec<u32> = receiver.join().unwrap().into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>(), "during {sent} datagrams of a stranger");
    assert!(sent > 5_000, "{sent} datagrams are not a flood");
    assert!(after < before + 1_024, "{before} kB, then {after} kB");
    for relay in [of_paris, of_oslo, of_stranger] {
        stop(relay);
    }
    let (events, summary) = stop(of_hub);
    // Each datagram of a stranger is counted, apart from those that the kernel had no room for.
    let reasons = ["malformed", "unknown-session", "unsealed"];
    let refused: u64 = reasons.map(|reason| dropped(&summary, reason)).iter().sum();
    assert!(refused > sent / 4, "{refused} of {sent}: {summary}");
    assert!(events.len() < 100, "{} events", events.len());
}

#[test]
fn a_stream_arrives_byte_equal_between_sites_behind_nats_at_loss_and_a_nat_may_change_its_address() {
    if !has_nft() {
        return;
    }
    let sites = Sites::new();
    let hub = sites.open_site("hub", 1);
    let (paris, oslo) = (sites.site_behind_nat("paris", 11, BAD), sites.site_behind_nat("oslo", 12, BAD));
    let of_hub = sites.relay(
        &hub,
        &["239.1.2.3:5000 from tunnel:paris to tunnel:oslo repair 1s", "--listen-tunnel", "0.0.0.0:5700"],
    );
    let of_paris = sites.relay(
        &paris,
        &["239.1.2.3:5000 from eth0 to tunnel:paris repair 1s", "--tunnel", &format!("paris={HUB}")],
    );
    let of_oslo =
        sites.relay(&oslo, &["239.1.2.3:5000 from tunnel:oslo to eth0", "--tunnel", &format!("oslo={HUB}")]);
    let (sender, member) = (paris.sender(), oslo.member(GROUP));
    wait_for_path(&sender, GROUP, &member);
    let receiver = collect(member);
    let mut sent = stream(&sender, 0..1_000);
    // Its conntrack entries go with the address.
    let (nat, _) = oslo.nat.as_ref().unwrap();
    nat.remove_address("wan", "203.0.113.12/24").unwrap();
    nat.add_address("wan", "203.0.113.32/24").unwrap();
    // The stream continues: no address is proven sooner than by its packets, and a silence would end the receiver.
    let moved = || of_hub.stdout.text().contains(r#""event":"tunnel-moved""#);
    while !moved() && sent.len() < 5_000 {
        let next = sent.len() as u32;
        sent.extend(stream(&sender, next..next + 10));
    }
    assert!(moved(), "{}", of_hub.stdout.text());
    let after = sent.len() as u32;
    sent.extend(stream(&sender, after..after + 500));
    let received = receiver.join().unwrap();

    let numbers: Vec<u32> = received.iter().map(|(number, _)| *number).collect();
    // What is under way or being repaired when the address changes may be lost for longer than the bound.
    let must_arrive = (0..750).chain(after + 200..after + 500);
    let missing: Vec<u32> = must_arrive.clone().filter(|number| !numbers.contains(number)).collect();
    let late = must_arrive.filter_map(|number| {
        let (_, came) = received.iter().find(|(known, _)| *known == number)?;
        Some(*came - sent[number as usize])
    });
    let latest = late.max().unwrap();
    let (_, hub_summary) = stop(of_hub);
    let (oslo_events, summary) = stop(of_oslo);
    stop(of_paris);
    let mut distinct = numbers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), numbers.len(), "each of them once");
    assert!(missing.is_empty(), "{missing:?} {hub_summary} {summary} {oslo_events:?}");
    assert!(latest < Duration::from_millis(2_500), "{latest:?}");
    assert!(tunnel(&summary, "oslo")["repaired"].as_u64() > Some(10), "{summary}");
}

#[test]
fn a_site_gets_only_what_its_members_have_joined() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rule = "239.1.2.0/28:5000 between eth0 and";
    let of_hub = sites.relay(&hub, &[&format!("{rule} tunnel:oslo"), "--listen-tunnel", "0.0.0.0:5700"]);
    let tunnel_of_oslo = format!("oslo={HUB}");
    let of_oslo = sites.relay(&oslo, &[&format!("{rule} tunnel:oslo"), "--tunnel", &tunnel_of_oslo]);
    let (sender, member) = (hub.sender(), oslo.member(GROUP));
    wait_for_path(&sender, GROUP, &member);
    let joined = hub.relay.read_proc_net("igmp").unwrap();
    assert!(joined.contains(GROUP_IN_TABLE) && !joined.contains("040201EF"), "{joined}");
    // A member on the hub's own network makes the relay receive the other group, and the site must not get it.
    let other = hub.member(Ipv4Addr::new(239, 1, 2, 4));
    for number in 0..50_u32 {
        sender.send_to(b"not wanted", (Ipv4Addr::new(239, 1, 2, 4), 5000)).unwrap();
        sender.send_to(&number.to_be_bytes(), (GROUP, 5000)).unwrap();
    }
    let mut buffer = [0; 64];
    for number in 0..50_u32 {
        let (length, _) = member.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..length], number.to_be_bytes());
    }
    drop(other);
    // Once the last member has left, nothing passes any more.
    drop(member);
    eventually("the leave upstream", || !hub.relay.read_proc_net("igmp").unwrap().contains(GROUP_IN_TABLE));
    let (_, at_hub) = stop(of_hub);
    let (_, summary) = stop(of_oslo);
    let (sent, received) = (&tunnel(&at_hub, "oslo")["sent"], &tunnel(&summary, "oslo")["received"]);
    assert_eq!(sent, received, "{at_hub} {summary}");
}

/// A box between a site and the hub, which records, repeats, changes and forges datagrams.
struct MiddleBox {
    stop: Arc<AtomicBool>,
    threads: [thread::JoinHandle<Vec<Vec<u8>>>; 2],
}

impl MiddleBox {
    /// Starts it at port 5700 of this address.
    fn on(host: &Host, address: &str) -> Self {
        let bind = |address: &str| host.run(|| UdpSocket::bind(address)).unwrap().unwrap();
        let (inner, outer) = (bind(&format!("{address}:5700")), bind(&format!("{address}:0")));
        for socket in [&inner, &outer] {
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let site = Arc::new(Mutex::new(HUB.parse().unwrap()));
        let hub = Arc::new(Mutex::new(HUB.parse().unwrap()));
        let carry = |from: &UdpSocket,
                     by: &UdpSocket,
                     to: &Arc<Mutex<SocketAddr>>,
                     origin: &Arc<Mutex<SocketAddr>>| {
            let (from, by, elsewhere) =
                (from.try_clone().unwrap(), by.try_clone().unwrap(), bind(&format!("{address}:0")));
            let (to, origin, stop) = (Arc::clone(to), Arc::clone(origin), Arc::clone(&stop));
            thread::spawn(move || {
                let (mut recorded, mut buffer) = (Vec::new(), [0; 2_000]);
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, source)) = from.recv_from(&mut buffer) else { continue };
                    *origin.lock().unwrap() = source;
                    let to = *to.lock().unwrap();
                    abuse(&by, &elsewhere, to, &buffer[..length], &mut recorded);
                }
                recorded
            })
        };
        let threads = [carry(&inner, &outer, &hub, &site), carry(&outer, &inner, &site, &hub)];
        Self { stop, threads }
    }

    /// Returns what it has recorded.
    fn stop(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

/// Carries a datagram, after a changed copy of it, twice, and with an old one from another address.
fn abuse(
    socket: &UdpSocket,
    elsewhere: &UdpSocket,
    to: SocketAddr,
    bytes: &[u8],
    recorded: &mut Vec<Vec<u8>>,
) {
    let mut changed = bytes.to_vec();
    changed[recorded.len() * 31 % bytes.len()] ^= 0x10;
    let old = recorded.get(recorded.len() / 2).map_or(bytes, Vec::as_slice);
    for (socket, bytes) in [(socket, changed.as_slice()), (socket, bytes), (socket, bytes), (elsewhere, old)]
    {
        socket.send_to(bytes, to).unwrap();
    }
    recorded.push(bytes.to_vec());
}

#[test]
fn replayed_changed_and_foreign_datagrams_produce_nothing_and_nothing_is_in_clear() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rule = "239.1.2.3:5000 from tunnel:oslo to eth0";
    let of_hub = sites.relay(&hub, &[rule, "--listen-tunnel", "0.0.0.0:5700"]);
    // What the box changes depends on how much it has carried: the hub answers the first datagram of a handshake. If the box
    // changes an answer with a token (Retry), the library discards the true one too, and the handshake fails.
    of_hub.stdout.wait_for(r#""event":"leg-up""#);
    let middle = sites.lab.host("middle").unwrap();
    middle.connect("wan", &sites.wan, &["203.0.113.50/24"]).unwrap();
    let middle = MiddleBox::on(&middle, "203.0.113.50");
    let rule = "239.1.2.3:5000 from eth0 to tunnel:oslo repair 2s";
    let of_oslo = sites.relay(&oslo, &[rule, "--tunnel", "oslo=203.0.113.50:5700"]);
    let (sender, member) = (oslo.sender(), hub.member(GROUP));
    wait_for_path(&sender, GROUP, &member);
    let intruder = sites.open_site("intruder", 13);
    let wrong = relay_unready(
        &intruder.relay,
        &[
            rule,
            "--tunnel",
            &format!("oslo={HUB}"),
            "--tunnel-key",
            &sites.key_of_stranger(&intruder.relay, &[rule]),
        ],
    );
    of_hub.stdout.wait_for(r#""event":"tunnel-wrong-key""#);
    let receiver = collect(member);
    stream(&sender, 0..200);
    let received = receiver.join().unwrap();
    let mut numbers: Vec<u32> = received.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    let recorded = middle.stop();
    assert!(recorded.len() > 200);
    let payload = payload(7);
    for clear in [&payload[100..116], b"anybody there?"] {
        let is_in_clear = |bytes: &Vec<u8>| bytes.windows(clear.len()).any(|part| part == clear);
        assert!(!recorded.iter().any(is_in_clear));
    }
    let (events, summary) = stop(wrong);
    assert!(of_type(&events, "tunnel-up").is_empty() && summary["tunnels"][0]["up"] == false, "{events:?}");
    let (events, summary) = stop(of_hub);
    let (_, of_oslo) = stop(of_oslo);
    assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "{summary} {of_oslo}");
    assert!(of_type(&events, "tunnel-moved").is_empty(), "{events:?}");
    assert!(dropped(&summary, "unsealed") > 300, "{summary}");
    assert_eq!(tunnel(&summary, "oslo")["lost"], 0, "{summary}");
}

/// Who removes a stolen key, also the last one of a tunnel, need not change the rules.
#[test]
fn a_peer_whose_key_is_removed_is_disconnected_and_refused() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rules = ["239.1.2.3:5000 from tunnel:oslo to eth0", "--listen-tunnel", "0.0.0.0:5700"];
    let of_hub = sites.relay(&hub, &rules);
    let dial = ["239.1.2.3:5000 from eth0 to tunnel:oslo", "--tunnel", &format!("oslo={HUB}")];
    let of_oslo = sites.relay(&oslo, &dial);
    let (sender, member) = (oslo.sender(), hub.member(GROUP));
    wait_for_path(&sender, GROUP, &member);

    let key = sites.file("hub.key");
    let with_peer = std::fs::read_to_string(&key).unwrap();
    std::fs::copy(sites.file("hub.private"), &key).unwrap();
    of_hub.child.signal(libc::SIGHUP).unwrap();
    of_hub.stdout.wait_for(r#""event":"tunnel-down""#);
    of_hub.stderr.wait_for("has no peer for tunnel:oslo");
    of_oslo.stdout.wait_for(r#""event":"tunnel-down""#);
    stop(of_oslo);
    let again = sites.relay(&oslo, &dial);
    of_hub.stdout.wait_for(r#""event":"tunnel-wrong-key""#);
    std::fs::write(&key, with_peer).unwrap();
    of_hub.child.signal(libc::SIGHUP).unwrap();
    again.stdout.wait_for(r#""event":"tunnel-up""#);
    wait_for_path(&sender, GROUP, &member);
    stop(again);
    stop(of_hub);

    // When its machine starts again, it serves what else it has rules for.
    std::fs::copy(sites.file("hub.private"), &key).unwrap();
    let restarted = relay_unready(&hub.relay, &[&rules[..], &["--tunnel-key", &key]].concat());
    restarted.stderr.wait_for("has no peer for tunnel:oslo");
    restarted.stdout.wait_for(r#""event":"leg-up""#);
    stop(restarted);
}

#[test]
fn in_a_ring_of_tunnels_each_site_gets_one_copy() {
    let sites = Sites::new();
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, number)| sites.open_site(name, number));
    let rule = |one: &str, other: &str| {
        format!("239.1.2.3:5000 between eth0 and tunnel:{one} and tunnel:{other} always")
    };
    let of_a = sites.relay(&a, &[&rule("ab", "ca"), "--listen-tunnel", "0.0.0.0:5700"]);
    let dial = ["ab=203.0.113.1:5700", "bc=203.0.113.2:5700", "ca=203.0.113.1:5700"];
    let of_b = sites.relay(&b, &[&rule("ab", "bc"), "--tunnel", dial[0], "--listen-tunnel", "0.0.0.0:5700"]);
    let of_c = sites.relay(&c, &[&rule("bc", "ca"), "--tunnel", dial[1], "--tunnel", dial[2]]);
    let members = [&a, &b, &c].map(|site| site.member(GROUP));
    for member in &members[1..] {
        wait_for_path(&a.sender(), GROUP, member);
    }
    // All pairs forward by now, and what was sent meanwhile has been read.
    for relay in [&of_a, &of_b, &of_c] {
        eventually("six directions", || relay.stdout.text().matches(r#""event":"forwarding""#).count() == 6);
    }
    for member in &members {
        member.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        while member.recv_from(&mut [0; 64]).is_ok() {}
    }
    let sender = a.sender();
    for _ in 0..100 {
        // Equal datagrams are not copies of each other.
        sender.send_to(b"the same", (GROUP, 5000)).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let counts = members.map(|member| {
        member.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        std::iter::from_fn(|| member.recv_from(&mut [0; 64]).ok()).count()
    });
    let summaries = [of_a, of_b, of_c].map(|relay| stop(relay).1);
    assert_eq!(counts, [100, 100, 100], "{summaries:?}");
    let refused = |reason| summaries.iter().map(|summary| refused(summary, reason)).sum::<u64>();
    assert!(refused("duplicate") + refused("returned") >= 200, "{summaries:?}");
}

#[test]
fn a_hub_that_is_killed_and_started_again_forwards_in_seconds() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rule = "239.1.2.3:5000 from eth0 to tunnel:oslo";
    let start = || sites.relay(&hub, &[rule, "--listen-tunnel", "0.0.0.0:5700"]);
    let mut of_hub = start();
    let dial = format!("oslo={HUB}");
    let of_oslo = sites.relay(&oslo, &["239.1.2.3:5000 from tunnel:oslo to eth0", "--tunnel", &dial]);
    let (sender, member) = (hub.sender(), oslo.member(GROUP));
    wait_for_path(&sender, GROUP, &member);
    of_hub.child.kill().unwrap();
    of_hub.child.wait().unwrap();
    let killed = Instant::now();
    let again = start();
    wait_for_path(&sender, GROUP, &member);
    assert!(killed.elapsed() < Duration::from_secs(14), "{:?}", killed.elapsed());
    stop(again);
    of_oslo.stdout.wait_for(r#""event":"tunnel-down""#);
    stop(of_oslo);
}

#[test]
fn answers_come_back_through_a_tunnel() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rule = "239.1.2.3:5000 between eth0 and tunnel:oslo";
    let of_hub = sites.relay(&hub, &[rule, "--listen-tunnel", "0.0.0.0:5700"]);
    let of_oslo = sites.relay(&oslo, &[rule, "--tunnel", &format!("oslo={HUB}")]);
    let (asker, member) = (sender(&hub.host, [10, 1, 0, 1].into()), oslo.member(GROUP));
    wait_for_path(&asker, GROUP, &member);
    asker.send_to(b"who is there?", (GROUP, 5000)).unwrap();
    let mut buffer = [0; 64];
    let (length, from) = member.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from.ip()), (&b"who is there?"[..], [10, 12, 0, 9].into()));
    member.send_to(b"I am", from).unwrap();
    asker.set_read_timeout(Some(TIMEOUT)).unwrap();
    let (length, responder) = asker.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], responder.ip()), (&b"I am"[..], [10, 1, 0, 9].into()));
    asker.send_to(b"good", responder).unwrap();
    let (length, again) = member.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], again), (&b"good"[..], from));
    stop(of_hub);
    stop(of_oslo);
}

#[test]
fn a_second_relay_of_a_site_stands_by_and_takes_over() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rule = "239.1.2.3:5000 between eth0 and tunnel:oslo";
    let dial = format!("oslo={HUB}");
    let of_hub = sites.relay(&hub, &[rule, "--listen-tunnel", "0.0.0.0:5700"]);
    let mut first = sites.relay(&oslo, &[rule, "--tunnel", &dial]);
    first.stdout.wait_for(r#""event":"tunnel-up""#);
    let second = sites.relay(&oslo, &[rule, "--tunnel", &dial]);
    second.stdout.wait_for(r#""event":"tunnel-refused""#);
    let (sender, member) = (hub.sender(), oslo.member(GROUP));
    wait_for_path(&sender, GROUP, &member);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    second.stdout.wait_for(r#""event":"tunnel-up""#);
    wait_for_path(&sender, GROUP, &member);
    stop(second);
    stop(of_hub);
}

#[test]
fn mistakes_with_tunnels_are_refused_with_a_remedy() {
    let sites = Sites::new();
    let (site, _peer) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rule = "239.1.2.3:5000 from eth0 to tunnel:oslo";
    let key = sites.key(&site, &[rule]);
    for (arguments, expected) in [
        (&[rule, "--tunnel-key", &key][..], "neither connects it nor listens for it"),
        (&[rule, "--tunnel", "oslo=hub:5700"], "--tunnel-key is missing"),
        (&[rule, "--tunnel", "oslo", "--tunnel-key", &key], "write NAME=HOST:PORT"),
        (
            &[rule, "--tunnel", "rome=hub:1", "--listen-tunnel", "0.0.0.0:1", "--tunnel-key", &key],
            "no rule names tunnel:rome",
        ),
        (&["239.1.2.3:5000 from eth0 to tunnel:a/b"], "is not the name of a tunnel"),
        (&["239.1.2.3:5000 from eth0 to eth1 repair 200ms"], "repair needs a tunnel"),
        (&[&format!("{rule} repair 1h"), "--tunnel", "oslo=hub:1"], "not a valid time for repairs"),
        (
            &[rule, "--listen-tunnel", "203.0.113.77:5700", "--tunnel-key", &key],
            "cannot listen for tunnels at 203.0.113.77:5700",
        ),
    ] {
        let ended = mcast(&site.relay, &[&["relay"], arguments].concat());
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
        assert!([Some(2), Some(4)].contains(&ended.status), "{ended:?}");
    }
}

#[test]
fn a_check_shows_the_state_of_a_tunnel_and_carries_nothing() {
    let sites = Sites::new();
    let (hub, oslo) = (sites.open_site("hub", 1), sites.open_site("oslo", 12));
    let rule = "239.1.2.3:5000 from tunnel:oslo to eth0";
    let dial = format!("oslo={HUB}");
    let check = || {
        let key = sites.key(&oslo, &[rule]);
        mcast(&oslo.relay, &["relay", "--check", "--json", rule, "--tunnel", &dial, "--tunnel-key", &key])
    };
    let down = check();
    assert_eq!(down.status, Some(1), "{down:?}");
    let of_hub =
        sites.relay(&hub, &["239.1.2.3:5000 from eth0 to tunnel:oslo", "--listen-tunnel", "0.0.0.0:5700"]);
    of_hub.stdout.wait_for(r#""event":"leg-up""#);
    let up = check();
    assert_eq!(up.status, Some(0), "{up:?}");
    assert!(up.text().contains(r#""event":"tunnel-up""#), "{up:?}");
    assert!(!hub.relay.read_proc_net("igmp").unwrap().contains(GROUP_IN_TABLE), "a check wants nothing");
    stop(of_hub);
}
