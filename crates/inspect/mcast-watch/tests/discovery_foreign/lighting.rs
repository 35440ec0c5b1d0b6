//! sACN with the package `sacn`; Art-Net with the daemon of OLA.

use std::collections::BTreeSet;

use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::{Running, Segment, found, has_modules, has_programs, wait_until};

/// Sends universes, the numbers among its arguments, under the name that is its first one.
const SENDER: &str = r#"
import signal, sys, threading
import sacn
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
sender = sacn.sACNsender(bind_address=sys.argv[2], source_name=sys.argv[1], universeDiscovery=True)
sender.start()
for universe in sys.argv[3:]:
    sender.activate_output(int(universe))
    sender[int(universe)].multicast = True
    sender[int(universe)].priority = 150
print("ready", flush=True)
end.wait()
sender.stop()
"#;

fn start(segment: &Segment, number: usize, name: &str, universes: &[&str]) -> Running {
    let address = format!("10.0.0.{}", number + 1);
    let arguments = [&["-c", SENDER, name, &address], universes].concat();
    Running::ready(&segment.hosts[number], "python3", &arguments)
}

fn universe(entry: &Discovered) -> Vec<(String, String)> {
    vec![(entry.name.to_string(), entry.service.to_string())]
}

#[test]
fn universes_of_senders_are_listed_by_data_or_by_lists_and_leave_with_them() {
    if !has_modules("python3", &["sacn"]) {
        return;
    }
    let segment = Segment::new(2, 0.0, 0);
    // This sender broadcasts its lists, which only a capture sees; the sockets join the groups of the universes.
    let discoveries = [segment.discover(false, true), segment.discover(false, false)];
    let main = start(&segment, 0, "Main", &["1", "2"]);
    let backup = start(&segment, 1, "Backup", &["1", "7"]);
    let named = |name: &str, universes: [u16; 2]| {
        universes.map(|universe| (name.to_owned(), format!("universe {universe}")))
    };
    let all: BTreeSet<_> = [named("Main", [1, 2]), named("Backup", [1, 7])].into_iter().flatten().collect();
    let find = |discovery| found(discovery, DiscoveryProtocol::Sacn, universe);
    for discovery in &discoveries {
        let took = wait_until("all universes", discovery, &all, || find(discovery));
        eprintln!("all universes after {took:?}");
    }
    let priorities = found(&discoveries[0], DiscoveryProtocol::Sacn, |entry| {
        let field = entry.fields.iter().find(|field| field.name.as_bytes() == b"priority");
        vec![field.map(|field| field.value.to_string())]
    });
    assert_eq!(priorities, BTreeSet::from([Some("150".to_owned())]));
    // One ends as it should, with a termination; the other one is killed.
    main.end();
    let left: BTreeSet<_> = named("Backup", [1, 7]).into_iter().collect();
    wait_until("terminated", &discoveries[0], &left, || find(&discoveries[0]));
    backup.kill();
    for discovery in &discoveries {
        let took = wait_until("no data, no lists", discovery, &BTreeSet::new(), || find(discovery));
        eprintln!("lapsed after {took:?}");
    }
}

/// The settings of OLA for Art-Net, with this name.
fn settings(folder: &std::path::Path, name: &str) {
    let plugins = ["artnet"];
    let text = format!(
        "enabled = true\nalways_broadcast = false\nip = \nlong_name = {name} of OLA\nnet = 0\noutput_ports = 1\n\
         short_name = {name}\nsubnet = 0\nuse_limited_broadcast = true\nuse_loopback = false\n"
    );
    for plugin in plugins {
        std::fs::write(folder.join(format!("ola-{plugin}.conf")), &text).unwrap();
    }
    for other in [
        "dummy",
        "e131",
        "espnet",
        "ftdidmx",
        "gpio",
        "karate",
        "kinet",
        "milinst",
        "nanoleaf",
        "opendmx",
        "openpixelcontrol",
        "osc",
        "pathport",
        "renard",
        "sandnet",
        "shownet",
        "spi",
        "stageprofi",
        "uartdmx",
        "usbdmx",
        "usbserial",
    ] {
        std::fs::write(folder.join(format!("ola-{other}.conf")), "enabled = false\n").unwrap();
    }
}

#[test]
fn nodes_of_ola_are_found_by_asking() {
    if !has_programs(&["olad", "setpriv"]) {
        return;
    }
    let segment = Segment::new(2, 0.0, 0);
    let folder = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).unwrap();
    let running: Vec<Running> = segment
        .hosts
        .iter()
        .map(|host| {
            let path = folder.path().join(host.name());
            std::fs::create_dir(&path).unwrap();
            settings(&path, host.name());
            // It does not run as root, and writes its settings.
            for entry in
                std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).chain([path.clone()])
            {
                std::os::unix::fs::chown(entry, Some(65_534), Some(65_534)).unwrap();
            }
            let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "olad"];
            let arguments = ["--no-http", "-c", path.to_str().unwrap(), "-l", "0"];
            Running::start(host, "setpriv", &[&user[..], &arguments].concat())
        })
        .collect();
    let discovery = segment.discover(true, false);
    let expected: BTreeSet<(String, String)> = ["h1", "h2"]
        .iter()
        .map(|name| (format!("{name} of OLA"), format!("10.0.0.{}", &name[1..])))
        .collect();
    let node = |entry: &Discovered| {
        entry.addresses.iter().map(|address| (entry.name.to_string(), address.to_string())).collect()
    };
    let took = wait_until("both nodes", &discovery, &expected, || {
        discovery.ask();
        found(&discovery, DiscoveryProtocol::ArtNet, node)
    });
    eprintln!("both nodes after {took:?}");
    drop(running);
}
