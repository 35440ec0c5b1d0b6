//! `mcast demo`: its output is the same every time and for every user, and its exit status is correct.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "command/film.rs"]
mod film;
#[path = "command/schemas.rs"]
mod schemas;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use mcast_lab::Lab;
use serde_json::Value;
use snapbox::{assert_data_eq, file};

const MCAST: &str = env!("CARGO_BIN_EXE_mcast");
const NOBODY: u32 = 65534;

fn demo(arguments: &[&str]) -> Output {
    Command::new(MCAST).arg("demo").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn assert_plays(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

/// Returns the checks, followed by the verdict.
fn facts(output: &Output) -> Vec<Value> {
    let facts: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (verdict, before) = facts.split_last().unwrap();
    schemas::assert_valid("demo-verdict", verdict);
    before.iter().for_each(|fact| schemas::assert_valid("demo-fact", fact));
    facts
}

#[test]
fn all_checks_pass() {
    let output = demo(&["--json"]);
    assert_plays(&output);
    let facts = facts(&output);
    let (verdict, facts) = facts.split_last().unwrap();
    assert_eq!((&verdict["event"], &verdict["environment"]), (&"verdict".into(), &"lab".into()));
    assert_eq!(verdict["failed"], 0);
    for fact in facts {
        assert_eq!(fact["as_expected"], true, "{fact}");
    }
    let received = |act: &str, host: &str| -> Vec<String> {
        let by = |fact: &&Value| fact["part"] == act && fact["host"] == host && fact["event"] == "received";
        facts.iter().filter(by).map(|fact| format!("{} {}", fact["group"], fact["text"])).collect()
    };
    for act in ["flooding", "snooping"] {
        assert_eq!(received(act, "eastny"), [r#""224.1.1.5" "Hello, World!""#]);
        assert_eq!(received(act, "flatbush"), [r#""224.1.1.5" "Hello, World!""#]);
        assert_eq!(received(act, "bushwick"), [r#""234.3.2.1" "Hello, bushwick!""#]);
    }
    assert_eq!(received("two interfaces", "flatbush").len(), 2);
}

#[test]
fn the_captured_frame_is_the_one_that_was_sent() {
    let facts = facts(&demo(&["--json"]));
    let captured = facts.iter().find(|fact| fact.get("hex").is_some()).unwrap();
    let frame = captured["hex"].as_str().unwrap();
    // To the group's Ethernet address; IPv4 with TTL 1 and UDP; to the group from midwood; the text.
    assert!(frame.starts_with("01005e010105"), "{frame}");
    assert_eq!(&frame[44..48], "0111");
    assert_eq!(&frame[52..68], "c0a83867e0010105");
    assert!(frame.ends_with("48656c6c6f2c20576f726c6421"), "{frame}");
    assert_eq!(captured["summary"], "Ether / IP / UDP 192.168.56.103:52582 > 224.1.1.5:50001 / Raw");
}

#[test]
fn output_is_the_same_every_time_and_fits_the_screen() {
    let (first, second) = (demo(&[]), demo(&[]));
    assert_plays(&first);
    assert_eq!(text(&first.stdout), text(&second.stdout));
    assert!(!first.stdout.contains(&0x1b), "colours in a pipe");
    assert_eq!(text(&first.stderr), "");
    let widest = text(&first.stdout).lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(90), "{widest:?} columns");
}

#[test]
fn a_narrow_terminal_shows_all_but_the_drawings() {
    let output = Command::new(MCAST).arg("demo").env("COLUMNS", "40").output().unwrap();
    assert_plays(&output);
    // A command to paste and an address stay whole.
    let is_whole = |line: &&str| line.contains("mcast lab shell") || !line.trim().contains(' ');
    let lines = text(&output.stdout).lines().filter(|line| !is_whole(line));
    let long: Vec<&str> = lines.filter(|line| line.chars().count() > 40).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(
        text(&output.stdout).contains("\n    0028  53 C9 48 65 6C 6C 6F 2C\n"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn plain_is_ascii() {
    let output = demo(&["--plain"]);
    assert_plays(&output);
    assert!(output.stdout.is_ascii());
    assert!(text(&output.stdout).contains("--+--"));
}

#[test]
fn an_ordinary_user_can_run_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary: PathBuf = directory.path().join("mcast");
    fs::copy(MCAST, &binary).unwrap();
    let mut command = Command::new(&binary);
    command.arg("demo").current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    assert_plays(&output);
    assert_eq!(text(&output.stdout), text(&demo(&[]).stdout));
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs it on a terminal.
fn on_a_terminal(environment: &[(&str, &str)]) -> Option<Output> {
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &format!("{MCAST} demo"), "/dev/null"]);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    match command.envs(environment.iter().copied()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            mcast_lab::skip(format_args!("colours on a terminal: cannot run script(1): {error}"));
            None
        }
    }
}

#[test]
fn it_is_coloured_on_a_terminal_unless_disabled() {
    let Some(coloured) = on_a_terminal(&[]) else { return };
    assert_plays(&coloured);
    assert!(coloured.stdout.contains(&0x1b));
    let plain = on_a_terminal(&[("NO_COLOR", "1")]).unwrap();
    assert_plays(&plain);
    assert!(!plain.stdout.contains(&0x1b));
}

#[test]
fn without_namespaces_it_runs_on_the_loopback_interface() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    // This user namespace allows no further namespaces of either kind.
    let refuse = "echo 0 > /proc/sys/user/max_user_namespaces && echo 0 > /proc/sys/user/max_net_namespaces";
    let script = format!("{refuse} && exec {MCAST} demo --json");
    let mut command = host.command("unshare").unwrap();
    let output = command.args(["--user", "--map-root-user", "sh", "-c", &script]).output().unwrap();
    assert_plays(&output);
    let facts = facts(&output);
    let verdict = facts.last().unwrap();
    assert_eq!((&verdict["environment"], &verdict["failed"]), (&"loopback".into(), &0.into()));
    let notes = text(&output.stderr);
    assert!(notes.contains("cannot create virtual hosts here"), "{notes}");
    assert!(notes.contains("remedy: ") && notes.contains("namespaces"), "{notes}");
}

#[test]
fn the_loopback_demonstration_is_the_same_every_time() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let play = || host.command(MCAST).unwrap().args(["demo", "--loopback"]).output().unwrap();
    let (first, second) = (play(), play());
    assert_plays(&first);
    assert_eq!(text(&first.stdout), text(&second.stdout));
}

#[test]
fn without_a_loopback_interface_it_names_the_remedy() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    host.set_down("lo").unwrap();
    let output = host.command(MCAST).unwrap().args(["demo", "--loopback"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let notes = text(&output.stderr);
    assert!(notes.contains("error: no loopback interface is up") && notes.contains("remedy: "), "{notes}");
}

/// Repeatedly sends datagrams to alice's group that seem to come from carol. In a network namespace with a single
/// ephemeral port, carol's port is known.
const IMPOSTOR: &str = "
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('127.0.0.1'))
text = b'Good-bye!'
print('ready', flush=True)
while True:
    s.sendto(struct.pack('!HHHH', 40000, 50001, 8 + len(text), 0) + text, ('239.255.56.1', 0))
    time.sleep(0.001)
";

#[test]
fn a_failed_check_is_reported_with_status_1() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    host.sysctl("net/ipv4/ip_local_port_range", "40000 40000").unwrap();
    let mut impostor = host.command("python3").unwrap();
    let mut impostor = impostor.args(["-c", IMPOSTOR]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(impostor.stdout.as_mut().unwrap(), &mut ready).unwrap();

    let play = |form| host.command(MCAST).unwrap().args(["demo", "--loopback", form]).output().unwrap();
    let (plain, json) = (play("--plain"), play("--json"));
    impostor.kill().unwrap();
    assert_eq!((plain.status.code(), json.status.code()), (Some(1), Some(1)), "{}", text(&plain.stdout));
    assert!(text(&plain.stdout).contains("  ! alice    received \"Good-bye!\""), "{}", text(&plain.stdout));
    assert!(text(&plain.stdout).contains("checks failed"));
    let facts = facts(&json);
    let wrong = facts.iter().find(|fact| fact["as_expected"] == false).unwrap();
    assert_eq!(wrong["text"], "Good-bye!");
    assert!(wrong["expected"].is_object());
}

/// The picture of the README: the first part.
#[test]
fn the_picture_shows_what_is_printed() {
    let output = Command::new(MCAST).arg("demo").env("CLICOLOR_FORCE", "1").output().unwrap();
    assert_plays(&output);
    let text = text(&output.stdout);
    let end = text
        .lines()
        .position(|line| line.starts_with("2  ") || line.contains("2  The same on a switch"))
        .unwrap();
    let lines: Vec<_> = text.lines().take(end).collect();
    let text = lines.join("\n");
    assert_data_eq!(
        film::still(text.trim_end().to_owned()),
        file!["../../../../docs/pictures/demo.term.svg": Text].raw()
    );
}
