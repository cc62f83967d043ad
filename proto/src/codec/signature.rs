//! Bytes of a signature, and the places its calls fill.

use super::reader::Reader;
use super::{Malformed, writer};
use crate::command::{Arg, Output, Resized, Signature};

/// Longest operator or overload name, bytes.
const MAX_NAME: usize = 256;
/// Longest text argument, bytes.
const MAX_TEXT: usize = 64 << 10;

/// How many of what each call of a signature carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// Tensor slots, as (storage, offset).
    pub tensors: u32,
    /// Floats; a complex counts two.
    pub floats: u32,
    /// CPU scalars of 16 bytes.
    pub scalars: u32,
    /// Calls carry (seed, count): the signature says random, or an argument is the generator.
    pub random: bool,
    /// New storages; where there are any, calls carry `first_output`.
    pub fresh: u32,
}

impl Places {
    /// Counts over the arguments in order, lists included.
    pub fn of(signature: &Signature) -> Places {
        let mut places = Places { random: signature.random, ..Places::default() };
        for arg in &signature.args {
            places.add(arg);
        }
        places.fresh = signature.outputs.iter().map(fresh).sum();
        places
    }

    fn add(&mut self, arg: &Arg) {
        match arg {
            Arg::Tensor(_) => self.tensors += 1,
            Arg::CpuScalar(_) => self.scalars += 1,
            Arg::Float => self.floats += 1,
            Arg::Complex => self.floats += 2,
            Arg::Generator => self.random = true,
            Arg::List(items) => items.iter().for_each(|item| self.add(item)),
            Arg::None
            | Arg::Int(_)
            | Arg::Bool(_)
            | Arg::FloatConst(_)
            | Arg::Ints(_)
            | Arg::Floats(_)
            | Arg::Bools(_)
            | Arg::Text(_)
            | Arg::Device
            | Arg::CpuDevice => {}
        }
    }
}

fn fresh(output: &Output) -> u32 {
    match output {
        Output::Fresh { .. } => 1,
        Output::List(items) => items.iter().map(fresh).sum(),
        Output::Alias { .. } | Output::Argument(_) | Output::Undefined => 0,
    }
}

/// Writes `signature`.
pub fn encode(out: &mut Vec<u8>, signature: &Signature) {
    writer::bytes(out, signature.name.as_bytes());
    writer::bytes(out, signature.overload.as_bytes());
    writer::unsigned(out, signature.args.len() as u64);
    for arg in &signature.args {
        encode_arg(out, arg);
    }
    writer::unsigned(out, signature.outputs.len() as u64);
    for output in &signature.outputs {
        encode_output(out, output);
    }
    writer::unsigned(out, signature.resized.len() as u64);
    for resized in &signature.resized {
        writer::unsigned(out, u64::from(resized.slot));
        writer::meta(out, &resized.meta);
    }
    out.push(u8::from(signature.random));
    out.push(signature.default_dtype);
    writer::unsigned(out, signature.written.len() as u64);
    for position in &signature.written {
        writer::unsigned(out, u64::from(*position));
    }
}

fn encode_arg(out: &mut Vec<u8>, arg: &Arg) {
    match arg {
        Arg::None => out.push(0),
        Arg::Tensor(meta) => {
            out.push(1);
            writer::meta(out, meta);
        }
        Arg::CpuScalar(dtype) => out.extend_from_slice(&[2, *dtype]),
        Arg::Int(value) => {
            out.push(3);
            writer::signed(out, *value);
        }
        Arg::Bool(value) => out.extend_from_slice(&[4, u8::from(*value)]),
        Arg::Float => out.push(5),
        Arg::FloatConst(value) => {
            out.push(6);
            writer::float(out, *value);
        }
        Arg::Complex => out.push(7),
        Arg::Ints(values) => {
            out.push(8);
            writer::integers(out, values);
        }
        Arg::Floats(values) => {
            out.push(9);
            writer::floats(out, values);
        }
        Arg::Bools(values) => {
            out.push(10);
            writer::unsigned(out, values.len() as u64);
            out.extend(values.iter().map(|value| u8::from(*value)));
        }
        Arg::Text(value) => {
            out.push(11);
            writer::bytes(out, value.as_bytes());
        }
        Arg::Device => out.push(12),
        Arg::CpuDevice => out.push(13),
        Arg::Generator => out.push(14),
        Arg::List(items) => {
            out.push(15);
            writer::unsigned(out, items.len() as u64);
            for item in items {
                encode_arg(out, item);
            }
        }
    }
}

