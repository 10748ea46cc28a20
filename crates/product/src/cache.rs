//! Products and pages of them as they were a moment ago, for those who look around; an order never sees them.
//!
//! Many who ask for the same at one time wait for one statement, and what is not there is remembered too. What this process
//! writes is seen at once: a key holds how often its product was written, so that what was read before a write is never
//! found after it, however late it comes. What others write is seen when an entry has lived its life.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use moka::Expiry;
use moka::future::Cache as Moka;
use serde::{Deserialize, Serialize};
use telemetry::{Tally, metric};
use tonic::Status;

use crate::error::Error;
use crate::model::{Change, Filter, NewProduct, Product};
use crate::store::Store;
use domain::Page;

/// Products that share a count of writes do not see each other's changes, only lose what is kept.
const COUNTS: usize = 256;

static READS: Tally = Tally::new(metric::PRODUCT_READS);

/// How long products are kept in memory, and how many.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// The most time that a product or a list is served as it was; up to a quarter less by chance, and a quarter of it where
    /// there is no such product. `0s` turns the cache off.
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
    /// How much memory products and lists may take, such as `4MiB`; half of it for each.
    pub memory: ByteSize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(1), memory: ByteSize::mib(4) }
    }
}

/// The store with what was read from it lately.
#[derive(Clone)]
pub(crate) struct Cache {
    store: Store,
    kept: Option<Arc<Kept>>,
}

struct Kept {
    products: Moka<(i64, u64), Option<Product>>,
    pages: Moka<(Filter, Page, u64), Arc<[Product]>>,
    /// Of the products by their ids, and of all of them.
    writes: [AtomicU64; COUNTS],
    all_writes: AtomicU64,
    hasher: RandomState,
}

impl Cache {
    pub(crate) fn new(store: Store, config: &CacheConfig) -> Self {
        READS.show([["hit"], ["miss"]]);
        let kept = (!config.lifetime.is_zero()).then(|| Arc::new(Kept::new(config)));
        Self { store, kept }
    }

    /// The product with this id, perhaps as it was a moment ago.
    pub(crate) async fn find(&self, id: i64) -> Result<Product, Status> {
        let Some(kept) = &self.kept else { return Ok(self.store.find(id).await?) };
        let read = async {
            // In a box, for it is large, is moved with all that holds it, and is mostly not needed.
            match Box::pin(self.store.find(id)).await {
                Ok(product) => Ok(Some(product)),
                Err(Error::NotFound(_)) => Ok(None),
                Err(error) => Err(Status::from(error)),
            }
        };
        let key = (id, kept.writes_of(id).load(Ordering::Acquire));
        let product = read_through(&kept.products, key, read).await?;
        product.ok_or_else(|| Error::NotFound(id).into())
    }

    /// The product as it is now.
    pub(crate) async fn find_now(&self, id: i64) -> Result<Product, Error> {
        self.store.find(id).await
    }

    /// The products of one page and one more, the newest first, perhaps as they were a moment ago.
    pub(crate) async fn list(&self, filter: Filter, page: Page) -> Result<Vec<Product>, Status> {
        let Some(kept) = &self.kept else { return Ok(self.store.list(&filter, &page).await?) };
        let key = (filter.clone(), page, kept.all_writes.load(Ordering::Acquire));
        let read = async { Ok(Box::pin(self.store.list(&filter, &page)).await.map(Arc::from)?) };
        Ok(read_through(&kept.pages, key, read).await?.to_vec())
    }

    pub(crate) async fn create(&self, new: NewProduct) -> Result<Product, Error> {
        // Its id may have been asked for before it was there.
        let mut written = self.writing(None);
        let product = self.store.create(new).await?;
        written.product = Some(product.id);
        Ok(product)
    }

    pub(crate) async fn update(&self, id: i64, change: Change) -> Result<Product, Error> {
        let _written = self.writing(Some(id));
        self.store.update(id, change).await
    }

    pub(crate) async fn reserve(&self, order: i64, product: i64, quantity: i64) -> Result<(), Error> {
        let mut written = self.writing(Some(product));
        let reserved = self.store.reserve(order, product, quantity).await;
        // Of what is sold out, many are told so.
        written.is_nothing = reserved.as_ref().is_err_and(|error| !matches!(error, Error::Db(_)));
        reserved
    }

    pub(crate) async fn release(&self, order: i64) -> Result<(), Error> {
        let mut written = self.writing(None);
        written.product = self.store.release(order).await?;
        written.is_nothing = written.product.is_none();
        Ok(())
    }

