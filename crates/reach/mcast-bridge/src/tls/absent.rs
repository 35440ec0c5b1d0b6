//! No TLS.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{TlsError, TlsOptions};

/// A connection, of which there are none.
#[derive(Debug)]
pub(crate) struct TlsStream(Infallible);

impl TlsStream {
    pub(crate) const fn socket(&self) -> &TcpStream {
        match self.0 {}
    }
}

impl Read for TlsStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for TlsStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

pub(super) fn check(_: &TlsOptions) -> Result<(), TlsError> {
    Err(absent())
}

pub(super) fn connect(_: &TlsOptions, _: TcpStream, _: &str, _: Duration) -> io::Result<TlsStream> {
    Err(absent().into())
}

fn absent() -> TlsError {
    TlsError::new("this build of mcast has no TLS", "build it with the feature tls, which needs a C compiler")
}
