//! `--apply`: applies a remedy, and examines again.

use libc::{SIGHUP, SIGINT};
use snapbox::{assert_data_eq, file};

use crate::film::film;
use crate::patient::{GROUP, Ward, events};
use crate::schemas::assert_valid;
use crate::support::{Ended, Running, eventually, program};

#[test]
fn a_remedy_is_applied_and_examined() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "reverse-path-filter", "--yes"]).succeeded();
    assert!(
        ended.stderr.contains("running: ")
            && ended.stderr.contains("reverse-path-filter is gone: datagrams arrive"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("to undo it: sysctl -w net.ipv4.conf.all.rp_filter=1"), "{ended:?}");
    ward.doctor(&[GROUP, "-W", "1s"]).succeeded();
}

/// The first picture of the README.
#[test]
fn the_film_shows_what_is_printed() {
    const SHOWN: [&str; 8] = [
        "examining ",
        "fault ",
        "drops the datagrams",
        "does not use",
        "now ",
        "nothing arrives",
        "running: ",
        "is gone",
    ];
    let ward = Ward::new().streaming_from_afar().filtering();
    let typed = format!("mcast doctor {GROUP} -W 1 --apply reverse-path-filter --yes");
    let script = format!("{} {} 2>&1", env!("CARGO_BIN_EXE_mcast"), typed.trim_start_matches("mcast "));
    let state = format!("STATE_DIRECTORY={}", ward.state.path().display());
    let words = ["CLICOLOR_FORCE=1", &state, "sh", "-c", &script];
    let ended = program(&ward.lan.b, "env", &words, false).end().succeeded();
    let text = ended.text();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| SHOWN.iter().any(|shown| line.contains(shown)) || line.contains("to undo it"))
        .collect();
    let is_at = |part: &str| {
        lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {text}"))
    };
    let prompt = format!("$ {typed}");
    let frame = |seconds, end: usize| (seconds, [&[prompt.as_str()][..], &lines[..end]].concat().join("\n"));
    let (found, runs, gone) = (is_at("nothing arrives"), is_at("running: "), is_at("is gone"));
    let frames = [
        frame(1.2, 0),
        frame(1.0, 1),
        frame(4.0, found + 1),
        frame(2.0, runs + 1),
        frame(1.0, gone),
        frame(5.0, lines.len()),
    ];
    assert_data_eq!(film(&frames), file!["../../../../../docs/pictures/doctor-apply.svg": Text].raw());
}

#[test]
fn nothing_is_applied_without_asking() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "reverse-path-filter"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--yes") && !ended.stderr.contains("running: "), "{ended:?}");
    assert_eq!(ward.doctor(&[GROUP, "-W", "1s"]).status, Some(1));
}

#[test]
fn a_remedy_needs_its_finding() {
    let ward = Ward::new().streaming();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "reverse-path-filter", "--yes"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("reverse-path-filter was not found"), "{ended:?}");
}

#[test]
fn what_a_killed_doctor_has_applied_is_undone() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let killed = ward.start_doctor(&[GROUP, "-W", "2s", "--apply", "reverse-path-filter", "--yes"]);
    killed.stderr.wait_for("running: ");
    eventually("the remedy", || rp_filter(&ward) == "0");
    killed.child.kill().unwrap();
    assert_eq!(rp_filter(&ward), "0");
    let ended = ward.doctor(&["--undo"]).succeeded();
    assert!(ended.stderr.contains("undone: "), "{ended:?}");
    assert_eq!(rp_filter(&ward), "1");
    let again = ward.doctor(&["--undo"]).succeeded();
    assert!(again.stderr.contains("nothing to undo"), "{again:?}");
}

/// Starts a program that has bound the port and joined nothing.
fn reader(ward: &Ward) -> Running {
    let script = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5000)); print('ready', flush=True)
while True: s.recv(2000)";
    let reader = program(&ward.lan.b, "python3", &["-c", script], false);
    reader.stdout.wait_for("ready");
    reader
}

#[test]
fn a_program_that_runs_is_repaired_and_the_change_is_listed_and_undone() {
    let ward = Ward::new().streaming();
    let reader = reader(&ward);
    let id = reader.child.id().to_string();
    let ended = ward.doctor(&["--pid", &id, "-W", "2s", "--apply", "not-joined", "--yes"]).succeeded();
    assert!(ended.stderr.contains("not-joined is gone: datagrams arrive"), "{ended:?}");
    let groups = ward.mcast(&["groups"]).end().succeeded();
    assert!(
        String::from_utf8_lossy(&groups.stdout).contains("239.255.2.3")
            && groups.stderr.contains("borrowed: `join 239.255.2.3%"),
        "{groups:?}"
    );
    let changes = objects(&ward.mcast(&["groups", "--json"]).end().succeeded(), "borrowed");
    assert_eq!(changes.len(), 1);
    assert_valid("socket-change", &changes[0]);
    ward.doctor(&["--undo"]).succeeded();
    let groups = ward.mcast(&["groups"]).end().succeeded();
    assert!(!String::from_utf8_lossy(&groups.stdout).contains("239.255.2.3"), "{groups:?}");
    let _ = reader.signalled(libc::SIGKILL);
}

