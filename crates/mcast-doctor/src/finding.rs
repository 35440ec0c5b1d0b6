//! What was found, why one believes it, and what helps.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::Id;

/// A cause that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which cause.
    pub id: Id,
    /// How bad it is.
    pub severity: Severity,
    /// The cause, in one sentence.
    pub cause: String,
    /// Why one believes it.
    pub evidence: Vec<Evidence>,
    /// What helps, the best first.
    pub remedies: Vec<Remedy>,
    /// What it is about.
    pub subject: Subject,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It can do harm, or does under conditions.
    Warning,
    /// It is why something does not work.
    Fault,
}

/// What a finding is about, as far as it is about something.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Subject {
    /// The interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The group, with its port where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The program, as `name (pid)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// One thing that was seen, and what it was before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// What sort of thing.
    pub what: Sort,
    /// Where it can be looked up: `/proc/net/netstat IPReversePathFilter`.
    #[serde(rename = "where")]
    pub place: String,
    /// What it was, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is.
    pub now: String,
}

/// The sort of a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Sort {
    /// A counter that rose.
    Counter,
    /// A setting of the system.
    Setting,
    /// Packets that were seen.
    Packet,
    /// A socket and its options.
    Socket,
    /// A table of the kernel.
    Table,
    /// An interface.
    Interface,
    /// A route.
    Route,
    /// A rule of a firewall.
    Rule,
    /// What the system answered to an attempt.
    Answer,
    /// The machine itself.
    Machine,
}

/// Something that helps.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Remedy {
    /// With what: a program of the system, or the program at fault itself.
    pub tool: Tool,
    /// How long it helps.
    pub lasts: Lasts,
    /// What to do.
    #[serde(flatten)]
    pub step: Step,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A command for a shell, ready to be pasted.
    Command(String),
    /// Something that no command does, in a sentence.
    Advice(String),
}

/// How long a remedy helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lasts {
    /// From now on, until the next boot.
    Now,
    /// From the next boot or reload on.
    ForGood,
}

/// With what a remedy is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tool {
    /// `sysctl`, and files in `/etc/sysctl.d`.
    Sysctl,
    /// `ip` of iproute2.
    Ip,
    /// `tc` of iproute2.
    Tc,
    /// `bridge` of iproute2.
    Bridge,
    /// `ethtool`.
    Ethtool,
    /// `nft`.
    Nft,
    /// `firewall-cmd` of firewalld.
    Firewalld,
    /// `ufw`.
    Ufw,
    /// systemd-networkd.
    Networkd,
    /// NetworkManager's `nmcli`.
    NetworkManager,
    /// `route` of macOS and FreeBSD.
    Route,
    /// `ifconfig` of macOS and FreeBSD.
    Ifconfig,
    /// Windows' `netsh`.
    Netsh,
    /// This program.
    Mcast,
    /// The program at fault: its options or its code.
    Program,
    /// The network: a switch, a router, an access point.
    Network,
    /// The container's runtime.
    Container,
}

