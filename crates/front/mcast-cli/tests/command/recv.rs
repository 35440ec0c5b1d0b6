//! `mcast recv`.

use std::time::{Duration, Instant};

use crate::support::{Lan, MCAST, eventually, mcast, program, recv, send, start};

const GROUP: &str = "239.255.1.2:5000";

#[test]
fn recv_receives_only_its_group_across_a_switch() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "1", "--format", "text"]);
    let other = recv(&lan.c, &["239.255.9.9:5000", "-c", "1", "--format", "text"]);

    send(&lan.a, &["239.255.1.3:5000", "another group, the same port"]);
    send(&lan.a, &["239.255.1.2:5001", "the same group, another port"]);
    send(&lan.a, &[GROUP, "hello"]);
    send(&lan.a, &["239.255.9.9:5000", "for the other one"]);

    assert_eq!(receiver.end().succeeded().text(), "hello\n");
    assert_eq!(other.end().succeeded().text(), "for the other one\n");
}

#[test]
fn recv_receives_ipv6() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &["[ff15::1]:5000", "-c", "1", "--json"]);
    send(&lan.a, &["[ff15::1%eth0]:5000", "six"]);
    let received = receiver.end().succeeded().json();
    assert_eq!(received[0]["text"], "six");
    assert_eq!((&received[0]["group"], &received[0]["source"]), (&"ff15::1".into(), &"fd00::1".into()));
}

#[test]
fn recv_accepts_only_named_sources() {
    let lan = Lan::new();
    let only = recv(&lan.c, &["232.1.2.3:5000", "-s", "10.0.0.2", "-c", "1", "--format", "text"]);
    let all_but = recv(&lan.c, &["!10.0.0.1@239.255.1.2:5000", "-c", "1", "--format", "text"]);
    for group in ["232.1.2.3:5000", GROUP] {
        send(&lan.a, &[group, "from a"]);
        send(&lan.b, &[group, "from b"]);
    }
    assert_eq!(only.end().succeeded().text(), "from b\n");
    assert_eq!(all_but.end().succeeded().text(), "from b\n");
}

#[test]
fn a_source_specific_group_needs_a_source_unless_any_source_is_allowed() {
    let lan = Lan::new();
    let refused = mcast(&lan.b, &["recv", "232.1.2.3:5000"]);
    assert_eq!(refused.status, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("remedy: name the source: SOURCE@GROUP:PORT"), "{refused:?}");

    let allowed = recv(&lan.b, &["232.1.2.3:5000", "--any-source", "-c", "1", "--format", "text"]);
    send(&lan.a, &["232.1.2.3:5000", "hello"]);
    assert_eq!(allowed.end().succeeded().text(), "hello\n");
}

#[test]
fn every_format_shows_the_same_datagram_its_own_way() {
    let lan = Lan::new();
    let format = |format: &str| recv(&lan.b, &[GROUP, "-c", "1", "--format", format]);
    let [line, text, hex, raw, json] = ["line", "text", "hex", "raw", "json"].map(format);

    send(&lan.a, &[GROUP, "--hex", "48690a1b5b324aff", "-t", "3", "--dscp", "EF", "--source-port", "4444"]);

    let line = line.end().succeeded();
    let (time, rest) = line.text().split_once(' ').unwrap();
    assert_eq!(time.len(), "12:34:56.123456".len());
    assert_eq!(rest, "10.0.0.1:4444 > 239.255.1.2:5000 eth0 ttl 3   len 8     Hi\\n\\x1b[2J\\xff\n");
    assert_eq!(text.end().succeeded().stdout, b"Hi\n\x1b[2J\xff\n");
    assert_eq!(raw.end().succeeded().stdout, b"Hi\n\x1b[2J\xff");
    let hex = hex.end().succeeded();
    let dump = "0000  48 69 0A 1B 5B 32 4A FF                           Hi..[2J.";
    assert!(hex.lines()[0].ends_with("eth0 ttl 3   len 8"), "{hex:?}");
    assert_eq!(hex.lines()[1], dump);
    let json = json.end().succeeded().json();
    assert_eq!(json[0]["base64"], "SGkKG1sySv8=");
    assert_eq!(
        (&json[0]["ttl"], &json[0]["dscp"], &json[0]["source_port"]),
        (&3.into(), &46.into(), &4444.into())
    );
}

