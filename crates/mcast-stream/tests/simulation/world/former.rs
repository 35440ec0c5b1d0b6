//! A sender that goes on although another has taken its place: a hand-over, or two with one name.

use std::mem::swap;

use mcast_stream::Sender;

use super::{Happening, World};
use crate::plan::MILLISECOND;

pub(super) struct Former {
    pub(super) sender: Sender,
    life: u32,
    published: u64,
    published_at: Vec<u64>,
    /// Messages that it still publishes before it is killed.
    left: u64,
}

impl Former {
    pub(super) const fn new(sender: Sender, (life, published): (u32, u64), left: u64) -> Self {
        Self { sender, life, published, published_at: Vec::new(), left }
    }
}

impl World<'_> {
    /// Does something with the former sender in the present one's place.
    pub(super) fn as_former_sender(
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

    fn exchange(&mut self, former: &mut Former) {
        swap(&mut self.sender, &mut former.sender);
        swap(&mut self.life, &mut former.life);
        swap(&mut self.published, &mut former.published);
        swap(&mut self.published_at, &mut former.published_at);
    }

    /// Publishes one more message, if there is room, and sends what there is to send.
    pub(super) fn go_on_as_former(&mut self, left: &mut u64) -> Result<(), String> {
        let before = self.published;
        self.publish_message()?;
        *left -= self.published - before;
        self.send_from_sender();
        while self.sender.poll_event().is_some() {}
        self.at(self.now + self.plan.pause.max(MILLISECOND), Happening::FormerSenderWakes);
        Ok(())
    }
}
