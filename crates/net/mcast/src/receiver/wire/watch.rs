//! The thread that notices others who would miss frames.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::{Shared, lock};

/// How often the sockets of the machine are listed: how long another program that begins to receive may miss datagrams.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Nothing is ever sent; dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching in the calling thread's network namespace.
    pub(crate) fn start(shared: Arc<Mutex<Shared>>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                lock(&shared).yield_to_others();
            }
        };
        let thread = Builder::new().name("mcast wire".into()).spawn(watch)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there is already reported.
            let _ = thread.join();
        }
    }
}
