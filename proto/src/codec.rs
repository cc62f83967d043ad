//! The bytes of commands, as `proto/README.md` says them.
//!
//! Owns the encoding, and the one piece of state it needs: which signatures are defined, since a Call's length follows from its signature. Leaves the
//! meaning of commands to the executor. Invariants: no bytes make it panic or allocate more than a small multiple of their length; what decodes, encodes
//! to the same bytes again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;

use crate::command::{CallArgs, Command, RequestId, Signature, SignatureId, StorageId, TransferId};

pub mod reader;
pub mod signature;
pub mod writer;

pub use reader::Reader;
pub use signature::Places;

/// Longest `Batch.commands`, bytes. A longer one is a violation.
pub const MAX_BATCH_BYTES: usize = 2 << 20;
/// What a batch takes of the window beside its commands: it is kept, queued and numbered, so an empty one is not free. Bytes.
const BATCH_BYTES: u64 = 128;
/// Most signatures defined at a time.
pub const MAX_SIGNATURES: usize = 1 << 20;
/// Most bytes of definitions at a time: what is made of one takes a multiple of its length.
pub const MAX_SIGNATURE_BYTES: usize = 32 << 20;
/// Longest label, bytes.
pub const MAX_LABEL: usize = 1024;

/// Bytes of the window that a batch of so many bytes of commands takes, on both ends.
pub fn window_bytes(commands: usize) -> u64 {
    commands as u64 + BATCH_BYTES
}

/// First byte of each command.
pub mod tag {
    #![allow(missing_docs)]
    pub const CALL: u8 = 1;
    pub const FREE: u8 = 2;
    pub const CREATE: u8 = 3;
    pub const RESIZE: u8 = 4;
    pub const DEFINE: u8 = 5;
    pub const FORGET: u8 = 6;
    pub const WRITE: u8 = 7;
    pub const WRITE_BULK: u8 = 8;
    pub const READ: u8 = 9;
    pub const READ_BULK: u8 = 10;
    pub const CALL_NOW: u8 = 11;
    pub const SYNC: u8 = 12;
    pub const MARK: u8 = 13;
    pub const LABEL: u8 = 14;
}

/// Why bytes are not commands. The peer's mistake: it ends the session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A value runs past the end.
    #[error("the batch ends inside a command")]
    Truncated,
    /// An integer has more bits than its field.
    #[error("an integer does not fit its field")]
    Overflow,
    /// An integer is not in its shortest form.
    #[error("an integer is written longer than needed")]
    Overlong,
    /// A count that the batch cannot hold, or above the limit.
    #[error("a count of {0} is more than allowed or than the batch holds")]
    Count(u64),
    /// Neither 0 nor 1.
    #[error("{0} stands where a boolean should")]
    Boolean(u8),
    /// Unknown bits.
    #[error("unknown tensor flags {0:#x}")]
    Flags(u8),
    /// A negative size.
    #[error("a tensor size is negative")]
    NegativeSize,
    /// Not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// Unknown kind of argument or output, or one not allowed there.
    #[error("unknown argument or output kind {0}")]
    Kind(u8),
    /// A slot or position outside the signature.
    #[error("a slot lies outside the signature")]
    Slot,
    /// Unknown command.
    #[error("unknown command {0}")]
    Tag(u8),
    /// Call or Forget of a number that is not defined.
    #[error("signature {0} is not defined")]
    Undefined(u32),
    /// Define of a number that is defined.
    #[error("signature {0} is defined already")]
    Redefined(u32),
    /// More than [`MAX_SIGNATURES`] or [`MAX_SIGNATURE_BYTES`].
    #[error("more than {MAX_SIGNATURES} signatures or {MAX_SIGNATURE_BYTES} bytes of them are defined")]
    TooManySignatures,
    /// CallNow with outputs.
    #[error("a CallNow names outputs")]
    NowOutputs,
}

/// What [`Decoder::next`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// A Call; its places are in the `CallArgs` handed in.
    Call(SignatureId),
    /// Any other command.
    Other(Command),
}

#[derive(Debug, Clone, Copy)]
struct Defined {
    places: Places,
    bytes: usize,
}

