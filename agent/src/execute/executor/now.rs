//! Operators whose result shapes depend on values: answered at once.

use super::*;
use crate::boxed::{NowResults, Origin};
use torch_remote_proto::command::NOW_IDS;

impl<O: Outlet> Executor<O> {
    pub(super) fn call_now(&mut self, request: RequestId, signature: &Signature, args: CallArgs) -> Result<(), Stop> {
        let ready = Ready::new(signature, true)?;
        let mut room = Room { args, ..Room::default() };
        let result = match gather(&mut self.table, &ready.slots, self.limits.memory_bytes, &mut room)? {
            Some(poison) => Err(poison),
            None => self.run_now(&ready, &room)?,
        };
        let answer = match result {
            Ok(results) => {
                if ready.writes {
                    written(&mut self.table, &ready.slots, &room.args.views);
                }
                reply::Result::Results(self.name(results, &ready.operator, &room.args)?)
            }
            Err(failure) => {
                spoil(&mut self.table, &ready.spoils, &room.args.views, &failure);
                reply::Result::Failure(failure.report())
            }
        };
        self.outlet.reply(request, answer);
        Ok(())
    }

    fn run_now(&mut self, ready: &Ready, room: &Room) -> Result<Result<NowResults, Rc<Failure>>, Stop> {
        self.operators += 1;
        let result = ready.prepared.as_ref().map_err(Clone::clone).and_then(|prepared| prepared.run_now(filling(room)));
        let result = result.and_then(|results| {
            if results.fresh.len() as u64 > NOW_IDS {
                let message =
                    format!("{} new tensors are more than the {NOW_IDS} that one call may return", results.fresh.len());
                return Err(refused(ErrorClass::RuntimeError, message));
            }
            self.room_for(results.fresh.iter().map(Storage::bytes).sum())?;
            Ok(results)
        });
        Ok(match result {
            Ok(results) => Ok(results),
            Err(error) => Err(self.failed(&ready.operator, error)?),
        })
    }

    /// Gives the new storages their ids, and the results their storages.
    fn name(&mut self, results: NowResults, operator: &str, args: &CallArgs) -> Result<v1::Results, Stop> {
        let first = args.first_output.map_or(0, |id| id.0);
        self.new_ids(first, results.fresh.len())?;
        for (id, storage) in (first..).zip(results.fresh) {
            let bytes = storage.bytes();
            self.table.insert(id, Content::Held(storage), bytes, Made::bytes(operator, bytes), self.now);
        }
        let name = |origin| match origin {
            Origin::Undefined => 0,
            Origin::Slot(slot) => args.views[slot as usize].0.0,
            Origin::Fresh(number) => first + u64::from(number),
        };
        Ok(v1::Results {
            values: results.values.into_iter().map(|value| value.named(name)).collect(),
            resized: results.resized,
        })
    }
}
