//! Command lines and the objects that they make.

use clap::Parser;
use serde_json::Value;
use wherry_api::yaml;

use super::{exposed, generate, pod};
use crate::args::Verb;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const OBJECT: &str = "
kind: Deployment
metadata: {name: web, labels: {tier: front}}
spec:
  selector: {matchLabels: {app: web}}
  template: {spec: {containers: [{ports: [{containerPort: 53, protocol: UDP}, {containerPort: 80}]}]}}
";

fn made(line: &str) -> Result<Value, String> {
    let words = ["wherry"].into_iter().chain(line.split(' '));
    let object = yaml::parse(OBJECT).unwrap().remove(0);
    match Cli::try_parse_from(words).map_err(|e| e.to_string())?.verb {
        Verb::Create(args) => generate(&args.what.ok_or("nothing to create")?),
        Verb::Run(args) => Ok(pod(&args)),
        Verb::Expose(args) => exposed(&object, &args),
        verb => return Err(format!("{verb:?} makes nothing")),
    }
    .map_err(|e| e.to_string())
}

fn check(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(made(line), Ok(yaml::parse(expected).unwrap().remove(0)), "{line}");
    }
}

#[test]
fn workloads() {
    check(&[
        (
            "create deployment web --image a/hello:v1 --port 80 --replicas 2 -- run it",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {app: web}}, spec: {replicas: 2, \
             selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [\
             {name: hello, image: 'a/hello:v1', command: [run, it], ports: [{containerPort: 80}]}]}}}}",
        ),
        (
            "run one --image hello:v1",
            "{apiVersion: v1, kind: Pod, metadata: {name: one, labels: {run: one}}, \
             spec: {restartPolicy: Always, containers: [{name: one, image: 'hello:v1'}]}}",
        ),
        (
            "run one --image h:1 --port 80 --labels a=b,c=d --env X=z --restart=Never --command -- sh -c x",
            "{apiVersion: v1, kind: Pod, metadata: {name: one, labels: {a: b, c: d}}, spec: {restartPolicy: Never, \
             containers: [{name: one, image: 'h:1', ports: [{containerPort: 80}], env: [{name: X, value: z}], \
             command: [sh, -c, x]}]}}",
        ),
    ]);
}

#[test]
fn data() {
    check(&[
        ("create ns one", "{apiVersion: v1, kind: Namespace, metadata: {name: one}}"),
        ("create sa s", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: s}}"),
        ("create cm m", "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}}"),
        (
            "create configmap m --from-literal a=1 --from-literal b=c=d",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: '1', b: c=d}}",
        ),
        (
            "create secret generic s --from-literal a=1 --type x/y",
            "{apiVersion: v1, kind: Secret, metadata: {name: s}, type: x/y, data: {a: MQ==}}",
        ),
    ]);
    assert_eq!(
        made("create cm m --from-literal a=1 --from-literal a=2").unwrap_err(),
        "cannot add key a, another key by that name already exists"
    );
    assert!(made("create cm m --from-file /none/x").unwrap_err().contains("cannot read /none/x"));
}

#[test]
fn services() {
    check(&[
        (
            "create service clusterip s --tcp 80:web --tcp 443",
            "{apiVersion: v1, kind: Service, metadata: {name: s, labels: {app: s}}, spec: {type: ClusterIP, \
             selector: {app: s}, ports: [{name: 80-web, port: 80, protocol: TCP, targetPort: web}, \
             {name: '443', port: 443, protocol: TCP, targetPort: 443}]}}",
        ),
        (
            "create service clusterip s --clusterip None",
            "{apiVersion: v1, kind: Service, metadata: {name: s, labels: {app: s}}, \
             spec: {type: ClusterIP, selector: {app: s}, clusterIP: None}}",
        ),
        (
            "create svc nodeport s --tcp 80 --node-port 30000",
            "{apiVersion: v1, kind: Service, metadata: {name: s, labels: {app: s}}, spec: {type: NodePort, \
             selector: {app: s}, ports: [{name: '80', port: 80, protocol: TCP, targetPort: 80, nodePort: 30000}]}}",
        ),
        (
            "create service externalname s --external-name example.org",
            "{apiVersion: v1, kind: Service, metadata: {name: s, labels: {app: s}}, \
             spec: {type: ExternalName, selector: {app: s}, externalName: example.org}}",
        ),
        (
            "expose deploy web",
            "{apiVersion: v1, kind: Service, metadata: {name: web, labels: {tier: front}}, spec: {selector: {app: web}, \
             ports: [{name: port-1, port: 53, protocol: UDP, targetPort: 53}, {name: port-2, port: 80, protocol: TCP, targetPort: 80}]}}",
        ),
        (
            "expose deploy web --name w --port 8080 --target-port http --type NodePort --selector a=b --labels c=d",
            "{apiVersion: v1, kind: Service, metadata: {name: w, labels: {c: d}}, spec: {selector: {a: b}, type: NodePort, \
             ports: [{port: 8080, protocol: TCP, targetPort: http}]}}",
        ),
    ]);
    assert_eq!(made("create service clusterip s --tcp x").unwrap_err(), "\"x\" is not PORT or PORT:TARGET");
}

#[test]
fn ingresses() {
    check(&[(
        "create ingress i --class c --annotation k=v --default-backend d:80 --rule a/x*=s:80,tls=t --rule a/=s:http,tls=t --rule /y=s:1",
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, annotations: {k: v}}, spec: {ingressClassName: c, \
         defaultBackend: {service: {name: d, port: {number: 80}}}, tls: [{hosts: [a], secretName: t}], rules: [\
         {host: a, http: {paths: [{path: /x, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}, \
         {path: /, pathType: Exact, backend: {service: {name: s, port: {name: http}}}}]}}, \
         {http: {paths: [{path: /y, pathType: Exact, backend: {service: {name: s, port: {number: 1}}}}]}}]}}",
    )]);
    for rule in ["a=s:80", "a/x", "a/x=s", "a/x=s:80,ssl"] {
        let wrong = made(&format!("create ingress i --rule {rule}")).unwrap_err();
        assert!(wrong.contains("is not HOST/PATH=SERVICE:PORT"), "{wrong}");
    }
}
