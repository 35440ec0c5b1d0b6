//! `mcast groups` on hosts of a lab: memberships of other programs, and notes about hidden ones.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host, Lab};
use serde_json::Value;

const MCAST: &str = env!("CARGO_BIN_EXE_mcast");
const TIMEOUT: Duration = Duration::from_secs(30);

/// A host with `eth0` and `eth1`.
fn host() -> (Lab, Host) {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    for (number, name) in ["eth0", "eth1"].into_iter().enumerate() {
        let lan = lab.switch(&format!("lan{number}")).unwrap();
        let addresses = [format!("10.{number}.0.1/24"), format!("fd0{number}::1/64")];
        host.connect(name, &lan, &[&addresses[0], &addresses[1]]).unwrap();
    }
    (lab, host)
}

fn groups(host: &Host, arguments: &[&str]) -> Output {
    host.command(MCAST).unwrap().arg("groups").args(arguments).output().unwrap()
}

/// A copy of the command under another name, where every user may run it.
fn copy_as(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join(name);
    // By another process: while this one had the copy open for writing, a program that another
    // test starts just then would keep it from being run.
    assert!(Command::new("cp").arg(MCAST).arg(&program).status().unwrap().success());
    (directory, program)
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A program that has joined these, and only keeps them.
struct Listener {
    child: Child,
}

impl Listener {
    fn start(host: &Host, program: impl AsRef<Path>, memberships: &[&str]) -> Self {
        let mut command = host.command(program.as_ref()).unwrap();
        command.args(["recv", "--discard"]).args(memberships);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // The kernel lists a group before its sources: only the note of the program shows that it has joined all.
        let notes = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let joined = notes.filter(|note| note.contains("joined on")).take(memberships.len()).count();
        assert_eq!(joined, memberships.len(), "the program did not join");
        Self { child }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const JOINED: [&str; 3] =
    ["239.1.2.3%eth0:7000", "10.0.0.7,10.0.0.8@232.1.2.3%eth1:7001", "!fd00::9@[ff02::fb%eth0]:5353"];

#[test]
fn a_row_has_group_interface_version_sources_process_and_port() {
    let (_lab, host) = host();
    let listener = Listener::start(&host, MCAST, &JOINED);

    let output = groups(&host, &[]);

    assert_eq!(output.status.code(), Some(0));
    let process = format!("mcast ({})", listener.child.id());
    let rows: Vec<Vec<&str>> = stdout(&output)
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let (titles, rows) = rows.split_first().unwrap();
    assert_eq!(titles[..7], ["group", "name", "interface", "version", "sources", "process", "port"]);
    let beginnings: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().copied().take(6).collect()).collect();
    let expected: [&[&str]; 4] = [
        &["232.1.2.3", "eth1", "IGMPv3", "10.0.0.7", &process, "7001"],
        &["10.0.0.8"],
        &["239.1.2.3", "eth0", "IGMPv3", "any", &process, "7000"],
        &["ff02::fb", "mdns", "eth0", "MLDv2", "not fd00::9", &process],
    ];
    assert_eq!(beginnings, expected);
}

#[test]
fn json_has_the_same_memberships() {
    let (_lab, host) = host();
    let listener = Listener::start(&host, MCAST, &JOINED);

    let objects = objects(stdout(&groups(&host, &["--json"])));

    assert_eq!(objects.len(), 3);
    let of = |group: &str| objects.iter().find(|object| object["group"] == group).unwrap();
    let ssm = of("232.1.2.3");
    assert_eq!(ssm["name"], Value::Null);
    assert_eq!((&ssm["interface"], &ssm["version"]), (&"eth1".into(), &"IGMPv3".into()));
    assert_eq!(
        (&ssm["mode"], &ssm["sources"]),
        (&"include".into(), &serde_json::json!(["10.0.0.7", "10.0.0.8"]))
    );
    assert_eq!((&ssm["pid"], &ssm["process"]), (&listener.child.id().into(), &"mcast".into()));
    assert_eq!((&ssm["port"], &ssm["drops"]), (&7001.into(), &0.into()));
    assert_eq!((&ssm["holder"], &ssm["socket_kind"]), (&"socket".into(), &"udp".into()));
    let mdns = of("ff02::fb");
    assert_eq!((&mdns["name"], &mdns["version"]), (&"mdns".into(), &"MLDv2".into()));
    assert_eq!((&mdns["mode"], &mdns["sources"]), (&"exclude".into(), &serde_json::json!(["fd00::9"])));
    assert_eq!(
        (&of("239.1.2.3")["mode"], &of("239.1.2.3")["sources"]),
        (&"exclude".into(), &serde_json::json!([]))
    );
}

#[test]
fn json_follows_the_schema() {
    let (_lab, host) = host();
    let _listener = Listener::start(&host, MCAST, &JOINED);

    let objects = objects(stdout(&groups(&host, &["--json", "--all"])));

    for holder in ["socket", "kernel"] {
        assert!(objects.iter().any(|object| object["holder"] == holder));
    }
    objects
        .iter()
        .for_each(|object| assert_matches_schema(object, include_str!("../schemas/membership.json")));
}

/// Every field is documented, present, and of a type and value that the schema allows.
fn assert_matches_schema(object: &Value, schema: &str) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let object = object.as_object().unwrap();
    assert_eq!(object.keys().collect::<BTreeSet<_>>(), properties.keys().collect());
    for (name, value) in object {
        let types = &properties[name]["type"];
        let own = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is_listed = types == own || types.as_array().is_some_and(|types| types.contains(&own.into()));
        assert!(is_listed, "{name}: {value} is none of {types}");
        let allowed = properties[name].get("enum").and_then(Value::as_array);
        assert!(allowed.is_none_or(|allowed| allowed.contains(value)), "{name}: {value}");
    }
}

#[test]
fn the_kernels_own_groups_are_shown_on_request() {
    let (_lab, host) = host();

    let plain = groups(&host, &[]);
    assert_eq!((plain.status.code(), stdout(&plain)), (Some(0), ""));
    assert!(stderr(&plain).contains("no process has joined a group"), "{}", stderr(&plain));
    assert!(stderr(&plain).contains("`-a` shows them"), "{}", stderr(&plain));
    assert_eq!(stderr(&groups(&host, &["--quiet"])), "");

    let all = groups(&host, &["--all"]);
    let holds = |group: &str| {
        let mut lines = stdout(&all).lines();
        lines.any(|line| line.starts_with(group) && line.contains("eth0") && line.ends_with("kernel"))
    };
    assert!(holds("224.0.0.1 ") && holds("ff02::1 ") && holds("ff02::1:ff00:1 "), "{}", stdout(&all));
}

#[test]
fn named_groups_select_rows_and_decide_the_exit_status() {
    let (_lab, host) = host();
    let _listener = Listener::start(&host, MCAST, &JOINED);
    let shown = |arguments: &[&str]| -> (Option<i32>, Vec<String>) {
        let output = groups(&host, &[arguments, &["--json"]].concat());
        let shown = objects(stdout(&output));
        (
            output.status.code(),
            shown.iter().map(|object| object["group"].as_str().unwrap().to_owned()).collect(),
        )
    };

    assert_eq!(shown(&["239.1.2.3"]), (Some(0), vec!["239.1.2.3".into()]));
    assert_eq!(shown(&["mdns"]), (Some(0), vec!["ff02::fb".into()]));
    assert_eq!(shown(&["232.0.0.0/7"]), (Some(0), vec!["232.1.2.3".into()]));
    assert_eq!(shown(&["239.1.2.3", "239.1.2.4"]), (Some(1), vec!["239.1.2.3".into()]));
    assert_eq!(shown(&["239.1.2.3", "-i", "eth1"]), (Some(1), vec![]));
    assert_eq!(shown(&["-i", "10.1.0.1"]), (Some(0), vec!["232.1.2.3".into()]));
    // A named group includes the memberships of the kernel.
    assert_eq!(shown(&["224.0.0.1", "-i", "eth0"]), (Some(0), vec!["224.0.0.1".into()]));
    assert!(stderr(&groups(&host, &["239.1.2.4"])).contains("239.1.2.4 is not joined"));
}

#[test]
fn invalid_combinations_are_refused() {
    let (_lab, host) = host();
    for wrong in ["10.0.0.1", "239.1.2.0/33", "nonsense"] {
        assert_eq!(groups(&host, &[wrong]).status.code(), Some(2), "{wrong}");
    }
    let output = groups(&host, &["-i", "eth7"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("eth7"), "{}", stderr(&output));
}

#[test]
fn an_ordinary_user_sees_a_note_about_hidden_processes() {
    if !Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n") {
        mcast_lab::skip("this test needs root, to become another user");
        return;
    }
    let (_lab, host) = host();
    let _listener = Listener::start(&host, MCAST, &["239.1.2.3%eth0:7000"]);
    let (_directory, program) = copy_as("mcast");

    let nobody = |arguments: &[&str]| {
        let mut command = host.command("setpriv").unwrap();
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).arg("groups");
        command.args(arguments).output().unwrap()
    };

    let table = nobody(&[]);
    assert_eq!(table.status.code(), Some(0));
    let row = stdout(&table).lines().last().unwrap();
    assert!(row.starts_with("239.1.2.3") && row.ends_with("not seen"), "{row}");
    assert!(stderr(&table).contains("cannot determine the process of 1 membership"), "{}", stderr(&table));
    assert!(stderr(&table).contains("CAP_SYS_PTRACE"), "{}", stderr(&table));

    let objects = objects(stdout(&nobody(&["--json"])));
    assert_eq!(objects.len(), 1);
    assert_eq!((&objects[0]["holder"], &objects[0]["sockets"]), (&"unknown".into(), &1.into()));
    assert_eq!((&objects[0]["pid"], &objects[0]["mode"]), (&Value::Null, &Value::Null));
    assert_eq!(objects[0]["version"], "IGMPv3");
}

