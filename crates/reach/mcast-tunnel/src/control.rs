//! The control stream: names, relays and wants, reliably and in order. Each end has one stream of QUIC for it. A message has
//! a kind (8), a length (32) and a content.

use quinn_proto::{Chunk, Connection, Dir, StreamId};

use crate::MAX_NAME;
use crate::record::{MAX_RECORD, Reader, TunnelWant, emit_wants, read_wants};

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const WANTS: u8 = 3;
/// Kind and length.
const HEADER: usize = 5;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The dialer asks for the tunnel with this name.
    Hello { relay: u64, name: String },
    /// The listener accepts.
    Welcome { relay: u64 },
    /// What the sender wants to receive, instead of all before.
    Wants(Vec<TunnelWant>),
    /// Of a later version.
    Unknown,
}

impl Message {
    pub(crate) fn emit(&self) -> Vec<u8> {
        let (kind, content) = match self {
            Self::Hello { relay, name } => (HELLO, [&relay.to_be_bytes()[..], name.as_bytes()].concat()),
            Self::Welcome { relay } => (WELCOME, relay.to_be_bytes().to_vec()),
            Self::Wants(wants) => (WANTS, emit_wants(wants)),
            Self::Unknown => (0, Vec::new()),
        };
        [&[kind][..], &(content.len() as u32).to_be_bytes(), &content].concat()
    }

    fn read(kind: u8, content: &[u8]) -> Option<Self> {
        let mut reader = Reader(content);
        Some(match kind {
            HELLO => {
                let relay = reader.number()?;
                let name = str::from_utf8(reader.0).ok().filter(|name| name.len() <= MAX_NAME)?;
                Self::Hello { relay, name: name.to_owned() }
            }
            WELCOME => Self::Welcome { relay: reader.number()? },
            WANTS => Self::Wants(read_wants(content)?),
            _ => Self::Unknown,
        })
    }
}

/// The control streams of a connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    outgoing: Option<StreamId>,
    incoming: Option<StreamId>,
    /// What the stream has not taken.
    unsent: Vec<u8>,
    /// The beginning of a message.
    unread: Vec<u8>,
}

/// The other end has broken the protocol.
#[derive(Debug)]
pub(crate) struct InvalidMessage;

impl Control {
    /// Returns whether everything has been passed to the stream. Another message should wait for that.
    pub(crate) const fn is_idle(&self) -> bool {
        self.unsent.is_empty()
    }

    pub(crate) fn send(&mut self, connection: &mut Connection, message: &Message) {
        self.unsent.extend(message.emit());
        self.flush(connection);
    }

    /// Passes to the stream what it takes.
    pub(crate) fn flush(&mut self, connection: &mut Connection) {
        if self.outgoing.is_none() {
            self.outgoing = connection.streams().open(Dir::Uni);
        }
        let Some(stream) = self.outgoing.filter(|_| !self.unsent.is_empty()) else { return };
        // A stream that is full is reported once it is not; one that was stopped belongs to a peer that will close.
        if let Ok(written) = connection.send_stream(stream).write(&self.unsent) {
            self.unsent.drain(..written);
        }
    }

    /// Returns the messages that have arrived.
    pub(crate) fn receive(&mut self, connection: &mut Connection) -> Result<Vec<Message>, InvalidMessage> {
        if self.incoming.is_none() {
            self.incoming = connection.streams().accept(Dir::Uni);
        }
        let Some(stream) = self.incoming else { return Ok(Vec::new()) };
        let mut messages = Vec::new();
        let mut stream = connection.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return Err(InvalidMessage) };
        let result = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(Chunk { bytes, .. })) => self.unread.extend_from_slice(&bytes),
                Ok(None) => break Err(InvalidMessage),
                Err(quinn_proto::ReadError::Blocked) => break Ok(()),
                Err(_) => break Err(InvalidMessage),
            }
            // After each chunk, so that no more than the longest message and a window are kept.
            if let Err(error) = take_messages(&mut self.unread, &mut messages) {
                break Err(error);
            }
        };
        // Credit for the other end is sent with the next packet.
        let _ = chunks.finalize();
        result.map(|()| messages)
    }
}

fn take_messages(unread: &mut Vec<u8>, messages: &mut Vec<Message>) -> Result<(), InvalidMessage> {
    while let Some(([kind, length @ ..], rest)) = unread.split_first_chunk::<HEADER>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_RECORD {
            return Err(InvalidMessage);
        }
        let Some(content) = rest.get(..length) else { break };
        messages.push(Message::read(*kind, content).ok_or(InvalidMessage)?);
        unread.drain(..HEADER + length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mcast_group::SourceFilter;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_read_however_they_are_cut() {
        let want = TunnelWant { destination: "239.1.2.3:5000".parse().unwrap(), sources: SourceFilter::ANY };
        let sent = [
            Message::Hello { relay: 7, name: "paris".into() },
            Message::Welcome { relay: 8 },
            Message::Unknown,
            Message::Wants(vec![want]),
            Message::Wants(Vec::new()),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Message::emit).collect();
        for size in 1..bytes.len() {
            let (mut unread, mut messages) = (Vec::new(), Vec::new());
            for chunk in bytes.chunks(size) {
                unread.extend(chunk);
                take_messages(&mut unread, &mut messages).unwrap();
            }
            assert_eq!((messages.as_slice(), unread.len()), (&sent[..], 0));
        }
    }

    proptest! {
        #[test]
        fn no_more_than_a_message_is_kept(kind in 0_u8..5, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let (mut unread, mut messages) = ([&[kind], bytes.as_slice()].concat(), Vec::new());
            let result = take_messages(&mut unread, &mut messages);
            prop_assert!(result.is_err() || unread.len() < HEADER + MAX_RECORD);
        }
    }

    #[test]
    fn a_message_that_is_too_long_ends_the_tunnel() {
        let mut unread = [&[WANTS][..], &(MAX_RECORD as u32 + 1).to_be_bytes()].concat();
        assert!(take_messages(&mut unread, &mut Vec::new()).is_err());
        let mut name = [&[HELLO][..], &73_u32.to_be_bytes(), &[b'a'; 73]].concat();
        assert!(take_messages(&mut name, &mut Vec::new()).is_err(), "a name of 65 bytes");
    }
}
