//! The members on this machine, kept up to date by a thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use mcast::joined::{Holder, Memberships, Watcher};
use mcast::{Group, InterfaceIndex, SourceFilter};

use mcast_group::SafeText;

/// The members on this machine, by group and interface.
#[derive(Clone, Debug, Default)]
pub struct LocalMembers(HashMap<(Group, InterfaceIndex), Vec<LocalMember>>);

/// A holder of a membership on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalMember {
    /// The id and name of the process, if known. The name is escaped.
    pub process: Option<(u32, String)>,
    /// The name to show.
    pub name: String,
    /// The sources that it accepts, if known.
    pub filter: Option<SourceFilter>,
    /// The local port of its socket.
    pub port: Option<u16>,
}

/// Keeps [`LocalMembers`] up to date.
#[derive(Clone, Debug)]
pub struct LocalMembersWatcher(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    members: Arc<LocalMembers>,
    failure: Option<String>,
}

impl LocalMembers {
    /// Returns the members of a group on an interface.
    #[must_use]
    pub fn of(&self, group: Group, interface: InterfaceIndex) -> &[LocalMember] {
        self.0.get(&(group, interface)).map_or(&[], Vec::as_slice)
    }

    fn new(memberships: &Memberships) -> Self {
        let mut members: HashMap<_, Vec<LocalMember>> = HashMap::new();
        for holding in &memberships.holdings {
            members.entry((holding.group, holding.interface)).or_default().extend(locals(&holding.holder));
        }
        Self(members)
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

impl LocalMembersWatcher {
    /// Starts a thread in the network namespace and with the capabilities of this one.
    #[must_use]
    pub fn start() -> Self {
        let started = Self(Arc::default());
        let watcher = started.clone();
        let work = move || watcher.watch().unwrap_or_else(|error| watcher.fail(&error));
        if let Err(error) = thread::Builder::new().name("joined".into()).spawn(work) {
            started.fail(&error);
        }
        started
    }

    /// Returns the members that are known now.
    #[must_use]
    pub fn known(&self) -> Arc<LocalMembers> {
        Arc::clone(&self.lock().members)
    }

    /// Returns why members are no longer updated.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    fn fail(&self, error: &impl ToString) {
        self.lock().failure = Some(error.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> mcast::Result<()> {
        let mut watcher = Watcher::new()?;
        loop {
            self.lock().members = Arc::new(LocalMembers::new(watcher.known()));
            if watcher.wait(None)?.is_none() {
                return Ok(());
            }
        }
    }
}
