//! Which messages count as processed: consumers that confirm them, that are killed, and plain pipes.

use std::io::Write;
use std::path::Path;

use crate::support::{Lan, MCAST, Running, eventually, mcast, program};
use crate::{GROUP, publisher};

/// A consumer that stores each message and confirms it, and is killed with one more in its hands after `MOST`.
const CONSUMER: &str = "n=0; while read -r line; do \
                          if [ $n -ge $MOST ]; then kill -9 $$; fi; \
                          echo \"$line\" >>stored; echo \"${line%% *}\"; n=$((n + 1)); \
                        done";

/// Runs `mcast subscribe | consumer` in this folder, which confirms what it has stored.
fn consume(lan: &Lan, folder: &Path, most: usize) -> Running {
    let script = format!(
        "cd {} && rm -f back && mkfifo back && \
         {{ {MCAST} subscribe feed --name prices -i eth0 --from oldest --resume position --confirm 3 3<back; \
            echo $? >status; }} | MOST={most} sh -c '{CONSUMER}' >back",
        folder.display()
    );
    program(&lan.b, "sh", &["-c", &script], false)
}

#[test]
fn a_consumer_that_is_killed_gets_again_what_it_has_not_confirmed() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let logged = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--announce", "feed", "--log", &log];
    let served = [&logged[..], &["--serve-history", "10.0.0.1:0", "--linger", "1m"]].concat();
    let mut publishing = program(&lan.a, MCAST, &served, true);
    let mut input = publishing.child.stdin.take().unwrap();
    let lines: Vec<String> = (0..40).map(|number| format!("{number} x")).collect();
    input.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    publishing.stderr.wait_for("serving the history");
    for (run, most) in [7, 1, 12].into_iter().enumerate() {
        let ended = consume(&lan, folder.path(), most).end();
        let status = std::fs::read_to_string(folder.path().join("status")).unwrap();
        assert_eq!(status.trim(), "1", "{ended:?}");
        assert!(ended.stderr.contains("closed the descriptor of --confirm"), "{ended:?}");
        let stored = std::fs::read_to_string(folder.path().join("stored")).unwrap();
        let count = [7, 8, 20][run];
        assert!(stored.lines().eq(&lines[..count]), "run {run}: {stored}");
    }
    let last = consume(&lan, folder.path(), 100);
    let stored = || std::fs::read_to_string(folder.path().join("stored")).unwrap();
    eventually("all messages", || stored().lines().eq(&lines));
    drop(input);
    let ended = last.end();
    assert_eq!(std::fs::read_to_string(folder.path().join("status")).unwrap().trim(), "0", "{ended:?}");
    assert!(stored().lines().eq(&lines), "each was confirmed, and comes once");
    publishing.end();
}

#[test]
fn a_consumer_that_confirms_what_it_was_not_given_ends_it() {
    let lan = Lan::new();
    for (line, why) in
        [("5", "has confirmed message 5, which it was not given"), ("five", "is not the number of a message")]
    {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "cd {} && mkfifo back && {{ {MCAST} subscribe {GROUP} -i eth0 --confirm 3 3<back; echo $? >status; }} | \
             (read -r first; echo {line}; cat >/dev/null) >back",
            folder.path().display()
        );
        let consuming = program(&lan.b, "sh", &["-c", &script], false);
        let publishing = publisher(&lan.a, &[GROUP, "--wait-for", "1", "a", "b", "c"]);
        let ended = consuming.end();
        assert!(ended.stderr.contains(why), "{ended:?}");
        assert_eq!(std::fs::read_to_string(folder.path().join("status")).unwrap().trim(), "1", "{ended:?}");
        publishing.end();
    }
}

#[test]
fn a_confirmed_message_is_processed_and_one_in_a_pipe_is_not() {
    let lan = Lan::new();
    let acknowledged = [GROUP, "--ack", "1:processed", "--linger", "2s", "a", "b", "c"];
    let script = |consumer: &str, option: &str| {
        format!(
            "cd $(mktemp -d) && mkfifo back && {MCAST} subscribe {GROUP} -i eth0 {option} 3<back | ({consumer}) >back"
        )
    };
    for (consumer, option, acknowledges) in [
        ("while read -r line; do echo; done", "--confirm 3", 3),
        ("read -r a; read -r b; echo; echo; read -r c; sleep 5", "--confirm 3", 2),
        ("cat >/dev/null", "", 0),
        ("cat >/dev/null", "--confirm pipe", 3),
    ] {
        let consuming = program(&lan.b, "sh", &["-c", &script(consumer, option)], false);
        consuming.stderr.wait_for("joined");
        let ended = publisher(&lan.a, &acknowledged).end();
        assert!(
            ended.stderr.contains(&format!("acknowledged {acknowledges} of 3 messages")),
            "{option} {consumer}: {ended:?}"
        );
        assert_eq!(ended.status, Some(i32::from(acknowledges < 3)), "{ended:?}");
        let ended = consuming.end();
        let explains = ended
            .stderr
            .contains("handed over to a pipe is acknowledged as received, and never as processed");
        assert_eq!(explains, option.is_empty(), "{ended:?}");
    }
}

#[test]
fn a_position_of_what_is_only_in_a_pipe_is_refused() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let position = folder.path().join("position").display().to_string();
    let resume = ["subscribe", GROUP, "-i", "eth0", "--resume", &position, "-W", "1s"];
    let refused = mcast(&lan.b, &resume);
    assert_eq!(refused.status, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("messages are only written to it"), "{refused:?}");
    for way in ["--confirm FD", "--exec", ">> FILE", "--confirm pipe"] {
        assert!(refused.stderr.contains(way), "{refused:?}");
    }
    let closed = mcast(&lan.b, &[&resume[..], &["--confirm", "9"]].concat());
    assert_eq!(closed.status, Some(2), "{closed:?}");
    assert!(closed.stderr.contains("descriptor 9 cannot be read"), "{closed:?}");
    let file = folder.path().join("messages");
    let script = format!("exec {MCAST} {} >>{}", resume[..6].join(" "), file.display());
    let subscribing = program(&lan.b, "sh", &["-c", &script], false);
    subscribing.stderr.wait_for("joined");
    publisher(&lan.a, &[GROUP, "--wait-for", "1", "a", "b"]).end().succeeded();
    subscribing.end().succeeded();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\nb\n");
    assert!(std::fs::read_to_string(&position).unwrap().ends_with(" 2 0\n"));
}
