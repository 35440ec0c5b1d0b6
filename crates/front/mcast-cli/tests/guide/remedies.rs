//! The commands on the pages of findings: those of mcast are valid, and those for Linux are accepted.

use std::path::Path;
use std::process::Stdio;

use mcast_doctor::Id;
use mcast_lab::{Host, Lab};

use crate::markdown;

/// The blocks of commands on the pages, each with the words of its info string: the language; a system or `mcast`; a
/// tool; `ipv4` or `ipv6`; `now` or `permanent`.
fn blocks() -> impl Iterator<Item = (Id, Vec<String>, Vec<String>)> {
    Id::ALL.iter().flat_map(|id| {
        let words = |info: &str| info.split_whitespace().map(str::to_owned).collect();
        markdown::blocks(&id.page()).into_iter().map(move |block| (*id, words(&block.info), block.lines))
    })
}

fn has(tags: &[String], word: &str) -> bool {
    tags.iter().any(|tag| tag == word)
}

/// The same with values for the words in capitals.
fn filled(text: &str, is_v6: bool) -> String {
    let port = ["bridge link", "bridge fdb", "mcast_to_unicast"].iter().any(|word| text.contains(word));
    let values = [
        ("INTERFACE", if port { "port0" } else { "eth0" }),
        ("GROUP", if is_v6 { "ff15::1:3" } else { "239.255.1.3" }),
        ("BRIDGE", "bridge0"),
        ("PORT", "5000"),
        ("SOURCE", "10.0.0.7"),
        ("NAME", "weather"),
        ("MAC", "02:00:00:00:00:01"),
        ("FILE", "film.ts"),
        // To continue a program that is not stopped has no effect.
        ("PID", &std::process::id().to_string()),
    ];
    values.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
}

#[test]
fn every_block_names_its_system_and_remedies_their_persistence() {
    const SYSTEMS: [&str; 4] = ["linux", "macos", "windows", "mcast"];
    const OTHER_TAGS: [&str; 12] = [
        "networkd",
        "networkmanager",
        "firewalld",
        "ufw",
        "nft",
        "iptables",
        "docker",
        "kubernetes",
        "ipv4",
        "ipv6",
        "now",
        "permanent",
    ];
    for id in Id::ALL {
        let remedies = remedies_of(*id);
        for block in markdown::blocks(&id.page()) {
            let tags: Vec<_> = block.info.split_whitespace().skip(1).collect();
            let systems = tags.iter().filter(|tag| SYSTEMS.contains(tag)).count();
            let known = tags.iter().filter(|tag| OTHER_TAGS.contains(tag)).count();
            assert_eq!((systems, known), (1, tags.len() - 1), "{id}: {tags:?}");
            let lasts = tags.contains(&"now") || tags.contains(&"permanent");
            assert_eq!(lasts, remedies.contains(&block.line), "{id}: {tags:?}");
            assert!(!block.lines.is_empty(), "{id}");
        }
    }
}

/// The numbers of the lines in the section about remedies.
fn remedies_of(id: Id) -> std::ops::Range<usize> {
    let heading = |title: &str| id.page().lines().position(|line| line == title).unwrap();
    heading("## Remedy")..heading("## Check")
}

#[test]
fn suggested_mcast_commands_are_valid() {
    let mut checked = 0;
    for (id, tags, lines) in blocks().filter(|(_, tags, _)| has(tags, "mcast")) {
        for line in &lines {
            let line = filled(line, has(&tags, "ipv6"));
            let words =
                line.split(" > ").next().unwrap().split_whitespace().map(|word| word.trim_matches('"'));
            if let Err(error) = mcast_cli::command().try_get_matches_from(words) {
                panic!("{id}: {line}: {error}");
            }
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

/// What this machine's kernel or its owner cannot change in a namespace.
const NOT_HERE: [(&str, &str); 11] = [
    ("mld_max_msf", "is the machine's"),
    ("net.core.", "is the machine's"),
    ("mcast_max_groups", "older versions of `bridge` do not know the option"),
    ("type vlan", "this kernel may have none"),
    ("ethtool -G", "a virtual card has no ring"),
    ("iw ", "there is no Wi-Fi"),
    ("docker ", "there is no Docker"),
    ("systemctl ", "no service manager runs"),
    ("pref PREFERENCE", "there is no filter to delete; the doctor's own tests delete one"),
    ("smcroutectl ", "its daemon does not run"),
    ("ip address del ", "no interface has the group as an address"),
];

#[test]
fn remedies_for_linux_are_accepted() {
    let mut taken = Vec::new();
    for (id, tags, lines) in blocks() {
        let is_command = has(&tags, "sh") && has(&tags, "linux") && has(&tags, "now");
        let command = filled(&lines.join("\n"), has(&tags, "ipv6"));
        let program = command.split_whitespace().next().unwrap().to_owned();
        let is_elsewhere = NOT_HERE.iter().any(|(word, _)| command.contains(word));
        if !is_command || is_elsewhere || !is_installed(&program) {
            continue;
        }
        let (_lab, host) = patient();
        let (succeeded, printed) = run(&host, &command);
        assert!(succeeded, "{id}: {command}: {printed}");
        taken.push(program);
    }
    for program in ["ip", "sysctl", "bridge", "tc"] {
        assert!(taken.iter().any(|other| other == program), "{program} was not tried: {taken:?}");
    }
    if !taken.iter().any(|other| other == "nft") {
        mcast_lab::skip("remedies by nft: it is not installed");
    }
}

#[test]
fn an_invalid_remedy_is_detected() {
    let (_lab, host) = patient();
    assert!(!run(&host, "ip link set dev nothing up").0);
    assert!(!run(&host, "sysctl -w net/ipv4/conf/nothing/rp_filter=2").0);
}

fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).is_file())
}

/// A host with an interface, a bridge with a port, and tables of a firewall.
fn patient() -> (Lab, Host) {
    let lab = Lab::new().unwrap();
    let (switch, host) = (lab.switch("lan").unwrap(), lab.host("patient").unwrap());
    host.connect("eth0", &switch, &["10.0.0.1/24", "fd00::1/64"]).unwrap();
    let mut prepare = String::from(
        "ip link add bridge0 type bridge && ip link add port0 type veth peer name far0 && \
         ip link set port0 master bridge0 && ip link set bridge0 up && ip link set far0 up && ip link set port0 up",
    );
    if is_installed("nft") {
        prepare += "; nft add table inet filter; nft add table inet mangle";
        for (table, chain) in [("filter", "input"), ("filter", "output"), ("mangle", "prerouting")] {
            prepare +=
                &format!("; nft add chain inet {table} {chain} '{{ type filter hook {chain} priority 0; }}'");
        }
    }
    let (succeeded, printed) = run(&host, &prepare);
    assert!(succeeded, "{printed}");
    (lab, host)
}

fn run(host: &Host, command: &str) -> (bool, String) {
    let path = "/usr/sbin:/sbin:/usr/bin:/bin";
    let mut shell = host.command("sh").unwrap();
    shell.args(["-e", "-c", command]).env("PATH", path).stdin(Stdio::null());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = shell.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}
