//! The rules that `restricted` has beyond `baseline`, in the order of the standard.

use k8s_openapi::api::core::v1::{SeccompProfile, Volume};

use super::{Subject, View, quoted, who};

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
    let wrong =
        subject.named(|one| one.security.and_then(|security| security.allow_privilege_escalation) != Some(false));
    if !wrong.is_empty() {
        let must = "must set securityContext.allowPrivilegeEscalation=false";
        faults.push(format!("allowPrivilegeEscalation != false ({} {must})", who(&wrong)));
    }
}

fn capabilities(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let drops_all =
        |one: &View<'_>| one.capabilities().is_some_and(|all| all.drop.iter().flatten().any(|name| name == "ALL"));
    let mut told = Vec::new();
    let keeping = subject.named(|one| !drops_all(one));
    if !keeping.is_empty() {
        told.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", who(&keeping)));
    }
    let is_wrong = |name: &&str| *name != "NET_BIND_SERVICE";
    let adding = subject.named(|one| one.added().any(|name| is_wrong(&name)));
    if !adding.is_empty() {
        let mut names: Vec<&str> = subject.containers.iter().flat_map(View::added).filter(is_wrong).collect();
        names.sort_unstable();
        names.dedup();
        told.push(format!("{} must not include {} in securityContext.capabilities.add", who(&adding), quoted(&names)));
    }
    if !told.is_empty() {
        faults.push(format!("unrestricted capabilities ({})", told.join("; ")));
    }
}

fn volumes(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let wrong: Vec<&str> = subject
        .pod
        .volumes
        .iter()
        .flatten()
        .filter(|volume| !is_usual(volume))
        .map(|volume| volume.name.as_str())
        .collect();
    if !wrong.is_empty() {
        let s = if wrong.len() == 1 { "" } else { "s" };
        faults.push(format!("restricted volume types (volume{s} {})", quoted(&wrong)));
    }
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
fn unsaid<'a>(
    subject: &'a Subject<'_>,
    of_pod: Option<bool>,
    said: impl Fn(&View<'_>) -> Option<bool>,
) -> Vec<&'a str> {
    subject.named(|one| said(one).or(of_pod) != Some(true))
}

fn non_root(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let of_pod = subject.pod.security_context.as_ref().and_then(|security| security.run_as_non_root);
    let wrong = unsaid(subject, of_pod, |one| one.security?.run_as_non_root);
    if !wrong.is_empty() {
        faults
            .push(format!("runAsNonRoot != true (pod or {} must set securityContext.runAsNonRoot=true)", who(&wrong)));
    }
}

fn root(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let mut wrong = Vec::new();
    if subject.pod.security_context.as_ref().is_some_and(|security| security.run_as_user == Some(0)) {
        wrong.push("pod".to_owned());
    }
    let names = subject.named(|one| one.security.is_some_and(|security| security.run_as_user == Some(0)));
    if !names.is_empty() {
        wrong.push(who(&names));
    }
    if !wrong.is_empty() {
        faults.push(format!("runAsUser=0 ({} must not set runAsUser=0)", wrong.join(" and ")));
    }
}

fn seccomp(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let is_good = |profile: &SeccompProfile| matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost");
    let of_pod = subject.pod.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    let wrong = unsaid(subject, of_pod.map(is_good), |one| one.security?.seccomp_profile.as_ref().map(is_good));
    if !wrong.is_empty() {
        let must = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
        faults.push(format!("seccompProfile (pod or {} {must})", who(&wrong)));
    }
}
