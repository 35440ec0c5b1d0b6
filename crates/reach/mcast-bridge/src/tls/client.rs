//! TLS by rustls: what it is configured with, its stream, and why a handshake failed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

use super::TlsOptions;
use crate::tls::TlsError;

/// Checks that the files can be used.
pub(super) fn check(options: &TlsOptions) -> Result<(), TlsError> {
    config(options).map(|_| ())
}

/// Makes a connection of TLS with a server of this name.
pub(super) fn connect(
    options: &TlsOptions,
    socket: TcpStream,
    host: &str,
    timeout: Duration,
) -> io::Result<TlsStream> {
    let host = options.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| invalid_name(host))?;
    let config = Arc::new(config(options)?);
    TlsStream::connect(config, name, options.certificate.is_some(), socket, timeout)
}

fn config(options: &TlsOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| settings(&cause))?
        .with_root_certificates(roots(options)?);
    match &options.certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, read) = (certificates(certificate)?, PrivateKeyDer::from_pem_file(key));
            let key = read.map_err(|cause| file_error(key, "private key", &cause))?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|cause| unfit_certificate(certificate, &cause))
        }
    }
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = &options.authorities else {
        let found = rustls_native_certs::load_native_certs();
        // A system has some certificates that are too old to be understood.
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        return if usable > 0 { Ok(roots) } else { Err(no_authorities(&found.errors)) };
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|cause| unfit_authority(file, &cause))?;
    }
    Ok(roots)
}

/// Returns the certificates in a PEM file: at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => {
            Err(file_error(file, "certificate", &rustls::pki_types::pem::Error::NoItemsFound))
        }
        Ok(found) => Ok(found),
        Err(cause) => Err(file_error(file, "certificate", &cause)),
    }
}

fn settings(cause: &Error) -> TlsError {
    TlsError::new(format!("cannot use TLS: {cause}"), "")
}

fn invalid_name(name: &str) -> TlsError {
    let remedy = "name the server as its certificate does: --tls name=NAME";
    TlsError::new(format!("\"{name}\" cannot be the name of a server in a certificate"), remedy)
}

fn file_error(file: &Path, what: &str, cause: &pem::Error) -> TlsError {
    let remedy = "the file must be in the format PEM, which begins with -----BEGIN";
    match cause {
        pem::Error::Io(cause) => TlsError::new(
            format!("cannot read {}: {cause}", file.display()),
            "check the path and who may read it",
        ),
        pem::Error::NoItemsFound => {
            TlsError::new(format!("there is no {what} in {}", file.display()), remedy)
        }
        cause => TlsError::new(format!("cannot read the {what} in {}: {cause}", file.display()), remedy),
    }
}

fn unfit_authority(file: &Path, cause: &Error) -> TlsError {
    let what = format!("{} has a certificate that cannot be used: {cause}", file.display());
    TlsError::new(what, "write the certificates of authorities there, and nothing else")
}

fn unfit_certificate(file: &Path, cause: &Error) -> TlsError {
    let remedy = "give the key that belongs to the certificate: --tls key=FILE";
    TlsError::new(format!("the certificate in {} cannot be used: {cause}", file.display()), remedy)
}

fn no_authorities(errors: &[rustls_native_certs::Error]) -> TlsError {
    let why = errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    let remedy = "install them (Debian: ca-certificates), or name a file of authorities with --tls ca=FILE";
    TlsError::new(format!("this system has no certificates of authorities{why}"), remedy)
}

fn silent() -> TlsError {
    TlsError::new("the server does not respond to TLS", "check that TLS is spoken on this port")
}

fn closed() -> TlsError {
    let remedy = "check that TLS is spoken on this port; the log of the server may have the reason";
    TlsError::new("the server closed the connection instead of speaking TLS", remedy)
}