/// A process chooses its name itself, and so what a terminal would be sent.
#[test]
fn the_name_of_a_process_is_escaped() {
    let (_lab, host) = host();
    let (_directory, program) = copy_as("a\u{1b}[2Jb\nc");
    let _listener = Listener::start(&host, &program, &["239.1.2.3%eth0:7000"]);

    let output = groups(&host, &[]);

    let row = stdout(&output).lines().last().unwrap();
    assert!(row.contains("a\\x1b[2Jb\\nc ("), "{row:?}");
    let objects = objects(stdout(&groups(&host, &["--json"])));
    assert_eq!(objects[0]["process"], "a\u{1b}[2Jb\nc");
}

#[test]
fn surprising_sockets_have_remarks() {
    let (_lab, host) = host();
    host.sysctl("net/ipv4/conf/eth1/force_igmp_version", "2").unwrap();
    let _listener = Listener::start(&host, MCAST, &["10.0.0.7@232.1.2.3%eth1:7001"]);

    let plain = groups(&host, &[]);
    assert!(stdout(&plain).contains("IGMPv2 cannot report sources to the network"), "{}", stdout(&plain));
    assert!(!stdout(&plain).contains("MULTICAST_ALL"), "{}", stdout(&plain));

    let verbose = groups(&host, &["--verbose"]);
    assert!(stdout(&verbose).contains("MULTICAST_LOOP on, MULTICAST_ALL off"), "{}", stdout(&verbose));
}

