//! Examination of running programs, and of programs that the doctor starts.

use crate::patient::{GROUP, Ward, events, ids};
use crate::support::{eventually, mcast, program, start};

/// A Python program that binds to a unicast address, and waits until it is ended.
const BOUND_TO_UNICAST: &str = "\
import socket, signal
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('10.0.0.2', 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.255.2.3') + socket.inet_aton('10.0.0.2'))
print('ready', flush=True)
signal.pause()";

#[test]
fn the_sockets_of_a_program_are_examined_by_port_and_by_process() {
    let ward = Ward::new().streaming();
    let running = program(&ward.lan.b, "python3", &["-c", BOUND_TO_UNICAST], false);
    running.stdout.wait_for("ready");
    let id = running.child.id().to_string();
    for target in [["--port", "5000"], ["--pid", &id]] {
        let ended = ward.doctor(&[&target[..], &["-W", "500ms", "--json"]].concat());
        assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["bound-to-unicast".to_owned()]), "{ended:?}");
    }
    running.child.kill().unwrap();
}

/// A Python program that joins a group for a switch or a router, with a socket that is not bound.
const ONLY_JOINED: &str = "\
import socket, signal
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.255.2.3') + socket.inet_aton('10.0.0.2'))
print('ready', flush=True)
signal.pause()";

/// Programs that join to watch the network, our own among them, have sockets that receive nothing on purpose.
#[test]
fn a_socket_that_only_keeps_a_membership_is_not_at_fault() {
    let ward = Ward::new().streaming();
    let host = &ward.lan.b;
    let joined = |group: &str| host.read_proc_net("igmp").unwrap().contains(group);
    let running = [start(host, &["top", "--join", GROUP, "--json"]), start(host, &["discover", "--watch"])];
    eventually("memberships", || joined("0302FFEF") && joined("FAFFFFEF"));
    let ended = ward.doctor(&["-W", "1s", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(0), Vec::new()), "{ended:?}");
    let unbound = program(host, "python3", &["-c", ONLY_JOINED], false);
    unbound.stdout.wait_for("ready");
    let ended = ward.doctor(&["-W", "1s", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(0), vec!["not-bound".to_owned()]), "{ended:?}");
    assert_eq!(events(&ended, "finding")[0]["severity"], "note", "{ended:?}");
    unbound.child.kill().unwrap();
    // Another one may have the smallest buffer, and be meant to receive.
    let small =
        BOUND_TO_UNICAST.replace("s.bind", "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)\ns.bind");
    let small = program(host, "python3", &["-c", &small], false);
    small.stdout.wait_for("ready");
    let ended = ward.doctor(&["-W", "1s", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["bound-to-unicast".to_owned()]), "{ended:?}");
    for program in running {
        program.child.kill().unwrap();
    }
    small.child.kill().unwrap();
}

/// Nobody has stated that something is sent to the group at present.
#[test]
fn a_group_that_is_silent_is_no_fault_where_nobody_asks_about_it() {
    let ward = Ward::new();
    let host = &ward.lan.b;
    let waiting = start(host, &["recv", "239.255.7.8:5000"]);
    eventually("a membership", || host.read_proc_net("igmp").unwrap().contains("0807FFEF"));
    let ended = ward.doctor(&["-W", "1s", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(0), vec!["nothing-arrives".to_owned()]), "{ended:?}");
    assert_eq!(events(&ended, "finding")[0]["severity"], "note", "{ended:?}");
    let asked = ward.doctor(&["-W", "1s", "--json", "239.255.7.8:5000"]);
    assert_eq!((asked.status, ids(&asked)), (Some(1), vec!["nothing-arrives".to_owned()]), "{asked:?}");
    waiting.child.kill().unwrap();
}

#[test]
fn a_program_is_started_examined_and_ended() {
    let ward = Ward::new().streaming();
    let ended = ward.doctor(&["-W", "500ms", "--json", "--", "python3", "-c", BOUND_TO_UNICAST]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["bound-to-unicast".to_owned()]), "{ended:?}");
    // The output of the program does not mix with the findings.
    assert!(ended.stderr.contains("ready"), "{ended:?}");
    eventually("its end", || !ward.lan.b.read_proc_net("udp").unwrap().contains(":1388"));
}

