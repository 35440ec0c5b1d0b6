//! Big-endian integers and texts.

/// Bytes that end too early, or that do not mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak the stream protocol of RabbitMQ: {0}")]
pub(super) struct ProtocolError(pub(super) &'static str);

const SHORT: ProtocolError = ProtocolError("a frame ends too early");

/// Takes values from the front of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn length(&mut self) -> Result<usize, ProtocolError> {
        usize::try_from(self.u32()?).map_err(|_| SHORT)
    }

    /// Takes a text with its length. Those of servers are UTF-8, and are only shown or compared.
    pub(super) fn text(&mut self) -> Result<String, ProtocolError> {
        let length = usize::from(self.u16()?);
        // 65,535 means that there is no text.
        let bytes = if length == usize::from(u16::MAX) { &[] } else { self.bytes(length)? };
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Adds values at the end of bytes.
pub(super) trait Write {
    fn number<const N: usize>(&mut self, bytes: [u8; N]);
    /// Adds a text with its length. A text that is too long is cut off.
    fn text(&mut self, text: &str);
}

impl Write for Vec<u8> {
    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.extend_from_slice(&bytes);
    }

    fn text(&mut self, text: &str) {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.number(length.to_be_bytes());
        self.extend_from_slice(&text.as_bytes()[..usize::from(length.unsigned_abs())]);
    }
}
