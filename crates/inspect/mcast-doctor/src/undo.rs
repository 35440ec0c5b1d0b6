//! How to undo a remedy, from the state of the machine before it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::snapshot::setting_path;
use crate::{Action, Instructions, Remedy, Report, SocketAction};

/// What reverses one action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inverse {
    /// These actions.
    Actions(Vec<Action>),
    /// The deletion of a firewall rule. Its handle is known once it is inserted.
    DeleteRule {
        /// The family, table and chain of the rule.
        chain: [String; 3],
    },
    /// The reverse change of the same socket, which is known once the change is made.
    Socket {
        /// The process.
        pid: u32,
        /// The inode of the socket.
        socket: u64,
    },
    /// Nothing: the former state is unknown or cannot be restored.
    Unknown,
}

/// Computes how to undo the remedies of a report, from the current state of this machine.
pub(crate) fn add_to(report: &mut Report) {
    for remedy in report.findings.iter_mut().flat_map(|finding| &mut finding.remedies) {
        if remedy.undo.is_none() && remedy.tool != crate::Tool::Mcast {
            remedy.undo = instructions(remedy, &mut output_of);
        }
    }
}

/// Returns how to undo a remedy on a machine of which nothing is known, with `VALUE` for a value before.
pub(crate) fn with_placeholders(remedy: &Remedy) -> Option<Instructions> {
    /// What programs print about interfaces.
    const STATE: &str = "<> mtu VALUE qlen VALUE fastleave VALUE isolated VALUE mcast_max_groups VALUE state VALUE mcast_flood VALUE mcast_querier VALUE mcast_hash_max VALUE mcast_snooping VALUE Current hardware settings RX: VALUE";
    let mut query = |program: &str, args: &[&str]| match program {
        "nft" => None,
        "cat" => Some("VALUE".to_owned()),
        "ip" if args.contains(&"route") => Some(String::new()),
        _ => Some(STATE.to_owned()),
    };
    remedy.undo.clone().or_else(|| instructions(remedy, &mut query))
}

fn instructions(remedy: &Remedy, query: Query<'_>) -> Option<Instructions> {
    let mut undo = Vec::new();
    for inverse in inverses(remedy.actions(), query) {
        match inverse {
            Inverse::Actions(actions) => undo.extend(actions),
            Inverse::DeleteRule { chain } => {
                let [family, table, chain] = chain;
                return Some(Instructions::Advice(format!(
                    "Delete the rule by its handle, which `nft -a list chain {family} {table} {chain}` shows: `nft delete rule {family} {table} {chain} handle N`"
                )));
            }
            Inverse::Socket { .. } | Inverse::Unknown => return None,
        }
    }
    (!undo.is_empty()).then_some(Instructions::Actions { actions: undo, needs_root: true })
}

/// Returns the inverse of each action. They are to be carried out in the order of the actions, because a file is
/// restored before it is loaded again.
pub(crate) fn here(actions: &[Action]) -> Vec<Inverse> {
    inverses(actions, &mut output_of)
}

/// Runs a program that prints a state, and returns its output.
type Query<'a> = &'a mut dyn FnMut(&str, &[&str]) -> Option<String>;

fn inverses(actions: &[Action], query: Query<'_>) -> Vec<Inverse> {
    let mut inverses = Vec::new();
    for action in actions {
        match action {
            Action::Write { path, .. } | Action::Remove { path } => inverses.push(restore(path)),
            Action::Socket(SocketAction { pid, socket, .. }) => {
                inverses.push(Inverse::Socket { pid: *pid, socket: *socket });
            }
            Action::Run { program, args } => {
                let args: Vec<_> = args.iter().map(String::as_str).collect();
                // Deleting a new interface also undoes its configuration.
                if let ("ip", ["link", "add", "link", _, "name", name, ..]) = (program.as_str(), &args[..]) {
                    inverses.push(run("ip", ["link", "del", "dev", name]));
                    break;
                }
                // The same holds for a new table and its rules.
                if let ("nft", ["add", "table", family, table]) = (program.as_str(), &args[..])
                    && query("nft", &["list", "table", family, table]).is_none()
                {
                    inverses.push(run("nft", ["delete", "table", family, table]));
                    break;
                }
                inverses.push(inverse(program, &args, actions, query).unwrap_or(Inverse::Unknown));
            }
        }
    }
    inverses
}

