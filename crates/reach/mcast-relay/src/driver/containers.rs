//! The processes of containers. Their engine may take seconds to answer, so a running relay asks it in threads.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// Returns the number of a process in a container.
pub type ContainerLookup = Arc<dyn Fn(&str) -> LookupResult + Send + Sync>;

type LookupResult = Result<u32, Box<dyn Error + Send + Sync>>;

/// Looks for containers.
pub(super) struct Containers {
    lookup: ContainerLookup,
    /// Those that the engine has been asked for.
    asked: BTreeMap<String, Receiver<LookupResult>>,
}

impl Containers {
    pub(super) fn new(lookup: ContainerLookup) -> Self {
        Self { lookup, asked: BTreeMap::new() }
    }

    /// Returns whether the engine has been asked and its answer not been used.
    pub(super) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Returns the process of a container, for which it waits.
    pub(super) fn find_now(&self, name: &str) -> LookupResult {
        (self.lookup)(name)
    }

    /// Returns the process of a container once the engine has answered. Call this again until then.
    pub(super) fn find(&mut self, name: &str) -> Option<LookupResult> {
        let result = match self.asked.get(name).map(Receiver::try_recv) {
            None => return self.ask(name),
            Some(Err(TryRecvError::Empty)) => return None,
            Some(Err(TryRecvError::Disconnected)) => Err("it was not answered".into()),
            Some(Ok(result)) => result,
        };
        self.asked.remove(name);
        Some(result)
    }

    fn ask(&mut self, name: &str) -> Option<LookupResult> {
        let ((sender, receiver), lookup, asked) = (channel(), Arc::clone(&self.lookup), name.to_owned());
        // If the relay has ended, nobody waits for the answer.
        let ask = move || drop(sender.send(lookup(&asked)));
        match std::thread::Builder::new().name("containers".into()).spawn(ask) {
            Ok(_) => {
                self.asked.insert(name.to_owned(), receiver);
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl fmt::Debug for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Containers").field("asked", &self.asked).finish_non_exhaustive()
    }
}
