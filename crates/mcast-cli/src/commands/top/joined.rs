//! Who on this machine has joined what, kept up to date by a thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mcast::joined::{Holder, Snapshot, Watcher};
use mcast::{Group, InterfaceIndex, SourceFilter};

use crate::output::SafeText;

/// Who on this machine has joined what.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined(HashMap<(Group, InterfaceIndex), Vec<Local>>);

/// A holder of a membership on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// The process, as far as it was seen; the name is made safe for terminals.
    pub(super) process: Option<(u32, String)>,
    /// What to call it.
    pub(super) name: String,
    pub(super) filter: Option<SourceFilter>,
    /// The port that its socket is bound to.
    pub(super) port: Option<u16>,
}

/// Keeps [`Joined`] up to date.
#[derive(Clone)]
pub(super) struct Joiners(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    joined: Arc<Joined>,
    failure: Option<String>,
}

impl Joined {
    pub(super) fn of(&self, group: Group, interface: InterfaceIndex) -> &[Local] {
        self.0.get(&(group, interface)).map_or(&[], Vec::as_slice)
    }

    fn new(snapshot: &Snapshot) -> Self {
        let mut joined: HashMap<_, Vec<Local>> = HashMap::new();
        for holding in &snapshot.holdings {
            joined.entry((holding.group, holding.interface)).or_default().extend(locals(&holding.holder));
        }
        Self(joined)
    }
}

fn locals(holder: &Holder) -> Vec<Local> {
    let without_process =
        |name: &str| vec![Local { process: None, name: name.into(), filter: None, port: None }];
    match holder {
        Holder::Socket(held) => {
            let processes = held.socket.processes.iter().map(|process| {
                let name = SafeText::new(process.name.as_bytes()).to_string();
                Local {
                    name: format!("{name} ({})", process.pid),
                    process: Some((process.pid, name)),
                    filter: Some(held.filter.clone()),
                    port: held.socket.port(),
                }
            });
            processes.collect()
        }
        Holder::Kernel => without_process("kernel"),
        Holder::Unseen { .. } => without_process("unknown process"),
        _ => without_process("unknown"),
    }
}

impl Joiners {
    /// Starts a thread, which lives in this one's network namespace and has this one's rights.
    pub(super) fn start() -> Self {
        let joiners = Self(Arc::default());
        let told = joiners.clone();
        let started = thread::Builder::new().name("joined".into()).spawn(move || {
            if let Err(error) = told.watch() {
                told.0.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(error.to_string());
            }
        });
        if let Err(error) = started {
            joiners.0.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(error.to_string());
        }
        joiners
    }

    pub(super) fn known(&self) -> Arc<Joined> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner).joined)
    }

    /// Why nothing more is known.
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
