//! `--watch`: findings that appear and disappear.

use crate::patient::{GROUP, Ward, events, sysctl};
use crate::support::{Lan, eventually, mcast, recv, start};

#[test]
fn a_fault_is_reported_when_it_appears_and_when_it_is_gone() {
    let ward = Ward::new().streaming_from_afar();
    let arguments = ["doctor", GROUP, "-W", "500ms", "--watch=600ms", "--json"];
    let running = start(&ward.lan.b, &arguments);
    running.stderr.wait_for("listening for 0.5 s");
    sysctl(&ward.lan.b, "rp_filter", "1");
    let reports = |event: &str| {
        let whole = running.stdout.text();
        let lines = whole.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.into_iter().any(|line| line.contains(event) && line.contains("\"reverse-path-filter\""))
    };
    eventually("the fault", || reports("\"found\""));
    sysctl(&ward.lan.b, "rp_filter", "0");
    eventually("its end", || reports("\"gone\""));
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    for event in ["found", "gone"] {
        let changes = events(&ended, event);
        assert!(changes.iter().any(|change| change["id"] == "reverse-path-filter"), "{ended:?}");
    }
}

#[test]
fn text_output_has_a_line_per_change() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let running = start(&ward.lan.b, &["doctor", GROUP, "-W", "2s", "--watch=1h"]);
    running.stdout.wait_for("reverse-path-filter");
    let ended = running.signalled(libc::SIGINT);
    let line =
        ended.lines().into_iter().find(|line| line.contains("reverse-path-filter")).unwrap().to_owned();
    assert!(line.contains(" found fault reverse-path-filter  on eth0, 239.255.2.3:5000"), "{line}");
}

#[test]
fn watching_a_process_ends_with_it() {
    let lan = Lan::new();
    let receiving = recv(&lan.b, &["-i", "eth0", GROUP]);
    let id = receiving.child.id().to_string();
    let watching = start(&lan.b, &["doctor", "-v", "--pid", &id, "-W", "200ms", "--watch=200ms"]);
    eventually("another examination", || watching.stderr.text().matches("examining").count() >= 2);
    receiving.signalled(libc::SIGINT);
    let ended = watching.end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains(&id), "{ended:?}");
}

#[test]
fn each_new_verdict_is_reported_once_and_an_unknown_one_with_its_question() {
    let arguments = [GROUP, "-W", "300ms", "--watch=400ms"];
    let ward = Ward::new();
    let (text, json) = (
        ward.doctor_without_capture(&[&arguments[..], &["-v"]].concat()),
        ward.doctor_without_capture(&[&arguments[..], &["-v", "--json"]].concat()),
    );
    for running in [&text, &json] {
        eventually("a third examination", || running.stderr.text().matches("examining").count() >= 3);
    }
    let ward = ward.streaming();
    eventually("a healthy verdict", || {
        text.stdout.text().contains("verdict datagrams arrive")
            && json.stdout.text().contains("\"verdict\":\"healthy\"")
    });
    let (text, json) = (text.signalled(libc::SIGINT), json.signalled(libc::SIGINT));
    let unknown = " verdict unknown: whether anything for 239.255.2.3:5000 reaches this machine: ";
    assert_eq!(text.text().matches(unknown).count(), 1, "{text:?}");
    let verdicts = events(&json, "verdict");
    assert_eq!(verdicts[0]["verdict"], "unknown", "{json:?}");
    assert!(verdicts.iter().all(|verdict| verdict["time"].is_string()), "{json:?}");
    assert!(verdicts.windows(2).all(|pair| pair[0]["verdict"] != pair[1]["verdict"]), "{json:?}");
    assert_eq!(events(&json, "open-question")[0]["effect"], "needs-rights", "{json:?}");
    drop(ward);
}

#[test]
fn the_history_says_since_when_a_stream_is_missing_and_when_the_querier_was_last_heard() {
    let mut ward = Ward::new().streaming();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let file = path.to_str().unwrap();
    let arguments = ["doctor", GROUP, "-W", "400ms", "--watch=500ms", "--journal", file, "--json"];
    let running = start(&ward.lan.b, &arguments);
    let recorded = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("a healthy examination", || recorded().contains("\"verdict\":\"healthy\""));
    let querier = start(&ward.lan.c, &["querier", "-i", "eth0", "--become"]);
    eventually("the querier", || recorded().contains("\"address\":\"10.0.0.3\""));
    ward.silence();
    eventually("the onset", || running.stdout.text().contains("\"event\":\"since\""));
    let _ = querier.signalled(libc::SIGINT);
    let ended = running.signalled(libc::SIGINT);
    let onset = events(&ended, "since").pop().unwrap();
    assert_eq!(onset["stopped"][0]["group"], GROUP, "{ended:?}");
    assert_eq!(onset["queriers"][0]["address"], "10.0.0.3", "{ended:?}");
    assert!(onset["healthy_until"].as_str() < onset["since"].as_str(), "{ended:?}");

    let shown = mcast(&ward.lan.b, &["doctor", "--journal", file]);
    assert_eq!(shown.status, Some(1), "{shown:?}");
    assert!(shown.text().contains("239.255.2.3:5000 from 10.0.0.1:"), "{shown:?}");
    assert!(shown.text().contains("querier 10.0.0.3 on eth0 last heard "), "{shown:?}");
    let objects = mcast(&ward.lan.b, &["doctor", "--journal", file, "--json"]);
    assert_eq!(events(&objects, "since").len(), 1, "{objects:?}");
    assert!(events(&objects, "history").len() >= 2, "{objects:?}");
    assert_eq!(mcast(&ward.lan.b, &["doctor", GROUP, "--journal", file]).status, Some(2));
}

#[test]
fn a_file_that_is_not_a_history_is_refused_and_stays_as_it_is() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("group.key");
    std::fs::write(&path, "# secrets\n1 aes\n").unwrap();
    let file = path.to_str().unwrap();
    let watching = ["doctor", GROUP, "-W", "100ms", "--watch=1h", "--journal", file];
    for arguments in [&watching[..], &["doctor", "--journal", file]] {
        let refused = mcast(&lan.b, arguments);
        assert_eq!(refused.status, Some(4), "{refused:?}");
        assert!(refused.stderr.contains("it is not a history of the doctor"), "{refused:?}");
        assert!(refused.stderr.contains("name a new file"), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# secrets\n1 aes\n");
}
