//! Entries in MessagePack, of which only arrays and texts occur.

use super::entry::Field;

/// Reads entries: arrays of an id and an array of fields and values.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedEntries<'a> {
    bytes: &'a [u8],
    /// The number of entries that follow.
    left: usize,
}

impl<'a> PackedEntries<'a> {
    /// Returns the entries of a part of a response; `None` if it has another form.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut entries = Self { bytes, left: 0 };
        entries.left = entries.array()?;
        Some(entries)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Returns the id of the next entry, and replaces the fields by its own; `None` if it has another form.
    pub(super) fn next(&mut self, fields: &mut Vec<Field<'a>>) -> Option<&'a str> {
        fields.clear();
        self.left = self.left.checked_sub(1)?;
        if self.array()? != 2 {
            return None;
        }
        let id = std::str::from_utf8(self.text()?).ok()?;
        let count = self.array()?;
        if count % 2 != 0 {
            return None;
        }
        for _ in 0..count / 2 {
            fields.push((self.text()?, self.text()?));
        }
        Some(id)
    }

    /// Returns the length of an array.
    fn array(&mut self) -> Option<usize> {
        match self.number(1)? {
            tag @ 0x90..=0x9f => Some(tag & 0x0f),
            0xdc => self.number(2),
            0xdd => self.number(4),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = match self.number(1)? {
            tag @ 0xa0..=0xbf => tag & 0x1f,
            0xd9 => self.number(1)?,
            0xda => self.number(2)?,
            0xdb => self.number(4)?,
            _ => return None,
        };
        self.take(length)
    }

    /// Returns a number of this many bytes.
    fn number(&mut self, length: usize) -> Option<usize> {
        Some(self.take(length)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn array(length: usize) -> Vec<u8> {
        match length {
            0..=15 => vec![0x90 | length as u8],
            _ => [&[0xdc][..], &(length as u16).to_be_bytes()].concat(),
        }
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len();
        let head = match length {
            0..=31 => vec![0xa0 | length as u8],
            32..=255 => vec![0xd9, length as u8],
            256..=65_535 => [&[0xda][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[0xdb][..], &(length as u32).to_be_bytes()].concat(),
        };
        [&head[..], bytes].concat()
    }

    /// The id of an entry, and its fields.
    type ReadEntry = (String, Vec<(Vec<u8>, Vec<u8>)>);

    fn read_all(bytes: &[u8]) -> Option<Vec<ReadEntry>> {
        let (mut entries, mut fields, mut all) = (PackedEntries::new(bytes)?, Vec::new(), Vec::new());
        while !entries.is_empty() {
            let id = entries.next(&mut fields)?.to_owned();
            all.push((id, fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()));
        }
        Some(all)
    }

    /// Texts of all lengths that differ in how they are packed.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0..40_usize, 200..300_usize, Just(65_535_usize), Just(70_000_usize)];
        length.prop_map(|length| (0..length).map(|at| at as u8).collect())
    }

    proptest! {
        #[test]
        fn entries_are_read_as_they_were_packed(
            entries in prop::collection::vec((".{0,40}", prop::collection::vec((texts(), texts()), 0..20)), 0..20),
        ) {
            let mut bytes = array(entries.len());
            for (id, fields) in &entries {
                bytes.extend([array(2), text(id.as_bytes()), array(2 * fields.len())].concat());
                fields.iter().for_each(|(name, value)| bytes.extend([text(name), text(value)].concat()));
            }
            prop_assert_eq!(read_all(&bytes), Some(entries));
        }

        #[test]
        fn any_bytes_are_read_or_refused(head in prop::sample::select(vec![0x92_u8, 0x9f, 0xdc, 0xdd]), bytes: Vec<u8>) {
            let bytes = [&[head], &bytes[..]].concat();
            if let Some(all) = read_all(&bytes) {
                prop_assert!(all.len() <= bytes.len());
            }
        }
    }
}
