//! The memberships of this machine, kept up to date by a thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mcast::joined::{Holder, Memberships, Watcher};
use mcast::{Group, InterfaceIndex, SourceFilter};

use crate::output::SafeText;

/// The memberships of this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined(HashMap<(Group, InterfaceIndex), Vec<LocalMember>>);

/// A holder of a membership on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalMember {
    /// The id and name of the process, if known. The name is escaped.
    pub(super) process: Option<(u32, String)>,
    /// The name to show.
    pub(super) name: String,
    pub(super) filter: Option<SourceFilter>,
    /// The local port of its socket.
    pub(super) port: Option<u16>,
}

/// Watches for changes of [`Joined`].
#[derive(Clone)]
pub(super) struct JoinedWatcher(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    joined: Arc<Joined>,
    failure: Option<String>,
}

impl Joined {
    pub(super) fn of(&self, group: Group, interface: InterfaceIndex) -> &[LocalMember] {
        self.0.get(&(group, interface)).map_or(&[], Vec::as_slice)
    }

    fn new(memberships: &Memberships) -> Self {
        let mut joined: HashMap<_, Vec<LocalMember>> = HashMap::new();
        for holding in &memberships.holdings {
            joined.entry((holding.group, holding.interface)).or_default().extend(locals(&holding.holder));
        }
        Self(joined)
    }
}

fn locals(holder: &Holder) -> Vec<LocalMember> {
    let without_process =
        |name: &str| vec![LocalMember { process: None, name: name.into(), filter: None, port: None }];
    match holder {
        Holder::Socket(holder) => {
            let processes = holder.socket.processes.iter().map(|process| {
                let name = SafeText::new(process.name.as_bytes()).to_string();
                LocalMember {
                    name: format!("{name} ({})", process.pid),
                    process: Some((process.pid, name)),
                    filter: Some(holder.filter.clone()),
                    port: holder.socket.port(),
                }
            });
            processes.collect()
        }
        Holder::Kernel => without_process("kernel"),
        Holder::Unseen { .. } => without_process("unknown process"),
        _ => without_process("unknown"),
    }
}

impl JoinedWatcher {
    /// Starts a thread in the network namespace and with the capabilities of this one.
    pub(super) fn start() -> Self {
        let joined_watcher = Self(Arc::default());
        let watcher_thread = joined_watcher.clone();
        let started = thread::Builder::new().name("joined".into()).spawn(move || {
            if let Err(error) = watcher_thread.watch() {
                watcher_thread.0.lock().unwrap_or_else(PoisonError::into_inner).failure =
                    Some(error.to_string());
            }
        });
        if let Err(error) = started {
            joined_watcher.0.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(error.to_string());
        }
        joined_watcher
    }

    pub(super) fn known(&self) -> Arc<Joined> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner).joined)
    }

    /// Returns why memberships are no longer updated.
    pub(super) fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    fn watch(&self) -> mcast::Result<()> {
        let mut watcher = Watcher::new()?;
        loop {
            let joined = Arc::new(Joined::new(watcher.known()));
            self.0.lock().unwrap_or_else(PoisonError::into_inner).joined = joined;
            if watcher.wait(None)?.is_none() {
                return Ok(());
            }
        }
    }
}
