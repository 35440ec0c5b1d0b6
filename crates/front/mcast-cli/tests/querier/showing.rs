//! Known queriers are shown.

use std::time::Duration;

use mcast_lab::SwitchOptions;

use crate::network::{Network, become_querier};
use crate::schemas::assert_valid;
use crate::support::{MCAST, mcast, program};

fn quick() -> SwitchOptions {
    SwitchOptions::managed()
        .query_interval(Duration::from_secs(1))
        .query_response_interval(Duration::from_millis(500))
        .querier_address("10.0.0.254/24".parse().unwrap())
}

#[test]
fn a_querier_is_shown_as_soon_as_it_is_known() {
    let network = Network::new(quick());
    let ended = mcast(&network.a, &["querier"]).succeeded();
    let row = |protocol: &str| {
        let rows = ended.lines().into_iter().filter(|line| line.starts_with("eth0")).map(str::to_owned);
        rows.into_iter().find(|row| row.contains(&format!(" {protocol} "))).unwrap()
    };
    let igmp = row("IGMP");
    assert!(igmp.contains("10.0.0.254") && igmp.contains("IGMPv3") && igmp.contains("1 s"), "{igmp}");
    let mld = row("MLD");
    assert!(mld.contains("fe80::") && mld.contains("MLDv2"), "{mld}");
    let objects = mcast(&network.a, &["querier", "-4", "--json", "-W", "3s"]).succeeded().json();
    objects.iter().for_each(|object| assert_valid("querier-event", object));
    let last = objects.last().unwrap();
    assert_eq!((&last["event"], &last["address"]), (&"querier".into(), &"10.0.0.254".into()));
    assert_eq!((&last["version"], &last["robustness"]), (&3.into(), &2.into()));
    assert!(last["queries"].as_u64().unwrap() >= 2, "{last}");
    let observed = last["observed_interval_seconds"].as_f64().unwrap();
    assert!((0.5..2.0).contains(&observed), "{last}");
}

#[test]
fn silence_is_explained() {
    let network = Network::without_querier(Duration::from_secs(260));
    let ended = mcast(&network.a, &["querier", "-W", "300ms"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(ended.text().matches("none known").count(), 2, "{ended:?}");
    assert!(ended.stderr.contains("which proves nothing") && ended.stderr.contains("125 s"), "{ended:?}");
    let objects = mcast(&network.a, &["querier", "-W", "100ms", "--json"]).json();
    objects.iter().for_each(|object| assert_valid("querier-event", object));
    assert!(objects.iter().all(|object| object["event"] == "silent"), "{objects:?}");
}

#[test]
fn a_provoked_querier_is_found_sooner() {
    let slow = SwitchOptions::managed().querier_address("10.0.0.254/24".parse().unwrap());
    let network = Network::new(slow);
    // The startup queries are over.
    let ended = mcast(&network.a, &["querier", "--provoke"]).succeeded();
    assert!(ended.text().contains("10.0.0.254"), "{ended:?}");
}

#[test]
fn the_state_of_a_bridge_is_shown_to_ordinary_users_at_once() {
    let network = Network::without_querier(Duration::from_secs(260));
    let inside = network.switch.inside();
    let _querier = become_querier(&network.b, &[]);
    let bridge = || {
        let drop = ["--bounding-set=-net_raw", MCAST, "querier", "-i", "br0", "--json"];
        program(&inside, "setpriv", &drop, false).end()
    };
    crate::support::eventually("the bridge to know", || bridge().text().contains("10.0.0.2"));
    let ended = bridge();
    // It cannot capture, which is reported; the state of the kernel is still shown.
    assert_eq!(ended.status, Some(3), "{ended:?}");
    let records: Vec<_> = ended.json().into_iter().filter(|object| object["event"] == "bridge").collect();
    assert_eq!(records.len(), 2, "{records:?}");
    for object in records {
        assert_valid("querier-event", &object);
        assert!(object["expires_seconds"].as_f64().unwrap() > 200.0, "{object}");
    }
}

#[test]
fn two_queriers_are_shown_and_every_query_is_reported() {
    let network = Network::without_querier(Duration::from_secs(260));
    let _b = become_querier(&network.b, &["--query-interval", "10s", "--response-interval", "1s"]);
    let following = program(&network.a, MCAST, &["querier", "-4", "--watch"], false);
    following.stderr.wait_for("listening for queries");
    let _c = become_querier(&network.c, &["--query-interval", "10s", "--response-interval", "1s"]);
    following.stdout.wait_for("10.0.0.2 IGMPv3 general query");
    following.stdout.wait_for("10.0.0.3 IGMPv3 general query");
    let ended = following.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let table = ended.text().split("interface").nth(1).unwrap();
    let (first, second) = (table.find("10.0.0.2").unwrap(), table.find("10.0.0.3").unwrap());
    assert!(first < second, "{table}");
}