    fn writing(&self, product: Option<i64>) -> Writing<'_> {
        Writing { kept: self.kept.as_deref(), product, is_nothing: false }
    }
}

/// A write, after whose end nothing is found that was read before: also one that failed or was given up, for it may have
/// been done all the same.
struct Writing<'a> {
    kept: Option<&'a Kept>,
    /// What is written; all of them, if that is not known.
    product: Option<i64>,
    /// Nothing was written.
    is_nothing: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let Some(kept) = self.kept.filter(|_| !self.is_nothing) else { return };
        match self.product {
            Some(id) => count(kept.writes_of(id)),
            None => kept.writes.iter().for_each(count),
        }
        count(&kept.all_writes);
    }
}

fn count(writes: &AtomicU64) {
    writes.fetch_add(1, Ordering::Release);
}

impl Kept {
    fn new(config: &CacheConfig) -> Self {
        let (life, half) = (|| Life(config.lifetime), config.memory.as_u64() / 2);
        Self {
            products: Moka::builder()
                .max_capacity(half)
                .weigher(|_, product: &Option<Product>| weight(product.iter()))
                .expire_after(life())
                .build(),
            pages: Moka::builder()
                .max_capacity(half)
                .weigher(|(filter, ..): &(Filter, Page, u64), page: &Arc<[Product]>| {
                    weight(page.iter()).saturating_add(bytes(&filter.text))
                })
                .expire_after(life())
                .build(),
            writes: std::array::from_fn(|_| AtomicU64::new(0)),
            all_writes: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    fn writes_of(&self, id: i64) -> &AtomicU64 {
        &self.writes[self.hasher.hash_one(id) as usize % COUNTS]
    }
}

/// About what products take in memory, with what keeps them there.
fn weight<'a>(products: impl Iterator<Item = &'a Product>) -> u32 {
    const EACH: u32 = 300;
    products.fold(EACH, |sum, product| {
        sum.saturating_add(EACH).saturating_add(bytes(&product.name)).saturating_add(bytes(&product.description))
    })
}

fn bytes(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// What is kept at `key`, or is read once for all who ask for it now.
async fn read_through<K, V>(
    kept: &Moka<K, V>,
    key: K,
    read: impl Future<Output = Result<V, Status>>,
) -> Result<V, Status>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let entry = kept.entry(key).or_try_insert_with(read).await.map_err(|status| Status::clone(&status))?;
    READS.count([if entry.is_fresh() { "miss" } else { "hit" }]);
    Ok(entry.into_value())
}

/// Entries that were made together do not end together.
struct Life(Duration);

impl Life {
    fn of(&self, share: f64) -> Option<Duration> {
        Some(self.0.mul_f64(share * (0.75 + fastrand::f64() / 4.0)))
    }
}

impl Expiry<(i64, u64), Option<Product>> for Life {
    fn expire_after_create(&self, _: &(i64, u64), product: &Option<Product>, _: Instant) -> Option<Duration> {
        self.of(if product.is_some() { 1.0 } else { 0.25 })
    }
}

impl Expiry<(Filter, Page, u64), Arc<[Product]>> for Life {
    fn expire_after_create(&self, _: &(Filter, Page, u64), _: &Arc<[Product]>, _: Instant) -> Option<Duration> {
        self.of(1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_one_time_wait_for_one_read_and_a_failure_is_not_kept() {
        let (kept, reads) = (Moka::new(10), AtomicUsize::new(0));
        let read = |answer: Result<i32, Status>| {
            read_through(&kept, 1, async {
                reads.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer
            })
        };
        let failed = read(Err(Status::unavailable("no"))).await.unwrap_err();
        assert_eq!(failed.code(), tonic::Code::Unavailable);
        // Whoever reads goes away; somebody else reads in its place.
        let gone = tokio::time::timeout(Duration::from_millis(5), read(Ok(6))).await;
        assert!(gone.is_err());
        let answers = futures::future::join_all((0..100).map(|_| read(Ok(7)))).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap() == 7));
        assert_eq!(reads.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn lives_differ_and_are_never_longer_than_told() {
        let lives: Vec<_> = (0..100).filter_map(|_| Life(Duration::from_secs(1)).of(1.0)).collect();
        assert!(lives.iter().all(|life| (Duration::from_millis(750)..=Duration::from_secs(1)).contains(life)));
        assert!(lives.iter().any(|life| *life != lives[0]));
    }
}
