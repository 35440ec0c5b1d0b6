//! Findings, their output, and the exit status.

use mcast_capture::WriteFormat;
use mcast_doctor::Id;
use snapbox::{assert_data_eq, file};

use crate::film::still;
use crate::frames::{self, Made};
use crate::patient::{GROUP, Ward, events, ids};
use crate::support::{Ended, TIMEOUT, mcast, program, start};

/// A Python program that has joined a group to which nobody sends.
const SILENT: &str = "\
import socket, signal
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('239.255.2.4', 5001))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.255.2.4') + socket.inet_aton('10.0.0.2'))
print('ready', flush=True)
signal.pause()";

#[test]
fn a_stream_that_arrives_is_not_a_fault() {
    let ward = Ward::new().streaming();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--json"]).succeeded();
    let verdict = &events(&ended, "verdict")[0];
    assert_eq!(verdict["faults"], 0, "{ended:?}");
    let observations = events(&ended, "observation");
    assert!(observations.iter().any(|each| each["layer"] == "socket"), "{ended:?}");
    let questions = events(&ended, "open-question").len() as u64;
    assert_eq!(verdict["open_questions"].as_u64().unwrap(), questions);
    assert_eq!((&verdict["verdict"], &verdict["arrival"]), (&"healthy".into(), &"arrives".into()));
    let flows = events(&ended, "flow");
    assert_eq!((flows.len(), &flows[0]["depth"]), (1, &"arrives".into()), "{ended:?}");
    assert!(events(&ended, "examined").iter().any(|part| part["part"] == "wire of eth0"), "{ended:?}");
}

/// It keeps the right to receive at ports below 1024, at which it listens after it has dropped others.
#[test]
fn groups_at_privileged_ports_are_examined() {
    let ward = Ward::new();
    let ended = ward.doctor(&["ptp", "ntp", "-W", "1s"]);
    // They may be silent for longer than it listens.
    assert_eq!(ended.status, Some(6), "{ended:?}");
    assert!(ended.text().contains("whether 224.0.1.129:319 arrives on eth0"), "{ended:?}");
    assert!(ended.text().contains("whether 224.0.1.1:123 arrives on eth0"), "{ended:?}");
}

/// A device may have any name.
#[test]
fn a_name_that_resembles_a_group_is_looked_for() {
    let ward = Ward::new();
    let ended = ward.doctor(&["Denon", "-W", "1s", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["not-announced".to_owned()]), "{ended:?}");
    assert!(ended.stderr.contains("`mcast doctor zenoh` examines the group zenoh"), "{ended:?}");
}

/// That is what people have of a printer.
#[test]
fn a_device_is_looked_for_by_its_address() {
    let ward = Ward::new();
    let ended = ward.doctor(&["192.0.2.77", "-W", "1s", "--json"]);
    assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["not-announced".to_owned()]), "{ended:?}");
    assert!(ended.text().contains("Nothing with the address 192.0.2.77 was announced"), "{ended:?}");
}

/// 20 datagrams per second arrive: 100 in five seconds.
#[test]
fn listening_ends_early_once_enough_has_arrived() {
    let ward = Ward::new().streaming();
    let ended = ward.doctor(&[GROUP, "--json"]).succeeded();
    let on_wire = events(&ended, "flow")[0]["on_wire"].as_u64().unwrap();
    assert!((50..90).contains(&on_wire), "{ended:?}");
    assert!(ended.stderr.contains("listening for up to 5 s"), "{ended:?}");
}

#[test]
fn the_last_line_says_whether_datagrams_arrive() {
    let last = |ward: &Ward, arguments: &[&str], status| {
        let ended = ward.doctor(&[arguments, &["-W", "1s"]].concat());
        assert_eq!(ended.status, Some(status), "{ended:?}");
        ended.stderr.lines().last().unwrap_or_default().to_owned()
    };
    let ward = Ward::new().streaming();
    assert!(last(&ward, &[GROUP], 0).ends_with("datagrams arrive"));
    let silent = last(&ward, &["239.255.2.4%eth0:5000"], 1);
    assert!(silent.contains("nothing arrives; 1 fault"), "{silent}");
    let listener = program(&ward.lan.b, "python3", &["-c", SILENT], false);
    listener.stdout.wait_for("ready");
    let silent = last(&ward, &["--port", "5001"], 1);
    assert!(silent.contains("nothing arrives; 1 fault"), "{silent}");
    listener.child.kill().unwrap();
}

