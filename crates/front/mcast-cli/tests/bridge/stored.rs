//! Every message is stored once and in order, and each gap is one record.

use crate::audit::{Audit, audit, records};
use crate::engine::{Engine, Setup, scenarios};
use crate::network::{Network, close, text, write};
use crate::support::{TIMEOUT, eventually, start};

scenarios! {
    every_message_is_stored_once_and_in_order_over_a_network_that_loses_a_twentieth
    a_bridge_that_is_restarted_continues_after_what_is_stored
    messages_that_nobody_has_are_one_gap_record
    two_bridges_with_different_losses_store_everything
}

/// 1,000,000 with `MCAST_BRIDGE_MESSAGES=1000000`.
fn messages() -> u64 {
    std::env::var("MCAST_BRIDGE_MESSAGES").map_or(20_000, |text| text.parse().unwrap())
}

fn checked(engine: &impl Engine) -> Audit {
    audit(&engine.entries(), |_, number| Some(text(number)))
}

fn every_message_is_stored_once_and_in_order_over_a_network_that_loses_a_twentieth<T: Engine>() {
    let network = Network::new([0.05, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &engine, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..messages());
    close(&mut publisher);
    publisher.end().succeeded();
    let (_, summary) = records(&bridge.end().succeeded());
    let stored = checked(&engine);
    assert_eq!((stored.messages, stored.gaps.len(), stored.ends), (messages(), 0, 1));
    assert_eq!((&summary["messages"], &summary["gaps"]), (&messages().into(), &0.into()));
}

fn a_bridge_that_is_restarted_continues_after_what_is_stored<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &engine, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..1_000);
    eventually("1,000 messages", || engine.length() == 1_000);
    bridge.child.kill().unwrap();
    write(&mut publisher, 1_000..2_000);
    let bridge = network.bridge(0, &engine, &[]);
    eventually("2,000 messages", || engine.length() == 2_000);
    close(&mut publisher);
    publisher.end();
    bridge.end().succeeded();
    let stored = checked(&engine);
    assert_eq!((stored.messages, stored.gaps.len(), stored.ends), (2_000, 0, 1));
}

fn messages_that_nobody_has_are_one_gap_record<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &engine, &["--hole-wait", "300ms"]);
    // It retains little, and waits for nobody.
    let witness = start(&network.bridges[1], &["subscribe", "239.1.2.4%eth0:7000", "--name", "prices"]);
    let mut publisher = network.publish(&["--wait-for", "2", "--flow", "none", "--history", "128K"]);
    write(&mut publisher, 0..100);
    eventually("100 messages", || engine.length() == 100);
    network.links[0].cut().unwrap();
    write(&mut publisher, 100..20_000);
    witness.stdout.wait_for("message 19999 ");
    network.links[0].restore().unwrap();
    write(&mut publisher, 20_000..20_100);
    eventually("the last message", || engine.entries().last().is_some_and(|last| last.number == 20_099));
    close(&mut publisher);
    publisher.end();
    witness.end();
    let ended = bridge.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let (events, summary) = records(&ended);
    let stored = checked(&engine);
    let [(first, Some(end), _)] = &stored.gaps[..] else { panic!("{:?}", stored.gaps) };
    assert_eq!(stored.messages + (end - first), 20_100);
    let gaps: Vec<_> = events.iter().filter(|event| event["event"] == "gap").collect();
    assert_eq!((gaps.len(), &gaps[0]["sequence"]), (1, &(*first).into()));
    assert_eq!(summary["missing"], end - first);
}

fn two_bridges_with_different_losses_store_everything<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridges = [0, 1].map(|index| network.bridge(index, &engine, &[]));
    let options = ["--wait-for", "2", "--flow", "none", "--history", "256K", "--rate", "4000pps"];
    let mut publisher = network.publish(&options);
    write(&mut publisher, 0..5_000);
    // Both have joined.
    eventually("5,000 messages", || engine.length() == 5_000);
    for (index, link) in network.links.iter().enumerate() {
        let first = 5_000 + 12_000 * index as u64;
        link.cut().unwrap();
        write(&mut publisher, first..first + 12_000);
        eventually("what the other bridge has", || engine.length() >= first + 11_900);
        link.restore().unwrap();
    }
    close(&mut publisher);
    publisher.end();
    let losses = bridges.map(|bridge| {
        // A publisher that had given up a bridge ends without it, and the bridge looks for it for 30 s.
        let (events, summary) = records(&bridge.end_within(2 * TIMEOUT));
        assert_eq!(summary["gaps"], 0, "{events:?}");
        events.iter().filter(|event| event["event"] == "lost").count()
    });
    assert!(losses.iter().any(|losses| *losses > 0), "no bridge lost anything");
    let stored = checked(&engine);
    assert_eq!((stored.messages, stored.gaps.len()), (29_000, 0));
}