/// Returns the inverse of a run of a program; `None` if it is unknown.
fn inverse(program: &str, args: &[&str], actions: &[Action], query: Query<'_>) -> Option<Inverse> {
    Some(match (program, args) {
        ("sysctl", ["-w", settings @ ..]) => settings_before(
            settings.iter().map(|setting| setting.split('=').next().unwrap_or(setting)),
            query,
        )?,
        ("sysctl", ["-p", file]) => {
            // The file may not exist yet: an action before this one writes it.
            let text = actions.iter().find_map(|action| match action {
                Action::Write { path, text } if path == Path::new(file) => Some(text),
                _ => None,
            })?;
            settings_before(text.lines().filter_map(|line| Some(line.split_once('=')?.0.trim())), query)?
        }
        ("ip", ["-6", "address", "del", rest @ ..]) => run("ip", ["-6", "address", "add"].iter().chain(rest)),
        ("ip", ["link", "set", "dev", name, "type", "bridge", options @ ..]) => {
            bridge_options(name, options, query)?
        }
        ("ip", ["link", "set", "dev", name, "type", "macvlan", "macaddr", "add", mac]) => {
            run("ip", ["link", "set", "dev", name, "type", "macvlan", "macaddr", "del", mac])
        }
        ("ip", ["link", "set", "dev", name, option @ ..]) => link_option(name, option, query)?,
        ("ip", ["-6", "route", "add" | "replace", route @ ..]) => {
            route_before(&["-6", "route"], route, query)?
        }
        ("ip", ["route", "add" | "replace", route @ ..]) => route_before(&["route"], route, query)?,
        ("bridge", ["link", "set", "dev", name, option, _]) => {
            let state = query("bridge", &["-d", "link", "show", "dev", name])?;
            run("bridge", ["link", "set", "dev", name, option, word_after(&state, option)?])
        }
        ("ethtool", ["-G", name, "rx", _]) => {
            let state = query("ethtool", &["-g", name])?;
            // The limits of the hardware come first, with the same names.
            let (_, current) = state.split_once("Current hardware settings")?;
            run("ethtool", ["-G", name, "rx", word_after(current, "RX:")?])
        }
        ("nft", ["insert", "rule", family, table, chain, ..]) => {
            Inverse::DeleteRule { chain: [family, table, chain].map(|word| (*word).to_owned()) }
        }
        _ => fixed(program, args)?,
    })
}

/// Returns the inverses that do not depend on the state before.
fn fixed(program: &str, args: &[&str]) -> Option<Inverse> {
    Some(match (program, args) {
        ("ufw", ["allow", rest @ ..]) => run("ufw", ["delete", "allow"].iter().chain(rest)),
        ("bridge", ["fdb", "replace", mac, "dev", port, "master", "static"]) => {
            run("bridge", ["fdb", "del", mac, "dev", port, "master"])
        }
        ("ip", ["xfrm", "policy", "add", policy @ .., "priority", _, "action", "allow"]) => {
            run("ip", ["xfrm", "policy", "delete"].iter().chain(policy))
        }
        (
            "iptables-legacy" | "ip6tables-legacy",
            ["-t", table, "-I", chain, _, rule @ ..] | ["-t", table, "-A", chain, rule @ ..],
        ) => run(program, ["-t", table, "-D", chain].iter().chain(rule)),
        ("kill", ["-CONT", id]) => run("kill", ["-STOP", id]),
        ("networkctl", ["reload"]) => run("networkctl", ["reload"]),
        ("nmcli", ["connection", "modify", "uuid", id, option, value]) => {
            let option = format!("-{}", option.strip_prefix('+')?);
            run("nmcli", ["connection", "modify", "uuid", id, &option, value])
        }
        ("route", ["add", rest @ ..]) => run("route", ["delete"].iter().chain(rest)),
        ("ifconfig", [name, "up"]) => run("ifconfig", [name, "down"]),
        ("netsh", ["interface", "set", "interface", name, "enabled"]) => {
            run("netsh", ["interface", "set", "interface", name, "disabled"])
        }
        ("netsh", ["interface", family, "add", "route", rest @ ..]) => {
            run("netsh", ["interface", family, "delete", "route"].iter().chain(rest))
        }
        ("netsh", ["advfirewall", "firewall", "add", "rule", name, ..]) => {
            run("netsh", ["advfirewall", "firewall", "delete", "rule", name])
        }
        _ => return None,
    })
}

fn run<'a>(program: &str, args: impl IntoIterator<Item = impl AsRef<str> + 'a>) -> Inverse {
    let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    Inverse::Actions(vec![Action::Run { program: program.to_owned(), args }])
}

