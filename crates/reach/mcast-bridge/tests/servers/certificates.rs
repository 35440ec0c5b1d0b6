//! Certificates for servers and bridges of tests.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use mcast_bridge::TlsOptions;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Authorities of different names.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder with PEM files: `ca.pem`, and NAME.pem with NAME.key of certificates that this authority signed.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes an authority, `server` for 127.0.0.1, `named` for engine.example, `old`, which has expired, and `bridge` for a
    /// client.
    pub(crate) fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        authority.distinguished_name.push(DnType::CommonName, format!("authority {number} of a test"));
        let key = KeyPair::generate().unwrap();
        let certificate = authority.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let made = Self { folder, issuer: Issuer::new(authority, key) };
        made.name_server(&["127.0.0.1"]);
        made.sign("named", &["engine.example"], ExtendedKeyUsagePurpose::ServerAuth, 4000);
        made.sign("old", &["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth, 2001);
        made.sign("bridge", &["feeds"], ExtendedKeyUsagePurpose::ClientAuth, 4000);
        made
    }

    /// Makes `server` again, for these names and addresses.
    pub(crate) fn name_server(&self, names: &[&str]) {
        self.sign("server", names, ExtendedKeyUsagePurpose::ServerAuth, 4000);
    }

    fn sign(&self, file: &str, names: &[&str], usage: ExtendedKeyUsagePurpose, until: i32) {
        let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(owned).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.extended_key_usages = vec![usage];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Returns a path as an argument.
    pub(crate) fn text(&self, file: &str) -> String {
        self.path(file).into_os_string().into_string().unwrap()
    }

    /// Returns what `mcast bridge` is started with to trust the authority, and to have a certificate.
    #[allow(dead_code)]
    pub(crate) fn arguments(&self) -> Vec<String> {
        let files = [("ca", "ca.pem"), ("certificate", "bridge.pem"), ("key", "bridge.key")];
        let settings = files.map(|(name, file)| format!("{name}={}", self.text(file)));
        vec!["--tls".to_owned(), settings.join(",")]
    }

    /// Returns the options of a bridge that trusts the authority.
    #[allow(dead_code)]
    pub(crate) fn trusting(&self) -> TlsOptions {
        TlsOptions { authorities: Some(self.path("ca.pem")), ..TlsOptions::default() }
    }

    /// Returns the options of a bridge that also has a certificate.
    #[allow(dead_code)]
    pub(crate) fn proving(&self) -> TlsOptions {
        let certificate = Some((self.path("bridge.pem"), self.path("bridge.key")));
        TlsOptions { certificate, ..self.trusting() }
    }
}
