//! Writes the values of `proto/README.md`. The SDK's hot path calls these on its outgoing buffer; `Command`s are written with them too.

use crate::command::{TensorMeta, View};

/// `u`: unsigned LEB128.
#[inline]
pub fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let mut bytes = [0u8; 10];
    let mut length = 0;
    while value >= 0x80 {
        bytes[length] = value as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value as u8;
    out.extend_from_slice(&bytes[..=length]);
}

/// `s`: zigzag of `u`.
#[inline]
pub fn signed(out: &mut Vec<u8>, value: i64) {
    unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Eight bytes, little endian.
#[inline]
pub fn float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// `bytes`, and `text`.
pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    unsigned(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// `list<s>`.
pub fn integers(out: &mut Vec<u8>, values: &[i64]) {
    unsigned(out, values.len() as u64);
    for value in values {
        signed(out, *value);
    }
}

/// `list<f64>`.
pub fn floats(out: &mut Vec<u8>, values: &[f64]) {
    unsigned(out, values.len() as u64);
    for value in values {
        float(out, *value);
    }
}

/// `meta`, from its parts. `sizes` and `strides` are of equal length.
pub fn meta_parts(out: &mut Vec<u8>, kind: (u8, u8), sizes: &[i64], strides: &[i64]) {
    debug_assert_eq!(sizes.len(), strides.len());
    out.extend_from_slice(&[kind.0, kind.1]);
    integers(out, sizes);
    for stride in strides {
        signed(out, *stride);
    }
}

/// `meta`.
pub fn meta(out: &mut Vec<u8>, value: &TensorMeta) {
    meta_parts(out, (value.dtype, value.flags), &value.sizes, &value.strides);
}

/// `view`.
pub fn view(out: &mut Vec<u8>, value: &View) {
    unsigned(out, value.storage.0);
    signed(out, value.offset);
    meta(out, &value.meta);
}
