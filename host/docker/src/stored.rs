//! The engine's images, as images that take room on its disk.

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use bollard::models::ImageSummary;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use wherry_runtime::{ImageStore, StoreError, StoredImage};

use crate::engine::{ASK_MAX, CHANGE_MAX, Connected, EngineError, within};
use crate::inner::Inner;
use crate::pulled::Names;
use crate::runtime::DockerRuntime;

/// How an engine writes that there is no name.
const NO_NAME: &str = "<none>";

#[async_trait]
impl ImageStore for DockerRuntime {
    fn place(&self) -> Option<PathBuf> {
        self.inner().engine.get().ok()?.root
    }

    async fn list(&self) -> Result<Vec<StoredImage>, StoreError> {
        self.inner().images_stored().await.map_err(failed)
    }

    async fn remove(&self, image: &StoredImage) -> Result<(), StoreError> {
        self.inner().remove_image(image).await.map_err(failed)
    }
}

impl Inner {
    async fn images_stored(&self) -> Result<Vec<StoredImage>, EngineError> {
        let all = summaries(&self.engine.get()?).await?;
        self.pulled.keep_only(|digest| all.iter().any(|image| image.id == digest));
        let one = |image: ImageSummary| {
            let tags = real(&image.repo_tags);
            let names = real(&image.repo_digests).into_iter().chain(tags.iter().cloned()).collect();
            let (is_ours, size_bytes) = (self.pulled.is_ours(&image.id, &tags), u64::try_from(image.size).unwrap_or(0));
            StoredImage { digest: image.id, names, size_bytes, is_ours }
        };
        Ok(all.into_iter().map(one).collect())
    }

    /// Tag by tag, so that a name which it gets meanwhile keeps it; without force, so that a container of anybody keeps it.
    async fn remove_image(&self, image: &StoredImage) -> Result<(), EngineError> {
        let engine = self.engine.get()?;
        let tags: Vec<_> = image.names.iter().filter(|name| !name.contains('@')).collect();
        let names = if tags.is_empty() { vec![&image.digest] } else { tags };
        for name in names {
            let removed = engine.api.remove_image(name, None::<RemoveImageOptions>, None);
            match within(CHANGE_MAX, removed).await {
                Ok(_) | Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The names of all images that an engine has, by their digests.
pub async fn names(engine: &Connected) -> Result<Names, EngineError> {
    Ok(summaries(engine).await?.into_iter().map(|image| (image.id, real(&image.repo_tags))).collect())
}

async fn summaries(engine: &Connected) -> Result<Vec<ImageSummary>, EngineError> {
    within(ASK_MAX, engine.api.list_images(None::<ListImagesOptions>)).await
}

/// Names but those that say that there is none.
pub fn real(names: &[String]) -> BTreeSet<String> {
    names.iter().filter(|name| !name.contains(NO_NAME)).cloned().collect()
}

fn failed(error: EngineError) -> StoreError {
    StoreError(format!("the container engine's images: {error}"))
}
