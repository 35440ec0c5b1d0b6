//! TLS by rustls: what it is configured with.

mod reason;
mod stream;

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::TlsOptions;
use super::error::TlsError;
pub(crate) use stream::TlsStream;

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
    let name = ServerName::try_from(host.to_owned()).map_err(|_| reason::invalid_name(host))?;
    let config = Arc::new(config(options)?);
    TlsStream::connect(config, name, options.certificate.is_some(), socket, timeout)
}

fn config(options: &TlsOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| reason::settings(&cause))?
        .with_root_certificates(roots(options)?);
    match &options.certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, read) = (certificates(certificate)?, PrivateKeyDer::from_pem_file(key));
            let key = read.map_err(|cause| reason::file(key, "private key", &cause))?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|cause| reason::unfit_certificate(certificate, &cause))
        }
    }
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = &options.authorities else {
        let found = rustls_native_certs::load_native_certs();
        // A system has some certificates that are too old to be understood.
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        return if usable > 0 { Ok(roots) } else { Err(reason::no_authorities(&found.errors)) };
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|cause| reason::unfit_authority(file, &cause))?;
    }
    Ok(roots)
}

/// Returns the certificates in a PEM file: at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => {
            Err(reason::file(file, "certificate", &rustls::pki_types::pem::Error::NoItemsFound))
        }
        Ok(found) => Ok(found),
        Err(cause) => Err(reason::file(file, "certificate", &cause)),
    }
}
