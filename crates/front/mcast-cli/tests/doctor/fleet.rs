//! `--fleet`: ssh between hosts of a lab, each with an sshd of its own.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcast_lab::{Child, Host};
use serde_json::Value;
use tempfile::TempDir;

use crate::patient::events;
use crate::schemas::assert_valid;
use crate::support::{Ended, Lan, MCAST, Running, eventually, start};

const SSHD: &str = "/usr/sbin/sshd";
const GROUP: &str = "239.192.1.2:5000";

/// Three hosts on a switch: `a` reaches itself and the others by ssh.
struct Fleet {
    lan: Lan,
    folder: TempDir,
    _servers: Vec<Child>,
}

/// Returns whether this machine can run ssh servers; prints a note if not.
fn has_sshd() -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let has_all = Path::new(SSHD).exists() && Command::new("ssh").arg("-V").output().is_ok() && is_root;
    if !has_all {
        mcast_lab::skip("this test needs root and openssh-server");
    }
    has_all
}

/// Returns whether this machine has sudo; prints a note if not.
fn has_sudo() -> bool {
    let has_sudo = Command::new("sudo").arg("-V").output().is_ok();
    if !has_sudo {
        mcast_lab::skip("this test needs sudo");
    }
    has_sudo
}

impl Fleet {
    fn new() -> Self {
        Self::with_machines(|_, _| String::new())
    }

    /// Starts the servers in mount namespaces of their own, each after the shell commands that `prepare` returns for its
    /// number and the folder.
    fn with_machines(prepare: impl Fn(u8, &Path) -> String) -> Self {
        let lan = Lan::new();
        let folder = tempfile::tempdir().unwrap();
        // sshd separates its privileges in this folder, which the package's service creates.
        fs::create_dir_all("/run/sshd").unwrap();
        key(folder.path(), "host");
        key(folder.path(), "login");
        let servers = [(&lan.a, 1), (&lan.b, 2), (&lan.c, 3)]
            .map(|(host, number)| serve(host, number, folder.path(), &prepare(number, folder.path())));
        let config = format!(
            "Host *\nUser root\nIdentityFile {0}/login\nIdentitiesOnly yes\nUserKnownHostsFile {0}/known\n\
             StrictHostKeyChecking accept-new\nLogLevel ERROR\n",
            folder.path().display()
        );
        fs::write(folder.path().join("config"), config).unwrap();
        Self { lan, folder, _servers: servers.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, arguments: &[&str]) -> Running {
        self.start_by(MCAST, arguments)
    }

    /// Starts it with this command on the machines.
    fn start_by(&self, command: &str, arguments: &[&str]) -> Running {
        let config = self.path("config");
        let fixed =
            ["doctor", "--ssh-config", config.to_str().unwrap(), "--remote-command", command, "--lldp", "0s"];
        start(&self.lan.a, &[&fixed[..], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }
}

/// Makes a key without a passphrase.
fn key(folder: &Path, name: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(folder.join(name))
        .status();
    assert!(made.unwrap().success());
}

/// Starts an ssh server on a host after a shell has run `prepared`, and waits until it listens.
fn serve(host: &Host, number: u8, folder: &Path, prepared: &str) -> Child {
    let login = fs::read(folder.join("login.pub")).unwrap();
    let keys = folder.join(format!("keys{number}"));
    fs::write(&keys, login).unwrap();
    let config = folder.join(format!("sshd{number}"));
    let address = Ipv4Addr::new(10, 0, 0, number);
    let text = format!(
        "ListenAddress {address}\nPort 22\nHostKey {0}/host\nAuthorizedKeysFile {1}\nPidFile none\nUsePAM no\n\
         StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nLogLevel ERROR\n",
        folder.display(),
        keys.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = host.command("unshare").unwrap();
    // What this user's shell does at its start, for instance wait for a lock, does not matter here.
    let plain = "[ ! -e ~/.bashrc ] || mount --bind /dev/null ~/.bashrc;";
    let script = format!("set -e; {plain} {prepared} exec {SSHD} -D -e -f {}", config.display());
    let child = command.args(["--mount", "sh", "-c", &script]).stderr(Stdio::null()).spawn().unwrap();
    let listens = || host.read_proc_net("tcp").unwrap().contains(":0016 00000000:0000 0A");
    eventually("an ssh server", listens);
    child
}

/// Drops all packets to the group that a rule matches.
fn drop_at(host: &Host, hook: &str, rule: &str) {
    let rules = format!(
        "nft add table inet t && nft 'add chain inet t c {{ type filter hook {hook} priority 0; }}' \
         && nft add rule inet t c {rule} drop"
    );
    let mut command = host.command("sh").unwrap();
    assert!(command.args(["-c", &rules]).status().unwrap().success());
}

fn named<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap()
}

/// Asserts that each object is what its schema describes.
fn assert_described(ended: &Ended) {
    for event in ["fleet-machine", "fleet-path", "fleet-finding", "fleet-verdict"] {
        events(ended, event).iter().for_each(|object| assert_valid(&format!("doctor-{event}"), object));
    }
}

#[test]
fn all_paths_of_a_healthy_fleet_are_complete() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let page = fleet.path("page.html");
    let ended = fleet
        .run(&[
            "--fleet",
            "10.0.0.1,10.0.0.2,10.0.0.3",
            "-c",
            "2",
            "--json",
            "--html",
            page.to_str().unwrap(),
        ])
        .succeeded();
    assert_described(&ended);
    let paths = events(&ended, "fleet-path");
    // Six pairs in two families.
    assert_eq!(paths.len(), 12, "{ended:?}");
    assert!(paths.iter().all(|path| path["outcome"] == "complete"), "{ended:?}");
    assert!(paths.iter().all(|path| path["unicast_sent"] == path["unicast_received"]), "{ended:?}");
    assert_eq!(named(&events(&ended, "fleet-verdict")[0], "verdict"), "healthy");
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<td class=\"complete\"").count(), 12, "{page}");
    assert_well_formed(&page);
}