/// Returns what an error of a connection to the server of this name means.
fn of(cause: &Error, name: &ServerName<'_>, has_certificate: bool) -> TlsError {
    let name = name.to_str();
    match cause {
        Error::InvalidCertificate(cause) => of_certificate(cause, &name),
        Error::InvalidMessage(_) => TlsError::new(
            "the server does not speak TLS",
            "use the port on which it does, or a URL without TLS",
        ),
        Error::AlertReceived(alert) => of_alert(*alert, has_certificate),
        Error::PeerIncompatible(cause) => TlsError::new(
            format!("the server speaks another TLS: {cause:?}"),
            "enable TLS 1.2 or 1.3 on the server",
        ),
        cause => TlsError::new(format!("TLS failed: {cause}"), ""),
    }
}

/// The error for a certificate of the server.
fn of_certificate(cause: &CertificateError, name: &str) -> TlsError {
    use CertificateError as Cause;
    match cause {
        // The latter, if another authority has the same name.
        Cause::UnknownIssuer | Cause::BadSignature => TlsError::new(
            format!("the certificate of {name} is not from an authority that is trusted"),
            "name the file with the certificate of its authority: --tls ca=FILE",
        ),
        Cause::Expired | Cause::ExpiredContext { .. } => TlsError::new(
            format!("the certificate of {name} has expired"),
            "renew it on the server, and check the clock of this machine",
        ),
        Cause::NotValidYet | Cause::NotValidYetContext { .. } => TlsError::new(
            format!("the certificate of {name} is not valid yet"),
            "check the clock of this machine",
        ),
        Cause::NotValidForName => names(name, &[]),
        Cause::NotValidForNameContext { presented, .. } => names(name, presented),
        // What `openssl req -x509` makes by default.
        Cause::Other(cause) if cause.to_string().contains("CaUsedAsEndEntity") => TlsError::new(
            format!("the certificate of {name} is that of an authority, which is not one of a server"),
            "have the authority sign one for the server, with basicConstraints CA:FALSE",
        ),
        cause => TlsError::new(
            format!("the certificate of {name} is not valid: {cause}"),
            "renew it on the server",
        ),
    }
}

/// The error for a certificate with other names.
fn names(name: &str, presented: &[String]) -> TlsError {
    let names = match presented {
        [] => "another name".to_owned(),
        presented => presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
    };
    TlsError::new(
        format!("the certificate is for {names}, not for {name}"),
        "write that name in the URL, or --tls name=NAME if the server is right",
    )
}

/// The error for one that the server reports.
fn of_alert(alert: AlertDescription, has_certificate: bool) -> TlsError {
    use AlertDescription as Alert;
    let is_about_certificate = matches!(
        alert,
        Alert::CertificateRequired | Alert::BadCertificate | Alert::HandshakeFailure | Alert::NoCertificate
    );
    match alert {
        _ if is_about_certificate && !has_certificate => TlsError::new(
            format!("the server requires a certificate of the bridge ({alert:?})"),
            "add --tls certificate=FILE,key=FILE",
        ),
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied => TlsError::new(
            format!("the server refuses the certificate of the bridge ({alert:?})"),
            "give one that the authorities of the server have signed, and that has not expired: --tls certificate=FILE",
        ),
        Alert::UnrecognisedName => TlsError::new(
            "the server does not know its name".to_owned(),
            "write the name that it has in the URL, or --tls name=NAME",
        ),
        alert => TlsError::new(
            format!("the server ended TLS: {alert:?}"),
            "the log of the server may have the reason",
        ),
    }
}

/// Returns the name in one as it is presented, such as `DnsName("engine.example")`.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

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
    fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        has_certificate: bool,
        socket: TcpStream,
        timeout: Duration,
    ) -> io::Result<Self> {
        let connection = ClientConnection::new(config, name.clone()).map_err(|cause| settings(&cause))?;
        let mut stream = Self { connection, socket, name, has_certificate };
        let until = Instant::now() + timeout;
        let shaken = stream.shake_hands(until);
        shaken.map_err(|error| if is_timeout(&error) { silent().into() } else { error })?;
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
                return Err(closed().into());
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
            return Err(of(&cause, &self.name, self.has_certificate).into());
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
