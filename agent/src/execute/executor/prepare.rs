//! A defined signature, ready to run or with the reason why it never will.

use super::*;
use crate::allowlist;
use torch_remote_proto::command::Arg;

/// What a Define leaves behind.
#[derive(Debug)]
pub struct Ready {
    /// Full name, for texts.
    pub operator: String,
    /// The operator, or why calls of it fail.
    pub prepared: Result<Prepared, boxed::Error>,
    /// How each tensor slot is used.
    pub slots: Vec<Slot>,
    /// Whether any slot is written.
    pub writes: bool,
    /// Slots that hold no value after a failure: those written, and those that the client takes a result to lie in.
    pub spoils: Vec<usize>,
    /// New storages.
    pub fresh: Vec<Fresh>,
    /// Their sizes together.
    pub fresh_bytes: u64,
}

/// A new storage of each call.
#[derive(Debug)]
pub struct Fresh {
    /// Size that the client assumes.
    pub bytes: u64,
    /// For reports.
    pub made: Rc<Made>,
}

impl Ready {
    /// Checks the allowlist and the schema. What does not fit fails at each call, so that its outputs are poisoned.
    ///
    /// # Errors
    /// The device is lost.
    pub fn new(signature: &Signature, now: bool) -> Result<Ready, Stop> {
        let operator = full_name(signature);
        let prepared = match allowlist::allows(&operator) {
            true => Prepared::new(signature, now),
            false => Err(refused(
                ErrorClass::NotImplementedError,
                format!(
                    "{operator} is not on the list of operators that this executor runs. Run it on CPU (tensor.cpu()), or ask for it in an issue"
                ),
            )),
        };
        if let Err(boxed::Error::Fatal(message)) = prepared {
            return Err(Stop::Fatal(message));
        }
        let slots = prepared.as_ref().map_or_else(|_| assumed_slots(signature), |prepared| prepared.slots().to_vec());
        let mut fresh = Vec::new();
        fresh_of(&signature.outputs, |bytes, meta| fresh.push(Fresh { bytes, made: Made::by(&operator, meta) }));
        Ok(Ready {
            writes: slots.iter().any(|slot| slot.writes != 0),
            spoils: spoils(signature, &slots),
            fresh_bytes: fresh.iter().fold(0, |sum: u64, fresh| sum.saturating_add(fresh.bytes)),
            operator,
            prepared,
            slots,
            fresh,
        })
    }
}

/// The client's tensor of a failed result must not show what its argument's storage held before.
fn spoils(signature: &Signature, slots: &[Slot]) -> Vec<usize> {
    let mut lies_in: Vec<bool> = slots.iter().map(|slot| slot.writes != 0).collect();
    let positions = tensor_positions(signature);
    let mut outputs: Vec<&Output> = signature.outputs.iter().collect();
    while let Some(output) = outputs.pop() {
        match output {
            Output::Alias { slot, .. } => lies_in[*slot as usize] = true,
            Output::Argument(position) => {
                let its = |(slot, of): (&mut bool, &usize)| *slot |= of == &(*position as usize);
                lies_in.iter_mut().zip(&positions).for_each(its);
            }
            Output::List(items) => outputs.extend(items),
            Output::Fresh { .. } | Output::Undefined => {}
        }
    }
    lies_in.iter().enumerate().filter(|(_, lies_in)| **lies_in).map(|(slot, _)| slot).collect()
}

/// The argument of each tensor slot.
fn tensor_positions(signature: &Signature) -> Vec<usize> {
    let mut positions = Vec::new();
    for (position, arg) in signature.args.iter().enumerate() {
        let items = match arg {
            Arg::List(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        positions.extend(items.iter().filter(|item| matches!(item, Arg::Tensor(_))).map(|_| position));
    }
    positions
}

/// Without a schema here: what the client's says is written.
fn assumed_slots(signature: &Signature) -> Vec<Slot> {
    let written = |(slot, position): (usize, &usize)| {
        let says = signature.written.iter().any(|written| *written as usize == *position);
        says || signature.resized.iter().any(|resized| resized.slot as usize == slot)
    };
    let slot = |place| Slot { reads: 1, writes: u8::from(written(place)), covers: -1 };
    tensor_positions(signature).iter().enumerate().map(slot).collect()
}
