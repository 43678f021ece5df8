//! Keeps on this master what the records name: what was pushed elsewhere, or while it was away, is fetched.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use wherry_api::ObjectKey;
use wherry_api::kinds::ConfigMap;
use wherry_base::{Backoff, Drain};

use super::ImageStore;
use crate::Error;
use crate::record::Record;
use crate::records::record;

/// The first and the longest wait before what could not be fetched is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The records whose images are here.
type Here = HashMap<ObjectKey, Arc<ConfigMap>>;

impl ImageStore {
    /// Follows the records until the drain.
    pub async fn follow(self, drain: Drain) {
        let records = self.inner.records.follow(&drain);
        let mut changes = records.changes();
        records.synced().await;
        let (mut here, mut backoff) = (Here::new(), Backoff::new(RETRY.0, RETRY.1));
        loop {
            match self.catch_up(&records.snapshot(), &mut here).await {
                Ok(()) => {
                    backoff.reset();
                    changed(&mut changes).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "images of other masters are not here yet; trying again");
                    let _sooner = tokio::time::timeout(backoff.fail(), changed(&mut changes)).await;
                }
            }
        }
    }

    /// Fetches what records name that are new or changed; the last error where some could not be had.
    async fn catch_up(&self, records: &imbl::OrdMap<ObjectKey, Arc<ConfigMap>>, here: &mut Here) -> Result<(), Error> {
        let known = here.len();
        here.retain(|key, _| records.contains_key(key));
        let (mut outcome, mut has_lost) = (Ok(()), here.len() < known);
        for (key, map) in records {
            let before = here.get(key);
            if before.is_some_and(|before| Arc::ptr_eq(before, map)) {
                continue;
            }
            let now = record(map);
            has_lost |= before.is_some_and(|before| !record(before).lost_in(&now).is_empty());
            match self.fetch_all(&now).await {
                Ok(()) => drop(here.insert(key.clone(), Arc::clone(map))),
                Err(error) => outcome = Err(error),
            }
        }
        if has_lost {
            self.collect_garbage().await?;
        }
        outcome
    }

    async fn fetch_all(&self, record: &Record) -> Result<(), Error> {
        let _nothing_is_collected = self.inner.changing.read().await;
        for manifest in record.manifests.keys() {
            let all = self.obtain_image(manifest).await?;
            self.inner.fresh().forget(&all);
        }
        Ok(())
    }
}

/// Resolves when something has changed, once for all changes that are known by then.
async fn changed(changes: &mut Receiver<ObjectKey>) {
    if changes.recv().await.is_err() && changes.is_closed() {
        std::future::pending::<()>().await;
    }
    while changes.try_recv().is_ok() {}
}