/// Asserts that a browser finds these elements in a page, and nothing to complain about.
fn assert_shown(page: &Path, element: &str, count: usize) {
    let has = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].iter().find(has) else {
        mcast_lab::skip("this test needs chromium");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let profile = format!("--user-data-dir={}", folder.path().display());
    let page = format!("file://{}", page.display());
    let mut command = Command::new(browser);
    let output = command.args(["--headless", "--no-sandbox", "--disable-gpu", &profile, "--dump-dom", &page]);
    let output = output.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown.matches(element).count(), count, "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("CONSOLE"), "{output:?}");
    // To look at it.
    if let Some(pictures) = std::env::var_os("MCAST_PICTURES") {
        let picture = format!("--screenshot={}", Path::new(&pictures).join("fleet.png").display());
        let mut command = Command::new(browser);
        let options =
            ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=900,640"];
        let output = command.args(options).args([&profile, &picture, &page]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// Asserts that every element of a page is closed, in order, and that it needs no script and no other file.
fn assert_well_formed(page: &str) {
    const PROGRAM: &str = "import html.parser, sys
class Parser(html.parser.HTMLParser):
    open = []
    def handle_starttag(self, tag, attributes):
        assert tag not in ('script', 'link', 'img', 'iframe'), tag
        assert all(name not in ('src', 'href', 'style') and not name.startswith('on') for name, _ in attributes)
        if tag != 'meta':
            self.open.append(tag)
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
parser = Parser()
parser.feed(sys.stdin.read())
parser.close()
assert not parser.open, parser.open";
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {page}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_machine_that_receives_nothing_is_named_with_its_own_finding() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    drop_at(&fleet.lan.c, "input", "ip daddr 239.192.1.2");
    let hosts = fleet.path("hosts");
    fs::write(&hosts, "# rack 4\n10.0.0.1\nroot@10.0.0.2 interface=eth0\n10.0.0.3:22 # broken\n").unwrap();
    let hosts = format!("@{}", hosts.display());
    let page = fleet.path("page.html");
    let page = page.to_str().unwrap();
    let ended = fleet.run(&["--fleet", &hosts, GROUP, "-c", "2", "--json", "--html", page]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let page = fs::read_to_string(page).unwrap();
    assert_well_formed(&page);
    assert_eq!(page.matches("<td class=\"silent\"").count(), 2, "{page}");
    assert_shown(&fleet.path("page.html"), "<td class=\"silent\"", 2);
    assert!(
        page.contains("fault: firewall-drops-data") && page.contains("10.0.0.1 to 10.0.0.3:22"),
        "{page}"
    );
    assert_described(&ended);
    let findings = events(&ended, "fleet-finding");
    assert_eq!(findings.len(), 1, "{ended:?}");
    assert_eq!(named(&findings[0], "edge"), "to-host");
    assert_eq!(findings[0]["to"], serde_json::json!(["10.0.0.3:22"]), "{ended:?}");
    let machines = events(&ended, "fleet-machine");
    let own: Vec<_> =
        machines[2]["findings"].as_array().unwrap().iter().map(|each| named(each, "id")).collect();
    assert_eq!(own, ["firewall-drops-data"], "{ended:?}");
    assert!(
        machines[..2].iter().all(|machine| machine["findings"].as_array().unwrap().is_empty()),
        "{ended:?}"
    );

    let text = fleet.run(&["--fleet", &hosts, GROUP, "-c", "1"]);
    assert_eq!(text.status, Some(1), "{text:?}");
    assert!(text.text().contains("3 10.0.0.3:22") && text.text().contains("none"), "{text:?}");
    assert!(text.stderr.contains("2 faults; 3 of 3 machines took part"), "{text:?}");
}

/// The rule of a machine that refuses its own probes is found on it, and its row is not called healthy.
#[test]
fn the_rule_that_refuses_the_probes_of_a_machine_is_named() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    drop_at(&fleet.lan.b, "output", "ip daddr 239.0.0.0/8");
    let ended = fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "-c", "1", "--json"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_described(&ended);
    let own = events(&ended, "fleet-machine").into_iter().map(|machine| {
        let findings = machine["findings"].as_array().unwrap();
        findings.iter().map(|each| named(each, "id").to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(
        own.collect::<Vec<_>>(),
        [vec![], vec!["firewall-drops-output".to_owned()], vec![]],
        "{ended:?}"
    );
}

/// Closed networks have no route to groups: the probes leave by all interfaces.
#[test]
fn machines_without_a_route_to_groups_probe_on_all_interfaces() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    for host in [&fleet.lan.a, &fleet.lan.b, &fleet.lan.c] {
        let routes =
            "ip route flush root 224.0.0.0/4; ip route flush exact 0.0.0.0/0; ip route get 239.192.1.2";
        assert!(!host.command("sh").unwrap().args(["-c", routes]).status().unwrap().success());
    }
    let ended = fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "-c", "1"]);
    // All paths are complete; the missing route stays a warning of each machine.
    assert_eq!(ended.status, Some(5), "{ended:?}");
    assert_eq!(ended.text().matches("   ok").count(), 6, "{ended:?}");
    assert!(ended.stderr.contains("1 warning; 3 of 3 machines took part"), "{ended:?}");
}

#[test]
fn machines_that_do_not_take_part_are_rows_of_the_report() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    // The second knows another key, the third does not answer.
    fs::write(fleet.path("keys2"), "").unwrap();
    let ended = fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3:23,10.0.0.3", GROUP, "-c", "1", "--json"]);
    let status = |ended: &Ended| -> Vec<String> {
        events(ended, "fleet-machine").iter().map(|machine| named(machine, "status").to_owned()).collect()
    };
    assert_eq!(status(&ended), ["examined", "login-refused", "unreachable", "examined"], "{ended:?}");
    assert_eq!(ended.status, Some(6), "{ended:?}");
    assert_eq!(events(&ended, "fleet-path").len(), 12, "{ended:?}");
    assert_described(&ended);

    let elsewhere = ["--fleet", "10.0.0.1,10.0.0.3", "--remote-command", "/no/such/mcast", "--json"];
    let config = fleet.path("config");
    let ended = crate::support::mcast(
        &fleet.lan.a,
        &[&["doctor", "--ssh-config", config.to_str().unwrap()], &elsewhere[..]].concat(),
    );
    assert_eq!(status(&ended), ["command-missing", "command-missing"], "{ended:?}");
    // A member of another version.
    let other = fleet.path("other");
    let hello = r#"{"event":"hello","protocol":1,"version":"0.0.0-other","listener":1,"unicast_port":0,"groups":[],"addresses":[],"captures":false}"#;
    fs::write(&other, format!("#!/bin/sh\necho '{hello}'\ncat > /dev/null\n")).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = crate::support::mcast(
        &fleet.lan.a,
        &[
            "doctor",
            "--ssh-config",
            config.to_str().unwrap(),
            "--fleet",
            "10.0.0.1,10.0.0.3",
            "--remote-command",
            other.to_str().unwrap(),
            "--json",
        ],
    );
    assert_eq!((status(&ended), ended.status), (vec!["other-version".to_owned(); 2], Some(6)), "{ended:?}");
}

/// Returns commands that give a machine a user `operator`, who may become root without a password on the second machine
/// and not on the others. They change the files of this machine in one mount namespace only.
fn with_operator(number: u8, folder: &Path) -> String {
    let path = |name: &str| folder.join(format!("{name}{number}"));
    let append = |name: &str, line: &str| {
        let own = path(name);
        let text = fs::read_to_string(format!("/etc/{name}")).unwrap() + line;
        fs::write(&own, text).unwrap();
        format!("mount --bind {} /etc/{name}; ", own.display())
    };
    let admitted = if number == 2 { "operator ALL=(ALL) NOPASSWD: ALL\n" } else { "" };
    fs::write(path("sudoers"), format!("root ALL=(ALL) ALL\n{admitted}")).unwrap();
    fs::set_permissions(path("sudoers"), fs::Permissions::from_mode(0o440)).unwrap();
    // sshd reads the keys as the user who logs in.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    append("passwd", "operator:x:4711:4711::/tmp:/bin/sh\n")
        + &append("shadow", "operator:*:19000:0:99999:7:::\n")
        + &format!("mount --bind {} /etc/sudoers;", path("sudoers").display())
}

#[test]
fn members_become_root_where_sudo_does_not_ask() {
    if !has_sshd() || !has_sudo() {
        return;
    }
    let fleet = Fleet::with_machines(with_operator);
    let hosts = "10.0.0.1,operator@10.0.0.2,operator@10.0.0.3";
    let ended =
        fleet.start_by(&format!("sudo {MCAST}"), &["--fleet", hosts, GROUP, "-c", "1", "--json"]).end();
    assert_described(&ended);
    let machines = events(&ended, "fleet-machine");
    let statuses: Vec<_> = machines.iter().map(|machine| named(machine, "status")).collect();
    assert_eq!(statuses, ["examined", "examined", "sudo-refused"], "{ended:?}");
    assert_eq!((&machines[1]["captures"], ended.status), (&Value::Bool(true), Some(3)), "{ended:?}");

    let ended = fleet.run(&["--fleet", hosts, GROUP, "-c", "1", "--json"]);
    let machines = events(&ended, "fleet-machine");
    let captures: Vec<_> = machines.iter().map(|machine| machine["captures"].as_bool().unwrap()).collect();
    assert_eq!(captures, [true, false, false], "{ended:?}");
    let paths = events(&ended, "fleet-path");
    assert!(paths.iter().all(|path| path["outcome"] == "complete"), "{ended:?}");
}

#[test]
fn a_member_that_does_not_answer_times_out_and_the_others_are_examined() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let silent = fleet.path("silent");
    // Only the third machine starts something that never answers.
    let script = format!(
        "#!/bin/sh\nif ip -o address | grep -q ' 10.0.0.3/'; then exec cat > /dev/null; fi\nexec {MCAST} \"$@\"\n"
    );
    fs::write(&silent, script).unwrap();
    fs::set_permissions(&silent, fs::Permissions::from_mode(0o755)).unwrap();
    let config = fleet.path("config");
    let arguments = ["doctor", "--ssh-config", config.to_str().unwrap(), "--lldp", "0s"];
    let fleet_of = ["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", "--remote-command", silent.to_str().unwrap()];
    let options = [GROUP, "-c", "1", "--json"];
    let ended = crate::support::mcast(&fleet.lan.a, &[&arguments[..], &fleet_of[..], &options[..]].concat());
    assert_described(&ended);
    let statuses: Vec<_> =
        events(&ended, "fleet-machine").iter().map(|machine| named(machine, "status").to_owned()).collect();
    assert_eq!(statuses, ["examined", "examined", "timed-out"], "{ended:?}");
    let outcomes: Vec<_> =
        events(&ended, "fleet-path").iter().map(|path| named(path, "outcome").to_owned()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "complete").count(), 2, "{ended:?}");
    assert!(outcomes.iter().all(|outcome| ["complete", "not-tested"].contains(&&**outcome)), "{ended:?}");
    assert_eq!(ended.status, Some(6), "{ended:?}");
}

