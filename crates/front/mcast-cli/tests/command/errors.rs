//! Errors have a cause, a remedy and the right exit status.

use mcast_lab::{Host, Lab};
use snapbox::{assert_data_eq, str};

use crate::support::{Lan, eventually, mcast, program, recv, start};

/// A host without any interface but loopback: what is wrongly sent goes nowhere.
struct Alone {
    _lab: Lab,
    host: Host,
}

impl Alone {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let host = lab.host("alone").unwrap();
        Self { _lab: lab, host }
    }

    fn fails(&self, arguments: &[&str], expected: impl snapbox::IntoData) {
        let ended = mcast(&self.host, arguments);
        assert_eq!((ended.status, ended.text()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert_data_eq!(ended.stderr, expected);
    }
}

#[test]
fn invalid_combinations_are_usage_errors() {
    let alone = Alone::new();
    alone.fails(
        &["recv", "239.255.1.3"],
        str![[r#"
error: "239.255.1.3" has no port: write GROUP:PORT

"#]],
    );
    alone.fails(
        &["doctor", "239.255.1.3"],
        str![[r#"
error: 239.255.1.3 has no port: write 239.255.1.3:PORT
remedy: `mcast sniff 239.255.1.3 --join` shows the ports to which the group is sent

"#]],
    );
    // Any other word may be the name of something that announces itself.
    alone.fails(
        &["doctor", "lo"],
        str![[r#"
error: lo is an interface of this machine
remedy: `mcast doctor` examines it with the rest of the machine; `mcast doctor GROUP:PORT -i lo`, what arrives on it

"#]],
    );
    for count in ["0", "-1"] {
        let ended = mcast(&alone.host, &["recv", "239.255.1.3:5000", "-c", count]);
        let expected = format!("error: invalid value '{count}' for '--count <N>': must be at least 1");
        assert_eq!((ended.status, ended.stderr.lines().next()), (Some(2), Some(&expected[..])), "{ended:?}");
    }
    let doctor = mcast(&alone.host, &["doctor", "239.255.1.3:5000", "-W", "0"]);
    let expected = "error: invalid value '0' for '--timeout <TIME>': must be more than zero";
    assert_eq!((doctor.status, doctor.stderr.lines().next()), (Some(2), Some(expected)), "{doctor:?}");
    let listen = mcast(&alone.host, &["listen", "239.255.1.3:5000"]);
    assert!(listen.stderr.contains("\n  tip: the command for that is `mcast recv`\n"), "{listen:?}");
    alone.fails(
        &["bridge", "prices", "redis://10.0.0.9"],
        str![[r#"
error: the word `to` is missing before 'redis://10.0.0.9': mcast bridge STREAM to redis://10.0.0.9

"#]],
    );
    alone.fails(
        &["recv", "10.1.2.3"],
        str![[r#"
error: "10.1.2.3" is a host without a port
remedy: write 10.1.2.3:PORT; or for multicast the address of a group

"#]],
    );
    alone.fails(
        &["recv", "mdsn"],
        str![[r#"
error: "mdsn" is neither an address nor the name of a group: write an address, or a name such as mdns
remedy: did you mean `mdns`? `mcast explain --names` lists all names

"#]],
    );
    alone.fails(
        &["recv", "[ff15::1]:5000", "-4"],
        str![[r#"
error: "[ff15::1]:5000" is not an IPv4 group
remedy: remove the option, or name an IPv4 group

"#]],
    );
    alone.fails(
        &["recv", "239.255.1.3:5000", "-s", "10.0.0.1,!10.0.0.2"],
        str![[r#"
error: --source has both sources to accept and sources to exclude
remedy: give either sources to accept, or sources to exclude (each with a `!` in front)

"#]],
    );
    alone.fails(
        &["send", "239.255.1.3:5000", "239.255.1.4", "hello"],
        str![[r#"
error: "239.255.1.4" has no port: write GROUP:PORT
remedy: to send it as a message, write: -- "239.255.1.4"

"#]],
    );
    alone.fails(
        &["send", "239.255.1.3:5000", "--hex", "4"],
        str![[r#"
error: "4" is not hexadecimal
remedy: write two digits per byte: 48656c6c6f or "48 65 6c 6c 6f"

"#]],
    );
    alone.fails(&["explain", "10.0.0.1"], str![[r#"
error: "10.0.0.1" is not a multicast address: write one from 224.0.0.0 to 239.255.255.255, or one that begins with ff

"#]]);
    alone.fails(&["pick", "weather", "--scope", "global"], str![[r#"
error: IPv4 has no groups to pick from in scope global: use scope local or organization; a global any-source group requires your own autonomous system (GLOP, RFC 3180) or prefix (RFC 6034); otherwise use a source-specific group

"#]]);
}

#[test]
fn errors_about_values_say_what_to_write() {
    let alone = Alone::new();
    alone.fails(
        &["recv", "239.255.1.3:5000", "-W", "soon"],
        str![[r#"
error: invalid value 'soon' for '--timeout <TIME>': write a time such as 500ms, 2s, 1.5 (seconds), 5m or 1h

For more information, try '--help'.

"#]],
    );
    alone.fails(
        &["send", "239.255.1.3:5000", "x", "--rate", "fast"],
        str![[r#"
error: invalid value 'fast' for '--rate <RATE>': must begin with a positive number; write a rate such as 1000pps, 200kpps, 64kbit or 10Mbit

For more information, try '--help'.

"#]],
    );
    alone.fails(
        &["send", "239.255.1.3:5000", "--chunk", "0"],
        str![[r#"
error: invalid value '0' for '--chunk <SIZE>': must be at least 1

For more information, try '--help'.

"#]],
    );
    alone.fails(
        &["recv", "239.255.1.3:5000", "--exec-reply"],
        str![[r#"
error: the following required arguments were not provided:
  --exec <COMMAND>

Usage: mcast recv --exec <COMMAND> --exec-reply <MEMBERSHIP>...

For more information, try '--help'.

"#]],
    );
}

#[test]
fn an_interface_in_the_place_of_a_group_is_named() {
    let alone = Alone::new();
    for command in ["recv", "subscribe", "sniff", "top", "groups", "querier"] {
        let ended = mcast(&alone.host, &[command, "lo"]);
        let tip = "lo is an interface of this machine: select it with `-i lo`\n";
        assert!(ended.status == Some(2) && ended.stderr.contains(tip), "{command}: {ended:?}");
    }
    // It has no such option.
    let ended = mcast(&alone.host, &["interfaces", "lo"]);
    assert!(ended.status == Some(2) && !ended.stderr.contains("tip:"), "{ended:?}");
}

#[test]
fn missing_resources_are_environment_errors() {
    let lan = Lan::new();
    let missing = mcast(&lan.a, &["recv", "239.255.1.3:5000", "-i", "eth7"]);
    assert_eq!(missing.status, Some(4), "{missing:?}");
    assert_data_eq!(
        missing.stderr,
        str![[r#"
error: cannot join 239.255.1.3:5000 on eth7: no such interface: this machine has lo (1), eth0 (2)
remedy: `mcast interfaces` lists the interfaces of this machine

"#]]
    );

    lan.a.remove_route("224.0.0.0/4", "eth0").unwrap();
    let no_route = mcast(&lan.a, &["send", "239.255.1.3:5000", "hello", "-q"]);
    assert_eq!(no_route.status, Some(4), "{no_route:?}");
    assert_data_eq!(
        no_route.stderr,
        str![[r#"
error: cannot send to 239.255.1.3:5000: no route to the group, and no interface was given (Network is unreachable (os error 101))
remedy: `ip route replace 224.0.0.0/4 dev eth0`
remedy: Or name the interface, which needs no route: `239.255.1.3%eth0:5000`.

"#]]
    );

    let no_file =
        mcast(&lan.a, &["send", "239.255.1.3:5000", "-i", "eth0", "--file", "/does/not/exist", "-q"]);
    assert_eq!(no_file.status, Some(4), "{no_file:?}");
    assert_data_eq!(
        no_file.stderr,
        str![[r#"
error: cannot read /does/not/exist: No such file or directory (os error 2)

"#]]
    );

    lan.a.remove_address("eth0", "10.0.0.1/24").unwrap();
    let no_address = mcast(&lan.a, &["send", "239.255.1.3:5000", "-i", "eth0", "hello", "-q"]);
    assert_eq!(no_address.status, Some(4), "{no_address:?}");
    assert_data_eq!(
        no_address.stderr,
        str![[r#"
error: cannot send to 239.255.1.3:5000 on eth0: the interface has no address of the group's family
remedy: give the interface an address: `ip address add ADDRESS/PREFIX dev eth0`

"#]]
    );
}

#[test]
fn an_interface_that_is_down_is_the_cause_that_sending_reports() {
    let lan = Lan::new();
    lan.a.remove_address("eth0", "10.0.0.1/24").unwrap();
    lan.a.set_down("eth0").unwrap();
    for group in ["[ff15::1]:5000", "239.255.1.3:5000"] {
        let down = mcast(&lan.a, &["send", group, "-i", "eth0", "hello", "-q"]);
        assert_eq!(down.status, Some(4), "{down:?}");
        let expected =
            format!("error: cannot send to {group} on eth0: the interface is down\nremedy: bring it up: ");
        assert!(down.stderr.starts_with(&expected), "{down:?}");
    }
}

/// The system accepts datagrams on both, and discards them, or some of them.
#[test]
fn an_interface_that_may_carry_no_groups_is_warned_of_when_sending() {
    let lan = Lan::new();
    let ip = |words: &str| {
        let status = lan.a.command("ip").unwrap().args(words.split_whitespace()).status().unwrap();
        assert!(status.success(), "ip {words}");
    };
    let warnings = |to: &str, on: &str| {
        let ended = mcast(&lan.a, &["send", to, "-i", on, "hello"]);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let lines = ended.stderr.lines().filter(|line| line.starts_with("warning: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings("239.255.1.3:5000", "eth0"), [""; 0]);
    ip("link set eth0 multicast off");
    let expected = "warning: eth0 lacks the flag MULTICAST: groups may not get through";
    assert_eq!(warnings("239.255.1.3:5000", "eth0"), [expected]);
    assert_eq!(warnings("10.0.0.2:5000", "eth0"), [""; 0]);
    // The other end is down.
    ip("link add cut0 type veth peer name cut1");
    ip("link set cut0 up");
    ip("address add 10.9.0.1/24 dev cut0");
    let expected = "warning: cut0 has no carrier: the system discards what is sent there";
    assert_eq!(warnings("239.255.1.3:5000", "cut0"), [expected]);
}

#[test]
fn a_missing_route_to_a_host_is_not_one_to_groups() {
    let lan = Lan::new();
    for (arguments, host) in [
        (&["send", "192.0.2.1:5000", "hello"][..], "192.0.2.1"),
        (&["send", "[2001:db8::1]:5000", "hello"], "2001:db8::1"),
        (&["publish", "192.0.2.1:5000", "hello"], "192.0.2.1"),
    ] {
        let ended = mcast(&lan.a, arguments);
        assert_eq!(ended.status, Some(4), "{ended:?}");
        assert!(
            ended.stderr.contains(": no route to the host (Network is unreachable (os error 101))"),
            "{ended:?}"
        );
        assert!(ended.stderr.contains(&format!("`ip route get {host}`")), "{ended:?}");
        assert!(!ended.stderr.contains("ip route add"), "{ended:?}");
    }
    let broadcast = mcast(&lan.a, &["send", "--broadcast", "5000", "hello"]);
    assert!(broadcast.stderr.contains("no route for broadcasts"), "{broadcast:?}");
    assert!(broadcast.stderr.contains("remedy: name the interface to send on"), "{broadcast:?}");
}

#[test]
fn a_link_local_address_without_its_interface_is_the_cause_that_is_reported() {
    let lan = Lan::new();
    for command in ["recv", "subscribe"] {
        let ended = mcast(&lan.a, &[command, "[fe80::1]:5000"]);
        assert_eq!(ended.status, Some(4), "{ended:?}");
        assert!(ended.stderr.contains("a link-local address needs its interface"), "{ended:?}");
        assert!(ended.stderr.contains("such as `[fe80::1%eth0]:5000`"), "{ended:?}");
    }
}

#[test]
fn files_and_ports_that_cannot_be_used_have_a_remedy() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, damaged) = (path("file"), path("damaged"));
    std::fs::write(&file, "text").unwrap();
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(folder.path().join("damaged/publisher"), b"\xff\xfe").unwrap();
    let held = lan.a.run(|| std::net::TcpListener::bind("0.0.0.0:5001").unwrap()).unwrap();
    let udp = lan.a.run(|| std::net::UdpSocket::bind("0.0.0.0:5002").unwrap()).unwrap();
    let group = "239.255.1.3:7000";
    let in_use = "remedy: another program";
    fn publish<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["publish", "239.255.1.3:7000", "-i", "eth0", "--name", "x", "hello"], more].concat()
    }
    let (log, exe) = (path("log"), "/proc/self/exe");
    for (arguments, expected) in [
        (publish(&["--log", &file]), "remedy: name a directory, which need not exist"),
        (publish(&["--log", &damaged]), "it is damaged; if it is removed"),
        (publish(&["--log", &log, "--serve-history", "0.0.0.0:5001"]), in_use),
        (publish(&["--announce", "y", "--snapshot", "5001:date"]), in_use),
        (
            vec!["subscribe", group, "--name", "x", "--resume", exe],
            "does not contain the position of a subscriber",
        ),
        (vec!["send", "10.0.0.99", "hello"], "remedy: write 10.0.0.99:PORT"),
        (vec!["send", "fd00::9", "hello"], "remedy: write [fd00::9]:PORT"),
        (vec!["publish", "10.0.0.99", "hello"], "\"10.0.0.99\" is a host without a port"),
        (vec!["publish", group, "--path", group, "hello"], "239.255.1.3:7000 is given twice"),
        (vec!["top", "--once", "-W", "100ms", "239.255.1.3"], "nothing arrived for the selected streams"),
    ] {
        let ended = mcast(&lan.a, &arguments);
        assert_ne!(ended.status, Some(0), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
    drop((held, udp));
}

#[test]
fn every_command_names_a_missing_interface() {
    let lan = Lan::new();
    for (arguments, expected) in [
        (
            &["send", "239.255.1.3:5000", "-i", "eth7", "hello"][..],
            "error: cannot send to 239.255.1.3:5000: cannot find the interface eth7: no such interface",
        ),
        (
            &["ask", "239.255.1.3:5000", "-i", "eth7", "hello"],
            "error: cannot find the interface eth7: no such interface",
        ),
        (&["groups", "-i", "eth7"], "error: cannot find the interface eth7: no such interface"),
        (&["doctor", "-i", "eth7"], "error: cannot find the interface eth7: no such interface"),
    ] {
        let ended = mcast(&lan.a, arguments);
        assert_eq!(ended.status, Some(4), "{ended:?}");
        assert!(ended.stderr.starts_with(expected), "{ended:?}");
        assert!(ended.stderr.contains(": this machine has lo (1), eth0 (2)"), "{ended:?}");
    }
}

#[test]
fn an_interface_that_vanishes_while_sending_is_named() {
    let lan = Lan::new();
    let sends = start(&lan.a, &["send", "239.255.1.3:5000", "-i", "eth0", "tick", "--every", "5ms"]);
    let receiver = recv(&lan.b, &["239.255.1.3:5000", "--format", "text"]);
    receiver.stdout.wait_for("tick");
    lan.a.delete_interface("eth0").unwrap();
    sends.stderr.wait_for("warning: eth0 is gone: cannot send to 239.255.1.3:5000");
    let ended = sends.signalled(libc::SIGINT);
    assert!(ended.stderr.contains("refused by the kernel: "), "{ended:?}");
}

#[test]
fn a_full_disk_is_reported() {
    let lan = Lan::new();
    let script = format!("exec {} interfaces > /dev/full", crate::support::MCAST);
    let ended = program(&lan.a, "sh", &["-c", &script], false).end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.starts_with("error: cannot write to standard output: No space left"), "{ended:?}");
}

#[test]
fn a_port_in_exclusive_use_is_reported() {
    let lan = Lan::new();
    let held = lan.a.run(|| std::net::UdpSocket::bind("0.0.0.0:5000").unwrap()).unwrap();
    let refused = mcast(&lan.a, &["recv", "239.255.1.3:5000"]);
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("the address is in use"), "{refused:?}");
    assert!(
        refused.stderr.contains("remedy: another program uses the port without sharing it"),
        "{refused:?}"
    );
    drop(held);
}

#[test]
fn a_missing_right_is_named() {
    let lan = Lan::new();
    let without = ["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service", crate::support::MCAST];
    let arguments = ["send", "239.255.1.3:5000", "hello", "--source-port", "80"];

    let refused = program(&lan.a, "setpriv", &[&without[..], &arguments].concat(), false).end();

    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert_data_eq!(
        refused.stderr,
        str![[r#"
to 239.255.1.3:5000 on eth0 (the route to the group), hop limit 1: stays in this network (-t for more)
error: cannot open a socket: permission denied: to send from port 80 (Permission denied (os error 13))
remedy: ports below 1024 need the capability CAP_NET_BIND_SERVICE: run it as root, grant it, or use a higher port

"#]]
    );
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let lan = Lan::new();
    // The command hangs on for as long as it likes: the first Ctrl-C waits for it.
    let runs = recv(&lan.b, &["239.255.1.3:5000", "--exec", "trap '' INT; exec sleep 600"]);
    crate::support::send(&lan.a, &["239.255.1.3:5000", "x"]);
    eventually("the command", || lan.b.read_proc_net("udp").is_ok() && runs_sleep(runs.child.id()));
    runs.child.signal(libc::SIGINT).unwrap();
    let start = std::time::Instant::now();
    let mut signals = 0;
    let mut runs = runs;
    eventually("the end", || {
        signals += 1;
        runs.child.signal(libc::SIGINT).unwrap();
        runs.child.try_wait().unwrap().is_some()
    });
    assert!(start.elapsed().as_secs() < 20);
    assert_eq!(runs.child.wait().unwrap().code(), Some(130));
}

/// Whether a process has a child that sleeps.
fn runs_sleep(id: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.collect::<Vec<_>>().join(" ").split_whitespace().any(|child| {
        std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "sleep")
    })
}
