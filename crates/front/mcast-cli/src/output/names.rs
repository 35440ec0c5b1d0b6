//! The names of interfaces by their indexes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::{Family, InterfaceIndex};

/// How long a known name is used before it is looked up again. A name, and the interface that an index belongs to,
/// may change.
const FRESH: Duration = Duration::from_secs(1);

/// Interface names, listed again when an unknown index appears, and otherwise at most once per second.
#[derive(Debug)]
pub(crate) struct InterfaceNames {
    names: HashMap<InterfaceIndex, Arc<str>>,
    listed: Option<Instant>,
}

impl InterfaceNames {
    pub(crate) fn new() -> Self {
        Self { names: HashMap::new(), listed: None }
    }

    /// Sets the name of a tunnel, which the system does not list as an interface.
    pub(crate) fn insert(&mut self, index: InterfaceIndex, name: &str) {
        self.names.insert(index, name.into());
    }

    /// Returns the name of this interface, or the last name that it had; its index if no name is known.
    pub(crate) fn of(&mut self, index: InterfaceIndex) -> Arc<str> {
        let is_fresh = self.listed.is_some_and(|listed| listed.elapsed() < FRESH);
        if !is_fresh || !self.names.contains_key(&index) {
            self.list();
        }
        // An unknown interface keeps its index until the next listing, so that it is not looked up for
        // every datagram.
        Arc::clone(self.names.entry(index).or_insert_with(|| index.to_string().into()))
    }

    fn list(&mut self) {
        self.listed = Some(Instant::now());
        // The old names stay, for interfaces that have vanished or can no longer be listed.
        let Ok(interfaces) = mcast::interfaces() else { return };
        for interface in interfaces {
            let name: Arc<str> = interface.name.as_str().into();
            for family in [Family::V4, Family::V6] {
                self.names.insert(interface.index_for(family), Arc::clone(&name));
            }
        }
    }
}
