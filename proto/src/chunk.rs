//! `Chunk` messages framed by hand, as gRPC frames them: on the SDK's side the bytes of a tensor go into and out of HTTP/2 frames without another copy.
//!
//! Owns the five bytes of gRPC's prefix and protobuf's field numbers of `Chunk`. Leaves connections to the SDK. The agent's end is generated, and copies:
//! a chunk is decoded into a buffer of its own, gathered with the others of its transfer, and written into the tensor when all are there. What is written here is read by any
//! gRPC peer, and what any gRPC peer writes is read here.

use prost::encoding::{decode_varint, encode_varint};

/// Most bytes of data in a chunk.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Longest head: prefix, four keys, three integers and a length.
const LONGEST_HEAD: usize = 5 + 4 + 3 * 10 + 5;

/// Everything of a framed chunk but its data, which follows.
pub fn head(transfer: u64, offset: u64, total: u64, length: usize) -> Vec<u8> {
    let mut fields = Vec::with_capacity(LONGEST_HEAD);
    fields.extend_from_slice(&[0; 5]);
    for (key, value) in [(0x08, transfer), (0x10, offset), (0x20, total)] {
        if value != 0 {
            fields.push(key);
            encode_varint(value, &mut fields);
        }
    }
    if length > 0 {
        fields.push(0x1a);
        encode_varint(length as u64, &mut fields);
    }
    let message = (fields.len() - 5 + length) as u32;
    fields[1..5].copy_from_slice(&message.to_be_bytes());
    fields
}

/// Why bytes are not framed chunks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The compressed flag, or a message longer than any chunk.
    #[error("a message is compressed or too long for a chunk")]
    Prefix,
    /// No chunk's fields.
    #[error("a message is no chunk")]
    Fields,
}

/// Reads framed chunks from pieces of any length.
#[derive(Debug, Default)]
pub struct ChunkReader {
    head: Vec<u8>,
    /// Where the next byte of data belongs, how many are left, and how many bytes of the message follow them.
    data: Option<(u64, usize, usize)>,
    skip: usize,
}

impl ChunkReader {
    /// At the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands each piece of data with its offset to `put`.
    ///
    /// # Errors
    /// [`Unreadable`]: the rest of the body is of no use.
    pub fn feed(&mut self, mut piece: &[u8], mut put: impl FnMut(u64, &[u8])) -> Result<(), Unreadable> {
        while !piece.is_empty() {
            if let Some((offset, left, tail)) = self.data {
                let (now, rest) = piece.split_at(left.min(piece.len()));
                put(offset, now);
                piece = rest;
                self.data = Some((offset + now.len() as u64, left - now.len(), tail));
                if left == now.len() {
                    self.data = None;
                    self.skip = tail;
                }
            } else if self.skip > 0 {
                let now = self.skip.min(piece.len());
                piece = &piece[now..];
                self.skip -= now;
            } else {
                self.head.push(piece[0]);
                piece = &piece[1..];
                self.try_head()?;
            }
        }
        Ok(())
    }

    fn try_head(&mut self) -> Result<(), Unreadable> {
        let Some((prefix, fields)) = self.head.split_first_chunk::<5>() else { return Ok(()) };
        let message = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] != 0 || message > CHUNK_BYTES + LONGEST_HEAD {
            return Err(Unreadable::Prefix);
        }
        let mut offset = 0;
        let mut rest = fields;
        while let Some((key, after)) = rest.split_first() {
            rest = after;
            // A varint that goes on past what has come is waited for.
            if !rest.iter().take(10).any(|byte| *byte < 0x80) {
                return if rest.len() >= 10 { Err(Unreadable::Fields) } else { Ok(()) };
            }
            let value = decode_varint(&mut rest).map_err(|_| Unreadable::Fields)?;
            match key {
                0x08 | 0x20 => {}
                0x10 => offset = value,
                0x1a => {
                    let length = usize::try_from(value).map_err(|_| Unreadable::Fields)?;
                    let before = fields.len() - rest.len();
                    let end = before.checked_add(length).ok_or(Unreadable::Fields)?;
                    let tail = message.checked_sub(end).ok_or(Unreadable::Fields)?;
                    self.head.clear();
                    (self.data, self.skip) = if length > 0 { (Some((offset, length, tail)), 0) } else { (None, tail) };
                    return Ok(());
                }
                _ => return Err(Unreadable::Fields),
            }
        }
        let (length, whole) = (fields.len(), self.head.len());
        if length == message {
            self.head.clear();
        }
        if length > message || whole > LONGEST_HEAD { Err(Unreadable::Fields) } else { Ok(()) }
    }
}
