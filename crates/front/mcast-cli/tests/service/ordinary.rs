//! The table of rights in `docs/how-to/services.md`, tested with no capability and with one.

use mcast_lab::Host;
use tempfile::TempDir;

use crate::manager::{allow, open_folder};
use crate::running::{as_nobody, copied};
use crate::support::{Ended, Lan, Running, mcast, program};

const GROUP: &str = "239.255.1.3:5000";

/// A user on host `b` without any rights but these.
struct OrdinaryUser {
    lan: Lan,
    folder: TempDir,
    command: String,
    capabilities: Vec<String>,
}

impl OrdinaryUser {
    fn with(capabilities: &[&str]) -> Self {
        let folder = open_folder();
        allow(folder.path(), 0o777);
        let command = copied(folder.path());
        let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
        Self { lan: Lan::new(), folder, command, capabilities }
    }

    fn start_on(&self, host: &Host, arguments: &[&str]) -> Running {
        let mut words = as_nobody(&self.capabilities);
        words.push(self.command.clone());
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        program(host, words[0], &words[1..], false)
    }

    fn start(&self, arguments: &[&str]) -> Running {
        self.start_on(&self.lan.b, arguments)
    }

    fn mcast(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn refused(ended: &Ended, right: &str) {
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.stderr.contains(right), "{ended:?}");
}

#[test]
fn without_rights_sockets_work_fully() {
    let user = OrdinaryUser::with(&[]);
    let receiving = user.start(&["recv", "-i", "eth0", "-c", "1", GROUP]);
    receiving.stderr.wait_for("joined");
    user.start_on(&user.lan.a, &["send", "-q", "-i", "eth0", GROUP, "hello"]).end().succeeded();
    assert!(receiving.end().succeeded().text().contains("hello"));

    let answering = user.start(&["ping", "--reply", "-i", "eth0", "239.255.1.3:5001"]);
    answering.stderr.wait_for("answering pings");
    let ping = ["ping", "-i", "eth0", "239.255.1.3:5001", "-c", "1", "--wait", "20s", "--expect", "1"];
    user.start_on(&user.lan.a, &ping).end().succeeded();
    answering.signalled(libc::SIGINT);

    let measuring = user.start(&["perf", "recv", "-i", "eth0", "239.255.1.3:5002"]);
    measuring.stderr.wait_for("waiting for mcast perf send");
    let perf = ["perf", "send", "-i", "eth0", "239.255.1.3:5002", "--duration", "100ms", "--rate", "1kpps"];
    user.start_on(&user.lan.a, &perf).end().succeeded();
    measuring.end().succeeded();

    for arguments in [&["interfaces"][..], &["explain", "239.255.1.3"], &["pick", "x"]] {
        user.mcast(arguments).succeeded();
    }
}

#[test]
fn without_rights_messages_and_replays_work() {
    let user = OrdinaryUser::with(&[]);
    let subscribing = user.start(&["subscribe", "-i", "eth0", "-c", "1", GROUP]);
    subscribing.stderr.wait_for("joined");
    let publish = ["publish", "-i", "eth0", GROUP, "hello"];
    let publishing = user.start_on(&user.lan.a, &publish);
    assert!(subscribing.end().succeeded().text().contains("hello"));
    publishing.end().succeeded();

    // Without the right to capture, it records what sockets receive.
    let file = user.file("x.pcapng");
    let recording = user.start(&["record", "-i", "eth0", "-c", "1", "-w", &file, GROUP]);
    recording.stderr.wait_for("recording from sockets");
    user.start_on(&user.lan.a, &["send", "-q", "-i", "eth0", GROUP, "hello"]).end().succeeded();
    recording.end().succeeded();
    user.mcast(&["replay", "-i", "eth0", &file]).succeeded();
    let shown = user.mcast(&["sniff", "-r", &file]).succeeded();
    assert!(shown.text().contains("239.255.1.3"), "{shown:?}");
    let shown = user.mcast(&["top", "-r", &file, "--once"]).succeeded();
    assert!(shown.text().contains("239.255.1.3"), "{shown:?}");
    user.mcast(&["doctor", "-r", &file]);
}

#[test]
fn without_rights_capturing_is_refused_with_a_remedy() {
    let user = OrdinaryUser::with(&[]);
    for arguments in [
        &["sniff", "-i", "eth0"][..],
        &["top", "-i", "eth0", "--once"],
        &["querier", "-i", "eth0"],
        &["querier", "-i", "eth0", "--become"],
        &["relay", "239.255.1.3:5000 between eth0 and eth9"],
        &["record", "-i", "eth0", "--via", "wire", "-w", &user.file("wire.pcapng"), GROUP],
    ] {
        let ended = user.mcast(arguments);
        refused(&ended, "cap_net_raw");
    }
}

#[test]
fn with_the_right_to_capture_packets_are_seen() {
    let user = OrdinaryUser::with(&["net_raw"]);
    let sniffing = user.start(&["sniff", "-i", "eth0", "--join", GROUP]);
    sniffing.stderr.wait_for("joined");
    let watching = user.start(&["top", "-i", "eth0", "--json", "--interval", "100ms", "239.255.1.3"]);
    watching.stderr.wait_for("watching eth0");
    user.start_on(&user.lan.a, &["send", "-q", "-i", "eth0", GROUP, "hello"]).end().succeeded();
    sniffing.stdout.wait_for("239.255.1.3");
    watching.stdout.wait_for("239.255.1.3");
    sniffing.signalled(libc::SIGINT);
    watching.signalled(libc::SIGINT);
    let asking = user.start(&["querier", "-i", "eth0", "--become"]);
    asking.stdout.wait_for("sent IGMP");
    asking.signalled(libc::SIGINT);
}

#[test]
fn without_rights_the_doctor_reports_open_questions() {
    let user = OrdinaryUser::with(&[]);
    user.mcast(&["doctor", "--json"]);
    let examined = user.mcast(&["doctor", "-i", "eth0", "-W", "300ms", "--json", GROUP]);
    assert_eq!(examined.status, Some(3), "{examined:?}");
    let open: Vec<_> = examined.json().into_iter().filter(|row| row["event"] == "open-question").collect();
    assert!(open.iter().any(|row| row.to_string().contains("CAP_NET_RAW")), "{examined:?}");
}

#[test]
fn finding_the_processes_of_sockets_needs_rights() {
    // A receiver of root's, or of another namespace's owner.
    let user = OrdinaryUser::with(&[]);
    let held = crate::support::recv(&user.lan.b, &["-i", "eth0", GROUP]);
    let own = user.start(&["recv", "-i", "eth0", "239.255.1.4:5000"]);
    own.stderr.wait_for("joined");
    let shown = user.mcast(&["groups", "--json"]).succeeded();
    let holder = |shown: &Ended, group: &str| {
        let rows = shown.json().into_iter().filter(|row| row["group"] == *group);
        rows.map(|row| row.to_string()).collect::<String>()
    };
    assert!(holder(&shown, "239.255.1.4").contains("\"mcast\""), "{shown:?}");
    assert!(!holder(&shown, "239.255.1.3").contains("\"mcast\""), "{shown:?}");
    assert!(shown.stderr.contains("CAP_SYS_PTRACE"), "{shown:?}");

    let words = as_nobody(&["sys_ptrace".into(), "dac_read_search".into()]);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend([&*user.command, "groups", "--json"]);
    let shown = program(&user.lan.b, words[0], &words[1..], false).end().succeeded();
    assert!(holder(&shown, "239.255.1.3").contains("\"mcast\""), "{shown:?}");
    held.child.kill().unwrap();
    own.child.kill().unwrap();
}

#[test]
fn the_table_has_a_row_for_every_subcommand() {
    let page = include_str!("../../../../../docs/how-to/services.md");
    let help = mcast(&Lan::new().a, &["--help"]).succeeded();
    let mut commands: Vec<String> = Vec::new();
    for line in help.lines().into_iter().take_while(|line| !line.starts_with("Run `mcast COMMAND")) {
        let is_command = line.strip_prefix("  ").is_some_and(|rest| !rest.starts_with(' '));
        commands.extend(line.split_whitespace().next().filter(|_| is_command).map(str::to_owned));
    }
    assert!(commands.len() > 15, "{commands:?}");
    for command in &commands {
        let is_named = page.lines().any(|line| {
            line.split('|').nth(1).is_some_and(|cell| {
                cell.contains(&format!("`{command}`")) || cell.contains(&format!("`{command} "))
            })
        });
        assert!(is_named, "{command} has no row");
    }
}
