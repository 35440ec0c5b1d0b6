//! The part of a page that states the scope and the undo of the commands that the doctor offers. It is made from the
//! remedies themselves, with placeholders for what an observation would fill in.

use std::net::SocketAddr;

use mcast::InterfaceIndex;
use mcast::interface::Interface;

use crate::action::posix_script;
use crate::netfilter::{Hook, Layer};
use crate::snapshot::{DroppingRule, Link};
use crate::{Instructions, Remedy, remedies};

/// Values for the words in capitals on pages.
pub(super) const WORDS: [(&str, &str); 9] = [
    ("239.255.77.77:57777", "GROUP:PORT"),
    ("239.255.77.77", "GROUP"),
    ("57777", "PORT"),
    ("192.0.2.77", "SOURCE"),
    ("02:00:00:00:77:77", "MAC"),
    ("777777", "PID"),
    ("888888", "INODE"),
    ("666666", "INDEX"),
    ("555555", "PRIORITY"),
];

/// Any index: no command contains it.
const FIRST: InterfaceIndex = match InterfaceIndex::new(1) {
    Some(first) => first,
    None => unreachable!(),
};

/// What remedies are about, on pages.
pub(super) struct Placeholders {
    pub(super) link: Link,
    pub(super) bridge: Link,
    pub(super) to: SocketAddr,
    /// A rule in front of which another is inserted.
    pub(super) rule: DroppingRule,
}

impl Placeholders {
    pub(super) const MAC: &str = WORDS[4].0;
    pub(super) const PID: u32 = 777_777;
    pub(super) const PRIORITY: u32 = 555_555;
    const INODE: u64 = 888_888;
    pub(super) const INDEX: InterfaceIndex = match InterfaceIndex::new(666_666) {
        Some(index) => index,
        None => unreachable!(),
    };
    pub(super) const SOURCE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));

    pub(super) fn new() -> Self {
        let rule = DroppingRule {
            family: "inet".into(),
            table: "TABLE".into(),
            chain: "CHAIN".into(),
            part: String::new(),
            layer: Layer::Ip,
            hook: Hook::Input,
            is_base: true,
            packets: None,
            is_of_xtables: false,
        };
        let link = |name: &str| Interface::new(FIRST, name.into()).into();
        Self {
            link: link("INTERFACE"),
            bridge: link("BRIDGE"),
            to: SocketAddr::from(([239, 255, 77, 77], 57_777)),
            rule,
        }
    }

    /// Returns the remedy that makes these changes to the socket of a program.
    pub(super) fn on_socket(&self, changes: &[remedies::socket::Reversible]) -> Vec<Remedy> {
        vec![remedies::socket::changes_of(Self::PID, "PROGRAM", Self::INODE, changes)]
    }

    /// Returns the remedy that joins the group on a socket.
    pub(super) fn join(&self) -> Vec<Remedy> {
        self.on_socket(&remedies::socket::join(self.to.ip(), Self::INDEX, &mcast::SourceFilter::ANY))
    }

    pub(super) fn name(&self) -> &str {
        self.link.name()
    }
}

/// Returns a page with the scopes of these remedies, each once, at the end of the section about remedies.
pub(super) fn insert(page: &str, offered: &[Remedy]) -> String {
    let mut known = Vec::new();
    let scoped = offered.iter().filter_map(|remedy| Some((remedy, remedy.scope.as_ref()?)));
    let lines: String = scoped
        .filter(|(_, scope)| {
            let is_new = !known.contains(scope);
            known.push(*scope);
            is_new
        })
        .map(|(remedy, scope)| {
            let warning = scope.warning.as_ref().map(|warning| format!(" Warning: {warning}."));
            let command = posix_script(remedy.actions());
            let undo = match remedy.undo_with_placeholders() {
                Some(Instructions::Actions { actions, .. }) => {
                    format!("`{}`", posix_script(&actions))
                }
                Some(Instructions::Advice(advice)) => advice,
                None => "not possible".to_owned(),
            };
            let undo = undo.trim_end_matches('.');
            format!("\n- `{command}`: {scope}.{} Undo: {undo}.", warning.unwrap_or_default())
        })
        .collect();
    if lines.is_empty() {
        return page.to_owned();
    }
    let text = format!(
        "What the doctor's commands affect, and how to undo them (VALUE: the value before):\n{lines}\n"
    );
    let text = WORDS.iter().fold(text, |text, (value, word)| text.replace(value, word));
    let (before, after) = page.split_once("\n## Check").unwrap_or((page, ""));
    format!("{before}\n{text}\n## Check{after}")
}