#[test]
fn members_end_when_the_examination_is_killed() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let running = fleet.start(&["--fleet", "10.0.0.2,10.0.0.3", GROUP, "--soak=1h", "-v"]);
    running.stderr.wait_for("waiting until");
    // 239.192.1.2 as the kernel lists it.
    let is_joined = || fleet.lan.b.read_proc_net("igmp").unwrap().contains("0201C0EF");
    assert!(is_joined());
    let _ = running.signalled(libc::SIGKILL);
    eventually("the end of the member", || !is_joined());
}

#[test]
fn a_membership_that_a_switch_forgets_is_found_by_the_second_round() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let running = fleet.start(&[
        "--fleet",
        "10.0.0.1,10.0.0.2,10.0.0.3",
        GROUP,
        "-c",
        "2",
        "--soak=8s",
        "--json",
        "-v",
    ]);
    running.stderr.wait_for("waiting until");
    drop_at(&fleet.lan.b, "prerouting", "ip daddr 239.192.1.2");
    let ended = running.end();
    let findings = events(&ended, "fleet-finding");
    assert_eq!(
        findings.iter().map(|each| named(each, "id")).collect::<Vec<_>>(),
        ["membership-forgotten"],
        "{ended:?}"
    );
    assert_eq!(findings[0]["to"], serde_json::json!(["10.0.0.2"]), "{ended:?}");
}