#[test]
fn a_fault_has_evidence_remedies_and_references() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "-W", "1s"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let text = ended.text();
    assert!(text.starts_with("fault     reverse-path-filter  on eth0, 239.255.2.3:5000"), "{text}");
    let line = |begin: &str| text.lines().any(|line| line.trim_start().starts_with(begin));
    assert!(line("because   /proc/net/netstat") && text.contains(" -> "), "{text}");
    assert!(line("now       ") && line("permanent ") && line("examined  "), "{text}");
    assert!(text.contains("mcast explain reverse-path-filter"), "{text}");
    assert!(ended.stderr.contains("listening for 1 s") && ended.stderr.contains("1 fault"), "{ended:?}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

/// With `-v`, each flow has its counts and what explains its loss, and the verdict what it rests on.
#[test]
fn verbose_text_states_the_facts_behind_the_verdict() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let text = ward.doctor(&[GROUP, "-W", "1s", "-v"]).text().replace("\n          ", " ");
    let line = |label: &str| text.lines().find(|line| line.starts_with(label)).unwrap_or_default().to_owned();
    let flow = line("flow ");
    assert!(
        flow.contains("not accepted by the IP layer") && flow.contains(" on the wire, 0 received)"),
        "{text}"
    );
    assert!(flow.ends_with(", explained by reverse-path-filter"), "{text}");
    let verdict = line("verdict ");
    assert!(verdict.contains("faults, because of reverse-path-filter (fault); nothing shows "), "{text}");
    assert!(!ward.doctor(&[GROUP, "-W", "1s"]).text().contains("\nverdict "), "{text}");

    let ward = Ward::new().streaming();
    let healthy = ward.doctor(&[GROUP, "-W", "1s", "-v"]).succeeded().text().to_owned();
    assert!(healthy.contains("\nverdict   healthy; nothing shows "), "{healthy}");
    assert!(!healthy.contains("explained by"), "{healthy}");
}

#[test]
fn json_has_the_same_finding() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--json"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let findings = events(&ended, "finding");
    assert_eq!(findings[0]["id"], "reverse-path-filter", "{ended:?}");
    assert_eq!(
        (&findings[0]["severity"], &findings[0]["subject"]["interface"]),
        (&"fault".into(), &"eth0".into())
    );
    let evidence = &findings[0]["evidence"][0];
    let number = |field: &str| evidence[field].as_str().unwrap().parse::<u64>().unwrap();
    assert!(number("value") > number("previous_value"), "{evidence}");
    for event in ["observation", "open-question", "flow", "examined"] {
        events(&ended, event);
    }
    assert_eq!(events(&ended, "verdict").len(), 1);
}

#[test]
fn every_finding_can_be_explained() {
    let ward = Ward::new().streaming_from_afar().filtering();
    for id in ids(&ward.doctor(&[GROUP, "-W", "1s", "--json"])) {
        id.parse::<Id>().unwrap();
        mcast(&ward.lan.b, &["explain", &id]).succeeded();
    }
}

#[test]
fn warnings_have_a_status_of_their_own_and_are_faults_with_strict() {
    let ward = Ward::new();
    let mut command = ward.lan.b.command("ip").unwrap();
    assert!(command.args(["route", "del", "224.0.0.0/4"]).status().unwrap().success());
    let ended = ward.doctor(&["--json"]);
    assert_eq!(ended.status, Some(5), "{ended:?}");
    assert!(ids(&ended).contains(&"no-route".to_owned()), "{ended:?}");
    let strict = ward.doctor(&["--strict", "-q"]);
    assert_eq!((strict.status, strict.stderr.as_str()), (Some(1), ""), "{strict:?}");
    assert!(strict.text().contains("warning   no-route"), "{strict:?}");
}

#[test]
fn several_groups_are_examined_one_after_the_other() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "239.255.2.4:5000", "-W", "500ms", "--json"]);
    let about: Vec<_> =
        events(&ended, "finding").iter().map(|finding| finding["subject"]["group"].clone()).collect();
    assert!(about.contains(&GROUP.into()), "{ended:?}");
    assert!(
        events(&ended, "observation")
            .iter()
            .any(|each| each["message"].as_str().unwrap().starts_with("239.255.2.4:5000"))
    );
}

#[test]
fn ctrl_c_ends_listening_and_findings_are_still_printed() {
    let ward = Ward::new().streaming_from_afar().filtering();
    ward.wait_for_the_stream();
    let running = start(&ward.lan.b, &["doctor", GROUP, "-W", "10m", "--json"]);
    running.stderr.wait_for("listening for 600 s");
    crate::support::eventually("drops", || {
        let table = ward.lan.b.read_proc_net("netstat").unwrap();
        let mut lines = table.lines();
        let names = lines.next().unwrap().split_whitespace();
        let place = names.clone().position(|name| name == "IPReversePathFilter").unwrap();
        lines.next().unwrap().split_whitespace().nth(place).unwrap().parse::<u64>().unwrap() > 10
    });
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert_eq!(events(&ended, "verdict").len(), 1, "{ended:?}");
}

