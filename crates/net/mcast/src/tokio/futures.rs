//! Datagrams as a `Stream`, and a sender as a `Sink` (feature `futures`).

use std::pin::Pin;

use futures_util::stream::{self, BoxStream};
use futures_util::{Sink, StreamExt, sink};

use super::{Receiver, Sender};
use crate::{Batch, Cursor, Error, OwnedDatagram, Result};

impl Receiver {
    /// Returns a stream of owned datagrams. It never ends: an error is an item, and the next item is the result of
    /// another attempt.
    ///
    /// Datagrams are received into `batch`, as many at once as are available. Each keeps the buffer that it was received
    /// into for as long as it lives, without a copy: choose buffers not much larger than the datagrams if many are kept.
    /// What the batch still holds when the stream is dropped is lost; dropping a future of the stream, such as that of
    /// `next`, loses nothing.
    ///
    /// ```no_run
    /// use futures_util::StreamExt;
    ///
    /// # async fn receive(receiver: mcast::tokio::Receiver) -> mcast::Result<()> {
    /// let mut datagrams = receiver.datagrams(mcast::Batch::new(64, 2_048));
    /// while let Some(datagram) = datagrams.next().await {
    ///     let datagram = datagram?;
    ///     println!("for {} from {}", datagram.destination, datagram.source);
    ///     let payload = bytes::Bytes::from(datagram);
    ///     println!("{} bytes", payload.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn datagrams(&self, batch: Batch) -> BoxStream<'_, Result<OwnedDatagram>> {
        let receive = async |(mut batch, mut cursor): (Batch, Cursor)| loop {
            if let Some(datagram) = batch.next_at(&mut cursor) {
                return Some((Ok(datagram.to_owned_datagram()), (batch, cursor)));
            }
            batch.clear();
            cursor = Cursor::default();
            if let Err(error) = self.recv_batch(&mut batch).await {
                return Some((Err(error), (batch, cursor)));
            }
        };
        stream::unfold((batch, Cursor::default()), receive).boxed()
    }
}

impl Sender {
    /// Returns a sink that sends each item as a datagram, like [`send`](Self::send).
    ///
    /// Flushing and closing wait until the last datagram was passed to the system. After an error the sink is closed;
    /// make another to continue.
    pub fn sink<'a, T: AsRef<[u8]> + Send + 'a>(
        &'a self,
    ) -> Pin<Box<dyn Sink<T, Error = Error> + Send + 'a>> {
        Box::pin(sink::unfold((), move |(), payload: T| async move { self.send(payload.as_ref()).await }))
    }
}