/// `mcast groups --watch`, line by line.
struct Watch {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watch {
    fn start(host: &Host, arguments: &[&str]) -> Self {
        let mut command = host.command(MCAST).unwrap();
        command.args(["groups", "--watch"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines }
    }

    /// Returns the lines up to the first one that contains all these words.
    fn until(&self, words: &[&str]) -> Vec<String> {
        let deadline = Instant::now() + TIMEOUT;
        let mut lines: Vec<String> = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("{words:?} is not in {lines:#?}") };
            lines.push(line);
            if lines.last().is_some_and(|line| words.iter().all(|word| line.contains(word))) {
                return lines;
            }
        }
    }

    fn interrupt(mut self) -> Option<i32> {
        self.child.signal(libc::SIGINT).unwrap();
        self.child.wait_timeout(TIMEOUT).unwrap().code()
    }
}

#[test]
fn watching_reports_joins_and_leaves_until_interrupted() {
    let (_lab, host) = host();
    let first = Listener::start(&host, MCAST, &["239.0.0.1%eth0:7000"]);
    let watch = Watch::start(&host, &[]);
    watch.until(&["239.0.0.1", "eth0", "7000"]);

    let second = Listener::start(&host, MCAST, &["10.0.0.7@232.1.2.3%eth1:7001"]);
    watch.until(&["joined", "232.1.2.3 on eth1", "mcast", "port 7001", "10.0.0.7"]);
    drop(second);
    watch.until(&["left", "232.1.2.3 on eth1"]);
    drop(first);
    watch.until(&["left", "239.0.0.1 on eth0"]);

    assert_eq!(watch.interrupt(), Some(130));
}

#[test]
fn watching_with_json_prints_objects() {
    let (_lab, host) = host();
    let _first = Listener::start(&host, MCAST, &["239.0.0.1%eth0:7000"]);
    let watch = Watch::start(&host, &["--json", "239.0.0.0/8"]);
    let present = objects(&watch.until(&["239.0.0.1"]).join("\n"));
    assert_eq!(present.last().unwrap()["event"], "present");

    let second = Listener::start(&host, MCAST, &["10.0.0.7@232.1.2.3%eth1:7001", "239.1.2.3%eth1:7001"]);
    let mut changes = objects(&watch.until(&["239.1.2.3", "joined"]).join("\n"));
    drop(second);
    changes.extend(objects(&watch.until(&["239.1.2.3", "left"]).join("\n")));

    let events: Vec<(&str, &str)> = changes
        .iter()
        .map(|each| (each["event"].as_str().unwrap(), each["group"].as_str().unwrap()))
        .collect();
    assert_eq!(events, [("joined", "239.1.2.3"), ("left", "239.1.2.3")], "{present:#?} {changes:#?}");
    changes
        .iter()
        .for_each(|change| assert_matches_schema(change, include_str!("../schemas/membership-event.json")));
}
