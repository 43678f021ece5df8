//! The runtimes of a node: which one takes a container, by the class that its pod names and by what its image is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use wherry_api::image_name;
use wherry_api::kinds::Pod;
use wherry_runtime::{Availability, Image, ImageError, ImageRequest, ImageStore, PullPolicy, Runtime, Survivor};

/// How many images are remembered with the runtime that takes them.
const REMEMBERED_MAX: usize = 4096;

/// The runtimes of a node.
pub struct Runtimes {
    all: Vec<Arc<dyn Runtime>>,
    usual: usize,
    stores: Vec<Arc<dyn ImageStore>>,
    /// Which runtime took an image the last time.
    taken: Mutex<HashMap<String, &'static str>>,
}

impl Runtimes {
    /// Pods that name no class have their images offered to the `usual` ones in turn; the `others` are for pods that name them.
    pub fn new(usual: Vec<Arc<dyn Runtime>>, others: Vec<Arc<dyn Runtime>>) -> Self {
        let count = usual.len();
        let all = usual.into_iter().chain(others).collect();
        Self { all, usual: count, stores: Vec::new(), taken: Mutex::default() }
    }

    /// The same, whose images are in these stores.
    pub fn with_stores(self, stores: Vec<Arc<dyn ImageStore>>) -> Self {
        Self { stores, ..self }
    }

    /// Where images are.
    pub fn stores(&self) -> &[Arc<dyn ImageStore>] {
        &self.stores
    }

    /// Those that may run a pod's containers, by its `runtimeClassName`; the error is a sentence for its status.
    pub fn of(&self, pod: &Pod) -> Result<&[Arc<dyn Runtime>], String> {
        let class = class(pod);
        let found = match class {
            None => self.all.get(..self.usual),
            Some(class) => self.all.iter().find(|runtime| runtime.name() == class).map(std::slice::from_ref),
        };
        found.filter(|found| !found.is_empty()).ok_or_else(|| {
            let class = class.unwrap_or_default();
            format!("runtime class \"{class}\" is not offered by this node, which has {}", self.names().join(", "))
        })
    }

    /// The runtime of a survivor.
    pub fn of_survivor(&self, survivor: &Survivor) -> Option<&Arc<dyn Runtime>> {
        self.all.iter().find(|runtime| runtime.name() == survivor.runtime)
    }

    /// Makes an image of a pod ready in the runtime that takes it. An image of another registry than the cluster's that one of
    /// them has is not looked for elsewhere, where the policy allows that.
    pub async fn prepare(
        &self,
        pod: &Pod,
        wanted: &ImageRequest<'_>,
    ) -> Result<(&Arc<dyn Runtime>, Image), ImageError> {
        let offered = self.of(pod).map_err(ImageError::Unusable)?;
        let is_far = image_name::split_registry(wanted.reference).0.is_some();
        if is_far && offered.len() > 1 && wanted.policy == PullPolicy::IfNotPresent {
            let here = ImageRequest { policy: PullPolicy::Never, ..*wanted };
            match self.offer(pod, offered, &here).await {
                Err(ImageError::NeverPull(_)) => {}
                found => return found,
            }
        }
        self.offer(pod, offered, wanted).await
    }

    async fn offer<'a>(
        &self,
        pod: &Pod,
        offered: &'a [Arc<dyn Runtime>],
        wanted: &ImageRequest<'_>,
    ) -> Result<(&'a Arc<dyn Runtime>, Image), ImageError> {
        let mut refusals = Vec::new();
        for runtime in self.in_order(offered, wanted.reference) {
            match runtime.prepare(wanted).await {
                Ok(image) => {
                    self.remember(wanted.reference, runtime.name());
                    return Ok((runtime, image));
                }
                Err(why @ (ImageError::OtherKind(_) | ImageError::Pull(_) | ImageError::NeverPull(_))) => {
                    refusals.push(why);
                }
                Err(why) => return Err(why),
            }
        }
        Err(self.verdict(class(pod), refusals))
    }

    /// The one that took the image the last time first. What is not there is not asked, unless it is all there is.
    fn in_order<'a>(&self, offered: &'a [Arc<dyn Runtime>], reference: &str) -> Vec<&'a Arc<dyn Runtime>> {
        let last = self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(reference).copied();
        let is_there = |runtime: &&Arc<dyn Runtime>| {
            offered.len() == 1
                || runtime.availability().is_none_or(|now| !matches!(*now.borrow(), Availability::Absent(_)))
        };
        let mut order: Vec<_> = offered.iter().filter(is_there).collect();
        order.sort_by_key(|runtime| last.is_some_and(|last| last != runtime.name()));
        order
    }

    fn remember(&self, reference: &str, runtime: &'static str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() < REMEMBERED_MAX || taken.contains_key(reference) {
            taken.insert(reference.to_owned(), runtime);
        }
    }

    /// Why an image was taken by none of those that were asked.
    fn verdict(&self, class: Option<&str>, refusals: Vec<ImageError>) -> ImageError {
        let is_other = |why: &ImageError| matches!(why, ImageError::OtherKind(_));
        let is_never = |why: &ImageError| matches!(why, ImageError::NeverPull(_));
        let text = |why: &[ImageError]| why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let (other, rest): (Vec<_>, Vec<_>) = refusals.into_iter().partition(is_other);
        match (rest.as_slice(), class) {
            ([], Some(class)) => ImageError::Unusable(format!(
                "{}: runtime class \"{class}\" runs nothing else; name the other class, or none",
                text(&other)
            )),
            ([], None) => ImageError::Unusable(format!(
                "{}: this node cannot run it, it has {}; a runtime class leads a pod to the nodes that can",
                text(&other),
                self.ready_names().join(", ")
            )),
            ([only], _) => only.clone(),
            ([first @ ImageError::NeverPull(_), others @ ..], _) if others.iter().all(is_never) => first.clone(),
            (several, _) => ImageError::Pull(text(several)),
        }
    }

    /// All pods of the node are known: what is left of others is ended.
    pub fn end_survivors(&self) {
        self.all.iter().for_each(|runtime| runtime.end_survivors());
    }

    /// Their names, and whether they can be used; `None`: always.
    pub fn availability(&self) -> impl Iterator<Item = (&'static str, Option<Availability>)> {
        self.all.iter().map(|runtime| (runtime.name(), runtime.availability().map(|now| now.borrow().clone())))
    }

    /// Those that are lost, and why: a sentence.
    pub fn lost(&self) -> impl Iterator<Item = (&'static str, Arc<str>)> {
        self.availability().filter_map(|(name, now)| Some((name, loss(name, &now?)?)))
    }

    /// Those that come and go, by name.
    pub fn follow(&self) -> Vec<(&'static str, watch::Receiver<Availability>)> {
        self.all.iter().filter_map(|runtime| Some((runtime.name(), runtime.availability()?))).collect()
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.all.iter().map(|runtime| runtime.name()).collect()
    }

    fn ready_names(&self) -> Vec<&'static str> {
        let ready = self.availability().filter(|(_, now)| now.as_ref().is_none_or(Availability::is_ready));
        ready.map(|(name, _)| name).collect()
    }
}

