//! Text that cannot be understood.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// Text that is not what it should be: what it was, what is wrong with it, and what to write instead.
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

    /// The same with what to write instead.
    pub(crate) fn write(self, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The same as seen from the whole text, of which only a part was looked at so far.
    pub(crate) fn within(self, whole: &str) -> Self {
        if self.text == whole {
            return self;
        }
        Self { part: Some(self.part.unwrap_or(self.text)), text: whole.into(), ..self }
    }

    /// The text as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part of the text that is at fault, where it is not the whole.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// What is wrong, as the rest of a sentence that begins with the text.
    #[must_use]
    pub fn problem(&self) -> &'static str {
        self.problem
    }

    /// What to write instead, where that can be said.
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