fn objects(ended: &Ended, event: &str) -> Vec<serde_json::Value> {
    ended.json().into_iter().filter(|object| object["event"] == event).collect()
}

#[test]
fn a_program_that_is_started_again_is_repaired_again() {
    let ward = Ward::new().streaming();
    let watch = ["--port", "5000", "--watch=1s", "-W", "1s", "--repair", "not-joined"];
    let watching = ward.start_doctor(&watch);
    for _ in 0..2 {
        let before = watching.stdout.text().matches("gone  fault not-joined").count();
        let reader = reader(&ward);
        eventually("the repair", || {
            watching.stdout.text().matches("gone  fault not-joined").count() > before
        });
        let _ = reader.signalled(libc::SIGKILL);
    }
    let _ = watching.signalled(SIGINT);
}

/// Linux accepts such names, and a shell would interpret them.
#[test]
fn the_name_of_an_interface_is_not_run_as_a_command() {
    const NAME: &str = "x;id>y";
    let ward = Ward::new();
    let mut ip = ward.lan.b.command("ip").unwrap();
    assert!(ip.args(["link", "add", NAME, "type", "veth", "peer", "name", "x2"]).status().unwrap().success());
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut doctor = ward.lan.b.command(env!("CARGO_BIN_EXE_mcast")).unwrap();
    doctor.env("STATE_DIRECTORY", state.path());
    doctor.args(["doctor", GROUP, "-i", NAME, "-W", "500ms", "--apply", "interface-down", "--yes"]);
    let output = doctor.current_dir(&folder).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("running: ip link set dev 'x;id>y' up"), "{stderr}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing else was run");
    assert!(stderr.contains("undoing: ip link set dev 'x;id>y' down"), "{stderr}");
}

/// A second fault hides behind the first: the first finding is gone after its remedy, but nothing arrives.
#[test]
fn a_remedy_after_which_nothing_arrives_is_undone() {
    if std::process::Command::new("nft").arg("--version").output().is_err() {
        mcast_lab::skip("this test needs nft");
        return;
    }
    let ward = Ward::new().streaming_from_afar().filtering();
    let rules = "nft add table ip own && \
                 nft 'add chain ip own leaving { type filter hook input priority 0 ; }' && \
                 nft add rule ip own leaving udp dport 5000 counter drop";
    let mut sh = ward.lan.b.command("sh").unwrap();
    assert!(sh.args(["-c", rules]).status().unwrap().success());
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "reverse-path-filter", "--yes"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("reverse-path-filter is no longer found, but nothing arrives"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("undoing: sysctl -w net.ipv4.conf.all.rp_filter=1"), "{ended:?}");
    assert!(ended.stderr.contains("add `--apply firewall-drops-data`"), "{ended:?}");
    assert_eq!(rp_filter(&ward), "1");
    let both = ["--apply", "reverse-path-filter", "--apply", "firewall-drops-data", "--yes"];
    let ended = ward.doctor(&[&[GROUP, "-W", "1s"], &both[..]].concat()).succeeded();
    // The handle of its rule may be that of another one by then.
    assert!(ended.stderr.contains("to undo it: mcast doctor --undo"), "{ended:?}");
    let rules = |ward: &Ward| {
        let output = ward.lan.b.command("nft").unwrap().args(["list", "ruleset"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(rules(&ward).contains("comment \"mcast-"), "{}", rules(&ward));
    // The administrator changes one of the two settings, and reloads the firewall.
    let reload = "sysctl -w net.ipv4.conf.eth0.rp_filter=2 && nft flush ruleset && nft add table ip own && \
                  nft 'add chain ip own leaving { type filter hook input priority 0 ; }' && \
                  nft add rule ip own leaving tcp dport 22 drop && nft add rule ip own leaving tcp dport 23 drop";
    let mut sh = ward.lan.b.command("sh").unwrap();
    assert!(sh.args(["-c", reload]).status().unwrap().success());
    let before = rules(&ward);
    let undone = ward.doctor(&["--undo", "--yes"]).succeeded();
    assert!(undone.stderr.contains("left alone: net.ipv4.conf.eth0.rp_filter is 2 now"), "{undone:?}");
    assert!(undone.stderr.contains("was gone already"), "{undone:?}");
    assert_eq!((rp_filter(&ward).as_str(), rules(&ward)), ("2", before));
    let again = ward.doctor(&["--undo"]).succeeded();
    assert!(again.stderr.contains("nothing to undo"), "{again:?}");
}

/// The rule that drops reports is in a separate table and chain.
#[test]
fn datagrams_are_accepted_before_a_rule_of_the_old_iptables() {
    if std::process::Command::new("iptables-legacy").arg("--version").output().is_err() {
        mcast_lab::skip("this test needs iptables-legacy");
        return;
    }
    let ward = Ward::new().streaming();
    let rules = "iptables-legacy -A INPUT -p tcp -j ACCEPT && \
                 iptables-legacy -A INPUT -p udp -m multiport --dports 53,5000 -j DROP";
    let mut sh = ward.lan.b.command("sh").unwrap();
    assert!(sh.args(["-c", rules]).status().unwrap().success());
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "firewall-drops-data", "--yes"]).succeeded();
    let command =
        "running: iptables-legacy -t filter -I INPUT 2 -i eth0 -d 239.255.2.3 -p udp --dport 5000 -j ACCEPT";
    assert!(ended.stderr.contains(command), "{ended:?}");
    let text = String::from_utf8(ended.stdout.clone()).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("`iptables-legacy -t filter INPUT rule 2` matches them"), "{ended:?}");
    assert!(ended.stderr.contains("firewall-drops-data is gone: datagrams arrive"), "{ended:?}");
    ward.doctor(&["--undo"]).succeeded();
    assert_eq!(ward.doctor(&[GROUP, "-W", "1s"]).status, Some(1));
}