#[test]
fn lldp_names_the_switch_port_of_the_machine_that_fails() {
    if !has_sshd() {
        return;
    }
    const PROGRAM: &str = "import socket, sys, time
sockets = []
for name in sys.argv[1:]:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((name, 0))
    sockets.append((name, s))
tlv = lambda kind, value: bytes([kind << 1, len(value)]) + value
while True:
    for name, s in sockets:
        unit = tlv(1, b'\\x04' + bytes(6)) + tlv(2, b'\\x05Gi1/0/' + name.encode()) + tlv(3, b'\\x00\\x78')
        s.send(bytes.fromhex('0180c200000e020000000001 88cc') + unit + tlv(5, b'sw3') + tlv(0, b''))
    time.sleep(0.1)";
    let fleet = Fleet::new();
    drop_at(&fleet.lan.c, "input", "ip daddr 239.192.1.2");
    let inside = fleet.lan.switch.inside();
    let links = inside.command("ip").unwrap().args(["-br", "link", "show", "type", "veth"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    let ports: Vec<_> = links.lines().filter_map(|line| line.split(['@', ' ']).next()).collect();
    assert_eq!(ports.len(), 3, "{links}");
    let mut python = inside.command("python3").unwrap();
    let child = python.args(["-c", PROGRAM]).args(&ports).spawn().unwrap();
    let ended = fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "-c", "1", "--json"]);
    child.kill().unwrap();
    let finding = &events(&ended, "fleet-finding")[0];
    let cause = named(finding, "cause");
    assert!(cause.starts_with("To 10.0.0.3 (port Gi1/0/") && cause.contains(" of sw3)"), "{ended:?}");
    assert!(
        events(&ended, "fleet-machine").iter().all(|machine| machine["switch_ports"][0]["switch"] == "sw3"),
        "{ended:?}"
    );
}

