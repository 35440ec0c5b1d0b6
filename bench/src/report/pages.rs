//! The pages behind the first one, and which tables are on which.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Text by path.
pub(super) type Files = BTreeMap<PathBuf, String>;

/// The note at the head of each page.
pub(super) const WRITTEN: &str =
    "Written by `cargo bench-peers` from the figures in `bench/results/`. Do not edit either.\n\n";

/// The first page, and the folder of the pages behind it and of all pictures, beside it.
pub(super) const FIRST: &str = "benchmarks.md";
pub(super) const FOLDER: &str = "benchmarks";

/// A page of tables.
#[derive(Debug)]
pub(super) struct Page {
    /// Its file, in the folder of the pages.
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    /// What it compares, for the list of pages.
    pub(super) about: &'static str,
    /// The beginnings of the names of its tables.
    tables: &'static [&'static str],
}

/// The goals, with what was measured and the reasons for those that were missed.
pub(super) const GOALS: &str = "goals.md";
/// How it is measured, the machine, the contestants.
pub(super) const METHOD: &str = "method.md";

pub(super) const PAGES: [Page; 4] = [
    Page {
        file: "datagrams.md",
        title: "Benchmarks: datagrams",
        about: "receiving and sending, latency, loss, and many groups, beside C, Rust's sockets, iperf and socat",
        tables: &["receive-", "send-", "pairs-", "latency", "loss-", "groups-"],
    },
    Page {
        file: "messages.md",
        title: "Benchmarks: messages",
        about: "reliable messages beside Aeron, NORM and TCP; logs; the automatic rate beside TCP flows",
        tables: &["messages-", "log", "fairness-"],
    },
    Page {
        file: "forwarding.md",
        title: "Benchmarks: forwarding",
        about: "the relay beside the kernel and socat, groups by HTTP, bridges beside the clients of the engines",
        tables: &["relay-", "http-", "bridge-"],
    },
    Page {
        file: "python.md",
        title: "Benchmarks: Python",
        about: "pymcast beside multicast_expert and Python's own sockets",
        tables: &["python-"],
    },
];

impl Page {
    pub(super) fn has(&self, table: &str) -> bool {
        self.tables.iter().any(|start| table.starts_with(start))
    }
}

/// Where the links of the first page lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// To the pages behind it.
    Pages,
    /// To the figures. The pages are not committed.
    Figures,
}

impl Links {
    pub(super) fn table(self, table: &str) -> String {
        match self {
            Self::Pages => format!("{FOLDER}/{}", link(table)),
            Self::Figures => format!("../bench/results/{table}.json"),
        }
    }

    pub(super) fn method(self) -> String {
        match self {
            Self::Pages => format!("{FOLDER}/{METHOD}"),
            Self::Figures => "../bench/README.md#how-it-measures".to_owned(),
        }
    }

    pub(super) fn goals(self) -> String {
        match self {
            Self::Pages => format!("{FOLDER}/{GOALS}"),
            Self::Figures => "../bench/results/goals.toml".to_owned(),
        }
    }

    pub(super) fn reasons(self) -> String {
        match self {
            Self::Pages => format!("{FOLDER}/{GOALS}#reasons-for-missed-goals"),
            Self::Figures => "../bench/results/reasons.toml".to_owned(),
        }
    }
}

/// Returns the link to a table from a page in their folder.
pub(super) fn link(table: &str) -> String {
    let page = PAGES.iter().find(|page| page.has(table)).map_or("", |page| page.file);
    format!("{page}#{table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_on_one_page() {
        for table in crate::tables::names() {
            let pages = PAGES.iter().filter(|page| page.has(&table));
            assert_eq!(pages.count(), 1, "{table}");
        }
        assert_eq!(link("log"), "messages.md#log");
    }
}
