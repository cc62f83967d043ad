//! Reads the values of `proto/README.md` from a batch. Strict: every count is bounded by the bytes that are left before anything is allocated, and each
//! value has exactly one encoding.

use bytes::Bytes;

use super::Malformed;
use crate::command::{CONJUGATE, NEGATIVE, StorageId, TensorMeta, View, WRAPPED};

/// Most dimensions of a tensor (PyTorch itself stops at 64).
pub const MAX_DIMENSIONS: usize = 64;

/// A position in a batch's bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(whole: &'a Bytes) -> Self {
        Reader { whole, at: 0 }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.whole.len() - self.at
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.whole.get(self.at).ok_or(Malformed::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    /// 0 or 1.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Malformed::Boolean(other)),
        }
    }

    /// `u`: unsigned LEB128 in its shortest form.
    #[inline]
    pub fn unsigned(&mut self) -> Result<u64, Malformed> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Malformed::Overflow);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if byte == 0 { Err(Malformed::Overlong) } else { Ok(value) };
            }
        }
        Err(Malformed::Overflow)
    }

    /// `u` that fits 32 bits.
    #[inline]
    pub fn unsigned32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.unsigned()?).map_err(|_| Malformed::Overflow)
    }

    /// `s`: zigzag of `u`.
    #[inline]
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let raw = self.unsigned()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Eight bytes, little endian.
    #[inline]
    pub fn float(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let slice = self.whole.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(Malformed::Truncated)?;
        self.at += N;
        Ok(*slice)
    }

    /// A count of items of at least `least` bytes each: never more than the batch can still hold.
    pub fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = self.unsigned()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.remaining() / least.max(1) => Ok(count),
            _ => Err(Malformed::Count(count)),
        }
    }

    /// `bytes`: a slice that shares the batch's memory.
    pub fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.count(1)?;
        let slice = self.whole.slice(self.at..self.at + length);
        self.at += length;
        Ok(slice)
    }

    /// `text` of at most `most` bytes.
    pub fn text(&mut self, most: usize) -> Result<String, Malformed> {
        let raw = self.bytes()?;
        if raw.len() > most {
            return Err(Malformed::Count(raw.len() as u64));
        }
        std::str::from_utf8(&raw).map(str::to_owned).map_err(|_| Malformed::Text)
    }

    /// `list<s>`.
    pub fn integers(&mut self) -> Result<Vec<i64>, Malformed> {
        let count = self.count(1)?;
        (0..count).map(|_| self.signed()).collect()
    }

    /// `list<f64>`.
    pub fn floats(&mut self) -> Result<Vec<f64>, Malformed> {
        let count = self.count(8)?;
        (0..count).map(|_| self.float()).collect()
    }

    /// `meta`.
    pub fn meta(&mut self) -> Result<TensorMeta, Malformed> {
        let dtype = self.byte()?;
        let flags = self.byte()?;
        if flags & !(WRAPPED | CONJUGATE | NEGATIVE) != 0 {
            return Err(Malformed::Flags(flags));
        }
        let sizes = self.integers()?;
        if sizes.len() > MAX_DIMENSIONS {
            return Err(Malformed::Count(sizes.len() as u64));
        }
        if sizes.iter().any(|size| *size < 0) {
            return Err(Malformed::NegativeSize);
        }
        let strides = (0..sizes.len()).map(|_| self.signed()).collect::<Result<_, _>>()?;
        Ok(TensorMeta { dtype, flags, sizes, strides })
    }

    /// `view`.
    pub fn view(&mut self) -> Result<View, Malformed> {
        Ok(View { storage: StorageId(self.unsigned()?), offset: self.signed()?, meta: self.meta()? })
    }
}
