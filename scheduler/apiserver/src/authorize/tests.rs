//! Rulings, as data. What they depend on beyond the request is tested in `node_graph` and in `registry::tests`.

use wherry_api::kinds::Secret;

use super::*;

/// What is ruled on `VERB PLURAL[/SUBRESOURCE] NAMESPACE NAME[?FIELDS]`, with `-` for no namespace or name.
fn ruling(identity: &Identity, wanted: &str) -> String {
    let words: Vec<&str> = wanted.split(' ').collect();
    let [verb, plural, namespace, name] = words[..] else { panic!("VERB PLURAL NAMESPACE NAME: {wanted}") };
    let (name, fields) = name.split_once('?').unwrap_or((name, ""));
    let (plural, subresource) = plural.split_once('/').unwrap_or((plural, ""));
    let resource = wherry_api::RESOURCES.iter().find(|row| row.plural == plural).unwrap();
    let given = |text: &'static str| Some(text).filter(|text| *text != "-");
    let namespace = given(Box::leak(namespace.to_owned().into_boxed_str()));
    let name = if name == "-" { "" } else { name };
    match rule(identity, &Attributes { verb, resource, subresource, namespace, name, fields }) {
        Ruling::Allowed => "yes".to_owned(),
        Ruling::Forbidden => "no".to_owned(),
        Ruling::IfReferred(referent, key) => format!("if {referent:?} {key} is referred to"),
        Ruling::IfBound(key) => format!("if {key} is bound"),
    }
}

#[track_caller]
fn check(identity: &Identity, table: &str) {
    for line in table.trim().lines() {
        let (wanted, expected) = line.trim().split_once(" -> ").unwrap();
        assert_eq!(ruling(identity, wanted), expected, "{}: {wanted}", identity.user);
    }
}

#[test]
fn nodes_have_the_rights_of_a_kubelet() {
    check(
        &Identity::node("n"),
        "
        get secrets a x -> if Secret a/x is referred to
        list secrets a -?metadata.name=x -> if Secret a/x is referred to
        watch secrets a -?metadata.name=x,type=Opaque -> if Secret a/x is referred to
        watch secrets a -?metadata.name=x,type=kubernetes.io/tls -> if TlsSecret a/x is referred to
        watch secrets a -?metadata.name=x,type!=kubernetes.io/tls -> if Secret a/x is referred to
        watch configmaps a x -> if ConfigMap a/x is referred to
        list secrets a - -> no
        list secrets a -?metadata.name!=x -> no
        list secrets a -?type=kubernetes.io/tls -> no
        watch secrets - -?metadata.name=x -> no
        update secrets a x -> no
        get configmaps kube-public cluster-info -> yes
        watch configmaps kube-system -?metadata.name=revoked-certificates -> yes
        get secrets kube-public cluster-info -> if Secret kube-public/cluster-info is referred to
        list pods - -?spec.nodeName=n -> yes
        watch pods a -?status.phase=Running,spec.nodeName=n -> yes
        list pods - - -> no
        list pods - -?spec.nodeName=m -> no
        list pods - -?spec.nodeName!=n -> no
        get pods a x -> if a/x is bound
        get pods/log a x -> no
        delete pods a x -> if a/x is bound
        deletecollection pods a - -> no
        patch pods/status a x -> if a/x is bound
        patch pods a x -> no
        create pods a - -> no
        create pods/binding a x -> no
        create pods/eviction a x -> if a/x is bound
        watch nodes - - -> yes
        get nodes - m -> yes
        create nodes - - -> yes
        patch nodes - n -> yes
        patch nodes/status - n -> yes
        patch nodes - m -> no
        delete nodes - n -> no
        create leases kube-node-lease - -> yes
        patch leases kube-node-lease n -> yes
        patch leases kube-node-lease m -> no
        patch leases a n -> no
        list leases kube-node-lease - -> no
        list services - - -> yes
        update services a x -> no
        watch endpointslices - - -> yes
        list ingresses - - -> yes
        list deployments - - -> no
        list serviceaccounts a - -> no
        create events a - -> yes
        list events a - -> no
        create certificatesigningrequests - - -> yes
        update certificatesigningrequests/approval - x -> no
        ",
    );
    let everything = "update secrets a x -> yes\nlist secrets - - -> yes";
    check(&Identity::admin(), everything);
}

#[test]
fn who_joins_asks_for_a_certificate_only() {
    let joiner = Identity { user: "system:bootstrap:a".into(), groups: vec!["system:bootstrappers".into()] };
    check(
        &joiner,
        "
        create certificatesigningrequests - - -> yes
        get configmaps kube-public cluster-info -> yes
        get configmaps kube-public other -> no
        get nodes - n -> no
        update certificatesigningrequests/approval - x -> no
        ",
    );
}

#[test]
fn strangers_are_told_in_kubernetes_words() {
    let stranger = Identity { user: "eve".into(), groups: Vec::new() };
    let (resource, namespace) = (Secret::resource(), Some("a"));
    let wanted = Attributes { verb: "get", resource, subresource: "", namespace, name: "x", fields: "" };
    assert_eq!(rule(&stranger, &wanted), Ruling::Forbidden);
    assert_eq!(
        forbidden(&stranger, &wanted, "").to_string(),
        "secrets \"x\" is forbidden: User \"eve\" cannot get resource \"secrets\" in API group \"\" in the namespace \"a\""
    );
}
