//! Unicast and broadcast with `mcast send` and `mcast recv`, and with programs of others.

use crate::support::{Lan, mcast, program, send, start};

fn listen(host: &mcast_lab::Host, arguments: &[&str]) -> crate::support::Running {
    let running = start(host, &[&["recv"], arguments].concat());
    running.stderr.wait_for("listening at");
    running
}

#[test]
fn unicast_reaches_the_hosts_that_are_named() {
    let lan = Lan::new();
    let receivers = [&lan.b, &lan.c].map(|host| listen(host, &["0.0.0.0:5000", "-c", "1", "-W", "30"]));
    let sent = mcast(&lan.a, &["send", "10.0.0.2:5000", "10.0.0.3:5000", "hello"]).succeeded();
    assert!(sent.stderr.contains("to 10.0.0.2:5000 on eth0 (the route to the host)\n"), "{sent:?}");
    for (receiver, last) in receivers.into_iter().zip([2, 3]) {
        let ended = receiver.end().succeeded();
        assert!(ended.text().contains(&format!("> 10.0.0.{last}:5000 eth0 ttl 64")), "{ended:?}");
        assert!(ended.text().contains("hello"), "{ended:?}");
    }
}

#[test]
fn the_name_of_a_host_is_resolved_and_its_address_is_noted() {
    let lan = Lan::new();
    let receiver = listen(&lan.b, &["127.0.0.1:5000", "-c", "1", "-W", "30", "--format", "text"]);
    let sent = mcast(&lan.b, &["send", "-4", "localhost:5000", "hello"]).succeeded();
    assert!(sent.stderr.contains("localhost is 127.0.0.1\n"), "{sent:?}");
    assert!(sent.stderr.contains("to 127.0.0.1:5000 "), "{sent:?}");
    assert_eq!(receiver.end().succeeded().lines(), ["hello"]);

    let refused = mcast(&lan.b, &["send", "nowhere.invalid:5000", "hello"]);
    assert!(refused.stderr.contains("cannot resolve \"nowhere.invalid\""), "{refused:?}");
}

#[test]
fn unicast_over_ipv6_is_printed_as_json() {
    let lan = Lan::new();
    let receiver = listen(&lan.b, &["[::]:5000", "--json", "-c", "1", "-W", "30"]);
    send(&lan.a, &["[fd00::2]:5000", "-t", "7", "hello"]);
    let record = &receiver.end().succeeded().json()[0];
    crate::schemas::assert_valid("datagram", record);
    assert_eq!(
        (&record["group"], &record["port"], &record["ttl"]),
        (&"fd00::2".into(), &5000.into(), &7.into())
    );
}

#[test]
fn broadcasts_reach_several_programs_of_each_host() {
    let lan = Lan::new();
    let arguments = ["--broadcast", "5000", "-i", "eth0", "-c", "2", "-W", "30", "--format", "text"];
    let receivers = [&lan.b, &lan.b, &lan.c].map(|host| listen(host, &arguments));
    send(&lan.a, &["--broadcast", "5000", "-i", "eth0", "hello"]);
    send(&lan.a, &["--broadcast", "10.0.0.255:5000", "subnet"]);
    for receiver in receivers {
        assert_eq!(receiver.end().succeeded().lines(), ["hello", "subnet"]);
    }
}

#[test]
fn socat_sends_to_and_receives_from_mcast() {
    let lan = Lan::new();
    let receiver = listen(&lan.b, &["--broadcast", ":5000", "-c", "1", "-W", "30", "--format", "text"]);
    let foreign = program(&lan.a, "socat", &["-u", "STDIN", "UDP4-DATAGRAM:10.0.0.255:5000,broadcast"], true);
    write_and_end(foreign, b"from socat\n");
    assert_eq!(receiver.end().succeeded().lines(), ["from socat"]);

    let foreign = program(&lan.b, "socat", &["-u", "UDP4-RECVFROM:5000,ip-pktinfo", "STDOUT"], false);
    // Nothing announces that socat is ready.
    let tries = (0..100).take_while(|_| {
        send(&lan.a, &["10.0.0.2:5000", "--every", "20ms", "-c", "5", "to socat\n"]);
        !foreign.stdout.text().contains("to socat")
    });
    assert!(tries.count() < 100);
    assert_eq!(foreign.end().succeeded().lines()[0], "to socat");
}

fn write_and_end(mut running: crate::support::Running, input: &[u8]) {
    use std::io::Write;
    running.child.stdin.take().unwrap().write_all(input).unwrap();
    running.end().succeeded();
}

#[test]
fn the_answer_of_a_command_returns_from_the_port_that_listens() {
    let lan = Lan::new();
    let receiver =
        listen(&lan.b, &["10.0.0.2:5000", "--exec", "echo me", "--exec-reply", "-c", "1", "-W", "30"]);
    let asking = program(&lan.a, "socat", &["-T", "5", "-,ignoreeof", "UDP4:10.0.0.2:5000,shut-none"], true);
    let mut asking = asking;
    use std::io::Write;
    asking.child.stdin.take().unwrap().write_all(b"who?\n").unwrap();
    asking.stdout.wait_for("me");
    receiver.end().succeeded();
    asking.child.kill().unwrap();
}

#[test]
fn what_cannot_work_is_refused_with_a_remedy() {
    let lan = Lan::new();
    for (arguments, problem, remedy) in [
        (&["send", "--broadcast", "[ff02::1]:5000", "x"][..], "IPv6 has no broadcast", "[ff02::1234]:PORT"),
        (&["recv", "--broadcast", "-6", "5000"], "IPv6 has no broadcast", "name each host"),
        (&["publish", "--broadcast", "[::1]:5000", "x"], "IPv6 has no broadcast", "a group"),
        (&["subscribe", "--broadcast", "-6", "5000"], "IPv6 has no broadcast", "a group"),
        (&["send", "--broadcast", "eth0", "x"], "is not an IP address", "5000 or 10.0.0.255:5000"),
        (&["recv", "0.0.0.0:5000", "-s", "10.0.0.1"], "--source selects the senders to a group", ""),
        (&["recv", "-6", "0.0.0.0:5000"], "is not an IPv6", "remove the option"),
        (&["send", "0.0.0.0:5000", "x"], "0.0.0.0:5000 is not the address of a host", "name the host"),
    ] {
        let ended = mcast(&lan.a, arguments);
        assert_eq!(ended.status, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(problem) && ended.stderr.contains(remedy), "{arguments:?}: {ended:?}");
    }
    let ended = mcast(&lan.a, &["send", "10.0.0.255:5000", "x"]);
    assert!(ended.stderr.contains("a broadcast address must be allowed"), "{ended:?}");
    assert!(ended.stderr.contains("--broadcast"), "{ended:?}");
    let ended = mcast(&lan.a, &["recv", "10.9.9.9:5000", "-W", "1"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
}
