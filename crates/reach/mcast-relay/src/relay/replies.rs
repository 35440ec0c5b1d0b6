//! Unicast replies to copies, and the answers to these.

use std::net::SocketAddr;
use std::time::Duration;

use mcast_group::Family;
use mcast_tunnel::RelayPath;

use crate::event::{CopyPayload, RefusalReason, RelayOutput};
use crate::paths::{PairKey, PathKey, PathPort, PathSide, can_reply_to};
use crate::relay::{PathId, Relay};

impl Relay {
    /// Handles a unicast datagram that has arrived at a path: a reply to a copy, or the sender's answer to a reply. All
    /// outputs of earlier calls must have been taken.
    pub fn handle_reply(&mut self, now: Duration, path: PathId, source: SocketAddr) {
        if let Some(rule) = self.rule_without_replies(path) {
            self.refuse(now, rule, RefusalReason::Reply);
            return;
        }
        let sent = match self.paths.touch_id(now, path) {
            Some(PathKey::Forward { pair, sender: Some(sender), .. }) if can_reply_to(source) => {
                self.return_path(now, path, &pair, sender, source).map(|path| (path, sender, pair))
            }
            Some(PathKey::Return { forward, responder }) => match self.paths.touch_id(now, forward) {
                Some(PathKey::Forward { pair, sender: Some(sender), .. }) if sender.ip() == source.ip() => {
                    Some((forward, responder, pair))
                }
                Some(_) | None => None,
            },
            Some(PathKey::Forward { .. }) | None => None,
        };
        let Some((path, destination, pair)) = sent else { return };
        let mut repair = None;
        if let Some(rule) = self.pairs.iter().find(|known| known.key == pair).map(|pair| pair.rule)
            && let Some(state) = self.rules.get_mut(rule)
        {
            state.counts.replies += 1;
            repair = state.rule.repair;
        }
        let payload = CopyPayload::AsReceived;
        let trail = RelayPath::default();
        self.outputs.push_back(RelayOutput::Send {
            path,
            source,
            trail,
            repair,
            destination,
            hop_limit: None,
            payload,
        });
    }

    /// Returns the rule of a path if it returns no replies.
    fn rule_without_replies(&self, path: PathId) -> Option<usize> {
        let Some(PathKey::Forward { pair, .. }) = self.paths.key(path) else { return None };
        let rule = self.pairs.iter().find(|known| known.key == pair)?.rule;
        self.rules.get(rule).filter(|state| state.rule.no_replies).map(|_| rule)
    }

    /// Returns the path on which the sender gets the replies of this host.
    fn return_path(
        &mut self,
        now: Duration,
        forward: PathId,
        pair: &PairKey,
        sender: SocketAddr,
        responder: SocketAddr,
    ) -> Option<PathId> {
        let (key, side) = (PathKey::Return { forward, responder }, PathSide::Leg(pair.from));
        // Some programs check the port that a reply comes from.
        let port = PathPort::Preferred(responder.port());
        self.path(now, key, side, Family::of(sender.ip()), Some(port)).ok()
    }
}
