//! `mcast ask`.

use crate::support::{Lan, mcast, recv};

const GROUP: &str = "239.255.1.2:5000";
const WHO: &str =
    "cat; echo \", I am $(cat /proc/self/net/fib_trie | grep -o '10[.]0[.]0[.][23]' | head -n 1)\"";

#[test]
fn every_answer_has_a_row() {
    let lan = Lan::new();
    let answers = [&lan.b, &lan.c].map(|host| recv(host, &[GROUP, "-c", "1", "--exec", WHO, "--exec-reply"]));

    let asked = mcast(&lan.a, &["ask", GROUP, "hello", "-c", "2", "-W", "20", "--expect", "2"]).succeeded();

    let mut rows: Vec<Vec<&str>> = asked.lines().iter().map(|row| row.split_whitespace().collect()).collect();
    rows.sort();
    // Who, by which interface, after how long (a number and its unit), what.
    assert_eq!(
        (rows[0][..2].to_vec(), rows[0][4..].join(" ")),
        (vec!["10.0.0.2:5000", "eth0"], "hello, I am 10.0.0.2".into())
    );
    assert_eq!(
        (rows[1][..2].to_vec(), rows[1][4..].join(" ")),
        (vec!["10.0.0.3:5000", "eth0"], "hello, I am 10.0.0.3".into())
    );
    for answer in answers {
        assert!(answer.end().succeeded().stderr.contains("ran 1 command, sent 1 answer"));
    }
}

#[test]
fn json_answers_have_source_time_and_payload() {
    let lan = Lan::new();
    let _answers = recv(&lan.b, &["[ff15::1]:5000", "--exec", "printf '\\377'", "--exec-reply"]);
    let asked =
        mcast(&lan.a, &["ask", "[ff15::1%eth0]:5000", "hello", "-c", "1", "-W", "20", "--json"]).succeeded();
    let answer = &asked.json()[0];
    crate::schemas::assert_valid("answer", answer);
    assert_eq!((&answer["interface"], &answer["base64"]), (&"eth0".into(), &"/w==".into()));
    assert_eq!((&answer["source"], &answer["source_port"]), (&"fd00::2".into(), &5000.into()));
    assert!((0.0..20.0).contains(&answer["seconds"].as_f64().unwrap()));
}

#[test]
fn too_few_answers_are_status_1() {
    let lan = Lan::new();
    let unanswered = mcast(&lan.a, &["ask", GROUP, "hello", "-W", "100ms"]);
    assert_eq!((unanswered.status, unanswered.text()), (Some(1), ""), "{unanswered:?}");
    assert!(unanswered.stderr.contains("0 answers in"), "{unanswered:?}");

    let _one = recv(&lan.b, &[GROUP, "--exec", "echo here", "--exec-reply"]);
    let too_few = mcast(&lan.a, &["ask", GROUP, "hello", "-c", "1", "-W", "20", "--expect", "2"]);
    assert_eq!((too_few.status, too_few.lines().len()), (Some(1), 1), "{too_few:?}");
}

#[test]
fn the_content_of_an_answer_is_escaped() {
    let lan = Lan::new();
    let _answers = recv(&lan.b, &[GROUP, "--exec", "printf '\\033[2Jx\\n'", "--exec-reply"]);
    let asked = mcast(&lan.a, &["ask", GROUP, "hello", "-c", "1", "-W", "20"]).succeeded();
    assert!(asked.text().ends_with("  \\x1b[2Jx\n"), "{asked:?}");
}

#[test]
fn ctrl_c_ends_the_wait() {
    let lan = Lan::new();
    let asks = crate::support::start(&lan.a, &["ask", GROUP, "hello", "-W", "1h"]);
    asks.stderr.wait_for("waiting");
    let ended = asks.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("0 answers"), "{ended:?}");
}

#[test]
fn ask_accepts_a_single_group() {
    let lan = Lan::new();
    let refused = mcast(&lan.a, &["ask", "239.255.1.0/30:5000", "hello"]);
    assert_eq!(refused.status, Some(2), "{refused:?}");
}
