//! Wrong cabling, and boxes that relay without a guard.

use crate::network::{
    Network, address, of_type, records, refused, relay, relay_unready, sender, stop, texts,
};
use crate::support::{Running, eventually, program, recv};

const GROUP: &str = "239.1.2.3:5000";
const RULE: &str = "239.1.2.3:5000 between eth0 and eth1 always";

#[test]
fn two_legs_on_the_same_segment_are_not_connected() {
    let network = Network::new(1);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]));
    // The other leg, by mistake on the same segment.
    let other = network.host("x", 10, &[1]);
    let holder = program(&other, "sleep", &["60"], false);
    let leg = format!("netns:{}/eth0", holder.child.id());
    let relay = relay_unready(&r, &[&format!("239.1.2.3:5000 between eth0 and {leg} always")]);
    relay.stdout.wait_for(r#""event":"same-segment""#);
    let receiver = recv(&a, &[GROUP, "-i", "eth0", "--json", "--idle", "1s"]);
    let socket = sender(&a, address(1, 1));
    for number in 0..20 {
        socket.send_to(number.to_string().as_bytes(), GROUP).unwrap();
    }
    let received = receiver.end();
    assert_eq!(texts(&received).len(), 20, "its own only: {received:?}");
    let (events, summary) = stop(relay);
    assert_eq!(summary["rules"][0]["copies"], 0, "{summary}");
    assert!(of_type(&events, "same-segment")[0]["remedy"].is_string());
    holder.child.kill().unwrap();
}

/// A relay without any guard: two programs on one host, one for each direction. It does not receive what it sends.
fn foreign(network: &Network) -> Option<[Running; 2]> {
    if !mcast_lab::has_program("socat", "-V", "beside a relay without a guard") {
        return None;
    }
    let host = network.host("foreign", 50, &[1, 2]);
    let one_way = |from: u8, to: u8| {
        let interface = from - 1;
        let membership = format!("ip-add-membership=239.1.2.3:10.0.{from}.50,so-bindtodevice=eth{interface}");
        let receive = format!("UDP4-RECV:5000,reuseaddr,{membership}");
        let send = format!(
            "UDP4-DATAGRAM:239.1.2.3:5000,ip-multicast-if=10.0.{to}.50,ip-multicast-ttl=8,ip-multicast-loop=0"
        );
        program(&host, "socat", &["-u", "-b", "65536", &receive, &send], false)
    };
    let running = [one_way(1, 2), one_way(2, 1)];
    eventually("a foreign relay on both segments", || {
        host.read_proc_net("igmp").unwrap().matches("030201EF").count() == 2
    });
    Some(running)
}

#[test]
fn a_relay_without_a_guard_makes_no_storm_of_our_copies_and_is_named() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let Some(foreign) = foreign(&network) else { return };
    let relay = relay(&r, &[RULE]);
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "--idle", "2s", "-W", "25s"]);
    let socket = sender(&a, address(1, 1));
    const DATAGRAMS: u64 = 40;
    for number in 0..DATAGRAMS {
        socket.send_to(number.to_string().as_bytes(), GROUP).unwrap();
    }
    relay.stdout.wait_for(r#""event":"loop-found""#);
    let received = texts(&receiver.end());
    for number in 0..DATAGRAMS {
        assert!(received.contains(&number.to_string()), "{number} is missing");
    }
    // Those that came, two copies of each, and those that it takes to recognize the culprit.
    let (events, summary) = stop(relay);
    let copies = summary["rules"][0]["copies"].as_u64().unwrap();
    assert!(copies <= 2 * DATAGRAMS + 2 * 64, "{copies} copies: {summary}");
    assert!(refused(&summary, "echo") > 0, "{summary}");
    for event in of_type(&events, "loop-found") {
        let culprit = event["address"].as_str().unwrap();
        assert!(["10.0.2.50", "10.0.1.50"].contains(&culprit), "{event}");
        assert_eq!(event["mac"].as_str().map(str::len), Some("02:00:00:00:00:00".len()), "{event}");
    }
    foreign.iter().for_each(|running| running.child.kill().unwrap());
}

#[test]
fn a_loop_makes_the_exit_status_1() {
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]));
    let Some(foreign) = foreign(&network) else { return };
    let relay = relay(&r, &[RULE, "-W", "8s"]);
    let socket = sender(&a, address(1, 1));
    // On a busy machine, one burst does not always suffice.
    let mut numbers = 0_u32..;
    eventually("a loop", || {
        let number = numbers.next().unwrap();
        socket.send_to(number.to_string().as_bytes(), GROUP).unwrap();
        relay.stdout.text().contains(r#""event":"loop-found""#)
    });
    let ended = relay.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(records(&ended).1["loops"].as_u64() > Some(0));
    foreign.iter().for_each(|running| running.child.kill().unwrap());
}