/// Runs a fleet of three with a program on the third machine, and `mcast` on the others.
fn with_program(fleet: &Fleet, name: &str, program: &str) -> Ended {
    let path = fleet.path(name);
    let script = format!(
        "#!/bin/sh\nif ip -o address | grep -q ' 10.0.0.3/'; then {program}; fi\nexec {MCAST} \"$@\"\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let config = fleet.path("config");
    let arguments = ["doctor", "--ssh-config", config.to_str().unwrap(), "--lldp", "0s", "--remote-command"];
    let options =
        [path.to_str().unwrap(), "--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "-c", "1", "--json"];
    crate::support::mcast(&fleet.lan.a, &[&arguments[..], &options[..]].concat())
}

#[test]
fn what_a_shell_prints_before_the_member_does_not_matter() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    for (name, noise) in [
        ("line", "echo Welcome"),
        ("open", "printf 'Welcome '"),
        ("latin1", "printf 'Gr\\374\\337e\\n'"),
        ("json", "echo '{\"motd\": 1}'"),
    ] {
        let ended = with_program(&fleet, name, noise);
        assert_eq!(ended.status, Some(0), "{name}: {ended:?}");
    }
    let ended =
        with_program(&fleet, "refuses", "echo Welcome; echo 'error: no' >&2; echo 'remedy: x' >&2; exit 4");
    let machine = &events(&ended, "fleet-machine")[2];
    assert_eq!((named(machine, "status"), named(machine, "reason")), ("failed", "no"), "{ended:?}");
}

#[test]
fn a_group_that_does_not_arrive_is_told_from_one_that_does() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    drop_at(&fleet.lan.c, "prerouting", "ip daddr 239.192.1.3");
    let ended =
        fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "239.192.1.3:5000", "-c", "1", "--json"]);
    assert_described(&ended);
    let silent: Vec<_> = events(&ended, "fleet-path")
        .into_iter()
        .filter(|path| path["outcome"] != "complete")
        .map(|path| {
            (named(&path, "group").to_owned(), named(&path, "to").to_owned(), path["outcome"].clone())
        })
        .collect();
    let expected = ("239.192.1.3:5000".to_owned(), "10.0.0.3".to_owned(), Value::from("silent"));
    assert_eq!(silent, [expected.clone(), expected], "{ended:?}");
    let findings = events(&ended, "fleet-finding");
    assert_eq!(findings.len(), 1, "{ended:?}");
    assert!(named(&findings[0], "cause").ends_with("(239.192.1.3:5000)."), "{ended:?}");
}

