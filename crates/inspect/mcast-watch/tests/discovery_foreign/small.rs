//! CoAP with libcoap, and KNX with knxd: servers that only answer.

use std::collections::BTreeSet;

use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::{Running, Segment, found, has_programs, output, wait_until};

#[test]
fn servers_of_libcoap_have_the_resources_that_its_client_shows() {
    if !has_programs(&["coap-server-notls", "coap-client-notls"]) {
        return;
    }
    let segment = Segment::new(3, 0.0, 0);
    let start = |number: usize| {
        Running::start(&segment.hosts[number], "coap-server-notls", &["-g", "224.0.1.187", "-G", "eth0"])
    };
    let running: Vec<Running> = (0..3).map(start).collect();
    let discovery = segment.discover(true, false);
    let server = |entry: &Discovered| entry.addresses.iter().map(ToString::to_string).collect();
    let expected: BTreeSet<String> = (1..=3).map(|number| format!("10.0.0.{number}")).collect();
    let took = wait_until("all servers", &discovery, &expected, || {
        found(&discovery, DiscoveryProtocol::Coap, server)
    });
    eprintln!("all servers after {took:?}");
    let entries = discovery.entries();
    for entry in entries.iter().filter(|entry| entry.key.protocol == DiscoveryProtocol::Coap) {
        let url = format!("coap://{}/.well-known/core", entry.addresses[0]);
        let list = output(&segment.watcher, "coap-client-notls", &["-B", "3", &url]);
        let shown: BTreeSet<&str> = list
            .split(",<")
            .filter_map(|link| Some(link.trim_start_matches('<').split_once('>')?.0))
            .collect();
        let known: BTreeSet<String> = entry.fields.iter().map(|field| field.name.to_string()).collect();
        assert!(!shown.is_empty(), "{list:?}");
        assert_eq!(known.iter().map(String::as_str).collect::<BTreeSet<_>>(), shown, "{list:?}");
    }
    drop(running);
}

#[test]
fn servers_of_knxd_are_found_by_asking() {
    if !has_programs(&["knxd"]) {
        return;
    }
    let segment = Segment::new(2, 0.0, 0);
    let start = |number: usize| {
        let (name, address) = (format!("House {number}"), format!("1.1.{}", number + 1));
        let arguments =
            ["-n", &name, "-e", &address, "-E", "1.2.1:4", "-D", "-T", "-R", "-S", "-b", "dummy:"];
        Running::start(&segment.hosts[number], "knxd", &arguments)
    };
    let running: Vec<Running> = (0..2).map(start).collect();
    let discovery = segment.discover(true, false);
    let server = |entry: &Discovered| {
        vec![(entry.name.to_string(), entry.addresses.iter().map(ToString::to_string).collect())]
    };
    let expected: BTreeSet<(String, Vec<String>)> =
        (0..2).map(|number| (format!("House {number}"), vec![format!("10.0.0.{}", number + 1)])).collect();
    let took = wait_until("both servers", &discovery, &expected, || {
        found(&discovery, DiscoveryProtocol::Knx, server)
    });
    eprintln!("both servers after {took:?}");
    drop(running);
}
