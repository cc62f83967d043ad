//! Deletion, and the finalizers that it waits for.

use serde_json::{Value, json};

use super::{Preconditions, Write, metadata};
use crate::store::object::seconds;
use crate::store::{Error, Key, Object, Resource};

/// What becomes of the objects that a deleted one owns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing was said: as its finalizers have it already, else as [`Background`](Self::Background).
    #[default]
    Unsaid,
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// Finalizer of an object that goes after those it owns.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object that goes without those it owns.
pub const ORPHAN: &str = "orphan";

/// What became of an object that was to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// Finalizers hold it; it is marked.
    Marked(Object),
    /// It is gone; this was its last state.
    Removed(Object),
}

impl Write {
    /// Adds a finalizer, unless it is there.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FinalizerAdded`] when the object is being deleted; the database failed.
    pub async fn add_finalizer(&mut self, key: &Key, finalizer: &str) -> Result<Object, Error> {
        let object = self.required(key, &Preconditions::default()).await?;
        if object.finalizers().contains(&finalizer) {
            return Ok(object);
        }
        if object.deleting() {
            return Err(Error::FinalizerAdded { key: key.clone() });
        }
        self.put(key, object.with_finalizer(finalizer))
    }

    /// Removes a finalizer, if it is there. The last one of a deleting object removes the object.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the database failed.
    pub async fn remove_finalizer(&mut self, key: &Key, finalizer: &str) -> Result<Object, Error> {
        self.remove_finalizer_of(key, finalizer, &Preconditions::default()).await
    }

    /// As [`remove_finalizer`](Self::remove_finalizer), of an object that must still be so.
    ///
    /// # Errors
    /// As [`remove_finalizer`](Self::remove_finalizer), [`Error::Conflict`], [`Error::OtherUid`].
    pub async fn remove_finalizer_of(
        &mut self,
        key: &Key,
        finalizer: &str,
        require: &Preconditions,
    ) -> Result<Object, Error> {
        let mut object = self.required(key, require).await?;
        let left: Vec<Value> =
            object.finalizers().into_iter().filter(|name| *name != finalizer).map(Value::from).collect();
        if left.is_empty() {
            metadata(&mut object.body).remove("finalizers");
        } else {
            metadata(&mut object.body).insert("finalizers".into(), left.into());
        }
        self.put(key, object)
    }

    /// Asks for deletion: marks an object that has finalizers, removes one that has none. Asked again, changes nothing. What cannot be opened can be deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], [`Error::OtherUid`]; the database failed.
    pub async fn delete(&mut self, key: &Key, require: &Preconditions) -> Result<Deletion, Error> {
        self.delete_as(key, require, Propagation::Unsaid).await
    }

    /// As [`delete`](Self::delete), and says what becomes of those it owns: the collector follows the finalizers that this leaves.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn delete_as(
        &mut self,
        key: &Key,
        require: &Preconditions,
        propagation: Propagation,
    ) -> Result<Deletion, Error> {
        self.lock_to_delete(key).await?;
        let mut object = self.required(key, require).await?;
        propagate(&mut object.body, propagation);
        if !held(&object.body) {
            self.remove(key).await?;
            return Ok(Deletion::Removed(object));
        }
        if object.deleting() {
            return self.put(key, object).map(Deletion::Marked);
        }
        let now = self.now().await?;
        let generation = object.generation() + 1;
        let metadata = metadata(&mut object.body);
        metadata.insert("deletionTimestamp".into(), json!(seconds(now)));
        metadata.insert("deletionGracePeriodSeconds".into(), json!(0));
        if key.resource.has_generation() {
            metadata.insert("generation".into(), json!(generation));
        }
        if key.resource == Resource::NAMESPACES {
            object.body["status"]["phase"] = json!("Terminating");
        }
        self.put(key, object).map(Deletion::Marked)
    }

    /// Removes the object whatever holds it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the database failed.
    pub async fn remove(&mut self, key: &Key) -> Result<(), Error> {
        self.required(key, &Preconditions::default()).await?;
        if let Some(touched) = self.touched.get_mut(key) {
            touched.gone = true;
        }
        Ok(())
    }
}

/// Leaves the finalizer that says what becomes of those the object owns.
fn propagate(body: &mut Value, propagation: Propagation) {
    let wanted = match propagation {
        Propagation::Unsaid => return,
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let metadata = metadata(body);
    let mut finalizers = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    finalizers.retain(|name| name != FOREGROUND && name != ORPHAN);
    finalizers.extend(wanted.map(Value::from));
    match finalizers.is_empty() {
        true => metadata.remove("finalizers"),
        false => metadata.insert("finalizers".into(), finalizers.into()),
    };
}

/// Whether something must happen before the object may go. A namespace keeps its finalizers in its spec.
pub(super) fn held(body: &Value) -> bool {
    ["/metadata/finalizers", "/spec/finalizers"]
        .iter()
        .any(|pointer| body.pointer(pointer).and_then(Value::as_array).is_some_and(|list| !list.is_empty()))
}
