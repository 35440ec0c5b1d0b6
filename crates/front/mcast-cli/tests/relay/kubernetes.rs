//! The manifests of Kubernetes: their command lines run as written, with the rights that they grant, and network namespaces stand in
//! for nodes and pods.

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use mcast_lab::Host;

use crate::network::{Network, address, sender};
use crate::support::{MCAST, Running, eventually, program};

/// Returns a manifest.
fn manifest(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../packaging/kubernetes");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Returns the first list of this name, which is written in one line.
fn list(manifest: &str, name: &str) -> Vec<String> {
    let (_, rest) = manifest.split_once(&format!("{name}: [")).unwrap();
    serde_json::from_str(&format!("[{}]", rest.split_once(']').unwrap().0)).unwrap()
}

/// Starts `mcast` as this user, with these capabilities and no way to get others, as a container is started.
fn container(host: &Host, user: u32, capabilities: &[String], arguments: &[String]) -> Running {
    let added: String =
        capabilities.iter().map(|capability| format!(",+{}", capability.to_lowercase())).collect();
    let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
    let bounding = format!("--bounding-set=-all{added}");
    let options = ["--no-new-privs", "--clear-groups", "--inh-caps=-all", &bounding, &user, &group, MCAST];
    let arguments: Vec<&str> = options.into_iter().chain(arguments.iter().map(String::as_str)).collect();
    program(host, "setpriv", &arguments, false)
}

/// Whether setpriv is there, and this is root: users of a user namespace cannot become others.
pub(crate) fn can_drop_rights() -> bool {
    let is_root = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"))
        && Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root || Command::new("setpriv").arg("--version").output().is_err() {
        mcast_lab::skip("containers without rights: needs root and setpriv");
        return false;
    }
    true
}

/// Returns what the probe of a node or pod gets at this path.
fn probe(host: &Host, path: &str) -> String {
    let url = format!("http://127.0.0.1:9479{path}");
    program(host, "curl", &["-s", "-w", "%{http_code}", "-o", "/dev/null", &url], false)
        .end()
        .text()
        .to_owned()
}

/// Returns the capabilities that a process may use, as `/proc` shows them.
fn effective(running: &Running) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim().to_owned()
}

#[test]
fn the_relay_of_each_node_forwards_what_a_pod_joins_with_no_right_but_net_raw() {
    if !can_drop_rights() {
        return;
    }
    let network = Network::new(2);
    let (outside, pod) = (network.host("outside", 1, &[1]), network.host("pod", 2, &[2]));
    let node = network.host("node", 9, &[1]);
    network.connect(&node, "cni0", 9, 2);
    let manifest = manifest("relay.yaml");
    let folder = tempfile::tempdir().unwrap();
    let (_, rules) = manifest.split_once("rules: |\n").unwrap();
    let rules: Vec<&str> = rules.lines().map_while(|line| line.strip_prefix("    ")).collect();
    fs::write(folder.path().join("rules"), rules.join("\n") + "\n").unwrap();
    let mounted = folder.path().display().to_string();
    let arguments: Vec<String> =
        list(&manifest, "args").iter().map(|text| text.replace("/etc/mcast", &mounted)).collect();
    assert!(arguments.iter().any(|text| text.starts_with(&mounted)), "{arguments:?}");
    assert!(manifest.contains("runAsUser: 0") && list(&manifest, "drop") == ["ALL"]);
    let added = list(&manifest, "add");
    assert_eq!(added, ["NET_RAW"]);
    let relay = container(&node, 0, &added, &arguments);
    eventually("a relay that is ready", || probe(&node, "/ready") == "200");
    assert_eq!(effective(&relay), "0000000000002000", "CAP_NET_RAW");
    assert_eq!(probe(&node, "/live"), "200");
    let joined = |group: &str| node.read_proc_net("igmp").unwrap().contains(group);
    assert!(!joined("0301FFEF"), "no pod has joined a group");
    let receiver = mcast_recv(&pod, "239.255.1.3:5000");
    let socket = sender(&outside, address(1, 1));
    eventually("a datagram in the pod", || {
        socket.send_to(b"price", "239.255.1.3:5000").unwrap();
        receiver.stdout.text().contains("price")
    });
    receiver.signalled(libc::SIGINT);
    let ended = relay.signalled(libc::SIGTERM);
    assert!(ended.stderr.contains("sent"), "{ended:?}");
}

fn mcast_recv(host: &Host, group: &str) -> Running {
    let running = crate::support::start(host, &["recv", group]);
    running.stderr.wait_for("joined");
    running
}

#[test]
fn the_relay_beside_a_program_fetches_what_it_requests_without_any_right() {
    if !can_drop_rights() {
        return;
    }
    let network = Network::new(2);
    // The pod's segment has no multicast but what passes the tunnel.
    let (outside, pod) = (network.host("outside", 1, &[1]), network.host("pod", 2, &[2]));
    let hub = network.host("hub", 9, &[1, 2]);
    let folder = tempfile::tempdir().unwrap();
    // Both ends have the same key here.
    let key = crate::sites::new_tunnel_key(&hub, folder.path(), &["prices-0"]);
    let manifest = manifest("sidecar.yaml");
    let (_, command) = manifest.split_once("#   mcast relay ").unwrap();
    let command = command.lines().next().unwrap();
    let (_, rule, options) = {
        let mut parts = command.splitn(3, '"');
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
    };
    let options: Vec<String> = options
        .split_whitespace()
        .map(|word| if word == "key" { key.clone() } else { word.to_owned() })
        .collect();
    let mut arguments = vec!["relay", rule];
    arguments.extend(options.iter().map(String::as_str));
    let at_hub = crate::support::start(&hub, &arguments);
    at_hub.stderr.wait_for("listening for tunnels");
    // The secret of the pod, which belongs to its group.
    let mounted = folder.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    fs::copy(&key, mounted.join("key")).unwrap();
    for (path, mode) in
        [(folder.path().to_owned(), 0o755), (mounted.clone(), 0o755), (mounted.join("key"), 0o440)]
    {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::chown(mounted.join("key"), Some(0), Some(65_534)).unwrap();
    let arguments: Vec<String> = list(&manifest, "args")
        .iter()
        .map(|text| {
            let text = text.replace("$(POD_NAME)", "prices-0").replace("203.0.113.1", "10.0.2.9");
            text.replace("/etc/mcast", &mounted.display().to_string())
        })
        .collect();
    assert!(manifest.contains("runAsUser: 65534") && list(&manifest, "drop") == ["ALL"]);
    assert!(!manifest.contains("add: ["), "it needs no right");
    let relay = container(&pod, 65_534, &[], &arguments);
    eventually("a relay that is ready", || probe(&pod, "/ready") == "200");
    assert_eq!(effective(&relay), "0000000000000000");
    let (_, of_program) = manifest.split_once("      containers:\n").unwrap();
    let arguments = list(of_program, "args");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let reader = program(&pod, "curl", &arguments, false);
    let socket: UdpSocket = sender(&outside, address(1, 1));
    eventually("a datagram in the program", || {
        socket.send_to(b"price", "239.255.1.3:5000").unwrap();
        reader.stdout.text().contains("price")
    });
    assert!(!pod.read_proc_net("igmp").unwrap().contains("0301FFEF"), "nothing is joined in the pod");
    reader.signalled(libc::SIGINT);
    relay.signalled(libc::SIGTERM);
    at_hub.signalled(libc::SIGINT);
}
