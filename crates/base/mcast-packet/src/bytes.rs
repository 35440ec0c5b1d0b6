//! Reading and writing big-endian fields with bounds checks.

use crate::EmitError;

pub(crate) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_be_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_be_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_be_bytes)
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// Writes consecutive fields. A buffer that is too short is an error, not a panic.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    position: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, position: 0 }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), EmitError> {
        let end = self.position.saturating_add(bytes.len());
        let field = self.buffer.get_mut(self.position..end).ok_or(EmitError::BufferTooShort)?;
        field.copy_from_slice(bytes);
        self.position = end;
        Ok(())
    }

    pub(crate) fn put_u8(&mut self, value: u8) -> Result<(), EmitError> {
        self.put(&[value])
    }

    pub(crate) fn put_u16(&mut self, value: u16) -> Result<(), EmitError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn put_u32(&mut self, value: u32) -> Result<(), EmitError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn put_u64(&mut self, value: u64) -> Result<(), EmitError> {
        self.put(&value.to_be_bytes())
    }

    /// Overwrites a field that has already been written.
    pub(crate) fn patch_u16(&mut self, offset: usize, value: u16) -> Result<(), EmitError> {
        let field = self.buffer.get_mut(offset..offset + 2).ok_or(EmitError::BufferTooShort)?;
        field.copy_from_slice(&value.to_be_bytes());
        Ok(())
    }

    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    /// Returns the bytes written since `start`.
    pub(crate) fn written(&self, start: usize) -> &[u8] {
        self.buffer.get(start..self.position).unwrap_or_default()
    }

    /// Returns the unused part of the buffer. After filling it directly, the caller advances with
    /// [`Self::skip`].
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.position..).unwrap_or_default()
    }

    pub(crate) const fn skip(&mut self, length: usize) {
        self.position += length;
    }
}
