//! Examination of running programs, and of programs that the doctor starts.

use crate::patient::{Ward, events, ids};
use crate::support::{eventually, program};

/// A Python program that binds to a unicast address, and waits until it is ended.
const BOUND_TO_UNICAST: &str = "\
import socket, signal
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('10.0.0.2', 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.1.2.3') + socket.inet_aton('10.0.0.2'))
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
