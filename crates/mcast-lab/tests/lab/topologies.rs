//! Networks described in files, and the programs in them.

use std::time::{Duration, Instant};

use mcast_lab::{
    LabErrorKind, Network, Program, Topology,
    topology::{Event, Ready, SHIPPED, Stream},
};

use super::sockets::{GROUP, PATIENCE, hear, receiver, sender};

/// Runs a topology to its end and returns what happened.
fn run(text: &str) -> (Vec<Event>, Vec<Program>) {
    let network = Topology::parse(text).unwrap().build().unwrap();
    let events = run_network(&network);
    (events, network.topology().programs().to_vec())
}

fn run_network(network: &Network) -> Vec<Event> {
    let mut run = network.run(|_, _| ());
    let deadline = Instant::now() + 4 * PATIENCE;
    let mut events = Vec::new();
    while !run.is_over() {
        assert!(Instant::now() < deadline, "{events:?}");
        events.extend(run.next(PATIENCE).unwrap());
    }
    events
}

/// The place of the event among all that holds.
fn place(events: &[Event], holds: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(holds).unwrap_or_else(|| panic!("{events:?}"))
}

fn started(program: usize) -> impl Fn(&Event) -> bool {
    move |event| *event == Event::Started { program }
}

fn ended(program: usize) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Ended { program: ended, .. } if *ended == program)
}

fn ended_as_expected(events: &[Event], which: usize) -> bool {
    let end = &events[place(events, ended(which))];
    matches!(end, Event::Ended { as_expected: true, .. })
}

fn line(program: usize, stream: Stream, text: &str) -> Event {
    Event::Line { program, stream, line: text.into() }
}

#[test]
fn shipped_topologies_stand() {
    for (name, _) in SHIPPED {
        let topology = Topology::shipped(name).unwrap().unwrap();
        assert!(!topology.description().is_empty());
        let network = topology.build().unwrap();
        assert!(topology.hosts().all(|host| network.host(host).is_some()));
        assert!(!topology.programs().is_empty());
    }
    assert!(Topology::shipped("no-such").is_none());
}

#[test]
fn the_seeds_hosts_have_the_seeds_addresses() {
    let network = Topology::shipped("four-hosts").unwrap().unwrap().build().unwrap();
    for (host, address) in [("eastny", 101), ("midwood", 103), ("flatbush", 104), ("bushwick", 105)] {
        let addresses = network.host(host).unwrap().addresses("eth0").unwrap();
        assert_eq!(addresses[0].to_string(), format!("192.168.56.{address}/24"));
    }
    assert_eq!(network.topology().hosts().collect::<Vec<_>>(), ["eastny", "midwood", "flatbush", "bushwick"]);
}

#[test]
fn the_shipped_router_routes_and_the_shipped_link_loses() {
    let network = Topology::shipped("two-lans").unwrap().unwrap().build().unwrap();
    let (camera, screen) = (network.host("camera").unwrap(), network.host("screen").unwrap());
    let receiver = receiver(screen, &port(screen), GROUP);
    network.switch("office").unwrap().wait_for_member(screen, "eth0", GROUP, PATIENCE).unwrap();
    let sender = sender(camera, &port(camera));
    sender.set_hop_limit(2);
    sender.send(GROUP, b"routed");
    assert_eq!(hear(&receiver).0, b"routed");

    let network = Topology::shipped("lossy-link").unwrap().unwrap().build().unwrap();
    assert_eq!(network.bad_links().len(), 1);
}

fn port(host: &mcast_lab::Host) -> mcast_lab::Port {
    mcast_lab::Port {
        host: host.name().to_owned(),
        name: "eth0".to_owned(),
        index: host.interface_index("eth0").unwrap(),
        hardware_address: [0; 6],
        addresses: host.addresses("eth0").unwrap(),
    }
}

#[test]
fn programs_are_listed_with_their_names_and_order() {
    let topology = Topology::parse(
        r#"
        [hosts.zeta]
        run = ["echo first", { name = "second", command = "echo second", after = ["zeta.1"], expect = 3 }]
        [hosts.alpha]
        run = [{ command = "echo third", wait_for = ["second"], joined = "239.1.2.3", background = true }]
        "#,
    )
    .unwrap();
    let programs = topology.programs();
    let names: Vec<_> =
        programs.iter().map(|program| (program.name.as_str(), program.host.as_str())).collect();
    assert_eq!(names, [("zeta.1", "zeta"), ("second", "zeta"), ("alpha.1", "alpha")]);
    assert_eq!((&programs[1].after, programs[1].expect), (&vec![0], 3));
    assert_eq!((&programs[2].wait_for, programs[2].background), (&vec![1], true));
    assert_eq!(programs[2].ready, Ready::Joined("239.1.2.3".parse().unwrap()));
}

