//! Where a stream is kept in NATS.

use std::path::PathBuf;

use super::nkeys::Credentials;
use crate::engine::{EngineError, position};
use crate::password::EnginePassword;
use crate::record::Position;
use crate::server::{ServerUrl, Servers, UrlForm};
use crate::tls::TlsOptions;

/// The port that servers listen on by default.
const PORT: u16 = 4222;
const FORM: UrlForm = UrlForm {
    schemes: &[("nats", false, PORT), ("tls", true, PORT), (TLS_FIRST, true, PORT)],
    parameter: "stream",
    invalid,
};
/// The scheme for servers that expect TLS before they say anything.
const TLS_FIRST: &str = "tls+first";

/// A stream in NATS JetStream.
#[derive(Clone)]
pub struct NatsTarget {
    pub(super) servers: Servers,
    pub(super) login: Login,
    /// `None`: TLS is spoken if the server requires it.
    pub(super) tls: Option<TlsOptions>,
    /// Whether TLS precedes what the server says of itself (`handshake_first`).
    pub(super) is_tls_first: bool,
    stream: Option<String>,
}

/// What a bridge proves who it is with.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    None,
    Token(EnginePassword),
    User(String, EnginePassword),
    /// A file with a key, and maybe a token. It is read for each connection.
    File(PathBuf),
}

fn invalid(why: &str) -> EngineError {
    EngineError::permanent(
        format!("not a URL of NATS: {why}"),
        "write nats://HOST[:PORT][,HOST[:PORT]][?stream=STREAM], or tls:// for TLS (tls+first:// with `handshake_first`)",
    )
}

impl NatsTarget {
    /// Parses `nats://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][?stream=STREAM]`. A user without a password is a token,
    /// unless [`password`](Self::password) follows. With `tls`, the server must speak TLS; with `nats`, TLS is spoken if it
    /// requires that. With `tls+first`, TLS comes first, as servers with `handshake_first` require.
    ///
    /// # Errors
    /// If it is not such a URL.
    pub fn parse(url: &str) -> Result<Self, EngineError> {
        let ServerUrl { servers, is_tls, user, password, path, stream } = FORM.parse(url)?;
        if !path.is_empty() {
            return Err(invalid("it has a path"));
        }
        let login = match password {
            Some(password) => Login::User(user, password.into()),
            None if user.is_empty() => Login::None,
            None => Login::Token(user.into()),
        };
        let tls = is_tls.then(TlsOptions::default);
        let is_tls_first = url.split_once("://").is_some_and(|(scheme, _)| scheme == TLS_FIRST);
        let target = Self { servers, login, tls, is_tls_first, stream: None };
        match stream {
            Some(stream) => target.with_stream(stream),
            None => Ok(target),
        }
    }

    /// Sets the password, so that it need not be in the URL. Without a user, it is a token.
    #[must_use]
    pub fn password(self, password: impl Into<EnginePassword>) -> Self {
        let password = password.into();
        let login = match self.login {
            Login::Token(EnginePassword::Text(user)) | Login::User(user, _) => Login::User(user, password),
            Login::Token(_) | Login::None | Login::File(_) => Login::Token(password),
        };
        Self { login, ..self }
    }

    /// Whether the next connection may have another password, or other credentials.
    pub(super) const fn renews_login(&self) -> bool {
        match &self.login {
            Login::None => false,
            Login::Token(password) | Login::User(_, password) => password.is_renewed(),
            Login::File(_) => true,
        }
    }

    /// Sets a file with the key of the user, and the token of the account (JWT), as `nsc` makes it, or only with the seed of
    /// an nkey. It is read for each connection, so that new credentials apply from the next one on.
    ///
    /// # Errors
    /// If it cannot be read, or has no seed.
    pub fn credentials(self, file: PathBuf) -> Result<Self, EngineError> {
        Credentials::read(&file)?;
        Ok(Self { login: Login::File(file), ..self })
    }

    /// Sets the options of TLS, which is spoken in any case then.
    ///
    /// # Errors
    /// If the files cannot be used.
    pub fn tls(self, options: TlsOptions) -> Result<Self, EngineError> {
        options.check()?;
        Ok(Self { tls: Some(options), ..self })
    }

    /// Returns the name of the stream, if the URL has one.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    /// Sets the name of the stream.
    ///
    /// # Errors
    /// If NATS does not allow it.
    pub fn with_stream(self, stream: String) -> Result<Self, EngineError> {
        let is_reserved = |character: char| {
            character.is_whitespace() || character.is_control() || ".*>/\\".contains(character)
        };
        if stream.is_empty() || stream.contains(is_reserved) {
            return Err(EngineError::permanent(
                format!("\"{stream}\" cannot be the name of a stream in NATS"),
                "choose one without spaces, dots, slashes, * and >: ?stream=STREAM",
            ));
        }
        Ok(Self { stream: Some(stream), ..self })
    }

    /// Returns the position of the record with this id (`Nats-Msg-Id`): `INCARNATION-NUMBER`.
    #[must_use]
    pub fn position(id: &str) -> Option<Position> {
        position(id)
    }

    /// Returns the addresses of the servers, without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        self.servers.to_string()
    }
}

/// Without secrets.
impl std::fmt::Debug for NatsTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsTarget")
            .field("address", &self.address())
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = NatsTarget::parse("nats://example.org:7000?stream=prices").unwrap();
        assert_eq!((target.stream(), &*target.address()), (Some("prices"), "example.org:7000"));
        let target = NatsTarget::parse("nats://a%40b:c@[::1]/").unwrap();
        assert_eq!((target.stream(), &*target.address()), (None, "[::1]:4222"));
        assert!(target.login == Login::User("a@b".into(), "c".into()) && target.tls.is_none());
        let target = NatsTarget::parse("tls://one,two:7").unwrap();
        assert!(target.tls.is_some() && target.address() == "one:4222,two:7");
        assert!(!target.is_tls_first && NatsTarget::parse("tls+first://one").unwrap().is_tls_first);
        for text in [
            "",
            "nats",
            "nats://",
            "http://a",
            "nats://a/b",
            "nats://a?stream=",
            "nats://a?stream=a.b",
            "nats://a?stream=a%20b",
            "nats://a?key=b",
            "http://a",
        ] {
            assert!(NatsTarget::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_completes_a_user_or_is_a_token() {
        let login = |url: &str| NatsTarget::parse(url).unwrap().password("secret").login;
        assert!(login("nats://a") == Login::Token("secret".into()));
        assert!(login("nats://user@a") == Login::User("user".into(), "secret".into()));
        let target = NatsTarget::parse("nats://token@a").unwrap();
        assert!(target.login == Login::Token("token".into()));
        assert!(!format!("{target:?}").contains("token"));
    }
}