/// A file without multicast says nothing about it: its filter, or the place of the capture, may have left it out.
#[test]
fn a_capture_file_is_explained() {
    let ward = Ward::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made.pcap");
    let examined = || ward.doctor(&["-r", file.to_str().unwrap()]);
    let to_one_host = || Made::new(frames::to_one_host(frames::datagram("x")), 0);
    let is_undecided = |ended: &Ended| {
        let open = "unknown: whether multicast arrives where the file was captured";
        ended.status == Some(6) && ended.stderr.contains(open)
    };
    // The header of a capture file of Ethernet frames without any.
    let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];
    std::fs::write(&file, header.map(u32::to_le_bytes).concat()).unwrap();
    let empty = examined();
    assert!(is_undecided(&empty), "{empty:?}");
    frames::write(&file, WriteFormat::Pcap, &[to_one_host()]);
    let unicast = examined();
    assert!(is_undecided(&unicast), "{unicast:?}");
    frames::write(&file, WriteFormat::Pcap, &[to_one_host(), Made::new(frames::datagram("x"), 1)]);
    let with = examined().succeeded();
    assert!(with.text().contains("1 datagram in from 10.9.9.9:4000 to 239.1.2.3:5000"), "{with:?}");
    let none = ward.doctor(&["-r", "/does/not/exist"]);
    assert_eq!((none.status, none.stdout.len()), (Some(4), 0), "{none:?}");
}

/// A file of a moment does not show whether a router is there that sends every second.
#[test]
fn a_group_without_a_port_is_examined_in_a_file() {
    let ward = Ward::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made.pcap");
    frames::write(&file, WriteFormat::Pcap, &[Made::new(frames::datagram("x"), 0)]);
    let examined = |group| ward.doctor(&["-r", file.to_str().unwrap(), group]);
    for group in ["vrrp", "224.0.0.18", "[ff02::12]"] {
        let silent = examined(group);
        assert_eq!(silent.status, Some(6), "{silent:?}");
        assert!(silent.stderr.contains("vrrp may be silent for 1 s"), "{silent:?}");
    }
    let udp = examined("239.255.2.3:5000");
    assert_eq!(udp.status, Some(2), "{udp:?}");
    assert!(udp.stderr.contains("is not a group without a port"), "{udp:?}");
}

#[test]
fn invalid_combinations_are_refused() {
    let ward = Ward::new();
    let wrong: [&[&str]; 8] = [
        &["--pid", "1", "--port", "5000"],
        &["239.255.2.3:5000", "--pid", "1"],
        &["239.255.2.3:5000", "--", "true"],
        &["10.0.0.1:5000"],
        &["--apply", "nothing-such"],
        &["--yes"],
        &["--listen", "--probe"],
        &["-t", "4"],
    ];
    for arguments in wrong {
        let ended = ward.doctor(arguments);
        assert_eq!((ended.status, ended.stdout.len()), (Some(2), 0), "{arguments:?}: {ended:?}");
    }
    let nobody = ward.doctor(&["--port", "9", "-W", "100ms"]);
    assert_eq!(nobody.status, Some(4), "{nobody:?}");
    assert!(nobody.stderr.contains("mcast groups"), "{nobody:?}");
}

#[test]
fn examining_the_machine_alone_is_fast() {
    let ward = Ward::new();
    let start = std::time::Instant::now();
    ward.doctor(&["-q"]).succeeded();
    assert!(start.elapsed() < TIMEOUT / 3, "{:?}", start.elapsed());
}

