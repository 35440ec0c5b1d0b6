//! Programs in hosts.

use std::{
    io::Read,
    process::Stdio,
    time::{Duration, Instant},
};

use mcast_lab::{Lab, LabErrorKind};

use super::sockets::TIMEOUT;

#[test]
fn a_program_runs_in_its_host() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "left0", &["10.0.0.1/24"], &b, "right0", &["10.0.0.2/24"]).unwrap();
    let output = a.command("cat").unwrap().arg("/proc/net/dev").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("left0") && !text.contains("right0"), "{text}");
}

#[test]
fn a_program_can_set_sysctls_of_its_host() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let script = "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter";
    assert!(host.command("sh").unwrap().args(["-c", script]).status().unwrap().success());
    assert_eq!(host.read_sysctl("net/ipv4/conf/all/rp_filter").unwrap(), "1");
}

#[test]
fn a_program_sees_the_name_of_its_host() {
    let lab = Lab::new().unwrap();
    let output = lab.host("eastny").unwrap().command("uname").unwrap().arg("-n").output().unwrap();
    assert_eq!(output.stdout, b"eastny\n");
}

#[test]
fn exit_codes_and_missing_programs_are_reported() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    assert_eq!(host.command("sh").unwrap().args(["-c", "exit 7"]).status().unwrap().code(), Some(7));
    let error = host.command("/no/such/program").unwrap().spawn().unwrap_err();
    assert_eq!(error.cause().unwrap().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn programs_can_be_signalled_and_waited_for_with_a_timeout() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let mut child = host.command("sleep").unwrap().arg("1000").spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    let error = child.wait_timeout(Duration::from_millis(10)).unwrap_err();
    assert!(matches!(error.kind(), LabErrorKind::TimedOut(_)));
    child.signal(libc::SIGTERM).unwrap();
    let status = child.wait_timeout(TIMEOUT).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM));
    assert_eq!(child.wait().unwrap(), status);
    child.kill().unwrap();
}

#[test]
fn programs_are_killed_when_their_lab_is_dropped() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let mut child = host.command("sleep").unwrap().arg("1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    drop(lab);
    // The pipe is closed when the last process that can write to it has ended.
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
    assert!(child.wait_timeout(TIMEOUT).unwrap().code().is_none());
}

#[test]
fn a_process_group_is_killed_when_its_leader_ends() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let mut command = host.command("sh").unwrap();
    command.args(["-c", "sleep 1000 & exit 0"]).own_group().stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    assert!(child.wait_timeout(TIMEOUT).unwrap().success());
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
}

/// Returns the network namespaces of all threads of this machine.
fn namespaces() -> std::collections::HashSet<std::path::PathBuf> {
    let tasks = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .flat_map(|process| std::fs::read_dir(process.path().join("task")).into_iter().flatten().flatten());
    tasks.filter_map(|task| std::fs::read_link(task.path().join("ns/net")).ok()).collect()
}

/// The environment variable with which [`nothing_is_left_after_a_kill`] starts [`hold_a_lab_until_killed`].
const HOLD: &str = "MCAST_LAB_TEST_HOLD";

/// Not a test of its own, but the process that [`nothing_is_left_after_a_kill`] kills.
#[test]
#[ignore = "is started by nothing_is_left_after_a_kill"]
fn hold_a_lab_until_killed() {
    if std::env::var_os(HOLD).is_none() {
        return; // started with all other ignored tests
    }
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let host = lab.host("a").unwrap();
    host.connect("eth0", &lan, &["10.0.0.1/24"]).unwrap();
    let _child = host.command("sleep").unwrap().arg("1000").spawn().unwrap();
    for node in [&host, &lan.inside()] {
        let namespace = node.run(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
        println!("NAMESPACE {}", namespace.display());
    }
    println!("READY");
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_after_a_kill() {
    use std::io::{BufRead, BufReader};
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "commands::hold_a_lab_until_killed", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<_> = lines.take_while(|line| !line.contains("READY")).collect();
    let namespaces_before: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_once("NAMESPACE "))
        .map(|(_, namespace)| std::path::PathBuf::from(namespace))
        .collect();
    assert_eq!(namespaces_before.len(), 2, "{lines:?}");
    assert!(namespaces_before.iter().all(|namespace| namespaces().contains(namespace)));

    holder.kill().unwrap();
    holder.wait().unwrap();

    let deadline = Instant::now() + TIMEOUT;
    while namespaces_before.iter().any(|namespace| namespaces().contains(namespace)) {
        assert!(Instant::now() < deadline, "a process of the killed lab is still running");
        std::thread::sleep(Duration::from_millis(5));
    }
}