/// Decodes the batches of one session, in order.
#[derive(Debug, Default)]
pub struct Decoder {
    defined: HashMap<u32, Defined, BuildHasherDefault<NumberHasher>>,
    bytes: usize,
}

impl Decoder {
    /// With nothing defined.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next command; `None` at the end of the batch. A Call's places replace those in `args`, without allocating once its vectors have grown.
    ///
    /// # Errors
    /// [`Malformed`]: the session is to end; the reader and the decoder are of no use any more.
    pub fn next(&mut self, reader: &mut Reader<'_>, args: &mut CallArgs) -> Result<Option<Decoded>, Malformed> {
        if reader.remaining() == 0 {
            return Ok(None);
        }
        let tag = reader.byte()?;
        if tag == tag::CALL {
            let number = reader.unsigned32()?;
            let Defined { places, .. } = *self.defined.get(&number).ok_or(Malformed::Undefined(number))?;
            decode_args(reader, places, places.fresh > 0, args)?;
            return Ok(Some(Decoded::Call(SignatureId(number))));
        }
        self.other(tag, reader).map(|command| Some(Decoded::Other(command)))
    }

    /// All commands of a batch, as values.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn all(&mut self, batch: &Bytes) -> Result<Vec<Command>, Malformed> {
        let mut reader = Reader::new(batch);
        let mut args = CallArgs::default();
        let mut commands = Vec::new();
        while let Some(decoded) = self.next(&mut reader, &mut args)? {
            commands.push(match decoded {
                Decoded::Call(signature) => Command::Call { signature, args: args.clone() },
                Decoded::Other(command) => command,
            });
        }
        Ok(commands)
    }

    fn other(&mut self, tag: u8, reader: &mut Reader<'_>) -> Result<Command, Malformed> {
        let r = reader;
        Ok(match tag {
            tag::FREE => Command::Free(StorageId(r.unsigned()?)),
            tag::CREATE => Command::Create { storage: StorageId(r.unsigned()?), bytes: r.unsigned()? },
            tag::RESIZE => Command::Resize { storage: StorageId(r.unsigned()?), bytes: r.unsigned()? },
            tag::DEFINE => self.define(r)?,
            tag::FORGET => {
                let number = r.unsigned32()?;
                self.bytes -= self.defined.remove(&number).ok_or(Malformed::Undefined(number))?.bytes;
                Command::Forget(SignatureId(number))
            }
            tag::WRITE => Command::Write { view: r.view()?, data: r.bytes()? },
            tag::WRITE_BULK => {
                Command::WriteBulk { transfer: TransferId(r.unsigned()?), view: r.view()?, bytes: r.unsigned()? }
            }
            tag::READ => Command::Read { request: RequestId(r.unsigned()?), view: r.view()? },
            tag::READ_BULK => Command::ReadBulk {
                request: RequestId(r.unsigned()?),
                transfer: TransferId(r.unsigned()?),
                view: r.view()?,
                bytes: r.unsigned()?,
            },
            tag::CALL_NOW => call_now(r)?,
            tag::SYNC => Command::Sync(RequestId(r.unsigned()?)),
            tag::MARK => Command::Mark(RequestId(r.unsigned()?)),
            tag::LABEL => Command::Label { storage: StorageId(r.unsigned()?), name: r.text(MAX_LABEL)? },
            other => return Err(Malformed::Tag(other)),
        })
    }

    fn define(&mut self, reader: &mut Reader<'_>) -> Result<Command, Malformed> {
        let number = reader.unsigned32()?;
        let before = reader.remaining();
        let signature = signature::decode(reader)?;
        let bytes = before - reader.remaining();
        self.bytes += bytes;
        if self.defined.len() >= MAX_SIGNATURES || self.bytes > MAX_SIGNATURE_BYTES {
            return Err(Malformed::TooManySignatures);
        }
        if self.defined.insert(number, Defined { places: Places::of(&signature), bytes }).is_some() {
            return Err(Malformed::Redefined(number));
        }
        Ok(Command::Define(SignatureId(number), Box::new(signature)))
    }
}

