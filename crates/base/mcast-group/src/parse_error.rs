//! The error for text that cannot be parsed.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// Why a text could not be parsed: the text, what is wrong with it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    part: Option<String>,
    problem: &'static str,
    remedy: Option<Cow<'static, str>>,
}

impl ParseError {
    pub(crate) fn new(text: &str, problem: &'static str) -> Self {
        Self { text: text.into(), part: None, problem, remedy: None }
    }

    /// Adds what to write instead.
    pub(crate) fn with_remedy(self, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Extends the error to the whole text. The text reported so far becomes the part.
    pub(crate) fn within(self, whole: &str) -> Self {
        if self.text == whole {
            return self;
        }
        Self { part: Some(self.part.unwrap_or(self.text)), text: whole.into(), ..self }
    }

    /// Returns the text that was parsed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the invalid part of the text, if that is not the whole text.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// Returns what is wrong, as the predicate of a sentence whose subject is the text.
    #[must_use]
    pub fn problem(&self) -> &'static str {
        self.problem
    }

    /// Returns what to write instead, if known.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.text, self.problem)?;
        if let Some(part) = &self.part {
            write!(f, " (\"{part}\")")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, ": write {remedy}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for ParseError {}