#[test]
fn a_family_that_a_machine_lacks_is_not_called_healthy() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let mut command = fleet.lan.c.command("sh").unwrap();
    let disable = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    assert!(command.args(["-c", disable]).status().unwrap().success());
    let page = fleet.path("page.html");
    let options = ["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", "-c", "1", "--html", page.to_str().unwrap()];
    let ended = fleet.run(&options);
    assert_eq!(ended.status, Some(6), "{ended:?}");
    let why = "no interface has an IPv6 address";
    assert!(ended.stderr.contains(why) && ended.stderr.contains("unknown: some paths"), "{ended:?}");
    assert!(fs::read_to_string(page).unwrap().contains(why));
    let only = fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", "-c", "1", "-4"]);
    assert_eq!(only.status, Some(0), "{only:?}");
}

#[test]
fn a_report_is_printed_even_if_its_page_cannot_be_written() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let ended =
        fleet.run(&["--fleet", "10.0.0.1,10.0.0.2", GROUP, "-c", "1", "--json", "--html", "/dev/full"]);
    assert!(ended.status != Some(0) && ended.stderr.contains("cannot write /dev/full"), "{ended:?}");
    assert_eq!(named(&events(&ended, "fleet-verdict")[0], "verdict"), "healthy", "{ended:?}");
}

#[test]
fn an_interrupt_while_waiting_for_lldp_keeps_the_report() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    drop_at(&fleet.lan.c, "prerouting", "ip daddr 239.192.1.2");
    let config = fleet.path("config");
    let arguments = ["doctor", "--ssh-config", config.to_str().unwrap(), "--remote-command", MCAST, "-v"];
    let options = ["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "-c", "1", "--json", "--lldp", "1h"];
    let running = start(&fleet.lan.a, &[&arguments[..], &options[..]].concat());
    running.stderr.wait_for("waiting for LLDP");
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(events(&ended, "fleet-finding").len(), 1, "{ended:?}");
    assert_eq!(events(&ended, "fleet-verdict")[0]["examined"], 3, "{ended:?}");
}

