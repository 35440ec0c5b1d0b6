//! WS-Discovery with wsdd, by which Samba servers show themselves to Windows, and which can look for others.

use std::collections::BTreeSet;

use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::{Running, Segment, found, has_programs, output, wait_until};

/// Searches as wsdd does for Windows' computers, and logs what answers.
const BROWSER: &str = "timeout 10 wsdd -D -o -4 -vv -i eth0 2>&1";

fn id(entry: &Discovered) -> Vec<String> {
    vec![entry.key.id.to_string()]
}

fn identifier(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn start(segment: &Segment, number: usize) -> Running {
    let (id, name) = (identifier(number), format!("HOST{number}"));
    let host = &segment.hosts[number];
    Running::start(host, "/usr/sbin/wsdd", &["-i", "eth0", "-U", &id, "-n", &name])
}

#[test]
fn computers_of_wsdd_are_found_by_asking_and_by_listening_and_leave_with_a_bye() {
    if !has_programs(&["wsdd"]) {
        return;
    }
    let segment = Segment::new(3, 0.0, 0);
    let urn = |number: usize| format!("urn:uuid:{}", identifier(number));
    let mut running: Vec<Running> = (0..2).map(|number| start(&segment, number)).collect();
    let two: BTreeSet<String> = (0..2).map(urn).collect();
    let find = |discovery| found(discovery, DiscoveryProtocol::WsDiscovery, id);
    // They say Hello after some seconds. From then on, they are silent unless they are asked.
    let first = segment.discover(false, true);
    wait_until("a first Hello", &first, &two, || find(&first));
    let log = output(&segment.watcher, "sh", &["-c", BROWSER]);
    let matches =
        log.lines().filter_map(|line| Some(line.split_once("match for ")?.1.split(' ').next()?.to_owned()));
    assert_eq!(matches.collect::<BTreeSet<_>>(), two, "the specialist");
    let asking = segment.discover(true, false);
    let took = wait_until("asked", &asking, &two, || find(&asking));
    eprintln!("found by asking after {took:?}");
    // A listener learns of the third by its Hello alone.
    let listening = segment.discover(false, true);
    running.push(start(&segment, 2));
    wait_until("a Hello", &listening, &BTreeSet::from([urn(2)]), || find(&listening));
    let three: BTreeSet<String> = (0..3).map(urn).collect();
    wait_until("a Hello while asking", &asking, &three, || find(&asking));
    running.pop().unwrap().end();
    wait_until("a Bye", &listening, &BTreeSet::new(), || find(&listening));
    wait_until("a Bye while asking", &asking, &two, || find(&asking));
    let entries = asking.entries();
    let computer = entries.iter().find(|entry| entry.key.protocol == DiscoveryProtocol::WsDiscovery).unwrap();
    assert_eq!(computer.name.to_string(), "Computer");
}
