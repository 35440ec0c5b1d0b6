//! Whether a program works, for those that decide whether to use it, or to start it again.

/// What is responded to requests for `/live` and `/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does what it is for.
    Ready,
    /// It cannot do that at present, for this reason, and continues when it can: `/ready` responds with status 503.
    NotReady(String),
    /// It does nothing any more, for this reason, and should be started again: both respond with status 503.
    Stuck(String),
}

impl Health {
    /// Returns whether `/live` or `/ready` succeeds, and the text of the response.
    pub(crate) fn respond(&self, is_readiness: bool) -> (bool, String) {
        match self {
            Self::Ready if is_readiness => (true, "ready\n".to_owned()),
            Self::NotReady(reason) if is_readiness => (false, format!("not ready: {reason}\n")),
            Self::Ready | Self::NotReady(_) => (true, "live\n".to_owned()),
            Self::Stuck(reason) => (false, format!("stuck: {reason}\n")),
        }
    }
}
