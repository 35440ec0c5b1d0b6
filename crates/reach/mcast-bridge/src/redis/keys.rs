//! The keys of a stream: its own, and those beside it.

use crate::engine::EngineError;

/// The key of a stream, and what the names of those beside it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamKeys {
    pub(super) stream: String,
    prefix: String,
}

impl StreamKeys {
    /// Those at a single server.
    pub(super) fn alone(key: &str) -> Self {
        Self { stream: key.to_owned(), prefix: key.to_owned() }
    }

    /// Those in a cluster, where scripts need all in the same slot. A slot is chosen by the hash of the key, or of what it
    /// has between the first `{` and the next `}`, if that is not empty.
    pub(super) fn in_cluster(key: &str) -> Result<Self, EngineError> {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let prefix = match tag {
            Some("") => return Err(braces(key)),
            Some(_) => key.to_owned(),
            None if key.contains('}') => return Err(braces(key)),
            None => format!("{{{key}}}"),
        };
        Ok(Self { stream: key.to_owned(), prefix })
    }

    /// The hash in which bridges note themselves.
    pub(super) fn bridges(&self) -> String {
        format!("{}:bridges", self.prefix)
    }

    /// The number that identifies the stream.
    pub(super) fn engine(&self) -> String {
        format!("{}:engine", self.prefix)
    }
}

fn braces(key: &str) -> EngineError {
    EngineError {
        what: format!("the keys beside \"{key}\" cannot be in its slot of the cluster"),
        remedy: Some("choose a key without braces: ?key=KEY".into()),
        is_transient: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_a_cluster_have_the_hash_tag_of_the_stream() {
        assert_eq!(StreamKeys::alone("prices").bridges(), "prices:bridges");
        for (key, engine) in
            [("prices", "{prices}:engine"), ("a{b}c", "a{b}c:engine"), ("a{b", "{a{b}:engine")]
        {
            let keys = StreamKeys::in_cluster(key).unwrap();
            assert_eq!((&*keys.stream, keys.engine()), (key, engine.to_owned()));
        }
        assert!(["{}", "a}b", "x{}y"].into_iter().all(|key| StreamKeys::in_cluster(key).is_err()));
    }
}
