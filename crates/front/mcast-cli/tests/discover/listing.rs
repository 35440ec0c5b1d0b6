//! The table, objects, changes, and one name.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use mcast::Receiver;
use mcast_lab::{Host, Lab};
use mcast_packet::payload::{Rtps, RtpsPrefix};

use crate::notify;
use crate::schemas::assert_valid;
use crate::support::{Ended, Lan, MCAST, Running, TIMEOUT, eventually, mcast, program, start};

/// `mcast discover` with these arguments on a host, once it listens.
fn discover(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["discover"], arguments].concat());
    running.stderr.wait_for("listening");
    running
}

/// `mcast discover` on one host while the other announces a device.
fn discovered(lan: &Lan, arguments: &[&str]) -> Ended {
    let running = discover(&lan.b, arguments);
    notify(&lan.a, "lamp", "alive");
    notify(&lan.a, "radio", "alive");
    running.end()
}

#[test]
fn what_announces_itself_is_listed() {
    let lan = Lan::new();
    let ended = discovered(&lan, &["--once", "-W", "2", "device"]).succeeded();
    let row = |name: &str| ended.lines().into_iter().find(|line| line.contains(name)).map(str::to_owned);
    for name in ["lamp", "radio"] {
        let row = row(name).unwrap_or_else(|| panic!("{name} is missing: {ended:?}"));
        for part in ["device", "10.0.0.1:8080", "eth0", "ssdp"] {
            assert!(row.contains(part), "{part}: {row}");
        }
    }
    assert!(ended.stderr.contains("listening on eth0 for 2 s"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("not seen"), "{}", ended.stderr);
}

#[test]
fn objects_have_the_schema_and_a_summary_ends_them() {
    let lan = Lan::new();
    let ended = discovered(&lan, &["--json", "-W", "2", "lamp"]).succeeded();
    let objects = ended.json();
    assert_valid("discovered", &objects[0]);
    assert_valid("discovery-summary", objects.last().unwrap());
    let [lamp, summary] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!(
        (&lamp["event"], &lamp["kind"], &lamp["port"]),
        (&"present".into(), &"device".into(), &8080.into())
    );
    assert_eq!((&summary["event"], &summary["entries"]), (&"summary".into(), &1.into()));
    assert!(summary["protocols"].as_array().unwrap().contains(&"lldp".into()));
}

#[test]
fn changes_are_reported_until_it_departs() {
    let lan = Lan::new();
    let running = discover(&lan.b, &["--watch", "device"]);
    notify(&lan.a, "lamp", "alive");
    running.stdout.wait_for("appeared");
    notify(&lan.a, "lamp", "byebye");
    running.stdout.wait_for("departed");
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130));
    assert!(ended.lines()[1].ends_with("on eth0 (ssdp): goodbye"), "{ended:?}");
}

