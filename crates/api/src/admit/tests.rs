//! Objects in, and what is stored, or all their faults.

use serde_json::{Value, json};

use crate::resource::{AdmitError, Admitted, FieldValidation, Write, find_kind};
use crate::yaml;

fn admit(write: Write, validation: FieldValidation, old: Option<&Value>, text: &str) -> Result<Admitted, AdmitError> {
    let object = yaml::parse(text).unwrap().remove(0);
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    (find_kind(version, kind).unwrap().admit)(write, validation, old, object.clone())
}

fn faults(text: &str) -> Vec<String> {
    match admit(Write::Create, FieldValidation::Warn, None, text) {
        Err(AdmitError::Invalid(causes)) => causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect(),
        Err(AdmitError::Malformed(sentence)) => vec![sentence],
        Ok(_) => Vec::new(),
    }
}

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec: {containers: [{name: c, image: i}]}";

#[test]
fn a_pod_gets_kubernetes_defaults() {
    let pod = admit(Write::Create, FieldValidation::Strict, None, POD).unwrap().object;
    for (pointer, expected) in [
        ("/spec/restartPolicy", json!("Always")),
        ("/spec/terminationGracePeriodSeconds", json!(30)),
        ("/spec/schedulerName", json!("default-scheduler")),
        ("/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/status/phase", json!("Pending")),
        ("/status/qosClass", json!("BestEffort")),
    ] {
        assert_eq!(pod.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[test]
fn an_admitted_object_is_admitted_unchanged() {
    for text in [
        POD,
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b}\nspec: {selector: {x: z}, ports: [{port: 80}]}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: b}\nspec: {selector: {matchLabels: {x: z}}, template: {metadata: {labels: {x: z}}, spec: {containers: [{name: c, image: 'i:1'}]}}}",
    ] {
        let first = admit(Write::Create, FieldValidation::Strict, None, text).unwrap().object;
        let again = admit(Write::Update, FieldValidation::Strict, Some(&first), &first.to_string()).unwrap().object;
        assert_eq!(first, again);
    }
}

#[test]
fn all_faults_come_in_one_answer() {
    let found = faults(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: A_, namespace: b}\nspec: {restartPolicy: Perhaps, containers: [{name: c, ports: [{containerPort: 99999}]}, {name: c, image: i}]}",
    );
    for part in [
        "metadata.name",
        "spec.restartPolicy: Unsupported value",
        "image: Required value",
        "containerPort",
        "Duplicate value",
    ] {
        assert!(found.iter().any(|fault| fault.contains(part)), "{part} in {found:#?}");
    }
}

#[test]
fn unknown_and_ill_typed_fields_are_named() {
    let text = POD.replace("restart", "x").replace("{containers:", "{frob: 1, containers:");
    let warned = admit(Write::Create, FieldValidation::Warn, None, &text).unwrap();
    assert_eq!(warned.warnings, ["unknown field \"spec.frob\""]);
    assert!(warned.object.pointer("/spec/frob").is_none());
    assert!(
        matches!(admit(Write::Create, FieldValidation::Strict, None, &text), Err(AdmitError::Malformed(s)) if s.contains("spec.frob"))
    );
    let found = faults(&POD.replace("image: i", "image: [1]"));
    assert!(found.concat().contains("containers[0].image"), "{found:?}");
}

#[test]
fn selectors_and_specs_do_not_change() {
    let first = admit(Write::Create, FieldValidation::Warn, None, POD).unwrap().object;
    let mut changed = first.clone();
    changed["spec"]["restartPolicy"] = "Never".into();
    let error = admit(Write::Update, FieldValidation::Warn, Some(&first), &changed.to_string());
    assert!(matches!(error, Err(AdmitError::Invalid(_))));
    changed = first.clone();
    changed["spec"]["containers"][0]["image"] = "other:2".into();
    assert!(admit(Write::Update, FieldValidation::Warn, Some(&first), &changed.to_string()).is_ok());
}

#[test]
fn status_is_written_through_status_only() {
    let first = admit(Write::Create, FieldValidation::Warn, None, &format!("{POD}\nstatus: {{phase: Running}}"))
        .unwrap()
        .object;
    assert_eq!(first["status"]["phase"], "Pending");
    let mut changed = first.clone();
    changed["status"]["phase"] = "Running".into();
    changed["metadata"]["labels"] = json!({"a": "b"});
    let through_main = admit(Write::Update, FieldValidation::Warn, Some(&first), &changed.to_string()).unwrap().object;
    assert_eq!(
        (through_main["status"]["phase"].as_str(), through_main["metadata"]["labels"]["a"].as_str()),
        (Some("Pending"), Some("b"))
    );
    let through_status =
        admit(Write::UpdateStatus, FieldValidation::Warn, Some(&first), &changed.to_string()).unwrap().object;
    assert_eq!(through_status["status"]["phase"], "Running");
}

#[test]
fn kinds_name_their_faults() {
    for (text, expected) in [
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 0}]}", "spec.ports[0].port"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: Frob, ports: [{port: 1}]}",
            "spec.type: Unsupported value",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {}",
            "either `defaultBackend` or `rules`",
        ),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {'a b': c}", "data[a b]"),
        ("apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {name: a}", "data[tls.crt]: Required value"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {selector: {matchLabels: {a: b}}, template: {spec: {containers: [{name: c, image: i}]}}}",
            "does not match template `labels`",
        ),
    ] {
        let found = faults(text);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected} in {found:?}");
    }
}
