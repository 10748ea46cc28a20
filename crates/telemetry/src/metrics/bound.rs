//! Instruments whose labels are looked up once: to measure takes less time than to find the series.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

/// Instruments bound to labels, by keys that determine the labels and are of a bounded set: what is bound is kept.
///
/// What is bound when the SDK has as many series as it keeps is a part of the one for all others, as without this.
#[derive(Debug)]
pub struct Bound<K, I>(RwLock<HashMap<K, I>>);

impl<K, I> Default for Bound<K, I> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash, I: Clone> Bound<K, I> {
    /// The instrument of `key`; `bind` makes it when it is first asked for.
    pub fn get<Q>(&self, key: &Q, bind: impl FnOnce() -> I) -> I
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return found.clone();
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(key.to_owned()).or_insert_with(bind).clone()
    }
}
