//! `mcast plan` as in CI: on files, with exit statuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../command/schemas.rs"]
mod schemas;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use mcast_sim::Dice;
use snapbox::{assert_data_eq, file, str};

fn plan(arguments: &[&str], text: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcast"));
    command.arg("plan").args(arguments).env_remove("CLICOLOR_FORCE").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

const FEEDS: &str = "\
# Both carry the same prices.
prices-a  10.0.0.7@232.1.2.3%eth1:5000  pair=prices ttl=8
prices-b  10.9.0.7@232.9.2.3%eth2:5001  pair=prices ttl=8
";

#[test]
fn a_good_plan_succeeds_with_its_counts() {
    let output = plan(&["-"], FEEDS);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]));
    assert_data_eq!(
        String::from_utf8(output.stderr).unwrap(),
        str![[r#"
2 memberships of 2 names: 0 faults, 0 warnings, 0 notes

"#]]
    );
}

#[test]
fn faults_have_file_and_line_in_the_format_of_compilers() {
    let text = FEEDS.to_owned() + "video 232.1.2.3:5000\nold 239.128.0.5:5004\nnonsense\n";
    let output = plan(&["-"], &text);
    assert_eq!(output.status.code(), Some(1));
    assert_data_eq!(
        String::from_utf8(output.stdout).unwrap(),
        str![[r#"
-:4: fault: 232.1.2.3: source-specific: join it with a source; routers ignore a join without one [ssm-without-source] (RFC 4607 section 1)
-:4: fault: 232.1.2.3:5000 also belongs to "prices-a" (-:2): receivers would receive both [overlap]
-:5: fault: 239.128.0.5: shares its Ethernet address with 224.0.0.5, which switches flood to every port [mac-alias-of-control] (RFC 4541 section 2.1.2)
-:6: fault: "nonsense" is a name without a membership: write NAME GROUP:PORT [unreadable]

"#]]
    );
}

#[test]
fn warnings_fail_only_with_strict() {
    let text = "a 239.192.1.1:5000\nb 239.192.1.1:5001\n";
    assert_eq!(plan(&["-"], text).status.code(), Some(0));
    assert_eq!(plan(&["-", "--strict"], text).status.code(), Some(1));
    let allowed = text.replace(":5001", ":5001 allow=same-group");
    assert_eq!(plan(&["-", "--strict"], &allowed).status.code(), Some(0));
}

#[test]
fn json_follows_the_schema() {
    let text = "a 225.1.1.1:5000\nb 239.192.1.1:5000\nc 239.192.1.2:5000\nbroken\n";
    let output = plan(&["-", "--json"], text);
    let lines = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    objects.iter().for_each(|object| schemas::assert_valid("plan-finding", object));
    let ids: Vec<_> = objects.iter().map(|object| object["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["reserved", "shared-port", "shared-port", "unreadable"]);
}

#[test]
fn several_files_are_one_plan() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one.txt", "two.txt"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], "a 239.192.1.1:5000\n").unwrap();
    std::fs::write(&paths[1], "# more\nb 239.192.1.1:5000\n").unwrap();
    let output = plan(&[paths[0].to_str().unwrap(), paths[1].to_str().unwrap()], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("two.txt:2: fault: ") && text.contains("one.txt:1"), "{text}");
    assert_eq!(plan(&["/nowhere.txt"], "").status.code(), Some(4));
}

#[test]
fn hostile_files_are_reported_without_a_panic() {
    let mut dice = Dice::new(7);
    for _ in 0..30 {
        let letters = b"abc239.:%/+-=@!#,[]ff5 \n\npair=ttl";
        let text: String = (0..400).map(|_| char::from(dice.pick(letters))).collect();
        let output = plan(&["-", "-v"], &text);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{text}: {output:?}");
    }
}

#[test]
fn help_of_plan() {
    let output = Command::new(env!("CARGO_BIN_EXE_mcast")).args(["plan", "--help"]).output().unwrap();
    assert_data_eq!(String::from_utf8(output.stdout).unwrap(), file!["help/plan.txt"]);
}

#[test]
fn the_content_of_a_file_is_escaped() {
    let output = plan(&["-"], "feed \x1b[31mred:5000\n");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!text.contains('\x1b') && text.contains("\\x1b[31mred"), "{text:?}");
}
