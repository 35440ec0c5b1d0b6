//! The alert rules, the board and the manifests in `packaging/`, checked by the tools that they are for.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod board;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn packaged(name: &str) -> PathBuf {
    root().join("packaging").join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reports that a tool is not installed, which is a failure if it is required.
fn absent(name: &str) {
    #[cfg(target_os = "linux")]
    mcast_lab::skip(format_args!("{name} is not installed (cargo verify --install installs it)"));
}

/// Returns the names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
    let words = text.split(|character| !is_part(character));
    let is_metric = |word: &&str| word.starts_with("mcast_") && word.matches('_').count() >= 2;
    words.filter(is_metric).map(str::to_owned).collect()
}

/// Returns the names of metrics in the sources below a folder.
fn exported(folder: &Path, all: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() && !path.ends_with("tests") => exported(&path, all),
            Some(extension) if extension == "rs" => all.extend(names(&read(&path))),
            _ => {}
        }
    }
}

/// What stands before the names of declared figures, and where these are declared.
const DECLARED: [(&str, &str); 11] = [
    ("mcast_bridge_", "reach/mcast-bridge/src/machine/event.rs"),
    ("mcast_bridge_", "reach/mcast-bridge/src/reverse/config.rs"),
    ("mcast_bridge_history_", "stream/mcast-stream/src/driver/history/server.rs"),
    ("mcast_relay_", "reach/mcast-relay/src/driver/event.rs"),
    ("mcast_relay_", "reach/mcast-relay/src/event.rs"),
    ("mcast_relay_http_", "base/mcast-http/src/refusal.rs"),
    ("mcast_relay_http_", "reach/mcast-relay/src/http/counts.rs"),
    ("mcast_stream_history_", "stream/mcast-stream/src/driver/history/server.rs"),
    ("mcast_stream_publisher_", "stream/mcast-stream-proto/src/publisher/event.rs"),
    ("mcast_stream_publisher_", "stream/mcast-stream/src/metrics/mod.rs"),
    ("mcast_stream_subscriber_", "stream/mcast-stream-proto/src/subscriber/event.rs"),
];

/// Returns whether a name is that of a declared figure with what precedes it and what follows its kind, or stands in
/// quotes behind what precedes it.
fn is_declared(name: &str) -> bool {
    DECLARED.into_iter().any(|(prefix, file)| {
        let Some(bare) = name.strip_prefix(prefix) else { return false };
        let source = read(&root().join("crates").join(file));
        let is_figure = |line: &str| {
            [("count ", "_total"), ("time ", "_seconds"), ("level ", "")].into_iter().any(|(kind, suffix)| {
                let (declared, figure) = (line.trim_start().strip_prefix(kind), bare.strip_suffix(suffix));
                declared.zip(figure).is_some_and(|(declared, figure)| {
                    declared.starts_with(&format!("{figure}: "))
                        || declared.contains(&format!(" as \"{figure}\": "))
                })
            })
        };
        source.lines().any(is_figure) || source.contains(&format!("\"{bare}\""))
    })
}

/// Runs promtool where the rules are; returns whether it is content, and `None` if it is not installed.
fn promtool(arguments: &[&str]) -> Option<bool> {
    let folder = packaged("prometheus");
    Some(Command::new("promtool").args(arguments).current_dir(folder).output().ok()?.status.success())
}

#[test]
fn alerts_and_board_name_metrics_that_exist() {
    let mut exist = BTreeSet::new();
    exported(&root().join("crates"), &mut exist);
    for file in ["prometheus/mcast.rules.yml", "grafana/mcast.json"] {
        let named = names(&read(&packaged(file)));
        let unknown: Vec<&String> =
            named.iter().filter(|name| !exist.contains(*name) && !is_declared(name)).collect();
        assert!(named.len() > 10 && unknown.is_empty(), "{file}: {unknown:?} of {}", named.len());
    }
}