#[test]
fn reports_are_accepted_before_the_rule_that_drops_them() {
    if std::process::Command::new("nft").arg("--version").output().is_err() {
        mcast_lab::skip("this test needs nft");
        return;
    }
    let ward = Ward::new().streaming();
    let rules = "nft add table inet own && \
                 nft 'add chain inet own leaving { type filter hook output priority 0 ; }' && \
                 nft add rule inet own leaving meta l4proto igmp counter drop";
    let mut sh = ward.lan.b.command("sh").unwrap();
    assert!(sh.args(["-c", rules]).status().unwrap().success());
    let on_eth0 = ["239.255.2.3%eth0:5000", "-W", "1s", "--apply", "firewall-drops-igmp", "--yes"];
    let ended = ward.doctor(&on_eth0).succeeded();
    assert!(ended.stderr.contains("running: nft insert rule inet own leaving"), "{ended:?}");
}

fn rp_filter(ward: &Ward) -> String {
    let read = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/rp_filter").unwrap();
    ward.lan.b.run(read).unwrap().trim().to_owned()
}

#[test]
fn a_finding_states_the_scope_the_risk_and_the_undo_of_its_remedy() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "-W", "1s"]);
    let text = ended.text();
    let line = |begin: &str| text.lines().any(|line| line.trim_start().starts_with(begin));
    assert!(
        line("scope     every IPv4 packet that arrives on eth0") && line("warning   packets with"),
        "{text}"
    );
    let undo = "undo      sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1";
    assert!(line(undo), "{text}");
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--json"]);
    let remedy = &events(&ended, "finding")[0]["remedies"][0];
    assert_eq!(remedy["effective"], "at-once", "{remedy}");
    assert_eq!(remedy["undo"]["steps"][0]["program"], "sysctl", "{remedy}");
    assert!(remedy["scope"].is_string() && remedy["warning"].is_string(), "{remedy}");
}

/// Ctrl-C, and a session that the remedy cuts, undo it.
#[test]
fn a_remedy_that_was_not_verified_is_undone() {
    for (signal, status) in [(SIGINT, 130), (SIGHUP, 1)] {
        let ward = Ward::new().streaming_from_afar().filtering();
        let apply = ["doctor", GROUP, "-W", "3s", "--apply", "reverse-path-filter", "--yes"];
        let doctor = ward.mcast(&apply);
        eventually("the remedy", || rp_filter(&ward) == "0");
        let ended = doctor.signalled(signal);
        assert!(ended.stderr.contains("undoing: sysctl -w"), "{ended:?}");
        assert_eq!(rp_filter(&ward), "1", "{ended:?}");
        assert_eq!(ended.status, Some(status), "{ended:?}");
    }
}
