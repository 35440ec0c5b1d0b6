//! The settings file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{Lan, MCAST, Running, program};

const FILE: &str = r#"
interface = "eth0"

[top]
columns = ["loss", "group"]
bad-loss = 0.5

[feeds.prices]
group = "239.255.1.2:5000"
interface = "eth0"
key = "prices.key"

[feeds.both]
group = ["239.255.1.3:5000", "239.255.1.4:5000"]
source = "10.0.0.1"
"#;

/// A folder with a settings file, which only its owner can write.
struct Configured {
    folder: TempDir,
    path: PathBuf,
}

impl Configured {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcast").join("config.toml");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Self { folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Runs the command where no interface is needed.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(arguments, &[("MCAST_CONFIG", self.path())])
    }

    /// Starts the command on a host.
    fn start(&self, host: &mcast_lab::Host, arguments: &[&str]) -> Running {
        let variable = format!("MCAST_CONFIG={}", self.path());
        program(host, "env", &[&[&variable, MCAST], arguments].concat(), false)
    }
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(MCAST);
    command.args(arguments).env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR").env_remove("SUDO_UID");
    for (name, value) in variables {
        match *name {
            "without MCAST_CONFIG" => command.env_remove("MCAST_CONFIG"),
            name => command.env(name, value),
        };
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_name_of_a_feed_stands_for_its_groups_and_interface() {
    let lan = Lan::new();
    let settings = Configured::new(FILE);
    let receiving = settings.start(&lan.b, &["recv", "-v", "both", "-c", "2"]);
    receiving.stderr.wait_for("10.0.0.1@239.255.1.4");
    let here = settings.path();
    let described = format!(
        "settings of {here}: both is 10.0.0.1@239.255.1.3:5000 10.0.0.1@239.255.1.4:5000; --interface eth0"
    );
    assert!(receiving.stderr.text().contains(&described), "{}", receiving.stderr.text());
    // A message that is called like a feed stays one.
    settings.start(&lan.a, &["send", "both", "both"]).end().succeeded();
    let received = receiving.end().succeeded();
    assert!(received.lines().iter().all(|line| line.ends_with("  both")), "{received:?}");
}

#[test]
fn what_is_typed_wins_over_the_file() {
    let lan = Lan::new();
    let settings = Configured::new(FILE);
    let receiving =
        settings.start(&lan.b, &["recv", "-v", "both", "-i", "lo", "-s", "10.0.0.9", "-W", "0.1"]);
    let ended = receiving.end();
    assert!(ended.stderr.contains("both is 239.255.1.3:5000 239.255.1.4:5000\n"), "{ended:?}");
    assert!(
        ended.stderr.contains("10.0.0.9@239.255.1.3%lo:5000") || ended.stderr.contains("on lo"),
        "{ended:?}"
    );
}

#[test]
fn a_feed_brings_its_key_to_both_ends() {
    let lan = Lan::new();
    let settings = Configured::new(FILE);
    let key = settings.path.with_file_name("prices.key");
    assert_eq!(run(&["keys", "make", key.to_str().unwrap()], &[]).0, Some(0));
    let subscribing = settings.start(&lan.b, &["subscribe", "-v", "prices"]);
    subscribing.stderr.wait_for(&format!("--key {}", key.display()));
    let publishing = settings.start(&lan.a, &["publish", "prices", "--wait-for", "1", "one", "two"]);
    publishing.end().succeeded();
    assert_eq!(subscribing.end().succeeded().lines(), ["one", "two"]);
    // It would apply to the other group, too.
    let refused = settings.start(&lan.a, &["top", "prices", "239.255.9.9:5000", "--once", "-W", "0.2"]).end();
    assert_eq!(refused.status, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("the feed prices has --key, which would apply to the other groups"),
        "{refused:?}"
    );
}

#[test]
fn further_groups_of_a_feed_are_redundant_paths() {
    let lan = Lan::new();
    let settings = Configured::new(FILE);
    let subscribing = settings.start(&lan.b, &["subscribe", "both", "--json"]);
    subscribing.stderr.wait_for("239.255.1.4%eth0:5000: joined");
    let publishing = settings.start(&lan.a, &["publish", "both", "--wait-for", "1", "one"]);
    let published = publishing.end().succeeded();
    assert!(
        published.stderr.contains("239.255.1.3:5000") && published.stderr.contains("239.255.1.4:5000"),
        "{published:?}"
    );
    subscribing.end().succeeded();
}

#[test]
fn top_shows_the_columns_of_the_file() {
    let lan = Lan::new();
    let settings = Configured::new(FILE);
    let watched = settings.start(&lan.b, &["top", "-v", "--once", "-W", "0.2", "--bad-loss", "2%"]).end();
    assert_eq!(watched.status, Some(0), "{watched:?}");
    assert!(watched.stderr.contains(": --interface eth0; --columns loss,group\n"), "{watched:?}");
    // They have no effect on JSON, and do not conflict with it.
    settings.start(&lan.b, &["top", "--once", "--json", "-W", "0.2"]).end().succeeded();
}

#[test]
fn the_interface_of_the_file_is_not_used_for_hosts_and_files() {
    let settings = Configured::new("interface = \"missing0\"");
    let (status, _, error) = settings.run(&["send", "-v", "127.0.0.1:9", "x"]);
    assert_eq!((status, error.contains("settings of")), (Some(0), false), "{error}");
    let (status, _, error) = settings.run(&["send", "239.255.1.2:5000", "x"]);
    assert_eq!(status, Some(4), "{error}");
    // A user who does not expect it sees where the interface comes from.
    assert!(error.ends_with(&format!("settings of {}: --interface missing0\n", settings.path())), "{error}");
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    for (text, line, part) in [
        ("\ncolor = \"never\"", 2, "unknown field `color`, expected one of `interface`, `colour`"),
        ("[top]\n\ncolumns = [\"group\", \"losses\"]", 3, "invalid value 'losses' for '--columns <COLUMN>'"),
        ("[top]\nbad-loss = 101", 2, "write a share such as 0.5%"),
        ("interface = \"\"", 1, "--interface"),
        ("[feeds.ssdp]\ngroup = \"239.1.2.3:5000\"", 1, "name of a well-known group"),
    ] {
        let settings = Configured::new(text);
        for arguments in [&["explain", "mdns"][..], &["config"]] {
            let (status, _, error) = settings.run(arguments);
            assert_eq!(status, Some(2), "{error}");
            assert!(
                error.contains(&format!("{}:{line}: ", settings.path())) && error.contains(part),
                "{error}"
            );
        }
        assert_eq!(settings.run(&["help"]).0, Some(0));
    }
}

#[test]
fn config_shows_the_settings_and_where_they_come_from() {
    let settings = Configured::new(FILE);
    let (status, text, _) = settings.run(&["config"]);
    assert_eq!(status, Some(0));
    let folder = settings.path.parent().unwrap().display().to_string();
    for expected in [
        format!("      file            {}", settings.path()),
        "   2  interface       eth0".into(),
        "   5  top --columns   loss,group".into(),
        "   6  top --bad-loss  0.5".into(),
        format!("   8  feed prices     239.255.1.2%eth0:5000 --key {folder}/prices.key"),
        "  13  feed both       10.0.0.1@239.255.1.3:5000 10.0.0.1@239.255.1.4:5000".into(),
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected}:\n{text}");
    }
}

