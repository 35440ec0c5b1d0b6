//! The password that a bridge logs in with.

use std::path::PathBuf;

use crate::error::{EngineError, any};

/// The password of an engine.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnginePassword {
    /// The password itself.
    Text(String),
    /// The password is the first line of this file, which is read for each connection, so that a new one applies from
    /// the next connection on. For NATS, the file may also have the key of a user, and the token of the account (JWT), as
    /// `nsc` makes it, or only the seed of an nkey.
    File(PathBuf),
}

impl EnginePassword {
    /// Returns the password.
    pub(crate) fn read(&self) -> Result<String, EngineError> {
        let text = self.text()?;
        Ok(match self {
            Self::Text(_) => text,
            Self::File(_) => text.lines().next().unwrap_or_default().to_owned(),
        })
    }

    /// Returns everything that is there.
    pub(crate) fn text(&self) -> Result<String, EngineError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|cause| any::unreadable("the password", path.display(), cause)),
        }
    }

    /// Whether the next connection may have another one.
    pub(crate) const fn is_renewed(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

impl From<&str> for EnginePassword {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for EnginePassword {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Without secrets.
impl std::fmt::Debug for EnginePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_each_time_and_only_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let password = EnginePassword::File(path.clone());
        let error = password.read().unwrap_err();
        assert!(error.is_transient() && error.what.contains("cannot read the password in"), "{error:?}");
        for text in ["first", "second"] {
            std::fs::write(&path, format!("{text}\nnothing\n")).unwrap();
            assert_eq!(password.read().unwrap(), text);
        }
    }

    #[test]
    fn a_login_that_was_refused_may_pass_only_with_a_password_of_a_file() {
        let refused = EngineError {
            what: "wrong".to_owned(),
            remedy: None,
            kind: crate::error::EngineErrorKind::LoginRefused,
        };
        for (password, may_pass) in
            [(EnginePassword::File("password".into()), true), (EnginePassword::from("secret"), false)]
        {
            let error = refused.clone().with_renewal(password.is_renewed());
            assert_eq!(error.is_transient(), may_pass, "{password:?}");
        }
    }

    #[test]
    fn a_text_is_not_shown() {
        assert_eq!(format!("{:?}", EnginePassword::from("secret")), "Text");
    }
}
