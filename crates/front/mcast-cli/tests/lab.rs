//! `mcast lab`: the output and the end of programs, and removal of the network.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "command/schemas.rs"]
mod schemas;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mcast_lab::Lab;
use serde_json::Value;
use tempfile::TempDir;

const MCAST: &str = env!("CARGO_BIN_EXE_mcast");
const NOBODY: u32 = 65534;
const TIMEOUT: Duration = Duration::from_secs(30);

fn lab(arguments: &[&str]) -> Output {
    Command::new(MCAST).arg("lab").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn assert_status(output: &Output, status: i32) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
}

/// A topology file that lasts as long as this.
struct File {
    _directory: TempDir,
    path: PathBuf,
}

impl File {
    fn new(topology: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net.toml");
        fs::write(&path, topology).unwrap();
        Self { _directory: directory, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// Returns the standard output of all hosts: host and line, sorted.
fn lines(output: &Output) -> Vec<(&str, &str)> {
    let parted = |line| -> (&str, &str) {
        let (host, line) = str::split_once(line, '|').unwrap();
        (host.trim(), line.trim())
    };
    let mut lines: Vec<_> = text(&output.stdout).lines().map(parted).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn two_of_four_hosts_receive_the_message() {
    let output = lab(&["run", "four-hosts"]);
    assert_status(&output, 0);
    let lines = lines(&output);
    let hosts: Vec<_> = lines.iter().map(|(host, _)| *host).collect();
    assert_eq!(hosts, ["eastny", "flatbush"], "{}", text(&output.stdout));
    for (_, line) in lines {
        assert!(line.contains("192.168.56.103") && line.ends_with("Hello from midwood"), "{line}");
    }
    let report = text(&output.stderr);
    for host in ["eastny  ", "midwood ", "flatbush"] {
        assert!(report.contains(&format!("{host} | ✓ exit 0 after ")), "{report}");
    }
    assert!(report.contains("bushwick | ✓ stopped after "), "{report}");
}

/// As in the first and the third act of the demonstration.
#[test]
fn on_a_switch_that_floods_a_capture_sees_a_group_that_its_host_has_not_joined() {
    let output = lab(&["run", "four-hosts-flooding"]);
    assert_status(&output, 0);
    let lines = lines(&output);
    let of = |host| lines.iter().filter(|(of, _)| *of == host).map(|(_, line)| *line).collect::<Vec<_>>();
    assert!(matches!(of("bushwick")[..], [line] if line.contains("UDP 192.168.56.103:")), "{lines:?}");
    assert!(matches!(of("flatbush")[..], [line] if line.contains(" eth1 ")), "{lines:?}");
}

#[test]
fn a_host_with_two_interfaces_receives_only_where_it_has_joined() {
    let output = lab(&["run", "two-nics"]);
    assert_status(&output, 0);
    let lines = lines(&output);
    assert!(
        matches!(lines[..], [("server", line)] if line.contains("> 239.255.2.2:5000 eth1 ")),
        "{lines:?}"
    );
}

#[test]
fn without_a_querier_a_receiver_is_forgotten() {
    let output = lab(&["run", "querier-missing"]);
    assert_status(&output, 0);
    let received = lines(&output).iter().filter(|(_, line)| line.ends_with("still here")).count();
    // The sender sends one datagram per second. The membership expires 8 s after the second report, about a second after joining.
    assert!((5..25).contains(&received), "{received}");
}

#[test]
fn a_relay_between_three_vlans_serves_two_of_them() {
    let output = lab(&["run", "three-vlans"]);
    assert_status(&output, 0);
    let lines = lines(&output);
    let heard: Vec<_> =
        lines.iter().filter(|(_, line)| line.ends_with("playing")).map(|(host, _)| *host).collect();
    assert_eq!(heard, ["desk", "phone"], "{lines:?}");
}

#[test]
fn a_router_forwards_datagrams_with_hops_left() {
    let output = lab(&["run", "two-lans"]);
    assert_status(&output, 0);
    let lines = lines(&output);
    assert_eq!(lines.len(), 1, "{}", text(&output.stdout));
    assert!(lines[0].0 == "screen" && lines[0].1.ends_with("two hops"), "{lines:?}");
}

#[test]
fn a_lossy_link_loses_the_same_datagrams_each_time() {
    let received = || {
        let output = lab(&["run", "lossy", "--json"]);
        assert_status(&output, 0);
        let lines = objects(&output, "lab-event").into_iter().filter(|object| object["program"] == "receive");
        let summary = lines.filter_map(|object| object["text"].as_str().map(ToOwned::to_owned));
        let received = summary
            .into_iter()
            .find_map(|line| line.strip_prefix("received ")?.split(' ').next()?.parse::<u32>().ok());
        received.unwrap()
    };
    let first = received();
    assert!((900..1000).contains(&first), "{first} of 1000");
    assert_eq!(received(), first);
}

#[test]
fn a_price_feed_loses_nothing_although_its_cables_do() {
    let output = lab(&["run", "price-feed"]);
    assert_status(&output, 0);
    let report = text(&output.stderr);
    assert_eq!(report.matches("lost 0 messages").count(), 2, "{report}");
    assert!(report.contains("late     | received a snapshot of "), "{report}");
    let lines = lines(&output);
    for host in ["desk", "late"] {
        assert!(lines.contains(&(host, "apples 200")) && lines.contains(&(host, "pears 199")), "{lines:?}");
    }
    assert!(lines.contains(&("desk", "pears 101")));
}

#[test]
fn an_ordinary_user_can_run_a_lab() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("mcast");
    fs::copy(MCAST, &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(["lab", "run", "four-hosts"]).current_dir("/");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    assert_status(&output, 0);
    assert_eq!(lines(&output).len(), 2);
}

/// The objects that it printed, each as its schema has it.
fn objects(output: &Output, schema: &str) -> Vec<Value> {
    let objects: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    objects.iter().for_each(|object| schemas::assert_valid(schema, object));
    objects
}

#[test]
fn a_command_that_fails_gives_1_and_is_named() {
    let file = File::new(
        r#"
        [hosts.a]
        run = ["exit 3", { command = "exit 4", expect = 4 }, { command = "echo late", wait_for = ["never"] }]
        [hosts.b]
        run = [{ name = "never", command = "kill -9 $$", ready = "this text" }]
        "#,
    );
    let output = lab(&["run", file.path()]);
    assert_status(&output, 1);
    let report = text(&output.stderr);
    assert!(report.contains("a | ✗ exit 3, expected 0"), "{report}");
    assert!(report.contains("a | ✓ exit 4, as expected"), "{report}");
    assert!(report.contains("a | ✗ not started: a program that it waits for was not ready"), "{report}");
    assert!(report.contains("b | ✗ killed by signal 9, expected 0"), "{report}");

    let json = lab(&["run", file.path(), "--json"]);
    assert_status(&json, 1);
    let objects = objects(&json, "lab-event");
    let ended = |status: i32| objects.iter().find(|object| object["status"] == status).unwrap();
    assert_eq!((&ended(3)["as_expected"], &ended(4)["as_expected"]), (&false.into(), &true.into()));
    let killed = objects.iter().find(|object| object["signal"] == 9).unwrap();
    assert_eq!((&killed["host"], &killed["program"]), (&"b".into(), &"never".into()));
    assert_eq!(objects.iter().filter(|object| object["event"] == "skipped").count(), 1);
}

#[test]
fn errors_in_a_topology_have_their_line() {
    let file = File::new("[switches.lan]\n[hosts.a]\ninterfaces.eth0 = { swich = \"lan\" }\n");
    let output = lab(&["run", file.path()]);
    assert_status(&output, 2);
    let errors = text(&output.stderr);
    assert!(errors.contains(&format!("error: {}:3: unknown field `swich`", file.path())), "{errors}");
    assert!(errors.contains("    3 | interfaces.eth0 = { swich = \"lan\" }"), "{errors}");
    assert!(errors.contains("remedy: "), "{errors}");

    let file = File::new("[hosts.a]\ninterfaces.eth0 = { switch = \"lan\" }\n");
    let output = lab(&["shell", file.path(), "a"]);
    assert_status(&output, 2);
    assert!(
        text(&output.stderr).contains("net.toml:2: there is no switch 'lan'"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_invalid_name_is_a_usage_error() {
    let file = File::new("[switches.lan]\n[hosts.\"a b\"]\ninterfaces.eth0 = { switch = \"lan\" }\n");
    let output = lab(&["run", file.path()]);
    assert_status(&output, 2);
    assert!(
        text(&output.stderr).starts_with("error: cannot add 'a b' to the lab: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_file_without_an_end_is_refused() {
    for path in ["/dev/zero", "/dev/urandom"] {
        let output = lab(&["run", path]);
        assert!(matches!(output.status.code(), Some(2 | 4)), "{output:?}");
        assert!(text(&output.stderr).contains(&format!("\"{path}\"")), "{}", text(&output.stderr));
    }
}

#[test]
fn a_network_without_programs_is_reported() {
    let file = File::new("[hosts.a]\n");
    let output = lab(&["run", file.path()]);
    assert_status(&output, 0);
    let errors = text(&output.stderr);
    assert!(errors.contains("warning: there is nothing to do: no host has a command to run"), "{errors}");
    assert!(!errors.lines().any(|line| line.ends_with(' ')), "{errors}");
}

#[test]
fn unknown_names_are_reported_with_the_existing_ones() {
    let output = lab(&["run", "/nowhere/net.toml"]);
    assert_status(&output, 4);
    assert!(
        text(&output.stderr).contains("four-hosts, four-hosts-flooding, two-nics, two-lans, vlans, three-vlans, querier-missing, lossy, price-feed, sites"),
        "{}",
        text(&output.stderr)
    );
    let output = lab(&["shell", "four-hosts", "harlem"]);
    assert_status(&output, 2);
    assert!(text(&output.stderr).contains("eastny, midwood, flatbush, bushwick"), "{}", text(&output.stderr));
    assert_status(&lab(&["show", "five-hosts"]), 2);
}

#[test]
fn networks_are_listed_and_shown() {
    let listed = lab(&["list", "--json"]);
    assert_status(&listed, 0);
    let names: Vec<_> =
        objects(&listed, "lab-network").into_iter().map(|object| object["name"].clone()).collect();
    assert_eq!(
        names,
        [
            "four-hosts",
            "four-hosts-flooding",
            "two-nics",
            "two-lans",
            "vlans",
            "three-vlans",
            "querier-missing",
            "lossy",
            "price-feed",
            "sites"
        ]
    );
    let shown = lab(&["show", "two-lans"]);
    let file = File::new(text(&shown.stdout));
    assert_status(&lab(&["run", file.path()]), 0);
    let drawn = lab(&["show", "--svg", file.path()]);
    assert!(text(&drawn.stdout).starts_with("<svg ") && text(&drawn.stdout).contains(">gateway</text>"));
    assert_eq!(drawn.stdout, lab(&["show", "--svg", "two-lans"]).stdout);
}

#[test]
fn the_file_in_the_help_works() {
    let help = lab(&["run", "--help"]);
    let (_, example) = text(&help.stdout).split_once("A topology file:\n").unwrap();
    let (example, _) = example.split_once("\n\n`run` lists").unwrap();
    let output = lab(&["run", File::new(example).path()]);
    assert_status(&output, 0);
    let lines = lines(&output);
    assert!(lines.len() == 1 && lines[0].0 == "b" && lines[0].1.ends_with("hi"), "{lines:?}");
}

#[test]
fn mcast_in_a_command_is_this_program() {
    let file = File::new("[hosts.a]\nrun = [\"command -v mcast\"]");
    let output = lab(&["run", file.path()]);
    assert_eq!(lines(&output), [("a", MCAST)]);
}

#[test]
fn lines_of_output_are_not_interleaved() {
    let script =
        "i=0; while [ $i -lt 300 ]; do printf '%s.' xxxxxxxxxx yyyyyyyyyy; echo end; i=$((i+1)); done";
    let hosts = ["a", "b", "c"].map(|host| format!("[hosts.{host}]\nrun = [\"{script}\", \"{script}\"]\n"));
    let file = File::new(&hosts.concat());
    let output = lab(&["run", file.path()]);
    assert_status(&output, 0);
    let lines = lines(&output);
    assert_eq!(lines.len(), 3 * 2 * 300);
    assert!(lines.iter().all(|(_, line)| *line == "xxxxxxxxxx.yyyyyyyyyy.end"));
    assert_eq!(lines.iter().filter(|(host, _)| *host == "b").count(), 600);
}

#[test]
fn a_time_limit_stops_all_programs() {
    let file = File::new("[hosts.a]\nrun = [\"sleep 1000\"]");
    let begun = Instant::now();
    let output = lab(&["run", file.path(), "--timeout", "100ms"]);
    assert_status(&output, 1);
    assert!(begun.elapsed() < TIMEOUT);
    let report = text(&output.stderr);
    assert!(
        report.contains("warning: the time limit has passed") && report.contains("- stopped after"),
        "{report}"
    );
}

#[test]
fn a_time_limit_means_status_1_even_if_the_programs_then_end_as_expected() {
    let command = "run = [\"trap 'exit 0' INT; sleep 1000\"]";
    let without = File::new(&format!("[hosts.a]\n{command}"));
    let with = File::new(&format!("time_limit = \"100ms\"\n[hosts.a]\n{command}"));
    let by_option = lab(&["run", without.path(), "--timeout", "100ms"]);
    let by_file = lab(&["run", with.path()]);
    for output in [by_option, by_file] {
        assert_status(&output, 1);
        let report = text(&output.stderr);
        assert_eq!(report.matches("the time limit has passed").count(), 1, "{report}");
        assert!(report.contains("a | ✓ exit 0"), "{report}");
    }
}

#[test]
fn the_timeout_option_replaces_the_time_limit_of_the_file() {
    let file = File::new("time_limit = \"100ms\"\n[hosts.a]\nrun = [\"sleep 0.5\"]");
    assert_status(&lab(&["run", file.path()]), 1);
    assert_status(&lab(&["run", file.path(), "--timeout", "60s"]), 0);
}

/// A network whose programs never end, and can be found among all processes by an argument.
struct Endless {
    mcast: Child,
    file: File,
    /// An argument of theirs that no other process has.
    mark: String,
}

impl Endless {
    /// Starts it, and waits until its programs run.
    fn start(mark: &str, program: &str) -> Self {
        let mark = format!("86400.{}{mark}", std::process::id());
        let program = program.replace("MARK", &mark);
        let file =
            File::new(&format!("[hosts.a]\nrun = [\"{program}\"]\n[hosts.b]\nrun = [\"{program}\"]\n"));
        let mut command = Command::new(MCAST);
        command.args(["lab", "run", file.path()]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut mcast = command.spawn().unwrap();
        let output = BufReader::new(mcast.stdout.as_mut().unwrap());
        assert_eq!(
            output.lines().take(2).filter(|line| line.as_ref().unwrap().contains("running")).count(),
            2
        );
        Self { mcast, file, mark }
    }

    fn signal(&self, signal: &str) {
        let id = self.mcast.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn wait_for_processes(&self, expected: usize) {
        wait_for_processes(&self.mark, expected);
    }

    fn end(mut self) -> (std::process::ExitStatus, String) {
        let status = self.mcast.wait().unwrap();
        self.wait_for_processes(0);
        let mut report = String::new();
        self.mcast.stderr.take().unwrap().read_to_string(&mut report).unwrap();
        drop(self.file);
        (status, report)
    }
}

/// Waits until N processes have this argument.
fn wait_for_processes(mark: &str, expected: usize) {
    let deadline = Instant::now() + TIMEOUT;
    while processes(mark) != expected {
        assert!(Instant::now() < deadline, "{} processes where {expected} should be", processes(mark));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn processes(mark: &str) -> usize {
    let arguments = |path: PathBuf| fs::read(path.join("cmdline")).unwrap_or_default();
    let is_ours = |bytes: &Vec<u8>| bytes.split(|byte| *byte == 0).any(|word| word == mark.as_bytes());
    fs::read_dir("/proc").unwrap().map(|entry| arguments(entry.unwrap().path())).filter(is_ours).count()
}

#[test]
fn ctrl_c_stops_all_and_reports() {
    let endless = Endless::start("1", "echo running; sleep MARK & sleep MARK");
    endless.wait_for_processes(4);
    endless.signal("-INT");
    let (status, report) = endless.end();
    assert_eq!(status.code(), Some(130), "{report}");
    assert_eq!(report.matches("- stopped after").count(), 2, "{report}");
}

#[test]
fn a_killed_lab_leaves_no_processes() {
    // Also what the programs have started themselves, even if it does not listen.
    let program = "echo running; (trap '' INT TERM HUP; sleep MARK) & sleep MARK";
    let endless = Endless::start("2", program);
    endless.wait_for_processes(4);
    endless.signal("-KILL");
    endless.end();
}

#[test]
fn a_closed_pipe_ends_it() {
    let mark = format!("86400.{}3", std::process::id());
    let file = File::new(&format!("[hosts.a]\nrun = [\"yes {mark}\"]"));
    let mut command = Command::new(MCAST);
    command.args(["lab", "run", file.path()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut mcast = command.spawn().unwrap();
    mcast.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
    let status = mcast.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    wait_for_processes(&mark, 0);
}

#[test]
fn a_command_runs_on_one_host_and_its_status_is_returned() {
    let output = lab(&["shell", "four-hosts", "flatbush", "--", "sh", "-c", "echo $MCAST_LAB_HOST; exit 7"]);
    assert_status(&output, 7);
    assert_eq!(text(&output.stdout), "flatbush\n");
    let output = lab(&["shell", "four-hosts", "flatbush", "--", "mcast", "interfaces", "--json"]);
    assert_status(&output, 0);
    let eth0 =
        objects(&output, "interface").into_iter().find(|interface| interface["name"] == "eth0").unwrap();
    assert_eq!(eth0["addresses"][0]["address"], "192.168.56.104");
}

#[test]
fn a_shell_can_run_commands_on_other_hosts() {
    // The switch floods, so that datagrams arrive immediately after the join.
    let hosts = [("a", 1), ("b", 2), ("c", 3)].map(|(host, number)| {
        let interface = format!("{{ switch = \"lan\", addresses = [\"10.0.0.{number}/24\"] }}");
        format!("[hosts.{host}]\ninterfaces.eth0 = {interface}\n")
    });
    let file = File::new(&["[switches.lan]\n", &hosts.concat()].concat());
    let script = "mcast recv 239.1.2.3%eth0:5000 -c 1 --format text & \
        until grep -q 030201EF /proc/net/igmp; do :; done; \
        mcast lab on b mcast send 239.1.2.3%eth0:5000 'from b'; wait; \
        mcast lab on c sh -c 'echo $MCAST_LAB_HOST; exit 9'";
    let output = lab(&["shell", file.path(), "a", "--", "sh", "-c", script]);
    assert_status(&output, 9);
    assert_eq!(text(&output.stdout), "from b\nc\n");

    let output = lab(&["shell", "four-hosts", "eastny", "--", "mcast", "lab", "on", "harlem", "true"]);
    assert_status(&output, 2);
    assert!(text(&output.stderr).contains("eastny, midwood, flatbush, bushwick"), "{}", text(&output.stderr));
    let bytes = "mcast lab on eastny printf \"$(printf '\\377')\"";
    let output = lab(&["shell", "four-hosts", "eastny", "--", "sh", "-c", bytes]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &[0xff][..]), "{output:?}");
    let output = lab(&["on", "midwood", "true"]);
    assert_status(&output, 2);
    assert!(text(&output.stderr).contains("remedy: open a shell in a lab first"), "{}", text(&output.stderr));
}

#[test]
fn background_processes_end_with_the_network() {
    let mark = format!("86400.{}4", std::process::id());
    let script = format!("setsid sleep {mark} & mcast lab on midwood sh -c 'setsid sleep {mark} & exit 0'");
    let output = lab(&["shell", "four-hosts", "eastny", "--", "sh", "-c", &script]);
    assert_status(&output, 0);
    wait_for_processes(&mark, 0);
}

#[test]
fn a_shell_opens_on_a_host_with_a_note() {
    let mut command = Command::new("script");
    let shell = format!("{MCAST} lab shell four-hosts eastny");
    command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
    command.env("SHELL", "/bin/bash").env("TERM", "dumb").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = match command.spawn() {
        Ok(script) => script,
        Err(error) => {
            return mcast_lab::skip(format_args!("a shell on a terminal: cannot run script(1): {error}"));
        }
    };
    let typed = b"mcast interfaces --json | grep -c '192.168.56.101'\nexit 5\n";
    script.stdin.as_mut().unwrap().write_all(typed).unwrap();
    let output = script.wait_with_output().unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{seen}");
    assert!(seen.contains("You are on ") && seen.contains("(lab) "), "{seen}");
    assert!(seen.lines().any(|line| line.trim() == "1"), "{seen}");
}

#[test]
fn without_namespaces_the_error_has_a_remedy() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    // Within this user namespace there can be no more of either kind.
    let refuse = "echo 0 > /proc/sys/user/max_user_namespaces && echo 0 > /proc/sys/user/max_net_namespaces";
    let script = format!("{refuse} && exec {MCAST} lab run four-hosts");
    let mut command = host.command("unshare").unwrap();
    let output = command.args(["--user", "--map-root-user", "sh", "-c", &script]).output().unwrap();
    assert_status(&output, 3);
    let errors = text(&output.stderr);
    assert!(errors.contains("error: cannot create a lab: ") && errors.contains("remedy: "), "{errors}");
}