/// Returns the action that restores the contents of a file, or removes it if it does not exist.
fn restore(path: &Path) -> Inverse {
    match fs::read_to_string(path) {
        Ok(text) => Inverse::Actions(vec![Action::Write { path: path.to_owned(), text }]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Inverse::Actions(vec![Action::Remove { path: path.to_owned() }])
        }
        Err(_) => Inverse::Unknown,
    }
}

/// Returns the action that sets these settings to their current values; `None` if one cannot be read.
fn settings_before<'a>(names: impl Iterator<Item = &'a str>, query: Query<'_>) -> Option<Inverse> {
    let assignment = |name: &str| {
        let value = query("cat", &[setting_path(name).to_str()?])?;
        Some(format!("{name}={}", value.trim()))
    };
    let assignments: Option<Vec<_>> = names.map(assignment).collect();
    Some(run("sysctl", std::iter::once("-w".to_owned()).chain(assignments?)))
}

fn link_option(name: &str, option: &[&str], query: Query<'_>) -> Option<Inverse> {
    let state = query("ip", &["link", "show", "dev", name])?;
    let set = |words: [&str; 2]| {
        run("ip", ["link", "set", "dev", name].iter().chain(words.iter().filter(|word| !word.is_empty())))
    };
    Some(match option {
        ["up"] => {
            let (_, flags) = state.split_once('<')?;
            let is_up = flags.split('>').next()?.split(',').any(|flag| flag == "UP");
            set([if is_up { "up" } else { "down" }, ""])
        }
        ["master", _] => match word_after(&state, "master") {
            Some(bridge) => set(["master", bridge]),
            None => set(["nomaster", ""]),
        },
        ["mtu", _] => set(["mtu", word_after(&state, "mtu")?]),
        ["txqueuelen", _] => set(["txqueuelen", word_after(&state, "qlen")?]),
        _ => return None,
    })
}

fn bridge_options(name: &str, options: &[&str], query: Query<'_>) -> Option<Inverse> {
    let state = query("ip", &["-d", "link", "show", "dev", name])?;
    let mut args = vec!["link", "set", "dev", name, "type", "bridge"];
    for option in options.chunks_exact(2) {
        args.extend([option[0], word_after(&state, option[0])?]);
    }
    Some(run("ip", args))
}

/// Returns the action that restores the route that a new route replaces, or deletes the new one if it replaces none.
fn route_before(begin: &[&str], route: &[&str], query: Query<'_>) -> Option<Inverse> {
    /// Words that `ip route show` prints about a route and does not accept.
    const STATES: [&str; 5] = ["linkdown", "dead", "offload", "trap", "rt_offload"];
    let is_kind = |word: &&&str| ["multicast", "local", "unicast"].contains(word);
    let target = *route.iter().find(|word| !is_kind(word))?;
    let is_local = route.ends_with(&["table", "local"]) || route.first() == Some(&"local");
    let table: &[&str] = if is_local { &["table", "local"] } else { &[] };
    let listing = query("ip", &[begin, &["show"], table, &[target]].concat())?;
    // IPv6 has a default metric; a route with another is not replaced.
    let metric = if begin.contains(&"-6") { "1024" } else { "0" };
    let replaced = listing.lines().find(|line| word_after(line, "metric").unwrap_or("0") == metric);
    let Some(line) = replaced else {
        return Some(run("ip", [begin, &["del"], route].concat()));
    };
    let mut words = line.split_whitespace();
    let mut args = [begin, &["replace"]].concat();
    while let Some(word) = words.next() {
        if word == "error" {
            words.next();
        } else if !STATES.contains(&word) {
            args.push(word);
        }
    }
    args.extend(table);
    Some(run("ip", args))
}

