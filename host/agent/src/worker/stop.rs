//! Hooks of containers, and stopping them: status first, then the `preStop` hook, then SIGTERM's equivalent, then SIGKILL's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as ContainerFields, Lifecycle, LifecycleHandler};
use tokio::time::Instant;
use wherry_runtime::Container;

use super::start::container_at;
use super::{Live, Worker};
use crate::pod::Notice;
use crate::probes::{Get, Trouble};
use crate::programs;

/// Hooks have no limit but the container's end.
const HOOK_MAX: Duration = Duration::MAX;

impl Worker {
    pub(super) fn stop(self: &Arc<Self>, live: &mut Live, index: usize, grace: Duration) {
        let Some(container) = live.runs.get(index).and_then(|run| run.container.clone()) else { return };
        if grace.is_zero() {
            return container.kill();
        }
        let first = live.runs.get_mut(index).is_some_and(|run| !std::mem::replace(&mut run.stopping, true));
        self.context.drain.spawn(self.clone().stop_gently(index, container, grace, first));
    }

    /// The `first` time status and hook go before; later times only shorten the grace.
    async fn stop_gently(self: Arc<Self>, index: usize, container: Arc<dyn Container>, grace: Duration, first: bool) {
        let deadline = Instant::now() + grace;
        if first {
            if self.inspect(crate::pod::State::is_ending) {
                self.reported().await;
            }
            let _late = tokio::time::timeout_at(deadline, self.pre_stop(index, &container)).await;
            container.stop();
        }
        if tokio::time::timeout_at(deadline, container.exited()).await.is_err() {
            container.kill();
        }
    }

    async fn pre_stop(&self, index: usize, container: &Arc<dyn Container>) {
        let hook = |lifecycle: &Lifecycle| lifecycle.pre_stop.clone();
        if let Err(message) = self.hook(index, container, hook).await {
            self.hook_failed(index, "FailedPreStopHook", format!("PreStopHook failed: {message}"));
        }
    }

    /// Runs the `postStart` hook beside the container; where it fails, the container is killed, as Kubernetes does.
    pub(super) async fn post_start(self: Arc<Self>, index: usize, container: Arc<dyn Container>) {
        let hook = |lifecycle: &Lifecycle| lifecycle.post_start.clone();
        if let Err(message) = self.hook(index, &container, hook).await {
            self.hook_failed(index, "FailedPostStartHook", format!("PostStartHook failed: {message}"));
            container.kill();
        }
    }

    fn hook_failed(&self, index: usize, reason: &'static str, message: String) {
        self.inspect(|state| self.emit(state, Notice { warning: true, reason, message, index: Some(index) }));
    }

    /// Runs a hook of the container at `index`, if it has it.
    async fn hook(
        &self,
        index: usize,
        container: &Arc<dyn Container>,
        pick: fn(&Lifecycle) -> Option<LifecycleHandler>,
    ) -> Result<(), String> {
        let (pod, address) = {
            let mut live = self.live();
            (live.pod(), live.network.as_ref().map(|network| network.address()))
        };
        let fields = pod.spec.as_ref().and_then(|spec| container_at(spec, index));
        let Some((fields, address)) = fields.zip(address) else { return Ok(()) };
        match fields.lifecycle.as_ref().and_then(pick) {
            Some(hook) => self.run_hook(fields, &hook, address, container).await,
            None => Ok(()),
        }
    }

    async fn run_hook(
        &self,
        fields: &ContainerFields,
        hook: &LifecycleHandler,
        address: IpAddr,
        container: &Arc<dyn Container>,
    ) -> Result<(), String> {
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            Ok(())
        } else if let Some(get) = &hook.http_get {
            let get = Get::new(address, fields, get)?;
            get.status(&self.context.network).await.map(drop).map_err(Trouble::into_message)
        } else if let Some(exec) = &hook.exec {
            let command = exec.command.as_deref().unwrap_or_default();
            programs::run(container, command, HOOK_MAX).await.map_err(|failure| failure.to_string())
        } else {
            Err("only exec, httpGet and sleep are supported in hooks".into())
        }
    }
}
