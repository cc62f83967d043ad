//! Commands about bytes: storages come and change size, and bytes enter and leave them.

use super::*;
use crate::storage::room;
use crate::transfer::Unusable;

/// What a write does to its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    /// Nothing of what was there is left.
    Whole,
    /// The rest stays as it is.
    Part,
    /// Nothing: the rest is poisoned, and so the whole stays.
    Dropped,
}

impl<O: Outlet> Executor<O> {
    pub(super) fn create(&mut self, storage: StorageId, bytes: u64) -> Result<(), Stop> {
        self.new_ids(storage.0, 1)?;
        let content = match self.room_for(bytes).and_then(|()| Storage::new(bytes)) {
            Ok(storage) => Content::Held(storage),
            Err(error) => Content::Missing(self.failed("aten::empty", error)?),
        };
        self.table.insert(storage.0, content, bytes, Made::bytes("aten::empty", bytes), self.now);
        Ok(())
    }

    pub(super) fn resize(&mut self, id: StorageId, bytes: u64) -> Result<(), Stop> {
        let more = bytes.saturating_sub(self.table.get(id).ok_or_else(|| unknown(id))?.bytes);
        let allowed = self.room_for(more);
        let entry = self.table.get_mut(id).ok_or_else(|| unknown(id))?;
        let resized = match &entry.content {
            Content::Held(storage) | Content::Spoiled(storage, _) => allowed.and_then(|()| storage.resize(bytes)),
            Content::Missing(_) => Ok(()),
        };
        match resized {
            Ok(()) => self.table.resized(id, bytes),
            Err(error) => {
                let failure = self.failed("aten::resize_", error)?;
                self.table.get_mut(id).expect("it was there").spoil(&failure);
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, view: &View, data: &[u8]) -> Result<(), Stop> {
        let written = match self.destination(view, data.len() as u64)? {
            Ok(Write::Dropped) => return Ok(()),
            Ok(write) => {
                let storage = self.table.get(view.storage).and_then(|entry| entry.content.storage());
                storage.expect("a destination has memory").write(view, data).map(|()| write)
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(write) => {
                let entry = self.table.get_mut(view.storage).ok_or_else(|| unknown(view.storage))?;
                if write == Write::Whole {
                    entry.clear();
                    // Bytes of no shape have that of what fills them; a part of them has its own.
                    if entry.made().dtype.is_none() {
                        let label = entry.made().label.clone();
                        entry.label(Made::by(&label, &view.meta));
                    }
                }
                Ok(())
            }
            Err(error) => self.unwritten(view, error),
        }
    }

    /// Waits for the bytes only if they have a place to go to.
    pub(super) fn write_bulk(&mut self, transfer: TransferId, view: &View, bytes: u64) -> Result<(), Stop> {
        match self.destination(view, bytes)? {
            Ok(Write::Whole | Write::Part) => match self.transfers.upload(self.incarnation, transfer.0, bytes) {
                Ok(data) => self.write(view, &data),
                Err(Unusable::Superseded) => Err(Stop::Superseded),
                Err(Unusable::Announced) => Err(Stop::Violation(Violation::BadTransfer(transfer.0))),
                Err(Unusable::NoMemory) => {
                    let message = format!("out of memory on the executor's host: {bytes} bytes are to be written");
                    self.unwritten(view, refused(ErrorClass::OutOfMemoryError, message))
                }
            },
            Ok(Write::Dropped) => {
                self.transfers.discard(self.incarnation, transfer.0, bytes);
                Ok(())
            }
            Err(error) => {
                self.transfers.discard(self.incarnation, transfer.0, bytes);
                self.unwritten(view, error)
            }
        }
    }

    /// What a write of `bytes` into a view would do.
    fn destination(&mut self, view: &View, bytes: u64) -> Result<Result<Write, boxed::Error>, Stop> {
        // An expanded view takes more bytes than its storage has.
        if let Err(error) = room(0, bytes, self.limits.memory_bytes) {
            return Ok(Err(error));
        }
        let entry = self.table.get(view.storage).ok_or_else(|| unknown(view.storage))?;
        let (poisoned, size) = (entry.content.poison().is_some(), entry.bytes);
        let storage = match self.table.memory(view.storage, self.limits.memory_bytes) {
            Ok(storage) => storage.ok_or_else(|| unknown(view.storage))?,
            Err(error) => return Ok(Err(error)),
        };
        Ok(storage.measure(view).and_then(|measure| {
            if measure.bytes != bytes {
                return Err(refused(
                    ErrorClass::ValueError,
                    format!("the view takes {} bytes and {bytes} are to be written", measure.bytes),
                ));
            }
            let whole = view.offset == 0 && measure.covers >= 0 && measure.covers as u64 >= size;
            Ok(match (whole, poisoned) {
                (true, _) => Write::Whole,
                (false, false) => Write::Part,
                (false, true) => Write::Dropped,
            })
        }))
    }

    /// A failed write poisons what it would have written.
    fn unwritten(&mut self, view: &View, error: boxed::Error) -> Result<(), Stop> {
        let failure = self.failed("aten::copy_", error)?;
        self.table.get_mut(view.storage).ok_or_else(|| unknown(view.storage))?.spoil(&failure);
        Ok(())
    }

    pub(super) fn read(&mut self, request: RequestId, view: &View) -> Result<(), Stop> {
        let limit = self.limits.inline_read_bytes;
        let result = self.readable(view)?.and_then(|storage| {
            let bytes = storage.measure(view)?.bytes;
            if bytes > limit {
                return Err(refused(
                    ErrorClass::ValueError,
                    format!("a read of {bytes} bytes is longer than the {limit} that go inline"),
                ));
            }
            storage.read(view)
        });
        let result = match result {
            Ok(data) => reply::Result::Data(data.into()),
            Err(error) => reply::Result::Failure(self.read_failure(view, error)?),
        };
        self.outlet.reply(request, result);
        Ok(())
    }

    pub(super) fn read_bulk(
        &mut self,
        request: RequestId,
        transfer: TransferId,
        view: &View,
        bytes: u64,
    ) -> Result<(), Stop> {
        let limit = self.limits.memory_bytes;
        let data = self.readable(view)?.and_then(|storage| {
            let measure = storage.measure(view)?;
            if measure.bytes != bytes {
                return Err(refused(
                    ErrorClass::ValueError,
                    format!("the view has {} bytes and {bytes} were asked for", measure.bytes),
                ));
            }
            // An expanded view has more bytes than its storage.
            room(0, bytes, limit)?;
            storage.read(view).map(Bytes::from)
        });
        match data {
            Ok(data) => {
                self.transfers.offer(self.incarnation, transfer.0, data);
                self.outlet.reply(request, reply::Result::Staged(v1::Staged { transfer: transfer.0, bytes }));
                self.transfers.download(self.incarnation, transfer.0).map_err(|Superseded| Stop::Superseded)
            }
            Err(error) => {
                let failure = self.read_failure(view, error)?;
                self.outlet.reply(request, reply::Result::Failure(failure));
                Ok(())
            }
        }
    }

    /// The memory of a view's storage, or an error that stands for its poison.
    fn readable(&self, view: &View) -> Result<Result<&Storage, boxed::Error>, Stop> {
        let entry = self.table.get(view.storage).ok_or_else(|| unknown(view.storage))?;
        Ok(match &entry.content {
            Content::Held(storage) => Ok(storage),
            Content::Spoiled(..) | Content::Missing(_) => Err(refused(ErrorClass::RuntimeError, String::new())),
        })
    }

    /// What a failed read answers: the storage's poison, or its own error.
    fn read_failure(&mut self, view: &View, error: boxed::Error) -> Result<v1::Failure, Stop> {
        if let Some(poison) = self.table.get(view.storage).and_then(|entry| entry.content.poison()) {
            return Ok(poison.report());
        }
        Ok(self.failed("aten::_to_copy", error)?.report())
    }

    /// Whether so many bytes more fit the lease's limit.
    pub(super) fn room_for(&self, bytes: u64) -> Result<(), boxed::Error> {
        room(self.table.bytes(), bytes, self.limits.memory_bytes)
    }
}