#[test]
fn config_prints_the_settings_as_objects() {
    let settings = Configured::new(FILE);
    let (status, text, _) = settings.run(&["config", "--json"]);
    assert_eq!(status, Some(0));
    let all: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        all[0],
        serde_json::json!({"event": "setting", "setting": "file", "values": [settings.path()]})
    );
    let columns = all.iter().find(|one| one["setting"] == "top --columns").unwrap();
    assert_eq!(columns["values"], serde_json::json!(["loss", "group"]));
    let feed = all.iter().find(|one| one["setting"] == "feed prices").unwrap();
    assert_eq!((&feed["values"], &feed["line"]), (&serde_json::json!(["239.255.1.2%eth0:5000"]), &8.into()));
    assert!(feed["options"][0].as_str().unwrap().ends_with("prices.key"), "{feed}");

    let (status, text, _) = run(&["config", "--json"], &[("MCAST_CONFIG", "")]);
    assert_eq!((status, text.trim()), (Some(0), r#"{"event":"setting","setting":"file","values":[]}"#));
}

#[test]
fn the_file_is_in_the_folder_for_settings_unless_the_environment_names_another() {
    let settings = Configured::new("interface = \"usual0\"");
    let usual = settings.folder.path().to_str().unwrap();
    let shown =
        |variables: &[(&str, &str)]| run(&["config"], &[variables, &[("XDG_CONFIG_HOME", usual)]].concat());
    assert!(shown(&[("without MCAST_CONFIG", "")]).1.contains("usual0"));
    let (status, text, _) = shown(&[("MCAST_CONFIG", "")]);
    assert_eq!((status, text.contains("usual0"), text.contains("none")), (Some(0), false, true), "{text}");
    let (status, _, error) = shown(&[("MCAST_CONFIG", "/does/not/exist")]);
    assert_eq!(status, Some(4), "{error}");
    assert!(error.contains("/does/not/exist"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let absent = run(
        &["config"],
        &[("without MCAST_CONFIG", ""), ("XDG_CONFIG_HOME", empty.path().to_str().unwrap())],
    );
    assert!(absent.0 == Some(0) && absent.1.contains("mcast/config.toml (does not exist)"), "{absent:?}");
}

#[test]
fn colours_of_the_file_are_used_unless_the_environment_decides() {
    let settings = Configured::new("colour = \"always\"");
    let has_colours = |variables: &[(&str, &str)]| {
        let variables = [variables, &[("MCAST_CONFIG", settings.path())]].concat();
        run(&["interfaces"], &variables).1.contains("\x1b[")
    };
    assert!(has_colours(&[]));
    assert!(!has_colours(&[("NO_COLOR", "1")]));
}

#[test]
fn shells_complete_the_names_of_feeds() {
    let settings = Configured::new(FILE);
    let variables = [("MCAST_CONFIG", settings.path()), ("MCAST_COMPLETE", "fish")];
    let (status, candidates, _) = run(&["--", "mcast", "recv", "pri"], &variables);
    assert_eq!((status, candidates.trim()), (Some(0), "prices"));
}

#[test]
fn a_named_file_that_does_not_exist_is_an_error() {
    let (status, _, error) = run(&["interfaces"], &[("MCAST_CONFIG", "/nowhere/config.toml")]);
    let expected = "error: the settings file /nowhere/config.toml does not exist\n\
                    remedy: MCAST_CONFIG names it: correct or unset the variable\n";
    assert_eq!((status, &error[..]), (Some(4), expected));
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let settings = Configured::new("");
    fs::set_permissions(&settings.path, fs::Permissions::from_mode(0o620)).unwrap();
    let (status, _, error) = settings.run(&["interfaces"]);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("other users can write them") && error.contains("chmod go-w"), "{error}");
}

#[test]
fn root_reads_the_file_of_the_user_of_sudo_only_if_it_is_named() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return mcast_lab::skip("only root can change the owner of a file");
    }
    let settings = Configured::new("interface = \"theirs0\"");
    let give = |path: &Path| chown(path, Some(1000), None).unwrap();
    give(&settings.path);
    let home = settings.folder.path().to_str().unwrap();
    let usual = [("without MCAST_CONFIG", ""), ("XDG_CONFIG_HOME", home), ("SUDO_UID", "1000")];
    let (status, text, error) = run(&["config"], &usual);
    assert_eq!((status, text.contains("theirs0")), (Some(0), false), "{error}");
    let (status, _, error) = run(&["interfaces"], &usual);
    assert!(status == Some(0) && error.contains("belongs to another user than root"), "{error}");
    let named = [("MCAST_CONFIG", settings.path()), ("SUDO_UID", "1000")];
    assert!(run(&["config"], &named).1.contains("theirs0"));
    // Without sudo, it is the file of a stranger.
    let (status, _, error) = run(&["config"], &usual[..2]);
    assert!(status == Some(2) && error.contains("belong to another user"), "{error}");
}