#[test]
fn an_interrupt_before_the_second_round_keeps_the_results_of_the_first() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    drop_at(&fleet.lan.c, "prerouting", "ip daddr 239.192.1.2");
    let options = ["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "-c", "1", "--json", "--soak=1h", "-v"];
    let running = fleet.start(&options);
    running.stderr.wait_for("waiting until");
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(events(&ended, "fleet-finding").len(), 1, "{ended:?}");
    assert_eq!(events(&ended, "fleet-verdict")[0]["examined"], 3, "{ended:?}");
}

#[test]
fn a_machine_with_two_names_is_one_machine() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let path = fleet.path("config");
    let config = "Host alias\nHostName 10.0.0.2\n".to_owned() + &fs::read_to_string(&path).unwrap();
    fs::write(path, config).unwrap();
    let ended = fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,alias", GROUP, "-c", "1", "--json"]);
    let machine = &events(&ended, "fleet-machine")[2];
    assert_eq!(named(machine, "reason"), "the same machine as 10.0.0.2, under another name", "{ended:?}");
    assert_eq!(ended.status, Some(6), "{ended:?}");
}

#[test]
fn a_fleet_has_at_least_two_machines_and_valid_names() {
    let lan = Lan::new();
    for arguments in [
        &["--fleet", "a"][..],
        &["--fleet", "a,a"],
        &["--fleet", "a,-oProxyCommand=x"],
        &["--fleet", "a,b", "--listen"],
        &["--fleet", "a,b", "10.0.0.1@232.1.2.3:5000"],
    ] {
        let ended = crate::support::mcast(&lan.a, &[&["doctor"], arguments].concat());
        assert_eq!(ended.status, Some(2), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_watched_fleet_reports_changes_and_since_when_across_a_restart() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    let history = fleet.path("history");
    let arguments = [
        "--fleet",
        "10.0.0.1,10.0.0.2,10.0.0.3",
        GROUP,
        "-c",
        "1",
        "--json",
        "--watch=1s",
        "--journal",
        history.to_str().unwrap(),
    ];
    let recorded = || fs::read_to_string(&history).unwrap_or_default();
    let first = fleet.start(&arguments);
    eventually("a healthy examination", || recorded().contains("\"verdict\":\"healthy\""));
    drop_at(&fleet.lan.c, "input", "ip daddr 239.192.1.2");
    eventually("the onset", || first.stdout.text().contains("\"event\":\"since\""));
    let first = first.signalled(libc::SIGINT);
    let since = |ended: &Ended| events(ended, "since").pop().unwrap();
    let onset = since(&first);
    assert_valid("doctor-since", &onset);
    let paths: Vec<_> = onset["paths"].as_array().unwrap().iter().map(|path| named(path, "to")).collect();
    assert_eq!(paths, ["10.0.0.3", "10.0.0.3"], "{first:?}");
    assert!(onset["healthy_until"].as_str() < onset["since"].as_str(), "{first:?}");

    // A power failure damages the last line.
    fs::write(&history, recorded() + "{\"event\":\"history\",\"time\":\"2026-").unwrap();
    let second = fleet.start(&arguments);
    eventually("the onset again", || second.stdout.text().contains("\"event\":\"since\""));
    let second = second.signalled(libc::SIGINT);
    assert_eq!(since(&second), onset, "{second:?}");
    events(&second, "history").iter().for_each(|entry| assert_valid("doctor-history", entry));
    let shown = start(&fleet.lan.a, &["doctor", "--journal", history.to_str().unwrap()]).end();
    assert!(shown.text().contains("10.0.0.1 to 10.0.0.3 silent (239.192.1.2:5000) since "), "{shown:?}");
}

#[test]
fn what_machines_report_alike_is_printed_once() {
    if !has_sshd() {
        return;
    }
    let fleet = Fleet::new();
    for host in [&fleet.lan.b, &fleet.lan.c] {
        drop_at(host, "input", "ip daddr 239.192.1.2");
    }
    let ended = fleet.run(&["--fleet", "10.0.0.1,10.0.0.2,10.0.0.3", GROUP, "-c", "1"]);
    let text = ended.text();
    assert!(text.contains("10.0.0.2 and 10.0.0.3 report about themselves"), "{ended:?}");
    assert_eq!(text.matches("fault     firewall-drops-data").count(), 1, "{ended:?}");
}