impl Finding {
    /// A finding without evidence and remedies so far.
    #[must_use]
    pub fn new(id: Id, severity: Severity, cause: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            cause: cause.into(),
            evidence: Vec::new(),
            remedies: Vec::new(),
            subject: Subject::default(),
        }
    }

    /// With one more piece of evidence.
    #[must_use]
    pub fn because(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    /// With more evidence.
    #[must_use]
    pub fn because_all(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// With more remedies.
    #[must_use]
    pub fn remedied(mut self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        self.remedies.extend(remedies);
        self
    }

    /// About this interface.
    #[must_use]
    pub fn on(mut self, interface: impl fmt::Display) -> Self {
        self.subject.interface = Some(interface.to_string());
        self
    }

    /// About this group.
    #[must_use]
    pub fn of(mut self, group: impl fmt::Display) -> Self {
        self.subject.group = Some(group.to_string());
        self
    }

    /// About this sender.
    #[must_use]
    pub fn from(mut self, source: impl fmt::Display) -> Self {
        self.subject.source = Some(source.to_string());
        self
    }

    /// About this program.
    #[must_use]
    pub fn by(mut self, program: impl fmt::Display) -> Self {
        self.subject.program = Some(program.to_string());
        self
    }
}

impl Evidence {
    /// What is there.
    #[must_use]
    pub fn new(what: Sort, place: impl Into<String>, now: impl fmt::Display) -> Self {
        Self { what, place: place.into(), before: None, now: now.to_string() }
    }

    /// What was there, and what is there now.
    #[must_use]
    pub fn change(
        what: Sort,
        place: impl Into<String>,
        before: impl fmt::Display,
        now: impl fmt::Display,
    ) -> Self {
        Self { before: Some(before.to_string()), ..Self::new(what, place, now) }
    }
}

impl Remedy {
    /// A command that helps at once.
    #[must_use]
    pub fn now(tool: Tool, command: impl Into<String>) -> Self {
        Self { tool, lasts: Lasts::Now, step: Step::Command(command.into()) }
    }

    /// A command that helps for good.
    #[must_use]
    pub fn for_good(tool: Tool, command: impl Into<String>) -> Self {
        Self { tool, lasts: Lasts::ForGood, step: Step::Command(command.into()) }
    }

    /// What no command does.
    #[must_use]
    pub fn advice(tool: Tool, advice: impl Into<String>) -> Self {
        Self { tool, lasts: Lasts::ForGood, step: Step::Advice(advice.into()) }
    }

    /// The command, if it is one.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        match &self.step {
            Step::Command(command) => Some(command),
            Step::Advice(_) => None,
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut finding = serializer.serialize_struct("Finding", 7)?;
        finding.serialize_field("id", &self.id)?;
        finding.serialize_field("severity", &self.severity)?;
        finding.serialize_field("cause", &self.cause)?;
        finding.serialize_field("subject", &self.subject)?;
        finding.serialize_field("evidence", &self.evidence)?;
        finding.serialize_field("remedies", &self.remedies)?;
        finding.serialize_field("references", self.id.references())?;
        finding.end()
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.before {
            Some(before) => write!(f, "{}: {before} -> {}", self.place, self.now),
            None => write!(f, "{}: {}", self.place, self.now),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sysctl => "sysctl",
            Self::Ip => "ip",
            Self::Tc => "tc",
            Self::Bridge => "bridge",
            Self::Ethtool => "ethtool",
            Self::Nft => "nft",
            Self::Firewalld => "firewalld",
            Self::Ufw => "ufw",
            Self::Networkd => "networkd",
            Self::NetworkManager => "NetworkManager",
            Self::Route => "route",
            Self::Ifconfig => "ifconfig",
            Self::Netsh => "netsh",
            Self::Mcast => "mcast",
            Self::Program => "in the program",
            Self::Network => "in the network",
            Self::Container => "container",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_object_with_its_references() {
        let finding = Finding::new(Id::ReversePathFilter, Severity::Fault, "It is dropped.")
            .on("eth0")
            .because(Evidence::change(Sort::Counter, "IPReversePathFilter", 3, 13))
            .remedied([Remedy::now(Tool::Sysctl, "sysctl -w x=0")]);
        let expected = serde_json::json!({
            "id": "reverse-path-filter",
            "severity": "fault",
            "cause": "It is dropped.",
            "subject": { "interface": "eth0" },
            "evidence": [{ "what": "counter", "where": "IPReversePathFilter", "before": "3", "now": "13" }],
            "remedies": [{ "tool": "sysctl", "lasts": "now", "command": "sysctl -w x=0" }],
            "references": ["RFC 3704 section 2", "ip-sysctl: rp_filter"],
        });
        assert_eq!(serde_json::to_value(finding).unwrap(), expected);
    }
}
