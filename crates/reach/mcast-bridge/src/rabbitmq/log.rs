//! A stream on a connection, and what is effective in it.

use super::chain::{Chain, ChainError, Start, entries};
use super::client::{Client, Failure, Offset};
use super::entry::Entry;
use super::error;
use super::protocol::{Chunk, Frame, key};
use crate::engine::EngineError;

/// The subscription that follows the stream, and how many chunks are on their way to it.
pub(super) const FOLLOW: u8 = 1;
const CHUNKS: u16 = 4;

/// A stream on a connection.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) chain: Chain,
    is_following: bool,
}

impl Log {
    pub(super) const fn new(client: Client, name: String) -> Self {
        Self { client, name, chain: Chain::new(Start::Beginning), is_following: false }
    }

    /// Returns the chunk there with its entries; `None` if there is none.
    pub(super) fn probe(&mut self, offset: Offset) -> Result<Option<ProbedChunk>, Failure> {
        let Some(bytes) = self.client.probe(&self.name, offset)? else { return Ok(None) };
        let chunk = self.parse(&bytes)?;
        let all = entries(&chunk).map(|(_, entry)| entry).collect::<Result<_, _>>();
        let all = all.map_err(|error| self.failed(error))?;
        Ok(Some(ProbedChunk { first: chunk.first, entries: all }))
    }

    /// Returns the offset after the last message.
    pub(super) fn end(&mut self) -> Result<u64, Failure> {
        match self.client.probe(&self.name, Offset::Last)? {
            Some(bytes) => Ok(self.parse(&bytes)?.end()),
            None => Ok(0),
        }
    }

    /// Returns the offset and the entry of an effective record that is known at this chunk, and still stored.
    pub(super) fn effective_before(&mut self, chunk: &ProbedChunk) -> Result<Option<(u64, Entry)>, Failure> {
        let Some(offset) = chunk.entries.iter().find_map(|entry| entry.known) else { return Ok(None) };
        let Some(mut found) = self.probe(Offset::At(offset))? else { return Ok(None) };
        let index = offset.checked_sub(found.first).and_then(|index| usize::try_from(index).ok());
        let entry =
            index.filter(|index| *index < found.entries.len()).map(|index| found.entries.swap_remove(index));
        Ok(entry.map(|entry| (offset, entry)))
    }

    /// Returns where to start in order to know the last effective record.
    pub(super) fn before_end(&mut self) -> Result<Start, Failure> {
        let Some(last) = self.probe(Offset::Last)? else { return Ok(Start::Beginning) };
        match self.effective_before(&last)? {
            Some((offset, _)) => Ok(Start::Effective(offset)),
            None => self.oldest(),
        }
    }

    /// Returns where the stream starts. If its first records were removed, the next one is taken for effective.
    pub(super) fn oldest(&mut self) -> Result<Start, Failure> {
        let first = self.probe(Offset::First)?.map_or(0, |chunk| chunk.first);
        Ok(if first == 0 { Start::Beginning } else { Start::Effective(first) })
    }

    /// Starts to follow the stream from there.
    pub(super) fn follow(&mut self, start: Start) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_following) {
            self.client.call(key::UNSUBSCRIBE, |out| out.push(FOLLOW))?;
            self.client.take_chunks(FOLLOW);
        }
        self.chain = Chain::new(start);
        let offset = Offset::At(self.chain.next());
        self.client.subscribe(FOLLOW, &self.name, offset, CHUNKS)?;
        self.is_following = true;
        Ok(())
    }

    /// Returns the effective records of a chunk that came for the subscription.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<(u64, Entry)>, Failure> {
        let chunk = self.parse(bytes)?;
        let mut effective = Vec::new();
        match self.chain.read(&chunk, &mut effective) {
            Ok(()) => self.client.credit(FOLLOW),
            // It names ever later records, so that this ends.
            Err(ChainError::Missed(offset)) => self.follow(Start::Effective(offset))?,
            Err(error) => return Err(self.failed(error).into()),
        }
        Ok(effective)
    }

    /// Waits for the next effective records. There may be none in the next frame.
    pub(super) fn next(&mut self) -> Result<Vec<(u64, Entry)>, Failure> {
        match self.client.wait()? {
            Frame::Chunk { subscription: FOLLOW, chunk } => self.read(&chunk),
            Frame::Changed { stream } if stream == self.name => Err(Failure::Gone),
            _ => Ok(Vec::new()),
        }
    }

    fn parse<'a>(&self, bytes: &'a [u8]) -> Result<Chunk<'a>, EngineError> {
        Chunk::parse(bytes).map_err(|error| error::broken(self.client.address(), error))
    }

    fn failed(&self, error: ChainError) -> EngineError {
        match error {
            ChainError::Foreign(offset) => error::foreign(&self.name, offset),
            ChainError::Missed(_) => error::unexpected(self.client.address()),
        }
    }
}

/// A chunk, of which all messages were written by bridges.
#[derive(Debug)]
pub(super) struct ProbedChunk {
    pub(super) first: u64,
    pub(super) entries: Vec<Entry>,
}