/// Why a runtime is lost, if it is: a sentence.
pub fn loss(name: &str, now: &Availability) -> Option<Arc<str>> {
    match now {
        Availability::Lost(why) => Some(format!("{name}: {why}").into()),
        Availability::Absent(_) | Availability::Ready(_) => None,
    }
}

/// Resolves when one of the runtimes comes or goes.
pub async fn one_changed(followed: &mut [watch::Receiver<Availability>]) {
    let waits = followed.iter_mut().map(|one| {
        Box::pin(async {
            if one.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        std::future::pending::<()>().await;
    }
    futures::future::select_all(waits).await;
}

fn class(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.runtime_class_name.as_deref()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use serde_json::json;
    use wherry_runtime::{Container, ContainerSpec, ImageKind, PullPolicy, StartError};

    use super::*;

    /// Has one image, or answers in one way.
    struct Stub {
        name: &'static str,
        has: &'static str,
        otherwise: ImageError,
        now: watch::Sender<Availability>,
        asked: Mutex<u32>,
    }

    impl Stub {
        fn new(name: &'static str, has: &'static str, otherwise: ImageError) -> Arc<Self> {
            let now = watch::Sender::new(Availability::Ready(String::new()));
            Arc::new(Self { name, has, otherwise, now, asked: Mutex::default() })
        }
    }

    #[async_trait]
    impl Runtime for Stub {
        fn name(&self) -> &'static str {
            self.name
        }

        fn availability(&self) -> Option<watch::Receiver<Availability>> {
            Some(self.now.subscribe())
        }

        async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
            *self.asked.lock().unwrap() += 1;
            if wanted.reference != self.has {
                return Err(self.otherwise.clone());
            }
            Ok(Image { reference: self.has.into(), digest: "d".into(), kind: ImageKind::Command })
        }

        async fn start(&self, _: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
            Err(StartError { reason: "stub", message: String::new() })
        }
    }

    async fn taken(runtimes: &Runtimes, class: Option<&str>, image: &str) -> String {
        let pod = serde_json::from_value(json!({"spec": {"containers": [], "runtimeClassName": class}})).unwrap();
        match runtimes.prepare(&pod, &ImageRequest::new(image, PullPolicy::IfNotPresent)).await {
            Ok((runtime, _)) => runtime.name().to_owned(),
            Err(error) => format!("{}: {error}", error.reason()),
        }
    }

    #[tokio::test]
    async fn an_image_goes_to_the_runtime_that_takes_it() {
        let modules = Stub::new("modules", "module", ImageError::OtherKind("a Linux image".into()));
        let linux = Stub::new("linux", "linux", ImageError::Pull("not there".into()));
        let alone = Stub::new("alone", "module", ImageError::OtherKind("a Linux image".into()));
        let runtimes = Runtimes::new(vec![modules.clone(), linux.clone()], vec![alone]);
        assert_eq!(taken(&runtimes, None, "module").await, "modules");
        assert_eq!(*linux.asked.lock().unwrap(), 0);
        assert_eq!(taken(&runtimes, None, "linux").await, "linux");
        assert_eq!(taken(&runtimes, None, "linux").await, "linux");
        assert_eq!(*modules.asked.lock().unwrap(), 2, "who took it the last time is asked first");
        assert_eq!(taken(&runtimes, None, "neither").await, "ErrImagePull: not there");
        assert_eq!(taken(&runtimes, Some("linux"), "module").await, "ErrImagePull: not there");
        assert!(taken(&runtimes, Some("alone"), "linux").await.contains("runtime class \"alone\" runs nothing else"));
        assert!(taken(&runtimes, Some("none"), "linux").await.contains("modules, linux, alone"));
        linux.now.send_replace(Availability::Absent("no socket".into()));
        assert!(taken(&runtimes, None, "x").await.contains("this node cannot run it, it has modules, alone"));
        assert!(taken(&runtimes, Some("linux"), "x").await.contains("not there"));
    }

    #[tokio::test]
    async fn what_nobody_may_fetch_is_so_for_all() {
        let never = || ImageError::NeverPull("i".into());
        let runtimes = Runtimes::new(vec![Stub::new("a", "", never()), Stub::new("b", "", never())], vec![]);
        assert!(taken(&runtimes, None, "i").await.starts_with("ErrImageNeverPull"));
    }
}
