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
            fresh_bytes: fresh.iter().fold(0, |sum: u64, fresh| sum.saturating_add(fresh.bytes)),
            operator,
            prepared,
            slots,
            fresh,
        })
    }
}

/// Without a schema: what the client's own assumptions say is written.
fn assumed_slots(signature: &Signature) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (position, arg) in signature.args.iter().enumerate() {
        let returned = signature.outputs.contains(&Output::Argument(position as u32));
        let items = match arg {
            Arg::List(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for _ in items.iter().filter(|item| matches!(item, Arg::Tensor(_))) {
            let resized = signature.resized.iter().any(|resized| resized.slot as usize == slots.len());
            slots.push(Slot { reads: 1, writes: u8::from(returned || resized), covers: -1 });
        }
    }
    slots
}
