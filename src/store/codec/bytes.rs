//! Numbers, texts and lists as bytes, and the checked front of a record. Knows nothing of what
//! they mean.

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::DecodeError::{self, Damaged};
use super::{CHECKED, LENGTH_END, MAGIC, Unencodable, VERSION};

/// Bytes being written.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// With room for the checksum and the length, which are known at the end.
    pub(super) fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.resize(LENGTH_END, 0);
        Self(bytes)
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// LEB128.
    pub(super) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The sign in the lowest bit.
    pub(super) fn signed(&mut self, value: i64) {
        self.number((value << 1 ^ value >> 63).cast_unsigned());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn count(&mut self, count: usize, limit: usize) -> Result<(), Unencodable> {
        if count > limit {
            return Err(Unencodable("too many fields, tags or variants"));
        }
        self.number(count as u64);
        Ok(())
    }

    /// Its length in front.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn seal(mut self) -> Result<Vec<u8>, Unencodable> {
        let length = u32::try_from(self.0.len()).map_err(|_| Unencodable("too long"))?;
        self.0[CHECKED..LENGTH_END].copy_from_slice(&length.to_be_bytes());
        let sum = checksum(&self.0[CHECKED..]);
        self.0[CHECKED - sum.len()..CHECKED].copy_from_slice(&sum);
        Ok(self.0)
    }
}

/// Bytes being read.
pub(super) struct Reader<'a> {
    blob: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Checks what stands in front, and stands behind it.
    pub(super) fn open(blob: &'a Bytes) -> Result<Self, DecodeError> {
        let mut input = Self { blob, at: 0 };
        if input.take(MAGIC.len())? != MAGIC {
            return Err(Damaged("not a record"));
        }
        match input.u8()? {
            VERSION => {}
            other => return Err(DecodeError::ForeignVersion(other)),
        }
        let sum: [u8; 8] = input.array()?;
        if sum != checksum(input.rest()) {
            return Err(Damaged("checksum"));
        }
        if usize::try_from(input.u32()?) != Ok(blob.len()) {
            return Err(Damaged("length"));
        }
        Ok(input)
    }

    fn rest(&self) -> &'a [u8] {
        self.blob.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..count).ok_or(Damaged("too short"))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| Damaged("too short"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// As [`Writer::number`] writes it, and in no other way.
    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits << shift;
            if byte < 0x80 {
                let is_shortest = byte > 0 || shift == 0;
                let fits = value >> shift == bits;
                return if is_shortest && fits { Ok(value) } else { Err(Damaged("number")) };
            }
        }
        Err(Damaged("number"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, DecodeError> {
        self.number().map(|value| (value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(super) fn millis(&mut self) -> Result<Duration, DecodeError> {
        self.number().map(Duration::from_millis)
    }

    pub(super) fn count(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged("count"))?;
        // Every item takes a byte at least, so a short record cannot promise a long list.
        if count > limit || count > self.rest().len() {
            return Err(Damaged("count"));
        }
        Ok(count)
    }

    /// What [`Writer::text`] wrote.
    pub(super) fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged("too short"))?;
        self.take(length)
    }

    /// The same as a slice of the whole, not a copy.
    pub(super) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        self.text().map(|bytes| self.blob.slice_ref(bytes))
    }

    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.rest().is_empty() { Ok(()) } else { Err(Damaged("trailing bytes")) }
    }
}

/// XXH3, 64 bits: against damage, not against who may write to Valkey.
pub(super) fn checksum(bytes: &[u8]) -> [u8; 8] {
    xxh3_64(bytes).to_be_bytes()
}
