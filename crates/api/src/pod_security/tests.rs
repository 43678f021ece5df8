//! The standards as data: what each level says of a spec.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use super::*;

fn spec(pod: Value, container: Value) -> PodSpec {
    let mut whole = json!({"name": "c", "image": "i"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut spec = pod;
    spec["containers"] = json!([whole]);
    serde_json::from_value(spec).unwrap()
}

#[test]
fn baseline_keeps_pods_from_their_machine() {
    let check = |pod: Value, container: Value, expected: &str| {
        let told = Level::Baseline.violation(&spec(pod.clone(), container.clone()));
        let expected = (!expected.is_empty()).then(|| format!("violates PodSecurity \"baseline:latest\": {expected}"));
        assert_eq!(told, expected, "{pod} {container}");
        assert_eq!(Level::Privileged.violation(&spec(pod, container)), None);
    };
    let nothing = || json!({});
    check(nothing(), nothing(), "");
    check(json!({"hostNetwork": true, "hostIPC": true}), nothing(), "host namespaces (hostNetwork=true, hostIPC=true)");
    let security = |context: Value| json!({"securityContext": context});
    let privileged = "privileged (container \"c\" must not set securityContext.privileged=true)";
    check(nothing(), security(json!({"privileged": true})), privileged);
    check(nothing(), security(json!({"capabilities": {"add": ["CHOWN"], "drop": ["KILL"]}})), "");
    check(
        nothing(),
        security(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_ADMIN"]}})),
        "non-default capabilities (container \"c\" must not include \"NET_ADMIN\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
    );
    let volumes = json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "emptyDir": {}}]});
    check(volumes, nothing(), "hostPath volumes (volume \"v\")");
    check(
        nothing(),
        json!({"ports": [{"containerPort": 80, "hostPort": 80}]}),
        "hostPort (container \"c\" uses hostPort 80)",
    );
    check(
        nothing(),
        json!({"livenessProbe": {"tcpSocket": {"port": 1, "host": "10.0.0.1"}}}),
        "probe or lifecycle host (container \"c\" must not set a host for its probes and hooks)",
    );
    let unconfined = json!({"seccompProfile": {"type": "Unconfined"}});
    check(
        security(unconfined.clone()),
        security(unconfined),
        "seccompProfile (pod and container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    check(
        nothing(),
        security(json!({"procMount": "Unmasked"})),
        "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
    );
    check(
        security(
            json!({"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}, {"name": "kernel.msgmax", "value": "1"}]}),
        ),
        nothing(),
        "forbidden sysctls (kernel.msgmax)",
    );
    check(
        security(json!({"seLinuxOptions": {"type": "spc_t"}})),
        nothing(),
        "seLinuxOptions (must not set securityContext.seLinuxOptions user, role, or a type of its own)",
    );
    check(
        nothing(),
        security(json!({"appArmorProfile": {"type": "Unconfined"}})),
        "forbidden AppArmor profile (must not set securityContext.appArmorProfile.type to \"Unconfined\")",
    );
}

#[test]
fn init_containers_count() {
    let privileged = json!({"name": "i", "image": "i", "securityContext": {"privileged": true}});
    let spec = spec(json!({"initContainers": [privileged]}), json!({"securityContext": {"privileged": true}}));
    let told = Level::Baseline.violation(&spec).unwrap();
    assert!(told.contains("(containers \"i\", \"c\" must not"), "{told}");
}

#[test]
fn restricted_asks_for_more() {
    let check = |pod: Value, container: Value, expected: &[&str]| {
        let told = Level::Restricted.violation(&spec(pod.clone(), container.clone())).unwrap_or_default();
        let told = told.strip_prefix("violates PodSecurity \"restricted:latest\": ").unwrap_or_default();
        assert_eq!(told, expected.join(", "), "{pod} {container}");
    };
    let context = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"}, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    });
    let with = |field: &str, value: Value| {
        let mut context = context.clone();
        context[field] = value;
        json!({"securityContext": context})
    };
    let good = || json!({"securityContext": context});
    check(json!({}), good(), &[]);
    let escalation =
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)";
    let drop = "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"])";
    let non_root = "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)";
    let seccomp = "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";
    check(json!({}), json!({}), &[escalation, drop, non_root, seccomp]);
    let of_pod = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}}});
    check(of_pod, json!({}), &[escalation, drop]);
    check(
        json!({}),
        with("capabilities", json!({"drop": ["ALL"], "add": ["CHOWN"]})),
        &["unrestricted capabilities (container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)"],
    );
    check(json!({}), with("runAsUser", json!(0)), &["runAsUser=0 (container \"c\" must not set runAsUser=0)"]);
    check(json!({}), with("seccompProfile", json!({"type": "Unconfined"})), &[seccomp]);
    let volumes =
        json!([{"name": "v", "nfs": {"server": "s", "path": "/"}}, {"name": "w", "secret": {"secretName": "s"}}]);
    check(json!({"volumes": volumes}), good(), &["restricted volume types (volume \"v\")"]);
    let hidden = json!([{"name": "v", "hostPath": {"path": "/"}}]);
    check(
        json!({"volumes": hidden}),
        good(),
        &["hostPath volumes (volume \"v\")", "restricted volume types (volume \"v\")"],
    );
}

#[test]
fn labels_say_the_levels() {
    let check = |labels: &[(&str, &str)], expected: (Level, Level), faulty: &[&str]| {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect();
        assert_eq!(levels(|key| Level::parse(labels.get(key)?)), expected);
        assert_eq!(faults(&labels).map(|(key, _, _)| key.strip_prefix(PREFIX).unwrap()).collect::<Vec<_>>(), faulty);
    };
    check(&[], (Level::Baseline, Level::Baseline), &[]);
    check(&[("enforce", "privileged")], (Level::Privileged, Level::Privileged), &[]);
    check(&[("warn", "restricted"), ("warn-version", "v1.30")], (Level::Baseline, Level::Restricted), &[]);
    check(
        &[("enforce", "strict"), ("enforce-version", "1.30")],
        (Level::Baseline, Level::Baseline),
        &["enforce", "enforce-version"],
    );
}
