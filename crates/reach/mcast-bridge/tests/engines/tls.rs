//! Engines that require TLS, and a certificate of the bridge.

use mcast_lab::{Host, Lab};

use super::*;
use crate::certificates::Certificates;
use crate::nats::Nats;
use crate::redis::Redis;

/// What others do with the engine, whether bridges use TLS or not.
macro_rules! delegated {
    ($engine:ident) => {
        fn length(&self) -> u64 {
            self.$engine.length()
        }

        fn delete_stream(&self) {
            self.$engine.delete_stream();
        }

        fn delete_records(&self, sink: &mut Box<dyn Sink>) -> Option<LastRecord> {
            self.$engine.delete_records(sink)
        }

        fn add_foreign(&self) {
            self.$engine.add_foreign();
        }

        fn age_notes(&self) {
            self.$engine.age_notes();
        }

        fn kill(&mut self) {
            self.$engine.kill();
        }
    };
}

/// Redis, which the tests reach by TLS, and the client of others by a socket of Unix.
pub(crate) struct SafeRedis {
    redis: Redis,
    certificates: Certificates,
    host: Host,
    _lab: Lab,
}

impl SafeRedis {
    fn connect_with(&self, options: TlsOptions) -> Result<Box<dyn Sink>, EngineError> {
        self.host.run(|| with_tls(REDIS, options).sink()).unwrap()
    }

    /// Returns the error of a bridge with these options.
    fn error(&self, options: TlsOptions) -> EngineError {
        self.connect_with(options).err().unwrap()
    }

    /// Has the server use other files from now on.
    fn configure(&self, settings: &[(&str, &str)]) {
        let settings: Vec<&str> = settings.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let reply = self.redis.cli(&[&["CONFIG", "SET"], &settings[..]].concat());
        assert_eq!(reply, "OK");
    }
}

const REDIS: &str = "rediss://127.0.0.1:6390?key=prices";

impl Engine for SafeRedis {
    fn start() -> Option<Self> {
        let (lab, certificates) = (Lab::new().unwrap(), Certificates::make());
        let host = lab.host("engine").unwrap();
        let file = |name| certificates.text(name);
        let (authority, certificate, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
        let options = [
            ["--tls-port", "6390"],
            ["--tls-ca-cert-file", &authority],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-auth-clients", "yes"],
            ["--proto-max-bulk-len", "1mb"],
        ];
        let redis = host.run(|| Redis::with(options.as_flattened())).unwrap()?;
        Some(Self { redis, certificates, host, _lab: lab })
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.connect_with(self.certificates.proving())
    }

    fn source(&self) -> Box<dyn Source> {
        self.host.run(|| with_tls(REDIS, self.certificates.proving()).source()).unwrap().unwrap()
    }

    delegated! { redis }
}

/// Checks an error that has these words, in its text and in its remedy.
fn check(error: &EngineError, what: &str, remedy: &str) {
    let advice = error.remedy.as_deref().unwrap_or_default();
    assert!(error.what.contains(what) && advice.contains(remedy), "expected {what:?}, {remedy:?}: {error:?}");
}

#[test]
fn what_tls_refuses_is_an_error_with_a_remedy() {
    let Some(engine) = SafeRedis::start() else { return };
    let (trusting, proving) = (engine.certificates.trusting(), engine.certificates.proving());
    check(&engine.error(trusting), "requires a certificate of the bridge", "--tls certificate=");
    let stranger = Certificates::make();
    let foreign = TlsOptions { authorities: Some(stranger.path("ca.pem")), ..proving.clone() };
    check(&engine.error(foreign), "not from an authority that is trusted", "--tls ca=FILE");
    let foreign = TlsOptions { certificate: stranger.proving().certificate, ..proving.clone() };
    check(&engine.error(foreign), "refuses the certificate of the bridge", "--tls certificate=");
    let certificates = &engine.certificates;
    let use_certificate = |name: &str| {
        let (certificate, key) =
            (certificates.text(&format!("{name}.pem")), certificates.text(&format!("{name}.key")));
        engine.configure(&[("tls-cert-file", &certificate), ("tls-key-file", &key)]);
    };
    use_certificate("named");
    check(&engine.error(proving.clone()), "is for engine.example, not for 127.0.0.1", "--tls name=NAME");
    let named = TlsOptions { server_name: Some("engine.example".into()), ..proving.clone() };
    engine.connect_with(named).unwrap();
    use_certificate("old");
    let error = engine.error(proving);
    check(&error, "has expired", "renew");
    assert!(error.is_transient(), "a renewed certificate is accepted");
}

#[test]
fn a_server_and_a_url_that_do_not_agree_on_tls_are_an_error_with_a_remedy() {
    let Some(engine) = SafeRedis::start() else { return };
    let plain = at("redis://127.0.0.1:6390?key=prices");
    let error = engine.host.run(|| plain.sink()).unwrap().err().unwrap();
    check(&error, "does not accept commands", "rediss://");
    let Some(nats) = Nats::with_tls() else { return };
    let connect = |url: &str, options: TlsOptions| {
        nats.host.run(|| with_tls(url, options).sink()).unwrap().err().unwrap()
    };
    // It sends its name first, which is not TLS.
    let error = connect("rediss://127.0.0.1:4222?key=prices", engine.certificates.proving());
    check(&error, "does not speak TLS", "without TLS");
    let error = connect("nats://127.0.0.1?stream=prices", engine.certificates.proving());
    check(&error, "not from an authority that is trusted", "--tls ca=FILE");
    let error = connect("tls://127.0.0.1?stream=prices", nats.certificates.as_ref().unwrap().trusting());
    check(&error, "requires a certificate of the bridge", "--tls certificate=");
}

#[test]
fn files_of_tls_that_cannot_be_used_are_named() {
    let certificates = Certificates::make();
    let path = |name| Some(certificates.path(name));
    let check_options = |options: TlsOptions, what: &str| {
        let error = engine_at(REDIS, EngineAccess::default().with_tls(options), None).err().unwrap();
        check(&error, what, "");
    };
    check_options(TlsOptions { authorities: path("absent"), ..TlsOptions::default() }, "cannot read");
    check_options(
        TlsOptions { authorities: path("bridge.key"), ..TlsOptions::default() },
        "no certificate in",
    );
    let pair = |certificate, key| Some((certificates.path(certificate), certificates.path(key)));
    let with = |certificate| TlsOptions { certificate, ..certificates.trusting() };
    check_options(with(pair("bridge.pem", "bridge.pem")), "no private key in");
    check_options(with(pair("bridge.pem", "server.key")), "cannot be used");
}

/// NATS, which requires TLS and a certificate of the bridge.
pub(crate) struct SafeNats {
    nats: Nats,
}

impl Engine for SafeNats {
    fn start() -> Option<Self> {
        Some(Self { nats: Nats::with_tls()? })
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.nats.connect()
    }

    fn source(&self) -> Box<dyn Source> {
        self.nats.source()
    }

    delegated! { nats }
}
