//! Help, and subcommands that need no network.

use std::process::{Command, Output};

use snapbox::{IntoData, assert_data_eq, file, str};

use crate::support::MCAST;

/// `mcast` on this machine, for what needs no network.
pub(crate) fn plain(arguments: &[&str]) -> Output {
    let mut command = Command::new(MCAST);
    command.args(arguments).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
    command.output().unwrap()
}

fn shows(arguments: &[&str], expected: impl IntoData) {
    let output = plain(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_data_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// The names of all subcommands, as they are defined.
fn subcommands() -> Vec<String> {
    mcast_cli::command().get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect()
}

#[test]
fn the_overview_fits_one_screen() {
    let output = plain(&["--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() <= 55, "{} lines", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let short = String::from_utf8(plain(&["-h"]).stdout).unwrap();
    assert!(short.lines().count() <= 45, "{} lines", short.lines().count());
    for subcommand in subcommands() {
        for text in [&text, &short] {
            assert!(text.contains(&format!("\n  {subcommand} ")), "{subcommand} is missing");
        }
    }
}

/// The words by which people call what they need, whatever the command calls it.
#[test]
fn words_that_people_search_for_are_in_the_help_and_in_the_readme() {
    let help = String::from_utf8(plain(&["--help"]).stdout).unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    let words = [
        "Kafka",
        "RabbitMQ",
        "Redis",
        "NATS",
        "IPTV",
        "udpxy",
        "HTTP",
        "Chromecast",
        "AirPlay",
        "Sonos",
        "printers",
        "mDNS",
        "Prometheus",
        "IGMP",
        "snooping",
        "querier",
    ];
    for word in words {
        assert!(help.contains(word) && readme.contains(word), "{word}");
    }
}

#[test]
fn words_of_other_tools_lead_to_the_command() {
    let cases = [
        (&["help", "kafka"][..], "the command for that is `mcast bridge`"),
        (&["chromecast"], "the command for that is `mcast relay`"),
        (&["help", "http"], "the command for that is `mcast relay`"),
        (&["help", "ROS2"], "the command for that is `mcast discover`"),
        (&["help", "rp_filter"], "`mcast explain reverse-path-filter` is about that"),
        (&["explain", "ENODEV"], "`mcast explain no-route` is about that"),
        (&["doctor", "reverse-path-filter"], "`mcast explain reverse-path-filter` describes it"),
        (
            &["relay", "chromecast", "between", "a", "b"],
            "such devices are found by `mdns`. `mcast relay mdns between a b`",
        ),
        (&["relay", "mdsn", "between", "a", "b"], "did you mean `mdns`? `mcast relay mdns between a b`"),
        (&["recv", "sonos"], "such devices are found by `ssdp`."),
        (&["explain", "INADDR_ANY"], "`mcast explain joined-other-interface` is about that"),
        (&["explain", "rp_filter"], "`mcast explain reverse-path-filter` is about that"),
        (&["explain", "unicst"], "did you mean `unicast`?"),
        (&["explain", "mdsn"], "did you mean `mdns`?"),
        (&["explain", "chromecast"], "such devices are found by `mdns`."),
        (&["explain", "nosuchfinding"], "`mcast explain --findings` findings; terms are anycast"),
        (&["doctor", "--apply", "reverse-path-filte"], "did you mean `reverse-path-filter`?"),
        (&["doctor", "--pid", "999999999"], "`mcast groups` lists the programs and their groups\n"),
        (&["recv", "239.1.2.3:-1"], "is not a valid port (\"-1\")"),
    ];
    for (arguments, answer) in cases {
        let output = plain(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert!(error.contains(answer), "{arguments:?}: {error}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn help_that_cannot_be_written_fails() {
    for arguments in [&["--help"][..], &["-h"], &["recv", "--help"], &["--version"], &["help", "kafka"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(MCAST).args(arguments).stdout(full).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        match arguments {
            // An error, which is not written there.
            ["help", "kafka"] => assert_eq!(output.status.code(), Some(2), "{error}"),
            _ => {
                assert_eq!(output.status.code(), Some(4), "{arguments:?}: {error}");
                assert!(error.starts_with("error: cannot write to standard output: "), "{error}");
            }
        }
    }
}

/// `-h` is for what people use daily. Its last line names `--help` where that shows more.
#[test]
fn short_help_fits_one_screen() {
    let command = mcast_cli::command();
    for subcommand in command.get_subcommands() {
        let nested =
            subcommand.get_subcommands().map(|nested| vec![subcommand.get_name(), nested.get_name()]);
        for names in nested.chain([vec![subcommand.get_name()]]) {
            let help = |option| {
                let output = plain(&[&names[..], &[option]].concat());
                String::from_utf8(output.stdout).unwrap()
            };
            let (short, long) = (help("-h"), help("--help"));
            assert!(short.lines().count() <= 45, "{} lines:\n{short}", short.lines().count());
            let options = |text: &str| text.lines().filter(|line| line.trim_start().starts_with('-')).count();
            assert!(options(&short) <= 24, "{short}");
            let named = short.contains(&format!("`mcast {} --help` shows all options.", names.join(" ")));
            assert!(!named || options(&short) < options(&long), "{short}");
        }
    }
}

/// More are more than a person looks through: what is new replaces something, or becomes the value of another option.
#[test]
fn the_largest_subcommands_have_a_bounded_number_of_options() {
    for (name, most) in [("bridge", 28), ("doctor", 28), ("publish", 35), ("subscribe", 28)] {
        let text = String::from_utf8(plain(&[name, "--help"]).stdout).unwrap();
        let (text, _examples) = text.split_once("\nExamples:").unwrap();
        let is_option = |line: &&str| line.starts_with("      --") || line.starts_with("  -");
        let count = text.lines().filter(is_option).count();
        assert!(count <= most, "{name} has {count} options");
    }
}

#[test]
fn without_a_subcommand_the_overview_is_shown_as_an_error() {
    let output = plain(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    assert!(String::from_utf8(output.stderr).unwrap().contains("Start here:"));
}

#[test]
fn every_subcommand_ends_its_help_with_examples() {
    for subcommand in subcommands() {
        let output = plain(&[&subcommand, "--help"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let examples = text.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{subcommand} has none"));
        assert!(examples.lines().any(|line| line.contains("mcast ")), "{examples}");
    }
}

#[test]
fn help_of_interfaces() {
    shows(&["interfaces", "--help"], file!["help/interfaces.txt"]);
}

#[test]
fn help_of_explain() {
    shows(&["explain", "--help"], file!["help/explain.txt"]);
}

#[test]
fn help_of_pick() {
    shows(&["pick", "--help"], file!["help/pick.txt"]);
}

#[test]
fn help_of_send() {
    shows(&["send", "--help"], file!["help/send.txt"]);
}

#[test]
fn help_of_recv() {
    shows(&["recv", "--help"], file!["help/recv.txt"]);
}

#[test]
fn help_of_ask() {
    shows(&["ask", "--help"], file!["help/ask.txt"]);
}

#[test]
fn an_explanation_has_its_references() {
    shows(&["explain", "239.128.0.5", "ff7e:140:2001:db8:beef:feed::1"], file!["help/explained.txt"]);
}

#[test]
fn every_finding_is_explained_by_its_page() {
    let listed = String::from_utf8(plain(&["explain", "--findings", "--json"]).stdout).unwrap();
    assert!(listed.lines().count() >= 36, "{listed}");
    for line in listed.lines() {
        let listed: serde_json::Value = serde_json::from_str(line).unwrap();
        crate::schemas::assert_valid("finding-page", &listed);
        let id = listed["finding"].as_str().unwrap();
        let output = plain(&["explain", id]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.starts_with(&format!("{id}\n\n")) && shown.contains("\nRemedy\n\n"), "{shown}");
        // What is written is what stands in the page, but for the marks and the ends of lines.
        let words = |text: &str| -> Vec<String> {
            let text = text.replace("```", "").replace(['#', '|'], " ");
            text.split_whitespace().filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
        };
        let (shown, page) = (words(&shown), words(listed["text"].as_str().unwrap()));
        assert!(page.len() > 100 && shown.len() * 10 > page.len() * 9, "{id}");
    }
    let table = String::from_utf8(plain(&["explain", "--findings"]).stdout).unwrap();
    assert!(table.lines().any(|line| line.starts_with("no-querier ")), "{table}");
}

#[test]
fn an_unknown_finding_is_reported() {
    let output = plain(&["explain", "no-querrier"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(
        printed.contains("did you mean `no-querier`? ") && printed.contains("`mcast explain --findings`"),
        "{printed}"
    );
}

#[test]
fn a_range_is_explained_by_its_parts_and_names() {
    shows(&["explain", "232.1.0.0/16", "224.0.0.0/29", "ff3e::/32"], file!["help/explained-ranges.txt"]);
    let output = plain(&["explain", "--json", "224.0.0.0/24", "224.0.0.0/4", "ff3e::/32"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let ranges: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    ranges.iter().for_each(|range| crate::schemas::assert_valid("range", range));
    let [control, all, specific] = &ranges[..] else { panic!("{lines}") };
    assert_eq!((&control["groups"], &control["is_complete"]), (&"256".into(), &true.into()));
    assert_eq!(
        (&all["groups"], &all["last"], &all["is_complete"]),
        (&"268435456".into(), &"239.255.255.255".into(), &false.into())
    );
    assert_eq!(specific["groups"], (1_u128 << 96).to_string());
    let names = |range: &serde_json::Value| {
        range["names"].as_array().unwrap().iter().map(|name| name["name"].to_string()).collect::<Vec<_>>()
    };
    assert!(
        names(control).contains(&"\"mDNS\"".to_owned()) && names(all).contains(&"\"mdns\"".to_owned()),
        "{lines}"
    );
    assert_eq!(control["parts"].as_array().unwrap().len(), 1, "{lines}");
}

#[test]
fn a_range_that_is_not_one_is_refused() {
    for (range, reason) in [
        ("10.0.0.0/8", "not a multicast address"),
        ("224.0.0.0/33", "from 0 to 32"),
        ("ff02::/x", "from 0 to 128"),
    ] {
        let output = plain(&["explain", range]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn terms_are_explained() {
    for term in ["anycast", "broadcast", "broker", "ssm", "asm", "ttl", "TTL", "hop-limit", "unicast"] {
        let output = plain(&["explain", term]);
        assert_eq!(output.status.code(), Some(0), "{term}: {output:?}");
        assert!(output.stdout.len() > 300, "{term}: {output:?}");
        let json = String::from_utf8(plain(&["explain", term, "--json"]).stdout).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        crate::schemas::assert_valid("term", &json);
        assert!(json["names"].as_array().unwrap().contains(&term.to_lowercase().into()), "{json}");
    }
}

#[test]
fn every_short_name_is_listed() {
    let table = String::from_utf8(plain(&["explain", "--names"]).stdout).unwrap();
    assert!(table.lines().any(|line| line.starts_with("mdns ") && line.contains("224.0.0.251")), "{table}");
    let listed = String::from_utf8(plain(&["explain", "--names", "--json"]).stdout).unwrap();
    assert!(listed.lines().count() > 50, "{listed}");
    for line in listed.lines() {
        let listed: serde_json::Value = serde_json::from_str(line).unwrap();
        crate::schemas::assert_valid("name", &listed);
        let name = listed["name"].as_str().unwrap();
        assert_eq!(plain(&["explain", name]).status.code(), Some(0), "{name}");
    }
}

#[test]
fn a_misspelled_name_gets_a_suggestion() {
    let slips = [
        (&["explain", "mdsn"][..], "did you mean `mdns`?"),
        (&["recv", "sdsp"], "did you mean `ssdp`?"),
        (&["explain", "no-queirer"], "did you mean `no-querier`?"),
        (&["explain", "anycst"], "did you mean `anycast`?"),
        (&["lab", "run", "four-host"], "did you mean `four-hosts`?"),
        (&["recv", "udp:239.1.1.1:5"], "write GROUP:PORT or udp://GROUP:PORT"),
        (&["explain", "01:00:5e:01:02:03"], "is an Ethernet address"),
        (&["recv", "ff15::1:5000"], "write [GROUP]:PORT"),
        (&["recv", "239.255.1.3:5000", "-c", "x"], "not a whole number"),
    ];
    for (arguments, suggestion) in slips {
        let output = plain(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert!(error.contains(suggestion), "{arguments:?}: {error}");
    }
}

#[test]
fn a_text_with_a_scheme_gets_no_suggestion_of_a_name() {
    for text in ["udp:239.1.1.1:5", "aeron:udp?endpoint=224.0.1.1:40456"] {
        let error = String::from_utf8(plain(&["recv", text]).stderr).unwrap();
        assert!(error.contains("too many colons") && !error.contains("did you mean"), "{error}");
    }
}

#[test]
fn a_name_is_explained_in_both_families() {
    let output = plain(&["explain", "mdns", "--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let groups: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    groups.iter().for_each(|each| crate::schemas::assert_valid("explanation", each));
    assert_eq!(
        groups.iter().map(|each| each["group"].as_str().unwrap()).collect::<Vec<_>>(),
        ["224.0.0.251", "ff02::fb"]
    );
    assert_eq!(groups[0]["short_names"][0]["ports"][0], 5353);
}

#[test]
fn explanations_follow_the_schema() {
    let groups = [
        "232.1.2.3",
        "233.8.9.1",
        "234.192.0.1",
        "239.255.255.250",
        "224.0.1.129",
        "ff02::1:ff00:1",
        "ff3e::8000:1",
        "fff0::1",
    ];
    let output = plain(&[&["explain", "--json"], &groups[..]].concat());
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), groups.len());
    for line in lines.lines() {
        crate::schemas::assert_valid("explanation", &serde_json::from_str(line).unwrap());
    }
}

#[test]
fn a_pick_is_the_same_everywhere() {
    shows(
        &["pick", "weather", "-q"],
        str![[r#"
239.255.168.190

"#]],
    );
    shows(
        &["pick", "weather", "--scope", "organization"],
        str![[r#"
239.192.61.126

"#]],
    );
    shows(
        &["pick", "weather", "--v6", "--scope", "site"],
        str![[r#"
ff15::e2a0:cf1e

"#]],
    );
    shows(
        &["pick", "weather", "--ssm", "-q"],
        str![[r#"
232.252.12.53

"#]],
    );
    shows(
        &["pick", "weather", "traffic", "-q"],
        str![[r#"
239.255.168.190 weather
239.255.115.129 traffic

"#]],
    );
    shows(
        &["pick", "weather", "traffic", "weather", "-q"],
        str![[r#"
239.255.168.190 weather
239.255.115.129 traffic
239.255.168.190 weather

"#]],
    );
}

#[test]
fn a_pick_avoids_groups_in_use() {
    let pick = |arguments: &[&str]| {
        let output = plain(&[&["pick", "weather", "-q"], arguments].concat());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let first = pick(&[]);
    let second = pick(&["--in-use", &first]);
    assert_ne!(first, second);
    let third = pick(&["--in-use", &format!("{first},{second}")]);
    assert!(third != first && third != second);
}

#[test]
fn a_pick_as_json() {
    let output = plain(&["pick", "weather", "--v6", "--json"]);
    let picked = serde_json::from_slice(&output.stdout).unwrap();
    crate::schemas::assert_valid("pick", &picked);
    assert_eq!(picked["scope"], "site-local");
}

#[test]
fn colours_are_for_terminals_unless_forced() {
    let coloured = |variables: &[(&str, &str)]| {
        let mut command = Command::new(MCAST);
        command.args(["explain", "239.128.0.5"]).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.envs(variables.iter().copied()).output().unwrap().stdout.contains(&0x1b)
    };
    assert!(!coloured(&[]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}
