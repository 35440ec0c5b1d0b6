//! With what engine and bridge prove who they are.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mcast_bridge::TlsOptions;

/// The environment variable with the password of the engine.
const PASSWORD: &str = "MCAST_ENGINE_PASSWORD";

/// Options of the access to an engine.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access to the engine")]
pub(super) struct AccessOptions {
    /// Read the password of the engine from the first line of this file [default: the environment variable
    /// MCAST_ENGINE_PASSWORD, if it is set]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Log in to NATS with the key in this file: credentials as `nsc` makes them, or the seed of an nkey
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub(super) credentials: Option<PathBuf>,

    /// Trust the authorities in this PEM file for TLS [default: those of the system]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Show servers that require it the certificate in this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// The key of that certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Accept servers whose certificate is for NAME [default: the host in the URL]
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
}

impl AccessOptions {
    /// Returns the password, if there is one.
    pub(super) fn password(&self) -> anyhow::Result<Option<String>> {
        match &self.password_file {
            Some(file) => first_line(file).map(Some),
            None => Ok(std::env::var(PASSWORD).ok()),
        }
    }

    /// Returns the options of TLS, if there are some.
    pub(super) fn tls(&self) -> Option<TlsOptions> {
        let options = TlsOptions {
            authorities: self.tls_ca.clone(),
            certificate: self.tls_certificate.clone().zip(self.tls_key.clone()),
            server_name: self.tls_server_name.clone(),
        };
        (options != TlsOptions::default()).then_some(options)
    }
}

fn first_line(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