#[test]
fn a_machine_without_a_usable_interface_has_a_fault() {
    let lab = mcast_lab::Lab::new().unwrap();
    let bare = lab.host("bare").unwrap();
    for arguments in [&["doctor", "--json"][..], &["doctor", GROUP, "-W", "200ms", "--json"]] {
        let ended = mcast(&bare, arguments);
        assert_eq!((ended.status, ids(&ended)), (Some(1), vec!["interface-down".to_owned()]), "{ended:?}");
        assert_eq!(events(&ended, "verdict")[0]["verdict"], "faults", "{ended:?}");
    }
    let lan = lab.switch("lan").unwrap();
    bare.connect("d0", &lan, &["10.1.1.1/24"]).unwrap();
    let mut ip = bare.command("ip").unwrap();
    assert!(ip.args(["link", "set", "d0", "down"]).status().unwrap().success());
    let ended = mcast(&bare, &["doctor"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended.text().contains("d0 is down") && ended.text().contains("ip link set dev d0 up"),
        "{ended:?}"
    );
}

#[test]
fn a_silent_group_without_a_capture_is_unknown() {
    let ward = Ward::new();
    let examine =
        |words: &[&str]| ward.doctor_without_capture(&[&[GROUP, "-W", "300ms"], words].concat()).end();
    let ended = examine(&[]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("unknown: whether anything for 239.255.2.3:5000 reaches this machine"), "{last}");
    assert!(!ended.stderr.contains("nothing wrong"), "{ended:?}");
    let ended = examine(&["--json"]);
    assert_eq!(events(&ended, "verdict")[0]["verdict"], "unknown", "{ended:?}");
    assert!(events(&ended, "open-question").iter().any(|open| open["effect"] == "needs-rights"), "{ended:?}");
}

#[test]
fn a_link_local_name_is_examined_in_both_families() {
    let ward = Ward::new();
    let ended = ward.doctor(&["mdns", "-W", "300ms"]);
    let text = ended.text();
    for group in ["224.0.0.251:5353", "[ff02::fb]:5353"] {
        assert!(text.contains(&format!("scope-never-leaves  on eth0, {group}")), "{text}");
    }
    assert!(text.contains("avahi reflector") && !text.contains("hop limit above"), "{text}");
    let one = ward.doctor(&["mdns", "-4", "-W", "300ms"]);
    assert!(!one.text().contains("ff02::fb"), "{one:?}");
}

/// A name may have a group of each family, of which a network uses one. Groups that are named themselves are expected.
#[test]
fn a_name_without_ports_may_arrive_in_one_family_only() {
    const VRRP: &str = "\
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
print('ready', flush=True)
while True:
    s.sendto(bytes(20), ('224.0.0.18', 0))
    time.sleep(0.05)";
    let ward = Ward::new();
    let router = program(&ward.lan.a, "python3", &["-c", VRRP], false);
    router.stdout.wait_for("ready");
    let by_name = ward.doctor(&["vrrp", "-W", "2s"]);
    assert_eq!(by_name.status, Some(0), "{by_name:?}");
    assert!(by_name.text().contains("ff02::12"), "what is silent is observed: {by_name:?}");
    let by_group = ward.doctor(&["224.0.0.18", "ff02::12", "-W", "2s"]);
    assert!(by_group.text().contains("nothing-arrives  on eth0, ff02::12"), "{by_group:?}");
    assert_eq!(by_group.status, Some(1), "{by_group:?}");
    router.child.kill().unwrap();
}

#[test]
fn a_program_that_joined_another_interface_is_named() {
    const ON_LOOPBACK: &str = "\
import socket, signal
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.255.2.3') + socket.inet_aton('127.0.0.1'))
print('ready', flush=True)
signal.pause()";
    let ward = Ward::new().streaming();
    let running = crate::support::program(&ward.lan.b, "python3", &["-c", ON_LOOPBACK], false);
    running.stdout.wait_for("ready");
    let ended = ward.doctor(&[GROUP, "-W", "1s"]);
    let text = ended.text();
    assert!(text.contains("joined-other-interface") && text.contains("python3 ("), "{text}");
    assert!(text.contains("mcast doctor --port 5000"), "{text}");
    running.child.kill().unwrap();
}

/// The picture of the README: the finding up to its lasting remedy, and the verdict, with the count of one run.
#[test]
fn the_picture_shows_what_is_printed() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let words = ["CLICOLOR_FORCE=1", env!("CARGO_BIN_EXE_mcast"), "doctor", GROUP, "-W", "1s"];
    let ended = program(&ward.lan.b, "env", &words, false).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let text = ended.text();
    let mut lines: Vec<_> =
        text.lines().take_while(|line| !line.contains("permanent")).map(with_count).collect();
    let verdict = ended.stderr.lines().last().unwrap();
    lines.extend(["  …".to_owned(), String::new(), verdict.to_owned()]);
    let picture = file!["../../../../../docs/pictures/doctor.term.svg": Text];
    assert_data_eq!(still(lines.join("\n")), picture.raw());
}

/// Replaces the number of datagrams that the filter dropped meanwhile.
fn with_count(line: &str) -> String {
    const COUNTER: &str = "IPReversePathFilter: ";
    let Some((before, after)) = line.split_once(COUNTER) else { return line.to_owned() };
    let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit() || " ->".contains(letter));
    format!("{before}{COUNTER}0 -> 20{rest}")
}
