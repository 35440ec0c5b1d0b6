//! TLS 1.3 in QUIC with raw public keys (RFC 7250): both ends prove that they have the private key of a public key that the
//! other one knows. No certificates, no names, no sessions that are resumed.

use std::fmt;
use std::sync::Arc;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
};

use crate::key::{PeerKey, TunnelKey};

/// The protocol, which both ends have to agree on (ALPN): another version is refused in the handshake.
const PROTOCOL: &[u8] = b"mcast-tunnel/2";
/// What a key of Ed25519 begins with as a SubjectPublicKeyInfo (RFC 8410).
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What one begins with as a PrivateKeyInfo.
const PRIVATE_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Returns the end that dials: it accepts the listener only with one of these keys.
pub(crate) fn dialer(own: &TunnelKey, peers: Vec<PeerKey>) -> Option<QuicClientConfig> {
    let builder = rustls::ClientConfig::builder_with_provider(ciphers());
    let mut config = builder
        .with_protocol_versions(&[&rustls::version::TLS13])
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KnownPeers(peers)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(own)?)));
    // The name of a server would be visible, and is not used: its key is its name.
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    QuicClientConfig::try_from(config).ok()
}

/// Returns the end that listens: it accepts dialers only with one of these keys.
pub(crate) fn listener(own: &TunnelKey, peers: Vec<PeerKey>) -> Option<QuicServerConfig> {
    let builder = rustls::ServerConfig::builder_with_provider(ciphers());
    let mut config = builder
        .with_protocol_versions(&[&rustls::version::TLS13])
        .ok()?
        .with_client_cert_verifier(Arc::new(KnownPeers(peers)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(own)?)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    QuicServerConfig::try_from(config).ok()
}

/// Returns the public key of the other end, once the handshake is over.
pub(crate) fn peer_key(connection: &quinn_proto::Connection) -> Option<PeerKey> {
    let identity = connection.crypto_session().peer_identity()?;
    identity.downcast::<Vec<CertificateDer<'static>>>().ok()?.first().and_then(parse)
}

/// Returns ring's ciphers, AES-128-GCM first: it is the fastest one, and as strong as the keys of Ed25519.
fn ciphers() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
        provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..provider::default_provider() })
}

fn certified(own: &TunnelKey) -> Option<Arc<CertifiedKey>> {
    let private = [&PRIVATE_PREFIX[..], own.seed()].concat();
    let signer = provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private)).ok()?;
    let public = CertificateDer::from([&PUBLIC_PREFIX[..], &own.public().0].concat());
    Some(Arc::new(CertifiedKey::new(vec![public], signer)))
}

fn parse(public: &CertificateDer<'_>) -> Option<PeerKey> {
    public.strip_prefix(&PUBLIC_PREFIX[..])?.try_into().ok().map(PeerKey)
}

/// Accepts peers by their public keys.
struct KnownPeers(Vec<PeerKey>);

impl KnownPeers {
    fn verify(&self, public: &CertificateDer<'_>) -> Result<(), Error> {
        let is_known = parse(public).is_some_and(|key| self.0.contains(&key));
        let refused = CertificateError::ApplicationVerificationFailure;
        if is_known { Ok(()) } else { Err(Error::InvalidCertificate(refused)) }
    }
}

impl fmt::Debug for KnownPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KnownPeers").field(&self.0.len()).finish()
    }
}

/// Writes the methods that the verifiers of both ends have in common.
macro_rules! signatures_by_raw_keys {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            // QUIC has no other version than 1.3.
            Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            public: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let public = SubjectPublicKeyInfoDer::from(public.as_ref());
            let algorithms = provider::default_provider().signature_verification_algorithms;
            verify_tls13_signature_with_raw_key(message, &public, signature, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for KnownPeers {
    fn verify_server_cert(
        &self,
        public: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(public).map(|()| ServerCertVerified::assertion())
    }

    signatures_by_raw_keys!();
}

impl ClientCertVerifier for KnownPeers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        public: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(public).map(|()| ClientCertVerified::assertion())
    }

    signatures_by_raw_keys!();
}
