//! What arrives of the live stream while messages before it come from the history.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;

use super::reading::RunTime;
use super::record::Position;
use crate::subscriber::SubscriberEvent;
use crate::wire::{Incarnation, MessageKey, MessageNumber};

/// The memory of an item besides its bytes.
const ITEM: usize = 104;

/// A message or event of the live stream, and its position in the stream's content.
#[derive(Debug)]
pub(super) struct LiveItem {
    pub(super) at: Position,
    pub(super) content: LiveContent,
    /// When it arrived.
    pub(super) arrived: RunTime,
}

#[derive(Debug)]
pub(super) enum LiveContent {
    Message {
        key: Option<MessageKey>,
        bytes: Box<[u8]>,
    },
    /// The live stream begins with an incarnation, under its publisher's own number.
    Begun {
        own: Incarnation,
        publisher: SocketAddr,
        message: MessageNumber,
    },
    Event(SubscriberEvent),
}

impl LiveItem {
    fn size(&self) -> usize {
        match &self.content {
            LiveContent::Message { bytes, .. } => ITEM + bytes.len(),
            _ => ITEM,
        }
    }

    /// Whether it has to be delivered by the live stream: a message, or the end.
    const fn is_front(&self) -> bool {
        matches!(
            self.content,
            LiveContent::Message { .. } | LiveContent::Event(SubscriberEvent::Ended { .. })
        )
    }
}

/// The items, oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    items: VecDeque<LiveItem>,
    bytes: usize,
    /// The position of the first item that is a message or the end.
    front: Option<Position>,
    /// The position after the last item.
    pub(super) next: Option<Position>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether it has anything that the live stream has to deliver.
    pub(super) const fn has_messages(&self) -> bool {
        self.front.is_some()
    }

    /// The memory that it takes, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns where the live stream begins: what is before that position must come from the history.
    pub(super) fn front(&self) -> Option<Position> {
        self.front.or(self.next)
    }

    pub(super) fn push(&mut self, item: LiveItem) {
        if self.front.is_none() && item.is_front() {
            self.front = Some(item.at);
        }
        self.bytes += item.size();
        self.items.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<LiveItem> {
        let item = self.items.pop_front()?;
        self.bytes -= item.size();
        if item.is_front() {
            self.front = self.items.iter().find(|item| item.is_front()).map(|item| item.at);
        }
        Some(item)
    }
}
