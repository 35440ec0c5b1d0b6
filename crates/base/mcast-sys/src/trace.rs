//! Spans and events for the `tracing` subscriber that the program has installed (feature `tracing`). Without the feature,
//! they are nothing.
//!
//! Events are for what happens rarely: nothing is traced per datagram.

use std::fmt;

#[doc(hidden)]
#[cfg(feature = "tracing")]
pub use tracing;

/// A span of a long-lived value, such as a receiver. Events name it as their parent.
#[cfg(feature = "tracing")]
#[derive(Clone, Debug)]
pub struct Span(#[doc(hidden)] pub tracing::Span);

/// A span of a long-lived value, such as a receiver; nothing without the feature `tracing`.
#[cfg(not(feature = "tracing"))]
#[derive(Clone, Debug)]
pub struct Span;

impl Span {
    /// Runs `work` inside the span: the spans that it makes are children of this one.
    #[cfg(feature = "tracing")]
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.in_scope(work)
    }

    /// Runs `work`.
    #[cfg(not(feature = "tracing"))]
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// Displays a value as `Debug` does, for the fields of events.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a, T>(pub &'a T);

impl<T: fmt::Debug> fmt::Display for Described<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// Makes a [`Span`](crate::trace::Span) with a name and fields that implement `Display`.
#[cfg(feature = "tracing")]
#[macro_export]
macro_rules! trace_span {
    ($name:literal $(, $field:ident = $value:expr)* $(,)?) => {
        $crate::trace::Span($crate::trace::tracing::info_span!($name $(, $field = %$value)*))
    };
}

/// Makes a [`Span`](crate::trace::Span), which is nothing without the feature `tracing`.
#[cfg(not(feature = "tracing"))]
#[macro_export]
macro_rules! trace_span {
    ($name:literal $(, $field:ident = $value:expr)* $(,)?) => {{
        let _ = ($(&$value,)*);
        $crate::trace::Span
    }};
}

/// Records an event in a span, with a level such as `DEBUG`, a text, and fields that implement `Display`.
#[cfg(feature = "tracing")]
#[macro_export]
macro_rules! trace_event {
    ($span:expr, $level:ident, $text:expr $(, $field:ident = $value:expr)* $(,)?) => {
        $crate::trace::tracing::event!(
            parent: &$span.0,
            $crate::trace::tracing::Level::$level,
            $($field = %$value,)*
            "{}",
            $text
        )
    };
}

/// Records nothing without the feature `tracing`.
#[cfg(not(feature = "tracing"))]
#[macro_export]
macro_rules! trace_event {
    ($span:expr, $level:ident, $text:expr $(, $field:ident = $value:expr)* $(,)?) => {{
        let _ = (&$span, &$text, $(&$value,)*);
    }};
}