#[test]
fn json_has_every_field_for_every_datagram() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "-c", "3", "--json"]);
    send(&lan.a, &[GROUP, "grüß", "", "x"]);
    let received = receiver.end().succeeded().json();
    let texts: Vec<_> = received.iter().map(|each| each["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["grüß", "", "x"]);
    for each in &received {
        crate::schemas::assert_valid("datagram", each);
        assert_eq!((&each["interface"], &each["lost"]), (&"eth0".into(), &0.into()));
        assert_eq!(each["length"], each["text"].as_str().unwrap().len());
    }
}

#[test]
fn meter_prints_an_asterisk_per_size_bytes() {
    let lan = Lan::new();
    let meter = recv(&lan.b, &[GROUP, "-c", "4", "--meter", "10"]);
    send(&lan.a, &[GROUP, "123456789", "1", "12345678901234567890", "1234"]);
    assert_eq!(meter.end().succeeded().text(), "***");
}

#[test]
fn lines_are_flushed_immediately() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "--format", "text"]);
    for word in ["one", "two", "three"] {
        send(&lan.a, &[GROUP, word]);
        receiver.stdout.wait_for(word);
    }
}

#[test]
fn ctrl_c_prints_the_summary() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "--format", "text"]);
    send(&lan.a, &[GROUP, "hello"]);
    receiver.stdout.wait_for("hello");

    let ended = receiver.signalled(libc::SIGINT);

    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("received 1 datagram, 5 bytes in "), "{ended:?}");
    assert!(ended.stderr.contains("  239.255.1.2:5000  eth0       10.0.0.1          1      5"), "{ended:?}");
}

#[test]
fn a_request_to_terminate_or_a_closed_terminal_prints_the_summary() {
    let lan = Lan::new();
    for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
        let ended = recv(&lan.b, &[GROUP]).signalled(signal);
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert!(ended.stderr.contains("received 0 datagrams"), "{ended:?}");
    }
}

#[test]
fn a_closed_terminal_does_not_end_a_command_below_nohup() {
    let lan = Lan::new();
    let receiver = program(&lan.b, "nohup", &[MCAST, "recv", GROUP, "-c", "1"], false);
    receiver.stderr.wait_for("joined");
    receiver.child.signal(libc::SIGHUP).unwrap();
    send(&lan.a, &[GROUP, "hello"]);
    receiver.end().succeeded();
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let lan = Lan::new();
    let mut command = lan.b.command("sh").unwrap();
    let script = format!("{} recv {GROUP} --format text | head -n 1; echo status $?", crate::support::MCAST);
    let mut child = command
        .args(["-c", &script])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(command);
    // Until the pipe is broken and the command has noticed.
    eventually("the end", || {
        send(&lan.a, &[GROUP, "hello"]);
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\nstatus 0\n");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"), "{output:?}");
}

#[test]
fn quiet_silences_notes_and_summary() {
    let lan = Lan::new();
    let receiver = start(&lan.b, &["recv", GROUP, "-q", "--format", "text"]);
    eventually("the first datagram", || {
        send(&lan.a, &[GROUP, "hello"]);
        receiver.stdout.text().contains("hello")
    });
    assert_eq!(receiver.signalled(libc::SIGINT).stderr, "");
}

#[test]
fn memberships_follow_a_recreated_interface() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &["239.255.1.2%eth0:5000", "--follow", "-c", "2", "--json"]);
    send(&lan.a, &[GROUP, "before"]);
    receiver.stdout.wait_for("before");

    lan.b.delete_interface("eth0").unwrap();
    lan.b.reconnect("eth0", &lan.switch, &["10.0.0.22/24"]).unwrap();
    eventually("the membership on the new interface", || {
        lan.b.read_proc_net("igmp").unwrap().contains("0201FFEF")
    });
    send(&lan.a, &[GROUP, "after"]);

    let received = receiver.end().succeeded().json();
    assert_eq!((&received[1]["text"], &received[1]["interface"]), (&"after".into(), &"eth0".into()));
}

#[test]
fn a_missing_interface_is_waited_for() {
    let lan = Lan::new();
    let receiver =
        start(&lan.b, &["recv", "239.255.1.2%eth7:5000", "--follow", "-c", "1", "--format", "text"]);
    receiver.stderr.wait_for("waiting for an interface");
    lan.b.connect("eth7", &lan.switch, &["10.0.0.7/24"]).unwrap();
    eventually("the membership", || lan.b.read_proc_net("igmp").unwrap().contains("0201FFEF"));
    send(&lan.a, &[GROUP, "hello"]);
    assert_eq!(receiver.end().succeeded().text(), "hello\n");
}

