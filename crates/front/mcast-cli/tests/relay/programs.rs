//! Programs that others wrote, on both sides of a relay.

use std::process::Command;

use mcast_lab::Host;

use crate::network::{Network, relay, stop, texts};
use crate::support::{Running, eventually, program, recv, send};

const GROUP: &str = "239.1.2.3:5000";
/// 239.1.2.3 as the kernel lists it.
const GROUP_IN_TABLE: &str = "030201EF";

/// Returns whether a program is installed. Where nothing may be skipped, it has to be.
fn is_installed(name: &str) -> bool {
    let is_found =
        Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", name]).status().unwrap().success();
    if !is_found {
        mcast_lab::skip(format_args!("a relay beside {name}: it is not installed"));
    }
    is_found
}

fn has_joined(host: &Host) -> bool {
    host.read_proc_net("igmp").unwrap().contains(GROUP_IN_TABLE)
}

/// Starts a multicast router between `eth0`, where the sources are, and `eth1`.
fn igmpproxy(host: &Host, folder: &std::path::Path) -> Running {
    let settings = "quickleave\nphyint eth0 upstream ratelimit 0 threshold 1\n  altnet 10.0.0.0/8\n\
        phyint eth1 downstream ratelimit 0 threshold 1\nphyint lo disabled\n";
    let file = folder.join("igmpproxy.conf");
    std::fs::write(&file, settings).unwrap();
    let running = program(host, "/usr/sbin/igmpproxy", &["-n", "-v", file.to_str().unwrap()], false);
    eventually("a multicast router", || host.read_proc_net("ip_mr_vif").unwrap().contains("eth1"));
    running
}

/// The router joins, and forwards, only what a host behind the relay has joined.
#[test]
fn a_multicast_router_upstream_forwards_only_while_a_host_downstream_has_joined() {
    if !is_installed("/usr/sbin/igmpproxy") {
        return;
    }
    let network = Network::new(3);
    let (a, m) = (network.host("a", 1, &[1]), network.host("m", 8, &[1, 2]));
    let (r, b) = (network.host("r", 9, &[2, 3]), network.host("b", 2, &[3]));
    // The sender is not on the relay's segment.
    r.add_route_via("10.0.1.0/24", "10.0.2.8").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let _router = igmpproxy(&m, folder.path());
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1"]);
    assert!(!has_joined(&r) && !has_joined(&m), "nobody wants it");

    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
    eventually("a join of the router", || has_joined(&m));
    send(&a, &[GROUP, "-i", "eth0", "--ttl", "8", "wanted"]);
    assert_eq!(texts(&receiver.end()), ["wanted"]);

    eventually("the leave of the router", || !has_joined(&m));
    // The router asks twice whether others are left.
    eventually("a router that forwards to nobody", || {
        let routes = m.read_proc_net("ip_mr_cache").unwrap();
        !routes.lines().any(|route| route.starts_with(GROUP_IN_TABLE) && is_forwarding(route))
    });
    let (_, summary) = stop(relay);
    assert_eq!(summary["rules"][0]["copies"], 1, "{summary}");
}

/// Returns whether a route of the kernel's table names an interface, and the TTL for it, after its six columns.
fn is_forwarding(route: &str) -> bool {
    route.split_whitespace().count() > 6
}

#[test]
fn iperf_measures_no_loss_in_a_namespace_without_routes() {
    if !is_installed("iperf") {
        return;
    }
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]));
    a.add_route("224.0.0.0/4", "eth0").unwrap();
    let inside = network.host("inside", 5, &[2]);
    let server = ["-s", "-u", "-B", "239.1.2.3%eth0", "-p", "5000", "-P", "1"];
    let server = program(&inside, "iperf", &server, false);
    let leg = format!("netns:{}/eth0", server.child.id());
    let relay = relay(&r, &[&format!("239.1.2.3:5000 from eth0 to {leg} always")]);
    let client = ["-c", "239.1.2.3", "-u", "-p", "5000", "-T", "8", "-t", "1", "-b", "8M"];
    program(&a, "iperf", &client, false).end().succeeded();
    server.stdout.wait_for("(0%)");
    stop(relay);
}
