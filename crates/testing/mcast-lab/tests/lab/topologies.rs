//! Topologies and the programs in them.

use std::time::{Duration, Instant};

use mcast_lab::{
    LabErrorKind, LabNetwork, Program, Topology,
    topology::{OutputStream, ProgramEvent, ReadyWhen, SHIPPED},
};

use super::sockets::{GROUP, TIMEOUT, receive, receiver, sender};

/// Runs a topology to its end and returns the events.
fn run(text: &str) -> (Vec<ProgramEvent>, Vec<Program>) {
    let network = Topology::parse(text).unwrap().build().unwrap();
    let events = run_network(&network);
    (events, network.topology().programs().to_vec())
}

fn run_network(network: &LabNetwork) -> Vec<ProgramEvent> {
    let mut run = network.run(|_, _| ());
    let deadline = Instant::now() + 4 * TIMEOUT;
    let mut events = Vec::new();
    while !run.is_over() {
        assert!(Instant::now() < deadline, "{events:?}");
        events.extend(run.next(TIMEOUT).unwrap());
    }
    events
}

/// Returns the index of the first matching event.
fn position(events: &[ProgramEvent], matches: impl Fn(&ProgramEvent) -> bool) -> usize {
    events.iter().position(matches).unwrap_or_else(|| panic!("{events:?}"))
}

fn started(program: usize) -> impl Fn(&ProgramEvent) -> bool {
    move |event| *event == ProgramEvent::Started { program }
}

fn ended(program: usize) -> impl Fn(&ProgramEvent) -> bool {
    move |event| matches!(event, ProgramEvent::Ended { program: ended, .. } if *ended == program)
}

fn ended_as_expected(events: &[ProgramEvent], which: usize) -> bool {
    let end = &events[position(events, ended(which))];
    matches!(end, ProgramEvent::Ended { as_expected: true, .. })
}

fn line(program: usize, stream: OutputStream, text: &str) -> ProgramEvent {
    ProgramEvent::Line { program, stream, line: text.into() }
}

