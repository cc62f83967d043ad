//! Commands about bytes: storages come and change size, and bytes enter and leave them.

use super::*;

impl<O: Outlet> Executor<O> {
    pub(super) fn create(&mut self, storage: StorageId, bytes: u64) -> Result<(), Stop> {
        if self.table.contains(storage.0) {
            return Err(Stop::Violation(Violation::StorageTwice(storage.0)));
        }
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
        let entry = self.table.get_mut(view.storage).ok_or_else(|| unknown(view.storage))?;
        let poisoned = entry.content.poison().is_some();
        let (bytes, offset) = (entry.bytes, view.offset);
        let written = entry.memory().and_then(|storage| {
            let covers = storage.measure(view)?.covers;
            let whole = offset == 0 && covers >= 0 && covers as u64 >= bytes;
            // A part of a poisoned storage: what was there stays unknown.
            if !poisoned || whole { storage.write(view, data).map(|()| whole) } else { Ok(false) }
        });
        match written {
            Ok(whole) => {
                if whole {
                    entry.clear();
                }
                if entry.made().dtype == 0 {
                    let label = entry.made().label.clone();
                    entry.label(Made::by(&label, &view.meta));
                }
            }
            Err(error) => {
                let failure = self.failed("aten::copy_", error)?;
                self.table.get_mut(view.storage).expect("it was there").spoil(&failure);
            }
        }
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
        let data = self.readable(view)?.and_then(|storage| {
            let measure = storage.measure(view)?;
            if measure.bytes != bytes {
                return Err(refused(
                    ErrorClass::ValueError,
                    format!("the view has {} bytes and {bytes} were asked for", measure.bytes),
                ));
            }
            storage.read(view).map(Bytes::from)
        });
        match data {
            Ok(data) => {
                self.transfers.offer(transfer.0, data);
                self.outlet.reply(request, reply::Result::Staged(v1::Staged { transfer: transfer.0, bytes }));
                Ok(self.transfers.download(self.incarnation, transfer.0)?)
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
        let limit = self.limits.memory_bytes;
        if limit == 0 || self.table.bytes().saturating_add(bytes) <= limit {
            return Ok(());
        }
        Err(out_of_memory(bytes, self.table.bytes(), limit))
    }
}

fn out_of_memory(asked: u64, used: u64, limit: u64) -> boxed::Error {
    let message = format!(
        "out of memory: {asked} bytes were asked for, tensors take {used} and the lease may use {limit}. Free tensors, or lease more memory"
    );
    refused(ErrorClass::OutOfMemoryError, message)
}
