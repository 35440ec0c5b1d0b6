//! A publisher that continues after another has replaced it, as in a handover or with two publishers of one stream.

use std::mem::swap;

use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::wire::Sequence;

use super::{Happening, World};
use crate::plan::MILLISECOND;

pub(super) struct FormerPublisher {
    pub(super) publisher: PublisherMachine,
    incarnation: u32,
    published: u64,
    published_at: Vec<u64>,
    verified_through: Option<Sequence>,
    /// Messages that it still publishes before it is killed.
    left: u64,
}

impl FormerPublisher {
    pub(super) const fn new(
        publisher: PublisherMachine,
        (incarnation, published): (u32, u64),
        verified_through: Option<Sequence>,
        left: u64,
    ) -> Self {
        Self { publisher, incarnation, published, published_at: Vec::new(), verified_through, left }
    }
}

impl World<'_> {
    /// Runs `work` with the former publisher in the present one's place.
    pub(super) fn as_former_publisher(
        &mut self,
        work: impl FnOnce(&mut Self, &mut u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(mut former) = self.former.take() else { return Ok(()) };
        self.exchange(&mut former);
        let result = work(self, &mut former.left);
        self.exchange(&mut former);
        if former.left > 0 {
            self.former = Some(former);
        }
        result
    }

    fn exchange(&mut self, former: &mut FormerPublisher) {
        swap(&mut self.publisher, &mut former.publisher);
        swap(&mut self.incarnation, &mut former.incarnation);
        swap(&mut self.published, &mut former.published);
        swap(&mut self.published_at, &mut former.published_at);
        swap(&mut self.verified_through, &mut former.verified_through);
    }

    /// Publishes one more message, if there is room, and sends what is due.
    pub(super) fn publish_as_former(&mut self, left: &mut u64) -> Result<(), String> {
        let before = self.published;
        self.publish_message()?;
        *left -= self.published - before;
        self.send_from_publisher();
        while self.publisher.poll_event().is_some() {}
        self.at(self.now + self.plan.pause.max(MILLISECOND), Happening::FormerPublisherWakes);
        Ok(())
    }
}