#[test]
fn a_program_that_ends_immediately_is_reported() {
    let ward = Ward::new();
    let ended = ward.doctor(&["--", "false"]);
    assert_eq!((ended.status, ended.stdout.len()), (Some(4), 0), "{ended:?}");
    assert!(ended.stderr.contains("false ended (exit status: 1)"), "{ended:?}");
    let none = ward.doctor(&["--", "/does/not/exist"]);
    assert_eq!(none.status, Some(4), "{none:?}");
}

/// The wrapper of the program: its shell waits for it.
const WRAPPED: &str = "python3 -c \"$0\" & wait";

#[test]
fn child_processes_of_a_wrapper_are_examined_and_ended() {
    let ward = Ward::new().streaming();
    for script in [WRAPPED, "setsid python3 -c \"$0\" & wait"] {
        let ended = ward.doctor(&["-W", "500ms", "--json", "--", "sh", "-c", script, BOUND_TO_UNICAST]);
        assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["bound-to-unicast".to_owned()]), "{ended:?}");
        let left = ward.lan.b.read_proc_net("udp").unwrap();
        assert!(!left.contains(":1388"), "{script} left a grandchild: {left}");
    }
}

#[test]
fn the_id_of_a_wrapper_includes_its_child_processes() {
    let ward = Ward::new().streaming();
    let running = program(&ward.lan.b, "sh", &["-c", WRAPPED, BOUND_TO_UNICAST], false);
    running.stdout.wait_for("ready");
    let id = running.child.id().to_string();
    let ended = ward.doctor(&["--pid", &id, "-W", "500ms", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["bound-to-unicast".to_owned()]), "{ended:?}");
    let who = &events(&ended, "finding")[0]["subject"]["program"];
    assert!(who.as_str().unwrap().starts_with("python3 ("), "{who}");
    running.child.kill().unwrap();
}

#[test]
fn a_program_in_another_network_is_followed_there() {
    // The port is searched in all networks of this machine, in which other tests run.
    let port = (20_000 + std::process::id() % 40_000).to_string();
    let ward = Ward::new();
    let script = BOUND_TO_UNICAST.replace("5000", &port);
    let running = program(&ward.lan.b, "python3", &["-c", &script], false);
    running.stdout.wait_for("ready");
    let id = running.child.id().to_string();
    for target in [["--port", &port], ["--pid", &id]] {
        let ended = mcast(&ward.lan.a, &[&["doctor"], &target[..], &["-W", "500ms", "--json"]].concat());
        assert!(ids(&ended).contains(&"bound-to-unicast".to_owned()), "{ended:?}");
        let note = format!("examining in the network namespace of python3 ({id})");
        assert!(ended.stderr.contains(&note), "{note}: {ended:?}");
    }
    running.child.kill().unwrap();
}

/// A backup of VRRP, which has a raw socket only.
const ROUTER: &str = "\
import socket, signal
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('224.0.0.18') + socket.inet_aton('10.0.0.2'))
print('ready', flush=True)
signal.pause()";

#[test]
fn a_program_with_raw_sockets_is_followed_to_another_network() {
    let ward = Ward::new();
    let running = program(&ward.lan.b, "python3", &["-c", ROUTER], false);
    running.stdout.wait_for("ready");
    let id = running.child.id().to_string();
    let ended = mcast(&ward.lan.a, &["doctor", "--pid", &id, "-W", "1500ms", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["nothing-arrives".to_owned()]), "{ended:?}");
    assert!(ended.stderr.contains("examining in the network namespace of python3"), "{ended:?}");
    let flow = &events(&ended, "flow")[0];
    assert_eq!((&flow["group"], &flow["depth"]), (&"224.0.0.18".into(), &"not-on-wire".into()), "{flow}");
    running.child.kill().unwrap();
}

/// Programs elsewhere have the same port by chance: what is repaired is the program here, once it is started.
#[test]
fn a_repaired_port_is_not_followed_to_another_network() {
    let port = (20_000 + (std::process::id() + 7) % 40_000).to_string();
    let ward = Ward::new();
    let script = BOUND_TO_UNICAST.replace("5000", &port);
    let at_a = script.replace("10.0.0.2", "10.0.0.1");
    let elsewhere = program(&ward.lan.a, "python3", &["-c", &at_a], false);
    elsewhere.stdout.wait_for("ready");
    let watch = ["--port", &port, "--watch=1s", "-W", "500ms", "--repair", "not-joined"];
    let watching = ward.start_doctor(&watch);
    watching.stderr.wait_for("another network namespace");
    let here = program(&ward.lan.b, "python3", &["-c", &script], false);
    here.stdout.wait_for("ready");
    let id = here.child.id();
    eventually("its examination", || watching.stdout.text().contains(&format!("python3 ({id})")));
    assert!(!watching.stderr.text().contains("examining in the network namespace"));
    let _ = watching.signalled(libc::SIGINT);
}

