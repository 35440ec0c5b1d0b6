//! A connection of TLS that reads and writes as a socket does, with its timeouts.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::reason;
use crate::tls::error::TlsError;

/// A connection. What was written may be left in it until there is room in the socket: [`flush`](Write::flush) sends it,
/// and so does reading, which does not wait for that.
#[derive(Debug)]
pub(crate) struct TlsStream {
    connection: ClientConnection,
    socket: TcpStream,
    name: ServerName<'static>,
    has_certificate: bool,
}

impl TlsStream {
    pub(super) fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        has_certificate: bool,
        socket: TcpStream,
        timeout: Duration,
    ) -> io::Result<Self> {
        let connection =
            ClientConnection::new(config, name.clone()).map_err(|cause| reason::settings(&cause))?;
        let mut stream = Self { connection, socket, name, has_certificate };
        let until = Instant::now() + timeout;
        let shaken = stream.shake_hands(until);
        shaken.map_err(|error| if is_timeout(&error) { reason::silent().into() } else { error })?;
        Ok(stream)
    }

    fn shake_hands(&mut self, until: Instant) -> io::Result<()> {
        while self.connection.is_handshaking() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
            self.socket.set_write_timeout(Some(left))?;
            self.send()?;
            if self.connection.is_handshaking() && !self.receive()? {
                return Err(reason::closed().into());
            }
        }
        self.send()
    }

    /// The socket, for its timeouts.
    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends what is left; an error if there is no room for all of it.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(error),
                Err(error) => return Err(self.reason().unwrap_or(error)),
            }
        }
        Ok(())
    }

    /// Returns why the server closed the connection, if it has sent that.
    fn reason(&mut self) -> Option<io::Error> {
        self.receive().err().filter(|error| TlsError::in_io_error(error).is_some())
    }

    /// Waits for bytes of the server; returns whether it may send more.
    fn receive(&mut self) -> io::Result<bool> {
        let count = self.connection.read_tls(&mut self.socket)?;
        if let Err(cause) = self.connection.process_new_packets() {
            // The server is sent the reason, if it is still there.
            let _ = self.connection.write_tls(&mut self.socket);
            return Err(reason::of(&cause, &self.name, self.has_certificate).into());
        }
        Ok(count > 0)
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Messages have lengths, so that it is noticed if one is cut off.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            match self.send() {
                // The server may wait until it is read from.
                Err(error) if is_timeout(&error) => {}
                sent => sent?,
            }
            self.receive()?;
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send()?;
        let count = self.connection.writer().write(bytes)?;
        match self.send() {
            Err(error) if !is_timeout(&error) => Err(error),
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