#[test]
fn two_feeds_on_two_interfaces_are_separate() {
    let lan = Lan::new();
    let other = lan.lab.switch("other").unwrap();
    lan.b.connect("eth1", &other, &["10.1.0.2/24"]).unwrap();
    let source = lan.lab.host("source").unwrap();
    source.connect("eth0", &other, &["10.1.0.1/24"]).unwrap();
    let receiver = recv(&lan.b, &[GROUP, "-i", "eth0", "-i", "eth1", "-c", "3", "--discard", "--json"]);

    send(&lan.a, &[GROUP, "left", "left"]);
    send(&source, &[GROUP, "-i", "eth0", "right!"]);

    let ended = receiver.end().succeeded();
    let summary = &ended.json()[0];
    crate::schemas::assert_valid("recv-summary", summary);
    let flow = |flow: &serde_json::Value| {
        (
            flow["interface"].to_string(),
            flow["source"].to_string(),
            flow["datagrams"].as_u64(),
            flow["bytes"].as_u64(),
        )
    };
    let flows: Vec<_> = summary["flows"].as_array().unwrap().iter().map(flow).collect();
    assert_eq!(
        flows,
        [
            ("\"eth0\"".into(), "\"10.0.0.1\"".into(), Some(2), Some(8)),
            ("\"eth1\"".into(), "\"10.1.0.1\"".into(), Some(1), Some(6)),
        ]
    );
    assert!(ended.stderr.contains("239.255.1.2%eth0:5000: joined on eth0"), "{}", ended.stderr);
}

#[test]
fn many_groups_are_one_argument() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &["239.255.7.0/28:5000-5001", "-c", "32", "--json"]);
    send(&lan.a, &["239.255.7.0/28:5000-5001", "hello"]);
    let received = receiver.end().succeeded().json();
    let mut groups: Vec<_> =
        received.iter().map(|each| format!("{}:{}", each["group"], each["port"])).collect();
    groups.sort();
    groups.dedup();
    assert_eq!(groups.len(), 32);
}

#[test]
fn very_many_groups_are_warned_of_and_left_quickly() {
    let lan = Lan::new();
    let receiving = start(&lan.b, &["recv", "239.254.0.0/18:5000"]);
    receiving.stderr.wait_for("joined");
    let before = Instant::now();
    let ended = receiving.signalled(libc::SIGINT);
    let taken = before.elapsed();
    assert!(ended.stderr.contains("warning: 16,384 memberships: routers and snooping switches"), "{ended:?}");
    // From the oldest on, it takes more than half a minute.
    assert!(taken < Duration::from_secs(12), "{taken:?}");
}

#[test]
fn a_vanished_interface_keeps_its_name() {
    let lan = Lan::new();
    lan.b.connect("eth1", &lan.switch, &["10.0.0.9/24"]).unwrap();
    let receiver = recv(&lan.b, &["239.255.1.2%eth1:5000", "--follow"]);
    send(&lan.a, &[GROUP, "hello"]);
    receiver.stdout.wait_for("hello");

    lan.b.delete_interface("eth1").unwrap();

    let ended = receiver.signalled(libc::SIGINT);
    let flow = ended.stderr.lines().find(|line| line.contains("10.0.0.1 ")).expect(&ended.stderr);
    assert!(flow.contains("239.255.1.2:5000  eth1 "), "{ended:?}");
}

#[test]
fn an_interface_on_which_nothing_can_arrive_is_reported() {
    let lan = Lan::new();
    lan.b.set_down("eth0").unwrap();
    let down = mcast(&lan.b, &["recv", "239.255.1.2%eth0:5000", "-W", "10ms"]);
    assert!(down.stderr.contains("warning: eth0 is down"), "{down:?}");

    lan.c.connect("eth1", &lan.switch, &["10.0.0.9/24"]).unwrap();
    let joined = recv(&lan.c, &["239.255.1.2%eth1:5000"]);
    lan.c.delete_interface("eth1").unwrap();
    // While it runs, and once.
    joined.stderr.wait_for("warning: eth1 is gone: nothing arrives on it");
    let ended = joined.signalled(libc::SIGINT);
    assert_eq!(ended.stderr.matches("eth1 is gone").count(), 1, "{ended:?}");

    let fine = mcast(&lan.a, &["recv", GROUP, "[ff15::1]:5000", "-W", "10ms"]);
    assert!(!fine.stderr.contains("warning"), "{fine:?}");
}