#[test]
fn a_wrapper_may_start_the_program_in_another_network() {
    let ward = Ward::new().streaming();
    let there = program(&ward.lan.b, "sleep", &["60"], false);
    let script = format!("nsenter --net=/proc/{}/ns/net python3 -c \"$0\" & wait", there.child.id());
    let command = ["doctor", "-W", "500ms", "--json", "--", "sh", "-c", &script, BOUND_TO_UNICAST];
    let ended = mcast(&ward.lan.a, &command);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["bound-to-unicast".to_owned()]), "{ended:?}");
    let left = ward.lan.b.read_proc_net("udp").unwrap();
    assert!(!left.contains(":1388"), "it was left: {left}");
    there.child.kill().unwrap();
}

#[test]
fn what_a_program_prints_explains_why_it_failed() {
    let ward = Ward::new();
    let greedy = program(&ward.lan.b, "python3", &["-c", BOUND_TO_UNICAST], false);
    greedy.stdout.wait_for("ready");
    let ended = ward.doctor(&["--json", "--", "python3", "-c", BOUND_TO_UNICAST]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["address-in-use".to_owned()]), "{ended:?}");
    let cause = &events(&ended, "finding")[0]["cause"];
    let expected = format!("python3 ({}) has UDP port 5000 open and does not share it.", greedy.child.id());
    assert_eq!(cause.as_str().unwrap(), expected);
    assert!(ended.stderr.contains("Address already in use"), "{ended:?}");
    greedy.child.kill().unwrap();
}

/// A Python program that has joined nothing, and prints what it receives; then it ends with status 7.
const NEVER_JOINED: &str = "\
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5000)); s.settimeout(60)
print('process', os.getpid(), sys.stdin.readline(), flush=True)
for number in range(int(sys.argv[1])): s.recv(2000); print('received', number, flush=True)
sys.exit(7)";

#[test]
fn a_program_runs_repaired_with_its_own_input_output_and_status() {
    let ward = Ward::new().streaming();
    let mut sh = ward.lan.b.command("sh").unwrap();
    let script = "echo hello | \"$0\" doctor -W 1s --repair not-joined -- python3 -c \"$1\" 3";
    let state = tempfile::tempdir().unwrap();
    sh.env("STATE_DIRECTORY", state.path());
    let output = sh.args(["-c", script, env!("CARGO_BIN_EXE_mcast"), NEVER_JOINED]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{stdout}{stderr}");
    assert!(stdout.contains("hello") && stdout.ends_with("received 2\n"), "{stdout}");
    assert!(!stdout.contains("not-joined"), "what the doctor finds does not mix with the output: {stdout}");
    assert!(stderr.contains("running: ") && stderr.contains("found fault not-joined"), "{stderr}");
}

#[test]
fn a_program_runs_on_when_the_doctor_is_killed() {
    let ward = Ward::new().streaming();
    let doctor = ["-W", "1s", "--repair", "not-joined", "--", "python3", "-c", NEVER_JOINED, "1000000"];
    let doctor = ward.start_doctor(&doctor);
    doctor.stdout.wait_for("received 1\n");
    let text = doctor.stdout.text();
    let process = text.split_whitespace().nth(1).unwrap();
    let count = || doctor.stdout.text().lines().count();
    doctor.child.kill().unwrap();
    let before = count();
    eventually("more datagrams", || count() > before + 20);
    assert!(std::process::Command::new("kill").arg(process).status().unwrap().success());
}

#[test]
fn options_that_do_not_fit_a_program_are_refused() {
    let ward = Ward::new();
    for (options, remedy) in [
        (&["--apply", "not-joined", "--yes", "--", "true"][..], "use --repair instead"),
        (&["--repair", "not-joined", "239.255.2.3:5000"], "-- COMMAND"),
        (&["--repair", "not-joined", "--json", "--", "true"], "--pid or --port"),
    ] {
        let ended = ward.doctor(options);
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(remedy), "{ended:?}");
    }
}
