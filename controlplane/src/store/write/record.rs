//! Who did it, in the transaction that does it.

use super::{Touched, Write};
use crate::store::Error;
use crate::store::audit::{self, Entry};

impl Write {
    /// Adds the row of this write to the audit: it is there if and only if the write is, whatever becomes of this process. A write that changes no object takes
    /// no row with it, so that it stays one that writes nothing; returns whether it took it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record(&mut self, entry: &Entry) -> Result<bool, Error> {
        let changed = self.touched.values().any(Touched::differs);
        if changed {
            audit::add(self.sql(), std::slice::from_ref(entry)).await?;
        }
        Ok(changed)
    }
}