#[test]
fn the_board_is_what_its_list_describes() {
    let (path, written) =
        (packaged("grafana/mcast.json"), serde_json::to_string_pretty(&board::board()).unwrap() + "\n");
    if std::env::var_os("MCAST_BLESS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    assert!(
        read(&path) == written,
        "MCAST_BLESS=1 cargo test -p mcast-metrics --test monitoring writes the board"
    );
}

#[test]
fn the_board_shows_what_alerts_with_the_same_thresholds() {
    let (rules, board) =
        (read(&packaged("prometheus/mcast.rules.yml")), read(&packaged("grafana/mcast.json")));
    let mut thresholds = 0;
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let metrics = names(expression);
        for metric in &metrics {
            assert!(board.contains(&format!("{metric}{{")), "{metric} alerts and is on no panel");
        }
        let threshold = expression.rsplit_once(" > ").and_then(|(_, value)| value.parse().ok());
        if let Some(value) = threshold.filter(|value| *value > 0.0) {
            assert!(metrics.iter().all(|metric| board::shows_threshold(metric, value)), "{expression}");
            thresholds += 1;
        }
    }
    assert_eq!(thresholds, 3);
}

#[test]
fn every_query_of_the_board_is_about_the_selected_instances() {
    let board = board::board();
    let targets = board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array());
    let expressions: Vec<&str> = targets.flatten().map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(expressions.len() > 30);
    for expression in expressions {
        for series in names(expression).iter().map(String::as_str).chain(["ALERTS", "up"]) {
            let ends = expression
                .match_indices(series)
                .map(|(at, _)| (&expression[..at], &expression[at + series.len()..]));
            let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
            for (_, rest) in
                ends.filter(|(before, rest)| !before.ends_with(is_name) && !rest.starts_with(is_name))
            {
                assert!(rest.starts_with("{instance=~\"$instance\""), "{series} of {expression}");
            }
        }
    }
}

#[test]
fn each_alert_fires_in_a_test_and_none_without_a_cause() {
    let rules = read(&packaged("prometheus/mcast.rules.yml"));
    let tests = read(&packaged("prometheus/mcast.test.yml"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = format!("alertname=\"{alert}\", alertstate=\"firing\"");
        let is_silent = format!("alertname: {alert}, eval_time: 40m, exp_alerts: []");
        assert!(tests.contains(&fires) && tests.contains(&is_silent), "{alert} is not tested");
    }
    let Some(is_right) = promtool(&["test", "rules", "mcast.test.yml"]) else { return absent("promtool") };
    assert!(is_right && promtool(&["check", "rules", "mcast.rules.yml"]) == Some(true));
}

#[test]
fn a_rule_that_never_fires_or_always_does_is_noticed() {
    let rules = read(&packaged("prometheus/mcast.rules.yml"));
    for (right, wrong) in [("connected == 0", "connected == 5"), ("leg_up == 0", "leg_up >= 0")] {
        let folder = tempfile::tempdir().unwrap();
        assert!(rules.contains(right));
        std::fs::write(folder.path().join("mcast.rules.yml"), rules.replace(right, wrong)).unwrap();
        let path = folder.path().join("mcast.test.yml");
        std::fs::copy(packaged("prometheus/mcast.test.yml"), &path).unwrap();
        let Some(is_right) = promtool(&["test", "rules", path.to_str().unwrap()]) else {
            return absent("promtool");
        };
        assert!(!is_right, "{wrong} passes");
    }
}

#[test]
fn manifests_of_kubernetes_fit_its_schemas() {
    let program = root().join("target/engines/bin/kubernetes-validate");
    if !program.exists() {
        return absent("kubernetes-validate");
    }
    let is_valid = |path: &Path| {
        let output = Command::new(&program).arg("--strict").arg(path).output().unwrap();
        output.status.success()
    };
    for name in ["relay.yaml", "bridge.yaml", "sidecar.yaml"] {
        let path = packaged("kubernetes").join(name);
        assert!(is_valid(&path), "{name}");
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join(name);
        std::fs::write(&broken, read(&path).replace("readinessProbe:", "readyProbe:")).unwrap();
        assert!(!is_valid(&broken), "a field that does not exist passes");
    }
}
