//! The rules that `restricted` has beyond `baseline`, in the order of the standard.

use k8s_openapi::api::core::v1::{SeccompProfile, Volume};

use super::{Subject, View};

/// What the level does not allow, and `baseline` does.
pub(super) fn check(subject: &Subject<'_>, faults: &mut Vec<String>) {
    escalation(subject, faults);
    capabilities(subject, faults);
    volumes(subject, faults);
    non_root(subject, faults);
    root(subject, faults);
    seccomp(subject, faults);
}

fn escalation(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let is_wrong =
        |one: &View<'_>| one.security.and_then(|security| security.allow_privilege_escalation) != Some(false);
    let must = "must set securityContext.allowPrivilegeEscalation=false";
    let who = subject.who(false, is_wrong);
    faults.extend(who.map(|who| format!("allowPrivilegeEscalation != false ({who} {must})")));
}

fn capabilities(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let drops_all =
        |one: &View<'_>| one.capabilities().is_some_and(|all| all.drop.iter().flatten().any(|name| name == "ALL"));
    let keeping = subject.who(false, |one| !drops_all(one));
    let keeping = keeping.map(|who| format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    let told: Vec<String> = keeping.into_iter().chain(subject.adding(&["NET_BIND_SERVICE"])).collect();
    if !told.is_empty() {
        faults.push(format!("unrestricted capabilities ({})", told.join("; ")));
    }
}

fn volumes(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let volumes = subject.volumes(|volume| !is_usual(volume));
    faults.extend(volumes.map(|volumes| format!("restricted volume types ({volumes})")));
}

/// One that names no type is an empty directory.
fn is_usual(volume: &Volume) -> bool {
    let allowed = Volume {
        name: volume.name.clone(),
        config_map: volume.config_map.clone(),
        csi: volume.csi.clone(),
        downward_api: volume.downward_api.clone(),
        empty_dir: volume.empty_dir.clone(),
        ephemeral: volume.ephemeral.clone(),
        image: volume.image.clone(),
        persistent_volume_claim: volume.persistent_volume_claim.clone(),
        projected: volume.projected.clone(),
        secret: volume.secret.clone(),
        ..Volume::default()
    };
    *volume == allowed
}

/// Those for whom neither they nor the pod say what is asked.
fn unsaid(subject: &Subject<'_>, of_pod: Option<bool>, said: impl Fn(&View<'_>) -> Option<bool>) -> Option<String> {
    subject.who(false, |one| said(one).or(of_pod) != Some(true))
}

fn non_root(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let of_pod = subject.pod.security_context.as_ref().and_then(|security| security.run_as_non_root);
    let who = unsaid(subject, of_pod, |one| one.security?.run_as_non_root);
    let told = |who| format!("runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)");
    faults.extend(who.map(told));
}

fn root(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let is_pod = subject.pod.security_context.as_ref().is_some_and(|security| security.run_as_user == Some(0));
    let who = subject.who(is_pod, |one| one.security.is_some_and(|security| security.run_as_user == Some(0)));
    faults.extend(who.map(|who| format!("runAsUser=0 ({who} must not set runAsUser=0)")));
}

fn seccomp(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let is_good = |profile: &SeccompProfile| matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost");
    let of_pod = subject.pod.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    let who = unsaid(subject, of_pod.map(is_good), |one| one.security?.seccomp_profile.as_ref().map(is_good));
    let must = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    faults.extend(who.map(|who| format!("seccompProfile (pod or {who} {must})")));
}
