//! Selects the stream to follow by the first datagrams that arrive.

use crate::driver::clock;
use crate::subscriber::{SubscriberConfig, SubscriberEvent, VerificationFailure};
use crate::wire::{Header, Heartbeat, KeyEpoch, Kind, StreamId};
use crate::{ClockTime, Nanos};

/// The state before a stream is followed: datagrams that were refused, and reports about missing and wrong keys.
#[derive(Debug, Default)]
pub(super) struct StreamSelector {
    /// Datagrams that the keys do not open.
    pub(super) refused: u64,
    /// The last epoch whose key is missing, and whether that is still to be reported.
    missing: Option<(KeyEpoch, bool)>,
    /// The last epoch whose key did not open a datagram, and whether that is still to be reported.
    wrong: Option<(KeyEpoch, bool)>,
    verifications: Verifications,
    /// Heartbeats that no trusted key has signed.
    pub(super) not_verified: u64,
    /// Why the first of them was not followed, and whether that is still to be reported.
    distrust: Option<(VerificationFailure, bool)>,
}

impl StreamSelector {
    /// Returns a state machine for the stream of a datagram, if that stream is to be followed.
    ///
    /// With keys, datagrams that they do not open have no effect, because any host can forge a header.
    pub(super) fn select(
        &mut self,
        chosen: Option<StreamId>,
        config: &SubscriberConfig,
        datagram: &[u8],
        now: ClockTime,
    ) -> Option<crate::SubscriberMachine> {
        let (header, _) = Header::read(datagram).ok()?;
        if header.kind.is_from_subscribers() || chosen.is_some_and(|chosen| chosen != header.stream) {
            return None;
        }
        if !config.keys.is_empty() && config.keys.open(&mut datagram.to_vec()).is_none() {
            self.refuse(config, header.epoch);
            return None;
        }
        // Only a heartbeat selects a stream, so that a stray datagram does not.
        if chosen.is_none() {
            if !config.signed_by.is_empty() && !self.verifications.may_verify(now) {
                return None;
            }
            if let Err(distrust) = check_heartbeat(config, datagram) {
                self.not_verified += u64::from(distrust.is_some());
                let distrust = distrust.map(|distrust| (distrust, true));
                self.distrust = self.distrust.or(distrust);
                // Without its key, a sealed stream that must be verified cannot be followed.
                if config.keys.is_empty() && !config.signed_by.is_empty() && header.epoch != KeyEpoch::CLEAR {
                    self.refuse(config, header.epoch);
                }
                return None;
            }
        }
        let config = config.clone().with(|config| {
            config.stream = header.stream;
            config.seed = clock::seed();
        });
        Some(crate::SubscriberMachine::new(config, now))
    }

    /// Returns the next event to report.
    pub(super) fn event(&mut self) -> Option<SubscriberEvent> {
        report(&mut self.distrust)
            .map(SubscriberEvent::NotVerified)
            .or_else(|| report(&mut self.missing).map(SubscriberEvent::KeyMissing))
            .or_else(|| report(&mut self.wrong).map(SubscriberEvent::KeyWrong))
    }

    fn refuse(&mut self, config: &SubscriberConfig, epoch: KeyEpoch) {
        self.refused += 1;
        let reported = if config.keys.has(epoch) { &mut self.wrong } else { &mut self.missing };
        if epoch != KeyEpoch::CLEAR && reported.is_none_or(|(reported, _)| reported != epoch) {
            *reported = Some((epoch, true));
        }
    }
}

/// Returns what is still to be reported.
fn report<T: Copy>(of: &mut Option<(T, bool)>) -> Option<T> {
    let (what, is_new) = of.as_mut()?;
    core::mem::take(is_new).then_some(*what)
}

/// When the next signature may be checked of a stream that is not followed yet, so that a forger cannot use up the
/// processor.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    next: ClockTime,
}

impl Verifications {
    /// The shortest time between two.
    const INTERVAL: Nanos = Nanos::from_millis(1);

    pub(super) fn may_verify(&mut self, now: ClockTime) -> bool {
        let may = now >= self.next;
        if may {
            self.next = now + Self::INTERVAL;
        }
        may
    }
}

/// Checks that this is a complete heartbeat, sealed with one of the keys and signed with one of the public keys, if there
/// are any.
///
/// # Errors
/// Why a heartbeat is not trusted; `None` if it is not a complete heartbeat, or cannot be opened.
pub(super) fn check_heartbeat(
    config: &SubscriberConfig,
    datagram: &[u8],
) -> Result<(), Option<VerificationFailure>> {
    let keys = &config.keys;
    let (header, head) = Header::read(datagram).map_err(|_| None)?;
    if header.kind != Kind::Heartbeat {
        return Err(None);
    }
    let mut bytes = datagram.to_vec();
    let end = match (keys.is_empty(), header.epoch) {
        (true, KeyEpoch::CLEAR) => Some(bytes.len()),
        // It cannot be decrypted. Its stream is followed nevertheless, so that the missing key is reported.
        (true, _) => return config.signed_by.is_empty().then_some(()).ok_or(None),
        (false, _) => keys.open(&mut bytes),
    };
    let body = end.and_then(|end| bytes.get(head..end)).ok_or(None)?;
    Heartbeat::read(body).map_err(|_| None)?;
    match config.signed_by.is_empty() {
        true => Ok(()),
        false => config.signed_by.verify(&datagram[..head], body).map_err(Some),
    }
}