fn encode_output(out: &mut Vec<u8>, output: &Output) {
    match output {
        Output::Fresh { bytes, meta } => {
            out.push(0);
            writer::unsigned(out, *bytes);
            writer::meta(out, meta);
        }
        Output::Alias { slot, offset, meta } => {
            out.push(1);
            writer::unsigned(out, u64::from(*slot));
            writer::signed(out, *offset);
            writer::meta(out, meta);
        }
        Output::Argument(position) => {
            out.push(2);
            writer::unsigned(out, u64::from(*position));
        }
        Output::Undefined => out.push(3),
        Output::List(items) => {
            out.push(4);
            writer::unsigned(out, items.len() as u64);
            for item in items {
                encode_output(out, item);
            }
        }
    }
}

/// Reads `signature`, and checks that slots and positions lie inside it.
pub fn decode(reader: &mut Reader<'_>) -> Result<Signature, Malformed> {
    let name = reader.text(MAX_NAME)?;
    let overload = reader.text(MAX_NAME)?;
    let args = list(reader, |reader| decode_arg(reader, false))?;
    let outputs = list(reader, |reader| decode_output(reader, false))?;
    let resized = list(reader, |reader| Ok(Resized { slot: reader.unsigned32()?, meta: reader.meta()? }))?;
    let (random, default_dtype) = (reader.boolean()?, reader.byte()?);
    let written = list(reader, |reader| reader.unsigned32())?;
    let signature = Signature { name, overload, args, outputs, resized, random, default_dtype, written };
    check(&signature)?;
    Ok(signature)
}

fn list<T>(
    reader: &mut Reader<'_>,
    item: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = reader.count(1)?;
    (0..count).map(|_| item(reader)).collect()
}

fn decode_arg(reader: &mut Reader<'_>, inside_list: bool) -> Result<Arg, Malformed> {
    let kind = reader.byte()?;
    if inside_list && !matches!(kind, 0 | 1 | 3 | 4 | 5 | 7) {
        return Err(Malformed::Kind(kind));
    }
    Ok(match kind {
        0 => Arg::None,
        1 => Arg::Tensor(reader.meta()?),
        2 => Arg::CpuScalar(reader.byte()?),
        3 => Arg::Int(reader.signed()?),
        4 => Arg::Bool(reader.boolean()?),
        5 => Arg::Float,
        6 => Arg::FloatConst(reader.float()?),
        7 => Arg::Complex,
        8 => Arg::Ints(reader.integers()?),
        9 => Arg::Floats(reader.floats()?),
        10 => Arg::Bools(list(reader, |reader| reader.boolean())?),
        11 => Arg::Text(reader.text(MAX_TEXT)?),
        12 => Arg::Device,
        13 => Arg::CpuDevice,
        14 => Arg::Generator,
        15 => Arg::List(list(reader, |reader| decode_arg(reader, true))?),
        other => return Err(Malformed::Kind(other)),
    })
}

fn decode_output(reader: &mut Reader<'_>, inside_list: bool) -> Result<Output, Malformed> {
    Ok(match reader.byte()? {
        0 => Output::Fresh { bytes: reader.unsigned()?, meta: reader.meta()? },
        1 => Output::Alias { slot: reader.unsigned32()?, offset: reader.signed()?, meta: reader.meta()? },
        2 => Output::Argument(reader.unsigned32()?),
        3 => Output::Undefined,
        4 if !inside_list => Output::List(list(reader, |reader| decode_output(reader, true))?),
        other => return Err(Malformed::Kind(other)),
    })
}

fn check(signature: &Signature) -> Result<(), Malformed> {
    let tensors = Places::of(signature).tensors;
    let slots = signature.resized.iter().map(|resized| resized.slot);
    let outside = |position: &u32| *position as usize >= signature.args.len();
    if slots.into_iter().any(|slot| slot >= tensors) || signature.written.iter().any(outside) {
        return Err(Malformed::Slot);
    }
    signature.outputs.iter().try_for_each(|output| check_output(output, tensors, signature.args.len()))
}

fn check_output(output: &Output, tensors: u32, args: usize) -> Result<(), Malformed> {
    match output {
        Output::Alias { slot, .. } if *slot >= tensors => Err(Malformed::Slot),
        Output::Argument(position) if *position as usize >= args => Err(Malformed::Slot),
        Output::List(items) => items.iter().try_for_each(|item| check_output(item, tensors, args)),
        Output::Fresh { .. } | Output::Alias { .. } | Output::Argument(_) | Output::Undefined => Ok(()),
    }
}
