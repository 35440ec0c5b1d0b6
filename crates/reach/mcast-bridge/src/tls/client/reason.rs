//! What errors of rustls mean, and what to do about them.

use std::path::Path;

use rustls::pki_types::{ServerName, pem};
use rustls::{AlertDescription, CertificateError, Error};

use crate::tls::error::TlsError;

pub(super) fn settings(cause: &Error) -> TlsError {
    TlsError::new(format!("cannot use TLS: {cause}"), "")
}

pub(super) fn invalid_name(name: &str) -> TlsError {
    let remedy = "name the server as its certificate does: --tls-server-name NAME";
    TlsError::new(format!("\"{name}\" cannot be the name of a server in a certificate"), remedy)
}

pub(super) fn file(file: &Path, what: &str, cause: &pem::Error) -> TlsError {
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

pub(super) fn unfit_authority(file: &Path, cause: &Error) -> TlsError {
    let what = format!("{} has a certificate that cannot be used: {cause}", file.display());
    TlsError::new(what, "write the certificates of authorities there, and nothing else")
}

pub(super) fn unfit_certificate(file: &Path, cause: &Error) -> TlsError {
    let remedy = "give the key that belongs to the certificate: --tls-key FILE";
    TlsError::new(format!("the certificate in {} cannot be used: {cause}", file.display()), remedy)
}

pub(super) fn no_authorities(errors: &[rustls_native_certs::Error]) -> TlsError {
    let why = errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    let remedy = "install them (Debian: ca-certificates), or name a file of authorities with --tls-ca FILE";
    TlsError::new(format!("this system has no certificates of authorities{why}"), remedy)
}

pub(super) fn silent() -> TlsError {
    TlsError::new("the server does not respond to TLS", "check that TLS is spoken on this port")
}

pub(super) fn closed() -> TlsError {
    let remedy = "check that TLS is spoken on this port; the log of the server may have the reason";
    TlsError::new("the server closed the connection instead of speaking TLS", remedy)
}

/// Returns what an error of a connection to the server of this name means.
pub(super) fn of(cause: &Error, name: &ServerName<'_>, has_certificate: bool) -> TlsError {
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
            "name the file with the certificate of its authority: --tls-ca FILE",
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
        "write that name in the URL, or --tls-server-name NAME if the server is right",
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
            "add --tls-certificate FILE and --tls-key FILE",
        ),
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied => TlsError::new(
            format!("the server refuses the certificate of the bridge ({alert:?})"),
            "give one that the authorities of the server have signed, and that has not expired: --tls-certificate",
        ),
        Alert::UnrecognisedName => TlsError::new(
            "the server does not know its name".to_owned(),
            "write the name that it has in the URL, or --tls-server-name NAME",
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