#[test]
fn shipped_topologies_can_be_built() {
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
fn the_hosts_of_four_hosts_have_their_addresses() {
    let network = Topology::shipped("four-hosts").unwrap().unwrap().build().unwrap();
    for (host, address) in [("eastny", 101), ("midwood", 103), ("flatbush", 104), ("bushwick", 105)] {
        let addresses = network.host(host).unwrap().addresses("eth0").unwrap();
        assert_eq!(addresses[0].to_string(), format!("192.168.56.{address}/24"));
    }
    assert_eq!(network.topology().hosts().collect::<Vec<_>>(), ["eastny", "midwood", "flatbush", "bushwick"]);
}

#[test]
fn two_lans_routes_groups_and_lossy_has_a_bad_link() {
    let network = Topology::shipped("two-lans").unwrap().unwrap().build().unwrap();
    let (camera, screen) = (network.host("camera").unwrap(), network.host("screen").unwrap());
    let receiver = receiver(screen, &interface(screen), GROUP);
    network.switch("office").unwrap().wait_for_member(screen, "eth0", GROUP, TIMEOUT).unwrap();
    let sender = sender(camera, &interface(camera));
    sender.set_hop_limit(2);
    sender.send(GROUP, b"routed");
    assert_eq!(receive(&receiver).0, b"routed");

    let network = Topology::shipped("lossy").unwrap().unwrap().build().unwrap();
    assert_eq!(network.bad_links().len(), 1);
}

fn interface(host: &mcast_lab::Host) -> mcast_lab::HostInterface {
    mcast_lab::HostInterface {
        host: host.name().to_owned(),
        name: "eth0".to_owned(),
        index: host.interface_index("eth0").unwrap(),
        hardware_address: [0; 6],
        addresses: host.addresses("eth0").unwrap(),
    }
}

#[test]
fn programs_have_names_and_an_order() {
    let topology = Topology::parse(
        r#"
        [hosts.zeta]
        run = ["echo first", { name = "second", command = "echo second", after = ["zeta.1"], expect = 3 }]
        [hosts.alpha]
        run = [{ command = "echo third", wait_for = ["second"], joined = "239.255.1.3", background = true }]
        "#,
    )
    .unwrap();
    let programs = topology.programs();
    let names: Vec<_> =
        programs.iter().map(|program| (program.name.as_str(), program.host.as_str())).collect();
    assert_eq!(names, [("zeta.1", "zeta"), ("second", "zeta"), ("alpha.1", "alpha")]);
    assert_eq!((&programs[1].after, programs[1].expect), (&vec![0], 3));
    assert_eq!((&programs[2].wait_for, programs[2].background), (&vec![1], true));
    assert_eq!(programs[2].ready, ReadyWhen::Joined("239.255.1.3".parse().unwrap()));
}

#[test]
fn output_and_status_are_reported() {
    let (events, _) = run(r#"
        [hosts.a]
        run = [{ command = "echo out; echo err >&2; printf last; exit 4", expect = 4 }, "exit 4"]
        "#);
    let end = position(&events, ended(0));
    for (stream, text) in
        [(OutputStream::Stdout, "out"), (OutputStream::Stderr, "err"), (OutputStream::Stdout, "last")]
    {
        assert!(position(&events, |event| *event == line(0, stream, text)) < end, "{text}");
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
    // `cat` has no input and ends at once. The client may still start, because the server was ready.
    assert!(
        position(&events, |event| *event == ProgramEvent::Ready { program: 0 })
            < position(&events, started(1))
    );
    assert!(position(&events, ended(1)) < position(&events, started(2)));
}

#[test]
fn background_programs_are_stopped_when_the_others_have_ended() {
    let (events, _) = run(r#"
        [hosts.a]
        run = [{ command = "sleep 1000", background = true }, "true"]
        "#);
    assert!(position(&events, ended(1)) < position(&events, ended(0)));
    assert!(ended_as_expected(&events, 0));
}

#[test]
fn programs_that_can_never_start_are_skipped() {
    let (events, _) = run(r#"
        [hosts.a]
        run = [
            { name = "server", command = "false", ready = "never" },
            { name = "client", command = "true", wait_for = ["server"] },
            { name = "last", command = "true", after = ["client"] },
        ]
        "#);
    position(&events, |event| *event == ProgramEvent::Skipped { program: 1 });
    position(&events, |event| *event == ProgramEvent::Skipped { program: 2 });
    assert!(!ended_as_expected(&events, 0));
}

#[test]
fn the_time_limit_stops_all_programs_even_those_that_ignore_signals() {
    let start = Instant::now();
    let (events, _) = run(r#"
        time_limit = "100ms"
        [hosts.a]
        run = [{ command = "trap '' INT; echo ignoring; sleep 1000 & wait; sleep 1000" }, { command = "true", after = ["a.1"] }]
        "#);
    position(&events, |event| *event == ProgramEvent::TimeLimit);
    position(&events, |event| *event == ProgramEvent::Skipped { program: 1 });
    assert!(!ended_as_expected(&events, 0));
    assert!(start.elapsed() < 2 * TIMEOUT);
}

#[test]
fn a_program_that_has_joined_is_ready() {
    let python = "import socket, struct\\n\\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\\n\\
        s.bind(('239.255.1.3', 5000))\\n\\
        s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, struct.pack('4s4s', socket.inet_aton('239.255.1.3'), socket.inet_aton('10.0.0.2')))\\n\\
        print(s.recv(100).decode())";
    let send = "import socket\\n\\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\\n\\
        s.setsockopt(0, socket.IP_MULTICAST_IF, socket.inet_aton('10.0.0.1'))\\n\\
        s.sendto(b'hello', ('239.255.1.3', 5000))";
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
        run = [{{ command = """python3 -c "{python}" """, joined = "239.255.1.3" }}]
        "#
    ));
    position(&events, |event| *event == line(1, OutputStream::Stdout, "hello"));
}

#[test]
fn programs_that_have_not_started_are_skipped_after_a_stop() {
    let text = "[hosts.a]\nrun = ['sleep 1000', { command = 'true', after = ['a.1'] }]";
    let network = Topology::parse(text).unwrap().build().unwrap();
    let mut run = network.run(|_, _| ());
    assert_eq!(run.next(TIMEOUT).unwrap(), Some(ProgramEvent::Started { program: 0 }));
    run.stop(libc::SIGTERM).unwrap();
    let mut events = Vec::new();
    while !run.is_over() {
        events.push(run.next(TIMEOUT).unwrap().unwrap());
    }
    position(&events, |event| *event == ProgramEvent::Skipped { program: 1 });
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
        events.extend(run.next(TIMEOUT).unwrap());
    }
    position(&events, |event| *event == line(0, OutputStream::Stdout, "hello from a"));
}

#[test]
fn errors_give_the_line_number() {
    let cases = [
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
        ("[switches.a]\nigmp_version = 1", 2, "IGMP version of a querier must be 2 or 3"),
        ("[hosts.a]\nroutes = [{ to = \"224.0.0.0/4\" }]", 2, "exactly one of `interface` and `via`"),
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
        (
            "[routers.r]\ngroups = [{ group = \"10.0.0.1\", from = \"a\", to = [] }]",
            2,
            "not a multicast group",
        ),
        ("time_limit = \"soon\"", 1, "time with its unit"),
        ("[hosts.a", 1, ""),
    ];
    for (text, line, part) in cases {
        let error = Topology::parse(text).unwrap_err();
        let LabErrorKind::Topology { line: actual, problem } = error.kind() else { panic!("{error}") };
        assert_eq!((*actual, problem.contains(part)), (line, true), "{text}\n{error}");
    }
}

#[test]
fn trunks_connect_switches() {
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
    let receiver = receiver(b, &interface(b), GROUP);
    // The report takes some time to reach the other switch, so send until it has.
    receiver.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (sender, deadline) = (sender(a, &interface(a)), Instant::now() + 3 * TIMEOUT);
    let mut buffer = [0; 16];
    while receiver.recv(&mut buffer).is_err() {
        assert!(Instant::now() < deadline);
        sender.send(GROUP, b"far");
    }
    assert_eq!(&buffer[..3], b"far");
}

#[test]
fn a_missing_file_is_reported_with_its_path() {
    let error = Topology::read("/no/such/file.toml").unwrap_err();
    assert!(error.to_string().contains("/no/such/file.toml"), "{error}");
}