#[test]
fn entries_of_an_interface_that_vanishes_depart_and_return_with_it() {
    for captures in [true, false] {
        let lan = Lan::new();
        let connect = || lan.b.connect("eth1", &lan.switch, &["10.0.1.2/24"]).unwrap();
        connect();
        let arguments = ["discover", "--watch", "--json", "lamp"];
        let (_folder, running) = match captures {
            true => (None, start(&lan.b, &arguments)),
            false => {
                let (folder, running) = crate::support::start_with_processes(&lan.b, 1_000, &arguments);
                (Some(folder), running)
            }
        };
        running.stderr.wait_for("listening on eth0, eth1");
        let count = |event: &str| {
            let text = running.stdout.text();
            let on_it = text.lines().filter(|line| line.contains(r#""interface":"eth1""#));
            on_it.filter(|line| line.contains(event)).count()
        };
        for round in 1..=2 {
            eventually("the device on both interfaces", || {
                notify(&lan.a, "lamp", "alive");
                count("appeared") == round && running.stdout.text().contains(r#""interface":"eth0""#)
            });
            lan.b.delete_interface("eth1").unwrap();
            eventually("its departure", || count("interface-gone") == round);
            connect();
        }
        notify(&lan.a, "lamp", "byebye");
        running.stdout.wait_for("goodbye");
        let objects = running.signalled(libc::SIGINT).json();
        let departed: Vec<_> = objects.iter().filter(|it| it["event"] == "departed").collect();
        departed.iter().for_each(|it| assert_valid("discovery-event", it));
        let by_interface = |name: &str| departed.iter().filter(|it| it["interface"] == name).count();
        assert_eq!(by_interface("eth0"), 1, "{departed:?}");
    }
}

#[test]
fn nothing_selected_is_status_1_and_says_what_was_listened_to() {
    let lan = Lan::new();
    let ended = mcast(&lan.b, &["discover", "--once", "-W", "0.3", "toaster"]);
    assert_eq!((ended.status, ended.text()), (Some(1), ""));
    assert!(ended.stderr.contains("nothing selected announced itself in"), "{}", ended.stderr);
    // The groups that discover itself has joined were not announced.
    assert!(ended.stderr.contains("\n0 other announcements\n"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("LLDP"), "{}", ended.stderr);
    let ended = mcast(&lan.b, &["discover", "--once", "-W", "0.3", "neighbor"]);
    assert!(ended.stderr.contains("listen longer, with `-W 61`"), "{}", ended.stderr);
    let ended = mcast(&lan.b, &["discover", "--resolve", "toaster", "-W", "0.3"]);
    assert_eq!((ended.status, ended.text()), (Some(1), ""));
    assert!(ended.stderr.contains("\"toaster\" was not found in"), "{}", ended.stderr);
}

/// Describes each device that a host announces by this name, until the test ends.
fn describe(host: &Host, friendly: &str) {
    let listener = host.run(|| TcpListener::bind("10.0.0.1:8080").unwrap()).unwrap();
    let answer = format!(
        "HTTP/1.0 200 OK\r\n\r\n<root><device><friendlyName>{friendly}</friendlyName></device></root>"
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop((stream.read(&mut [0; 1_024]), stream.write_all(answer.as_bytes())));
        }
    });
}

/// Users know a device by the name in its description, which is fetched.
#[test]
fn a_device_is_selected_and_resolved_by_the_name_in_its_description() {
    let lan = Lan::new();
    describe(&lan.a, "Cellar NAS");
    let ended = discovered(&lan, &["--ask", "--once", "-W", "2", "cellar nas"]).succeeded();
    assert!(ended.text().contains("10.0.0.1:8080"), "{ended:?}");
    // Another name of the same kind is not its name, and the closest one is named.
    let ended = discovered(&lan, &["--ask", "--once", "-W", "2", "Celar NAS", "neighbor"]);
    assert_eq!((ended.status, ended.text()), (Some(1), ""), "{ended:?}");
    for part in ["2 other announcements (ssdp: 2)", "the closest names: \"Cellar NAS\""] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    let running = start(&lan.b, &["discover", "--resolve", "Cellar NAS", "-W", "3"]);
    // It prints nothing until it ends, so the device is announced until then.
    while running.stdout.text().is_empty() && running.stderr.text().is_empty() {
        notify(&lan.a, "lamp", "alive");
    }
    assert_eq!(running.end().succeeded().text(), "10.0.0.1:8080\n");
    // Without --ask, nothing is sent.
    let ended = discovered(&lan, &["--once", "-W", "2", "cellar nas"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
}

#[test]
fn a_name_is_resolved_to_where_it_can_be_reached() {
    let lan = Lan::new();
    let listed = discovered(&lan, &["--json", "-W", "2", "lamp"]).json();
    let name = listed[0]["name"].as_str().unwrap().to_uppercase();
    let running = start(&lan.b, &["discover", "--resolve", &name, "-W", "20"]);
    eventually("the name", || {
        notify(&lan.a, "lamp", "alive");
        !running.stdout.text().is_empty()
    });
    assert_eq!(running.end().succeeded().text(), "10.0.0.1:8080\n");
}

/// Discover joins groups and asks in them. They are listed if somebody else has joined them, too.
#[test]
fn groups_that_only_discover_itself_has_joined_are_not_listed() {
    let lan = Lan::new();
    let join = |host: &Host, group: &str| {
        let membership = group.parse().unwrap();
        host.run(|| Receiver::builder().join(membership).build().unwrap()).unwrap()
    };
    let running = discover(&lan.b, &["--watch", "--ask", "--json", "group"]);
    running.stderr.wait_for("asking on eth0");
    // By this process, on the same host, and by another host.
    let _here = join(&lan.b, "239.255.255.250:1900");
    running.stdout.wait_for("239.255.255.250");
    let _there = join(&lan.a, "224.0.1.187:5683");
    running.stdout.wait_for("224.0.1.187");
    let ended = running.signalled(libc::SIGINT);
    let mut listed: Vec<_> =
        ended.json().iter().filter_map(|each| each["name"].as_str().map(str::to_owned)).collect();
    // Hosts report the groups of their own IPv6 addresses when they appear.
    listed.retain(|name| !name.starts_with("ff02::1:ff"));
    listed.sort();
    listed.dedup();
    assert_eq!(listed, ["224.0.1.187", "239.255.255.250"], "{ended:?}");
}

/// Without the right to capture, sockets receive it, and what they cannot see is stated once.
#[test]
fn an_ordinary_user_sees_what_sockets_receive() {
    let lan = Lan::new();
    let arguments = ["discover", "--once", "-W", "2", "device"];
    let (_folder, running) = crate::support::start_with_processes(&lan.b, 1_000, &arguments);
    running.stderr.wait_for("listening");
    notify(&lan.a, "lamp", "alive");
    let ended = running.end().succeeded();
    assert!(ended.text().contains("10.0.0.1:8080"), "{ended:?}");
    let unseen = ended.stderr.matches("not visible without permission to capture").count();
    assert!(unseen == 1 && ended.stderr.contains("lldp, cdp"), "{ended:?}");
}

/// What can only be captured is not waited for in vain.
#[test]
fn an_ordinary_user_who_looks_for_a_switch_lacks_a_permission() {
    let lan = Lan::new();
    for words in [&["neighbor"][..], &["--protocol", "cdp", "--watch"], &["lldp", "querier"]] {
        let arguments = [&["discover", "-W", "60"], words].concat();
        let (_folder, running) = crate::support::start_with_processes(&lan.b, 1_000, &arguments);
        let ended = running.end();
        assert_eq!(ended.status, Some(3), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("CAP_NET_RAW"), "{words:?}: {ended:?}");
    }
}

#[test]
fn a_capture_file_is_read_to_its_end() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lan.pcapng").display().to_string();
    let recorder = start(&lan.b, &["sniff", crate::SSDP, "-w", &path, "-c", "1"]);
    recorder.stderr.wait_for("capturing on");
    notify(&lan.a, "lamp", "alive");
    recorder.end().succeeded();
    let ended = mcast(&lan.b, &["discover", "-r", &path, "device"]).succeeded();
    assert!(ended.text().contains("10.0.0.1:8080"), "{ended:?}");
    assert!(ended.stderr.contains("in the file"), "{ended:?}");
}

/// Sends a frame of LLDP: chassis, port ge-0/0/7, 120 s, name switch7.
const LLDP: &str = "import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
s.send(bytes.fromhex('0180c200000e 020000000001 88cc 0207 04 020000000001 0409 05') + b'ge-0/0/7'
    + bytes.fromhex('0602 0078 0a07') + b'switch7' + bytes(26))";

/// A switch port speaks LLDP to the port of a bridge, which does not forward it to the bridge.
#[test]
fn neighbors_of_a_port_of_a_bridge_are_found() {
    let lab = Lab::new().unwrap();
    let (switch, server) = (lab.host("switch").unwrap(), lab.host("server").unwrap());
    lab.link(&switch, "eth0", &["10.0.0.1/24"], &server, "eth0", &[]).unwrap();
    let run = |host: &Host, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        program(host, words[0], &words[1..], false).end().succeeded();
    };
    run(&server, "ip link add br0 type bridge");
    run(&server, "ip link set eth0 master br0");
    run(&server, "ip link set br0 up");
    run(&server, "ip addr add 10.0.0.9/24 dev br0");
    let running = discover(&server, &["--watch", "neighbor"]);
    running.stderr.wait_for("listening on br0");
    eventually("the switch", || {
        program(&switch, "python3", &["-c", LLDP], false).end().succeeded();
        running.stdout.text().contains("switch7")
    });
    let ended = running.signalled(libc::SIGINT);
    assert!(ended.text().contains("on eth0 (lldp)"), "{ended:?}");
}

/// The group of participants in a DDS domain.
fn group_of_domain(domain: u32) -> String {
    format!("239.255.0.1:{}", 7_400 + 250 * domain)
}

/// A participant in a DDS domain.
fn participant(domain: u32) -> Vec<u8> {
    RtpsPrefix([7; 12]).greeting(domain, Rtps::GROUP.into(), b"lidar\0\0\0\0\0\0\0\0\0\0\0", 20).to_vec()
}

/// The domain of the programs of this shell is asked in, and those that are named; others are not.
#[test]
fn domains_are_asked_in_that_are_named_or_that_ros_has() {
    let lan = Lan::new();
    let listen = |domain| {
        let membership = group_of_domain(domain).parse().unwrap();
        lan.a.run(|| Receiver::builder().join(membership).build().unwrap()).unwrap()
    };
    let (named, of_ros, other) = (listen(42), listen(77), listen(43));
    let words = ["ROS_DOMAIN_ID=77", MCAST, "discover", "--watch", "--ask", "--domain", "42"];
    let running = program(&lan.b, "env", &words, false);
    let mut buffer = [0; 2_048];
    for (receiver, domain) in [(&named, 42), (&of_ros, 77)] {
        let question = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().expect("a question");
        let message = Rtps::parse(question.payload()).unwrap();
        assert_eq!(
            question.payload(),
            message.participant.greeting(domain, Rtps::GROUP.into(), b"mcast discover \0", 20)
        );
    }
    assert!(other.recv_timeout(&mut buffer, Duration::ZERO).unwrap().is_none());
    running.signalled(libc::SIGINT);
}

#[test]
fn a_domain_of_ros_that_does_not_exist_is_reported() {
    let lan = Lan::new();
    for (domain, is_ignored) in [("abc", true), ("233", true), ("", false), ("232", false)] {
        let variable = format!("ROS_DOMAIN_ID={domain}");
        let words = [&variable, MCAST, "discover", "--once", "-W", "100ms"];
        let ended = program(&lan.b, "env", &words, false).end();
        let warning = "warning: ROS_DOMAIN_ID is ignored: it is not a DDS domain, 0 to 232";
        assert_eq!(ended.stderr.contains(warning), is_ignored, "{domain}: {ended:?}");
    }
}

/// Sockets receive only what is joined.
#[test]
fn named_domains_and_universes_are_joined() {
    let lan = Lan::new();
    let arguments = ["discover", "--watch", "--domain", "42", "--universe", "300,301"];
    let (_folder, running) = crate::support::start_with_processes(&lan.b, 1_000, &arguments);
    running.stderr.wait_for("listening");
    let socket = lan.a.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    let send = |payload: &[u8], group: &str| socket.send_to(payload, group).unwrap();
    let universe = |universe: u16| {
        let mut packet = b"\x00\x10\x00\x00ASC-E1.17\0\0\0\x70\0\0\0\0\x04".to_vec();
        packet.extend([9; 16]);
        packet.extend([0x70, 0, 0, 0, 0, 2]);
        packet.extend(b"desk".iter().chain(&[0; 60]));
        packet.extend([100, 0, 0, 7, 0]);
        packet.extend(universe.to_be_bytes());
        packet.extend([0x70, 0x0b, 2, 0xa1, 0, 0, 0, 1, 0, 3, 0, 255, 0]);
        packet
    };
    eventually("the participant and the universes", || {
        // Those that are not joined first: when the others are listed, they were ignored.
        for domain in [43, 42] {
            send(&participant(domain), &group_of_domain(domain));
        }
        for number in [302_u16, 301, 300] {
            send(&universe(number), &format!("239.255.1.{}:5568", number & 0xff));
        }
        let text = running.stdout.text();
        ["domain 42", "universe 300", "universe 301"].iter().all(|part| text.contains(part))
    });
    let ended = running.signalled(libc::SIGINT);
    assert!(!ended.text().contains("universe 302") && !ended.text().contains("domain 43"), "{ended:?}");
}

/// A trunk is heard, but asked only untagged, which is stated.
#[test]
fn vlans_that_are_not_asked_are_noted() {
    let lab = Lab::new().unwrap();
    let (switch, server) = (lab.host("switch").unwrap(), lab.host("server").unwrap());
    lab.link(&switch, "eth0", &["10.0.0.1/24"], &server, "eth0", &["10.0.0.2/24"]).unwrap();
    for (arguments, is_noted) in [(&["--ask"][..], true), (&[], false)] {
        let running = discover(&server, &[arguments, &["--watch", "neighbor"]].concat());
        let tagged = LLDP.replace("020000000001 88cc", "020000000001 8100 0014 88cc");
        eventually("the switch", || {
            program(&switch, "python3", &["-c", &tagged], false).end().succeeded();
            running.stdout.text().contains("on eth0 VLAN 20 (lldp)")
        });
        let ended = running.signalled(libc::SIGINT);
        assert_eq!(ended.stderr.contains("VLANs were listened to and not asked"), is_noted, "{ended:?}");
    }
}
