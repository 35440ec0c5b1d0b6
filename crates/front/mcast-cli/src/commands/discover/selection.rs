//! Which entries are shown.

use mcast_watch::discovery::{Discovered, DiscoveredKind, DiscoveryProtocol};

/// The entries to show.
#[derive(Debug, Default)]
pub(super) struct Selection {
    kinds: Vec<DiscoveredKind>,
    protocols: Vec<DiscoveryProtocol>,
    /// One of these suffices; none means all.
    words: Vec<Word>,
}

/// What one word on the command line selects.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Kind(DiscoveredKind),
    Protocol(DiscoveryProtocol),
    /// A text, in lowercase.
    Text(String),
}

impl Selection {
    pub(super) fn new(words: &[String], kinds: &[DiscoveredKind], protocols: &[DiscoveryProtocol]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            protocols: protocols.to_vec(),
            words: words.iter().map(|word| Word::new(word)).collect(),
        }
    }

    pub(super) fn kind(name: &str) -> Option<DiscoveredKind> {
        DiscoveredKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) fn protocol(name: &str) -> Option<DiscoveryProtocol> {
        DiscoveryProtocol::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Returns whether everything is shown.
    pub(super) const fn is_everything(&self) -> bool {
        self.kinds.is_empty() && self.protocols.is_empty() && self.words.is_empty()
    }

    /// Returns the type of service that is the only one to ask for, if there is one.
    pub(super) fn service_type(&self) -> Option<String> {
        match &self.words[..] {
            [Word::Text(text)] if text.starts_with('_') => Some(text.clone()),
            _ => None,
        }
    }

    /// Returns the first name that entries may have in a description: a type of service is not one.
    pub(super) fn name(&self) -> Option<&str> {
        self.words.iter().find_map(|word| match word {
            Word::Text(text) if !text.starts_with('_') => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn admits(&self, entry: &Discovered) -> bool {
        self.may_admit(entry)
            && (self.words.is_empty() || self.words.iter().any(|word| word.admits(entry)))
            && !self.hides(entry)
    }

    /// Returns whether an entry is shown if it has a wanted name.
    pub(super) fn may_admit(&self, entry: &Discovered) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
            && (self.protocols.is_empty() || self.protocols.contains(&entry.key.protocol))
    }

    /// Returns whether an entry is shown only if something selects it: every host has joined some groups.
    pub(super) fn hides(&self, entry: &Discovered) -> bool {
        self.is_everything() && entry.kind == DiscoveredKind::Group
    }

    /// Returns whether all that is selected announces itself by these protocols only.
    pub(super) fn is_only_of(&self, protocols: &[DiscoveryProtocol]) -> bool {
        use DiscoveryProtocol::{Cdp, Igmp, Lldp, Mld, Traffic};
        let has = |protocol: &DiscoveryProtocol| protocols.contains(protocol);
        let is_kind_of = |kind: &DiscoveredKind| match kind {
            DiscoveredKind::Neighbor => [Lldp, Cdp].iter().all(has),
            DiscoveredKind::Querier => [Igmp, Mld].iter().all(has),
            DiscoveredKind::Group => has(&Traffic),
            _ => false,
        };
        let is_word_of = |word: &Word| match word {
            Word::Kind(kind) => is_kind_of(kind),
            Word::Protocol(protocol) => has(protocol),
            Word::Text(_) => false,
        };
        // Each of the three restricts the others.
        (!self.protocols.is_empty() && self.protocols.iter().all(has))
            || (!self.kinds.is_empty() && self.kinds.iter().all(is_kind_of))
            || (!self.words.is_empty() && self.words.iter().all(is_word_of))
    }

    /// Returns whether neighbors are asked for.
    pub(super) fn names_neighbors(&self) -> bool {
        use DiscoveryProtocol::{Cdp, Lldp};
        let is_kind = |kind: &DiscoveredKind| *kind == DiscoveredKind::Neighbor;
        let is_protocol = |protocol: &DiscoveryProtocol| matches!(protocol, Lldp | Cdp);
        let is_word = |word: &Word| match word {
            Word::Kind(kind) => is_kind(kind),
            Word::Protocol(protocol) => is_protocol(protocol),
            Word::Text(_) => false,
        };
        self.kinds.iter().any(is_kind)
            || self.protocols.iter().any(is_protocol)
            || self.words.iter().any(is_word)
    }

    /// Returns the protocols of `--protocol`.
    pub(super) fn protocols(&self) -> &[DiscoveryProtocol] {
        &self.protocols
    }
}

impl Word {
    fn new(word: &str) -> Self {
        let word = word.to_lowercase();
        // Several of them are what people type.
        let singular = word.strip_suffix('s').unwrap_or(&word);
        Selection::kind(&word)
            .or_else(|| Selection::kind(singular))
            .map(Self::Kind)
            .or_else(|| Selection::protocol(&word).map(Self::Protocol))
            .unwrap_or(Self::Text(word))
    }

    fn admits(&self, entry: &Discovered) -> bool {
        match self {
            Self::Kind(kind) => entry.kind == *kind,
            Self::Protocol(protocol) => entry.key.protocol == *protocol,
            Self::Text(text) => entry.matches(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kinds_protocols_or_texts() {
        let word = Word::new;
        assert_eq!(word("services"), Word::Kind(DiscoveredKind::Service));
        assert_eq!(word("DDS"), Word::Protocol(DiscoveryProtocol::Rtps));
        assert_eq!(word("Office"), Word::Text("office".into()));
        let selection = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(ToString::to_string).collect();
            Selection::new(&words, &[], &[])
        };
        assert_eq!(selection(&["_ipp._tcp"]).service_type().as_deref(), Some("_ipp._tcp"));
        assert_eq!(selection(&["_ipp._tcp", "_http._tcp"]).service_type(), None);
        assert_eq!(selection(&["office"]).service_type(), None);
        let unseen = [DiscoveryProtocol::Lldp, DiscoveryProtocol::Cdp];
        assert!(selection(&["neighbors", "lldp"]).is_only_of(&unseen));
        for (words, are_named) in [(&["Cellar NAS"][..], false), (&["lldp", "mdns"], true), (&["dds"], false)]
        {
            assert_eq!(selection(words).names_neighbors(), are_named, "{words:?}");
        }
        assert_eq!(selection(&["device", "_ipp._tcp", "Cellar NAS"]).name(), Some("cellar nas"));
        assert_eq!(selection(&["device", "_ipp._tcp"]).name(), None);
        for visible in [&[][..], &["sw1"], &["lldp", "mdns"], &["querier"]] {
            assert!(!selection(visible).is_only_of(&unseen), "{visible:?}");
        }
    }
}
