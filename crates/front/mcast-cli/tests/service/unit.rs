//! The packaged units, parsed as systemd does and checked by it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::manager::open_folder;

/// A unit, for one instance, and what stands in its file of settings.
pub(crate) struct Unit {
    lines: Vec<String>,
    settings: Vec<String>,
    instance: String,
}

/// All of them, each with an instance and settings for it.
pub(crate) const UNITS: [(&str, &str, &str); 9] = [
    ("record", "day", "ARGUMENTS=239.255.1.3:5000 -i eth0 --rotate 1h"),
    ("querier", "eth0", "ARGUMENTS=-4"),
    ("relay", "home", "ARGUMENTS=239.255.1.3:5000 from eth0 to udp://127.0.0.1:9"),
    ("bridge", "prices", "ARGUMENTS=239.255.1.3:5000 to redis://127.0.0.1?key=prices --stay"),
    ("publish", "prices", "ARGUMENTS=239.255.1.2:7000 -i eth0 --announce prices"),
    ("subscribe", "prices", "ARGUMENTS=239.255.1.2:7000 -i eth0 --stay"),
    ("top", "eth0", ""),
    ("doctor", "stream", "ARGUMENTS=239.255.1.3:5000 -i eth0 -W 200ms --watch=200ms"),
    ("repair", "port", "ARGUMENTS=--port 5000 --repair not-joined -W 200ms --watch=200ms"),
];

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../../packaging/systemd/mcast-{name}@.service"))
}

impl Unit {
    pub(crate) fn read(name: &str, instance: &str, settings: &str) -> Self {
        let text = std::fs::read_to_string(path_of(name)).unwrap();
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        Self { lines: lines(&text), settings: lines(settings), instance: instance.into() }
    }

    /// The values of a setting, in order, with the instance in them.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let values = self.lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.map(|value| value.replace("%i", &self.instance)).collect()
    }

    /// The only value of a setting.
    pub(crate) fn value(&self, name: &str) -> String {
        let values = self.values(name);
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].clone()
    }

    /// What `ExecStart=` runs, as systemd takes it apart (systemd.service(5), *Command lines*): `$NAME` is as many
    /// words as it has, `${NAME}` is part of one.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for word in self.value("ExecStart").split_whitespace() {
            match word.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => words.extend(self.variable(name).split_whitespace().map(str::to_owned)),
                None => words.push(self.in_one_word(word)),
            }
        }
        words
    }

    fn in_one_word(&self, word: &str) -> String {
        let Some((before, rest)) = word.split_once("${") else { return word.to_owned() };
        let (name, after) = rest.split_once('}').unwrap();
        format!("{before}{}{after}", self.variable(name))
    }

    /// As the file of settings has it, or else the unit.
    fn variable(&self, name: &str) -> String {
        let of = |line: &String| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        let own = self.values("Environment");
        let found = self.settings.iter().find_map(of).or_else(|| own.iter().find_map(of));
        found.unwrap_or_else(|| panic!("neither the settings nor the unit set ${name}"))
    }

    /// The capabilities that it is given: `net_raw`.
    pub(crate) fn capabilities(&self) -> Vec<String> {
        let given = self.value("AmbientCapabilities");
        assert_eq!(
            given,
            self.value("CapabilityBoundingSet"),
            "the bounding set is larger than the ambient set"
        );
        given.split_whitespace().map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase()).collect()
    }
}

#[test]
fn every_unit_is_tested_here() {
    let folder = path_of("x").parent().unwrap().to_owned();
    let mut packaged: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".service"))
        .collect();
    let mut tested: Vec<String> = UNITS.iter().map(|(name, ..)| format!("mcast-{name}@.service")).collect();
    packaged.sort();
    tested.sort();
    assert_eq!(packaged, tested);
}

/// Unless a unit says otherwise, systemd gives up after it has started a service five times within ten seconds.
#[test]
fn services_that_fail_are_restarted_without_limit() {
    for (name, instance, settings) in UNITS {
        let unit = Unit::read(name, instance, settings);
        let delay: u32 = unit.value("RestartSec").parse().unwrap();
        let has_no_limit = unit.values("StartLimitIntervalSec") == ["0"];
        assert!(has_no_limit || 5 * delay > 10, "systemd gives {name} up within 10 s");
        assert_eq!(unit.value("Restart"), "on-failure", "{name}");
    }
}

#[test]
fn units_are_valid_and_give_few_rights() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        mcast_lab::skip("units as systemd reads them: it is not installed");
        return;
    }
    let folder = open_folder();
    std::fs::copy(path_of("publish").with_extension("socket"), folder.path().join("mcast-publish@.socket"))
        .unwrap();
    for (name, instance, _) in UNITS {
        // Neither the command nor its manual is installed where this is tested.
        let text = std::fs::read_to_string(path_of(name)).unwrap();
        let text = text.replace("/usr/bin/mcast ", "/bin/true ");
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .map(|line| format!("{line}\n"))
            .collect();
        let path = folder.path().join(format!("mcast-{name}@{instance}.service"));
        std::fs::write(&path, text).unwrap();
        let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
        let printed = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && !printed.contains(name), "{printed}");
        // What changes the sockets of other users' programs is root.
        let threshold = if name == "repair" { "--threshold=35" } else { "--threshold=25" };
        let security = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", threshold])
            .arg(&path)
            .output()
            .unwrap();
        assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
    }
}