#[test]
fn many_groups_that_return_to_the_sockets_are_summed_up() {
    let lan = Lan::new();
    let groups: Vec<_> = (1..=20).map(|number| format!("239.1.2.{number}:5000")).collect();
    let groups: Vec<_> = groups.iter().map(String::as_str).collect();
    let taking = recv(&lan.b, &[&groups[..], &["-i", "eth0", "--wire", "auto"]].concat());
    taking.stderr.wait_for(" of 20 groups");
    if !taking.stderr.text().contains("taken off the interface (AF_XDP): 20 of 20 groups") {
        return;
    }
    let other = recv(&lan.b, &[&groups[..], &["-i", "eth0", "--format", "text"]].concat());
    eventually("all groups return", || {
        groups.iter().for_each(|group| send(&lan.a, &[group, &format!("for {group};")]));
        groups.iter().all(|group| other.stdout.text().contains(&format!("for {group};")))
    });
    let ended = taking.signalled(libc::SIGINT);
    drop(other);
    assert!(ended.stderr.contains("no longer taken off the interface: 20 groups"), "{ended:?}");
    assert_eq!(ended.stderr.matches("by the socket").count(), 1, "{ended:?}");
}

#[test]
fn every_command_that_receives_reports_an_interface_that_is_down() {
    const WARNING: &str = "warning: eth0 is down: nothing arrives on it until it is up";
    let lan = Lan::new();
    let commands: [&[&str]; 8] = [
        &["subscribe", GROUP],
        &["subscribe", "prices"],
        &["perf", "recv", GROUP],
        &["perf", "recv", GROUP, "--stream"],
        &["ping", GROUP, "--reply"],
        &["doctor", "--listen", GROUP],
        &["top", "--interval", "100ms"],
        &["top", "--metrics", "127.0.0.1:0"],
    ];
    let start = |arguments: &[&str]| start(&lan.b, &[arguments, &["-i", "eth0"]].concat());
    lan.b.set_down("eth0").unwrap();
    for arguments in commands {
        let running = start(arguments);
        running.stderr.wait_for(WARNING);
        running.signalled(libc::SIGINT);
    }
    lan.b.set_up("eth0").unwrap();

    // Those that run for long also report a change.
    let is_up =
        [commands[0], commands[4], commands[6], commands[7]].map(|arguments| (arguments, start(arguments)));
    for (arguments, running) in &is_up {
        running.stderr.wait_for(if arguments[0] == "top" { "watching" } else { "joined" });
        assert!(!running.stderr.text().contains("is down"), "{arguments:?}");
    }
    lan.b.set_down("eth0").unwrap();
    for (_, running) in is_up {
        running.stderr.wait_for(WARNING);
        let ended = running.signalled(libc::SIGINT);
        assert_eq!(ended.stderr.matches(WARNING).count(), 1, "{ended:?}");
    }
}

#[test]
fn recv_takes_datagrams_off_the_interface_or_says_why_not() {
    let lan = Lan::new();
    let taking = recv(&lan.b, &[GROUP, "-c", "1", "--format", "text", "--wire", "auto"]);
    send(&lan.a, &[GROUP, "hello"]);
    let taken = taking.end().succeeded();
    assert_eq!(taken.text(), "hello\n");
    let way = ["taken off the interface (AF_XDP)", "CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed"];
    assert!(way.iter().any(|way| taken.stderr.contains(way)), "{taken:?}");

    let refused = mcast(&lan.b, &["recv", "239.255.1.2%lo:5000", "--wire", "require"]);
    assert!(refused.stderr.contains("it is not an Ethernet interface"), "{refused:?}");

    // As one who was granted the other rights.
    let limited = ["--memlock=65536:65536", "setpriv", "--bounding-set=-ipc_lock", MCAST];
    let command = ["recv", GROUP, "-W", "1s", "--wire", "require"];
    let refused = program(&lan.b, "prlimit", &[&limited[..], &command].concat(), false).end();
    let why = ["exceeds the limit on locked memory", "CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed"];
    assert!(why.iter().any(|why| refused.stderr.contains(why)), "{refused:?}");
    assert_eq!(refused.status, Some(3));
}