fn call_now(reader: &mut Reader<'_>) -> Result<Command, Malformed> {
    let request = RequestId(reader.unsigned()?);
    let signature = signature::decode(reader)?;
    if !signature.outputs.is_empty() {
        return Err(Malformed::NowOutputs);
    }
    let mut args = CallArgs::default();
    decode_args(reader, Places::of(&signature), true, &mut args)?;
    Ok(Command::CallNow { request, signature: Box::new(signature), args })
}

fn decode_args(
    reader: &mut Reader<'_>,
    places: Places,
    first_output: bool,
    args: &mut CallArgs,
) -> Result<(), Malformed> {
    args.views.clear();
    args.floats.clear();
    args.scalars.clear();
    for _ in 0..places.tensors {
        args.views.push((StorageId(reader.unsigned()?), reader.signed()?));
    }
    for _ in 0..places.floats {
        args.floats.push(reader.float()?);
    }
    for _ in 0..places.scalars {
        args.scalars.push(reader.array()?);
    }
    args.random = if places.random { Some((u64::from_le_bytes(reader.array()?), reader.unsigned()?)) } else { None };
    args.first_output = if first_output { Some(StorageId(reader.unsigned()?)) } else { None };
    Ok(())
}

/// Writes a command. The caller gives a Call the places of its signature.
pub fn encode(out: &mut Vec<u8>, command: &Command) {
    match command {
        Command::Call { signature, args } => {
            out.push(tag::CALL);
            writer::unsigned(out, u64::from(signature.0));
            encode_args(out, args);
        }
        Command::Free(storage) => pair(out, tag::FREE, &[storage.0]),
        Command::Create { storage, bytes } => pair(out, tag::CREATE, &[storage.0, *bytes]),
        Command::Resize { storage, bytes } => pair(out, tag::RESIZE, &[storage.0, *bytes]),
        Command::Define(number, signature) => define(out, *number, signature),
        Command::Forget(number) => pair(out, tag::FORGET, &[u64::from(number.0)]),
        Command::Write { view, data } => {
            out.push(tag::WRITE);
            writer::view(out, view);
            writer::bytes(out, data);
        }
        Command::WriteBulk { transfer, view, bytes } => {
            pair(out, tag::WRITE_BULK, &[transfer.0]);
            writer::view(out, view);
            writer::unsigned(out, *bytes);
        }
        Command::Read { request, view } => {
            pair(out, tag::READ, &[request.0]);
            writer::view(out, view);
        }
        Command::ReadBulk { request, transfer, view, bytes } => {
            pair(out, tag::READ_BULK, &[request.0, transfer.0]);
            writer::view(out, view);
            writer::unsigned(out, *bytes);
        }
        Command::CallNow { request, signature, args } => {
            pair(out, tag::CALL_NOW, &[request.0]);
            signature::encode(out, signature);
            encode_args(out, args);
        }
        Command::Sync(request) => pair(out, tag::SYNC, &[request.0]),
        Command::Mark(request) => pair(out, tag::MARK, &[request.0]),
        Command::Label { storage, name } => {
            pair(out, tag::LABEL, &[storage.0]);
            writer::bytes(out, name.as_bytes());
        }
    }
}

fn define(out: &mut Vec<u8>, number: SignatureId, signature: &Signature) {
    pair(out, tag::DEFINE, &[u64::from(number.0)]);
    signature::encode(out, signature);
}

/// A tag and integers.
fn pair(out: &mut Vec<u8>, tag: u8, integers: &[u64]) {
    out.push(tag);
    for integer in integers {
        writer::unsigned(out, *integer);
    }
}

/// Writes the places of a call.
pub fn encode_args(out: &mut Vec<u8>, args: &CallArgs) {
    for (storage, offset) in &args.views {
        writer::unsigned(out, storage.0);
        writer::signed(out, *offset);
    }
    for float in &args.floats {
        writer::float(out, *float);
    }
    for scalar in &args.scalars {
        out.extend_from_slice(scalar);
    }
    if let Some((seed, count)) = args.random {
        out.extend_from_slice(&seed.to_le_bytes());
        writer::unsigned(out, count);
    }
    if let Some(first) = args.first_output {
        writer::unsigned(out, first.0);
    }
}

/// Signature numbers are small and chosen by the one peer whose session this is: mixing them is enough.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
