//! Linux images in the engine: those that are there, those that it pulls, and those of the cluster's registry.

use bollard::auth::DockerCredentials;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptions;
use wherry_image::{Content, Reference};
use wherry_runtime::{Fetch, Image, ImageError, ImageKind, ImageRequest, Login, PullPolicy};

use crate::engine::{ASK_MAX, Connected, EngineError, next_step, within};
use crate::inner::Inner;
use crate::load::load;
use crate::progress::Progress;
use crate::stored;

/// What engines say of a manifest that is of no Linux image.
const OF_NO_LINUX_IMAGE: [&str; 3] = ["application/vnd.wasm", "unsupported media type", "mediaType in manifest"];

impl Inner {
    /// Makes an image ready: found in the engine or pulled, by the policy.
    pub async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        let name = wanted.reference;
        let reference: Reference = name.parse().map_err(|_| ImageError::BadName(name.to_owned()))?;
        let engine = self.engine.get().map_err(|error| ImageError::Unusable(error.to_string()))?;
        let known = find(&engine, &reference).await.map_err(|error| unusable(name, &error))?;
        match (known, wanted.policy) {
            (Some(known), PullPolicy::IfNotPresent | PullPolicy::Never) => checked(name, known),
            (None, PullPolicy::Never) => Err(ImageError::NeverPull(name.to_owned())),
            (known, PullPolicy::Always | PullPolicy::IfNotPresent) => {
                (wanted.tell)(Fetch::Begun);
                let before = stored::names(&engine).await;
                self.fetch(&engine, &reference, known, wanted).await?;
                let fetched = find(&engine, &reference).await.map_err(|error| unusable(name, &error))?;
                let lost = || ImageError::Pull(format!("{name}: the engine has lost it again"));
                let fetched = fetched.ok_or_else(lost)?;
                if let (Ok(before), Some(digest)) = (&before, &fetched.id) {
                    self.pulled.note(digest, stored::real(fetched.repo_tags.as_deref().unwrap_or_default()), before);
                }
                let size_bytes = fetched.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
                (wanted.tell)(Fetch::Done { size_bytes });
                checked(name, fetched)
            }
        }
    }

    /// From the cluster's registry, where its name names no other and that has it, or else by the engine.
    async fn fetch(
        &self,
        engine: &Connected,
        reference: &Reference,
        known: Option<ImageInspect>,
        wanted: &ImageRequest<'_>,
    ) -> Result<(), ImageError> {
        let name = wanted.reference;
        let own = self.images.as_ref().filter(|_| reference.registry.is_empty());
        let Some(source) = own else { return pull(engine, reference, wanted).await };
        match source.content(reference).await {
            Ok(Content::Module) => Err(of_other_kind(name)),
            Ok(Content::Linux(image)) if known.is_some_and(|known| known.id.as_ref() == Some(&image.config.digest)) => {
                Ok(())
            }
            Ok(Content::Linux(image)) => {
                (wanted.tell)(Fetch::Underway(format!("Loading image \"{name}\" from the cluster's registry")));
                let loaded = load(engine, source, reference, &image).await;
                loaded.map_err(|error| ImageError::Pull(format!("failed to load image \"{name}\": {error}")))
            }
            Err(error) => {
                tracing::debug!(name, %error, "the cluster's registry has no such image");
                pull(engine, reference, wanted).await
            }
        }
    }
}

fn of_other_kind(name: &str) -> ImageError {
    ImageError::OtherKind(format!("image \"{name}\" is a wasm module, and no Linux image"))
}

async fn find(engine: &Connected, reference: &Reference) -> Result<Option<ImageInspect>, EngineError> {
    match within(ASK_MAX, engine.api.inspect_image(&reference.to_string())).await {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn checked(name: &str, found: ImageInspect) -> Result<Image, ImageError> {
    if let Some(os) = found.os.filter(|os| !os.is_empty() && os != "linux") {
        return Err(ImageError::OtherKind(format!("image \"{name}\" is for {os}, and no Linux image")));
    }
    let digest = found.id.ok_or_else(|| ImageError::Unusable(format!("{name}: the engine gives no digest")))?;
    Ok(Image { reference: name.to_owned(), digest, kind: ImageKind::Command })
}

/// Pulls an image, with each login that fits it in turn, or as anybody where none does.
async fn pull(engine: &Connected, reference: &Reference, wanted: &ImageRequest<'_>) -> Result<(), ImageError> {
    let mut why = String::new();
    for login in reference.logins(wanted.logins) {
        match pull_as(engine, reference, login, wanted).await {
            Ok(()) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    let name = wanted.reference;
    if OF_NO_LINUX_IMAGE.iter().any(|words| why.contains(words)) {
        return Err(of_other_kind(name));
    }
    Err(ImageError::Pull(format!("failed to pull image \"{name}\": {why}")))
}

async fn pull_as(
    engine: &Connected,
    reference: &Reference,
    login: Option<&Login>,
    wanted: &ImageRequest<'_>,
) -> Result<(), EngineError> {
    let options = CreateImageOptions { from_image: Some(reference.to_string()), ..CreateImageOptions::default() };
    let credentials = login.map(|login| DockerCredentials {
        username: Some(login.user.clone()),
        password: Some(login.password.clone()),
        serveraddress: Some(login.registry.clone()),
        ..DockerCredentials::default()
    });
    let mut steps = std::pin::pin!(engine.api.create_image(Some(options), None, credentials));
    let mut progress = Progress::new(wanted.reference);
    while let Some(step) = next_step(&mut steps, "the pull").await? {
        if let Some(told) = note(&mut progress, step) {
            (wanted.tell)(Fetch::Underway(told));
        }
    }
    Ok(())
}

fn note(progress: &mut Progress, step: CreateImageInfo) -> Option<String> {
    let detail = step.progress_detail?;
    let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
    progress.note(step.id?, bytes(detail.current)?, bytes(detail.total)?)
}

fn unusable(name: &str, error: &EngineError) -> ImageError {
    ImageError::Unusable(format!("failed to inspect image \"{name}\": {error}"))
}
