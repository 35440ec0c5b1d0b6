//! A log of when queriers are heard.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_packet::gmp::GmpMessage;
use mcast_packet::{Network, Transport};

use crate::{Error, Result};

/// The longest wait before a check whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The maximum number of queriers. Anyone can send queries with any source.
const MAX_QUERIERS: usize = 64;

/// When each querier was last heard, by interface and address.
type Sightings = BTreeMap<(String, IpAddr), SystemTime>;

/// A querier of IGMP or MLD, and when it was last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerierSighting {
    /// The interface on which its queries arrive.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// When its last query arrived.
    pub last: SystemTime,
}

/// Records when queriers are heard, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct QuerierLog {
    heard: Arc<Mutex<Sightings>>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl QuerierLog {
    /// Starts to capture on all interfaces that are joined by default.
    ///
    /// # Errors
    /// If the right to capture is missing, or the interfaces cannot be listed.
    pub fn start() -> Result<Self> {
        let interfaces =
            mcast::interface::list()?.into_iter().filter(mcast::interface::Interface::is_joined_by_default);
        let options = CaptureOptions::on_names(interfaces.map(|interface| interface.name));
        let capture = Capture::open(options.filter(Filter::Control).all_multicast(true).outgoing(false))?;
        let (heard, is_stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (record, stopped) = (Arc::clone(&heard), Arc::clone(&is_stopped));
        let thread = Builder::new().name("queriers".into()).spawn(move || follow(capture, &record, &stopped));
        let thread =
            thread.map_err(|source| Error::Start { program: "the thread \"queriers\"".into(), source })?;
        Ok(Self { heard, is_stopped, thread: Some(thread) })
    }

    /// Returns the queriers heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<QuerierSighting> {
        let sighting = |((interface, address), last): (&(String, IpAddr), &SystemTime)| QuerierSighting {
            interface: interface.clone(),
            address: *address,
            last: *last,
        };
        lock(&self.heard).iter().map(sighting).collect()
    }
}

impl Drop for QuerierLog {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}

fn lock(heard: &Mutex<Sightings>) -> MutexGuard<'_, Sightings> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn follow(mut capture: Capture, heard: &Mutex<Sightings>, is_stopped: &AtomicBool) {
    while !is_stopped.load(Ordering::Relaxed) {
        match capture.next(Some(POLL_INTERVAL)) {
            Ok(Some(frame)) => {
                let packet = frame.packet();
                let is_query = match packet.transport {
                    Some(Transport::Igmp(igmp)) => matches!(igmp.message, GmpMessage::Query(_)),
                    Some(Transport::Mld(mld)) => matches!(mld.message, GmpMessage::Query(_)),
                    _ => false,
                };
                if let (true, Some(Network::Ip(ip)), Some(name)) =
                    (is_query, packet.network, frame.interface_name)
                {
                    let mut heard = lock(heard);
                    let key = (name.to_owned(), ip.source);
                    if heard.len() < MAX_QUERIERS || heard.contains_key(&key) {
                        heard.insert(key, frame.time);
                    }
                }
            }
            Ok(None) => {}
            // An interface that went down may come back.
            Err(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}