#[test]
fn output_and_status_are_told() {
    let (events, _) = run(r#"
        [hosts.a]
        run = [{ command = "echo out; echo err >&2; printf last; exit 4", expect = 4 }, "exit 4"]
        "#);
    let end = place(&events, ended(0));
    for (stream, text) in [(Stream::Output, "out"), (Stream::Error, "err"), (Stream::Output, "last")] {
        assert!(place(&events, |event| *event == line(0, stream, text)) < end, "{text}");
    }
    assert!(ended_as_expected(&events, 0));
    assert!(!ended_as_expected(&events, 1));
}

#[test]
fn programs_wait_for_each_other() {
    let (events, _) = run(r#"
        [hosts.a]
        run = [
            { name = "server", command = "echo starting; echo listening; cat", ready = "listening", background = true },
            { name = "client", command = "true", wait_for = ["server"] },
            { name = "last", command = "true", after = ["client"] },
        ]
        "#);
    // `cat` has no input and ends at once; the client may still start, as the server was ready.
    assert!(place(&events, |event| *event == Event::Ready { program: 0 }) < place(&events, started(1)));
    assert!(place(&events, ended(1)) < place(&events, started(2)));
}

#[test]
fn programs_in_the_background_are_stopped_when_the_others_have_ended() {
    let (events, _) = run(r#"
        [hosts.a]
        run = [{ command = "sleep 1000", background = true }, "true"]
        "#);
    assert!(place(&events, ended(1)) < place(&events, ended(0)));
    assert!(ended_as_expected(&events, 0));
}

#[test]
fn who_waits_in_vain_is_skipped() {
    let (events, _) = run(r#"
        [hosts.a]
        run = [
            { name = "server", command = "false", ready = "never" },
            { name = "client", command = "true", wait_for = ["server"] },
            { name = "last", command = "true", after = ["client"] },
        ]
        "#);
    place(&events, |event| *event == Event::Skipped { program: 1 });
    place(&events, |event| *event == Event::Skipped { program: 2 });
    assert!(!ended_as_expected(&events, 0));
}

#[test]
fn the_time_limit_stops_everything_even_what_does_not_listen() {
    let start = Instant::now();
    let (events, _) = run(r#"
        time_limit = "100ms"
        [hosts.a]
        run = [{ command = "trap '' INT; echo deaf; sleep 1000 & wait; sleep 1000" }, { command = "true", after = ["a.1"] }]
        "#);
    place(&events, |event| *event == Event::TimeLimit);
    place(&events, |event| *event == Event::Skipped { program: 1 });
    assert!(!ended_as_expected(&events, 0));
    assert!(start.elapsed() < 2 * PATIENCE);
}

#[test]
fn a_program_that_has_joined_is_ready() {
    let python = "import socket, struct\\n\\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\\n\\
        s.bind(('239.1.2.3', 5000))\\n\\
        s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, struct.pack('4s4s', socket.inet_aton('239.1.2.3'), socket.inet_aton('10.0.0.2')))\\n\\
        print(s.recv(100).decode())";
    let send = "import socket\\n\\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\\n\\
        s.setsockopt(0, socket.IP_MULTICAST_IF, socket.inet_aton('10.0.0.1'))\\n\\
        s.sendto(b'heard', ('239.1.2.3', 5000))";
    let (events, _) = run(&format!(
        r#"
        [switches.lan]
        snooping = true
        querier = true
        [hosts.a]
        interfaces.eth0 = {{ switch = "lan", addresses = ["10.0.0.1/24"] }}
        run = [{{ command = """python3 -c "{send}" """, wait_for = ["b.1"] }}]
        [hosts.b]
        interfaces.eth0 = {{ switch = "lan", addresses = ["10.0.0.2/24"] }}
        run = [{{ command = """python3 -c "{python}" """, joined = "239.1.2.3" }}]
        "#
    ));
    place(&events, |event| *event == line(1, Stream::Output, "heard"));
}

#[test]
fn stopping_skips_what_has_not_started() {
    let text = "[hosts.a]\nrun = ['sleep 1000', { command = 'true', after = ['a.1'] }]";
    let network = Topology::parse(text).unwrap().build().unwrap();
    let mut run = network.run(|_, _| ());
    assert_eq!(run.next(PATIENCE).unwrap(), Some(Event::Started { program: 0 }));
    run.stop(libc::SIGTERM).unwrap();
    let mut events = Vec::new();
    while !run.is_over() {
        events.push(run.next(PATIENCE).unwrap().unwrap());
    }
    place(&events, |event| *event == Event::Skipped { program: 1 });
    assert!(!ended_as_expected(&events, 0));
}

#[test]
fn commands_can_be_prepared() {
    let network = Topology::parse("[hosts.a]\nrun = ['echo $GREETING']").unwrap().build().unwrap();
    let mut run = network.run(|program, command| {
        command.env("GREETING", format!("hello from {}", program.host));
    });
    let mut events = Vec::new();
    while !run.is_over() {
        events.extend(run.next(PATIENCE).unwrap());
    }
    place(&events, |event| *event == line(0, Stream::Output, "hello from a"));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let wrong = [
        ("[hosts.a]\ninterfaces.eth0 = { swich = \"lan\" }", 2, "swich"),
        ("\n\n[host.a]", 3, "host"),
        ("[hosts.a]\ninterfaces.eth0 = { switch = \"lan\" }", 2, "no switch 'lan'"),
        (
            "[switches.lan]\n[hosts.a]\ninterfaces.eth0 = { switch = \"lan\", addresses = [\n\"10.0.0.1\"] }",
            4,
            "10.0.0.1/24",
        ),
        ("[switches.a]\n[hosts.a]", 2, "'a' is taken"),
        ("[switches.a]\n[[trunks]]", 2, ""),
        ("trunks = [[\"a\", \"b\"]]\n[switches.a]", 1, "no switch 'b'"),
        ("[switches.a]\nigmp_version = 1", 2, "IGMP version 2 or 3"),
        ("[hosts.a]\nroutes = [{ to = \"224.0.0.0/4\" }]", 2, "`interface` or `via`"),
        (
            "[hosts.a]\nrun = [{ command = \"true\",\n name = \"x\" }]\n[hosts.b]\nrun = [{ command = \"true\", name = \"x\" }]",
            5,
            "name 'x'",
        ),
        ("[hosts.a]\nrun = [{ command = \"true\", after = [\"b\"] }]", 2, "no program 'b'"),
        ("[hosts.a]\nrun = [\n\"true\",\n{ command = \"true\", after = [\"a.2\"] }]", 4, "waits for itself"),
        ("[hosts.a]\nrun = [{ command = \"true\", joined = \"nowhere\" }]", 2, "nowhere"),
        (
            "[[links]]\nends = [{ host = \"a\", interface = \"x\" }, { host = \"b\", interface = \"y\" }]",
            2,
            "no host 'a'",
        ),
        (
            "[hosts.a]\n[hosts.b]\n[[links]]\nends = [{ host = \"a\", interface = \"x\" }, { host = \"b\", interface = \"y\" }]\nimpairment = { loss = 2.0 }",
            5,
            "from 0 to 1",
        ),
        (
            "[hosts.a]\n[hosts.b]\n[[links]]\nends = [{ host = \"a\", interface = \"x\" }, { host = \"b\", interface = \"y\" }]\nimpairment = { delay = 20 }",
            5,
            "20ms",
        ),
        ("[routers.r]\ngroups = [{ group = \"10.0.0.1\", from = \"a\", to = [] }]", 2, "no group"),
        ("time_limit = \"soon\"", 1, "time with its unit"),
        ("[hosts.a", 1, ""),
    ];
    for (text, line, part) in wrong {
        let error = Topology::parse(text).unwrap_err();
        let LabErrorKind::Topology { line: told, problem } = error.kind() else { panic!("{error}") };
        assert_eq!((*told, problem.contains(part)), (line, true), "{text}\n{error}");
    }
}

#[test]
fn trunks_join_switches() {
    let text = r#"
        trunks = [["left", "right"]]
        [switches.left]
        snooping = true
        querier = true
        [switches.right]
        snooping = true
        [hosts.a]
        interfaces.eth0 = { switch = "left", addresses = ["10.0.0.1/24"] }
        [hosts.b]
        interfaces.eth0 = { switch = "right", addresses = ["10.0.0.2/24"] }
        "#;
    let network = Topology::parse(text).unwrap().build().unwrap();
    let (a, b) = (network.host("a").unwrap(), network.host("b").unwrap());
    let receiver = receiver(b, &port(b), GROUP);
    // The report goes from switch to switch in its own time: ask until the far one knows.
    receiver.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (sender, deadline) = (sender(a, &port(a)), Instant::now() + 3 * PATIENCE);
    let mut heard = [0; 16];
    while receiver.recv(&mut heard).is_err() {
        assert!(Instant::now() < deadline);
        sender.send(GROUP, b"far");
    }
    assert_eq!(&heard[..3], b"far");
}

#[test]
fn files_are_read() {
    let error = Topology::read("/no/such/file.toml").unwrap_err();
    assert!(error.to_string().contains("/no/such/file.toml"), "{error}");
}