/// Returns the word that follows another in a text.
fn word_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()
}

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    if let ("cat", [path]) = (program, args) {
        return fs::read_to_string(path).ok();
    }
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(line: &str) -> Vec<Action> {
        line.split(" && ")
            .map(|command| {
                let mut words = command.split(' ').map(str::to_owned);
                Action::Run { program: words.next().unwrap(), args: words.collect() }
            })
            .collect()
    }

    /// Returns how to undo a command line, if a query prints this state.
    fn undo(line: &str, state: &str) -> Option<String> {
        let inverses = inverses(&actions(line), &mut |_, _| Some(state.to_owned()));
        let lines: Option<Vec<_>> = inverses
            .into_iter()
            .map(|inverse| match inverse {
                Inverse::Actions(actions) => crate::remedy::line(&actions),
                Inverse::DeleteRule { chain } => Some(chain.join("/")),
                Inverse::Socket { .. } | Inverse::Unknown => None,
            })
            .collect();
        Some(lines?.join(" && "))
    }

    #[test]
    fn replaced_route_is_restored() {
        let command = "ip route replace 224.0.0.0/4 dev eth0";
        assert_eq!(undo(command, "").unwrap(), "ip route del 224.0.0.0/4 dev eth0");
        for (before, after) in [
            ("unreachable 224.0.0.0/4 \n", "unreachable 224.0.0.0/4"),
            ("224.0.0.0/4 dev eth1 scope link linkdown \n", "224.0.0.0/4 dev eth1 scope link"),
        ] {
            assert_eq!(undo(command, before).unwrap(), format!("ip route replace {after}"));
        }
        let other_metric = "224.0.0.0/4 dev eth1 scope link metric 100\n";
        assert_eq!(undo(command, other_metric).unwrap(), "ip route del 224.0.0.0/4 dev eth0");
    }

    #[test]
    fn replaced_ipv6_route_is_restored_in_its_table() {
        let command = "ip -6 route replace multicast ff15::1/128 dev eth0 table local";
        let own = "ip -6 route del multicast ff15::1/128 dev eth0 table local";
        assert_eq!(undo(command, "").unwrap(), own);
        let kernel = "multicast ff15::1 dev eth1 proto kernel metric 256 pref medium\n";
        assert_eq!(undo(command, kernel).unwrap(), own);
        let before = "unreachable ff15::1 dev lo metric 1024 error -101 pref medium\n";
        assert_eq!(
            undo(command, before).unwrap(),
            "ip -6 route replace unreachable ff15::1 dev lo metric 1024 pref medium table local"
        );
    }

    #[test]
    fn interface_gets_its_former_options() {
        let state = "3: eth0: <BROADCAST,MULTICAST> mtu 1000 qdisc noop state DOWN mode DEFAULT group default qlen 500\n    link/ether";
        assert_eq!(undo("ip link set dev eth0 up", state).unwrap(), "ip link set dev eth0 down");
        assert_eq!(undo("ip link set dev eth0 mtu 1500", state).unwrap(), "ip link set dev eth0 mtu 1000");
        assert_eq!(
            undo("ip link set dev eth0 txqueuelen 10000", state).unwrap(),
            "ip link set dev eth0 txqueuelen 500"
        );
        let up = state.replace("<BROADCAST,", "<BROADCAST,UP,LOWER_UP,");
        assert_eq!(undo("ip link set dev eth0 up", &up).unwrap(), "ip link set dev eth0 up");
        assert_eq!(
            undo(
                "ip link set dev br0 type bridge mcast_hash_max 4096 mcast_snooping 1",
                "mcast_snooping 0 mcast_hash_max 4 x"
            )
            .unwrap(),
            "ip link set dev br0 type bridge mcast_hash_max 4 mcast_snooping 0"
        );
        assert_eq!(
            undo("bridge link set dev p1 mcast_flood on", "2: p1: mcast_flood off x").unwrap(),
            "bridge link set dev p1 mcast_flood off"
        );
    }

    #[test]
    fn new_interface_is_deleted_with_its_configuration() {
        let command =
            "ip link add link eth0 name eth0.7 type vlan protocol 802.1Q id 7 && ip link set dev eth0.7 up";
        assert_eq!(undo(command, "").unwrap(), "ip link del dev eth0.7");
    }

    #[test]
    fn unknown_state_cannot_be_restored() {
        for line in ["ip link set dev eth0 mtu 1500", "tc qdisc del dev eth0 root"] {
            assert_eq!(undo(line, "nothing"), None, "{line}");
        }
        assert_eq!(here(&actions("sysctl -w net.no.such=1")), [Inverse::Unknown]);
    }

    #[test]
    fn new_file_is_removed_and_old_one_restored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcast.conf");
        let write = [Action::Write { path: path.clone(), text: "new\n".into() }];
        let removal = Inverse::Actions(vec![Action::Remove { path: path.clone() }]);
        assert_eq!(here(&write), [removal]);
        fs::write(&path, "old\n").unwrap();
        let restoration = Inverse::Actions(vec![Action::Write { path, text: "old\n".into() }]);
        assert_eq!(here(&write), [restoration]);
    }
}
