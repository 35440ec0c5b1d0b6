//! The election among several queriers.

use std::time::Duration;

use mcast_lab::SwitchOptions;

use crate::network::{Network, become_querier, link_local};

#[test]
fn the_lowest_address_is_elected_and_the_next_takes_over() {
    let network = Network::without_querier(Duration::from_secs(260));
    let (c, b) = (become_querier(&network.c, &[]), become_querier(&network.b, &[]));
    let second = link_local(&b);
    for (protocol, lower) in [("IGMP", "10.0.0.2"), ("MLD", second.as_str())] {
        c.stdout.wait_for(&format!("{protocol} stops sending queries: {lower} has a lower address"));
    }
    let a = become_querier(&network.a, &[]);
    let lowest = link_local(&a);
    for (protocol, lower) in [("IGMP", "10.0.0.1"), ("MLD", lowest.as_str())] {
        b.stdout.wait_for(&format!("{protocol} stops sending queries: {lower} has a lower address"));
    }
    let ended = a.signalled(libc::SIGTERM);
    assert!(!ended.text().contains("stops sending queries"), "{ended:?}");
    // Twice the query interval and half of the response interval later.
    for (protocol, lower) in [("IGMP", "10.0.0.1"), ("MLD", lowest.as_str())] {
        b.stdout.wait_for(&format!("{protocol} sends queries again: {lower} has gone silent"));
    }
    let (b, c) = (b.signalled(libc::SIGTERM), c.signalled(libc::SIGTERM));
    assert!(b.stderr.contains("eth0 IGMP: was the querier"), "{b:?}");
    assert!(c.stderr.contains("eth0 IGMP: 10.0.0.2 was the querier"), "{c:?}");
}

#[test]
fn the_kernels_querier_takes_part_in_the_election() {
    let options = || {
        SwitchOptions::managed()
            .query_interval(Duration::from_secs(1))
            .query_response_interval(Duration::from_millis(500))
    };
    // With a lower address it continues, and stays the querier.
    let network = Network::new(options().querier_address("9.0.0.254/8".parse().unwrap()));
    let c = become_querier(
        &network.c,
        &["-4"].map(|_| "--robustness").into_iter().chain(["2"]).collect::<Vec<_>>(),
    );
    c.stdout.wait_for("IGMP stops sending queries: 9.0.0.254");
    c.signalled(libc::SIGINT);
    // With a higher address it stops, and its bridge knows the elected querier.
    let network = Network::new(options().querier_address("10.0.0.254/24".parse().unwrap()));
    let a = become_querier(&network.a, &[]);
    let inside = network.switch.inside();
    crate::support::eventually("the bridge to know the other", || {
        let ended = crate::support::mcast(&inside, &["querier", "-i", "br0", "-4", "-W", "50ms"]);
        ended.text().contains("10.0.0.1 ") && ended.text().contains("bridge br0")
    });
    let ended = a.signalled(libc::SIGINT);
    assert!(ended.stderr.contains("eth0 IGMP: was the querier"), "{ended:?}");
}
