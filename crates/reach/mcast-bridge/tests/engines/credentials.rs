//! Users of NATS who have keys instead of passwords.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcast_bridge::EnginePassword;
use mcast_lab::{Host, Lab};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::nats_server::NatsServer;

/// The first byte of public keys: their first letters are O, A and U.
const OPERATOR: u8 = 14 << 3;
const ACCOUNT: u8 = 0;
const USER: u8 = 20 << 3;

/// A key of an operator, an account or a user.
struct Key {
    kind: u8,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(kind: u8, number: u8) -> Self {
        let seed = [number; 32];
        Self { kind, seed, pair: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap() }
    }

    fn public(&self) -> String {
        text(&[&[self.kind], self.pair.public_key().as_ref()].concat())
    }

    fn seed(&self) -> String {
        text(&[&[18 << 3 | self.kind >> 5, (self.kind & 31) << 3], &self.seed[..]].concat())
    }

    /// Returns a token in which this key states something of another one.
    fn state(&self, of: &Self, content: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims =
            json!({ "iat": 1, "iss": self.public(), "sub": of.public(), "name": "test", "nats": content });
        let signed =
            format!("{}.{}", encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Returns bytes and their checksum in base 32, bit by bit.
fn text(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| sum << 1 ^ if sum >> 15 == 1 { 0x1021 } else { 0 })
    });
    let all = [bytes, &sum.to_le_bytes()].concat();
    let bits: Vec<u8> = all.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let letter = |bits: &[u8]| {
        let value = (0..5).fold(0, |value, bit| value << 1 | bits.get(bit).unwrap_or(&0));
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(value)])
    };
    bits.chunks(5).map(letter).collect()
}

/// Starts a server with this configuration, and connects with a file of this content, with another one of a stranger and
/// without any.
fn check(configuration: &str, credentials: &str, stranger: &str) {
    let (lab, folder) = (Lab::new().unwrap(), tempfile::tempdir().unwrap());
    let host = lab.host("engine").unwrap();
    let file = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name)
    };
    let configuration = file("server.conf", configuration);
    let Some(_server) =
        NatsServer::start(&host, "prices", &["--config", configuration.to_str().unwrap()], "")
    else {
        return;
    };
    let mut sink = connect(&host, Some(&file("right", credentials))).unwrap();
    assert_eq!(append(&mut *sink, None, vec![message(1, 0, b"a")]), Response::Appended);
    for wrong in [Some(file("wrong", stranger)), None] {
        let error = connect(&host, wrong.as_deref()).err().unwrap();
        assert!(
            !error.is_transient() && error.remedy.as_ref().unwrap().contains("--password-file FILE"),
            "{error:?}"
        );
    }
}

fn connect(host: &Host, file: Option<&Path>) -> Result<Box<dyn Sink>, EngineError> {
    let access = match file {
        Some(file) => EngineAccess::default().with_password(EnginePassword::File(file.to_owned())),
        None => EngineAccess::default(),
    };
    let target = engine_at("nats://127.0.0.1?stream=prices", access, None).unwrap();
    host.run(|| target.sink()).unwrap()
}

#[test]
fn a_user_with_an_nkey_is_known_to_the_server() {
    let (user, stranger) = (Key::new(USER, 1), Key::new(USER, 2));
    let configuration = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public());
    check(&configuration, &user.seed(), &stranger.seed());
}

#[test]
fn a_user_with_a_file_of_credentials_is_known_to_an_account() {
    let (operator, account, system) = (Key::new(OPERATOR, 1), Key::new(ACCOUNT, 2), Key::new(ACCOUNT, 3));
    let (user, stranger) = (Key::new(USER, 4), Key::new(USER, 5));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_account = |limits: &Value| json!({ "limits": limits, "type": "account", "version": 2 });
    let mut of_system = limits.clone();
    for name in ["mem_storage", "disk_storage", "streams", "consumer"] {
        of_system[name] = 0.into();
    }
    let configuration = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n  {}: {}\n  {}: {}\n}}\n",
        operator.state(&operator, &json!({ "type": "operator", "version": 2 })),
        system.public(),
        account.public(),
        operator.state(&account, &of_account(&limits)),
        system.public(),
        operator.state(&system, &of_account(&of_system)),
    );
    let of_user = json!({ "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
    let token = account.state(&user, &of_user);
    let credentials = |key: &Key| {
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            key.seed()
        )
    };
    check(&configuration, &credentials(&user), &credentials(&stranger));
}
