//! What a demonstration shows, in order.

use std::io;

use crate::Event;

/// A part of a demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scene<'a> {
    /// What is demonstrated.
    Title(&'static str),
    /// An act begins.
    Act {
        /// A short name that identifies it.
        name: &'static str,
        /// Its title.
        title: &'static str,
    },
    /// A drawing of the network, made of line-drawing characters.
    Picture(&'static str),
    /// A paragraph that explains what the steps show.
    Explanation(&'static str),
    /// Something happened at a host.
    Step {
        /// The name of the host.
        host: &'a str,
        /// What happened.
        event: &'a Event,
        /// What should have happened; `None` for an action, which cannot differ.
        expected: Option<&'a Event>,
    },
}

/// Shows a scene.
pub type Show<'a> = &'a mut dyn FnMut(Scene<'_>) -> io::Result<()>;

/// Where a demonstration plays.
pub(crate) struct Stage<'a>(pub(crate) Show<'a>);

impl Stage<'_> {
    pub(crate) fn show(&mut self, scene: Scene<'_>) -> io::Result<()> {
        (self.0)(scene)
    }

    /// Reports an action at a host.
    pub(crate) fn report(&mut self, host: &str, event: &Event) -> io::Result<()> {
        self.show(Scene::Step { host, event, expected: None })
    }

    /// Reports an event at a host, and what was expected.
    pub(crate) fn check(&mut self, host: &str, event: &Event, expected: &Event) -> io::Result<()> {
        self.show(Scene::Step { host, event, expected: Some(expected) })
    }
}
